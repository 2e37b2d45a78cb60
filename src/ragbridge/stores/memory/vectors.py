"""The vectors of a table: dense ones in blocks, binary ones as packed rows, sparse ones end to end."""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ragbridge.embeddings import BinaryVector, SparseVector, Vector
from ragbridge.stores._scoring import (
    Exact,
    Matrix,
    Packed,
    exact,
    exact_of_bits,
    squared_norms,
)
from ragbridge.stores.base import SimilarityMetric
from ragbridge.stores.memory import scoring
from ragbridge.stores.memory._arrays import Mask, Slots, put_at_end

_SMALL_BYTES = 32 * 2**20
_LARGE_BYTES = 256 * 2**20
_FEWEST_ROWS = 64
_FAR_ABOVE_SUBNORMAL = 1e-24  # below, the squares in a sum may lose their digits in float32
_ROWS_AT_ONCE = 1024  # what fits into a processor's cache while it is worked on


class DenseRows:
    """Dense float32 vectors in a few large blocks, which are filled and never changed after.

    While there are few rows, a larger block takes them over when they outgrow theirs; after that
    blocks are added and nothing is copied any more. Of a block's room the system hands out only the
    pages that are written, so that memory grows by small steps.
    """

    def __init__(self, dimension: int, metric: SimilarityMetric) -> None:
        self.dimension = dimension
        self.metric = metric
        self._blocks: tuple[tuple[int, Matrix], ...] = ()  # each with its first row
        self._aids: Vector = np.empty(0, np.float32)
        self._largest_norm = 0.0

    def append(self, size: int, vectors: Sequence[Vector]) -> None:
        """Put `vectors` into the rows from `size` on."""
        for done in range(0, len(vectors), _ROWS_AT_ONCE):
            rows = np.array(vectors[done : done + _ROWS_AT_ONCE], np.float32)
            squared = _squared_norms(rows)
            self._largest_norm = max(self._largest_norm, float(np.sqrt(squared.max())))
            self._aids = put_at_end(self._aids, size + done, scoring.aids(self.metric, squared))
            self._write(size + done, rows, len(vectors) - done)

    def rough(self, queries: Matrix, size: int) -> Matrix:
        """Rough scores of the first `size` rows, shape (queries, dimension) -> (queries, size)."""
        products = np.empty((len(queries), size), np.float32)
        for start, block in self._filled(size):
            part = products[:, start : start + len(block)]
            if len(queries) == 1:
                np.matmul(block, queries[0], out=part[0])
            else:
                np.matmul(queries, block.T, out=part)
        return scoring.rough(self.metric, products, self._aids[:size])

    def rough_at(self, query: Vector, slots: Slots) -> Vector:
        """Rough scores of a few rows, shape (len(slots),)."""
        products = np.empty(len(slots), np.float32)
        for done in range(0, len(slots), _ROWS_AT_ONCE):
            part = slice(done, done + _ROWS_AT_ONCE)
            np.matmul(self.take(slots[part]), query, out=products[part])
        return scoring.rough(self.metric, products, self._aids[slots])

    def exact(self, query: Vector, slots: Slots) -> Exact:
        """Similarity scores of a few rows, shape (len(slots),)."""
        scores = np.empty(len(slots), np.float64)
        for done in range(0, len(slots), _ROWS_AT_ONCE):
            part = slice(done, done + _ROWS_AT_ONCE)
            scores[part] = exact(self.metric, self.take(slots[part]), query)
        return scores

    def slack(self, query: Vector) -> float:
        """How far a rough score may be off."""
        return scoring.slack(self.metric, query, self._largest_norm)

    def take(self, slots: Slots) -> Matrix:
        """Copies of some rows, shape (len(slots), dimension)."""
        taken = np.empty((len(slots), self.dimension), np.float32)
        for start, block in self._blocks:
            here = (slots >= start) & (slots < start + len(block))
            if here.all():
                return block.take(slots - start, axis=0)
            if here.any():
                taken[here] = block[slots[here] - start]
        return taken

    def select(self, keep: Mask) -> Self:
        """The rows that are kept; large blocks that stay whole are shared, not copied."""
        kept = type(self)(self.dimension, self.metric)
        kept._aids, kept._largest_norm = self._aids[: len(keep)][keep], self._largest_norm
        for start, block in self._filled(len(keep)):
            stays = keep[start : start + len(block)]
            if stays.any():
                kept._adopt(block if stays.all() else block[stays])
        return kept

    def _filled(self, size: int) -> Iterator[tuple[int, Matrix]]:
        for start, block in self._blocks:
            if start < size:
                yield start, block[: size - start]

    def _write(self, slot: int, rows: Matrix, expected: int) -> None:
        while len(rows):
            start, block = self._block_of(slot) or self._grow(slot, expected)
            room = block[slot - start :]
            room[: len(rows)] = rows[: len(room)]
            slot, expected, rows = slot + len(room), expected - len(room), rows[len(room) :]

    def _block_of(self, slot: int) -> tuple[int, Matrix] | None:
        return next((each for each in self._blocks if 0 <= slot - each[0] < len(each[1])), None)

    def _grow(self, size: int, expected: int) -> tuple[int, Matrix]:
        if size > self._rows_in(_SMALL_BYTES):
            block = self._empty(max(expected, min(size, self._rows_in(_LARGE_BYTES))))
            self._blocks += ((size, block),)
        else:
            block = self._empty(max(size + expected, 2 * size, _FEWEST_ROWS))
            for start, part in self._filled(size):
                block[start : start + len(part)] = part
            self._blocks = ((0, block),)
        return self._blocks[-1]

    def _adopt(self, rows: Matrix) -> None:
        start, last = self._blocks[-1] if self._blocks else (0, rows[:0])
        if len(last) + len(rows) <= self._rows_in(_SMALL_BYTES):
            self._blocks = (*self._blocks[:-1], (start, np.concatenate([last, rows])))
        else:
            self._blocks += ((start + len(last), rows),)

    def _empty(self, rows: int) -> Matrix:
        return np.empty((rows, self.dimension), np.float32)

    def _rows_in(self, size: int) -> int:
        return max(1, size // (4 * self.dimension))


def _squared_norms(rows: Matrix) -> Exact:
    squared: Vector = np.einsum("ij,ij->i", rows, rows)
    if squared.min() < _FAR_ABOVE_SUBNORMAL:
        return squared_norms(rows.astype(np.float64))
    return squared.astype(np.float64)


class BinaryRows:
    """Binary vectors, eight bits in a byte."""

    def __init__(self, dimension: int, metric: SimilarityMetric) -> None:
        self.metric = metric
        self._rows: Packed = np.empty((0, dimension // 8), np.uint8)

    def append(self, size: int, vectors: Sequence[BinaryVector]) -> None:
        """Put `vectors` into the rows from `size` on."""
        self._rows = put_at_end(self._rows, size, [vector.packed for vector in vectors])

    def exact(self, query: BinaryVector, slots: Slots) -> Exact:
        """Similarity scores of some rows, shape (len(slots),)."""
        scores = np.empty(len(slots), np.float64)
        for done in range(0, len(slots), _ROWS_AT_ONCE):
            part = slice(done, done + _ROWS_AT_ONCE)
            scores[part] = exact_of_bits(self.metric, self._rows[slots[part]], query)
        return scores

    def take(self, slots: Slots) -> list[BinaryVector]:
        """Copies of some rows."""
        return [BinaryVector(row.copy()) for row in self._rows[slots]]

    def select(self, keep: Mask) -> Self:
        """The rows that are kept."""
        kept = type(self)(8 * self._rows.shape[1], self.metric)
        kept._rows = self._rows[: len(keep)][keep]
        return kept


class SparseRows:
    """Sparse vectors end to end, and their postings, made when they are first asked for."""

    def __init__(self) -> None:
        self._indices: NDArray[np.uint32] = np.empty(0, np.uint32)
        self._values: Vector = np.empty(0, np.float32)
        self._ends: NDArray[np.int64] = np.empty(0, np.int64)
        self._postings: _Postings | None = None
        self._lock = threading.Lock()

    def append(self, size: int, vectors: Sequence[SparseVector]) -> None:
        """Put `vectors` into the rows from `size` on."""
        used = int(self._ends[size - 1]) if size else 0
        lengths = [len(vector.indices) for vector in vectors]
        indices = np.concatenate([vector.indices for vector in vectors])
        self._indices = put_at_end(self._indices, used, indices)
        values = np.concatenate([vector.values for vector in vectors])
        self._values = put_at_end(self._values, used, values)
        self._ends = put_at_end(self._ends, size, used + np.cumsum(lengths))

    def scores(self, query: SparseVector, size: int) -> Exact:
        """Inner products with the first `size` rows, shape (size,); 0 where no index is shared."""
        with self._lock:
            if self._postings is None or self._postings.size < size:
                self._postings = self._invert(size)
            postings = self._postings
        return postings.scores(query)[:size]

    def take(self, slots: Slots) -> list[SparseVector]:
        """Copies of some rows."""
        starts = np.where(slots > 0, self._ends[slots - 1], 0).tolist()
        parts = map(slice, starts, self._ends[slots].tolist())
        return [SparseVector(self._indices[part], self._values[part].copy()) for part in parts]

    def select(self, keep: Mask) -> Self:
        """The rows that are kept."""
        kept = type(self)()
        ends = self._ends[: len(keep)]
        lengths = np.diff(ends, prepend=0)
        inside = np.repeat(keep, lengths)
        kept._indices = self._indices[: len(inside)][inside]
        kept._values = self._values[: len(inside)][inside]
        kept._ends = np.cumsum(lengths[keep])
        return kept

    def _invert(self, size: int) -> "_Postings":
        ends = self._ends[:size]
        slots = np.repeat(np.arange(size), np.diff(ends, prepend=0))
        return _Postings.of(self._indices[: len(slots)], slots, self._values[: len(slots)], size)


@dataclass(frozen=True, slots=True)
class _Postings:
    """Sparse rows by index: rows `slots[bounds[i]:bounds[i + 1]]` have a value at `indices[i]`."""

    size: int
    indices: NDArray[np.uint32]
    bounds: Slots
    slots: Slots
    values: Vector

    @classmethod
    def of(
        cls, indices: NDArray[np.uint32], slots: Slots, values: Vector, size: int
    ) -> "_Postings":
        order = np.argsort(indices, kind="stable")
        unique, starts = np.unique(indices[order], return_index=True)
        return cls(size, unique, np.append(starts, len(order)), slots[order], values[order])

    def scores(self, query: SparseVector) -> Exact:
        scores = np.zeros(self.size, np.float64)
        places = np.searchsorted(self.indices, query.indices).tolist()
        for place, (index, weight) in zip(places, query.to_dict().items(), strict=True):
            if place < len(self.indices) and self.indices[place] == index:
                found = slice(self.bounds[place], self.bounds[place + 1])
                scores[self.slots[found]] += weight * self.values[found].astype(np.float64)
        return scores
