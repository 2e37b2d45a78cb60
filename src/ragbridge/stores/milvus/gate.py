"""A lock for many readers or one writer, which threads and coroutines wait for together.

Milvus Lite runs in this process and does not guard itself: writes at the same time may damage its log,
and a reader who comes during a flush misses the rows that are being flushed.
"""

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

from ragbridge.errors import StoreTimeoutError


@dataclass(eq=False, slots=True)
class _Turn:
    exclusive: bool
    tell: Callable[[], object]
    admitted: bool = False


class Gate:
    """Lets in several who read, or one who writes, in the order in which they came."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # held for moments only: no coroutine waits for it noticeably
        self._inside = 0
        self._exclusive = False
        self._waiting: deque[_Turn] = deque()

    @contextmanager
    def hold(self, *, exclusive: bool, timeout: float) -> Iterator[None]:
        """Be inside, as a thread.

        Raises:
            StoreTimeoutError: the turn did not come within `timeout` seconds.
        """
        called = threading.Event()
        turn = self._queue(_Turn(exclusive, called.set))
        if not turn.admitted and not called.wait(timeout):
            self._give_up(turn)
            raise _timed_out(timeout)
        try:
            yield
        finally:
            self._leave()

    @asynccontextmanager
    async def ahold(  # the seconds are those of `hold`
        self,
        *,
        exclusive: bool,
        timeout: float,  # noqa: ASYNC109
    ) -> AsyncIterator[None]:
        """Be inside, as a coroutine.

        Raises:
            StoreTimeoutError: the turn did not come within `timeout` seconds.
        """
        loop = asyncio.get_running_loop()
        called = asyncio.Event()
        turn = self._queue(_Turn(exclusive, lambda: loop.call_soon_threadsafe(called.set)))
        try:
            if not turn.admitted:
                await asyncio.wait_for(called.wait(), timeout)
        except BaseException as error:
            self._give_up(turn)
            if isinstance(error, TimeoutError):
                raise _timed_out(timeout) from None
            raise
        try:
            yield
        finally:
            self._leave()

    def _queue(self, turn: _Turn) -> _Turn:
        with self._lock:
            self._waiting.append(turn)
            self._admit()
        return turn

    def _leave(self) -> None:
        with self._lock:
            self._inside -= 1
            self._exclusive = False
            self._admit()

    def _give_up(self, turn: _Turn) -> None:
        with self._lock:
            if turn in self._waiting:
                self._waiting.remove(turn)
                self._admit()
                return
        self._leave()  # it was admitted in the meantime

    def _admit(self) -> None:
        while self._waiting and self._may_enter(self._waiting[0]):
            turn = self._waiting.popleft()
            try:
                turn.tell()
            except RuntimeError:  # its event loop was closed
                continue
            turn.admitted = True
            self._inside += 1
            self._exclusive = turn.exclusive

    def _may_enter(self, turn: _Turn) -> bool:
        return not self._inside or not (self._exclusive or turn.exclusive)


def _timed_out(timeout: float) -> StoreTimeoutError:
    return StoreTimeoutError(
        f"other calls kept the Milvus Lite file busy for {timeout} s; raise timeout, or write less at once"
    )
