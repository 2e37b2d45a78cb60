"""The in-memory store against plain numpy and LangChain's in-memory store.

100,000 rows of 384 float32, cosine, k = 10; run with `pytest tests/benchmarks --benchmark-only -s`.
Every bound is on a ratio to a baseline of the same run.
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import InMemoryVectorStore as LangChainInMemoryVectorStore

from measuring import ratio_to, record
from ragbridge.documents import TextChunk
from ragbridge.filters import where
from ragbridge.stores.base import VectorEntry, VectorStoreQuery
from ragbridge.stores.memory import InMemoryVectorStore

ROWS, DIMENSION, K = 100_000, 384, 10
CATEGORIES = 10
MEMORY_SCRIPT = Path(__file__).parent / "memory_of_a_store.py"


def text_of(row):
    return f"Row number {row} of a catalogue, with as many words in it as a short text has."


def metadata_of(row):
    return {"category": f"category {row % CATEGORIES}", "price": row % 997 / 7, "year": row % 2024}


@pytest.fixture(scope="module")
def vectors():
    rows = np.random.default_rng(0).standard_normal((ROWS, DIMENSION), dtype=np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def entries(vectors):
    return [
        VectorEntry(
            id=f"row-{row}",
            embedding=vectors[row].copy(),
            chunk=TextChunk(content=text_of(row), metadata=metadata_of(row)),
        )
        for row in range(ROWS)
    ]


@pytest.fixture(scope="module")
def store(entries):
    store = InMemoryVectorStore()
    store.add(entries)
    return store


def queries():
    random = np.random.default_rng(1)
    while True:
        yield random.standard_normal(DIMENSION, dtype=np.float32)


def best(scores):
    top = np.argpartition(-scores, K)[:K]
    return top[np.argsort(-scores[top])]


def test_unfiltered_query(benchmark, store, vectors):
    asked = queries()
    query = next(asked)
    assert [int(m.id[4:]) for m in store.query(VectorStoreQuery(embedding=query))] == (
        best(vectors @ query).tolist()
    )
    figures = ratio_to(
        lambda: best(vectors @ next(asked)),
        lambda: store.query(VectorStoreQuery(embedding=next(asked))),
        rounds=60,
    )
    record(benchmark, **figures)
    benchmark.pedantic(lambda: store.query(VectorStoreQuery(embedding=next(asked))), rounds=10)
    assert figures["ratio"] <= 1.25


def test_filtered_query(benchmark, store, vectors):
    """A string and a number, against the faster of two ways to use a mask that is at hand already."""
    asked = queries()
    condition = (where("category") == "category 3") & (where("price") < 71)
    row = np.arange(ROWS)
    mask = (row % CATEGORIES == 3) & (row % 997 / 7 < 71)
    selected = np.flatnonzero(mask)

    def by_selected_rows(query):
        return selected[best(vectors[selected] @ query)]

    def by_masked_scores(query):
        return best(np.where(mask, vectors @ query, -np.inf))

    def ours(query):
        return store.query(VectorStoreQuery(embedding=query, filters=condition))

    query = next(asked)
    assert [int(m.id[4:]) for m in ours(query)] == by_selected_rows(query).tolist()
    ratios = {}
    for baseline in (by_selected_rows, by_masked_scores):
        figures = ratio_to(
            lambda baseline=baseline: baseline(next(asked)), lambda: ours(next(asked)), rounds=60
        )
        ratios |= {f"{baseline.__name__} {name}": figure for name, figure in figures.items()}
    record(benchmark, selected=mask.mean(), **ratios)
    benchmark.pedantic(lambda: ours(next(asked)), rounds=10)
    assert max(figure for name, figure in ratios.items() if name.endswith("ratio")) <= 2


class ReadyEmbeddings(Embeddings):
    """Vectors that are there already, as lists of floats: LangChain's contract for embeddings."""

    def __init__(self, vectors):
        self.vectors = vectors

    def embed_documents(self, texts):
        return self.vectors[: len(texts)].tolist()

    def embed_query(self, text):
        raise NotImplementedError


def test_ingest_of_ready_entries(benchmark, entries, vectors):
    """The same rows, ready in each side's own form: entries here, documents and vectors there.

    LangChain's `Embeddings.embed_documents` returns `list[list[float]]`, so that every embeddings
    class whose model gives arrays converts them with `.tolist()`, and so does the one here.
    """
    documents = [
        Document(id=f"row-{row}", page_content=text_of(row), metadata=metadata_of(row))
        for row in range(ROWS)
    ]
    embeddings = ReadyEmbeddings(vectors)
    figures = ratio_to(
        lambda: LangChainInMemoryVectorStore(embeddings).add_documents(documents),
        lambda: InMemoryVectorStore().add(entries),
        rounds=5,
        collect=True,
    )
    times_faster = 1 / figures["ratio"]
    record(benchmark, **figures, times_faster=times_faster)
    benchmark.pedantic(lambda: InMemoryVectorStore().add(entries), rounds=2)
    assert times_faster >= 5


def test_memory(benchmark):
    """What a process grows by, in a process of its own that makes and drops entries in batches."""

    def measure():
        shown = subprocess.check_output([sys.executable, MEMORY_SCRIPT, str(ROWS)], text=True)
        return json.loads(shown)

    megabytes = benchmark.pedantic(measure, rounds=1)
    record(benchmark, **megabytes)
    assert megabytes["after filters on three keys"] <= 250


def test_many_queries_at_once(benchmark, store):
    asked = queries()
    batch = [VectorStoreQuery(embedding=next(asked)) for _ in range(100)]
    figures = ratio_to(
        lambda: [store.query(query) for query in batch], lambda: store.query_many(batch), rounds=5
    )
    record(benchmark, **figures)
    benchmark.pedantic(lambda: store.query_many(batch), rounds=2)
    assert figures["ratio"] <= 1
