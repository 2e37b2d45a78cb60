"""Metadata by column: what filters are evaluated over.

A column holds what lies under one metadata path. Numbers are a float64 array; every other value is a
code for one of the distinct values that occur, so that a condition is decided once for each of those.
Integers that float64 cannot hold exactly are among the latter.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ragbridge.stores.memory._arrays import Mask, put_at_end

MISSING: Final = -1
"""The code of rows without a value, or with null."""
NUMBER: Final = -2
"""The code of rows whose value is in `Column.numbers`."""

Path: TypeAlias = tuple[str, ...]
Reader: TypeAlias = Callable[[Path, int, int], Sequence[Any]]
"""Gives the values under a path, None where there is none, from one row to before another."""

_MOST_COLUMNS: Final = 64
_EXACT: Final = 2**53


@dataclass(frozen=True, slots=True)
class Column:
    """What lies under one path in the first rows of a table.

    Attributes:
        codes: For each row `MISSING`, `NUMBER` or a place in `values`; shape (n,).
        numbers: For each row its number, NaN where it has none; shape (n,). None: no numbers at all.
        values: The distinct values that are no such numbers; later rows may add to them.
        find: The place of a value in `values`, or None.
    """

    codes: NDArray[np.int32]
    numbers: NDArray[np.float64] | None
    values: Sequence[Any]
    find: Callable[[Any], int | None]


class Columns:
    """The columns of a table: made when a filter first asks for them, then kept up with the rows.

    The least recently used go when there are too many. May be used from several threads.
    """

    def __init__(self, read: Reader) -> None:
        self._read = read
        self._growing: OrderedDict[Path, _GrowingColumn] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, path: Path, size: int) -> Column:
        """The column of the first `size` rows."""
        with self._lock:
            column = self._growing.pop(path, None) or _GrowingColumn()
            self._growing[path] = column  # the last is the one used last
            if len(self._growing) > _MOST_COLUMNS:
                self._growing.popitem(last=False)
            if column.size < size:
                column.append(self._read(path, column.size, size))
            return column.first(size)

    def select(self, keep: Mask, read: Reader) -> Self:
        """The columns of the rows that are kept, among the first `len(keep)`."""
        kept = type(self)(read)
        with self._lock:
            for path, column in self._growing.items():
                kept._growing[path] = column.select(keep)
        return kept


class _GrowingColumn:
    def __init__(self) -> None:
        self.size = 0
        self._codes: NDArray[np.int32] = np.empty(0, np.int32)
        self._numbers: NDArray[np.float64] | None = None
        self._values: list[Any] = []
        self._places: dict[Any, int] = {}

    def append(self, values: Sequence[Any]) -> None:
        codes = np.fromiter(map(self._encode, values), np.int32, len(values))
        if self._numbers is None and (codes == NUMBER).any():
            self._numbers = np.full(self.size, np.nan)
        if self._numbers is not None:
            numbers = [
                v if code == NUMBER else np.nan
                for v, code in zip(values, codes.tolist(), strict=True)
            ]
            self._numbers = put_at_end(self._numbers, self.size, numbers)
        self._codes = put_at_end(self._codes, self.size, codes)
        self.size += len(values)

    def first(self, size: int) -> Column:
        numbers = None if self._numbers is None else self._numbers[:size]
        return Column(self._codes[:size], numbers, self._values, self._find)

    def select(self, keep: Mask) -> "_GrowingColumn":
        kept = _GrowingColumn()
        mask = keep[: self.size]
        kept.size = int(np.count_nonzero(mask))
        kept._numbers = None if self._numbers is None else self._numbers[: self.size][mask]
        codes = self._codes[: self.size][mask]
        used = np.unique(codes[codes >= 0])
        kept._values = [self._values[code] for code in used.tolist()]
        kept._places = {_key(value): place for place, value in enumerate(kept._values)}
        places = np.arange(len(self._values) + 2, dtype=np.int32)
        places[[NUMBER, MISSING]] = NUMBER, MISSING
        places[used] = np.arange(len(used))
        kept._codes = places[codes]
        return kept

    def _encode(self, value: Any) -> int:
        if value is None:
            return MISSING
        kind = type(value)
        if kind is float or (kind is int and (-_EXACT <= value <= _EXACT or float(value) == value)):
            return NUMBER
        if kind is dict:  # all objects are the same to a condition
            value = {}
        place = self._places.setdefault(_key(value), len(self._values))
        if place == len(self._values):
            self._values.append(value)
        return place

    def _find(self, value: Any) -> int | None:
        return self._places.get(_key(value))


def _key(value: Any) -> Any:
    # Strings and integers as they are; others by their text, since True and 1 are the same key.
    return value if type(value) is str or type(value) is int else (repr(value),)
