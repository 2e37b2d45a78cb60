"""The in-memory store."""

import asyncio
import threading
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from os import PathLike
from typing import Any, Final, Self

import numpy as np

from ragbridge.documents import JsonValue
from ragbridge.errors import (
    InvalidConfigError,
    StoreClosedError,
    shorten,
)
from ragbridge.filters import Filter
from ragbridge.stores._full_text import FullTextOptions
from ragbridge.stores._requests import (
    Selection,
    check_delete_ids,
    check_get_ids,
    check_metric,
    check_queries,
    check_query,
    not_found,
    prepare_batch,
)
from ragbridge.stores.base import (
    Capability,
    SimilarityMetric,
    VectorEntry,
    VectorMatch,
    VectorStore,
    VectorStoreQuery,
    check_batch_size,
)
from ragbridge.stores.memory._arrays import Mask, Slots
from ragbridge.stores.memory.files import Header, check_path, read_file, to_bytes, write_file
from ragbridge.stores.memory.search import Hits, Search
from ragbridge.stores.memory.table import State
from ragbridge.stores.memory.text import TextSearch

_NAME: Final = "InMemoryVectorStore"
_ROWS_PER_PART: Final = 4096  # of a file


class InMemoryVectorStore(VectorStore):
    """Rows in memory, searched exhaustively: exact answers, without an engine or a server.

    Serves dense, sparse, full-text (BM25) and hybrid queries. May be used from several threads:
    readers see all of an `add` or nothing of it and wait for no writer; writers take turns. `save`
    and `load` keep it in a file.

    Args:
        metric: How dense or binary vectors are compared.
        full_text: How texts are analysed and weighed; by default lowercase words, k1 1.2, b 0.75.
            What is searched are contents that are strings, by an index that is made anew at the
            first text query after a write. Needs the extra `text`.

    Raises:
        InvalidConfigError: an argument is wrong; the message names it.
    """

    capabilities = frozenset(Capability)

    def __init__(
        self,
        *,
        metric: SimilarityMetric | str = SimilarityMetric.COSINE,
        full_text: FullTextOptions | None = None,
    ) -> None:
        self.metric = check_metric(metric)
        self._text = TextSearch(_check_full_text(full_text))
        self._state: State | None = State.empty(None, self.metric)
        self._writing = threading.Lock()  # held through a whole write
        self._changing = threading.Lock()  # held while states change, and while ids are looked up

    def add(self, entries: Sequence[VectorEntry]) -> list[str]:
        """See `VectorStore.add`."""
        with self._writing:
            state = self._current()
            batch = prepare_batch(entries, state.table.shape, self.metric)
            if batch is None:
                return []
            if state.table.shape is None:
                state = State.empty(batch.shape, self.metric, state.version)
            state.table.append(state.size, batch.rows)
            self._change(lambda: state.added(batch.rows))
        return batch.ids

    def query(self, query: VectorStoreQuery) -> list[VectorMatch]:
        """See `VectorStore.query`."""
        return self.query_many([query])[0]

    def query_many(self, queries: Sequence[VectorStoreQuery]) -> list[list[VectorMatch]]:
        """See `VectorStore.query_many`; dense vectors are compared in one matrix product."""
        queries = check_queries(queries)
        state, found = self._read([query.ids for query in queries])
        for query in queries:
            check_query(
                query,
                store=_NAME,
                capabilities=self.capabilities,
                metric=self.metric,
                shape=state.table.shape,
            )
        hits = Search(state, self.metric, self._text).run(queries, _masks(state, queries, found))
        return [_matches(state, *each) for each in zip(queries, hits, strict=True)]

    def get(self, ids: Sequence[str], *, include_deleted: bool = False) -> list[VectorEntry]:
        """See `VectorStore.get`."""
        given = check_get_ids(ids)
        state, slots = self._find(given)
        if not include_deleted:
            slots = slots[~state.table.rows.deleted[slots]]
        return [VectorEntry(**entry) for entry in state.table.entries(slots, embeddings=True)]

    def scan(
        self,
        filters: Filter | None = None,
        *,
        ids: Sequence[str] | None = None,
        document_ids: Sequence[str] | None = None,
        batch_size: int = 1000,
        include_embeddings: bool = True,
        include_deleted: bool = False,
    ) -> Iterator[VectorEntry]:
        """See `VectorStore.scan`; what it gives is the store as it was when the scan began."""
        rows = check_batch_size(batch_size)
        selection = Selection.of(filters, ids, document_ids, include_deleted=include_deleted)
        state, slots = self._select(selection)
        batches = _entries(state, slots, rows, embeddings=include_embeddings)
        return chain.from_iterable(batches)

    def delete(self, ids: str | Sequence[str], *, missing_ok: bool = True) -> None:
        """See `VectorStore.delete`."""
        given = check_delete_ids(ids)
        with self._writing:
            state, slots = self._find(given)
            if not missing_ok and len(slots) < len(given):
                raise not_found(set(given).difference(state.table.slot_of))
            self._remove(state, slots)

    def delete_by_filter(
        self,
        filters: Filter | None = None,
        *,
        ids: Sequence[str] | None = None,
        document_ids: Sequence[str] | None = None,
    ) -> int:
        """See `VectorStore.delete_by_filter`."""
        selection = Selection.for_delete(filters, ids, document_ids)
        with self._writing:
            state, slots = self._select(selection)
            self._remove(state, slots)
        return len(slots)

    def count(
        self,
        filters: Filter | None = None,
        *,
        ids: Sequence[str] | None = None,
        document_ids: Sequence[str] | None = None,
        include_deleted: bool = False,
    ) -> int:
        """See `VectorStore.count`."""
        selection = Selection.of(filters, ids, document_ids, include_deleted=include_deleted)
        return len(self._select(selection)[1])

    def clear(self) -> None:
        """See `VectorStore.clear`."""
        with self._writing:
            state = self._current()
            self._change(lambda: State.empty(state.table.shape, self.metric, state.version + 1))

    def close(self) -> None:
        """See `VectorStore.close`; the rows are gone unless they were saved."""
        with self._changing:
            self._state = None
            self._text = TextSearch(self._text.options)

    def save(self, path: str | PathLike[str]) -> None:
        """Write everything into one file, which `load` reads.

        The file appears, or replaces an older one, when it is complete: after a crash in the middle
        there is the old file or the new one, and perhaps an unfinished `.NAME.*.tmp` beside it, which
        may be removed. Writes that go on meanwhile are not in it.

        Args:
            path: The file. Its directory must exist.

        Raises:
            VectorStoreError: the file cannot be written.
        """
        write_file(path, *self._contents())

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Self:
        """The store that `save` wrote, with its metric and its full-text options.

        No code from the file is run.

        Raises:
            VectorStoreError: there is no such file, or it is damaged, or no file of ours.
            MissingDependencyError: its full-text options need the extra `text`.
        """
        return cls._read_from(check_path(path))

    async def asave(self, path: str | PathLike[str]) -> None:
        """Async twin of `save`."""
        await asyncio.to_thread(self.save, path)

    @classmethod
    async def aload(cls, path: str | PathLike[str]) -> Self:
        """Async twin of `load`."""
        return await asyncio.to_thread(cls.load, path)

    def to_dict(self) -> dict[str, JsonValue]:
        """See `VectorStore.to_dict`; all rows are in it."""
        data = b64encode(to_bytes(*self._contents())).decode()
        return {"store_type": "memory", "data": data}

    @classmethod
    def from_dict(cls, description: Mapping[str, Any]) -> Self:
        """See `VectorStore.from_dict`.

        Raises:
            VectorStoreError: the data are damaged.
        """
        return cls._read_from(b64decode(description["data"]))

    def __reduce__(self) -> tuple[Any, ...]:
        return self._read_from, (to_bytes(*self._contents()),)

    def _contents(self) -> tuple[Header, Iterator[list[VectorEntry]]]:
        """What makes the store again."""
        state = self._current()
        alive = np.flatnonzero(state.alive[: state.size])
        header = Header(self.metric, self._text.options, state.table.shape, len(alive))
        return header, _entries(state, alive, _ROWS_PER_PART)

    @classmethod
    def _read_from(cls, source: str | PathLike[str] | bytes) -> Self:
        with read_file(source) as (header, parts):
            store = cls(metric=header.metric, full_text=header.full_text)
            store._state = State.empty(header.shape, store.metric)
            for entries in parts:
                store.add(entries)
        return store

    def _current(self) -> State:
        state = self._state
        if state is None:
            raise StoreClosedError(f"this {_NAME} was closed; make a new one, or load a saved one")
        return state

    def _find(self, ids: Sequence[str]) -> tuple[State, Slots]:
        with self._changing:
            state = self._current()
            return state, state.find(ids)

    def _read(self, ids: Sequence[Sequence[str] | None]) -> tuple[State, list[Slots | None]]:
        with self._changing:
            state = self._current()
            return state, [None if each is None else state.find(each) for each in ids]

    def _select(self, selection: Selection) -> tuple[State, Slots]:
        state, (found,) = self._read([selection.ids])
        return state, np.flatnonzero(state.mask(selection, found))

    def _remove(self, state: State, slots: Slots) -> None:
        if len(slots):
            self._change(lambda: state.without(slots))

    def _change(self, make: Callable[[], State]) -> None:
        with self._changing:
            self._current()
            state = self._state = make()
        if state.is_worn:
            compacted = state.compacted()
            with self._changing:
                self._current()
                self._state = compacted


def _check_full_text(options: object) -> FullTextOptions:
    if options is None:
        return FullTextOptions()
    if not isinstance(options, FullTextOptions):
        raise InvalidConfigError(f"full_text must be FullTextOptions, not {shorten(options)}")
    return options


def _masks(
    state: State, queries: Sequence[VectorStoreQuery], found: Sequence[Slots | None]
) -> list[Mask]:
    """The rows that each query selects; queries that share their filters share the work."""
    made: dict[Any, Mask] = {}
    masks = []
    for query, slots in zip(queries, found, strict=True):
        key = (id(query.filters), query.ids, query.document_ids, query.include_deleted)
        if key not in made:
            made[key] = state.mask(Selection.of_query(query), slots)
        masks.append(made[key])
    return masks


def _matches(state: State, query: VectorStoreQuery, hits: Hits) -> list[VectorMatch]:
    slots = np.array([slot for slot, _ in hits], np.intp)
    entries = state.table.entries(slots, embeddings=query.include_embeddings)
    return [
        VectorMatch(**entry, similarity_score=score)
        for entry, (_, score) in zip(entries, hits, strict=True)
    ]


def _entries(
    state: State, slots: Slots, batch_size: int, *, embeddings: bool = True
) -> Iterator[list[VectorEntry]]:
    for first in range(0, len(slots), batch_size):
        part = slots[first : first + batch_size]
        yield [VectorEntry(**entry) for entry in state.table.entries(part, embeddings=embeddings)]
