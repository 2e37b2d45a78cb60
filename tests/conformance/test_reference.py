"""The reference itself passes the suite that it helps to judge."""

import pytest

from ragbridge.stores.base import SimilarityMetric
from ragbridge.testing import (
    FullTextTests,
    HybridTests,
    ReferenceVectorStore,
    ScoreTests,
    SparseTests,
    VectorStoreConformance,
)


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


class TestReferenceFullText(FullTextTests):
    @pytest.fixture
    def vector_store(self):
        return ReferenceVectorStore()


class TestReferenceHybrid(HybridTests):
    @pytest.fixture(params=SimilarityMetric)
    def vector_store(self, request):
        return ReferenceVectorStore(metric=request.param)
