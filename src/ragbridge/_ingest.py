"""What an ingest writes, planned and checked before anything is written."""

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final
from uuid import UUID, uuid4, uuid5

from ragbridge.chunkers.base import Chunker, whole_document
from ragbridge.documents import Chunk, Document
from ragbridge.errors import InvalidDocumentError, PartialIngestError, PartialWriteError, shorten
from ragbridge.stores._contents import check_contents
from ragbridge.stores.base import VectorEntry

_NAMESPACE: Final = UUID("d53214bd-9684-49f7-8b43-e5e6d4b9af5c")


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows that are embedded and written together.

    Attributes:
        entries: The rows, without their embeddings.
        completed: The documents that are in whole once it is.
        replaced: Those of them that may have an older version.
    """

    entries: list[VectorEntry]
    completed: list[str]
    replaced: list[str]


@dataclass(frozen=True, slots=True)
class IngestPlan:
    """The rows of an ingest.

    Attributes:
        entries: All rows in the order of the documents, without their embeddings.
        ends: For each document how many rows are in when it is in whole; ascending.
        named: The ids that were given: only documents with one may have an older version.
        id_set: The ids of all rows.
    """

    entries: list[VectorEntry]
    ends: dict[str, int]
    named: frozenset[str]
    id_set: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "id_set", frozenset(self.ids))

    @property
    def ids(self) -> list[str]:
        """The rows' ids, in order."""
        return [str(entry.id) for entry in self.entries]

    def batches(self, size: int) -> Iterator[Batch]:
        """The plan in parts of `size` rows; at least one, for documents may have no rows."""
        waiting = deque(self.ends.items())
        for start in range(0, max(len(self.entries), 1), size):
            completed = []
            while waiting and waiting[0][1] <= start + size:
                completed.append(waiting.popleft()[0])
            replaced = [name for name in completed if name in self.named]
            yield Batch(self.entries[start : start + size], completed, replaced)

    def interrupted(
        self, written: Sequence[str], complete: Sequence[str], cause: Exception
    ) -> PartialIngestError:
        """The error for an ingest that stopped."""
        if isinstance(cause, PartialWriteError):
            written = [*written, *cause.written]
        is_written, is_complete = set(written), set(complete)
        return PartialIngestError(
            f"ingest stopped with {type(cause).__name__} after {len(written)} of "
            f"{len(self.entries)} chunks; {len(complete)} of {len(self.ends)} documents are complete, "
            "ingest the others (this error's `incomplete`) again",
            written=written,
            not_written=[row_id for row_id in self.ids if row_id not in is_written],
            complete=complete,
            incomplete=[name for name in self.ends if name not in is_complete],
        )


def plan_ingest(documents: object, chunker: Chunker | None) -> IngestPlan:
    """The rows for `documents`, a document or a chunk, or several of them.

    Raises:
        InvalidDocumentError: one is neither, cannot be split, or cannot be stored.
    """
    chunks: list[Chunk] = []
    ready: set[int] = set()
    ends: dict[str, int] = {}
    items = _check_items(documents)
    for position, item in _last_versions(items):
        if isinstance(item, Chunk):
            ready.add(len(chunks))
            chunks.append(item)
            continue
        document_id = item.id or str(uuid4())
        chunks += _chunks_of(item, document_id, chunker, position)
        ends[document_id] = len(chunks)
    checked = check_contents([VectorEntry(chunk=chunk) for chunk in chunks])
    entries = [_with_id(entry, place in ready) for place, entry in enumerate(checked)]
    return IngestPlan(entries, ends, frozenset(item.id for item in items if item.id))


async def aplan_ingest(documents: object, chunker: Chunker | None) -> IngestPlan:
    """Async twin of `plan_ingest`: splitting takes its time, so it runs in a thread."""
    return await asyncio.to_thread(plan_ingest, documents, chunker)


def _check_items(documents: object) -> list[Document]:
    if isinstance(documents, Document):
        return [documents]
    if isinstance(documents, str | bytes | Mapping) or not isinstance(documents, Iterable):
        raise InvalidDocumentError(
            f"documents must be a Document, a Chunk or a list of them, not {shorten(documents)}"
        )
    items = list(documents)
    for position, item in enumerate(items):
        if not isinstance(item, Document):
            raise InvalidDocumentError(
                f"documents[{position}] must be a Document or a Chunk, not {shorten(item)}"
            )
    return items


def _last_versions(items: Sequence[Document]) -> Iterator[tuple[int, Document]]:
    last = {_identity(item): position for position, item in enumerate(items)}
    for position, item in enumerate(items):
        if item.id is None or last[_identity(item)] == position:
            yield position, item


def _identity(item: Document) -> tuple[bool, str | None]:
    return isinstance(item, Chunk), item.id


def _chunks_of(
    document: Document, document_id: str, chunker: Chunker | None, position: int
) -> list[Chunk]:
    try:
        chunks = chunker.chunk(document) if chunker else whole_document(document)
    except InvalidDocumentError as error:
        raise InvalidDocumentError(
            f"documents[{position}] (id {document.id!r}): {error}"
        ) from error
    return [
        chunk.model_copy(
            update={
                "document_id": document_id,
                "index": index if chunk.index is None else chunk.index,
            }
        )
        for index, chunk in enumerate(chunks)
    ]


def _with_id(entry: VectorEntry, is_ready: bool) -> VectorEntry:
    row_id = _row_id(entry.chunk, is_ready)
    return replace(entry, id=row_id, chunk=entry.chunk.model_copy(update={"id": row_id}))


def _row_id(chunk: Chunk, is_ready: bool) -> str:
    if is_ready and chunk.id:
        return chunk.id
    if not is_ready:
        # All of the chunk is in its id, so a new version never overwrites a part of the old one,
        # which stays whole until the new one is in.
        return str(uuid5(_NAMESPACE, chunk.model_dump_json(exclude={"id"})))
    if chunk.document_id is None or chunk.index is None:
        return str(uuid4())
    return str(uuid5(_NAMESPACE, f"{chunk.index} {chunk.document_id}"))
