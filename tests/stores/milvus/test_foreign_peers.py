"""Collections that the peers themselves wrote, opened in place, written to, and read by them again.

The lines of pymilvus that the peers need exclude each other: with pymilvus 3 it is langchain-milvus 0.4,
with pymilvus 2.6 it is langchain-milvus 0.3 and llama-index-vector-stores-milvus.
"""

import json
import subprocess
import sys
from importlib.util import find_spec
from math import sqrt
from pathlib import Path
from uuid import uuid4

import pymilvus
import pytest

from peers.embedding import embed
from ragbridge.documents import TextChunk
from ragbridge.embeddings import HybridVector, SparseVector
from ragbridge.errors import InvalidDocumentError
from ragbridge.filters import matches, where
from ragbridge.stores.base import VectorEntry, VectorStoreQuery
from ragbridge.stores.milvus import MilvusVectorStore

pytestmark = pytest.mark.stores("milvus-lite", "milvus")

PEERS = Path(__file__).parents[2] / "peers"
QUERY = "text number 3"
KINDS = ["dynamic", "auto", "declared", "json", "hybrid"]


def ask(script, uri, collection, kind, task, data):
    """What a peer answers; in a process of its own, since one at a time opens a Milvus Lite file."""
    command = [sys.executable, PEERS / script, uri, collection, kind, task, json.dumps(data)]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1]) if done.stdout.strip() else None


@pytest.fixture
def place(store_name, milvus_uri, tmp_path):
    """Where the peer may make a collection: a file of its own, or a name on the server."""
    name = f"peer_{uuid4().hex}"
    if store_name == "milvus-lite":
        yield str(tmp_path / "peer.db"), name
        return
    yield milvus_uri, name
    client = pymilvus.MilvusClient(milvus_uri)
    client.drop_collection(name)
    client.close()


def need(package):
    if find_spec(package) is None:
        pytest.skip(f"{package} is not installed beside pymilvus {pymilvus.__version__}")


def metadata_of(number, kind):
    flat = {"source": f"s{number % 3}.pdf", "page": number, "score": number / 4, "ok": number > 5}
    if kind == "declared":
        return flat
    return flat | {"tags": ["a", "b"] if number % 2 else [], "spec": {"ram": number}, "opt": None}


def conditions(kind):
    yield from (where("page") >= 7, where("source") == "s1.pdf", where("source") != "s1.pdf")
    yield from (where("ok") == True, where("score") < 1.5, where("page").in_([1, 2, 99]))  # noqa: E712
    yield ~((where("page") > 3) & (where("source") == "s0.pdf"))
    if kind != "declared":
        yield from (where("tags").contains("a"), where("spec", "ram") == 4, where("opt").exists())


def check_filters(store, rows, asked):
    """Assert that filters select the rows, given as metadata by id, that fulfil them."""
    for condition in asked:
        wanted = {row_id for row_id, metadata in rows.items() if matches(condition, metadata)}
        query = VectorStoreQuery(embedding=embed(QUERY), filters=condition, top_k=100)
        assert {match.id for match in store.query(query)} == wanted, condition
        assert {row.id for row in store.scan(condition)} == wanted, condition
        assert store.count(condition) == len(wanted), condition


# langchain-milvus


def langchain(place, kind, task, data):
    uri, name = place
    return ask("langchain_peer.py", uri, name, kind, task, data)


def seen(place, kind):
    """What LangChain finds: texts, their metadata without places of their own, distances."""
    own = ("pk", "text", "vector", "dense", "sparse")
    return {
        text: ({key: value for key, value in metadata.items() if key not in own}, distance)
        for text, metadata, distance in langchain(place, kind, "read", QUERY)
    }


def row(row_id, text, metadata, **places):
    chunk = TextChunk(content=text, metadata=metadata, **places)
    return VectorEntry(id=row_id, embedding=embed(text), chunk=chunk)


@pytest.mark.parametrize("kind", KINDS)
def test_langchain(place, kind, store_name):
    need("langchain_milvus")
    if kind == "hybrid" and store_name == "milvus":
        return  # server 2.3 has neither several vectors nor full text
    written = {f"text number {n}": metadata_of(n, kind) for n in range(12)}
    given = [[f"id{n}", text, data] for n, (text, data) in enumerate(written.items())]
    langchain(place, kind, "write", given)
    before = seen(place, kind)

    uri, name = place
    with MilvusVectorStore.open(name, uri=uri) as store:
        assert store.layout.tool == "langchain-milvus"
        rows = {each.id: each for each in store.scan()}
        assert {each.chunk.content: each.chunk.metadata for each in rows.values()} == written
        if kind != "auto":
            assert rows.keys() == {row_id for row_id, _, _ in given}
        check_scores(store, before, kind)
        check_filters(
            store, {each.id: each.chunk.metadata for each in rows.values()}, conditions(kind)
        )
        wanted = change(store, {each.chunk.content: each.id for each in rows.values()}, kind)

    after = {text: metadata for text, (metadata, _) in seen(place, kind).items()}
    assert after.keys() == wanted.keys()
    for text, metadata in wanted.items():
        assert {key: after[text].get(key) for key in metadata} == metadata, text


def check_scores(store, before, kind):
    """Assert that scores and order are those that LangChain finds, but for what they are called."""
    found = store.query(
        VectorStoreQuery(embedding=embed(QUERY), top_k=100, include_embeddings=True)
    )
    scores = {match.chunk.content: match.similarity_score for match in found}
    assert next(iter(scores)) == QUERY
    if kind == "hybrid":  # LangChain's scores there are fused ones
        text = VectorStoreQuery(text=QUERY, top_k=100)
        both = VectorStoreQuery(embedding=embed(QUERY), text=QUERY, top_k=100)
        for query in (text, both):
            assert store.query(query)[0].chunk.content == QUERY
        assert {match.chunk.content for match in store.query(both)} >= before.keys()
        return
    assert scores.keys() == before.keys()
    for text, (_, distance) in before.items():
        assert scores[text] == pytest.approx(1 / (1 + sqrt(max(0.0, distance))), rel=1e-4)


def change(store, ids, kind):
    """Add, replace and delete some rows; the metadata that there should be then, by text."""
    wanted = {f"text number {n}": metadata_of(n, kind) for n in range(12)}
    new = row(None if kind == "auto" else "new", "a new text", metadata_of(20, kind))
    (new_id,) = store.add([new])
    assert store.get([new_id])[0].chunk == new.chunk
    wanted["a new text"] = new.chunk.metadata
    if kind == "auto":
        with pytest.raises(InvalidDocumentError, match="auto-id"):
            store.add([row("mine", "a text", {})])
    else:
        store.add([row(ids["text number 1"], "another text", metadata_of(30, kind))])
        del wanted["text number 1"]
        wanted["another text"] = metadata_of(30, kind)
    store.delete(ids["text number 2"])
    assert store.delete_by_filter(where("page") == 5) == 1
    del wanted["text number 2"], wanted["text number 5"]
    with pytest.raises(InvalidDocumentError, match="no place"):
        store.add([row(None, "a text", metadata_of(1, kind), document_id="d")])
    assert store.count() == len(wanted)
    return wanted


@pytest.mark.parametrize("kind", ["dynamic", "json"])
def test_what_langchain_deletes_is_gone(place, kind):
    need("langchain_milvus")
    langchain(
        place, kind, "write", [[f"id{n}", f"text {n}", metadata_of(n, kind)] for n in range(3)]
    )
    uri, name = place
    with MilvusVectorStore.open(name, uri=uri) as store:
        store.add([row("id9", "text 9", metadata_of(9, kind))])
    langchain(place, kind, "delete", ["id1", "id9"])
    with MilvusVectorStore.open(name, uri=uri) as store:
        assert {each.id for each in store.scan()} == {"id0", "id2"}


# llama-index-vector-stores-milvus


def llama_index(place, kind, task, data):
    uri, name = place
    return ask("llama_index_peer.py", uri, name, kind, task, data)


def nodes():
    """Nodes of each class that a row can hold, with and without a source."""
    from llama_index.core.schema import (
        IndexNode,
        NodeRelationship,
        ObjectType,
        RelatedNodeInfo,
        TextNode,
    )

    made = []
    for number in range(12):
        text = f"text number {number}"
        source = RelatedNodeInfo(
            node_id=f"doc{number % 3}", node_type=ObjectType.DOCUMENT, hash="h", metadata={"f": 1}
        )
        related = {
            NodeRelationship.SOURCE: source,
            NodeRelationship.NEXT: RelatedNodeInfo(node_id=f"node{number + 1}"),
            NodeRelationship.CHILD: [RelatedNodeInfo(node_id="c1"), RelatedNodeInfo(node_id="c2")],
        }
        made.append(
            (IndexNode if number == 4 else TextNode)(
                id_=f"node{number}",
                text=text,
                embedding=embed(text),
                metadata=metadata_of(number, "dense") | {"id": "of the metadata", "text": number},
                relationships=related if number else {},
                excluded_llm_metadata_keys=["page"],
                text_template="{content}",
                start_char_idx=number,
                end_char_idx=number + 5,
                **({"index_id": "another"} if number == 4 else {}),
            )
        )
    return made


def check_llama_filters(store, rows, kind):
    metadata = {row_id: each.chunk.metadata for row_id, each in rows.items()}
    check_filters(store, metadata, [*conditions(kind), where("id") == "of the metadata"])
    of_document = {row_id for row_id, each in rows.items() if each.chunk.document_id == "doc1"}
    assert {each.id for each in store.scan(document_ids=["doc1"])} == of_document
    assert store.count(document_ids=["None"]) == 0
    if kind == "bm25":
        assert store.query(VectorStoreQuery(text=QUERY, top_k=1))[0].chunk.content == QUERY
    if kind == "sparse":
        query = VectorStoreQuery(embedding=SparseVector([4, 6], [1.0, 1.0]), top_k=100)
        assert len(store.query(query)) == len(rows)


def change_nodes(store, kind):
    """Add, replace and delete some rows; what LlamaIndex should see then, by id."""

    def entry(row_id, text, **places):
        chunk = TextChunk(content=text, metadata={"page": 50, "id": "x"}, **places)
        vector = embed(text)
        if kind == "sparse":
            vector = HybridVector(vector, SparseVector([1, 4], [1.0, 2.0]))
        return VectorEntry(
            id=row_id, embedding=vector, chunk=chunk, framework_data={"mine": {"a": [1]}}
        )

    wanted = {
        node.id_: (node.text, node.metadata, node.ref_doc_id)
        for node in nodes()
        if node.id_ not in ("node2", "node5", "node8", "node11")
    }
    new = entry("new", "a new text", document_id="doc9", index=3, start=1, end=4)
    store.add([new, entry("node1", "another text")])
    assert store.get(["new"])[0] == new
    wanted["new"] = ("a new text", {"page": 50, "id": "x"}, "doc9")
    wanted["node1"] = ("another text", {"page": 50, "id": "x"}, None)
    store.delete("node2")
    assert store.delete_by_filter(document_ids=["doc2"]) == 3
    with pytest.raises(InvalidDocumentError, match="no place"):
        store.add([VectorEntry(id="d", embedding=new.embedding, chunk=new.chunk, deleted=True)])
    return wanted


class TestLlamaIndex:
    """Its vector store takes no newer pymilvus than 2.6."""

    __test__ = pymilvus.__version__.startswith("2.")

    @pytest.mark.parametrize("kind", ["dense", "sparse", "bm25"])
    def test_llama_index(self, place, kind, store_name):
        need("llama_index.vector_stores.milvus")
        from ragbridge.llama_index import from_llama_index_node, to_llama_index_node

        if kind != "dense" and store_name == "milvus":
            return  # server 2.3 has neither several vectors nor full text
        written = nodes()
        llama_index(place, kind, "write", [node.to_dict() for node in written])
        before = llama_index(place, kind, "read", embed(QUERY))

        uri, name = place
        with MilvusVectorStore.open(name, uri=uri) as store:
            assert store.layout.tool == "llama-index-vector-stores-milvus"
            rows = {each.id: each for each in store.scan()}
            assert rows.keys() == {node.id_ for node in written}
            for node in written:
                kept, own = rows[node.id_], from_llama_index_node(node)
                assert kept.chunk == own.chunk
                rebuilt = to_llama_index_node(kept)
                assert rebuilt.embedding == pytest.approx(node.embedding)
                rebuilt.embedding = node.embedding  # of float32
                assert rebuilt == node
            found = store.query(VectorStoreQuery(embedding=embed(QUERY), top_k=100))
            assert [match.id for match in found] == [row_id for row_id, _, _ in before]
            for match, (_, _, score) in zip(found, before, strict=True):
                assert match.similarity_score == pytest.approx(score, rel=1e-4)
            check_llama_filters(store, rows, kind)
            wanted = change_nodes(store, kind)

        got = {node["id_"]: node for node in llama_index(place, kind, "get", sorted(wanted))}
        assert got.keys() == wanted.keys()
        for row_id, (text, metadata, document_id) in wanted.items():
            assert (got[row_id]["text"], got[row_id]["metadata"]) == (text, metadata)
            source = got[row_id]["relationships"].get("1", {})
            assert source.get("node_id") == document_id
        assert len(llama_index(place, kind, "read", embed(QUERY))) == len(wanted)
        llama_index(place, kind, "delete", "doc9")
        with MilvusVectorStore.open(name, uri=uri) as store:
            assert store.count(document_ids=["doc9"]) == 0
            assert store.count() == len(wanted) - 1
