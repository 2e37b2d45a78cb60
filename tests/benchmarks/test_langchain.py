"""LangChain's interface over Milvus stores against plain pymilvus and langchain-milvus.

10,000 rows of 384 values, HNSW, cosine, k = 10, without full text, on Milvus Lite and on a server; run
with `pytest tests/benchmarks/test_langchain.py --benchmark-only -s`. Embeddings are there already: the
model looks them up, and gives lists, as LangChain's interface has it; plain pymilvus is given the same
lists. Every bound is on a ratio to a baseline of the same run. Searches come first: what was
ingested keeps a server busy for a while.
"""

from itertools import cycle, islice
from uuid import uuid4

import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings

from measuring import ratio_to, record
from plain_milvus import BATCH, SEARCH, K, Plain, load_anew, metadata_of, queries, text_of
from ragbridge.langchain import LangChainEmbeddingProvider, RagbridgeRetriever, RagbridgeVectorStore

pytestmark = pytest.mark.stores("milvus-lite", "milvus")
BATCHED = 100
QUESTIONS = [f"question {number}" for number in range(BATCHED)]


class Lookup(Embeddings):
    """Embeddings that are there already, by the number in the text."""

    def __init__(self, rows):
        self.rows = rows
        self.questions = [vector.tolist() for vector in islice(queries(), BATCHED)]

    def embed_documents(self, texts):
        return [self.rows[int(text.split()[2])] for text in texts]

    def embed_query(self, text):
        return self.questions[int(text.split()[1])]


@pytest.fixture(scope="module")
def lists(vectors):
    return vectors.tolist()


@pytest.fixture(scope="module")
def model(lists):
    return Lookup(lists)


@pytest.fixture(scope="module")
def documents(vectors):
    return [
        Document(text_of(row), metadata=metadata_of(row), id=f"row-{row}")
        for row in range(len(vectors))
    ]


@pytest.fixture(scope="module")
def store(make_store, model, documents):
    store = RagbridgeVectorStore(make_store(), model)
    store.add_documents(documents)
    store.store.count()
    load_anew(store.store.client, store.store.collection_name)
    return store


@pytest.fixture(scope="module")
def theirs(client, uri, model, documents):
    """The same rows in langchain-milvus, with the same index."""
    peer = pytest.importorskip("langchain_milvus")
    store = peer.Milvus(
        model,
        collection_name=f"peer_{uuid4().hex}",
        connection_args={"uri": uri},
        index_params={
            "index_type": "HNSW",
            "metric_type": "COSINE",
            "params": {"M": 16, "efConstruction": 200},
        },
        search_params=SEARCH,
    )
    store.add_documents(documents, ids=[document.id for document in documents])
    load_anew(client, store.collection_name)
    yield store
    store.drop()
    store.client.close()


def test_query(benchmark, plain, store):
    asked = cycle(QUESTIONS)
    figures = ratio_to(
        lambda: plain.search(store.embeddings.embed_query(next(asked))),
        lambda: store.similarity_search(next(asked), k=K),
        rounds=500,
    )
    record(benchmark, **figures)
    benchmark.pedantic(lambda: store.similarity_search(next(asked), k=K), rounds=10)
    assert figures["ratio"] <= 1.15


@pytest.mark.parametrize("kind", ["RagbridgeRetriever", "as_retriever"])
def test_batch(benchmark, store, theirs, model, kind):
    ours = store.as_retriever(search_kwargs={"k": K})
    if kind == "RagbridgeRetriever":
        ours = RagbridgeRetriever(store.store, LangChainEmbeddingProvider(model), k=K)
    peer = theirs.as_retriever(search_kwargs={"k": K})
    figures = ratio_to(lambda: peer.batch(QUESTIONS), lambda: ours.batch(QUESTIONS), rounds=8)
    record(benchmark, **figures, times_faster=1 / figures["ratio"])
    benchmark.pedantic(lambda: ours.batch(QUESTIONS), rounds=3)
    assert 1 / figures["ratio"] >= 4


def test_ingest(benchmark, client, lists, make_store, model, documents):
    plain, store = Plain(client, lists), RagbridgeVectorStore(make_store(), model)
    store.add_documents(documents[:1])
    figures = ratio_to(plain.fill, lambda: store.add_documents(documents), rounds=9, collect=True)
    record(benchmark, **figures, speed=1 / figures["ratio"])
    benchmark.pedantic(lambda: store.add_documents(documents[:BATCH]), rounds=1)
    assert 1 / figures["ratio"] >= 0.85
