"""Knowledge bases: documents in, matching chunks out."""

import asyncio
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from ragbridge._ingest import IngestPlan, aplan_ingest, plan_ingest
from ragbridge._progress import progress_bar
from ragbridge._rendering import render_chunks
from ragbridge._twins import Step, Work, arun, run
from ragbridge.chunkers import AUTO, Chunker
from ragbridge.documents import Chunk, Document
from ragbridge.embeddings import Embedding, EmbeddingProvider, check_embeddings
from ragbridge.errors import (
    EntryNotFoundError,
    InvalidConfigError,
    InvalidQueryError,
    shorten,
)
from ragbridge.filters import Filter
from ragbridge.retrievers import Retriever, SearchMode, VectorRetriever, check_kind
from ragbridge.stores.base import (
    DEFAULT_RANKER,
    Ranker,
    VectorEntry,
    VectorStore,
    check_id,
    check_ids,
)

__all__ = ["KnowledgeBase", "VectorKnowledgeBase"]

T = TypeVar("T")


class KnowledgeBase(Retriever):
    """A retriever that documents are put into.

    The async twins run the sync methods in a thread unless overridden.
    """

    @abstractmethod
    def ingest(self, documents: Document | Sequence[Document]) -> list[str]:
        """Put documents, or ready chunks, in; returns the ids of the rows in order."""

    @abstractmethod
    def delete_by_filter(self, filters: Filter) -> int:
        """Remove the chunks whose metadata fulfil `filters`; returns how many."""

    async def aingest(self, documents: Document | Sequence[Document]) -> list[str]:
        """Async twin of `ingest`."""
        return await asyncio.to_thread(self.ingest, documents)

    async def adelete_by_filter(self, filters: Filter) -> int:
        """Async twin of `delete_by_filter`."""
        return await asyncio.to_thread(self.delete_by_filter, filters)


class VectorKnowledgeBase(VectorRetriever, KnowledgeBase):
    """A vector store with what it takes to fill it and to ask it.

    Args:
        vector_store: Where the rows are.
        embedding_provider: Embeds chunks and queries. Without one there are no vectors, and
            searches are full text.
        chunker: Makes chunks of documents, by default as their type demands (see `AUTO`). None
            makes one chunk of each.
        batch_size: How many chunks are embedded and written at once: more cost memory, fewer time.
        mode: How to search; see `VectorRetriever`.
        ranker: Fuses the legs of a hybrid search.

    Raises:
        InvalidConfigError: an argument is of the wrong kind, or the mode needs a provider.
        UnsupportedQueryError: the store cannot search in this mode.
    """

    def __init__(
        self,
        vector_store: VectorStore,
        embedding_provider: EmbeddingProvider | None = None,
        *,
        chunker: Chunker | None = AUTO,
        batch_size: int = 256,
        mode: SearchMode | str | None = None,
        ranker: Ranker = DEFAULT_RANKER,
    ) -> None:
        super().__init__(vector_store, embedding_provider, mode=mode, ranker=ranker)
        if chunker is not None:
            check_kind(chunker, Chunker, "chunker")
        self.chunker = chunker
        self.batch_size = _check_batch_size(batch_size)

    def ingest(
        self, documents: Document | Sequence[Document], *, show_progress: bool | None = None
    ) -> list[str]:
        """Split, embed and write documents; returns the ids of the rows in order.

        A document that is in the store already, by its id, is replaced: the new version is written
        first, then what is left of the old one is removed. Ingesting the same again changes nothing.
        Documents without an id get a new one, which their chunks carry. Of documents with the
        same id in one call the last wins.

        Ready chunks go in as they are, beside what is there of their document: under their own id;
        without one under an id made of their `document_id` and `index`, so that a chunk replaces
        the one at its place; else under a new one.

        Args:
            documents: One or several documents or chunks.
            show_progress: True for a progress bar in any case, False for none; by default there is
                one on long ingests in a terminal.

        Raises:
            InvalidDocumentError: one is no document, cannot be split, or cannot be stored. Nothing
                is written then.
            PartialIngestError: embedding or writing failed after something was written; it holds
                which documents are complete. The cause is chained.
        """
        return run(self._ingest(documents, show_progress))

    async def aingest(
        self, documents: Document | Sequence[Document], *, show_progress: bool | None = None
    ) -> list[str]:
        """Async twin of `ingest`."""
        return await arun(self._ingest(documents, show_progress))

    def delete_by_filter(self, filters: Filter) -> int:
        """Remove the chunks whose metadata fulfil `filters`, soft-deleted ones too.

        Returns:
            How many were removed.

        Raises:
            InvalidQueryError: the filters restrict nothing.
        """
        return self.vector_store.delete_by_filter(filters)

    async def adelete_by_filter(self, filters: Filter) -> int:
        """Async twin of `delete_by_filter`."""
        return await self.vector_store.adelete_by_filter(filters)

    def remove(self, document_ids: str | Sequence[str]) -> int:
        """Remove documents for good, soft-deleted ones too; unknown ids are no error.

        Returns:
            How many chunks were removed.
        """
        return self.vector_store.delete_by_filter(document_ids=_check_document_ids(document_ids))

    async def aremove(self, document_ids: str | Sequence[str]) -> int:
        """Async twin of `remove`."""
        return await self.vector_store.adelete_by_filter(
            document_ids=_check_document_ids(document_ids)
        )

    def mark_deleted(self, document_ids: str | Sequence[str]) -> int:
        """Leave documents out of every answer from now on, until `mark_active`.

        Their rows are written again, batch by batch. Unknown ids are no error.

        Returns:
            How many chunks were marked.
        """
        return run(self._mark(document_ids, deleted=True))

    async def amark_deleted(self, document_ids: str | Sequence[str]) -> int:
        """Async twin of `mark_deleted`."""
        return await arun(self._mark(document_ids, deleted=True))

    def mark_active(self, document_ids: str | Sequence[str]) -> int:
        """Take back `mark_deleted`.

        Returns:
            How many chunks were marked.
        """
        return run(self._mark(document_ids, deleted=False))

    async def amark_active(self, document_ids: str | Sequence[str]) -> int:
        """Async twin of `mark_active`."""
        return await arun(self._mark(document_ids, deleted=False))

    def render(self, document_id: str) -> str:
        """The text of a document, put together from its chunks; overlaps stand in it once.

        It is the text that was split: a document's content, or the visible text of HTML. Where
        chunks are missing, and between chunks without a place in the text, stands a line end.

        Raises:
            EntryNotFoundError: there is no such document, or it is marked deleted.
            InvalidDocumentError: a chunk of it is no text.
        """
        return run(self._render(document_id))

    async def arender(self, document_id: str) -> str:
        """Async twin of `render`."""
        return await arun(self._render(document_id))

    def count(
        self,
        filters: Filter | None = None,
        *,
        document_ids: Sequence[str] | None = None,
        include_deleted: bool = False,
    ) -> int:
        """How many chunks fulfil all that is given."""
        return self.vector_store.count(
            filters, document_ids=document_ids, include_deleted=include_deleted
        )

    async def acount(
        self,
        filters: Filter | None = None,
        *,
        document_ids: Sequence[str] | None = None,
        include_deleted: bool = False,
    ) -> int:
        """Async twin of `count`."""
        return await self.vector_store.acount(
            filters, document_ids=document_ids, include_deleted=include_deleted
        )

    def _ingest(
        self, documents: Document | Sequence[Document], show_progress: bool | None
    ) -> Work[list[str]]:
        plan = yield from Step(plan_ingest, aplan_ingest, documents, self.chunker)
        written: list[str] = []
        complete: list[str] = []
        total = len(plan.entries)
        with progress_bar(total, show_progress, unit="chunk", title="Ingesting") as advance:
            try:
                for batch in plan.batches(self.batch_size):
                    written += yield from self._write(batch.entries)
                    yield from self._remove_older(batch.replaced, plan)
                    complete += batch.completed
                    advance(len(batch.entries))
            except Exception as error:
                interrupted = plan.interrupted(written, complete, error)
                if not interrupted.written:
                    raise
                raise interrupted from error
        return plan.ids

    def _write(self, entries: list[VectorEntry]) -> Work[list[str]]:
        if not entries:
            return []
        store = self.vector_store
        embeddings = yield from self._embed_chunks([entry.chunk for entry in entries])
        rows = [
            replace(entry, embedding=embedding)
            for entry, embedding in zip(entries, embeddings, strict=True)
        ]
        return (yield from Step(store.add, store.aadd, rows))

    def _embed_chunks(self, chunks: list[Chunk]) -> Work[Sequence[Embedding | None]]:
        provider = self.embedding_provider
        if provider is None:
            return [None] * len(chunks)
        made = yield from Step(provider.batch_embed, provider.abatch_embed, chunks)
        return check_embeddings(made, len(chunks), provider)

    def _remove_older(self, document_ids: list[str], plan: IngestPlan) -> Work[None]:
        if not document_ids:
            return
        older = yield from self._read(
            document_ids, lambda row: None if row.id in plan.id_set else row.id
        )
        if older:
            yield from Step(self.vector_store.delete, self.vector_store.adelete, older)

    def _mark(self, document_ids: str | Sequence[str], *, deleted: bool) -> Work[int]:
        store = self.vector_store
        names = _check_document_ids(document_ids)
        ids = yield from self._read(names, lambda row: None if row.deleted is deleted else row.id)
        for start in range(0, len(ids), self.batch_size):
            part = ids[start : start + self.batch_size]
            rows = yield from Step(store.get, store.aget, part, include_deleted=True)
            marked = [replace(row, deleted=deleted) for row in rows]
            yield from Step(store.add, store.aadd, marked)
        return len(ids)

    def _render(self, document_id: str) -> Work[str]:
        name = check_id(document_id, "document_id")
        chunks = yield from self._read([name], lambda row: None if row.deleted else row.chunk)
        if not chunks:
            raise EntryNotFoundError(
                f"there is no document {document_id!r}, or it is marked deleted", ids=[name]
            )
        return render_chunks(chunks)

    def _read(
        self, document_ids: Sequence[str], take: Callable[[VectorEntry], T | None]
    ) -> Work[list[T]]:
        step: Step[list[T]] = Step(_read, _aread, self.vector_store, document_ids, take)
        return (yield from step)


def _read(
    store: VectorStore, document_ids: Sequence[str], take: Callable[[VectorEntry], T | None]
) -> list[T]:
    rows = store.scan(document_ids=document_ids, include_embeddings=False, include_deleted=True)
    return [taken for row in rows if (taken := take(row)) is not None]


async def _aread(
    store: VectorStore, document_ids: Sequence[str], take: Callable[[VectorEntry], T | None]
) -> list[T]:
    rows = store.ascan(document_ids=document_ids, include_embeddings=False, include_deleted=True)
    return [taken async for row in rows if (taken := take(row)) is not None]


def _check_document_ids(document_ids: object) -> tuple[str, ...]:
    given = [document_ids] if isinstance(document_ids, str) else document_ids
    checked = check_ids(given, "document_ids")
    if checked is None:
        raise InvalidQueryError("document_ids must be an id or a list of ids, not None")
    return checked


def _check_batch_size(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InvalidConfigError(f"batch_size must be a positive integer, not {shorten(value)}")
    return value
