"""LangChain's own standard suites, as they are, over every store."""

import pytest
from langchain_core.documents import Document
from langchain_tests.integration_tests import (
    RetrieversIntegrationTests,
    VectorStoreIntegrationTests,
)

from ragbridge import HashingEmbeddingProvider, SimilarityMetric
from ragbridge.langchain import RagbridgeRetriever, RagbridgeVectorStore


class TestVectorStore(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, backend):
        store = backend.empty_store(metric=SimilarityMetric.COSINE, holds="langchain_standard")
        yield RagbridgeVectorStore(store, self.get_embeddings())
        store.close()


class TestRetriever(RetrieversIntegrationTests):
    @pytest.fixture(autouse=True)
    def _store(self, backend):
        store = backend.empty_store(metric=SimilarityMetric.COSINE, holds="langchain_retrievers")
        self.store = RagbridgeVectorStore(store, HashingEmbeddingProvider(64))
        self.store.add_documents([Document(f"Row {row} of a table") for row in range(5)])
        yield
        store.close()

    @property
    def retriever_constructor(self):
        return RagbridgeRetriever

    @property
    def retriever_constructor_params(self):
        return {"retriever": self.store}

    @property
    def retriever_query_example(self):
        return "a row of a table"


class TestStoresOwnRetriever(TestRetriever):
    @property
    def retriever_constructor(self):
        return lambda **params: self.store.as_retriever(search_kwargs=params)

    @property
    def retriever_constructor_params(self):
        return {}


def test_the_standard_suite_has_all_its_tests():
    tests = [name for name in dir(TestVectorStore) if name.startswith("test_")]
    assert len(tests) >= 25
    assert not any(name in vars(TestVectorStore) for name in tests)
