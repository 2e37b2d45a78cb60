"""Embedding providers and retrievers pass their parts of the suite."""

import pytest

from ragbridge.embeddings import HashingEmbeddingProvider
from ragbridge.knowledge_base import VectorKnowledgeBase
from ragbridge.retrievers import SearchMode, VectorRetriever
from ragbridge.stores.base import SimilarityMetric
from ragbridge.testing import EmbeddingProviderTests, RetrieverTests
from recording import HybridProvider, SparseProvider


class TestHashingProvider(EmbeddingProviderTests):
    @pytest.fixture
    def embedding_provider(self):
        return HashingEmbeddingProvider()


class TestSparseProvider(EmbeddingProviderTests):
    @pytest.fixture
    def embedding_provider(self):
        return SparseProvider()


class TestHybridProvider(EmbeddingProviderTests):
    @pytest.fixture
    def embedding_provider(self):
        return HybridProvider()


def filled(store, provider):
    knowledge_base = VectorKnowledgeBase(store, provider, chunker=None)
    knowledge_base.ingest(RetrieverTests.CHUNKS)
    return knowledge_base


class TestKnowledgeBase(RetrieverTests):
    @pytest.fixture(scope="class")
    @classmethod
    def retriever(cls, backend):
        store = backend.new_store(metric=SimilarityMetric.COSINE)
        yield filled(store, HashingEmbeddingProvider(64))
        backend.remove(store)


class TestDenseRetriever(RetrieverTests):
    @pytest.fixture(scope="class")
    @classmethod
    def retriever(cls, backend):
        store = backend.new_store(metric=SimilarityMetric.EUCLIDEAN)
        provider = HashingEmbeddingProvider(64)
        yield VectorRetriever(filled(store, provider).vector_store, provider)
        backend.remove(store)


@pytest.mark.stores("memory", "milvus-lite")
class TestFullTextRetriever(RetrieverTests):
    @pytest.fixture(scope="class")
    @classmethod
    def retriever(cls, backend):
        store = backend.new_store(metric=SimilarityMetric.COSINE)
        yield VectorRetriever(filled(store, None).vector_store, mode=SearchMode.FULL_TEXT)
        backend.remove(store)
