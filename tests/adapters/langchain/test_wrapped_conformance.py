"""LangChain stores as core stores pass the core's own conformance suite."""

import inspect

import pytest
from hypothesis import settings
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.vectorstores import InMemoryVectorStore

from ragbridge import SimilarityMetric, testing
from ragbridge.langchain import LangChainVectorStore, RagbridgeVectorStore
from ragbridge.testing import ScoreTests, VectorStoreConformance

LEFT_OUT = {
    "SparseTests": "LangChain's stores hold dense vectors",
    "BinaryTests": "LangChain's stores hold dense vectors",
    "HybridTests": "LangChain's searches have one leg",
    "FullTextTests": "a text is searched for as the wrapped store does it, which is not by words",
    "RetrieverTests": "these are no stores; see test_langchain_retriever.py",
    "EmbeddingProviderTests": "these are no stores; see test_embedding_provider.py",
}
"""The parts of the suite that LangChain's interface does not carry, and why. The others are whole."""


@pytest.fixture(autouse=True)
def fewer_examples():
    """The same code runs over every wrapped store, and reads all rows for many answers."""
    profile = settings.get_current_profile_name()
    settings.register_profile("wrapped", settings(), max_examples=settings().max_examples // 5)
    settings.load_profile("wrapped")
    yield
    settings.load_profile(profile)


# What a server adds to this is the core's own store, which the suite is run over anyway.
@pytest.mark.stores("memory", "milvus-lite")
class TestOverRagbridge(VectorStoreConformance):
    @pytest.fixture
    def vector_store(self, backend):
        with backend.empty_store(metric=SimilarityMetric.COSINE) as store:
            yield LangChainVectorStore(RagbridgeVectorStore(store))


@pytest.mark.stores("memory", "milvus-lite")
class TestScoresOverRagbridge(ScoreTests):
    @pytest.fixture(params=[SimilarityMetric.EUCLIDEAN, SimilarityMetric.DOT_PRODUCT])
    def vector_store(self, backend, request):
        with backend.empty_store(metric=request.param) as store:
            yield LangChainVectorStore(RagbridgeVectorStore(store))


class TestOverInMemory(VectorStoreConformance):
    @pytest.fixture
    def vector_store(self):
        return LangChainVectorStore(InMemoryVectorStore(DeterministicFakeEmbedding(size=4)))


def test_no_part_of_the_suite_is_forgotten():
    parts = {
        name
        for name in testing.__all__
        if name.endswith("Tests") and inspect.isclass(getattr(testing, name))
    }
    run = {kind.__name__ for kind in VectorStoreConformance.__mro__} & parts
    assert parts - run == set(LEFT_OUT)
