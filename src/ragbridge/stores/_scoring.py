"""Exact scores of dense and binary vectors, which every store means and some compute themselves."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ragbridge.embeddings import BinaryVector, Vector
from ragbridge.stores.base import SimilarityMetric

Matrix = NDArray[np.float32]
Packed = NDArray[np.uint8]
Exact = NDArray[np.float64]


def exact(metric: SimilarityMetric, rows: Matrix, query: Vector) -> Exact:
    """Similarity scores, as `SimilarityMetric` defines them, from float64 arithmetic; shape (n,)."""
    wide, wanted = rows.astype(np.float64), query.astype(np.float64)
    if metric is SimilarityMetric.EUCLIDEAN:
        wide -= wanted
        return 1.0 / (1.0 + np.sqrt(squared_norms(wide)))
    products: Exact = np.einsum("ij,j->i", wide, wanted)
    if metric is SimilarityMetric.DOT_PRODUCT:
        return products
    lengths = np.sqrt(squared_norms(wide)) * norm(query)
    return np.clip(products / lengths, -1.0, 1.0)


def exact_of_bits(metric: SimilarityMetric, rows: Packed, query: BinaryVector) -> Exact:
    """Similarity scores of packed rows, shape (n, dimension / 8), under a binary metric; shape (n,)."""
    if metric is SimilarityMetric.HAMMING:
        return 1.0 - _set_bits(rows ^ query.packed) / len(query)
    in_either = _set_bits(rows | query.packed)
    return _set_bits(rows & query.packed) / np.maximum(in_either, 1)


def _set_bits(rows: Packed) -> NDArray[np.int64]:
    counts: NDArray[np.int64] = _count_bits(rows).sum(axis=1, dtype=np.int64)
    return counts


def _look_up(rows: Packed) -> Packed:
    return _BITS_IN[rows]


_BITS_IN: Packed = np.unpackbits(np.arange(256, dtype=np.uint8)[:, np.newaxis], axis=1).sum(
    axis=1, dtype=np.uint8
)
_count_bits: Callable[[Packed], Packed] = getattr(np, "bitwise_count", _look_up)  # since 2.0


def squared_norms(rows: Exact) -> Exact:
    """The squared length of each row, shape (n, dimension) -> (n,)."""
    squared: Exact = np.einsum("ij,ij->i", rows, rows)
    return squared


def norm(query: Vector) -> float:
    """The length of a vector."""
    return float(np.linalg.norm(query.astype(np.float64)))
