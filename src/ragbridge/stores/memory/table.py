"""The rows of a store, and the states in which readers see them.

A `Table` is only ever appended to. What a reader sees is a `State`: how many rows there were, and
which of them were alive. A write makes a new state while readers go on with the one they have, so
that they wait for nobody and see all of a write or nothing of it.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np

from ragbridge._filter_tree import Leaf, Node, normalize
from ragbridge.embeddings import (
    BinaryVector,
    Embedding,
    HybridVector,
    dense_parts,
    sparse_part,
)
from ragbridge.filters import Operator
from ragbridge.stores._requests import Selection, VectorShape
from ragbridge.stores.base import SimilarityMetric, VectorEntry
from ragbridge.stores.memory._arrays import Mask, Slots, put_at_end
from ragbridge.stores.memory.columns import Columns
from ragbridge.stores.memory.filters import evaluate
from ragbridge.stores.memory.rows import DOCUMENT_ID, Rows
from ragbridge.stores.memory.vectors import BinaryRows, DenseRows, SparseRows

_FEW_DEAD_ROWS = 1000


class Table:
    """Rows by number: their chunks, their vectors, and their metadata by column.

    Attributes:
        shape: The vectors that every row has, or None where that is not known yet.
        slot_of: The row of each id that is alive in the latest state.
    """

    def __init__(self, shape: VectorShape | None, metric: SimilarityMetric) -> None:
        self.shape = shape
        self._metric = metric
        self.rows = Rows()
        self.columns = Columns(self.rows.values)
        self.dense: DenseRows | None = None
        self.binary: BinaryRows | None = None
        if shape and shape.dimension and shape.binary:
            self.binary = BinaryRows(shape.dimension, metric)
        elif shape and shape.dimension:
            self.dense = DenseRows(shape.dimension, metric)
        self.sparse = SparseRows() if shape and shape.sparse else None
        self.slot_of: dict[str, int] = {}

    def append(self, size: int, rows: Mapping[str, VectorEntry]) -> None:
        """Put `rows` by id into the rows from `size` on; no reader looks there yet."""
        embeddings = [entry.embedding for entry in rows.values()]
        if self.dense:
            self.dense.append(size, dense_parts(embeddings))
        if self.binary:
            self.binary.append(size, [v for v in embeddings if isinstance(v, BinaryVector)])
        if self.sparse:
            self.sparse.append(size, [v for v in map(sparse_part, embeddings) if v is not None])
        self.rows.append(size, rows)

    def embeddings(self, slots: Slots) -> list[Embedding | None]:
        """Copies of the vectors of some rows, as they were added."""
        if self.binary:
            return [*self.binary.take(slots)]
        dense = [row.copy() for row in self.dense.take(slots)] if self.dense else None
        sparse = self.sparse.take(slots) if self.sparse else None
        if dense and sparse:
            return [HybridVector(d, s) for d, s in zip(dense, sparse, strict=True)]
        return list(dense or sparse or [None] * len(slots))

    def entries(self, slots: Slots, *, embeddings: bool) -> Iterator[dict[str, Any]]:
        """What makes the VectorEntry of each row."""
        vectors = self.embeddings(slots) if embeddings else [None] * len(slots)
        for slot, vector in zip(slots.tolist(), vectors, strict=True):
            yield {**self.rows.fields(slot), "embedding": vector}

    def select(self, keep: Mask) -> "Table":
        """A table of the rows that are kept, in their order."""
        kept = Table(self.shape, self._metric)
        kept.rows = self.rows.select(keep)
        kept.columns = self.columns.select(keep, kept.rows.values)
        kept.dense = self.dense and self.dense.select(keep)
        kept.binary = self.binary and self.binary.select(keep)
        kept.sparse = self.sparse and self.sparse.select(keep)
        kept.slot_of = dict(zip(kept.rows.ids, count(), strict=False))
        return kept


@dataclass(frozen=True, slots=True)
class State:
    """A table as it was at one moment.

    Attributes:
        table: The table.
        size: How many of its rows there were.
        alive: Which of them were not deleted or replaced yet; may be longer than `size`.
        version: Grows with every write.
    """

    table: Table
    size: int
    alive: Mask
    version: int

    @classmethod
    def empty(
        cls, shape: VectorShape | None, metric: SimilarityMetric, version: int = 0
    ) -> "State":
        """A state without rows."""
        return cls(Table(shape, metric), 0, np.empty(0, np.bool_), version)

    def find(self, ids: Iterable[str]) -> Slots:
        """The rows with these ids in their order, unknown ones left out; of the latest state only."""
        slots = map(self.table.slot_of.get, ids)
        return np.array([slot for slot in slots if slot is not None], np.intp)

    def mask(self, selection: Selection, found: Slots | None) -> Mask:
        """Which rows are selected, shape (size,).

        Args:
            selection: What is selected.
            found: The rows of `selection.ids`.
        """
        mask = self.alive[: self.size].copy()
        if not selection.include_deleted:
            mask &= ~self.table.rows.deleted[: self.size]
        if found is not None:
            asked = np.zeros(self.size, np.bool_)
            asked[found] = True
            mask &= asked
        if selection.document_ids is not None:
            mask &= self._evaluate(Leaf(DOCUMENT_ID, Operator.IN, selection.document_ids, False))
        if selection.filters is not None:
            mask &= self._evaluate(normalize(selection.filters))
        return mask

    def _evaluate(self, node: Node) -> Mask:
        columns, size = self.table.columns, self.size
        return evaluate(node, lambda path: columns.get(path, size), size)

    def added(self, rows: Mapping[str, VectorEntry]) -> "State":
        """The state with `rows`, which the table holds already, in place of those with their ids."""
        end = self.size + len(rows)
        alive = self._alive_without(self.find(self.table.slot_of.keys() & rows.keys()))
        alive = put_at_end(alive, self.size, np.ones(len(rows), np.bool_))
        self.table.slot_of.update(zip(rows, range(self.size, end), strict=True))
        return State(self.table, end, alive, self.version + 1)

    def without(self, slots: Slots) -> "State":
        """The state without some rows."""
        alive = self._alive_without(slots)
        for slot in slots.tolist():
            del self.table.slot_of[self.table.rows.ids[slot]]
        return State(self.table, self.size, alive, self.version + 1)

    def _alive_without(self, slots: Slots) -> Mask:
        # Readers of earlier states share the array: what they look at is copied before it changes.
        if not len(slots):
            return self.alive
        alive = self.alive.copy()
        alive[slots] = False
        return alive

    @property
    def is_worn(self) -> bool:
        """Whether so many rows are dead that a table without them is worth its making."""
        alive = int(np.count_nonzero(self.alive[: self.size]))
        return self.size - alive > max(_FEW_DEAD_ROWS, alive // 4)

    def compacted(self) -> "State":
        """The same rows in a table that holds no others."""
        keep = self.alive[: self.size]
        table = self.table.select(keep)
        size = len(table.rows.ids)
        return State(table, size, np.ones(size, np.bool_), self.version + 1)
