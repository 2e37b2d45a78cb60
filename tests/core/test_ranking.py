"""Rankers, fusion and maximal marginal relevance."""

from math import atan, inf, nan, pi

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragbridge.errors import InvalidQueryError
from ragbridge.stores._ranking import best_first, fuse, normalize_score
from ragbridge.stores.base import (
    RRFRanker,
    SimilarityMetric,
    WeightedRanker,
    maximal_marginal_relevance,
)


def test_rankers_are_values():
    assert RRFRanker() == RRFRanker(60)
    assert RRFRanker(1.5).k == 1.5
    assert WeightedRanker([1, 0.5]).weights == (1.0, 0.5)
    assert WeightedRanker(np.array([0.5, 0.25])) == WeightedRanker((0.5, 0.25))
    assert hash(WeightedRanker([1])) == hash(WeightedRanker((1.0,)))


@pytest.mark.parametrize("k", [0, -1, nan, inf, None, "60", True, [60]])
def test_bad_k_is_refused(k):
    with pytest.raises(InvalidQueryError, match="k must be"):
        RRFRanker(k)


@pytest.mark.parametrize(
    "weights", [[], [1.1], [-0.1], [nan], ["1"], [True], [None], "11", 1, None]
)
def test_bad_weights_are_refused(weights):
    with pytest.raises(InvalidQueryError, match="weights"):
        WeightedRanker(weights)


def test_best_first_breaks_ties_by_id():
    hits = [(1, 0.5), (2, 0.9), (3, 0.5), (4, 0.1)]
    names = {1: "z", 2: "m", 3: "a", 4: "b"}.__getitem__
    assert best_first(hits, -1, names) == [(2, 0.9), (3, 0.5), (1, 0.5), (4, 0.1)]
    assert best_first(hits, 2, names) == [(2, 0.9), (3, 0.5)]
    assert best_first([], 5, names) == []


def test_reciprocal_ranks_are_summed():
    legs = [[("a", 9.0), ("b", 8.0)], [("b", 0.3), ("c", 0.2)]]
    assert fuse(RRFRanker(), legs, ["cosine", "full_text"]) == {
        "a": 1 / 61,
        "b": 1 / 62 + 1 / 61,
        "c": 1 / 62,
    }
    assert fuse(RRFRanker(1), legs, ["cosine", "full_text"])["a"] == 1 / 2


def test_weights_apply_to_normalised_scores():
    legs = [[("a", 1.0), ("b", 0.0)], [("b", 1.0)]]
    fused = fuse(WeightedRanker([0.5, 1.0]), legs, ["cosine", "full_text"])
    assert fused == pytest.approx({"a": 0.5, "b": 0.25 + 0.5})


@pytest.mark.parametrize(
    ("scale", "score", "normal"),
    [
        ("cosine", 1.0, 1.0),
        ("cosine", -1.0, 0.0),
        ("cosine", 0.5, 0.75),
        ("dot_product", 0.0, 0.5),
        ("dot_product", 1.0, 0.75),
        ("dot_product", -1.0, 0.25),
        ("sparse", 1.0, 0.75),
        ("full_text", 1.0, 0.5),
        ("full_text", 0.0, 0.0),
        ("euclidean", 1.0, 1.0),
        ("euclidean", 0.5, 0.5),
        ("euclidean", 1 / 3, 1 - 2 * atan(4) / pi),
        ("euclidean", 0.0, 0.0),
        ("hamming", 0.75, 0.75),
        ("jaccard", 0.25, 0.25),
    ],
)
def test_scores_are_normalised_as_milvus_does(scale, score, normal):
    assert normalize_score(score, scale) == pytest.approx(normal)


@pytest.mark.parametrize(
    ("metric", "scores"),
    [
        (SimilarityMetric.COSINE, {-1.0: 0.0, 0.0: 0.5, 1.0: 1.0, 1.0000001: 1.0}),
        (SimilarityMetric.DOT_PRODUCT, {-1.0: 0.0, 0.0: 0.5, 1.0: 1.0, 7.0: 1.0, -7.0: 0.0}),
        (SimilarityMetric.EUCLIDEAN, {0.0: 0.0, 0.25: 0.25, 1.0: 1.0}),
        (SimilarityMetric.HAMMING, {0.0: 0.0, 0.25: 0.25, 1.0: 1.0}),
        (SimilarityMetric.JACCARD, {0.0: 0.0, 0.25: 0.25, 1.0: 1.0}),
    ],
)
def test_relevance_lies_in_the_unit_interval(metric, scores):
    for score, relevance in scores.items():
        assert metric.relevance(score) == pytest.approx(relevance)


# A query, its twin, a near copy of the twin, and something else that is still alike.
QUERY = [1.0, 0.0]
CANDIDATES = [[1.0, 0.0], [0.99, 0.01], [0.7, 0.7], [0.0, 1.0]]


def test_mmr_prefers_difference_the_lower_lambda_is():
    assert maximal_marginal_relevance(QUERY, CANDIDATES, k=4, lambda_mult=1.0) == [0, 1, 2, 3]
    assert maximal_marginal_relevance(QUERY, CANDIDATES, k=2, lambda_mult=0.0) == [0, 3]
    assert maximal_marginal_relevance(QUERY, CANDIDATES, k=2, lambda_mult=0.4) == [0, 3]
    assert maximal_marginal_relevance(QUERY, CANDIDATES, k=2, lambda_mult=0.9) == [0, 1]


def test_mmr_worked_out_by_hand():
    candidates = [[3.0, 4.0], [4.0, 3.0], [0.0, 2.0]]  # cosines 0.6, 0.8, 0 with the query
    # First the best, 1. Then 0.5 * 0.6 - 0.5 * 0.96 = -0.18 against 0.5 * 0 - 0.5 * 0.6 = -0.3.
    assert maximal_marginal_relevance(QUERY, candidates, k=3) == [1, 0, 2]
    # With 0.3: 0.18 - 0.672 = -0.492 against 0 - 0.42.
    assert maximal_marginal_relevance(QUERY, candidates, k=3, lambda_mult=0.3) == [1, 2, 0]


def test_mmr_takes_what_there_is():
    assert maximal_marginal_relevance(QUERY, [], k=3) == []
    assert maximal_marginal_relevance(QUERY, [[0.0, 1.0]], k=3) == [0]
    assert maximal_marginal_relevance(QUERY, [[1.0, 0.0]] * 3, k=2) == [0, 1]
    assert maximal_marginal_relevance([0.0, 0.0], CANDIDATES, k=1) == [0]
    assert maximal_marginal_relevance(QUERY, [[0.0, 0.0], [1.0, 0.0]], k=2) == [1, 0]
    assert maximal_marginal_relevance(QUERY, CANDIDATES) == maximal_marginal_relevance(
        np.array(QUERY), np.array(CANDIDATES, dtype=np.float32), k=4, lambda_mult=0.5
    )


@given(
    st.lists(st.tuples(*[st.floats(-10, 10, width=32)] * 3), max_size=8),
    st.integers(1, 10),
    st.floats(0, 1),
)
def test_mmr_chooses_each_at_most_once_and_the_best_first(candidates, k, lambda_mult):
    query = [1.0, 2.0, 3.0]
    chosen = maximal_marginal_relevance(query, candidates, k=k, lambda_mult=lambda_mult)
    assert len(chosen) == len(set(chosen)) == min(k, len(candidates))
    if chosen:
        matrix = np.asarray(candidates, dtype=np.float64)
        norms = np.linalg.norm(matrix, axis=1)
        cosines = matrix @ np.asarray(query) / np.where(norms == 0, 1, norms)
        assert cosines[chosen[0]] == pytest.approx(cosines.max())


@pytest.mark.parametrize("k", [0, -1, None, "4", 1.5, True])
def test_mmr_refuses_bad_k(k):
    with pytest.raises(InvalidQueryError, match="k must be"):
        maximal_marginal_relevance(QUERY, CANDIDATES, k=k)


@pytest.mark.parametrize("lambda_mult", [-0.1, 1.1, nan, None, "0.5", True])
def test_mmr_refuses_bad_lambda(lambda_mult):
    with pytest.raises(InvalidQueryError, match="lambda_mult"):
        maximal_marginal_relevance(QUERY, CANDIDATES, lambda_mult=lambda_mult)


@pytest.mark.parametrize(
    ("query", "candidates"),
    [([1.0], CANDIDATES), ([], CANDIDATES), (QUERY, [[1.0, 2.0, 3.0]]), (QUERY, [[1.0], [1, 2]])],
)
def test_mmr_refuses_vectors_that_do_not_fit(query, candidates):
    with pytest.raises(InvalidQueryError, match="dimension"):
        maximal_marginal_relevance(query, candidates)
