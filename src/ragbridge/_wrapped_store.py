"""What the core stores over other frameworks' stores share: every method and its twin, from one work."""

from abc import abstractmethod
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import TypeVar

from ragbridge._twins import Work, arun, run
from ragbridge.errors import StoreClosedError
from ragbridge.filters import Filter
from ragbridge.stores._requests import Selection
from ragbridge.stores.base import (
    VectorEntry,
    VectorMatch,
    VectorStore,
    VectorStoreQuery,
    check_batch_size,
)

T = TypeVar("T")


class WrappedStore(VectorStore):
    """A store over another one, which stays its owner's: closing ends the use of this object only.

    A subclass describes its work once, in the methods with an underscore; see `ragbridge._twins`.
    """

    _closed = False

    @abstractmethod
    def _add(self, entries: Sequence[VectorEntry]) -> Work[list[str]]: ...

    @abstractmethod
    def _query_many(self, queries: Sequence[VectorStoreQuery]) -> Work[list[list[VectorMatch]]]: ...

    @abstractmethod
    def _get(self, ids: Sequence[str], include_deleted: bool) -> Work[list[VectorEntry]]: ...

    @abstractmethod
    def _select(
        self, selection: Selection, include_embeddings: bool = False
    ) -> Work[list[VectorEntry]]: ...

    @abstractmethod
    def _delete(self, ids: str | Sequence[str], missing_ok: bool) -> Work[None]: ...

    @abstractmethod
    def _delete_selected(self, selection: Selection) -> Work[int]: ...

    @abstractmethod
    def _clear(self) -> Work[None]: ...

    def _do(self, work: Work[T]) -> T:
        self._check_open()
        return run(work)

    async def _ado(self, work: Work[T]) -> T:
        self._check_open()
        return await arun(work)

    def _check_open(self) -> None:
        if self._closed:
            raise StoreClosedError(f"this {type(self).__name__} was closed; make a new one")

    def add(self, entries: Sequence[VectorEntry]) -> list[str]:
        """See `VectorStore.add`, and the class."""
        return self._do(self._add(entries))

    async def aadd(self, entries: Sequence[VectorEntry]) -> list[str]:
        """Async twin of `add`."""
        return await self._ado(self._add(entries))

    def query(self, query: VectorStoreQuery) -> list[VectorMatch]:
        """See `VectorStore.query`, and the class."""
        return self._do(self._query_many([query]))[0]

    async def aquery(self, query: VectorStoreQuery) -> list[VectorMatch]:
        """Async twin of `query`."""
        return (await self._ado(self._query_many([query])))[0]

    def query_many(self, queries: Sequence[VectorStoreQuery]) -> list[list[VectorMatch]]:
        """One list of matches for each query, in their order, asked one by one."""
        return self._do(self._query_many(queries))

    async def aquery_many(self, queries: Sequence[VectorStoreQuery]) -> list[list[VectorMatch]]:
        """Async twin of `query_many`."""
        return await self._ado(self._query_many(queries))

    def get(self, ids: Sequence[str], *, include_deleted: bool = False) -> list[VectorEntry]:
        """See `VectorStore.get`, and the class."""
        return self._do(self._get(ids, include_deleted))

    async def aget(self, ids: Sequence[str], *, include_deleted: bool = False) -> list[VectorEntry]:
        """Async twin of `get`."""
        return await self._ado(self._get(ids, include_deleted))

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
        """See `VectorStore.scan`; all rows are read at once."""
        check_batch_size(batch_size)
        selection = Selection.of(filters, ids, document_ids, include_deleted=include_deleted)
        return iter(self._do(self._select(selection, include_embeddings)))

    async def ascan(
        self,
        filters: Filter | None = None,
        *,
        ids: Sequence[str] | None = None,
        document_ids: Sequence[str] | None = None,
        batch_size: int = 1000,
        include_embeddings: bool = True,
        include_deleted: bool = False,
    ) -> AsyncIterator[VectorEntry]:
        """Async twin of `scan`."""
        check_batch_size(batch_size)
        selection = Selection.of(filters, ids, document_ids, include_deleted=include_deleted)
        for entry in await self._ado(self._select(selection, include_embeddings)):
            yield entry

    def delete(self, ids: str | Sequence[str], *, missing_ok: bool = True) -> None:
        """See `VectorStore.delete`, and the class."""
        self._do(self._delete(ids, missing_ok))

    async def adelete(self, ids: str | Sequence[str], *, missing_ok: bool = True) -> None:
        """Async twin of `delete`."""
        await self._ado(self._delete(ids, missing_ok))

    def delete_by_filter(
        self,
        filters: Filter | None = None,
        *,
        ids: Sequence[str] | None = None,
        document_ids: Sequence[str] | None = None,
    ) -> int:
        """See `VectorStore.delete_by_filter`, and the class."""
        return self._do(self._delete_selected(Selection.for_delete(filters, ids, document_ids)))

    async def adelete_by_filter(
        self,
        filters: Filter | None = None,
        *,
        ids: Sequence[str] | None = None,
        document_ids: Sequence[str] | None = None,
    ) -> int:
        """Async twin of `delete_by_filter`."""
        selection = Selection.for_delete(filters, ids, document_ids)
        return await self._ado(self._delete_selected(selection))

    def count(
        self,
        filters: Filter | None = None,
        *,
        ids: Sequence[str] | None = None,
        document_ids: Sequence[str] | None = None,
        include_deleted: bool = False,
    ) -> int:
        """See `VectorStore.count`, and the class."""
        selection = Selection.of(filters, ids, document_ids, include_deleted=include_deleted)
        return len(self._do(self._select(selection)))

    async def acount(
        self,
        filters: Filter | None = None,
        *,
        ids: Sequence[str] | None = None,
        document_ids: Sequence[str] | None = None,
        include_deleted: bool = False,
    ) -> int:
        """Async twin of `count`."""
        selection = Selection.of(filters, ids, document_ids, include_deleted=include_deleted)
        return len(await self._ado(self._select(selection)))

    def clear(self) -> None:
        """See `VectorStore.clear`, and the class."""
        self._do(self._clear())

    async def aclear(self) -> None:
        """Async twin of `clear`."""
        await self._ado(self._clear())

    def close(self) -> None:
        """End the use of this object; the wrapped store stays as it is."""
        self._closed = True

    async def aclose(self) -> None:
        """Async twin of `close`."""
        self.close()
