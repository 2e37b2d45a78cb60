"""One way to call a store in both ways, so that every check is written once."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from typing import Any, TypeVar

from ragbridge.filters import Filter
from ragbridge.stores.base import VectorEntry, VectorMatch, VectorStore, VectorStoreQuery

__all__ = ["ThroughAsync"]

T = TypeVar("T")


class ThroughAsync(VectorStore):
    """A store whose sync methods await the async twins of `inner`, on an event loop of their own.

    Args:
        inner: The store whose `aadd`, `aquery`, ... are to be called.
    """

    def __init__(self, inner: VectorStore) -> None:
        self.inner = inner
        self.metric = inner.metric
        self.capabilities = inner.capabilities
        self._runner = asyncio.Runner()

    def add(self, entries: Sequence[VectorEntry]) -> list[str]:
        return self._run(self.inner.aadd(entries))

    def query(self, query: VectorStoreQuery) -> list[VectorMatch]:
        return self._run(self.inner.aquery(query))

    def query_many(self, queries: Sequence[VectorStoreQuery]) -> list[list[VectorMatch]]:
        return self._run(self.inner.aquery_many(queries))

    def get(self, ids: Sequence[str], *, include_deleted: bool = False) -> list[VectorEntry]:
        return self._run(self.inner.aget(ids, include_deleted=include_deleted))

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
        return self._iterate(
            self.inner.ascan(
                filters,
                ids=ids,
                document_ids=document_ids,
                batch_size=batch_size,
                include_embeddings=include_embeddings,
                include_deleted=include_deleted,
            )
        )

    def delete(self, ids: str | Sequence[str], *, missing_ok: bool = True) -> None:
        self._run(self.inner.adelete(ids, missing_ok=missing_ok))

    def delete_by_filter(
        self,
        filters: Filter | None = None,
        *,
        ids: Sequence[str] | None = None,
        document_ids: Sequence[str] | None = None,
    ) -> int:
        return self._run(self.inner.adelete_by_filter(filters, ids=ids, document_ids=document_ids))

    def count(
        self,
        filters: Filter | None = None,
        *,
        ids: Sequence[str] | None = None,
        document_ids: Sequence[str] | None = None,
        include_deleted: bool = False,
    ) -> int:
        return self._run(
            self.inner.acount(
                filters, ids=ids, document_ids=document_ids, include_deleted=include_deleted
            )
        )

    def clear(self) -> None:
        self._run(self.inner.aclear())

    def close(self) -> None:
        self._run(self.inner.aclose())

    def end_loop(self) -> None:
        """Close the event loop; the inner store is left as it is."""
        self._runner.close()

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(coroutine)

    def _iterate(self, rows: AsyncIterator[VectorEntry]) -> Iterator[VectorEntry]:
        while (entry := self._run(_next(rows))) is not None:
            yield entry


async def _next(rows: AsyncIterator[VectorEntry]) -> VectorEntry | None:
    return await anext(rows, None)
