"""What is made of answers: quickly where rows are as they were written, with every check where not."""

import json

import numpy as np
import pytest

from engine_calls import record_calls
from ragbridge.documents import Chunk, TextChunk
from ragbridge.errors import InvalidDocumentError
from ragbridge.stores.base import VectorEntry, VectorMatch, VectorStoreQuery
from ragbridge.stores.milvus.answers import hits_of
from ragbridge.stores.milvus.entries import matches_of
from ragbridge.stores.milvus.rows import decode
from ragbridge.stores.milvus.tenancy import Tenancy
from ragbridge.testing._suite.samples import ids_of, make_entry

pytestmark = pytest.mark.stores("milvus-lite", "milvus")

EAST = VectorStoreQuery(embedding=[1.0, 0.0, 0.0, 0.0], top_k=3)
WEST = VectorStoreQuery(embedding=[-1.0, 0.0, 0.0, 0.0], top_k=3)
METADATA = {"n": 2**53 + 1, "x": 1.0, "deep": [{"ü": [None, True, -1.5e-300]}], "": ""}


def entry(row_id, **fields):
    """A row whose chunk has these fields."""
    return VectorEntry(id=row_id, embedding=[1.0, 0.5, 0.0, 0.0], chunk=TextChunk(**fields))


def rewrite(store, row_id, **fields):
    """Change a row as others may, who write to the collection themselves."""
    name = store.collection_name
    asked = {"filter": f'id == "{row_id}"', "output_fields": ["*"], "consistency_level": "Strong"}
    (row,) = store.client.query(name, **asked)
    store.client.upsert(name, [{**row, **fields}])


TEXTS = [
    entry("plain", content="a"),
    entry("full", id="own", content="b\0", document_id="d\0", index=0, start=3, end=2**63 - 1),
    entry("rich", content="ü", metadata=METADATA),
    VectorEntry(
        id="data",
        embedding=[1.0, 0.0, 0.0, 0.0],
        chunk=TextChunk(content="c"),
        framework_data=METADATA,
        deleted=True,
    ),
]
OTHERS = [
    entry("typed", content="a", type="a type of its own"),
    VectorEntry(id="bytes", embedding=[1.0, 0.0, 0.0, 0.0], chunk=Chunk(content=b"\0\xff")),
]
TEN_OF_ALL = {"top_k": 10, "include_deleted": True}


@pytest.mark.parametrize("entries", [TEXTS, TEXTS + OTHERS], ids=["texts", "others among them"])
def test_what_was_written_comes_back(make_store, entries):
    store = make_store()
    store.add(entries)
    found = store.query(VectorStoreQuery(embedding=EAST.embedding, **TEN_OF_ALL))
    given = {each.id: each for each in entries}
    assert {match.id for match in found} == given.keys()
    for match in found:
        chunk = given[match.id].chunk
        assert match.chunk == chunk
        assert type(match.chunk) is type(chunk)
        assert match.chunk.model_dump_json() == chunk.model_dump_json()
        assert match.chunk.model_copy(update={"index": 7}).index == 7
        assert match.framework_data == given[match.id].framework_data
        assert match.deleted == given[match.id].deleted


def test_the_quick_way_gives_what_the_careful_one_does(make_store, monkeypatch):
    store = make_store()
    store.add(TEXTS)
    calls = record_calls(monkeypatch)
    wide = {"embedding": EAST.embedding, **TEN_OF_ALL}
    store.query_many(
        [VectorStoreQuery(**wide), VectorStoreQuery(**wide | {"embedding": [0, 1, 0, 0]})]
    )
    (search,) = [call for call in calls if call.method == "search"]
    asked = {**search.arguments, "data": [*search.arguments["data"]]}
    for answer, by_pymilvus in zip(search.answer, store.client.search(**asked), strict=True):
        hits = hits_of(answer)
        slowly = [({**hit["entity"], "id": hit["id"]}, hit["distance"]) for hit in by_pymilvus]
        assert hits == hits_of(by_pymilvus) == slowly
        matches = [
            VectorMatch(similarity_score=score, **decode(row, Tenancy())) for row, score in hits
        ]
        assert matches_of(hits, Tenancy()) == matches
        assert len(matches) == len(TEXTS)


@pytest.mark.parametrize(
    "broken",
    [
        {"chunk": {"class": "TextChunk", "type": 5, "hash": ""}},
        {"chunk": {"class": "TextChunk", "type": "text-chunk", "hash": "", "index": -1}},
        {"chunk": {"class": "TextChunk", "type": "text-chunk", "hash": "", "start": 1.0}},
        {"chunk": {"class": "TextChunk", "type": "text-chunk", "hash": "", "id": ""}},
        {"metadata": {"n": 2**64 - 1}},
        {"framework_data": {"n": 2**64 - 1}},
    ],
    ids=lambda broken: json.dumps(broken)[:60],
)
def test_what_others_wrote_wrongly_is_refused(make_store, broken):
    store = make_store(full_text=False)
    store.add([entry("a", content="a")])
    rewrite(store, "a", **broken)
    with pytest.raises(InvalidDocumentError):
        store.query(
            VectorStoreQuery(embedding=EAST.embedding, options={"consistency_level": "Strong"})
        )


def test_negative_zeros_of_others_come_back_as_zeros(make_store):
    store = make_store(full_text=False)
    store.add([entry("a", content="a")])
    rewrite(store, "a", metadata={"x": [-0.0]})
    query = VectorStoreQuery(embedding=EAST.embedding, options={"consistency_level": "Strong"})
    (found,) = store.query(query)
    assert str(found.chunk.metadata["x"]) == "[0.0]"


def test_answers_share_nothing(make_store):
    """Also where rows are listed, or scored here, once for several queries."""
    store = make_store()
    store.add([make_entry("a", metadata={"k": [1]}, framework_data={"k": [1]})])
    listing = VectorStoreQuery()
    everything = VectorStoreQuery(embedding=EAST.embedding, top_k=-1)
    opposite = VectorStoreQuery(embedding=WEST.embedding, top_k=-1)
    answers = store.query_many([listing, listing, everything, opposite])
    for (match,) in answers:
        assert match.chunk.metadata["k"] == match.framework_data["k"] == [1]
        match.chunk.metadata["k"].append(2)
        match.framework_data["k"].append(2)


def rows_around(deleted):
    """Ten rows, the first of them the nearest to the east; those whose numbers are in `deleted` are."""
    angles = np.linspace(0, 3, 10)
    return [
        make_entry(f"{n}", [np.cos(a), np.sin(a), 0.0, 0.0], deleted=n in deleted)
        for n, a in enumerate(angles)
    ]


def test_soft_deleted_rows_cost_a_query_only_where_they_are_met(make_store, monkeypatch):
    store = make_store()
    store.add(rows_around(deleted={1, 2}))
    store.count()
    calls = record_calls(monkeypatch)
    assert ids_of(store.query(WEST)) == ["9", "8", "7"]
    assert [(call.method, call.arguments["filter"]) for call in calls] == [("search", "")]
    assert ids_of(store.query(EAST)) == ["0", "3", "4"]
    assert len(calls) == 3, "the second search leaves them out"
    assert ids_of(store.query(EAST)) == ["0", "3", "4"]
    assert ids_of(store.query(WEST)) == ["9", "8", "7"]
    assert len(calls) == 5
    assert calls[-1].arguments["filter"] == "deleted == false"


def test_soft_deleted_rows_that_are_cleared_cost_nothing_more(make_store, monkeypatch):
    store = make_store()
    store.add(rows_around(deleted={1}))
    assert ids_of(store.query(EAST)) == ["0", "2", "3"]
    store.clear()
    store.add(rows_around(deleted=set()))
    store.count()
    calls = record_calls(monkeypatch)
    assert ids_of(store.query(EAST)) == ["0", "1", "2"]
    assert [(call.method, call.arguments["filter"]) for call in calls] == [("search", "")]
    store.add(rows_around(deleted={2}))
    assert ids_of(store.query(EAST)) == ["0", "1", "3"]


@pytest.mark.parametrize("deleted", [{0}, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, {9}, set()])
def test_soft_deleted_rows_are_never_among_the_matches(make_store, deleted):
    store = make_store()
    store.add(rows_around(deleted))
    left = [str(n) for n in range(10) if n not in deleted]
    every = VectorStoreQuery(embedding=EAST.embedding, top_k=-1)
    grouped = VectorStoreQuery(embedding=EAST.embedding, options={"group_by": "document_id"})
    found = store.query_many([EAST, WEST, every, grouped])
    assert ids_of(found[0]) == left[:3]
    assert ids_of(found[1]) == left[::-1][:3]
    assert ids_of(found[2]) == ids_of(found[3]) == left


def test_rows_that_others_delete_softly_are_left_out(make_store):
    """Also if this process has never met one."""
    store = make_store(full_text=False)
    store.add(rows_around(deleted=set()))
    assert ids_of(store.query(EAST)) == ["0", "1", "2"]
    rewrite(store, "1", deleted=True)
    strong = VectorStoreQuery(
        embedding=EAST.embedding, top_k=3, options={"consistency_level": "Strong"}
    )
    assert ids_of(store.query(strong)) == ["0", "2", "3"]
