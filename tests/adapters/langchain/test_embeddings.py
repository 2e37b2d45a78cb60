"""A core provider as a LangChain embedding model."""

import numpy as np
import pytest

from ragbridge import HashingEmbeddingProvider, InvalidConfigError, InvalidEmbeddingError
from ragbridge.documents import TextChunk
from ragbridge.embeddings import EmbeddingProvider
from ragbridge.errors import InvalidDocumentError
from ragbridge.langchain import LangChainEmbeddingProvider, RagbridgeEmbeddings
from recording import HybridProvider, RecordingProvider, SparseProvider


async def test_texts_and_queries_are_embedded_as_the_provider_does():
    provider = RecordingProvider(16)
    model = RagbridgeEmbeddings(provider)
    texts = ["one", "two", "three"]
    expected = [vector.tolist() for vector in provider.batch_embed(map_to_chunks(texts))]
    assert model.embed_documents(texts) == expected
    assert await model.aembed_documents(texts) == expected
    assert model.embed_query("one") == await model.aembed_query("one") == expected[0]
    assert provider.batches == [3, 3, 3]
    assert provider.query_batches == [["one"], ["one"]]
    assert all(type(value) is float for value in model.embed_query("one"))


def map_to_chunks(texts):
    return [TextChunk(content=text) for text in texts]


async def test_nothing_is_embedded_without_a_call():
    provider = RecordingProvider(16)
    model = RagbridgeEmbeddings(provider)
    assert model.embed_documents([]) == await model.aembed_documents([]) == []
    assert provider.batches == []


async def test_async_calls_reach_the_providers_async_methods():
    class Async(HashingEmbeddingProvider):
        async def abatch_embed(self, chunks):
            return [np.ones(2)] * len(chunks)

        async def abatch_embed_queries(self, texts):
            return [np.zeros(2)] * len(texts)

    model = RagbridgeEmbeddings(Async(8))
    assert await model.aembed_documents(["a"]) == [[1.0, 1.0]]
    assert await model.aembed_query("a") == [0.0, 0.0]


def test_only_dense_vectors_can_be_given():
    dense = RagbridgeEmbeddings(HybridProvider(8)).embed_query("green tea")
    assert dense == HashingEmbeddingProvider(8).embed_query("green tea").tolist()
    with pytest.raises(InvalidEmbeddingError, match="SparseProvider makes no dense vectors"):
        RagbridgeEmbeddings(SparseProvider()).embed_documents(["a"])


def test_what_a_provider_may_not_do_is_found():
    class Losing(EmbeddingProvider):
        def batch_embed(self, chunks):
            return [np.ones(2)]

    with pytest.raises(InvalidEmbeddingError, match="Losing made 1 embeddings of 2"):
        RagbridgeEmbeddings(Losing()).embed_documents(["a", "b"])


def test_wrong_arguments_are_refused():
    with pytest.raises(InvalidConfigError, match="provider must be of type EmbeddingProvider"):
        RagbridgeEmbeddings("model")
    with pytest.raises(InvalidDocumentError, match="texts must be a list of strings"):
        RagbridgeEmbeddings(HashingEmbeddingProvider(8)).embed_documents("abc")
    with pytest.raises(InvalidDocumentError):
        RagbridgeEmbeddings(HashingEmbeddingProvider(8)).embed_documents([3])


def test_there_and_back():
    provider = HashingEmbeddingProvider(8)
    back = LangChainEmbeddingProvider(RagbridgeEmbeddings(provider))
    assert np.array_equal(back.embed_query("a"), provider.embed_query("a"))
