"""Exact scores of dense vectors, which every store means and some compute themselves."""

import numpy as np
from numpy.typing import NDArray

from ragbridge.embeddings import Vector
from ragbridge.stores.base import SimilarityMetric

Matrix = NDArray[np.float32]
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


def squared_norms(rows: Exact) -> Exact:
    """The squared length of each row, shape (n, dimension) -> (n,)."""
    squared: Exact = np.einsum("ij,ij->i", rows, rows)
    return squared


def norm(query: Vector) -> float:
    """The length of a vector."""
    return float(np.linalg.norm(query.astype(np.float64)))
