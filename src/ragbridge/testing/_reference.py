"""The brute-force reference: a store so plain that it can be checked by reading it."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from math import atan, log, pi
from typing import Any

import numpy as np

from ragbridge.embeddings import (
    BinaryVector,
    Embedding,
    EmbeddingLike,
    HybridVector,
    SparseVector,
    dense_part,
    sparse_part,
)
from ragbridge.errors import EntryNotFoundError, StoreClosedError
from ragbridge.filters import Filter
from ragbridge.stores._ranking import RRFRanker
from ragbridge.stores._requests import (
    Selection,
    VectorShape,
    check_delete_ids,
    check_get_ids,
    check_query,
    leg_limit,
    prepare_batch,
)
from ragbridge.stores.base import (
    Capability,
    Leg,
    SimilarityMetric,
    VectorEntry,
    VectorMatch,
    VectorStore,
    VectorStoreQuery,
    check_batch_size,
)

__all__ = ["ReferenceVectorStore"]

_K1, _B = 1.2, 0.75


class ReferenceVectorStore(VectorStore):
    """Every row in a dict, every question answered by looking at all of them.

    Slow on purpose: scores come from plain Python over float64, filters from `matches()`. It is what
    other stores are compared with. Full text is BM25 (k1 = 1.2, b = 0.75) over lowercase words.

    Args:
        metric: How dense or binary vectors are compared.
    """

    capabilities = frozenset(Capability)

    def __init__(self, *, metric: SimilarityMetric | str = SimilarityMetric.COSINE) -> None:
        self.metric = SimilarityMetric(metric)
        self._rows: dict[str, VectorEntry] = {}
        self._shape: VectorShape | None = None
        self._closed = False

    def add(self, entries: Sequence[VectorEntry]) -> list[str]:
        self._check_open()
        batch = prepare_batch(entries, self._shape, self.metric)
        if batch is None:
            return []
        self._shape = batch.shape
        for row_id, entry in batch.rows.items():
            self._rows[row_id] = _copy(entry, id=row_id)
        return batch.ids

    def query(self, query: VectorStoreQuery) -> list[VectorMatch]:
        self._check_open()
        check_query(
            query,
            store="ReferenceVectorStore",
            capabilities=self.capabilities,
            metric=self.metric,
            shape=self._shape,
        )
        rows = self._select(Selection.of_query(query))
        scores = self._scores(query, rows)
        if query.min_score is not None:
            scores = {row_id: score for row_id, score in scores.items() if score >= query.min_score}
        ranked = _ranked(scores, query.top_k)
        return [
            _match(self._rows[row_id], scores[row_id], query.include_embeddings)
            for row_id in ranked
        ]

    def get(self, ids: Sequence[str], *, include_deleted: bool = False) -> list[VectorEntry]:
        self._check_open()
        rows = self._select(Selection(include_deleted=include_deleted))
        return [_copy(rows[row_id]) for row_id in check_get_ids(ids) if row_id in rows]

    def scan(
        self,
        filters: Filter | None = None,
        *,
        ids: Sequence[str] | None = None,
        document_ids: Sequence[str] | None = None,
        batch_size: int = 1000,
        include_embeddings: bool = True,
        include_deleted: bool = False,
    ) -> Iterator[VectorEntry]:
        self._check_open()
        check_batch_size(batch_size)
        selection = Selection.of(filters, ids, document_ids, include_deleted=include_deleted)
        for entry in self._select(selection).values():
            yield _copy(entry) if include_embeddings else _copy(entry, embedding=None)

    def delete(self, ids: str | Sequence[str], *, missing_ok: bool = True) -> None:
        self._check_open()
        given = check_delete_ids(ids)
        unknown = [row_id for row_id in given if row_id not in self._rows]
        if unknown and not missing_ok:
            raise EntryNotFoundError(f"no rows with the ids {unknown}", ids=unknown)
        for row_id in given:
            self._rows.pop(row_id, None)

    def delete_by_filter(
        self,
        filters: Filter | None = None,
        *,
        ids: Sequence[str] | None = None,
        document_ids: Sequence[str] | None = None,
    ) -> int:
        self._check_open()
        doomed = self._select(Selection.for_delete(filters, ids, document_ids))
        for row_id in doomed:
            del self._rows[row_id]
        return len(doomed)

    def count(
        self,
        filters: Filter | None = None,
        *,
        ids: Sequence[str] | None = None,
        document_ids: Sequence[str] | None = None,
        include_deleted: bool = False,
    ) -> int:
        self._check_open()
        return len(
            self._select(Selection.of(filters, ids, document_ids, include_deleted=include_deleted))
        )

    def clear(self) -> None:
        self._check_open()
        self._rows.clear()

    def close(self) -> None:
        self._closed = True

    def _check_open(self) -> None:
        if self._closed:
            raise StoreClosedError("ReferenceVectorStore is closed; make a new one")

    def _select(self, selection: Selection) -> dict[str, VectorEntry]:
        return {row_id: entry for row_id, entry in self._rows.items() if selection.matches(entry)}

    def _scores(self, query: VectorStoreQuery, rows: dict[str, VectorEntry]) -> dict[str, float]:
        legs = [self._leg_scores(leg, query, rows) for leg in query.legs]
        if not legs:
            return dict.fromkeys(rows, 0.0)
        if len(legs) == 1:
            return legs[0]
        tops = [
            {row_id: scores[row_id] for row_id in _ranked(scores, leg_limit(query, leg))}
            for leg, scores in zip(query.legs, legs, strict=True)
        ]
        return self._fuse(query, tops)

    def _leg_scores(
        self, leg: Leg, query: VectorStoreQuery, rows: dict[str, VectorEntry]
    ) -> dict[str, float]:
        if leg is Leg.FULL_TEXT:
            return self._bm25(query.text or "", rows)
        compare = _sparse_score if leg is Leg.SPARSE else self._dense_score
        scores = {
            row_id: compare(query.embedding, entry.embedding) for row_id, entry in rows.items()
        }
        return {row_id: score for row_id, score in scores.items() if leg is Leg.DENSE or score > 0}

    def _dense_score(self, one: EmbeddingLike | None, other: EmbeddingLike | None) -> float:
        if isinstance(one, BinaryVector) and isinstance(other, BinaryVector):
            return self._binary_score(one.to_bits(), other.to_bits())
        a = np.asarray(dense_part(one), dtype=np.float64)
        b = np.asarray(dense_part(other), dtype=np.float64)
        if self.metric is SimilarityMetric.EUCLIDEAN:
            return float(1.0 / (1.0 + np.linalg.norm(a - b)))
        if self.metric is SimilarityMetric.DOT_PRODUCT:
            return float(a @ b)
        return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))

    def _binary_score(self, one: list[int], other: list[int]) -> float:
        pairs = Counter(zip(one, other, strict=True))
        if self.metric is SimilarityMetric.HAMMING:
            return (pairs[0, 0] + pairs[1, 1]) / len(one)
        return pairs[1, 1] / max(1, len(one) - pairs[0, 0])

    def _bm25(self, text: str, rows: Mapping[str, VectorEntry]) -> dict[str, float]:
        # Frequencies are those of the whole store: a filter does not change how rare a word is.
        words = {row_id: _words(entry) for row_id, entry in self._rows.items()}
        mean = sum(map(Counter.total, words.values())) / max(1, len(words))
        scores = dict.fromkeys(rows, 0.0)
        for word in set(_split(text)):
            found = sum(1 for counts in words.values() if word in counts)
            idf = log(1 + (len(words) - found + 0.5) / (found + 0.5))
            for row_id in rows:
                often, length = words[row_id][word], words[row_id].total()
                norm = often + _K1 * (1 - _B + _B * length / (mean or 1))
                scores[row_id] += idf * often * (_K1 + 1) / norm
        return {row_id: score for row_id, score in scores.items() if score > 0}

    def _fuse(self, query: VectorStoreQuery, legs: list[dict[str, float]]) -> dict[str, float]:
        fused: dict[str, float] = {}
        for position, (leg, scores) in enumerate(zip(query.legs, legs, strict=True)):
            for rank, row_id in enumerate(_ranked(scores, -1), start=1):
                if isinstance(query.ranker, RRFRanker):
                    part = 1 / (query.ranker.k + rank)
                else:
                    part = query.ranker.weights[position] * self._normalized(leg, scores[row_id])
                fused[row_id] = fused.get(row_id, 0.0) + part
        return fused

    def _normalized(self, leg: Leg, score: float) -> float:
        if leg is Leg.FULL_TEXT:
            return 2 * atan(score) / pi
        if leg is Leg.DENSE and self.metric is SimilarityMetric.COSINE:
            return (1 + score) / 2
        if leg is Leg.DENSE and self.metric is SimilarityMetric.EUCLIDEAN:
            return 1 - 2 * atan((1 / score - 1) ** 2) / pi
        if leg is Leg.DENSE and self.metric.is_binary:
            return score
        return 0.5 + atan(score) / pi


def _copy(entry: VectorEntry, **changes: Any) -> VectorEntry:
    # `deepcopy` of the chunk, since its metadata is a dict that a caller may change.
    return replace(
        entry,
        **{
            "chunk": deepcopy(entry.chunk),
            "framework_data": deepcopy(entry.framework_data),
            "embedding": _copy_embedding(entry.embedding),
            **changes,
        },
    )


def _copy_embedding(embedding: Embedding | None) -> Embedding | None:
    if isinstance(embedding, HybridVector):
        return HybridVector(embedding.dense.copy(), embedding.sparse)
    if isinstance(embedding, BinaryVector):
        return BinaryVector(embedding.packed.copy())
    return (
        embedding if embedding is None or isinstance(embedding, SparseVector) else embedding.copy()
    )


def _match(entry: VectorEntry, score: float, include_embeddings: bool) -> VectorMatch:
    copy = _copy(entry)
    return VectorMatch(
        id=copy.id,
        embedding=copy.embedding if include_embeddings else None,
        chunk=copy.chunk,
        framework_data=copy.framework_data,
        deleted=copy.deleted,
        similarity_score=score,
    )


def _ranked(scores: Mapping[str, float], top_k: int) -> list[str]:
    ranked = sorted(scores, key=lambda row_id: (-scores[row_id], row_id))
    return ranked if top_k == -1 else ranked[:top_k]


def _sparse_score(one: EmbeddingLike | None, other: EmbeddingLike | None) -> float:
    a, b = sparse_part(one), sparse_part(other)
    weights = {} if b is None else b.to_dict()
    return sum(value * weights.get(i, 0.0) for i, value in (a.to_dict() if a else {}).items())


def _words(entry: VectorEntry) -> Counter[str]:
    content = entry.chunk.content
    return Counter(_split(content) if isinstance(content, str) else ())


def _split(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())
