"""What the store holds is its own: chunks built on read, nothing shared with callers."""

import numpy as np
import pytest

from memory_rows import entry
from ragbridge.documents import Chunk, TextChunk
from ragbridge.embeddings import SparseVector
from ragbridge.errors import InvalidDocumentError
from ragbridge.filters import where
from ragbridge.stores.base import VectorEntry, VectorStoreQuery
from ragbridge.stores.memory import InMemoryVectorStore

NESTED = {"flat": 1, "tags": ["a", {"deep": [1]}], "spec": {"ram": 16}}


def only_row(store):
    (row,) = store.get(["a"])
    return row


def test_what_is_added_may_be_changed_afterwards():
    vector = np.array([1, 2], np.float32)
    given = entry("a", vector, metadata=NESTED, framework_data={"node": {"x": [1]}})
    store = InMemoryVectorStore()
    store.add([given])
    vector[:] = 0
    given.chunk.metadata["tags"][1]["deep"].append(2)
    given.chunk.metadata.clear()
    given.framework_data["node"]["x"].append(2)
    row = only_row(store)
    assert row.chunk.metadata == NESTED
    assert row.framework_data == {"node": {"x": [1]}}
    assert row.embedding.tolist() == [1, 2]
    assert store.count(where("spec", "ram") == 16) == 1


@pytest.mark.parametrize("read", ["get", "scan", "query"])
def test_what_is_read_may_be_changed_afterwards(read):
    store = InMemoryVectorStore()
    store.add([entry("a", [1, 2], metadata=NESTED, framework_data={"x": [1]})])
    query = VectorStoreQuery(embedding=[1, 0], include_embeddings=True)
    readers = {
        "get": lambda: store.get(["a"]),
        "scan": lambda: list(store.scan()),
        "query": lambda: store.query(query),
    }
    (row,) = readers[read]()
    row.chunk.metadata["tags"][1]["deep"].append(2)
    row.chunk.metadata["flat"] = "other"
    row.framework_data["x"].append(2)
    row.embedding[:] = 9
    again = only_row(store)
    assert again.chunk.metadata == NESTED
    assert again.framework_data == {"x": [1]}
    assert again.embedding.tolist() == [1, 2]
    assert store.count(where("flat") == 1) == 1


def test_content_and_sparse_vectors_are_copied():
    indices, values = np.array([1, 5]), np.array([1, 2], np.float32)
    content = {"table": [[1, 2]]}
    store = InMemoryVectorStore()
    given = VectorEntry(
        id="a", embedding=SparseVector(indices, values), chunk=Chunk(content=content)
    )
    store.add([given])
    values[:] = 9
    content["table"][0].append(3)
    row = only_row(store)
    assert row.embedding.to_dict() == {1: 1.0, 5: 2.0}
    row.chunk.content["table"].clear()
    row.embedding.values[:] = 7
    assert only_row(store).chunk.content == {"table": [[1, 2]]}
    assert only_row(store).embedding.to_dict() == {1: 1.0, 5: 2.0}


def test_vectors_come_back_bit_by_bit():
    vectors = np.random.default_rng(3).standard_normal((50, 7)).astype(np.float32) * 1e3
    store = InMemoryVectorStore()
    ids = store.add([entry(str(n), vector) for n, vector in enumerate(vectors)])
    rows = store.get(ids)
    assert all(row.embedding.base is None for row in rows), "one row kept would keep all of them"
    got = np.array([row.embedding for row in rows])
    assert got.dtype == np.float32
    assert got.tobytes() == vectors.tobytes()


def test_numbers_keep_their_type():
    metadata = {"int": 1, "float": 1.0, "bool": True, "big": 2**63 - 1, "none": None, "text": "1"}
    store = InMemoryVectorStore()
    store.add([entry("a", metadata=metadata)])
    got = only_row(store).chunk.metadata
    assert got == metadata
    assert list(got) == list(metadata)
    assert [type(value) for value in got.values()] == [type(v) for v in metadata.values()]


CHANGED = {
    "a set": {"k": {1, 2}},
    "an object": {"k": object()},
    "nan": {"k": float("nan")},
    "a huge integer": {"k": 2**64},
    "a number as key": {1: "x"},
    "a lone surrogate": {"k": "\ud800"},
    "a lone surrogate as key": {"\ud800": 1},
    "bytes far inside": {"k": [{"x": [b""]}]},
}


@pytest.mark.parametrize("change", CHANGED.values(), ids=CHANGED)
def test_metadata_that_became_invalid_are_refused(change):
    good, bad = entry("good", [1.0]), entry("bad", [1.0])
    bad.chunk.metadata.update(change)
    store = InMemoryVectorStore()
    with pytest.raises(InvalidDocumentError, match=r"entries\[1\] \(id 'bad'\)"):
        store.add([good, bad])
    assert store.count() == 0


@pytest.mark.parametrize("change", CHANGED.values(), ids=CHANGED)
def test_framework_data_that_became_invalid_are_refused(change):
    bad = entry("bad", [1.0], framework_data={"x": 1})
    bad.framework_data.update(change)
    with pytest.raises(InvalidDocumentError, match="framework_data"):
        InMemoryVectorStore().add([bad])


def test_metadata_that_became_unusual_are_stored_as_if_made_so():
    changed = entry("a")
    changed.chunk.metadata.update({"pair": (1, 2), "zero": -0.0})
    store = InMemoryVectorStore()
    store.add([changed])
    got = only_row(store).chunk.metadata
    assert got == {"pair": [1, 2], "zero": 0.0}
    assert str(got["zero"]) == "0.0"


FIELDS = [
    ("type", None),
    ("type", ""),
    ("document_id", ""),
    ("document_id", 7),
    ("id", ["x"]),
    ("index", "1"),
    ("index", -1),
    ("start", True),
    ("end", 2**63),
    ("content", 7),
    ("content", "\ud800"),
    ("metadata", None),
]


@pytest.mark.parametrize(("field", "value"), FIELDS)
def test_chunks_that_were_copied_into_nonsense_are_refused(field, value):
    chunk = TextChunk(content="x").model_copy(update={field: value})
    store = InMemoryVectorStore()
    with pytest.raises(InvalidDocumentError, match=r"entries\[0\]"):
        store.add([VectorEntry(id="a", chunk=chunk)])
    assert store.count() == 0


def test_content_that_no_file_could_hold_is_refused_without_being_shown():
    secret = {"password": object()}
    with pytest.raises(InvalidDocumentError, match="content must be") as caught:
        InMemoryVectorStore().add([VectorEntry(chunk=Chunk(content=secret))])
    assert "password" not in str(caught.value)


class Paragraph(TextChunk):
    """A kind of chunk that a user made."""


class Page(TextChunk):
    """A kind of chunk with a field that no store knows."""

    number: int = 0


def test_chunks_of_other_classes_come_back_as_ours():
    store = InMemoryVectorStore()
    store.add([VectorEntry(id="a", chunk=Paragraph(content="x", type="p", index=3))])
    assert only_row(store).chunk == TextChunk(content="x", type="p", index=3)


def test_fields_that_would_be_lost_are_refused():
    with pytest.raises(InvalidDocumentError, match=r"number.*metadata"):
        InMemoryVectorStore().add([VectorEntry(chunk=Page(content="x", number=7))])
