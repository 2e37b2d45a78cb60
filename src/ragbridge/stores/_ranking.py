"""Fusing ranked lists, and re-ranking for diversity."""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import atan, inf, isfinite, pi
from typing import Any, Final, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from ragbridge.errors import InvalidQueryError, shorten


@dataclass(frozen=True, slots=True)
class RRFRanker:
    """Reciprocal rank fusion: the sum over the legs of 1 / (k + rank), ranks from 1.

    Source: Cormack, Clarke and Büttcher, "Reciprocal Rank Fusion Outperforms Condorcet and
    Individual Rank Learning Methods", SIGIR 2009.

    Raises:
        InvalidQueryError: k is no positive finite number.
    """

    k: float = 60

    def __post_init__(self) -> None:
        if not _is_number(self.k) or self.k <= 0:
            raise InvalidQueryError(f"k must be a positive number, not {shorten(self.k)}")


@dataclass(frozen=True, slots=True, init=False)
class WeightedRanker:
    """The weighted sum of the legs' scores, each normalised to [0, 1] as Milvus does.

    Scores of binary vectors lie there already, and are taken as they are.

    Attributes:
        weights: One for each leg of the query, in the order dense, sparse, full text; each in [0, 1].

    Raises:
        InvalidQueryError: no weights, or one outside [0, 1].
    """

    weights: tuple[float, ...]

    def __init__(self, weights: Sequence[float]) -> None:
        given: Any = weights
        if isinstance(given, str | bytes) or not hasattr(given, "__iter__"):
            raise InvalidQueryError(f"weights must be a list of numbers, not {shorten(weights)}")
        checked = tuple(given)
        if not checked or not all(_is_number(weight) and 0 <= weight <= 1 for weight in checked):
            raise InvalidQueryError(f"weights must lie in [0, 1], not {shorten(weights)}")
        object.__setattr__(self, "weights", tuple(float(weight) for weight in checked))


Ranker: TypeAlias = RRFRanker | WeightedRanker

Row = TypeVar("Row", bound=Hashable)


def best_first(
    hits: Iterable[tuple[Row, float]], top_k: int, id_of: Callable[[Row], str]
) -> list[tuple[Row, float]]:
    """The `top_k` best of `hits` (-1: all), best first, equal scores in the order of their ids."""
    ordered = sorted(hits, key=lambda hit: (-hit[1], id_of(hit[0])))
    return ordered if top_k == -1 else ordered[:top_k]


def fuse(
    ranker: Ranker, legs: Sequence[Sequence[tuple[Row, float]]], scales: Sequence[str]
) -> dict[Row, float]:
    """The fused score of every row that any leg found.

    Args:
        ranker: How ranks or scores become one score. A row that a leg did not find gets nothing
            from that leg.
        legs: For each leg of the query its hits, best first, as pairs of row and similarity score.
        scales: For each leg what its scores are; see `normalize_score`.
    """
    fused: dict[Row, float] = {}
    for position, hits in enumerate(legs):
        for rank, (row, score) in enumerate(hits, start=1):
            if isinstance(ranker, RRFRanker):
                part = 1.0 / (ranker.k + rank)
            else:
                part = ranker.weights[position] * normalize_score(score, scales[position])
            fused[row] = fused.get(row, 0.0) + part
    return fused


def normalize_score(score: float, scale: str) -> float:
    """A leg's similarity score mapped to [0, 1], as Milvus' WeightedRanker maps it; see there.

    Args:
        score: The score.
        scale: What it is: the store's metric for a dense leg, the leg's own name for the others.
    """
    return _NORMALIZERS[scale](score)


def _normalize_cosine(score: float) -> float:
    return (1.0 + score) / 2.0


def _normalize_inner_product(score: float) -> float:
    return 0.5 + atan(score) / pi


def _normalize_euclidean(score: float) -> float:
    # Milvus' L2 is the squared distance; ours is 1 / (1 + distance).
    distance = 1.0 / score - 1.0 if score else inf
    return 1.0 - 2.0 * atan(distance * distance) / pi


def _normalize_bm25(score: float) -> float:
    return 2.0 * atan(score) / pi


_NORMALIZERS: Final[Mapping[str, Callable[[float], float]]] = {
    "cosine": _normalize_cosine,
    "dot_product": _normalize_inner_product,
    "euclidean": _normalize_euclidean,
    "hamming": float,
    "jaccard": float,
    "sparse": _normalize_inner_product,
    "full_text": _normalize_bm25,
}


def maximal_marginal_relevance(
    query: Any, candidates: Any, k: int = 4, lambda_mult: float = 0.5
) -> list[int]:
    """Positions of `k` candidates that are like the query and unlike one another, best first.

    Args:
        query: The query vector, shape (dimension,).
        candidates: The vectors to choose from, shape (n, dimension).
        k: How many to choose; all of them where there are fewer.
        lambda_mult: 1.0 weighs only likeness to the query, 0.0 only difference from those chosen.

    Returns:
        Row numbers of `candidates`. Likeness is the cosine; equal gains go to the earlier row.

    Source: Carbonell and Goldstein, "The Use of MMR, Diversity-Based Reranking for Reordering
    Documents and Producing Summaries", SIGIR 1998.

    Raises:
        InvalidQueryError: k is below 1, lambda_mult outside [0, 1], or dimensions differ.
    """
    if not isinstance(k, int | np.integer) or isinstance(k, bool) or k < 1:
        raise InvalidQueryError(f"k must be a positive integer, not {shorten(k)}")
    if not _is_number(lambda_mult) or not 0 <= lambda_mult <= 1:
        raise InvalidQueryError(f"lambda_mult must lie in [0, 1], not {shorten(lambda_mult)}")
    matrix, unit_query = _unit_rows(candidates), _unit_rows([query])
    if not len(matrix):
        return []
    if matrix.shape[1] != unit_query.shape[1]:
        raise InvalidQueryError(
            f"candidates have dimension {matrix.shape[1]}, but the query has {unit_query.shape[1]}"
        )
    relevance = matrix @ unit_query[0]
    chosen = [int(np.argmax(relevance))]
    redundancy = matrix @ matrix[chosen[0]]
    while len(chosen) < min(k, len(matrix)):
        gain = lambda_mult * relevance - (1 - lambda_mult) * redundancy
        gain[chosen] = -np.inf
        chosen.append(int(np.argmax(gain)))
        np.maximum(redundancy, matrix @ matrix[chosen[-1]], out=redundancy)
    return chosen


def _unit_rows(rows: Any) -> NDArray[np.float64]:
    try:
        matrix = np.atleast_2d(np.asarray(rows, dtype=np.float64))
    except (TypeError, ValueError) as error:
        raise InvalidQueryError("vectors must be numbers, and of one dimension") from error
    if not matrix.size:
        return np.empty((0, 0))
    norms = np.linalg.norm(matrix, axis=1, keepdims=True)
    unit: NDArray[np.float64] = matrix / np.where(norms == 0, 1.0, norms)
    return unit


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
