"""How `RagbridgeVectorStore` puts texts into a core store, described once for sync and async."""

from collections.abc import Iterable, Sequence
from itertools import repeat
from typing import Any

from langchain_core.documents import Document

from ragbridge._twins import Step, Work
from ragbridge.documents import Chunk
from ragbridge.embeddings import Embedding, EmbeddingLike, EmbeddingProvider, check_embeddings
from ragbridge.errors import InvalidDocumentError, shorten
from ragbridge.langchain._arguments import check_list, check_same_length
from ragbridge.langchain.documents import make_chunk
from ragbridge.stores.base import VectorEntry, VectorStore, check_batch_size


class Additions:
    """What can be put into a core store.

    Args:
        store: The store.
        provider: Embeds the texts; None: they get no vectors.
        document_id_key: The metadata key that names a text's document.
    """

    def __init__(
        self, store: VectorStore, provider: EmbeddingProvider | None, document_id_key: str | None
    ) -> None:
        self._store = store
        self._provider = provider
        self._document_id_key = document_id_key

    def documents(
        self,
        documents: Iterable[Document],
        ids: Iterable[str | None] | None,
        batch_size: int | None,
    ) -> Work[list[str]]:
        """Put documents in, under `ids` or their own."""
        given = check_list(documents, "documents")
        for position, document in enumerate(given):
            if not isinstance(document, Document):
                raise InvalidDocumentError(
                    f"documents[{position}] must be a LangChain Document, not {shorten(document)}"
                )
        return (
            yield from self.texts(
                [document.page_content for document in given],
                [document.metadata for document in given],
                [document.id for document in given] if ids is None else ids,
                batch_size,
            )
        )

    def texts(
        self,
        texts: Iterable[str],
        metadatas: Iterable[dict[str, Any]] | None,
        ids: Iterable[str | None] | None,
        batch_size: int | None = None,
        embeddings: Iterable[EmbeddingLike] | None = None,
    ) -> Work[list[str]]:
        """Put texts in, with embeddings that are there already or that are made now."""
        given = check_list(texts, "texts")
        all_metadata = None if metadatas is None else check_list(metadatas, "metadatas")
        all_ids = None if ids is None else check_list(ids, "ids")
        vectors = None if embeddings is None else list(embeddings)
        check_same_length(given, metadatas=all_metadata, ids=all_ids, embeddings=vectors)
        chunks = self._chunks(given, all_metadata)
        if vectors is None:
            vectors = yield from self._embed(chunks, batch_size)
        entries = [
            VectorEntry(id=given_id, embedding=vector, chunk=chunk)
            for given_id, vector, chunk in zip(
                all_ids or repeat(None), vectors, chunks, strict=False
            )
        ]
        return (yield from Step(self._store.add, self._store.aadd, entries)) if entries else []

    def _chunks(
        self, texts: Sequence[str], metadatas: Sequence[dict[str, Any]] | None
    ) -> list[Chunk]:
        chunks: list[Chunk] = []
        for text, metadata in zip(texts, metadatas or repeat({}), strict=False):
            try:
                chunks.append(make_chunk(text, metadata, self._document_id_key))
            except InvalidDocumentError as error:
                raise InvalidDocumentError(f"texts[{len(chunks)}]: {error}") from error
        return chunks

    def _embed(self, chunks: Sequence[Chunk], batch_size: int | None) -> Work[list[Any]]:
        provider = self._provider
        size = len(chunks) if batch_size is None else check_batch_size(batch_size)
        if provider is None or not chunks:
            return [None] * len(chunks)
        embeddings: list[Embedding] = []
        for start in range(0, len(chunks), size):
            part = chunks[start : start + size]
            made = yield from Step(provider.batch_embed, provider.abatch_embed, part)
            embeddings += check_embeddings(made, len(part), provider)
        return embeddings
