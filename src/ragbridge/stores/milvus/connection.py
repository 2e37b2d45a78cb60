"""Calls to the engine, through pymilvus's sync client or its async one.

The async client belongs to the event loop in which it is made, so there is one for each loop. Calls
are `_twins.Step`s: what an operation asks and how it reads the answers is written once for both.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ragbridge._twins import Step
from ragbridge.errors import StoreClosedError, missing_dependency
from ragbridge.stores.milvus.config import MilvusConfig, check_pymilvus_environment
from ragbridge.stores.milvus.errors import translate
from ragbridge.stores.milvus.gate import Gate
from ragbridge.stores.milvus.ledger import Ledger, ledger_of
from ragbridge.stores.milvus.lite import LiteFile, open_file, release_file

T = TypeVar("T")


def import_pymilvus() -> Any:
    """The module pymilvus.

    Raises:
        MissingDependencyError: it is not installed.
        InvalidConfigError: MILVUS_URI is such that it cannot be imported.
    """
    check_pymilvus_environment()
    try:
        import pymilvus
    except ImportError as error:
        raise missing_dependency("pymilvus", "milvus") from error
    return pymilvus


@dataclass(frozen=True, slots=True)
class Call:
    """A method of both clients, and its arguments."""

    method: str
    arguments: dict[str, Any]

    @classmethod
    def to(cls, method: str, **arguments: Any) -> "Call":
        """A call with these arguments."""
        return cls(method, arguments)


@dataclass(slots=True)
class _LoopClient:
    """The client of one event loop, made by the first task that needs it."""

    making: asyncio.Lock = field(default_factory=asyncio.Lock)
    client: Any = None


class Connection:
    """One store's connection: made when it is first used, closed once and for all.

    Args:
        config: Where to, and how.
    """

    def __init__(self, config: MilvusConfig) -> None:
        self.config = config
        self._connecting = threading.RLock()  # held as long as connecting takes; by threads only
        self._state = threading.Lock()  # held for moments
        self._file: LiteFile | None = None
        self._client: Any = None
        self._loop_clients: dict[asyncio.AbstractEventLoop, _LoopClient] = {}
        self._closed = False

    def step(self, *calls: Call, exclusive: bool = False) -> Step[list[Any]]:
        """The answers to some calls, which nothing comes between on Milvus Lite.

        Args:
            calls: The calls.
            exclusive: They change something, so nobody may be reading or writing meanwhile.
        """
        return Step(self._send, self._asend, calls, exclusive)

    def ledger(self, collection_name: str) -> Ledger:
        """What this process wrote to a collection; once connected."""
        if self._file is not None:
            return self._file.ledgers[collection_name]
        return ledger_of((self.config.uri, self.config.db_name, collection_name))

    def close(self) -> None:
        """Close; clients of other event loops are closed by these, as far as they still run."""
        for loop, client in self._shut():
            _close_in(loop, client)
        self._release()

    async def aclose(self) -> None:
        """Close, from within an event loop."""
        here = asyncio.get_running_loop()
        for loop, client in self._shut():
            if loop is here:
                await client.close()
            else:
                _close_in(loop, client)
        await _in_thread(self._release)  # Milvus Lite writes what it has in its buffer

    def check_open(self) -> None:
        """Raise StoreClosedError if it was closed."""
        if self._closed:
            raise StoreClosedError("the store is closed; make a new one")

    def _shut(self) -> list[tuple[asyncio.AbstractEventLoop, Any]]:
        with self._state:
            self._closed = True
            clients = [(loop, mine.client) for loop, mine in self._loop_clients.items()]
            self._loop_clients.clear()
        return [(loop, client) for loop, client in clients if client is not None]

    def _release(self) -> None:
        with self._state:
            client, self._client = self._client, None
            file, self._file = self._file, None
        if client is not None:
            client.close()
        if file is not None:
            release_file(file)

    def _send(self, calls: Sequence[Call], exclusive: bool) -> list[Any]:
        client = self._connected()
        with self._gate(exclusive):
            return [self._answer(client, call) for call in calls]

    def _answer(self, client: Any, call: Call) -> Any:
        with self._translating(call.method):
            return getattr(client, call.method)(**call.arguments, timeout=self.config.timeout)

    async def _asend(self, calls: Sequence[Call], exclusive: bool) -> list[Any]:
        client = await self._aconnected()
        async with self._agate(exclusive):
            return [await self._aanswer(client, call) for call in calls]

    async def _aanswer(self, client: Any, call: Call) -> Any:
        with self._translating(call.method):
            return await getattr(client, call.method)(**call.arguments, timeout=self.config.timeout)

    @contextmanager
    def _translating(self, method: str) -> Iterator[None]:
        import grpc
        from pymilvus.exceptions import MilvusException

        try:
            yield
        except (MilvusException, grpc.RpcError) as error:
            self.check_open()
            config = self.config
            raise translate(error, method=method, place=config.uri, secret=config.token) from error

    @contextmanager
    def _gate(self, exclusive: bool) -> Iterator[None]:
        gate = self._gate_of_file()
        if gate is None:
            yield
            return
        with gate.hold(exclusive=exclusive, timeout=self.config.timeout):
            yield

    @asynccontextmanager
    async def _agate(self, exclusive: bool) -> AsyncIterator[None]:
        gate = self._gate_of_file()
        if gate is None:
            yield
            return
        async with gate.ahold(exclusive=exclusive, timeout=self.config.timeout):
            yield

    def _gate_of_file(self) -> Gate | None:
        file = self._file
        return None if file is None else file.gate

    def _connected(self) -> Any:
        self.check_open()
        client = self._client
        if client is None:
            with self._connecting:
                client = self._client = self._client or self._make_client()
                self._release_if_closed()
        return client

    def _make_client(self) -> Any:
        options = self._options()
        with self._translating("connecting"):
            return import_pymilvus().MilvusClient(**options)

    def _options(self) -> dict[str, Any]:
        """What makes a client; imports pymilvus, and opens the file of Milvus Lite."""
        import_pymilvus()
        options = self.config.client_options()
        # A connection of one's own can be closed, and is never one that died with another loop.
        options |= {"timeout": self.config.timeout, "dedicated": True}
        if self.config.is_lite:
            with self._connecting:
                self._file = self._file or open_file(self.config.uri)
                self._release_if_closed()
                options["uri"] = self._file.uri
        return options

    def _release_if_closed(self) -> None:
        """Undo what was done while another thread closed the connection."""
        if self._closed:
            self._release()
            self.check_open()

    async def _aconnected(self) -> Any:
        self.check_open()
        loop = asyncio.get_running_loop()
        mine = self._loop_clients.get(loop) or self._add_loop(loop)
        if mine.client is None:
            async with mine.making:
                mine.client = mine.client or await self._make_async_client()
                if self._closed:
                    await mine.client.close()
                    self.check_open()
        return mine.client

    def _add_loop(self, loop: asyncio.AbstractEventLoop) -> _LoopClient:
        with self._state:
            for closed in [other for other in self._loop_clients if other.is_closed()]:
                del self._loop_clients[closed]
                _forget_loop(closed)
            return self._loop_clients.setdefault(loop, _LoopClient())

    async def _make_async_client(self) -> Any:
        # Imports, and the start of Milvus Lite with its own threads, take up to seconds.
        options = await _in_thread(self._options)
        _forget_loop(asyncio.get_running_loop())
        with self._translating("connecting"):
            return await import_pymilvus().AsyncMilvusClient(**options).__aenter__()


async def _in_thread(function: Callable[[], T]) -> T:
    loop = asyncio.get_running_loop()
    result: asyncio.Future[T] = loop.create_future()

    def settle(put: Callable[[Any], None], value: Any) -> None:
        if not result.done():
            put(value)

    def work() -> None:
        put: Callable[[Any], None] = result.set_result
        try:
            value: Any = function()
        except BaseException as error:  # noqa: BLE001 - raised where it is awaited
            put, value = result.set_exception, error
        with suppress(RuntimeError):  # the loop was closed in the meantime
            loop.call_soon_threadsafe(settle, put, value)

    threading.Thread(target=work, name="ragbridge-connect", daemon=True).start()
    return await result


def _close_in(loop: asyncio.AbstractEventLoop, client: Any) -> None:
    def start() -> None:
        task = loop.create_task(client.close())
        _CLOSING.add(task)
        task.add_done_callback(_CLOSING.discard)

    if loop.is_running():
        loop.call_soon_threadsafe(start)


_CLOSING: set[asyncio.Task[None]] = set()  # a task that nobody holds may vanish before it is done


def _forget_loop(loop: asyncio.AbstractEventLoop) -> None:
    """Let go of what pymilvus keeps by the id of an event loop, which one that is gone may have had.

    Clients that are in use keep what is theirs.
    """
    from pymilvus.client.connection_manager import AsyncConnectionManager

    with AsyncConnectionManager._instances_lock:
        AsyncConnectionManager._instances.pop(id(loop), None)
