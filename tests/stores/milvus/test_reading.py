"""Reading: pages, answers beyond what engines give, indexes that are not exact, consistency."""

from itertools import pairwise, product

import numpy as np
import pytest

from engine_calls import record_calls
from ragbridge.documents import TextChunk
from ragbridge.errors import InvalidConfigError
from ragbridge.filters import where
from ragbridge.stores.base import SimilarityMetric, VectorEntry, VectorStoreQuery
from ragbridge.stores.milvus import MilvusVectorStore
from ragbridge.testing._suite.samples import ids_of, make_entry

pytestmark = pytest.mark.stores("milvus-lite", "milvus")
server_only = pytest.mark.stores("milvus")

EAST = [1.0, 0.0, 0.0, 0.0]


def rows_of(vectors, **metadata):
    """Rows with these vectors; metadata by key as functions of the row's number."""
    return [
        VectorEntry(
            id=f"r{n:05}",
            embedding=vector,
            chunk=TextChunk(
                content="text", metadata={key: value(n) for key, value in metadata.items()}
            ),
        )
        for n, vector in enumerate(vectors)
    ]


def cosines(vectors, query):
    wide = vectors.astype(np.float64)
    return wide @ query / (np.linalg.norm(wide, axis=1) * np.linalg.norm(query))


# Pages


def test_pages_are_complete_and_never_repeat(make_store):
    store = make_store()
    store.add([make_entry(f"{n * 7919 % 40:02}", EAST, deleted=n == 3) for n in range(40)])
    for batch_size in (1, 7, 100, 1000):
        found = ids_of(store.scan(batch_size=batch_size))
        assert len(found) == len(set(found)) == 39
        checked = [row.id for row in store.scan(where("none") == None, batch_size=batch_size)]  # noqa: E711
        assert sorted(checked) == sorted(found)


def test_pages_hold_what_filters_leave_of_them(make_store):
    """Where a filter is looked at here, whole pages may come to nothing."""
    store = make_store()
    store.add(rows_of([EAST] * 60, name=lambda n: "Needle" if n in (20, 59) else f"hay {n}"))
    condition = where("name").text_match("NEEDLE", ignore_case=True)
    assert ids_of(store.scan(condition, batch_size=5)) == ["r00020", "r00059"]
    assert store.count(condition) == 2
    assert ids_of(store.query(VectorStoreQuery(filters=condition, top_k=1))) == ["r00020"]


def test_many_ids_are_asked_for_in_parts(make_store):
    store = make_store()
    store.add(rows_of([EAST] * 3000))
    ids = [f"r{n:05}" for n in range(2999, -1, -1)] + [f"unknown {n}" for n in range(9000)]
    assert ids_of(store.get(ids)) == ids[:3000]
    assert len(list(store.scan(ids=ids))) == 3000
    assert store.count(ids=ids) == 3000
    assert store.delete_by_filter(ids=ids[1000:]) == 2000
    assert store.count() == 1000


@server_only
def test_answers_beyond_one_message_come_in_parts(make_store):
    """1,800 rows of 40 kB are 72 MB; a server sends at most 64."""
    store = make_store(index="FLAT")
    vectors = np.random.default_rng(2).standard_normal((1800, 16)).astype(np.float32)
    text = "x" * 40_000
    rows = [
        VectorEntry(id=f"r{n:05}", embedding=vector, chunk=TextChunk(content=text))
        for n, vector in enumerate(vectors)
    ]
    store.add(rows)
    assert len(list(store.scan(batch_size=1800))) == 1800
    query = VectorStoreQuery(embedding=vectors[5], top_k=1750, include_embeddings=True)
    found = store.query(query)
    assert len(found) == 1750
    best = np.argsort(-cosines(vectors, vectors[5]))[:1750]
    assert {match.id for match in found} == {f"r{n:05}" for n in best}
    np.testing.assert_array_equal(found[0].embedding, vectors[5])
    wide = [VectorStoreQuery(embedding=vector, top_k=200) for vector in vectors[:10]]
    assert [len(each) for each in store.query_many(wide)] == [200] * 10


# Several queries at once


def test_queries_that_differ_in_their_vectors_are_one_search(make_store, monkeypatch):
    store = make_store()
    vectors = np.random.default_rng(3).standard_normal((50, 4)).astype(np.float32)
    store.add(rows_of(vectors, n=lambda n: n))
    queries = [
        VectorStoreQuery(embedding=vector, filters=where("n") < 40, min_score=score)
        for vector in vectors[:20]
        for score in (None, 0.5)
    ]
    alone = [store.query(query) for query in queries]
    calls = record_calls(monkeypatch)
    together = store.query_many(queries)
    assert [ids_of(each) for each in together] == [ids_of(each) for each in alone]
    assert [call.method for call in calls] == ["search"]


def test_filters_that_python_takes_for_equal_are_not_mixed_up(make_store):
    store = make_store()
    values = [1, True, 1.5, "1", "ONE"]
    store.add(rows_of([EAST] * 5, v=lambda n: values[n]))
    queries = [
        VectorStoreQuery(embedding=EAST, filters=each)
        for value in (1, True, 1.0)
        for each in (
            where("v") == value,
            (where("v") == value) | where("v").text_match("one", ignore_case=True),
        )
    ]
    found = [sorted(ids_of(each)) for each in store.query_many(queries)]
    one, true, text = "r00000", "r00001", "r00004"
    assert found == [[one], [one, text], [true], [true, text], [one], [one, text]]


# Indexes that are not exact


@pytest.mark.parametrize("index", ["HNSW", "AUTOINDEX"])
def test_an_index_that_is_not_exact_still_finds_enough(make_store, index):
    """Where a filter leaves few rows, graphs and lists lead to too few of them."""
    store = make_store(index=index)
    vectors = np.random.default_rng(4).standard_normal((6000, 32)).astype(np.float32)
    store.add(rows_of(vectors, n=lambda n: n))
    for few in (where("n") < 12, where("n").in_([5, 2000, 5999]), where("n") == 77):
        wanted = store.count(few)
        query = VectorStoreQuery(embedding=vectors[0], filters=few, top_k=10)
        found = store.query(query)
        assert len(found) == min(10, wanted)
        assert all(one.similarity_score >= two.similarity_score for one, two in pairwise(found))


@pytest.mark.parametrize("metric", [each for each in SimilarityMetric if not each.is_binary])
def test_scores_of_all_rows_are_those_of_the_best(make_store, metric):
    """What is scored here, because it is more than an engine gives, is scored alike."""
    store = make_store(metric=metric)
    vectors = np.random.default_rng(5).standard_normal((300, 16)).astype(np.float32)
    store.add(rows_of(vectors))
    some = store.query(VectorStoreQuery(embedding=vectors[1], top_k=200))
    every = store.query(VectorStoreQuery(embedding=vectors[1], top_k=-1))
    assert ids_of(every)[:200] == ids_of(some)
    np.testing.assert_allclose(
        [match.similarity_score for match in every[:200]],
        [match.similarity_score for match in some],
        rtol=1e-4,
        atol=1e-5,
    )


# Collections that are there already


def test_a_collection_is_opened_as_it_was_made(backend, make_store):
    store = make_store(metric="euclidean", index="HNSW")
    store.add(rows_of([EAST] * 3))
    name = store.collection_name
    with backend.new_store(collection_name=name, metric="euclidean") as again:
        assert again.count() == 3
    for wrong, settings in (
        ("euclidean", {"metric": "cosine"}),
        ("HNSW", {"metric": "euclidean", "index": "FLAT"}),
    ):
        with (
            backend.new_store(collection_name=name, **settings) as again,
            pytest.raises(InvalidConfigError, match=wrong),
        ):
            again.count()


def test_a_collection_that_vanishes_is_made_again(make_store):
    from pymilvus import MilvusClient

    store = make_store()
    store.add(rows_of([EAST] * 3))
    assert store.count() == 3
    client = MilvusClient(store.config.uri)
    client.drop_collection(store.collection_name)
    client.close()
    assert store.count() == 0
    assert store.query(VectorStoreQuery(embedding=EAST)) == []
    store.add([make_entry("a", [1.0, 2.0])])
    assert store.count() == 1


def test_what_is_remembered_of_queries_goes_with_the_collection(make_store):
    store = make_store()
    store.add(rows_of([EAST] * 3))
    assert len(store.query(VectorStoreQuery(embedding=EAST))) == 3
    store.client.drop_collection(store.collection_name)
    assert store.count() == 0
    store.add([make_entry("a", [1.0, 2.0])])
    assert ids_of(store.query(VectorStoreQuery(embedding=[1.0, 2.0]))) == ["a"]


def test_queries_that_differ_are_not_taken_for_one_another(make_store):
    """However they follow one another: what is remembered of one is for those that want the same."""
    store = make_store()
    store.add([make_entry(f"r{n}", [1.0, n, 0.0, 0.0]) for n in range(6)])
    store.add([make_entry("gone", [1.0, 0.5, 0.0, 0.0], deleted=True)])
    kinds = [
        {},
        {"top_k": 2},
        {"top_k": -1},
        {"min_score": 0.5},
        {"include_embeddings": True},
        {"include_deleted": True},
        {"ids": ["r1", "r2"]},
        {"filters": where("none") == None},  # noqa: E711
        {"options": {"consistency_level": "Strong"}},
    ]
    answers = []
    for kind in kinds:
        with MilvusVectorStore(store.collection_name, config=store.config) as fresh:
            answers.append(fresh.query(VectorStoreQuery(embedding=EAST, **kind)))
    for place, other in product(range(len(kinds)), repeat=2):
        for each in (place, other):
            assert store.query(VectorStoreQuery(embedding=EAST, **kinds[each])) == answers[each]


def test_a_collection_that_was_released_is_loaded_again(make_store):
    from pymilvus import MilvusClient

    store = make_store()
    store.add(rows_of([EAST] * 3))
    client = MilvusClient(store.config.uri)
    client.release_collection(store.collection_name)
    client.close()
    assert store.count() == 3


# Consistency


@server_only
def test_reads_wait_for_writes_once(make_store, backend, monkeypatch):
    store = make_store()
    other = backend.new_store(metric="cosine", collection_name=store.collection_name)
    store.add(rows_of([EAST] * 3))
    assert store.count() == other.count() == 3
    calls = record_calls(monkeypatch)

    def levels():
        found = [call.arguments["consistency_level"] for call in calls if call.method == "query"]
        calls.clear()
        return found

    store.count()
    assert "Strong" not in levels()
    for change in (
        lambda: store.delete("r00001"),
        lambda: other.add(rows_of([EAST] * 2)),
        lambda: store.delete_by_filter(ids=["r00000"]),
        store.clear,
    ):
        change()
        levels()
        first = other.count()
        assert levels() == ["Strong"], "another store of the process must see the write"
        assert store.count() == other.count() == first
        assert "Strong" not in levels(), "what was seen once need not be waited for again"
    other.close()


@server_only
def test_deletes_are_seen_at_once(make_store):
    store = make_store()
    for number in range(10):
        store.add([make_entry("a", metadata={"n": number}), make_entry("b")])
        assert store.count(where("n") == number) == 1
        store.delete("a")
        assert ids_of(store.scan()) == ["b"]
        assert store.get(["a"]) == []
