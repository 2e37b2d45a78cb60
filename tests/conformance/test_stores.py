"""Every store passes the whole suite."""

import pytest

from ragbridge.stores.base import SimilarityMetric
from ragbridge.testing import (
    BinaryTests,
    FullTextTests,
    HybridTests,
    ScoreTests,
    SparseTests,
    VectorStoreConformance,
)

DENSE_METRICS = [metric for metric in SimilarityMetric if not metric.is_binary]
BINARY_METRICS = [SimilarityMetric.HAMMING, SimilarityMetric.JACCARD]

pytestmark = pytest.mark.usefixtures("few_examples")


class TestStores(VectorStoreConformance):
    @pytest.fixture
    def vector_store(self, backend):
        with backend.empty_store(metric=SimilarityMetric.COSINE) as store:
            yield store


class TestScores(ScoreTests):
    @pytest.fixture(params=[SimilarityMetric.EUCLIDEAN, SimilarityMetric.DOT_PRODUCT])
    def vector_store(self, backend, request):
        with backend.empty_store(metric=request.param) as store:
            yield store


@pytest.mark.stores("memory", "milvus-lite")
class TestSparse(SparseTests):
    @pytest.fixture
    def vector_store(self, backend):
        with backend.empty_store(metric=SimilarityMetric.COSINE, holds="sparse") as store:
            yield store


@pytest.mark.stores("memory", "milvus")
class TestBinary(BinaryTests):
    @pytest.fixture(params=BINARY_METRICS)
    def vector_store(self, backend, request):
        with backend.empty_store(metric=request.param, holds="binary") as store:
            yield store


@pytest.mark.stores("memory", "milvus-lite")
class TestFullText(FullTextTests):
    @pytest.fixture
    def vector_store(self, backend):
        with backend.empty_store(metric=SimilarityMetric.COSINE) as store:
            yield store


@pytest.mark.stores("memory", "milvus-lite")
class TestHybrid(HybridTests):
    @pytest.fixture(params=DENSE_METRICS)
    def vector_store(self, backend, request):
        with backend.empty_store(metric=request.param, holds="hybrid") as store:
            yield store
