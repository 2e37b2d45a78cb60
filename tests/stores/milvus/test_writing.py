"""Writing: what engines could not take is refused before anything is sent; batches; half-done adds."""

import threading

import numpy as np
import pytest

from engine_calls import record_calls, written_data
from ragbridge.documents import Chunk, TextChunk
from ragbridge.errors import (
    InvalidDocumentError,
    InvalidEmbeddingError,
    PartialWriteError,
    VectorStoreError,
)
from ragbridge.filters import where
from ragbridge.stores.base import VectorEntry
from ragbridge.stores.milvus import MilvusConfig, MilvusVectorStore
from ragbridge.testing._suite.samples import assert_same_rows, ids_of, make_entry, stored_rows

pytestmark = pytest.mark.stores("milvus-lite", "milvus")
lite_only = pytest.mark.stores("milvus-lite")
server_only = pytest.mark.stores("milvus")


def chunk_entry(row_id="big", *, framework_data=None, content="text", **chunk):
    kind = TextChunk if isinstance(content, str) else Chunk
    return VectorEntry(
        id=row_id,
        embedding=[1.0, 0.0, 0.0, 0.0],
        chunk=kind(content=content, **chunk),
        framework_data=framework_data,
    )


# A text of n characters in a JSON object with one key of one letter takes n + 8 bytes.

AT_THE_LIMIT = {
    "id": chunk_entry("é" * 256),
    "document_id": chunk_entry(document_id="é" * 512),
    "content": chunk_entry(content="x" * 65_535),
    "metadata": chunk_entry(metadata={"k": "x" * (65_536 - 8)}),
    "framework_data": chunk_entry(framework_data={"k": "é" * ((65_536 - 8) // 2)}),
    "chunk": chunk_entry(content=b"x" * 48_000),
}
TOO_LARGE = {
    "id": chunk_entry("é" * 257),
    "document_id": chunk_entry(document_id="é" * 513),
    "content": chunk_entry(content="é" * 32_768),
    "metadata": chunk_entry(metadata={"k": "x" * (65_536 - 7)}),
    "framework_data": chunk_entry(framework_data={"k": "é" * 32_765}),
    "chunk": chunk_entry(content=b"x" * 50_000),
    "metadata are filtered": chunk_entry(metadata={"_" * 60 + str(n): n for n in range(500)}),
}


@server_only
@pytest.mark.parametrize("entry", AT_THE_LIMIT.values(), ids=AT_THE_LIMIT)
def test_rows_at_the_limits_are_taken(server_store, entry):
    server_store.add([entry])
    assert_same_rows(stored_rows(server_store), [entry])


@server_only
@pytest.mark.parametrize("field", TOO_LARGE)
def test_rows_beyond_the_limits_are_refused(server_store, monkeypatch, field):
    entry = TOO_LARGE[field]
    calls = record_calls(monkeypatch)
    with pytest.raises(InvalidDocumentError, match=field) as caught:
        server_store.add([make_entry("fine"), entry])
    message = str(caught.value)
    assert repr(entry.id[:20])[:-1] in message
    assert "at most" in message
    assert len(message) < 500
    assert not calls, "nothing may be sent"
    assert server_store.count() == 0


@pytest.fixture(scope="module")
def _server_store(backend):
    store = backend.new_store(metric="cosine")
    store.add([make_entry("first")])
    yield store
    backend.remove(store)


@pytest.fixture
def server_store(_server_store):
    """An empty store on a server, without the making of a collection."""
    _server_store.clear()
    return _server_store


@server_only
def test_a_refused_row_makes_no_collection(make_store):
    store = make_store()
    with pytest.raises(InvalidDocumentError, match="content"):
        store.add([TOO_LARGE["content"]])
    assert store.add([make_entry("a", [1.0, 2.0])]) == ["a"], "the dimension must still be free"


@server_only
def test_too_many_dimensions_are_refused(make_store):
    store = make_store()
    with pytest.raises(InvalidEmbeddingError, match="32768"):
        store.add([make_entry("a", np.ones(32_769, np.float32))])
    assert store.add([make_entry("a")]) == ["a"]


@lite_only
@pytest.mark.parametrize(
    "entry",
    [TOO_LARGE[field] for field in TOO_LARGE if field != "document_id"],
    ids=[field for field in TOO_LARGE if field != "document_id"],
)
def test_milvus_lite_takes_larger_rows(make_store, entry):
    store = make_store()
    store.add([entry])
    assert_same_rows(stored_rows(store), [entry])


@lite_only
def test_milvus_lite_counts_the_characters_of_ids(make_store):
    store = make_store()
    store.add([make_entry("é" * 512)])
    with pytest.raises(InvalidDocumentError, match="513 characters"):
        store.add([make_entry("é" * 513)])
    assert store.count() == 1


# Batches


@pytest.mark.parametrize(
    ("settings", "rows", "sizes"),
    [
        ({"batch_size": 7}, 20, [7, 7, 6]),
        ({"batch_size": 1}, 3, [1, 1, 1]),
        ({"batch_bytes": 1}, 3, [1, 1, 1]),
        ({"batch_size": 50}, 50, [50]),
        ({"batch_size": 333}, 1000, [333, 333, 333, 1]),
    ],
)
def test_requests_are_bounded(make_store, monkeypatch, settings, rows, sizes):
    assert_sent_in(sizes, make_store, monkeypatch, settings, rows)


@lite_only
def test_milvus_lite_writes_1000_rows_at_once(make_store, monkeypatch):
    assert_sent_in([1000, 1000, 500], make_store, monkeypatch, {}, rows=2500)


@server_only
def test_servers_write_5000_rows_at_once(make_store, monkeypatch):
    assert_sent_in([5000, 1], make_store, monkeypatch, {}, rows=5001)


def assert_sent_in(sizes, make_store, monkeypatch, settings, rows):
    with_defaults = make_store()
    config = MilvusConfig(uri=with_defaults.config.uri, **settings)
    with MilvusVectorStore(with_defaults.collection_name, config=config) as store:
        store.add([make_entry("first")])
        calls = record_calls(monkeypatch)
        entries = [make_entry(f"r{n:04}", [1.0, n, 0.0, 0.0], text=f"{n}") for n in range(rows)]
        store.add(entries)
        sent = map(len, written_data(calls))
        assert sorted(sent) == sorted(sizes)  # servers answer in any order
        assert_same_rows(stored_rows(store), [make_entry("first"), *entries])


@pytest.mark.parametrize("text", ["x" * 60_000, "€" * 20_000, ""], ids=["ascii", "wide", "none"])
def test_large_rows_are_sent_a_few_at_a_time(make_store, monkeypatch, text):
    config = MilvusConfig(uri=make_store().config.uri, batch_bytes=2**20)
    vectors = np.ones((100, 4000), np.float32)
    with MilvusVectorStore(make_store().collection_name, config=config) as store:
        calls = record_calls(monkeypatch)
        store.add([make_entry(f"r{n}", vectors[n], text=text) for n in range(100)])
        sizes = [data.request("InsertRequest").ByteSize() for data in written_data(calls)]
        assert max(sizes) <= 2**20
        assert sorted(sizes)[1] > 2**20 - 80_000, "and no fewer than fit, but for the last"
        assert store.count() == 100


# What fails in the middle


@pytest.fixture
def failing(make_store, monkeypatch):
    """A store whose third write finds its collection dropped."""
    from pymilvus import MilvusClient

    made = make_store()
    config = MilvusConfig(uri=made.config.uri, batch_size=1000)
    store = MilvusVectorStore(made.collection_name, config=config)
    store.add([make_entry("first")])
    method = "insert" if store.config.is_lite else "upsert"
    original, begun, ended = getattr(MilvusClient, method), [], threading.Semaphore(0)

    def write(self, *args, **kwargs):
        begun.append(1)
        if len(begun) == 3:
            assert all(ended.acquire(timeout=60) for _ in range(2))
            self.drop_collection(kwargs["collection_name"])
        answer = original(self, *args, **kwargs)
        ended.release()
        return answer

    monkeypatch.setattr(MilvusClient, method, write)
    with store:
        yield store


def test_an_add_that_fails_in_the_middle_says_what_is_in(failing):
    rows = [make_entry(f"r{n:04}") for n in range(2500)]
    with pytest.raises(PartialWriteError, match="2000 of 2500") as caught:
        failing.add([*rows, rows[0]])
    assert sorted(caught.value.written) == ids_of(rows[:2000])
    assert sorted(caught.value.not_written) == ids_of(rows[2000:])
    assert isinstance(caught.value.__cause__, VectorStoreError)
    failing.add(rows)
    assert failing.count() == 2500


def test_an_add_that_fails_at_once_is_made_again(failing):
    for number in range(2):
        failing.add([make_entry(f"r{number}")])
    failing.add([make_entry("r2")])
    assert ids_of(stored_rows(failing)) == ["r2"], "the collection was made anew"


def test_clear_is_exact_and_leaves_the_store_usable(make_store):
    store = make_store()
    for number in range(3):
        store.add([make_entry(f"{number}-{n}", metadata={"n": n}) for n in range(1200)])
        store.delete([f"{number}-{n}" for n in range(100)])
        assert store.count() == 1100
        assert store.count(where("n") < 150) == 50
        store.clear()
        assert store.count(include_deleted=True) == 0
