"""A LangChain embedding model as a core provider."""

import asyncio
import threading

import numpy as np
import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding, Embeddings

from ragbridge import (
    Chunk,
    InvalidConfigError,
    InvalidDocumentError,
    InvalidEmbeddingError,
    TextChunk,
)
from ragbridge.langchain import LangChainEmbeddingProvider
from ragbridge.testing import EmbeddingProviderTests


class Asymmetric(Embeddings):
    """Embeds queries differently, and remembers what it was asked where."""

    def __init__(self):
        self.asked = []

    def embed_documents(self, texts):
        self.asked.append(list(texts))
        return [[1.0, float(len(text))] for text in texts]

    def embed_query(self, text):
        self.asked.append(text)
        return [-1.0, float(len(text))]

    async def aembed_documents(self, texts):
        self.thread = threading.current_thread()
        return self.embed_documents(texts)

    async def aembed_query(self, text):
        self.thread = threading.current_thread()
        return self.embed_query(text)


class TestLangChainProvider(EmbeddingProviderTests):
    @pytest.fixture
    def embedding_provider(self):
        return LangChainEmbeddingProvider(DeterministicFakeEmbedding(size=8))


CHUNKS = [TextChunk(content="a"), TextChunk(content="bb")]


def test_queries_go_through_the_model_s_query_method():
    model = Asymmetric()
    provider = LangChainEmbeddingProvider(model)
    np.testing.assert_array_equal(provider.batch_embed(CHUNKS), [[1, 1], [1, 2]])
    np.testing.assert_array_equal(provider.batch_embed_queries(["a", "bb"]), [[-1, 1], [-1, 2]])
    assert model.asked == [["a", "bb"], "a", "bb"]


def test_queries_can_go_in_one_call():
    model = Asymmetric()
    provider = LangChainEmbeddingProvider(model, queries_as_documents=True)
    np.testing.assert_array_equal(provider.batch_embed_queries(["a", "bb"]), [[1, 1], [1, 2]])
    assert asyncio.run(provider.abatch_embed_queries(["a"]))[0].tolist() == [1, 1]
    assert model.asked == [["a", "bb"], ["a"]]


async def test_async_calls_use_the_model_s_own_async_methods():
    model = Asymmetric()
    provider = LangChainEmbeddingProvider(model)
    await provider.abatch_embed(CHUNKS)
    assert model.thread is threading.main_thread()
    del model.thread
    vectors = await provider.abatch_embed_queries(["a", "bb"])
    np.testing.assert_array_equal(vectors, [[-1, 1], [-1, 2]])
    assert model.thread is threading.main_thread()


def test_nothing_is_asked_about_nothing():
    model = Asymmetric()
    provider = LangChainEmbeddingProvider(model)
    assert provider.batch_embed([]) == provider.batch_embed_queries([]) == []
    assert asyncio.run(provider.abatch_embed([])) == []
    assert model.asked == []


def test_wrong_answers_and_arguments_are_refused():
    class Forgetful(Asymmetric):
        def embed_documents(self, texts):
            return super().embed_documents(texts)[1:]

        def embed_query(self, text):
            return [float("nan")]

    provider = LangChainEmbeddingProvider(Forgetful())
    with pytest.raises(InvalidEmbeddingError, match="1 embeddings of 2"):
        provider.batch_embed(CHUNKS)
    with pytest.raises(InvalidEmbeddingError, match="nan"):
        provider.embed_query("a")
    with pytest.raises(InvalidDocumentError, match="image"):
        provider.embed(Chunk(type="image", content=b"x"))
    with pytest.raises(InvalidConfigError, match="embeddings"):
        LangChainEmbeddingProvider(provider)
