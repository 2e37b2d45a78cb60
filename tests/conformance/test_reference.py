"""The reference itself passes the suite that it helps to judge."""

import pytest

from ragbridge.stores.base import SimilarityMetric
from ragbridge.testing import (
    BinaryTests,
    FullTextTests,
    HybridTests,
    ReferenceVectorStore,
    ScoreTests,
    SparseTests,
    VectorStoreConformance,
)

DENSE_METRICS = [metric for metric in SimilarityMetric if not metric.is_binary]
BINARY_METRICS = [SimilarityMetric.HAMMING, SimilarityMetric.JACCARD]


class TestReference(VectorStoreConformance):
    @pytest.fixture
    def vector_store(self):
        return ReferenceVectorStore()


class TestReferenceScores(ScoreTests):
    @pytest.fixture(params=[SimilarityMetric.EUCLIDEAN, SimilarityMetric.DOT_PRODUCT])
    def vector_store(self, request):
        return ReferenceVectorStore(metric=request.param)


class TestReferenceSparse(SparseTests):
    @pytest.fixture
    def vector_store(self):
        return ReferenceVectorStore()


class TestReferenceBinary(BinaryTests):
    @pytest.fixture(params=BINARY_METRICS)
    def vector_store(self, request):
        return ReferenceVectorStore(metric=request.param)


class TestReferenceFullText(FullTextTests):
    @pytest.fixture
    def vector_store(self):
        return ReferenceVectorStore()


class TestReferenceHybrid(HybridTests):
    @pytest.fixture(params=DENSE_METRICS)
    def vector_store(self, request):
        return ReferenceVectorStore(metric=request.param)
