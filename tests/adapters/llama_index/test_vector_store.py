"""What LlamaIndex's store does with nodes: adding, removing, reading, saving, travelling."""

import asyncio
import copy
import json
import pickle
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import fsspec
import pytest
from llama_index.core import Document, MockEmbedding, StorageContext, VectorStoreIndex
from llama_index.core.indices.loading import load_index_from_storage
from llama_index.core.schema import TextNode
from llama_index.core.vector_stores.types import VectorStoreQuery

from case_names import shown
from llama_index_stores import ask, group, make_node
from ragbridge.documents import TextChunk
from ragbridge.embeddings import HashingEmbeddingProvider, SparseVector
from ragbridge.errors import (
    InvalidConfigError,
    InvalidDocumentError,
    InvalidEmbeddingError,
    InvalidQueryError,
    VectorStoreError,
)
from ragbridge.llama_index import RagbridgeVectorStore
from ragbridge.stores.base import SimilarityMetric, VectorEntry, VectorStore
from ragbridge.stores.memory import InMemoryVectorStore

EAST, NORTH, WEST = (1.0, 0.0, 0.0, 0.0), (0.0, 1.0, 0.0, 0.0), (-1.0, 0.0, 0.0, 0.0)


@pytest.fixture
def shelf(store):
    """Four nodes of two documents, and one of none."""
    store.add(
        [
            make_node("a1", EAST, doc="a", metadata={"rank": 1}),
            make_node("a2", NORTH, doc="a", metadata={"rank": 2}),
            make_node("b1", WEST, doc="b", metadata={"rank": 1}),
            make_node("c1", (1.0, 1.0, 0.0, 0.0)),
        ]
    )
    return store


def ids_in(store):
    return [node.node_id for node in store.get_nodes()]


# Adding.


def test_ids_come_in_the_order_of_nodes(store):
    assert store.add([make_node(name) for name in ("z", "a", "m")]) == ["z", "a", "m"]
    assert store.add([]) == []
    assert ids_in(store) == ["a", "m", "z"]


def test_adding_replaces(store):
    store.add([make_node("a", text="old", metadata={"x": 1})])
    store.add([make_node("a", NORTH, text="new")])
    (node,) = store.get_nodes()
    assert (node.text, node.metadata, node.embedding) == ("new", {}, list(NORTH))


def test_of_equal_ids_the_last_stays(store):
    assert store.add([make_node("a", text="1"), make_node("a", text="2")]) == ["a", "a"]
    assert [node.text for node in store.get_nodes()] == ["2"]


def test_embeddings_must_fit(shelf):
    with pytest.raises(InvalidEmbeddingError, match=r"id 'n'.*dimension 2.*dimension 4"):
        shelf.add([make_node("fine"), make_node("n", (1.0, 0.0))])
    with pytest.raises(InvalidEmbeddingError, match=r"id 'n'.*no vector"):
        shelf.add([TextNode(id_="n", text="t")])
    with pytest.raises(InvalidEmbeddingError, match="zero vector"):
        shelf.add([make_node("n", (0.0, 0.0, 0.0, 0.0))])
    assert ids_in(shelf) == ["a1", "a2", "b1", "c1"]


@pytest.mark.stores("milvus")
@pytest.mark.parametrize(
    ("fields", "limit"),
    [
        ({"text": "x" * 70_000}, "content takes 70000"),
        ({"metadata": {"big": "x" * 70_000}}, "metadata takes 700"),
        ({"excluded_llm_metadata_keys": ["x" * 70_000]}, "framework_data takes 700"),
    ],
    ids=["text", "metadata", "excluded keys"],
)
def test_nodes_over_the_limits_of_a_server(shelf, fields, limit):
    with pytest.raises(InvalidDocumentError, match=rf"row 'large': its {limit}.*at most \d+"):
        shelf.add([make_node("fine"), make_node("large", **fields)])
    assert ids_in(shelf) == ["a1", "a2", "b1", "c1"]


@pytest.mark.stores("milvus-lite", "milvus")
def test_ids_over_the_limits_of_an_engine(shelf):
    with pytest.raises(InvalidDocumentError, match=r"row 'xxx.*its id takes 600.*at most 512"):
        shelf.add([make_node("fine"), make_node("x" * 600)])
    with pytest.raises(InvalidDocumentError, match=r"row 'large': its document_id takes 70000"):
        shelf.add([make_node("fine"), make_node("large", doc="d" * 70_000)])
    assert ids_in(shelf) == ["a1", "a2", "b1", "c1"]


@pytest.mark.parametrize("text", ["", "\x00", "a\x00b", "𝄞 ñ ü", "\u202e", "line\r\nline"])
def test_any_text(store, text):
    metadata = {text or "k": text}
    store.add([make_node("n", text=text, metadata=metadata, doc=f"d{text}")])
    (node,) = store.get_nodes()
    assert (node.text, node.metadata, node.ref_doc_id) == (text, metadata, f"d{text}")


# Removing.


def test_delete_removes_a_document(shelf):
    shelf.delete("a")
    assert ids_in(shelf) == ["b1", "c1"]
    shelf.delete("a")
    shelf.delete("no such document")
    assert ids_in(shelf) == ["b1", "c1"]


@pytest.mark.parametrize("ref_doc_id", ['"] or id != "', "a' or 'a' == 'a", "*", "a\\"])
def test_no_document_id_changes_what_is_deleted(shelf, ref_doc_id):
    shelf.delete(ref_doc_id)
    assert ids_in(shelf) == ["a1", "a2", "b1", "c1"]


@pytest.mark.parametrize("ref_doc_id", ["", None, 3, ["a"]])
def test_a_document_id_must_be_one(shelf, ref_doc_id):
    with pytest.raises(InvalidQueryError, match="ref_doc_id must be a non-empty string"):
        shelf.delete(ref_doc_id)
    assert ids_in(shelf) == ["a1", "a2", "b1", "c1"]


DELETES = {
    "ids": ({"node_ids": ["a1", "c1", "unknown"]}, "a2 b1"),
    "filters": ({"filters": group(("rank", "==", 1))}, "a2 c1"),
    "both": ({"node_ids": ["a1", "a2"], "filters": group(("rank", "==", 1))}, "a2 b1 c1"),
    "not": ({"filters": group(("rank", "==", 1), condition="not")}, "a1 b1"),
    "ids and an empty group": ({"node_ids": ["a1"], "filters": group()}, "a2 b1 c1"),
    "nothing": ({}, "a1 a2 b1 c1"),
    "no ids": ({"node_ids": []}, "a1 a2 b1 c1"),
    "no ids, but filters": (
        {"node_ids": [], "filters": group(("rank", "==", 1))},
        "a1 a2 b1 c1",
    ),
    "an empty group": ({"filters": group()}, "a1 a2 b1 c1"),
}


@pytest.mark.parametrize(("arguments", "left"), DELETES.values(), ids=DELETES)
def test_delete_nodes(shelf, arguments, left):
    shelf.delete_nodes(**arguments)
    assert ids_in(shelf) == left.split()


@pytest.mark.parametrize("node_ids", ["a1", [1], [""], 3])
def test_node_ids_must_be_ids(shelf, node_ids):
    for call in (shelf.delete_nodes, shelf.get_nodes):
        with pytest.raises(InvalidQueryError, match="node_ids"):
            call(node_ids)


def test_a_cleared_store_can_be_used_at_once(shelf):
    shelf.clear()
    assert ids_in(shelf) == []
    assert ask(shelf) == []
    shelf.add([make_node("new")])
    assert ask(shelf) == ["new"]


@pytest.mark.parametrize("method", ["add", "delete", "delete_nodes"])
def test_keywords_that_nobody_knows_are_refused(shelf, method):
    argument = {"add": [make_node("n")], "delete": "a", "delete_nodes": ["a1"]}[method]
    with pytest.raises(InvalidQueryError, match=f"{method} takes no keyword 'flush'"):
        getattr(shelf, method)(argument, flush=True)
    assert ids_in(shelf) == ["a1", "a2", "b1", "c1"]


@pytest.mark.stores("milvus-lite", "milvus")
def test_a_delete_is_one_request(node_store, monkeypatch):
    from engine_calls import record_calls

    node_store.add([make_node("a", doc="d"), make_node("b", doc="e")])
    node_store.get_nodes()
    calls = record_calls(monkeypatch)
    node_store.delete("d")
    node_store.delete_nodes(["b"])
    assert [call.method for call in calls] == ["delete", "delete"]
    assert ids_in(node_store) == []


# Reading.


def test_get_nodes_keeps_the_order_asked(shelf):
    found = shelf.get_nodes(["c1", "unknown", "a1", "c1"])
    assert [node.node_id for node in found] == ["c1", "a1"]
    assert found[1].embedding == list(EAST)
    assert found[1].ref_doc_id == "a"


def test_get_nodes_takes_ids_and_filters(shelf):
    filters = group(("rank", "==", 1))
    found = shelf.get_nodes(["c1", "b1", "a2", "a1"], filters)
    assert [node.node_id for node in found] == ["b1", "a1"]
    assert [node.node_id for node in shelf.get_nodes(filters=filters)] == ["a1", "b1"]
    assert shelf.get_nodes([]) == []


def test_soft_deleted_rows_never_show(node_store):
    node_store.vector_store.add(
        [
            VectorEntry(id="gone", embedding=EAST, chunk=TextChunk(content="t"), deleted=True),
            VectorEntry(id="here", embedding=EAST, chunk=TextChunk(content="t")),
        ]
    )
    assert ids_in(node_store) == ask(node_store) == ["here"]
    assert node_store.get_nodes(["gone"]) == []


# What it is.


def test_what_llama_index_asks_of_a_store(node_store):
    assert node_store.stores_text
    assert node_store.is_embedding_query
    assert node_store.class_name() == "RagbridgeVectorStore"


def test_client_is_the_engines(node_store, store_name):
    if store_name == "memory":
        assert node_store.client is None
    else:
        assert node_store.client.has_collection(node_store.vector_store.collection_name)


def test_made_of_nothing_an_address_or_a_configuration(tmp_path):
    from ragbridge.stores.milvus import MilvusConfig

    assert isinstance(RagbridgeVectorStore().vector_store, InMemoryVectorStore)
    store = RagbridgeVectorStore(metric="euclidean")
    assert store.vector_store.metric is SimilarityMetric.EUCLIDEAN
    path = str(tmp_path / "rows.db")
    for source in (path, tmp_path / "rows.db", MilvusConfig(uri=path)):
        made = RagbridgeVectorStore(source, collection_name="nodes").vector_store
        assert (made.collection_name, made.config.uri) == ("nodes", path)
    assert RagbridgeVectorStore(uri=path).vector_store.config.uri == path


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"vector_store": InMemoryVectorStore(), "metric": "cosine"}, "metric can only be given"),
        ({"vector_store": 3}, "config must be a MilvusConfig"),
        ({"metric": "distance"}, "metric must be one of"),
        ({"dim": 4}, "does not take these options"),
        ({"sparse_embedding_provider": "bm25"}, "sparse_embedding_provider must be of type"),
        ({"learner_candidates": 0}, "learner_candidates must be a positive integer"),
    ],
    ids=shown,
)
def test_what_it_cannot_be_made_of(arguments, message):
    with pytest.raises(InvalidConfigError, match=message):
        RagbridgeVectorStore(**arguments)


# Saving.


def test_a_store_in_memory_is_saved_and_loaded(tmp_path):
    store = RagbridgeVectorStore(metric="euclidean")
    store.add([make_node("a", doc="d", metadata={"x": [1]})])
    path = tmp_path / "new" / "directory" / "nodes"
    store.persist(str(path))
    loaded = RagbridgeVectorStore.from_persist_path(str(path))
    assert loaded.get_nodes() == store.get_nodes()
    assert loaded.vector_store.metric is SimilarityMetric.EUCLIDEAN


def test_through_another_file_system():
    files = fsspec.filesystem("memory")
    store = RagbridgeVectorStore()
    store.add([make_node("a")])
    store.persist("/somewhere/nodes", fs=files)
    loaded = RagbridgeVectorStore.from_persist_path("/somewhere/nodes", fs=files)
    assert loaded.get_nodes() == store.get_nodes()


def test_what_was_not_saved_cannot_be_loaded(tmp_path):
    with pytest.raises(VectorStoreError, match="cannot read"):
        RagbridgeVectorStore.from_persist_path(str(tmp_path / "nodes"))
    (tmp_path / "default__vector_store.json").write_text("{}")
    with pytest.raises(VectorStoreError, match="damaged, or no file"):
        RagbridgeVectorStore.from_persist_dir(str(tmp_path))


@pytest.mark.parametrize("files", [None, fsspec.filesystem("memory")], ids=["local", "fs"])
def test_a_storage_context_saves_and_loads_an_index(tmp_path, files):
    directory = str(tmp_path)
    context = StorageContext.from_defaults(vector_store=RagbridgeVectorStore())
    documents = [Document(text="one", id_="d1"), Document(text="two", id_="d2")]
    model = MockEmbedding(embed_dim=4)
    index = VectorStoreIndex.from_documents(documents, storage_context=context, embed_model=model)
    context.persist(directory, fs=files)
    again = StorageContext.from_defaults(
        persist_dir=directory,
        vector_store=RagbridgeVectorStore.from_persist_dir(directory, fs=files),
        fs=files,
    )
    loaded = load_index_from_storage(again, embed_model=model)
    assert loaded.vector_store.get_nodes() == index.vector_store.get_nodes()
    texts = {node.text for node in loaded.as_retriever(similarity_top_k=5).retrieve("one")}
    assert texts == {"one", "two"}


@pytest.mark.stores("milvus-lite", "milvus")
def test_an_engine_needs_no_saving(node_store, tmp_path):
    node_store.add([make_node("a")])
    node_store.persist(str(tmp_path / "nodes"))
    assert list(tmp_path.iterdir()) == []


# Travelling.

WAYS = {
    "dict": lambda store: RagbridgeVectorStore.from_dict(store.to_dict()),
    "json": lambda store: RagbridgeVectorStore.from_json(store.to_json()),
    "pickle": lambda store: pickle.loads(pickle.dumps(store)),
    "deepcopy": copy.deepcopy,
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_store_travels(node_store, way):
    node_store.add([make_node("a", metadata={"x": 1})])
    with way(node_store).vector_store as core:
        other = RagbridgeVectorStore(core)
        assert other.get_nodes() == node_store.get_nodes()
        other.add([make_node("b")])
        assert ask(other) == ["a", "b"]


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_settings_travel(way, tmp_path):
    store = RagbridgeVectorStore(
        str(tmp_path / "rows.db"),
        collection_name="nodes",
        metric="euclidean",
        index="HNSW",
        full_text=True,
        metadata_fields={"price": float},
        json_indexes={("spec", "ram"): int, "a.b": str},
        tenant="acme",
        timeout=5.0,
        learner_candidates=7,
    )
    other = way(store)
    assert other.learner_candidates == 7
    assert other.vector_store.to_dict() == store.vector_store.to_dict()
    assert other.vector_store.config == store.vector_store.config
    assert repr(other.vector_store) == repr(store.vector_store)


SECRET = "root:a-secret"


@pytest.fixture
def guarded(monkeypatch):
    monkeypatch.delenv("MILVUS_TOKEN", raising=False)
    return RagbridgeVectorStore("http://localhost:19530", token=SECRET)


def test_a_token_never_travels_in_clear(guarded):
    for written in (
        str(guarded.to_dict()),
        guarded.to_json(),
        guarded.model_dump_json(),
        repr(guarded),
        str(guarded),
        pickle.dumps(guarded).decode("latin-1"),
    ):
        assert "a-secret" not in written


@pytest.mark.parametrize("name", ["dict", "json", "pickle"])
def test_a_token_comes_from_the_environment(guarded, name, monkeypatch):
    written = {
        "dict": guarded.to_dict(),
        "json": guarded.to_json(),
        "pickle": pickle.dumps(guarded),
    }[name]
    read = {
        "dict": RagbridgeVectorStore.from_dict,
        "json": RagbridgeVectorStore.from_json,
        "pickle": pickle.loads,
    }[name]
    with pytest.raises(InvalidConfigError, match="set MILVUS_TOKEN"):
        read(written)
    monkeypatch.setenv("MILVUS_TOKEN", SECRET)
    assert read(written).vector_store.config.token == SECRET


def test_a_token_may_be_given_again(guarded):
    again = RagbridgeVectorStore.from_dict(guarded.to_dict(), token=SECRET)
    assert again.vector_store.config.token == SECRET
    assert copy.deepcopy(guarded).vector_store.config.token == SECRET


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"vector_store": 3},
        {"vector_store": {}},
        {"vector_store": {"store_type": "memory"}},
        {"vector_store": {"store_type": "memory", "data": "AAAA"}},
        {"vector_store": {"store_type": "milvus"}},
        {"vector_store": {"store_type": "os:system"}},
        {"vector_store": {"store_type": "milvus", "collection_name": "x", "config": {"uri": 3}}},
    ],
    ids=json.dumps,
)
def test_what_is_no_description(data):
    with pytest.raises((InvalidConfigError, VectorStoreError)):
        RagbridgeVectorStore.from_dict(data)


def test_a_store_of_ones_own_must_describe_itself(tmp_path):
    class Own(InMemoryVectorStore):
        to_dict = VectorStore.to_dict

    with pytest.raises(InvalidConfigError, match="a Own has no description"):
        RagbridgeVectorStore(Own()).to_dict()


class Weights(HashingEmbeddingProvider):
    """Sparse vectors: the lengths of words."""

    def batch_embed(self, chunks):
        return [
            SparseVector.from_dict({len(word): 1.0 for word in chunk.content.split()})
            for chunk in chunks
        ]


def test_a_provider_must_be_given_again():
    store = RagbridgeVectorStore(sparse_embedding_provider=Weights())
    with pytest.raises(InvalidConfigError, match="the store had a Weights"):
        RagbridgeVectorStore.from_json(store.to_json())
    provider = Weights()
    again = RagbridgeVectorStore.from_dict(store.to_dict(), sparse_embedding_provider=provider)
    assert again.sparse_embedding_provider is provider


# Loops, threads and processes.


def test_two_event_loops_in_a_row(node_store):
    async def work(name):
        await node_store.async_add([make_node(name)])
        result = await node_store.aquery(VectorStoreQuery(query_embedding=list(EAST)))
        return result.ids

    async def both():
        names = ("a", "b", "c")
        await asyncio.gather(*(node_store.async_add([make_node(name)]) for name in names))

    assert asyncio.run(work("a")) == ["a"]
    assert asyncio.run(work("a")) == ["a"]
    asyncio.run(both())
    assert ids_in(node_store) == ["a", "b", "c"]


def test_an_index_is_used_from_several_threads(node_store):
    model = MockEmbedding(embed_dim=4)
    index = VectorStoreIndex.from_vector_store(node_store, embed_model=model)

    def work(number):
        index.insert(Document(text=f"text {number}", id_=f"d{number}"))
        index.as_retriever(similarity_top_k=3).retrieve("text")
        if number % 2:
            index.delete_ref_doc(f"d{number}")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(12)))
    left = {node.ref_doc_id for node in node_store.get_nodes()}
    assert left == {f"d{number}" for number in range(0, 12, 2)}


ASK = """
import pickle, sys
from llama_index.core import MockEmbedding, VectorStoreIndex
store = pickle.load(sys.stdin.buffer)
index = VectorStoreIndex.from_vector_store(store, embed_model=MockEmbedding(embed_dim=4))
print(*sorted(found.node_id for found in index.as_retriever(similarity_top_k=5).retrieve("text")))
"""


def ids_of(index):
    """What an index finds."""
    found = index.as_retriever(similarity_top_k=5).retrieve("text")
    return sorted(node.node_id for node in found)


@pytest.mark.stores("memory", "milvus")  # Milvus Lite's file belongs to one process
def test_an_index_goes_to_another_process(node_store):
    node_store.add([make_node("a"), make_node("b")])
    index = VectorStoreIndex.from_vector_store(
        node_store, embed_model=MockEmbedding(embed_dim=4), callback_manager=None
    )
    assert ids_of(index) == ["a", "b"]
    found = subprocess.run(
        [sys.executable, "-c", ASK], input=pickle.dumps(node_store), capture_output=True, check=True
    )
    assert found.stdout.split() == [b"a", b"b"]


# Without the framework.


@pytest.mark.parametrize("module", ["", ".vector_store", ".documents", ".filters"])
def test_what_is_missing_is_said(module):
    code = (
        f"import sys; sys.modules['llama_index.core'] = None; import ragbridge.llama_index{module}"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert re.search(
        r"MissingDependencyError: llama-index-core.*pip install 'ragbridge\[llama-index\]'",
        result.stderr,
    )
