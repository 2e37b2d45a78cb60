"""A lock for many readers or one writer, in the order in which they came."""

import threading
from collections import deque
from dataclasses import dataclass, field


@dataclass(eq=False, slots=True)
class _Turn:
    exclusive: bool
    called: threading.Event = field(default_factory=threading.Event)


class Gate:
    """Lets in several who read, or one who writes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._exclusive = False
        self._waiting: deque[_Turn] = deque()

    def enter(self, *, exclusive: bool, seconds: float | None = None) -> bool:
        """Wait for the turn, for so many seconds at the most; whether it came. `leave` must follow."""
        turn = self._queue(_Turn(exclusive))
        if turn.called.wait(seconds):
            return True
        self._give_up(turn)
        return False

    def leave(self) -> None:
        """Make room."""
        with self._lock:
            self._inside -= 1
            self._exclusive = False
            self._admit()

    def _queue(self, turn: _Turn) -> _Turn:
        with self._lock:
            self._waiting.append(turn)
            self._admit()
        return turn

    def _give_up(self, turn: _Turn) -> None:
        with self._lock:
            if turn in self._waiting:
                self._waiting.remove(turn)
                self._admit()
                return
        self.leave()  # it was admitted in the meantime

    def _admit(self) -> None:
        while self._waiting and self._may_enter(self._waiting[0]):
            turn = self._waiting.popleft()
            self._inside += 1
            self._exclusive = turn.exclusive
            turn.called.set()

    def _may_enter(self, turn: _Turn) -> bool:
        return not self._inside or not (self._exclusive or turn.exclusive)
