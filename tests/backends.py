"""The stores that the tests run over, and where they are made."""

from typing import Any, Protocol
from uuid import uuid4

from ragbridge.stores.base import SimilarityMetric, VectorStore

__all__ = ["STORE_NAMES", "Backend", "make_backend"]

STORE_NAMES = ("memory", "milvus-lite", "milvus")


class Backend(Protocol):
    """Makes stores of one kind."""

    def new_store(self, *, metric: SimilarityMetric, **options: Any) -> VectorStore:
        """A store that nobody has written to."""

    def empty_store(self, *, metric: SimilarityMetric, holds: str = "dense") -> VectorStore:
        """An empty store, perhaps one that was used before: quicker where making one is slow.

        `holds` names the vectors that its rows have.
        """

    def remove(self, store: VectorStore) -> None:
        """Close a store that `new_store` made, and remove its rows for good."""

    def close(self) -> None:
        """Remove for good what `empty_store` made."""


def make_backend(name: str, uri: str) -> Backend:
    """The backend called `name`, at `uri` where it needs one."""
    return MemoryBackend() if name == "memory" else MilvusBackend(uri)


class MemoryBackend:
    """In-memory stores."""

    def new_store(self, *, metric: SimilarityMetric, **options: Any) -> VectorStore:
        from ragbridge.stores.memory import InMemoryVectorStore

        return InMemoryVectorStore(metric=metric, **options)

    def empty_store(self, *, metric: SimilarityMetric, holds: str = "dense") -> VectorStore:
        return self.new_store(metric=metric)

    def remove(self, store: VectorStore) -> None:
        store.close()

    def close(self) -> None:
        pass


class MilvusBackend:
    """Stores in collections of one Milvus Lite file, or of one server."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self._reused: dict[str, VectorStore] = {}

    def new_store(self, *, metric: SimilarityMetric, **options: Any) -> VectorStore:
        name = options.pop("collection_name", f"test_{uuid4().hex}")
        return self._open(name, metric, **options)

    def empty_store(self, *, metric: SimilarityMetric, holds: str = "dense") -> VectorStore:
        purpose = f"{holds}_{metric}"
        if purpose not in self._reused:
            self._reused[purpose] = self.new_store(metric=metric)
        store = self._open(self._reused[purpose].collection_name, metric)
        store.clear()
        return store

    def remove(self, store: VectorStore) -> None:
        from pymilvus import MilvusClient

        store.close()
        client = MilvusClient(self.uri, timeout=30)
        client.drop_collection(store.collection_name)
        client.close()

    def close(self) -> None:
        for store in self._reused.values():
            self.remove(store)

    def _open(self, name: str, metric: SimilarityMetric, **options: Any) -> VectorStore:
        from ragbridge.stores.milvus import MilvusVectorStore

        return MilvusVectorStore(name, uri=self.uri, metric=metric, **options)
