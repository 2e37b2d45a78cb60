"""How dense rows are scored: roughly for all of them in float32, exactly for the candidates.

A rough score orders rows as the exact one does, up to a rounding error that is bounded by `slack`.
Candidates are taken with that much to spare and scored again in float64: equal vectors get equal
scores wherever they lie, and near duplicates are told apart by distance and not by rounding.
"""

import numpy as np

from ragbridge.embeddings import Vector
from ragbridge.stores._scoring import Exact, Matrix, norm
from ragbridge.stores.base import SimilarityMetric

_UNIT_ROUNDOFF = 2.0**-24  # of float32


def prepare(metric: SimilarityMetric, query: Vector) -> Vector:
    """The query that rows are multiplied with; under COSINE one of length 1."""
    if metric is not SimilarityMetric.COSINE:
        return query
    exact = query.astype(np.float64)
    return (exact / np.linalg.norm(exact)).astype(np.float32)


def aids(metric: SimilarityMetric, squared: Exact) -> Vector:
    """What rough scores need besides the inner product, one number for each row.

    The inverse norm under COSINE, half the squared norm under EUCLIDEAN.

    Args:
        metric: The metric.
        squared: Squared norms of the rows.
    """
    if metric is SimilarityMetric.COSINE:
        return (1.0 / np.sqrt(squared)).astype(np.float32)
    return (squared / 2.0).astype(np.float32)


def rough(metric: SimilarityMetric, products: Matrix, aids: Vector) -> Matrix:
    """Rough scores from inner products of shape (..., n), which they replace.

    Cosines, inner products, or half of what the squared norm of the query exceeds the squared
    distance by.
    """
    if metric is SimilarityMetric.COSINE:
        products *= aids
    if metric is SimilarityMetric.EUCLIDEAN:
        with np.errstate(over="ignore"):  # minus infinity is as far as it gets
            products -= aids
    return products


def rough_of(metric: SimilarityMetric, score: float, query: Vector) -> float:
    """The rough score that stands for an exact one."""
    if metric is not SimilarityMetric.EUCLIDEAN:
        return score
    if score <= 0:
        return -np.inf
    length, distance = norm(query), 1.0 / score - 1.0
    return (length * length - distance * distance) / 2.0


def slack(metric: SimilarityMetric, query: Vector, largest_norm: float) -> float:
    """How far a rough score may be from what it stands for, among rows up to this norm.

    The bound for sums of float32 products in any order (Higham, "Accuracy and Stability of Numerical
    Algorithms", section 3.1), twice since norms are such sums too, and some more for other steps.
    """
    error = (2 * len(query) + 8) * _UNIT_ROUNDOFF
    if metric is SimilarityMetric.COSINE:
        return error
    if metric is SimilarityMetric.DOT_PRODUCT:
        return error * largest_norm * norm(query)
    return error * largest_norm * (norm(query) + largest_norm)
