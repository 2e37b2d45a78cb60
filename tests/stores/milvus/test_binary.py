"""Binary vectors of Milvus: which engines have them, their indexes, and reopened collections."""

import numpy as np
import pymilvus
import pytest

from ragbridge.embeddings import BinaryVector
from ragbridge.errors import InvalidConfigError, InvalidEmbeddingError
from ragbridge.stores._requests import VectorShape
from ragbridge.stores.base import RRFRanker, SimilarityMetric, VectorStoreQuery, WeightedRanker
from ragbridge.stores.milvus import MilvusVectorStore, searching
from ragbridge.stores.milvus.capabilities import engine_of
from ragbridge.stores.milvus.layout import Plan, index_params, new_collection, read_schema
from ragbridge.stores.milvus.legs import sought_by
from ragbridge.stores.milvus.tenancy import Tenancy
from ragbridge.testing import ReferenceVectorStore
from ragbridge.testing._suite.samples import assert_ranked, make_entry, stored_rows

BINARY_METRICS = [SimilarityMetric.HAMMING, SimilarityMetric.JACCARD]
ON_SERVER = pytest.mark.stores("milvus")
ROWS = [
    make_entry(f"{n:03}", BinaryVector(row))
    for n, row in enumerate(np.random.default_rng(4).integers(0, 256, (200, 4), np.uint8))
]


@pytest.mark.parametrize("version", ["v2.3.5", "v2.5.0", "unknown"])
def test_servers_get_a_column_of_bits(version):
    engine, shape = engine_of(version), VectorShape(16, sparse=False, binary=True)
    plan = Plan(metric=SimilarityMetric.JACCARD, full_text=None)
    schema = plan.schema(shape, engine)
    described = new_collection(pymilvus, schema, engine)["schema"].to_dict()
    (field,) = (field for field in described["fields"] if field["name"] == "vector")
    assert field["type"] == pymilvus.DataType.BINARY_VECTOR
    assert field["params"] == {"dim": 16}
    (index,) = index_params(pymilvus, plan.layout(schema, engine), engine)["vector"]
    assert (index.to_dict()["index_type"], index.to_dict()["metric_type"]) == (
        "BIN_FLAT",
        "JACCARD",
    )
    assert read_schema("rows", described).shape == shape


@pytest.mark.parametrize("metric", BINARY_METRICS)
def test_newer_servers_fuse_bits_by_rank_only(metric):
    engine, plan = engine_of("v2.5.0"), Plan(metric=metric)
    schema = plan.schema(VectorShape(16, sparse=False, binary=True), engine)
    layout = plan.layout(schema, engine)
    store = MilvusVectorStore("rows", uri="http://localhost:1")  # which nobody asks
    for ranker, in_engine in ((RRFRanker(), True), (WeightedRanker([0.5, 0.5]), False)):
        query = VectorStoreQuery(embedding=BinaryVector(b"ab"), text="zebra", ranker=ranker)
        wanted = searching._Wanted.of(query, Tenancy(), layout, engine, in_engine=True)
        search = searching._Search(store._collection, layout, engine, wanted, with_deleted=False)
        assert search._engine_fuses() is in_engine
        parts = tuple(sought_by(leg, query, layout) for leg in query.legs)
        bits, _ = search._requests([parts])
        assert bits["data"] == [b"ab"]
        assert bits["param"]["metric_type"] == metric.upper()


@pytest.mark.stores("milvus-lite")
@pytest.mark.parametrize("metric", BINARY_METRICS)
def test_lite_has_none_and_makes_nothing(make_store, metric):
    store = make_store(metric=metric)
    with pytest.raises(InvalidEmbeddingError, match="Milvus Lite has no binary vectors"):
        store.add(ROWS)
    assert not store.client.has_collection(store.collection_name)
    assert store.query(VectorStoreQuery(embedding=ROWS[0].embedding)) == []


@pytest.mark.stores("milvus-lite", "milvus")
def test_the_metric_must_be_one_of_bits(make_store):
    store = make_store()
    with pytest.raises(InvalidEmbeddingError, match="hamming, jaccard"):
        store.add(ROWS)
    assert not store.client.has_collection(store.collection_name)


@pytest.mark.stores("milvus-lite", "milvus")
@pytest.mark.parametrize("metric", BINARY_METRICS)
def test_a_collection_of_dense_vectors_stays_one(make_store, metric):
    first = make_store()
    first.add([make_entry("a")])
    with (
        MilvusVectorStore(first.collection_name, uri=first.config.uri, metric=metric) as other,
        pytest.raises(InvalidConfigError, match="was made with metric='cosine'"),
    ):
        other.add(ROWS)
    assert first.count() == 1


@ON_SERVER
@pytest.mark.parametrize("index", ["HNSW", "FLAT"])
def test_an_index_of_dense_vectors_is_refused_before_anything_is_made(make_store, index):
    store = make_store(metric=SimilarityMetric.HAMMING, index=index)
    with pytest.raises(InvalidConfigError, match="serves the metrics"):
        store.add(ROWS)
    assert not store.client.has_collection(store.collection_name)


@ON_SERVER
@pytest.mark.parametrize("metric", BINARY_METRICS)
@pytest.mark.parametrize("index", [None, "BIN_IVF_FLAT", "AUTOINDEX"])
def test_every_index_answers_as_the_reference(make_store, metric, index):
    store, reference = make_store(metric=metric, index=index), ReferenceVectorStore(metric=metric)
    for each in (store, reference):
        each.add(ROWS)
    store.client.flush(store.collection_name)
    queries = [VectorStoreQuery(embedding=row.embedding, top_k=-1) for row in ROWS[:3]]
    scores = [
        {match.id: match.similarity_score for match in reference.query(query)} for query in queries
    ]
    for top_k in (5, 200, -1):
        asked = [VectorStoreQuery(embedding=query.embedding, top_k=top_k) for query in queries]
        for found, wanted in zip(store.query_many(asked), scores, strict=True):
            assert_ranked(found, wanted, top_k)


@ON_SERVER
@pytest.mark.parametrize("metric", BINARY_METRICS)
def test_a_reopened_collection_compares_as_before(make_store, metric):
    first = make_store(metric=metric)
    first.add(ROWS)
    again = MilvusVectorStore(first.collection_name, uri=first.config.uri)
    other = MilvusVectorStore(first.collection_name, uri=first.config.uri, metric="cosine")
    with again, other:
        assert again.metric is metric
        assert stored_rows(again) == ROWS
        query = VectorStoreQuery(embedding=ROWS[7].embedding, include_embeddings=True)
        assert again.query(query) == first.query(query)
        with pytest.raises(InvalidEmbeddingError, match="binary"):
            again.add([make_entry("dense", [1.0] * 32)])
        with pytest.raises(InvalidConfigError, match=str(metric)):
            other.count()
