"""LlamaIndex's vector stores as core stores."""

import pytest
from llama_index.core.vector_stores import SimpleVectorStore

from ragbridge.llama_index import RagbridgeVectorStore
from ragbridge.llama_index.wrapped_store import LlamaIndexVectorStore
from ragbridge.stores.base import SimilarityMetric
from ragbridge.testing import FullTextTests, ScoreTests, VectorStoreConformance

pytestmark = pytest.mark.usefixtures("few_examples")


class TestOurs(VectorStoreConformance):
    @pytest.fixture
    def vector_store(self, backend):
        with backend.empty_store(metric=SimilarityMetric.COSINE) as store:
            yield LlamaIndexVectorStore(RagbridgeVectorStore(store))


class TestScoresOfOurs(ScoreTests):
    @pytest.fixture(params=[SimilarityMetric.EUCLIDEAN, SimilarityMetric.DOT_PRODUCT])
    def vector_store(self, backend, request):
        with backend.empty_store(metric=request.param) as store:
            yield LlamaIndexVectorStore(RagbridgeVectorStore(store))


@pytest.mark.stores("memory")
class TestFullTextOfOurs(FullTextTests):
    @pytest.fixture
    def vector_store(self, backend):
        with backend.empty_store(metric=SimilarityMetric.COSINE) as store:
            yield LlamaIndexVectorStore(RagbridgeVectorStore(store))


@pytest.mark.stores("memory")
class TestSimple(VectorStoreConformance):
    @pytest.fixture
    def vector_store(self, store_name):
        return LlamaIndexVectorStore(SimpleVectorStore())
