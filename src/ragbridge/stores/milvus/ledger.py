"""What this process has written to a collection, and what its reads have seen of it."""

import threading
from typing import Final

CollectionKey = tuple[str, str, str]
"""Address, database and name of a collection."""

_LEDGERS: dict[CollectionKey, "Ledger"] = {}
_LOCK = threading.Lock()
_MOST_BUFFERED: Final = 1_000  # rows; that many make a search slower by some 25 ms


class Ledger:
    """The writes to one collection, shared by all stores of this process.

    A read waits for everything that was written before it ("Strong", up to 200 ms on a server) only
    if there was a write that no such read has covered yet. Other reads ask for "Session", which
    costs nothing then and does not see deletes on server 2.3.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._written = 0
        self._seen = 0
        self._buffered = 0
        self._is_known = False  # another process may have left rows in the buffer

    def wrote(self, rows: int) -> None:
        """Note a write of so many rows that ended, well or not."""
        with self._lock:
            self._written += 1
            self._buffered += rows

    def reading(self) -> tuple[str, int]:
        """The consistency level for a read that starts now, and what to tell `saw` after it."""
        with self._lock:
            return ("Strong" if self._seen < self._written else "Session"), self._written

    def saw(self, mark: int) -> None:
        """Note that a read has seen everything up to `mark`."""
        with self._lock:
            self._seen = max(self._seen, mark)

    def due(self) -> int | None:
        """How many rows lie in the engine's buffer, where a flush is worth it."""
        with self._lock:
            is_due = not self._is_known or self._buffered > _MOST_BUFFERED
            return self._buffered if is_due else None

    def flushed(self, rows: int) -> None:
        """Note that the rows that `due` spoke of have left the buffer."""
        with self._lock:
            self._is_known = True
            self._buffered -= rows


def ledger_of(key: CollectionKey) -> Ledger:
    """The ledger of a server's collection."""
    with _LOCK:
        return _LEDGERS.setdefault(key, Ledger())
