"""Embedding models: LangChain's as the core's."""

import asyncio
from collections.abc import Sequence

from langchain_core.embeddings import Embeddings

from ragbridge.documents import Chunk
from ragbridge.embeddings import Embedding, EmbeddingProvider, check_embeddings
from ragbridge.errors import InvalidDocumentError, shorten
from ragbridge.retrievers import check_kind

__all__ = ["LangChainEmbeddingProvider"]


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


def _text_of(chunk: Chunk) -> str:
    if not isinstance(chunk.content, str):
        raise InvalidDocumentError(
            f"LangChain's embedding models take texts only, but a chunk of type {chunk.type!r} holds "
            f"{shorten(chunk.content)}"
        )
    return chunk.content
