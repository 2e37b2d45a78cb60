"""Embedding models, the core's as LlamaIndex's and the other way round."""

import asyncio
import threading

import numpy as np
import pytest
from llama_index.core import MockEmbedding
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.base.embeddings.base_sparse import BaseSparseEmbedding
from llama_index.core.callbacks import CallbackManager, CBEventType, LlamaDebugHandler
from llama_index.core.ingestion import IngestionCache, IngestionPipeline
from llama_index.core.schema import TextNode

from case_names import shown
from ragbridge.documents import Chunk, TextChunk
from ragbridge.embeddings import (
    EmbeddingProvider,
    HashingEmbeddingProvider,
    HybridVector,
    SparseVector,
)
from ragbridge.errors import InvalidConfigError, InvalidDocumentError, InvalidEmbeddingError
from ragbridge.llama_index import LlamaIndexEmbeddingProvider, RagbridgeEmbedding
from ragbridge.testing import EmbeddingProviderTests

TEXTS = ["green tea", "black coffee", "gravel bike"]


class AsymmetricProvider(EmbeddingProvider):
    """Embeds a query as the negative of a passage, and tells how it was called."""

    def __init__(self):
        self.calls = []

    def batch_embed(self, chunks):
        self.calls.append(("batch_embed", len(chunks)))
        return [np.array([len(chunk.content), 1.0], np.float32) for chunk in chunks]

    def batch_embed_queries(self, texts):
        self.calls.append(("batch_embed_queries", len(texts)))
        return [np.array([-len(text), -1.0], np.float32) for text in texts]

    async def abatch_embed(self, chunks):
        self.calls.append(("abatch_embed", len(chunks)))
        return [np.array([len(chunk.content), 2.0], np.float32) for chunk in chunks]

    async def abatch_embed_queries(self, texts):
        self.calls.append(("abatch_embed_queries", len(texts)))
        return [np.array([-len(text), -2.0], np.float32) for text in texts]


class FixedProvider(EmbeddingProvider):
    def __init__(self, made):
        self.made = made

    def batch_embed(self, chunks):
        return self.made


class AsymmetricModel(BaseEmbedding):
    """A LlamaIndex model whose queries, texts and async calls all give other vectors."""

    def _get_query_embedding(self, query):
        return [1.0, float(len(query))]

    async def _aget_query_embedding(self, query):
        return [2.0, float(len(query))]

    def _get_text_embedding(self, text):
        return [3.0, float(len(text))]

    async def _aget_text_embedding(self, text):
        return [4.0, float(len(text))]


class WordCounts(BaseSparseEmbedding):
    """Sparse vectors: how often each word is there; queries count double."""

    def _get_text_embedding(self, text):
        return {sum(map(ord, word)): float(text.split().count(word)) for word in text.split()}

    async def _aget_text_embedding(self, text):
        return self._get_text_embedding(text)

    def _get_query_embedding(self, query):
        return {place: 2 * weight for place, weight in self._get_text_embedding(query).items()}

    async def _aget_query_embedding(self, query):
        return self._get_query_embedding(query)


class FixedWeights(WordCounts):
    made: object

    def _get_text_embedding(self, text):
        return self.made


def chunks(texts):
    return [TextChunk(content=text) for text in texts]


class TestRagbridgeEmbedding:
    def test_texts_and_queries_are_told_apart(self):
        provider = AsymmetricProvider()
        model = RagbridgeEmbedding(provider)
        assert model.get_query_embedding("abc") == [-3.0, -1.0]
        assert model.get_text_embedding("abc") == [3.0, 1.0]
        assert provider.calls == [("batch_embed_queries", 1), ("batch_embed", 1)]

    async def test_async_methods_call_async_methods(self):
        provider = AsymmetricProvider()
        model = RagbridgeEmbedding(provider)
        assert await model.aget_query_embedding("abc") == [-3.0, -2.0]
        assert await model.aget_text_embedding("abc") == [3.0, 2.0]
        assert await model.aget_text_embedding_batch(["a", "bc"]) == [[1.0, 2.0], [2.0, 2.0]]
        assert provider.calls == [
            ("abatch_embed_queries", 1),
            ("abatch_embed", 1),
            ("abatch_embed", 2),
        ]

    def test_batches_go_in_one_call_each(self):
        provider = AsymmetricProvider()
        model = RagbridgeEmbedding(provider, embed_batch_size=4)
        made = model.get_text_embedding_batch(["x" * n for n in range(10)])
        assert [vector[0] for vector in made] == list(range(10))
        assert provider.calls == [("batch_embed", 4), ("batch_embed", 4), ("batch_embed", 2)]

    def test_of_a_hybrid_vector_the_dense_part_is_taken(self):
        vector = HybridVector([1.0, 2.0], SparseVector([1], [1.0]))
        assert RagbridgeEmbedding(FixedProvider([vector])).get_text_embedding("x") == [1.0, 2.0]

    def test_a_sparse_vector_is_refused(self):
        model = RagbridgeEmbedding(FixedProvider([SparseVector([1], [1.0])]))
        with pytest.raises(InvalidEmbeddingError, match=r"FixedProvider makes a SparseVector"):
            model.get_query_embedding("x")

    def test_too_few_vectors_are_refused(self):
        model = RagbridgeEmbedding(FixedProvider([[1.0]]))
        with pytest.raises(InvalidEmbeddingError, match="1 embeddings of 2 texts"):
            model.get_text_embedding_batch(["x", "y"])

    @pytest.mark.parametrize("wrong", [None, "model", MockEmbedding(embed_dim=3)], ids=shown)
    def test_what_is_no_provider_is_refused(self, wrong):
        with pytest.raises(InvalidConfigError, match="embedding_provider"):
            RagbridgeEmbedding(wrong)

    def test_events_show_the_model_and_not_the_provider(self):
        debug = LlamaDebugHandler(print_trace_on_end=False)
        model = RagbridgeEmbedding(
            HashingEmbeddingProvider(dimension=8), callback_manager=CallbackManager([debug])
        )
        model.get_text_embedding_batch(TEXTS)
        ((start, end),) = debug.get_event_pairs(CBEventType.EMBEDDING)
        assert start.payload["serialized"]["class_name"] == "RagbridgeEmbedding"
        assert start.payload["serialized"]["model_name"] == "HashingEmbeddingProvider 8"
        assert end.payload["chunks"] == TEXTS
        assert len(end.payload["embeddings"]) == len(TEXTS)
        assert "embedding_provider" not in model.to_dict()

    def test_caches_tell_models_apart(self):
        cache = IngestionCache()
        for dimension in (8, 16):
            model = RagbridgeEmbedding(HashingEmbeddingProvider(dimension=dimension))
            pipeline = IngestionPipeline(transformations=[model], cache=cache)
            (node,) = pipeline.run(nodes=[TextNode(id_="n", text="green tea")])
            assert len(node.embedding) == dimension

    def test_event_loops_in_turn(self):
        model = RagbridgeEmbedding(HashingEmbeddingProvider(dimension=8))
        one, other = (asyncio.run(model.aget_query_embedding("tea")) for _ in range(2))
        assert one == other == model.get_query_embedding("tea")


class TestDense(EmbeddingProviderTests):
    @pytest.fixture
    def embedding_provider(self):
        model = RagbridgeEmbedding(HashingEmbeddingProvider(dimension=32), embed_batch_size=2)
        return LlamaIndexEmbeddingProvider(model)


class TestSparse(EmbeddingProviderTests):
    @pytest.fixture
    def embedding_provider(self):
        return LlamaIndexEmbeddingProvider(sparse_embed_model=WordCounts())


class TestBoth(EmbeddingProviderTests):
    @pytest.fixture
    def embedding_provider(self):
        model = RagbridgeEmbedding(HashingEmbeddingProvider(dimension=32))
        return LlamaIndexEmbeddingProvider(model, WordCounts(embed_batch_size=3))


class TestLlamaIndexEmbeddingProvider:
    def test_texts_and_queries_are_told_apart(self):
        provider = LlamaIndexEmbeddingProvider(AsymmetricModel())
        assert provider.embed_query("abc").tolist() == [1.0, 3.0]
        assert provider.embed(TextChunk(content="abc")).tolist() == [3.0, 3.0]

    async def test_async_methods_call_async_methods(self):
        provider = LlamaIndexEmbeddingProvider(AsymmetricModel())
        assert (await provider.aembed_query("abc")).tolist() == [2.0, 3.0]
        assert (await provider.aembed(TextChunk(content="abc"))).tolist() == [4.0, 3.0]

    async def test_async_methods_use_no_threads(self, monkeypatch):
        provider = LlamaIndexEmbeddingProvider(AsymmetricModel(), WordCounts())
        monkeypatch.setattr(threading.Thread, "start", None)
        assert len(await provider.abatch_embed(chunks(TEXTS))) == 3
        assert len(await provider.abatch_embed_queries(TEXTS)) == 3

    def test_sparse_queries_are_queries(self):
        provider = LlamaIndexEmbeddingProvider(sparse_embed_model=WordCounts())
        assert provider.embed_query("a b a").to_dict() == {97: 4.0, 98: 2.0}
        assert provider.embed(TextChunk(content="a b a")).to_dict() == {97: 2.0, 98: 1.0}

    def test_both_make_hybrid_vectors(self):
        provider = LlamaIndexEmbeddingProvider(AsymmetricModel(), WordCounts())
        assert provider.embed_query("a b") == HybridVector(
            [1.0, 3.0], SparseVector([97, 98], [2.0, 2.0])
        )

    def test_weights_of_zero_are_left_out(self):
        provider = LlamaIndexEmbeddingProvider(
            sparse_embed_model=FixedWeights(made={np.int64(7): 1.5, 2: 0.0, 3: 2.5})
        )
        assert provider.embed(TextChunk(content="x")) == SparseVector([3, 7], [2.5, 1.5])

    def test_content_that_is_no_text_is_refused_and_not_shown(self):
        provider = LlamaIndexEmbeddingProvider(AsymmetricModel())
        with pytest.raises(InvalidDocumentError, match="'image-chunk' holds bytes") as caught:
            provider.batch_embed([Chunk(type="image-chunk", content=b"secret")])
        assert "secret" not in str(caught.value)

    @pytest.mark.parametrize(
        "models",
        [(), (None, None), ("model",), (WordCounts(),), (None, MockEmbedding(embed_dim=3))],
        ids=["none", "nones", "text", "sparse-for-dense", "dense-for-sparse"],
    )
    def test_what_are_no_models_is_refused(self, models):
        with pytest.raises(InvalidConfigError, match="embed_model"):
            LlamaIndexEmbeddingProvider(*models)
