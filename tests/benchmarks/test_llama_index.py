"""LlamaIndex's interface over Milvus stores against plain pymilvus and llama-index-vector-stores-milvus.

10,000 nodes of 384 values, HNSW, cosine, k = 10, without full text, on Milvus Lite and on a server; run
with `pytest tests/benchmarks/test_llama_index.py --benchmark-only -s`. Embeddings are there already, as
lists; plain pymilvus is given the same lists. Every bound is on a ratio to a baseline of the same run.
The peer needs an older pymilvus, so it is measured against plain pymilvus in an environment of its own,
whose Python LLAMA_INDEX_PEER names; both figures are compared. Searches come
first: what was ingested keeps a server busy for a while.
"""

import json
import os
import subprocess
from pathlib import Path

import pytest
from llama_index.core.vector_stores.types import VectorStoreQuery

from llama_index_rows import nodes_of
from measuring import ratio_to, record
from plain_milvus import BATCH, K, Plain, load_anew, queries
from ragbridge.llama_index import RagbridgeVectorStore

pytestmark = pytest.mark.stores("milvus-lite", "milvus")
PEER = Path(__file__).with_name("peer_llama_index.py")
ROUNDS = 9


@pytest.fixture(scope="module")
def lists(vectors):
    return vectors.tolist()


@pytest.fixture(scope="module")
def nodes(lists):
    return nodes_of(lists)


@pytest.fixture(scope="module")
def store(make_store, nodes):
    store = RagbridgeVectorStore(make_store())
    store.add(nodes)
    store.vector_store.count()
    load_anew(store.vector_store.client, store.vector_store.collection_name)
    return store


def test_query(benchmark, plain, store):
    asked = (vector.tolist() for vector in queries())
    figures = ratio_to(
        lambda: plain.search(next(asked)),
        lambda: store.query(VectorStoreQuery(query_embedding=next(asked), similarity_top_k=K)),
        rounds=500,
    )
    record(benchmark, **figures)
    benchmark.pedantic(
        lambda: store.query(VectorStoreQuery(query_embedding=next(asked), similarity_top_k=K)),
        rounds=10,
    )
    assert figures["ratio"] <= 1.15


@pytest.fixture(scope="module")
def filled(make_store, nodes):
    """Another one, to be written to: that would make the searches of the first one slower."""
    store = RagbridgeVectorStore(make_store())
    store.add(nodes[:1])
    return store


@pytest.fixture(scope="module")
def ingest(client, lists, filled, nodes):
    plain = Plain(client, lists)
    return ratio_to(plain.fill, lambda: filled.add(nodes), rounds=ROUNDS, collect=True)


def test_ingest(benchmark, ingest, filled, nodes):
    record(benchmark, **ingest, speed=1 / ingest["ratio"])
    benchmark.pedantic(lambda: filled.add(nodes[:BATCH]), rounds=1)
    assert 1 / ingest["ratio"] >= 0.8


def test_ingest_beside_the_peer(benchmark, ingest, filled, nodes, store_name, uri, tmp_path):
    python = os.environ.get("LLAMA_INDEX_PEER")
    if python is None:
        pytest.skip("LLAMA_INDEX_PEER names no Python with llama-index-vector-stores-milvus")
    address = uri if store_name == "milvus" else str(tmp_path / "peer.db")
    command = [python, PEER, address, str(ROUNDS)]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    peer = json.loads(output.splitlines()[-1])
    faster = peer["ratio"] / ingest["ratio"]
    record(benchmark, **peer, times_faster=faster)
    benchmark.pedantic(lambda: filled.add(nodes[:BATCH]), rounds=1)
    assert faster >= 1.3
