"""The options of queries that Milvus knows."""

import pytest

from engine_calls import record_calls
from ragbridge.errors import InvalidConfigError, InvalidQueryError, UnsupportedQueryError
from ragbridge.filters import where
from ragbridge.stores.base import VectorStoreQuery
from ragbridge.stores.milvus import MilvusVectorStore
from ragbridge.stores.milvus.indexes import Flat, Hnsw
from ragbridge.testing._suite.samples import ids_of, make_entry

pytestmark = pytest.mark.stores("milvus-lite", "milvus")

EAST = [1.0, 0.0, 0.0, 0.0]


def search(**options):
    return VectorStoreQuery(embedding=EAST, top_k=3, options=options)


@pytest.fixture(scope="module")
def loaded(backend):
    """A store of twelve rows, which nobody changes."""
    made = backend.new_store(metric="cosine", index=Hnsw())
    made.add(
        [
            make_entry(
                f"r{n}", [1.0, n, 0.0, 0.0], document_id=f"d{n // 4}" if n < 8 else None,
                metadata={"n": n},
            )
            for n in range(12)
        ]
    )  # fmt: skip
    yield made
    backend.remove(made)


@pytest.fixture
def store(loaded):
    """A store of one's own for the same rows."""
    with MilvusVectorStore(loaded.collection_name, config=loaded.config) as store:
        store.count()
        yield store


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"nothing": 1}, UnsupportedQueryError, "it knows consistency_level, expr, group_by"),
        ({"search_params": {"nprobe": 3}}, UnsupportedQueryError, "it has ef"),
        ({"search_params": {"ef": 0}}, InvalidQueryError, "an integer from 1"),
        ({"search_params": {"ef": "8"}}, InvalidQueryError, "an integer from 1"),
        ({"search_params": 3}, InvalidQueryError, "mapping"),
        ({"consistency_level": "Weak"}, InvalidQueryError, "Strong, Session, Bounded, Eventually"),
        ({"group_by": "category"}, InvalidQueryError, "document_id"),
        ({"partitions": "a"}, InvalidQueryError, "list of names"),
        ({"expr": " "}, InvalidQueryError, "expression"),
        ({"expr": 5}, InvalidQueryError, "expression"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_sent(
    store, monkeypatch, options, error, message
):
    calls = record_calls(monkeypatch)
    with pytest.raises(error, match=message):
        store.query(search(**options))
    assert calls == []


def test_search_params_are_sent(store, monkeypatch):
    calls = record_calls(monkeypatch)
    assert len(store.query(search(search_params={"ef": 333}))) == 3
    sent = [call.arguments["search_params"]["params"] for call in calls if call.method == "search"]
    assert sent == [{"ef": 333}]


def test_search_params_need_something_to_search_by(store):
    with pytest.raises(UnsupportedQueryError, match="vector or a text"):
        store.query(VectorStoreQuery(options={"search_params": {"ef": 3}}))


@pytest.mark.parametrize("level", ["Strong", "Session", "Bounded", "Eventually"])
def test_consistency_levels_of_queries_and_of_stores(store, monkeypatch, level):
    store.count()
    calls = record_calls(monkeypatch)
    store.query(search(consistency_level=level.lower()))
    with MilvusVectorStore(
        store.collection_name, config=store.config, consistency_level=level
    ) as other:
        other.count()
    assert {call.arguments["consistency_level"] for call in calls if call.method != "flush"} == {
        level
    }


def test_a_wrong_consistency_level_is_refused(tmp_path):
    with pytest.raises(InvalidConfigError, match="one of Strong, Session, Bounded, Eventually"):
        MilvusVectorStore(uri=str(tmp_path / "a.db"), consistency_level="weak")


def test_expressions_narrow_a_query(store):
    ids = ids_of(store.query(search(expr='metadata["n"] > 4')))
    assert ids == ["r5", "r6", "r7"]
    both = VectorStoreQuery(
        embedding=EAST, filters=where("n") < 7, options={"expr": 'metadata["n"] > 4'}, top_k=-1
    )
    assert ids_of(store.query(both)) == ["r5", "r6"]
    listing = VectorStoreQuery(options={"expr": 'document_id == "d1"'}, top_k=-1)
    assert ids_of(store.query(listing)) == ["r4", "r5", "r6", "r7"]


@pytest.mark.parametrize(
    "expr",
    [
        'id != "") or (id != ""',
        'id == "a") or (id != "b"',
        "(id", "id)", "[", "]", "{", "}", "(]", ")(", 'id == "a', "id == 'a", '"a" "', "'",
        'id == "a\\" or id != ""', '"\\q" == ") or (id != "', '"a\nb"', "id == \\",
    ],
)  # fmt: skip
def test_no_expression_can_leave_its_parentheses(store, expr):
    with pytest.raises(InvalidQueryError, match="expr"):
        store.query(search(expr=expr))


def test_an_or_in_an_expression_stays_inside(store):
    query = VectorStoreQuery(
        ids=["r1"], options={"expr": 'id == "r2" or id == "r3" or metadata["n"] >= 0'}, top_k=-1
    )
    assert ids_of(store.query(query)) == ["r1"]
    assert ids_of(store.query(search(expr='id == \'(\' or id == ")\\"" or id == "r3"'))) == ["r3"]


@pytest.mark.parametrize("top_k", [1, 3, 6, 10, -1])
def test_the_best_row_of_each_document(store, top_k):
    best = ["r0", "r4", "r8", "r9", "r10", "r11"]  # rows without a document are all kept
    query = VectorStoreQuery(embedding=EAST, top_k=top_k, options={"group_by": "document_id"})
    assert ids_of(store.query(query)) == (best if top_k == -1 else best[:top_k])


def test_grouped_listings(store):
    query = VectorStoreQuery(options={"group_by": "document_id"}, top_k=4)
    assert ids_of(store.query(query)) == ["r0", "r10", "r11", "r4"]


def test_a_document_with_many_good_rows_hides_no_other(make_store):
    store = make_store(index=Flat())
    rows = [make_entry(f"a{n}", [1.0, n / 1e4, 0.0, 0.0], document_id="a") for n in range(400)]
    rows += [make_entry(f"b{n}", [0.0, 1.0, n, 0.0], document_id=f"b{n}") for n in range(3)]
    store.add(rows)
    query = VectorStoreQuery(embedding=EAST, top_k=4, options={"group_by": "document_id"})
    assert ids_of(store.query(query)) == ["a0", "b0", "b1", "b2"]


@pytest.mark.parametrize("metric", ["cosine", "euclidean", "dot_product"])
def test_least_scores(make_store, metric):
    store = make_store(metric=metric, index=Flat())
    store.add([make_entry(f"r{n:02}", [1.0, n, 0.0, 0.0]) for n in range(30)])
    query = {"embedding": [1.0, 2.0, 0.0, 0.0], "top_k": -1}
    every = store.query(VectorStoreQuery(**query))
    scores = [match.similarity_score for match in every]
    for place in (1, 3, 20, 29):  # between scores, which engines round each in their own way
        least = (scores[place - 1] + scores[place]) / 2
        wanted = [match.id for match in every if match.similarity_score >= least]
        for top_k in (5, -1):
            found = store.query(VectorStoreQuery(**{**query, "top_k": top_k}, min_score=least))
            assert {match.id for match in found} <= {*wanted}
            assert len(found) == min(len(wanted), 5 if top_k == 5 else 30)


def test_options_of_many_queries_stay_apart(store):
    queries = [search(), search(expr='metadata["n"] > 8'), search(group_by="document_id"), search()]
    answers = [ids_of(each) for each in store.query_many(queries)]
    first = ["r0", "r1", "r2"]
    assert answers == [first, ["r9", "r10", "r11"], ["r0", "r4", "r8"], first]


@pytest.mark.stores("milvus-lite")
async def test_async(store):
    matches = await store.aquery(search(expr='metadata["n"] > 8', consistency_level="Strong"))
    assert ids_of(matches) == ["r9", "r10", "r11"]
    await store.aclose()
