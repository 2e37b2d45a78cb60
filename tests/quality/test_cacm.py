"""Retrieval quality on CACM: stores find what plain libraries find, indexes what exact search finds."""

import time

import numpy as np
import pytest
from pymilvus import MilvusClient

from quality import cacm
from ragbridge.stores._full_text import FullTextOptions
from ragbridge.stores.base import RRFRanker, VectorStoreQuery

pytestmark = pytest.mark.skipif(not cacm.DIRECTORY.exists(), reason=cacm.MISSING)

ANALYSED = FullTextOptions(stop_words="english", stemmer="porter", k1=0.9, b=0.4)
DEPTH = 1000


@pytest.fixture
def collection():
    return cacm.load()


@pytest.fixture
def filled(make_store, collection):
    """A function that makes a store of the collection."""

    def fill(**options):
        store = make_store(**options)
        store.add(collection.entries)
        return store

    return fill


@pytest.fixture
def note(request, record_property, store_name):
    """A function that puts figures into the session's report."""

    def put(**figures):
        shown = ", ".join(f"{name} {figure:.4f}" for name, figure in figures.items())
        record_property("measured", f"CACM, {request.node.name}: {shown}")

    return put


def measure(store, collection, *, text=False, dense=False, **query):
    """MAP and nDCG@10 of one search for each judged query."""
    asked = [
        VectorStoreQuery(
            text=collection.texts[number] if text else None,
            embedding=collection.vectors[number] if dense else None,
            **query,
        )
        for number in collection.texts
    ]
    return cacm.measure(dict(zip(collection.texts, store.query_many(asked), strict=True)))


@pytest.mark.stores("memory", "milvus-lite")
@pytest.mark.parametrize(
    ("options", "wanted", "slack"),
    [
        pytest.param(ANALYSED, 0.3405, 0.02, id="stop words, Porter, k1 0.9, b 0.4"),
        pytest.param(None, 0.2637, 0.01, id="defaults"),
    ],
)
def test_bm25(filled, collection, note, options, wanted, slack):
    figures = measure(filled(full_text=options), collection, text=True, top_k=DEPTH)
    note(**figures)
    assert figures["MAP"] == pytest.approx(wanted, abs=slack)


def test_exact_dense_search(filled, collection, note, store_name):
    store = filled(**({} if store_name == "memory" else {"index": "FLAT"}))
    figures = measure(store, collection, dense=True, top_k=DEPTH)
    note(**figures)
    assert figures["MAP"] == pytest.approx(0.3107, abs=0.002)
    assert figures["nDCG@10"] == pytest.approx(0.4091, abs=0.002)


@pytest.mark.stores("memory", "milvus-lite")
def test_hybrid_search(filled, collection, note):
    store = filled(full_text=ANALYSED)
    figures = measure(store, collection, text=True, dense=True, ranker=RRFRanker(60), top_k=100)
    note(**figures)
    assert figures["nDCG@10"] >= 0.53


@pytest.mark.stores("milvus-lite", "milvus")
@pytest.mark.parametrize(
    ("index", "least_effort", "bound"),
    [
        pytest.param("HNSW", {"ef": 10}, 0.97, id="HNSW"),
        pytest.param("IVF_FLAT", {"nprobe": 1}, 0.9, id="IVF_FLAT"),
        pytest.param("IVF_SQ8", {"nprobe": 1}, 0.9, id="IVF_SQ8"),
    ],
)
def test_recall_of_indexes(filled, collection, note, index, least_effort, bound):
    store = filled(index=index)
    wait_until_indexed(store, collection, least_effort)
    queries = [VectorStoreQuery(embedding=vector) for vector in collection.vectors.values()]
    found = [{match.id for match in matches} for matches in store.query_many(queries)]
    recall = recall_at_10(collection, found)
    note(**{"recall@10": recall})
    assert recall >= bound


def wait_until_indexed(store, collection, least_effort):
    """Wait until a search with the least effort is no longer exact: engines index in their own time."""
    client = MilvusClient(store.config.uri)
    client.flush(store.collection_name)
    deadline = time.monotonic() + 120
    recall = 1.0
    while recall == 1.0:
        assert time.monotonic() < deadline, "the index is not made"
        time.sleep(0.2)
        answers = client.search(
            store.collection_name,
            [*collection.vectors.values()],
            anns_field="vector",
            limit=10,
            search_params={"metric_type": "COSINE", "params": least_effort},
        )
        recall = recall_at_10(collection, [{hit["id"] for hit in answer} for answer in answers])
    client.close()


def recall_at_10(collection, found):
    """The share of the ten rows with the largest cosines that was found, over all queries."""
    rows = np.array([entry.embedding for entry in collection.entries])
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    cosines = np.array([*collection.vectors.values()]) @ rows.T
    shares = [
        sum(collection.entries[place].id in ids for place in np.argsort(-scores)[:10]) / 10
        for ids, scores in zip(found, cosines, strict=True)
    ]
    return float(np.mean(shares))
