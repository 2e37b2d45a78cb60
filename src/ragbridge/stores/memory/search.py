"""What a query does to a state: its legs, the best rows of each, and their fusion."""

from collections.abc import Iterator, Sequence
from heapq import nsmallest
from typing import TypeAlias

import numpy as np

from ragbridge.embeddings import BinaryVector, Vector, dense_part, sparse_part
from ragbridge.stores._ranking import best_first, fuse
from ragbridge.stores._requests import leg_limit, score_scale
from ragbridge.stores._scoring import Exact
from ragbridge.stores.base import Leg, SimilarityMetric, VectorStoreQuery
from ragbridge.stores.memory import scoring
from ragbridge.stores.memory._arrays import Mask, Slots
from ragbridge.stores.memory.table import State
from ragbridge.stores.memory.text import TextSearch
from ragbridge.stores.memory.vectors import DenseRows

Hits: TypeAlias = list[tuple[int, float]]
"""Rows and their scores, best first."""

_QUERIES_AT_ONCE = 32
_FEW = 8  # one in so many rows is scored faster by itself than with all the others


class Search:
    """Answers queries from one state.

    Args:
        state: The state.
        metric: The store's.
        text: Serves the full-text leg.
    """

    def __init__(self, state: State, metric: SimilarityMetric, text: TextSearch) -> None:
        self._state = state
        self._metric = metric
        self._text = text

    def run(self, queries: Sequence[VectorStoreQuery], masks: Sequence[Mask]) -> list[Hits]:
        """The hits of each query among the rows that its mask selects."""
        rough = self._rough_scores(queries)
        return [self._answer(*each) for each in zip(queries, masks, rough, strict=True)]

    def _rough_scores(self, queries: Sequence[VectorStoreQuery]) -> Iterator[Vector | None]:
        """For each query its rough scores, where several were made in one matrix product."""
        dense = self._state.table.dense
        for first in range(0, len(queries), _QUERIES_AT_ONCE):
            vectors = [dense_part(q.embedding) for q in queries[first : first + _QUERIES_AT_ONCE]]
            prepared = [scoring.prepare(self._metric, v) for v in vectors if v is not None]
            if dense is None or len(prepared) < 2:
                yield from [None] * len(vectors)
            else:
                scores = iter(dense.rough(np.array(prepared), self._state.size))
                yield from (None if v is None else next(scores) for v in vectors)

    def _answer(self, query: VectorStoreQuery, mask: Mask, rough: Vector | None) -> Hits:
        legs = query.legs
        if not legs:
            hits = self._list(mask, query.top_k)
        elif len(legs) == 1:
            hits = self._best(legs[0], query, mask, query.top_k, rough)
        else:
            found = [self._best(leg, query, mask, leg_limit(query, leg), rough) for leg in legs]
            scales = [score_scale(leg, self._metric) for leg in legs]
            hits = best_first(fuse(query.ranker, found, scales).items(), query.top_k, self._id_of)
        if query.min_score is None:
            return hits
        return [hit for hit in hits if hit[1] >= query.min_score]

    def _id_of(self, slot: int) -> str:
        return self._state.table.rows.ids[slot]

    def _list(self, mask: Mask, top_k: int) -> Hits:
        slots = np.flatnonzero(mask).tolist()
        if top_k == -1:
            slots.sort(key=self._id_of)
        else:
            slots = nsmallest(top_k, slots, key=self._id_of)
        return [(slot, 0.0) for slot in slots]

    def _best(
        self, leg: Leg, query: VectorStoreQuery, mask: Mask, top_k: int, rough: Vector | None
    ) -> Hits:
        slots = np.flatnonzero(mask)
        if not len(slots):
            return []
        if isinstance(query.embedding, BinaryVector) and leg is Leg.DENSE:
            slots, scores = self._binary(query.embedding, slots)
        elif leg is Leg.DENSE:
            slots, scores = self._dense(query, slots, top_k, rough)
        elif leg is Leg.SPARSE:
            slots, scores = self._sparse(query, slots)
        else:
            slots, scores = self._full_text(query, mask)
        best = _highest(scores, top_k)
        hits = zip(slots[best].tolist(), scores[best].tolist(), strict=True)
        return best_first(hits, top_k, self._id_of)

    def _dense(
        self, query: VectorStoreQuery, slots: Slots, top_k: int, rough: Vector | None
    ) -> tuple[Slots, Exact]:
        dense, vector = self._state.table.dense, dense_part(query.embedding)
        if dense is None or vector is None:
            return slots[:0], np.empty(0)
        prepared = scoring.prepare(self._metric, vector)
        rough = self._rough_at(dense, prepared, slots) if rough is None else rough[slots]
        slack = dense.slack(prepared)
        near = _highest(rough, top_k, 2 * slack)
        if query.min_score is not None and len(query.legs) == 1:
            least = scoring.rough_of(self._metric, query.min_score, vector)
            near = near[_at_least(rough[near], least - slack)]
        return slots[near], dense.exact(vector, slots[near])

    def _binary(self, vector: BinaryVector, slots: Slots) -> tuple[Slots, Exact]:
        binary = self._state.table.binary
        if binary is None:
            return slots[:0], np.empty(0)
        return slots, binary.exact(vector, slots)

    def _rough_at(self, dense: DenseRows, prepared: Vector, slots: Slots) -> Vector:
        size = self._state.size
        if len(slots) * _FEW < size:
            return dense.rough_at(prepared, slots)
        rough: Vector = dense.rough(prepared[np.newaxis], size)[0]
        return rough if len(slots) == size else rough[slots]

    def _sparse(self, query: VectorStoreQuery, slots: Slots) -> tuple[Slots, Exact]:
        sparse, vector = self._state.table.sparse, sparse_part(query.embedding)
        if sparse is None or vector is None:
            return slots[:0], np.empty(0)
        scores = sparse.scores(vector, self._state.size)[slots]
        found = scores > 0
        return slots[found], scores[found]

    def _full_text(self, query: VectorStoreQuery, mask: Mask) -> tuple[Slots, Exact]:
        slots, scores = self._text.scores(query.text or "", self._state)
        found = mask[slots]
        return slots[found], scores[found]


def _highest(scores: Vector | Exact, top_k: int, slack: float = 0.0) -> Slots:
    """The places of the `top_k` highest scores (-1: of all), and of those within `slack` of them."""
    if top_k == -1 or top_k >= len(scores):
        return np.arange(len(scores))
    lowest = np.partition(scores, len(scores) - top_k)[len(scores) - top_k]
    return np.flatnonzero(_at_least(scores, float(lowest) - slack))


def _at_least(scores: Vector | Exact, bound: float) -> Mask:
    with np.errstate(over="ignore"):  # a bound beyond float32 is infinite to rough scores
        return scores >= bound
