"""LangChain stores as core stores pass the core's own conformance suite."""

import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.vectorstores import InMemoryVectorStore

from ragbridge import SimilarityMetric
from ragbridge.langchain.vector_store import RagbridgeVectorStore
from ragbridge.langchain.wrapped_store import LangChainVectorStore
from ragbridge.testing import ScoreTests, VectorStoreConformance

pytestmark = pytest.mark.usefixtures("few_examples")


class TestOverRagbridge(VectorStoreConformance):
    @pytest.fixture
    def vector_store(self, backend):
        with backend.empty_store(metric=SimilarityMetric.COSINE) as store:
            yield LangChainVectorStore(RagbridgeVectorStore(store))


class TestScoresOverRagbridge(ScoreTests):
    @pytest.fixture(params=[SimilarityMetric.EUCLIDEAN, SimilarityMetric.DOT_PRODUCT])
    def vector_store(self, backend, request):
        with backend.empty_store(metric=request.param) as store:
            yield LangChainVectorStore(RagbridgeVectorStore(store))


@pytest.mark.stores("memory")
class TestOverInMemory(VectorStoreConformance):
    @pytest.fixture
    def vector_store(self, store_name):
        return LangChainVectorStore(InMemoryVectorStore(DeterministicFakeEmbedding(size=4)))
