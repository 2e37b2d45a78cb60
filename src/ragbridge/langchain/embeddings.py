"""Embedding models: LangChain's as the core's, and the core's as LangChain's."""

import asyncio
from collections.abc import Sequence

from langchain_core.embeddings import Embeddings

from ragbridge.documents import Chunk, TextChunk
from ragbridge.embeddings import (
    Embedding,
    EmbeddingLike,
    EmbeddingProvider,
    Vector,
    check_embeddings,
    dense_part,
)
from ragbridge.errors import (
    InvalidConfigError,
    InvalidDocumentError,
    InvalidEmbeddingError,
    shorten,
)
from ragbridge.retrievers import check_kind

__all__ = ["LangChainEmbeddingProvider", "RagbridgeEmbeddings"]


class LangChainEmbeddingProvider(EmbeddingProvider):
    """A LangChain embedding model as a core provider.

    Passages go through the model's `embed_documents`, queries one by one through its `embed_query`,
    since many models embed them differently; the async twins call the model's own async methods.

    Args:
        embeddings: The model.
        queries_as_documents: Whether the model embeds queries as it embeds passages: many queries
            then go in one call of `embed_documents`.

    Raises:
        InvalidConfigError: it is no `langchain_core.embeddings.Embeddings`.
    """

    def __init__(self, embeddings: Embeddings, *, queries_as_documents: bool = False) -> None:
        check_kind(embeddings, Embeddings, "embeddings")
        self.embeddings = embeddings
        self.queries_as_documents = queries_as_documents

    def batch_embed(self, chunks: Sequence[Chunk]) -> list[Embedding]:
        """One dense vector for each chunk, in their order.

        Raises:
            InvalidDocumentError: a chunk's content is no text.
            InvalidEmbeddingError: the model's answer is no list of as many vectors.
        """
        return self._embed_documents([_text_of(chunk) for chunk in chunks])

    async def abatch_embed(self, chunks: Sequence[Chunk]) -> list[Embedding]:
        """Async twin of `batch_embed`."""
        return await self._aembed_documents([_text_of(chunk) for chunk in chunks])

    def batch_embed_queries(self, texts: Sequence[str]) -> list[Embedding]:
        """One dense vector for each query, in their order.

        Raises:
            InvalidEmbeddingError: the model's answer is no vector.
        """
        if self.queries_as_documents:
            return self._embed_documents(texts)
        made = [self.embeddings.embed_query(text) for text in texts]
        return check_embeddings(made, len(texts), self)

    async def abatch_embed_queries(self, texts: Sequence[str]) -> list[Embedding]:
        """Async twin of `batch_embed_queries`; the queries are embedded at the same time."""
        if self.queries_as_documents:
            return await self._aembed_documents(texts)
        made = await asyncio.gather(*map(self.embeddings.aembed_query, texts))
        return check_embeddings(made, len(texts), self)

    def _embed_documents(self, texts: Sequence[str]) -> list[Embedding]:
        made = self.embeddings.embed_documents(list(texts)) if texts else []
        return check_embeddings(made, len(texts), self)

    async def _aembed_documents(self, texts: Sequence[str]) -> list[Embedding]:
        made = await self.embeddings.aembed_documents(list(texts)) if texts else []
        return check_embeddings(made, len(texts), self)


class RagbridgeEmbeddings(Embeddings):
    """A core provider as a LangChain embedding model.

    LangChain's vectors are dense: of what a provider makes, the dense part is given.

    Args:
        provider: The provider.

    Raises:
        InvalidConfigError: it is no `ragbridge.EmbeddingProvider`.
    """

    def __init__(self, provider: EmbeddingProvider) -> None:
        check_kind(provider, EmbeddingProvider, "provider")
        self.provider = provider

    def embed_documents(self, texts: Sequence[str]) -> list[list[float]]:
        """One vector for each text, in their order.

        Raises:
            InvalidDocumentError: a text is no string.
            InvalidEmbeddingError: the provider makes no dense vectors.
        """
        chunks = _chunks_of(texts)
        return self._lists(self.provider.batch_embed(chunks), len(chunks)) if chunks else []

    async def aembed_documents(self, texts: Sequence[str]) -> list[list[float]]:
        """Async twin of `embed_documents`."""
        chunks = _chunks_of(texts)
        return self._lists(await self.provider.abatch_embed(chunks), len(chunks)) if chunks else []

    def embed_query(self, text: str) -> list[float]:
        """The vector of a query.

        Raises:
            InvalidEmbeddingError: the provider makes no dense vectors.
        """
        return self._lists([self.provider.embed_query(text)], 1)[0]

    async def aembed_query(self, text: str) -> list[float]:
        """Async twin of `embed_query`."""
        return self._lists([await self.provider.aembed_query(text)], 1)[0]

    def _lists(self, made: Sequence[EmbeddingLike], expected: int) -> list[list[float]]:
        vectors = [dense_part(each) for each in check_embeddings(made, expected, self.provider)]
        return [self._list(vector) for vector in vectors]

    def _list(self, vector: Vector | None) -> list[float]:
        if vector is None:
            raise InvalidEmbeddingError(
                f"{type(self.provider).__name__} makes no dense vectors, and LangChain's embedding "
                "models make no others; give the provider itself where a core object is taken"
            )
        values: list[float] = vector.tolist()
        return values


def as_embedding_provider(embedding: object) -> EmbeddingProvider | None:
    """The core provider that a caller means: one, a LangChain model, or None.

    Raises:
        InvalidConfigError: anything else.
    """
    if isinstance(embedding, RagbridgeEmbeddings):
        return embedding.provider
    if isinstance(embedding, Embeddings):
        return LangChainEmbeddingProvider(embedding)
    if embedding is None or isinstance(embedding, EmbeddingProvider):
        return embedding
    raise InvalidConfigError(
        "embedding must be a LangChain Embeddings, a ragbridge EmbeddingProvider or None, not "
        f"{shorten(embedding)}"
    )


def as_langchain_embeddings(provider: EmbeddingProvider) -> Embeddings:
    """The LangChain model that a provider is made of, or one made of the provider."""
    if isinstance(provider, LangChainEmbeddingProvider):
        return provider.embeddings
    return RagbridgeEmbeddings(provider)


def _chunks_of(texts: Sequence[str]) -> list[Chunk]:
    if isinstance(texts, str):
        raise InvalidDocumentError(f"texts must be a list of strings, not {shorten(texts)}")
    return [TextChunk(content=text) for text in texts]


def _text_of(chunk: Chunk) -> str:
    if not isinstance(chunk.content, str):
        raise InvalidDocumentError(
            f"LangChain's embedding models take texts only, but a chunk of type {chunk.type!r} holds "
            f"{shorten(chunk.content)}"
        )
    return chunk.content
