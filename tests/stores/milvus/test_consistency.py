"""A process reads its own writes, and waits for them only where there are any."""

from uuid import uuid4

import pytest
from pymilvus import MilvusClient

from engine_calls import record_calls
from foreign_layouts import MADE
from ragbridge.stores.base import SimilarityMetric, VectorStoreQuery
from ragbridge.stores.milvus import MilvusVectorStore
from ragbridge.testing._suite.samples import ids_of, make_entry

pytestmark = pytest.mark.stores("milvus")

QUERY = VectorStoreQuery(embedding=[1.0, 0.0, 0.0, 0.0], top_k=100)


@pytest.fixture
def levels(monkeypatch):
    """What consistency levels the reads asked for since the last time."""
    calls = record_calls(monkeypatch)

    def since():
        found = [call.arguments.get("consistency_level") for call in calls]
        calls.clear()
        return [level for level in found if level is not None]

    return since


@pytest.fixture
def store(backend):
    with backend.empty_store(metric=SimilarityMetric.COSINE) as store:
        yield store


READS = {
    "query": lambda store: store.query(QUERY),
    "listing": lambda store: store.query(VectorStoreQuery()),
    "get": lambda store: store.get(["a"]),
    "scan": lambda store: list(store.scan()),
    "count": lambda store: store.count(),
}
WRITES = {
    "add": lambda store: store.add([make_entry("a")]),
    "delete": lambda store: store.delete(["b"]),
    "delete_by_filter": lambda store: store.delete_by_filter(ids=["b", "a"]),
    "clear": lambda store: store.clear(),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_only_the_first_read_after_a_write_waits(store, levels, write, read):
    store.add([make_entry("a"), make_entry("b")])
    store.count()
    levels()
    read(store)
    read(store)
    assert set(levels()) == {"Session"}
    write(store)
    levels()
    read(store)
    assert levels()[0] == "Strong"
    read(store)
    assert set(levels()) == {"Session"}


def test_writes_of_one_collection_make_no_other_wait(make_store, levels):
    first, second = make_store(), make_store()
    for store in (first, second):
        store.add([make_entry("a")])
        store.count()
    first.add([make_entry("b")])
    levels()
    second.count()
    assert levels() == ["Session"]
    first.count()
    assert levels() == ["Strong"]


def test_stores_of_one_collection_know_of_each_others_writes(milvus_server, levels):
    """Also where its address is spelled in another way, and where one is closed and gone."""
    name, port = f"test_{uuid4().hex}", milvus_server.port
    uris = [
        f"http://127.0.0.1:{port}",
        f"http://localhost:{port}",
        f"127.0.0.1:{port}".join(("http://", "/")),
    ]
    stores = [MilvusVectorStore(name, uri=uri) for uri in uris]
    for number, writer in enumerate(stores):
        writer.add([make_entry(f"r{number}")])
        for reader in stores:
            assert len(reader.query(QUERY)) == number + 1
    stores[0].delete("r0")
    stores[0].close()
    assert ids_of(stores[1].query(QUERY)) == ["r1", "r2"]
    levels()
    stores[1].count()
    assert levels() == ["Session"]
    for store in stores:
        store.close()


def test_an_alias_may_be_moved_between_a_write_and_a_read(milvus_server):
    one, two, alias = (f"test_{uuid4().hex}" for _ in range(3))
    uri = milvus_server.uri
    client = MilvusClient(uri)
    with (
        MilvusVectorStore(one, uri=uri) as first,
        MilvusVectorStore(two, uri=uri) as second,
        MilvusVectorStore(alias, uri=uri) as either,
    ):
        first.add([make_entry("a")])
        second.add([make_entry("b")])
        client.create_alias(one, alias)
        assert either.count() == 1
        client.alter_alias(two, alias)
        for number in range(5):
            second.add([make_entry(f"new{number}")])
            assert either.count() == number + 2
            either.delete(f"new{number}")
            assert second.count() == number + 1
            second.add([make_entry(f"new{number}")])
    client.drop_alias(alias)
    for name in (one, two):
        client.drop_collection(name)
    client.close()


async def test_sync_and_async_reads_see_each_others_writes(make_store):
    store = make_store()
    for number in range(10):
        store.add([make_entry(f"a{number}")])
        assert await store.acount() == 2 * number + 1
        await store.aadd([make_entry(f"b{number}")])
        assert store.count() == 2 * number + 2
    await store.adelete(["a0", "b0"])
    assert store.count() == 18


def test_the_first_reads_see_what_others_wrote(milvus_uri, levels):
    """The look at a row by which a layout is recognised, and the first read of rows."""
    name = f"made_{uuid4().hex}"
    client = MilvusClient(milvus_uri)
    MADE["ballerina"].make(client, name, "COSINE")
    metadata = {"fileName": "f"}
    client.insert(name, [{"id": 5, "vector": [1.0, 0.0, 0.0, 0.0], "metadata": metadata}])
    with MilvusVectorStore.open(name, uri=milvus_uri) as store:
        assert store.get(["5"])[0].chunk.metadata == metadata
        assert levels() == ["Strong", "Strong"]
        store.count()
        assert levels() == ["Session"]
    client.drop_collection(name)
    client.close()
