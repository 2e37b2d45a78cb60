"""What this process has written to collections and made in them, and what its reads have seen of it."""

import threading
from collections import Counter
from typing import Final

CollectionKey = tuple[str, str, str]
"""Address, database and name of a collection."""

_MOST_BUFFERED: Final = 1_000  # rows; that many make a search slower by some 25 ms

_LOCK = threading.Lock()
_LEDGERS: dict[tuple[CollectionKey, bool], "Ledger"] = {}

# How many writes there were, by the collection's name. An address may be spelled in several ways, so
# these are counted together for all of them: at worst a read waits that need not.
_WRITES: Counter[str] = Counter()
_ANYWHERE: Final = "*"
_THROUGH_ALIASES: Final = "?"
_PARTITIONS_MADE: Final = "+"


class Ledger:
    """The writes to one collection, shared by all stores of this process.

    A read waits for everything that was written before it ("Strong", up to 200 ms on a server) only
    if there was a write that no such read has covered yet, and so does the first, for what other
    processes wrote. Other reads ask for "Session", which costs nothing then and does not see deletes
    on server 2.3.

    Args:
        name: The collection's; "" where every read sees all writes anyway.
        is_alias: It is an alias, which may mean another collection each time.

    Attributes:
        met_deleted: A read has met soft-deleted rows.
    """

    def __init__(self, name: str = "", *, is_alias: bool = False) -> None:
        self._name = name
        self._is_alias = is_alias
        self._seen = -1
        self._buffered = 0
        self.met_deleted = False
        self._most_buffered = -1  # another process may have left rows in the buffer

    def wrote(self, rows: int) -> None:
        """Note a write of so many rows that ended, well or not."""
        with _LOCK:
            _WRITES[_ANYWHERE] += 1
            _WRITES[_THROUGH_ALIASES if self._is_alias else self._name] += 1
            self._buffered += rows

    def reading(self) -> tuple[str, int]:
        """The consistency level for a read that starts now, and what to tell `saw` after it."""
        with _LOCK:
            written = self._written()
            return ("Strong" if self._seen < written else "Session"), written

    def saw(self, mark: int) -> None:
        """Note that a read has seen everything up to `mark`."""
        with _LOCK:
            self._seen = max(self._seen, mark)

    def due(self) -> int | None:
        """How many rows lie in the engine's buffer, where a flush is worth it."""
        with _LOCK:
            return self._buffered if self._buffered > self._most_buffered else None

    def flushed(self, rows: int) -> None:
        """Note that the rows that `due` spoke of have left the buffer."""
        with _LOCK:
            self._buffered -= rows
            self._most_buffered = _MOST_BUFFERED

    def not_flushed(self) -> None:
        """Note that the flush that was due failed; the next one is when there are more rows."""
        with _LOCK:
            self._most_buffered = self._buffered + _MOST_BUFFERED

    def _written(self) -> int:
        """How many writes may have been to this collection."""
        if self._is_alias:
            return _WRITES[_ANYWHERE]
        return _WRITES[self._name] + _WRITES[_THROUGH_ALIASES]


def note_partition() -> None:
    """Note that a partition was made, in whichever collection."""
    with _LOCK:
        _WRITES[_PARTITIONS_MADE] += 1


def partitions_made() -> int:
    """How many partitions this process has made."""
    with _LOCK:
        return _WRITES[_PARTITIONS_MADE]


def ledger_of(key: CollectionKey, *, is_alias: bool = False) -> Ledger:
    """The ledger of a server's collection, by its own name or by an alias."""
    with _LOCK:
        ledger = _LEDGERS.get((key, is_alias))
        if ledger is None:
            ledger = _LEDGERS[key, is_alias] = Ledger(key[-1], is_alias=is_alias)
        return ledger
