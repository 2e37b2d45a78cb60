"""Calls to the engine, through pymilvus's sync client or its async one.

The async client belongs to the event loop in which it is made, so there is one for each loop. Calls
are `_twins.Step`s: what an operation asks and how it reads the answers is written once for both.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, TypeVar

from ragbridge._twins import Step
from ragbridge.errors import StoreClosedError
from ragbridge.stores.milvus.clients import aconnect, calling, connect, import_pymilvus
from ragbridge.stores.milvus.config import MilvusConfig
from ragbridge.stores.milvus.errors import is_timeout, is_transient, translate
from ragbridge.stores.milvus.ledger import Ledger, ledger_of
from ragbridge.stores.milvus.lite import LiteFile, open_file, release_file
from ragbridge.stores.milvus.patience import Deadline, arepeating, repeating

__all__ = ["Call", "Connection", "import_pymilvus"]

T = TypeVar("T")

_DEFAULT_DATABASE: Final = "default"
_CONNECT_SECONDS: Final = 3.0  # of one attempt: pymilvus lets nobody else connect meanwhile
_RATE_LIMITED: Final = frozenset(
    {"insert", "upsert", "delete", "flush", "query", "search", "hybrid_search"}
)


class Call(NamedTuple):
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

    A server that answered once and does not any more is waited for, as long as the timeout allows; one
    that refuses the first connection is not.

    Args:
        config: Where to, and how.
    """

    def __init__(self, config: MilvusConfig) -> None:
        self.config = config
        self._preparing = threading.Lock()  # held as long as that takes; by threads only
        self._connecting = threading.Lock()  # likewise
        self._state = threading.Lock()  # held for moments
        self._options: dict[str, Any] | None = None
        self._file: LiteFile | None = None
        self._client: Any = None
        self._loop_clients: dict[asyncio.AbstractEventLoop, _LoopClient] = {}
        self._has_connected = False
        self._closed = False

    def step(self, *calls: Call) -> Step[list[Any]]:
        """The answers to some calls, one after the other."""
        return Step(self._send, self._asend, calls)

    def probe(self, seconds: float) -> Step[str]:
        """The engine's version, asked once."""
        return Step(self._probe, self._aprobe, seconds)

    def client(self) -> Any:
        """The sync client, connected."""
        return self._connected(self._deadline())

    async def aclient(self) -> Any:
        """The async client of the running event loop, connected."""
        return await self._aconnected(self._deadline())

    def ledger(self, collection_name: str, *, is_alias: bool = False) -> Ledger:
        """What this process wrote to a collection; once connected.

        Args:
            collection_name: Its real name.
            is_alias: It is used through an alias, which may be moved to another collection.
        """
        database = self.config.db_name or _DEFAULT_DATABASE
        if self._file is not None:
            return self._file.ledgers[f"{database}/{collection_name}"]
        return ledger_of((self.config.uri, database, collection_name), is_alias=is_alias)

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

    def _send(self, calls: Sequence[Call]) -> list[Any]:
        deadline = self._deadline()
        client = self._connected(deadline)
        return [self._answer(client, call, deadline) for call in calls]

    async def _asend(self, calls: Sequence[Call]) -> list[Any]:
        deadline = self._deadline()
        client = await self._aconnected(deadline)
        return [await self._aanswer(client, call, deadline) for call in calls]

    def _answer(self, client: Any, call: Call, deadline: Deadline) -> Any:
        with _Translating(self, call.method):
            return repeating(deadline)(self._try, client, call, deadline)

    def _try(self, client: Any, call: Call, deadline: Deadline) -> Any:
        self.check_open()
        with calling():
            return getattr(client, call.method)(**_arguments(call, deadline))

    async def _aanswer(self, client: Any, call: Call, deadline: Deadline) -> Any:
        with _Translating(self, call.method):
            return await arepeating(deadline)(self._atry, client, call, deadline)

    async def _atry(self, client: Any, call: Call, deadline: Deadline) -> Any:
        self.check_open()
        with calling():
            return await getattr(client, call.method)(**_arguments(call, deadline))

    def _probe(self, seconds: float) -> str:
        self._prepare()
        deadline = Deadline(seconds)
        client = self._connected(deadline)
        with _Translating(self, "ping"):
            return str(self._try(client, Call.to("get_server_version"), deadline))

    async def _aprobe(self, seconds: float) -> str:
        await self._aprepare()
        deadline = Deadline(seconds)
        client = await self._aconnected(deadline)
        with _Translating(self, "ping"):
            return str(await self._atry(client, Call.to("get_server_version"), deadline))

    def _deadline(self) -> Deadline:
        return Deadline(self.config.timeout)

    def _prepare(self) -> None:
        """Import pymilvus, and open the file of Milvus Lite: what cannot be cut short."""
        self.check_open()
        if self._options is not None:
            return
        with self._preparing:
            import_pymilvus()
            options = self.config.client_options()
            if self.config.is_lite:
                self._file = self._file or open_file(self.config.uri)
                self._release_if_closed()
                options["uri"] = self._file.uri
            self._options = options

    async def _aprepare(self) -> None:
        if self._options is None:
            await _in_thread(self._prepare)
        self.check_open()

    def _release_if_closed(self) -> None:
        """Undo what was done while another thread closed the connection."""
        if self._closed:
            self._release()
            self.check_open()

    def _connected(self, deadline: Deadline) -> Any:
        self._prepare()
        client = self._client
        if client is None:
            if not self._connecting.acquire(timeout=deadline.left):
                raise deadline.passed(f"another thread was connecting to {self.config.uri}")
            try:
                client = self._client = self._client or self._connect(deadline)
            finally:
                self._connecting.release()
            self._release_if_closed()
        return client

    def _connect(self, deadline: Deadline) -> Any:
        with _Translating(self, "connecting"):
            client = repeating(deadline, self._is_worth_waiting_for)(self._try_connecting, deadline)
        self._has_connected = True
        return client

    def _try_connecting(self, deadline: Deadline) -> Any:
        self.check_open()
        with calling():
            return connect(self._options or {}, min(deadline.left, _CONNECT_SECONDS))

    async def _aconnected(self, deadline: Deadline) -> Any:
        await self._aprepare()
        loop = asyncio.get_running_loop()
        mine = self._loop_clients.get(loop) or self._add_loop(loop)
        if mine.client is None:
            async with _limit(deadline, f"connecting to {self.config.uri}"), mine.making:
                mine.client = mine.client or await self._aconnect(deadline)
            if self._closed:
                await mine.client.close()
                self.check_open()
        return mine.client

    async def _aconnect(self, deadline: Deadline) -> Any:
        with _Translating(self, "connecting"):
            trying = arepeating(deadline, self._is_worth_waiting_for)
            client = await trying(self._atry_connecting, deadline)
        self._has_connected = True
        return client

    async def _atry_connecting(self, deadline: Deadline) -> Any:
        self.check_open()
        _forget_loop(asyncio.get_running_loop())
        with calling():
            return await aconnect(self._options or {}, min(deadline.left, _CONNECT_SECONDS))

    def _is_worth_waiting_for(self, error: BaseException) -> bool:
        return is_transient(error) if self._has_connected else is_timeout(error)

    def _add_loop(self, loop: asyncio.AbstractEventLoop) -> _LoopClient:
        with self._state:
            for closed in [other for other in self._loop_clients if other.is_closed()]:
                del self._loop_clients[closed]
                _forget_loop(closed)
            return self._loop_clients.setdefault(loop, _LoopClient())


class _Translating:
    """Within, what pymilvus raises becomes an error of ragbridge's.

    Args:
        connection: Whose.
        method: What was called.
    """

    def __init__(self, connection: Connection, method: str) -> None:
        self._connection = connection
        self._method = method

    def __enter__(self) -> None:
        """There is nothing to prepare."""

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if not isinstance(error, Exception):
            return
        self._connection.check_open()  # whatever fails in a client that was closed, fails for that
        import grpc
        from pymilvus.exceptions import MilvusException

        if isinstance(error, MilvusException | grpc.RpcError | grpc.FutureTimeoutError):
            place, secret = self._connection.config.uri, self._connection.config.token
            raise translate(error, method=self._method, place=place, secret=secret) from error


def _arguments(call: Call, deadline: Deadline) -> dict[str, Any]:
    arguments = {**call.arguments, "timeout": deadline.left}
    if call.method in _RATE_LIMITED:
        arguments["retry_on_rate_limit"] = False  # it would be tried again at fixed intervals
    return arguments


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


@asynccontextmanager
async def _limit(deadline: Deadline, while_what: str) -> AsyncIterator[None]:
    limit = asyncio.timeout(deadline.left)
    try:
        async with limit:
            yield
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise deadline.passed(while_what) from error


def _close_in(loop: asyncio.AbstractEventLoop, client: Any) -> None:
    if loop.is_running():
        loop.call_soon_threadsafe(lambda: _keep(loop.create_task(client.close())))


def _keep(task: asyncio.Future[Any]) -> None:
    """Hold a task until it is done: one that nobody holds may vanish before."""
    _TASKS.add(task)
    task.add_done_callback(_TASKS.discard)


_TASKS: set[asyncio.Future[Any]] = set()


def _forget_loop(loop: asyncio.AbstractEventLoop) -> None:
    """Let go of what pymilvus keeps by the id of an event loop, which one that is gone may have had.

    Clients that are in use keep what is theirs.
    """
    from pymilvus.client.connection_manager import AsyncConnectionManager

    with AsyncConnectionManager._instances_lock:
        AsyncConnectionManager._instances.pop(id(loop), None)
