"""The stores that the tests run over, and where they are made."""

import signal
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Never, Protocol
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from milvus_server import MilvusServer, unavailable_reason
from ragbridge.stores.base import SimilarityMetric, VectorStore

__all__ = ["STORE_NAMES", "Backend", "SharedServer", "make_backend"]

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


class MilvusBackend:
    """Stores in collections of one Milvus Lite file, or of one server."""

    def __init__(self, uri: str) -> None:
        self._uri = uri

    def new_store(self, *, metric: SimilarityMetric, **options: Any) -> VectorStore:
        name = options.pop("collection_name", f"test_{uuid4().hex}")
        return self._open(name, metric, **options)

    def empty_store(self, *, metric: SimilarityMetric, holds: str = "dense") -> VectorStore:
        store = self._open(f"shared_{holds}_{metric}", metric)
        store.clear()
        return store

    def remove(self, store: VectorStore) -> None:
        from pymilvus import MilvusClient

        store.close()
        client = MilvusClient(self._uri, timeout=30)
        client.drop_collection(store.collection_name)
        client.close()

    def _open(self, name: str, metric: SimilarityMetric, **options: Any) -> VectorStore:
        from ragbridge.stores.milvus import MilvusVectorStore

        return MilvusVectorStore(name, uri=self._uri, metric=metric, **options)


@dataclass(frozen=True)
class RunningServer:
    """A server that others use as well: its tests neither pause nor kill it."""

    uri: str

    @property
    def port(self) -> int:
        port = urlsplit(self.uri).port
        assert port is not None
        return port

    def pause(self) -> Never:
        pytest.skip("only a server of its own may be paused")


class SharedServer:
    """The server of a test session: it starts while tests that need none are running.

    Args:
        uri: One that is running already, to be used instead.
    """

    def __init__(self, uri: str | None = None) -> None:
        self._running = RunningServer(uri) if uri else None
        self._server = MilvusServer()
        self._starting: Future[None] | None = None

    def start(self) -> None:
        """Begin to start, unless no server can run here."""
        if self._running or self._starting:
            return
        if unavailable_reason() is None:
            # Ended as by Ctrl-C, so that the server is not left behind.
            signal.signal(signal.SIGTERM, signal.default_int_handler)
            with_one_thread = ThreadPoolExecutor(1, thread_name_prefix="milvus-server")
            self._starting = with_one_thread.submit(self._server.start)
            with_one_thread.shutdown(wait=False)

    def wait(self) -> "MilvusServer | RunningServer":
        """The running server; skips the test where none can run."""
        if self._running:
            return self._running
        if reason := unavailable_reason():
            pytest.skip(reason)
        self.start()
        assert self._starting is not None
        self._starting.result()
        return self._server

    def stop(self) -> None:
        """Kill it, as soon as it is up."""
        if self._starting is not None:
            self._starting.exception()
            self._server.__exit__()
            self._starting = None
