"""Embedding models: the core's providers as LlamaIndex's, and LlamaIndex's as the core's."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from llama_index.core.async_utils import DEFAULT_NUM_WORKERS, run_jobs
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.base.embeddings.base_sparse import BaseSparseEmbedding
from llama_index.core.bridge.pydantic import Field

from ragbridge._adapting import texts_of
from ragbridge._twins import Step, Work, arun, run
from ragbridge.documents import Chunk, TextChunk
from ragbridge.embeddings import (
    Embedding,
    EmbeddingLike,
    EmbeddingProvider,
    HybridVector,
    SparseVector,
    as_embedding,
    check_embeddings,
    dense_part,
)
from ragbridge.errors import InvalidConfigError, InvalidEmbeddingError
from ragbridge.retrievers import check_kind

__all__ = ["LlamaIndexEmbeddingProvider", "RagbridgeEmbedding"]


class RagbridgeEmbedding(BaseEmbedding):
    """A core provider as a LlamaIndex embedding model.

    Texts go through the provider's `batch_embed`, queries through its `embed_query`; the async methods
    call their async twins. LlamaIndex's models make dense vectors only: of a provider that makes
    hybrid ones the dense part is taken. Batches, cache, rate limits and events are LlamaIndex's.

    Args:
        embedding_provider: The provider.
        model_name: What to call it; caches of ingestion pipelines tell models apart by this name. By
            default what the provider calls itself.
        settings: The other fields of LlamaIndex's `BaseEmbedding`: `embed_batch_size`,
            `callback_manager`, `num_workers`, `embeddings_cache`, `rate_limiter`.

    Raises:
        InvalidConfigError: `embedding_provider` is no core provider.
    """

    embedding_provider: EmbeddingProvider = Field(exclude=True)

    def __init__(
        self,
        embedding_provider: EmbeddingProvider,
        *,
        model_name: str | None = None,
        **settings: Any,
    ) -> None:
        check_kind(embedding_provider, EmbeddingProvider, "embedding_provider")
        super().__init__(
            embedding_provider=embedding_provider,
            model_name=model_name or _name_of(embedding_provider),
            **settings,
        )

    @classmethod
    def class_name(cls) -> str:
        """The name under which LlamaIndex knows this class."""
        return "RagbridgeEmbedding"

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._numbers(self.embedding_provider.embed_query(query))

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._numbers(await self.embedding_provider.aembed_query(query))

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    async def _aget_text_embedding(self, text: str) -> list[float]:
        return (await self._aget_text_embeddings([text]))[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return self._lists(self.embedding_provider.batch_embed(_chunks(texts)), texts)

    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return self._lists(await self.embedding_provider.abatch_embed(_chunks(texts)), texts)

    def _lists(self, made: Sequence[EmbeddingLike], texts: list[str]) -> list[list[float]]:
        return [
            self._numbers(embedding)
            for embedding in check_embeddings(made, len(texts), self.embedding_provider)
        ]

    def _numbers(self, made: EmbeddingLike) -> list[float]:
        vector = dense_part(as_embedding(made))
        if vector is None:
            raise InvalidEmbeddingError(
                f"LlamaIndex's embedding models make dense vectors, but "
                f"{type(self.embedding_provider).__name__} makes a {type(made).__name__}; retrieve "
                "with RagbridgeRetriever(VectorRetriever(store, provider)) instead"
            )
        numbers: list[float] = vector.tolist()
        return numbers


class LlamaIndexEmbeddingProvider(EmbeddingProvider):
    """LlamaIndex's embedding models as a core provider: a dense one, a sparse one, or both.

    With both, every embedding is a `HybridVector`. Passages go through the models'
    `get_text_embedding_batch`, queries through their `get_query_embedding`, since many models embed
    them differently; the async twins call the models' own async methods. Sparse weights of 0 are left
    out, since that is what they say.

    Args:
        embed_model: Makes dense vectors.
        sparse_embed_model: Makes sparse vectors.

    Raises:
        InvalidConfigError: neither is given, or one is no such model.
    """

    def __init__(
        self,
        embed_model: BaseEmbedding | None = None,
        sparse_embed_model: BaseSparseEmbedding | None = None,
    ) -> None:
        if embed_model is None and sparse_embed_model is None:
            raise InvalidConfigError("give an embed_model, a sparse_embed_model, or both, not none")
        if embed_model is not None:
            check_kind(embed_model, BaseEmbedding, "embed_model")
        if sparse_embed_model is not None:
            check_kind(sparse_embed_model, BaseSparseEmbedding, "sparse_embed_model")
        self.embed_model = embed_model
        self.sparse_embed_model = sparse_embed_model

    def batch_embed(self, chunks: Sequence[Chunk]) -> list[Embedding]:
        """One embedding for each chunk, in their order.

        Raises:
            InvalidDocumentError: a chunk's content is no text.
            InvalidEmbeddingError: a model's answer is no list of as many vectors.
        """
        return run(self._embed(_of_passages, texts_of(chunks, _MODELS)))

    async def abatch_embed(self, chunks: Sequence[Chunk]) -> list[Embedding]:
        """Async twin of `batch_embed`."""
        return await arun(self._embed(_of_passages, texts_of(chunks, _MODELS)))

    def batch_embed_queries(self, texts: Sequence[str]) -> list[Embedding]:
        """One embedding for each query, in their order.

        Raises:
            InvalidEmbeddingError: a model's answer is no vector.
        """
        return run(self._embed(_of_queries, list(texts)))

    async def abatch_embed_queries(self, texts: Sequence[str]) -> list[Embedding]:
        """Async twin of `batch_embed_queries`; as many queries at a time as a model has workers."""
        return await arun(self._embed(_of_queries, list(texts)))

    def _embed(self, step: "_StepOf", texts: list[str]) -> Work[list[Embedding]]:
        if not texts:
            return []
        legs: list[list[Embedding]] = []
        if self.embed_model is not None:
            vectors = yield from step(self.embed_model, texts)
            legs.append(check_embeddings(vectors, len(texts), self))
        if self.sparse_embed_model is not None:
            weights = yield from step(self.sparse_embed_model, texts)
            legs.append(check_embeddings(list(map(_sparse_vector, weights)), len(texts), self))
        return legs[0] if len(legs) == 1 else list(map(HybridVector, *legs))


_Model: TypeAlias = BaseEmbedding | BaseSparseEmbedding
_StepOf: TypeAlias = Callable[[_Model, list[str]], Step[list[Any]]]

_MODELS: Final = "LlamaIndex's embedding models"


def _of_passages(model: _Model, texts: list[str]) -> Step[list[Any]]:
    return Step(model.get_text_embedding_batch, model.aget_text_embedding_batch, texts)


def _of_queries(model: _Model, texts: list[str]) -> Step[list[Any]]:
    return Step(_embed_queries, _aembed_queries, model, texts)


def _embed_queries(model: _Model, texts: list[str]) -> list[Any]:
    return [model.get_query_embedding(text) for text in texts]


async def _aembed_queries(model: _Model, texts: list[str]) -> list[Any]:
    jobs = [model.aget_query_embedding(text) for text in texts]
    return await run_jobs(jobs, workers=model.num_workers or DEFAULT_NUM_WORKERS)


def _sparse_vector(weights: Mapping[int, float]) -> SparseVector:
    return SparseVector.from_dict({int(place): each for place, each in weights.items() if each})


def _chunks(texts: list[str]) -> list[TextChunk]:
    return [TextChunk(content=text) for text in texts]


def _name_of(provider: EmbeddingProvider) -> str:
    """What tells a provider apart from others, as far as it says."""
    kind = type(provider).__name__
    details = (getattr(provider, name, None) for name in ("model", "model_name", "dimension"))
    return " ".join([kind, *(str(each) for each in details if isinstance(each, str | int))])
