"""What sparse, full-text and hybrid searches promise, for the stores that have them."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from math import atan, pi
from typing import Any

import pytest

from ragbridge.documents import Chunk
from ragbridge.embeddings import Embedding, HybridVector, SparseVector
from ragbridge.errors import InvalidEmbeddingError, InvalidQueryError
from ragbridge.filters import where
from ragbridge.stores.base import (
    Leg,
    Ranker,
    RRFRanker,
    SimilarityMetric,
    VectorEntry,
    VectorMatch,
    VectorStore,
    VectorStoreQuery,
    WeightedRanker,
)
from ragbridge.testing._reference import ReferenceVectorStore
from ragbridge.testing._suite.base import StoreSuite
from ragbridge.testing._suite.samples import (
    NASTY_TEXTS,
    assert_ranked,
    assert_same_rows,
    ids_of,
    make_entry,
    stored_rows,
)

__all__ = ["FullTextTests", "HybridTests", "SparseTests"]


class SparseTests(StoreSuite):
    """Rows with sparse vectors alone; the score is the inner product."""

    ROWS = (
        make_entry("a", SparseVector([1, 5], [1.0, 2.0]), metadata={"n": 1}),
        make_entry("b", SparseVector([1], [0.5]), metadata={"n": 2}),
        make_entry("c", SparseVector([5, 2**32 - 2], [0.25, 8.0]), metadata={"n": 3}),
        make_entry("none", SparseVector([7], [1.0])),
        make_entry("gone", SparseVector([1], [9.0]), deleted=True),
    )

    def search(
        self, store: VectorStore, weights: dict[int, float], **query: Any
    ) -> list[VectorMatch]:
        """The matches for a sparse query vector."""
        return store.query(VectorStoreQuery(embedding=SparseVector.from_dict(weights), **query))

    def test_sparse_scores(self, store: VectorStore) -> None:
        store.add(self.ROWS)
        assert_ranked(self.search(store, {1: 2.0, 5: 1.0}), {"a": 4.0, "b": 1.0, "c": 0.25})
        assert_ranked(self.search(store, {2**32 - 2: 0.5}), {"c": 4.0})

    def test_sparse_rows_that_share_nothing_are_no_matches(self, store: VectorStore) -> None:
        store.add(self.ROWS)
        assert self.search(store, {0: 1.0, 6: 1.0}, top_k=-1) == []

    @pytest.mark.parametrize(
        "restriction",
        [
            {},
            {"top_k": 1},
            {"top_k": -1},
            {"min_score": 0.5},
            {"filters": where("n") > 1},
            {"include_deleted": True},
        ],
        ids=str,
    )
    def test_queries_may_have_negative_weights(
        self, store: VectorStore, restriction: dict[str, Any]
    ) -> None:
        reference = ReferenceVectorStore()
        store.add(self.ROWS)
        reference.add(self.ROWS)
        for weights in ({1: 2.0, 5: -0.25}, {1: -1.0, 5: 1.0}, {5: 1.0, 7: -1.0}, {1: -1.0}):
            wanted = self.search(reference, weights, **restriction)
            found = self.search(store, weights, **restriction)
            assert_ranked(found, {match.id: match.similarity_score for match in wanted})

    def test_what_scores_nothing_is_no_match(self, store: VectorStore) -> None:
        store.add(self.ROWS)
        assert_ranked(self.search(store, {1: 2.0, 5: -1.0}, top_k=-1), {"b": 1.0})
        assert self.search(store, {1: -1.0, 5: -1.0}, top_k=-1) == []
        queries = [
            VectorStoreQuery(embedding=SparseVector([1, 5], weights))
            for weights in ([2.0, -1.0], [2.0, 1.0], [-1.0, -1.0])
        ]
        found = [ids_of(matches) for matches in store.query_many(queries)]
        assert found == [["b"], ["a", "b", "c"], []]

    def test_sparse_restrictions(self, store: VectorStore) -> None:
        store.add(self.ROWS)
        weights = {1: 2.0, 5: 1.0}
        assert ids_of(self.search(store, weights, top_k=2)) == ["a", "b"]
        assert ids_of(self.search(store, weights, min_score=1.0)) == ["a", "b"]
        assert ids_of(self.search(store, weights, filters=where("n") > 1)) == ["b", "c"]
        assert ids_of(self.search(store, weights, ids=["c", "none"])) == ["c"]
        assert ids_of(self.search(store, weights, include_deleted=True))[0] == "gone"

    def test_sparse_vectors_come_back(self, store: VectorStore) -> None:
        store.add(self.ROWS)
        assert_same_rows(stored_rows(store), sorted(self.ROWS, key=lambda row: row.id or ""))
        found = self.search(store, {5: 1.0}, include_embeddings=True)
        assert_same_rows(found, [self.ROWS[0], self.ROWS[2]])

    @pytest.mark.parametrize(
        "vector",
        [
            pytest.param(SparseVector([], []), id="empty"),
            pytest.param(SparseVector([1], [0.0]), id="zero"),
            pytest.param(SparseVector([1, 2], [1.0, -1.0]), id="negative"),
            pytest.param([1.0, 0.0, 0.0, 0.0], id="dense"),
            pytest.param(None, id="none"),
        ],
    )
    def test_sparse_rows_need_positive_weights(self, store: VectorStore, vector: Any) -> None:
        store.add(self.ROWS[:1])
        with pytest.raises(InvalidEmbeddingError, match="wrong"):
            store.add([self.ROWS[1], make_entry("wrong", vector)])
        assert store.count() == 1

    def test_sparse_upserts_and_deletes(self, store: VectorStore) -> None:
        store.add(self.ROWS)
        store.add([make_entry("a", SparseVector([9], [1.0]))])
        store.delete("b")
        assert ids_of(self.search(store, {1: 1.0, 5: 1.0, 9: 1.0})) == ["a", "c"]


class FullTextTests(StoreSuite):
    """Full-text search over rows that have dense vectors too."""

    ROWS = (
        make_entry("a", text="Zebras graze near rivers.", metadata={"n": 1}, document_id="d1"),
        make_entry("b", text="zebras, zebras and more zebras", metadata={"n": 2}),
        make_entry("c", text="Rivers run into lakes", metadata={"n": 3}, document_id="d1"),
        make_entry("d", text="Nothing of interest here", metadata={"n": 4}),
        make_entry("e", text="Über Straßen und Žižkov"),
        make_entry("gone", text="zebras zebras zebras", deleted=True),
        VectorEntry(
            id="bytes", embedding=[1.0, 0.0, 0.0, 0.0], chunk=Chunk(content=b"zebras rivers")
        ),
    )

    def search(self, store: VectorStore, text: str, **query: Any) -> list[VectorMatch]:
        """The matches for a text."""
        return store.query(VectorStoreQuery(text=text, **query))

    @pytest.mark.parametrize(
        ("text", "found"),
        [
            ("zebras", "ab"),
            ("ZEBRAS!", "ab"),
            ("zebras rivers", "abc"),
            ("rivers lakes unicorns", "ac"),
            ("unicorns", ""),
            ("zeb", ""),
            ("", ""),
            (" .,;! ", ""),
            ("über", "e"),
            ("straßen", "e"),
        ],
    )
    def test_full_text_finds_rows_with_any_of_the_words(
        self, store: VectorStore, text: str, found: str
    ) -> None:
        store.add(self.ROWS)
        assert {match.id for match in self.search(store, text, top_k=-1)} == set(found)

    def test_full_text_ranks_better_matches_higher(self, store: VectorStore) -> None:
        store.add(self.ROWS)
        matches = self.search(store, "zebras rivers")
        assert matches[0].id == "a", "both words beat one"
        scores = [match.similarity_score for match in matches]
        assert scores == sorted(scores, reverse=True)
        assert scores[-1] > 0
        assert ids_of(self.search(store, "lakes zebras"))[0] == "c", "rare words weigh more"

    def test_full_text_restrictions(self, store: VectorStore) -> None:
        store.add(self.ROWS)
        assert ids_of(self.search(store, "zebras", filters=where("n") == 2)) == ["b"]
        assert ids_of(self.search(store, "zebras", ids=["a", "d"])) == ["a"]
        assert ids_of(self.search(store, "zebras", document_ids=["d1"])) == ["a"]
        assert self.search(store, "zebras", ids=[]) == []
        assert len(self.search(store, "zebras", top_k=1)) == 1
        best = self.search(store, "zebras")[0]
        assert ids_of(self.search(store, "zebras", min_score=best.similarity_score)) == [best.id]
        with_deleted = self.search(store, "zebras", include_deleted=True)
        assert {match.id for match in with_deleted} == {"a", "b", "gone"}

    def test_full_text_sees_every_write(self, store: VectorStore) -> None:
        assert self.search(store, "zebras") == []
        store.add(self.ROWS)
        store.add([make_entry("d", text="zebras"), make_entry("a", text="horses")])
        assert {match.id for match in self.search(store, "zebras")} == {"b", "d"}
        store.delete("b")
        assert ids_of(self.search(store, "zebras")) == ["d"]
        store.delete_by_filter(ids=["d"])
        assert self.search(store, "zebras") == []
        store.clear()
        assert self.search(store, "horses") == []
        store.add(self.ROWS[:1])
        assert ids_of(self.search(store, "rivers")) == ["a"]

    def test_full_text_takes_any_text(self, store: VectorStore) -> None:
        store.add(self.ROWS)
        for text in NASTY_TEXTS:
            assert self.search(store, text) == [], f"{text!r} is in no row"


ROWS = tuple(
    make_entry(
        f"r{n}",
        HybridVector(
            [1.0, 0.1 * n, 0.0, 0.0], SparseVector([1, 2 + n], [1.0 + n % 4 + n / 10, 1.0])
        ),
        text=" ".join(["zebra"] * (n % 3 + 1) + ["filler"] * (2 * n + 1)),
        metadata={"n": n},
        deleted=n == 4,
    )
    for n in range(8)
)

PARTS: Mapping[Leg, Any] = {
    Leg.DENSE: [1.0, 0.2, 0.0, 0.0],
    Leg.SPARSE: SparseVector([1, 4], [1.0, 0.5]),
    Leg.FULL_TEXT: "zebra",
}

COMBINATIONS = [legs for size in (2, 3) for legs in combinations(PARTS, size)]


NEGATIVE: Mapping[Leg, Any] = {**PARTS, Leg.SPARSE: SparseVector([1, 4], [1.0, -4.0])}
"""With a negative weight, for which one of the rows is no match."""


def hybrid_query(
    legs: Sequence[Leg], parts: Mapping[Leg, Any] = PARTS, **query: Any
) -> VectorStoreQuery:
    """A query with these legs."""
    dense, sparse = (parts[leg] if leg in legs else None for leg in (Leg.DENSE, Leg.SPARSE))
    embedding: Embedding | None = dense or sparse
    if dense and sparse:
        embedding = HybridVector(dense, sparse)
    text = parts[Leg.FULL_TEXT] if Leg.FULL_TEXT in legs else None
    return VectorStoreQuery(embedding=embedding, text=text, **query)


def fused(
    store: VectorStore, legs: Sequence[Leg], ranker: Ranker, limit: int = -1, **query: Any
) -> dict[str | None, float]:
    """The scores that a hybrid search must give, from the store's answers to each leg alone."""
    scores: dict[str | None, float] = {}
    for place, leg in enumerate(legs):
        alone = store.query(hybrid_query([leg], top_k=limit, **query))
        for rank, match in enumerate(alone, start=1):
            if isinstance(ranker, RRFRanker):
                part = 1 / (ranker.k + rank)
            else:
                part = ranker.weights[place] * normalized(leg, match.similarity_score, store.metric)
            scores[match.id] = scores.get(match.id, 0.0) + part
    return scores


def normalized(leg: Leg, score: float, metric: SimilarityMetric) -> float:
    """A leg's score in [0, 1], as Milvus maps it."""
    if leg is Leg.FULL_TEXT:
        return 2 * atan(score) / pi
    if leg is Leg.DENSE and metric is SimilarityMetric.COSINE:
        return (1 + score) / 2
    if leg is Leg.DENSE and metric is SimilarityMetric.EUCLIDEAN:
        return 1 - 2 * atan((1 / score - 1) ** 2) / pi
    return 0.5 + atan(score) / pi


@pytest.mark.parametrize("legs", COMBINATIONS, ids="-".join)
class HybridTests(StoreSuite):
    """Several legs at once, over rows with dense and sparse vectors and text."""

    def test_reciprocal_rank_fusion(self, store: VectorStore, legs: Sequence[Leg]) -> None:
        store.add(ROWS)
        for k in (60, 1):
            wanted = fused(store, legs, RRFRanker(k))
            for top_k in (3, 10, -1):
                found = store.query(hybrid_query(legs, ranker=RRFRanker(k), top_k=top_k))
                assert_ranked(found, wanted, top_k)

    def test_weighted_fusion(self, store: VectorStore, legs: Sequence[Leg]) -> None:
        store.add(ROWS)
        for weights in ([0.7, 0.3, 0.5], [1.0, 0.0, 0.0]):
            ranker = WeightedRanker(weights[: len(legs)])
            wanted = fused(store, legs, ranker)
            assert_ranked(store.query(hybrid_query(legs, ranker=ranker)), wanted, 10)

    def test_fusion_of_filtered_legs(self, store: VectorStore, legs: Sequence[Leg]) -> None:
        store.add(ROWS)
        for restriction in (
            {"filters": where("n") > 2},
            {"ids": ["r0", "r3", "r4", "r7"]},
            {"include_deleted": True},
        ):
            wanted = fused(store, legs, RRFRanker(), **restriction)
            assert_ranked(store.query(hybrid_query(legs, **restriction)), wanted, 10)

    def test_fusion_of_negative_weights(self, store: VectorStore, legs: Sequence[Leg]) -> None:
        store.add(ROWS)
        alone = store.query(hybrid_query([Leg.SPARSE], NEGATIVE))
        assert {match.id for match in alone} == {f"r{n}" for n in (0, 1, 3, 5, 6, 7)}
        wanted = fused(store, legs, RRFRanker(), parts=NEGATIVE)
        assert_ranked(store.query(hybrid_query(legs, NEGATIVE)), wanted, 10)

    def test_candidates_per_leg(self, store: VectorStore, legs: Sequence[Leg]) -> None:
        store.add(ROWS)
        wanted = fused(store, legs, RRFRanker(), limit=2)
        found = store.query(hybrid_query(legs, leg_top_k=dict.fromkeys(legs, 2)))
        assert_ranked(found, wanted, 10)

    def test_min_score_of_a_fused_search(self, store: VectorStore, legs: Sequence[Leg]) -> None:
        store.add(ROWS)
        every = store.query(hybrid_query(legs))
        best = [match for match in every if match.similarity_score >= every[2].similarity_score]
        found = store.query(hybrid_query(legs, min_score=every[2].similarity_score))
        assert_same_rows(found, best, embeddings=False)

    def test_weights_must_fit_the_legs(self, store: VectorStore, legs: Sequence[Leg]) -> None:
        store.add(ROWS)
        with pytest.raises(InvalidQueryError, match="weights"):
            store.query(hybrid_query(legs, ranker=WeightedRanker([0.5])))

    def test_query_many_takes_hybrid_queries(self, store: VectorStore, legs: Sequence[Leg]) -> None:
        store.add(ROWS)
        queries = [hybrid_query(legs), hybrid_query(legs, top_k=2), hybrid_query(legs[:1])]
        for answer, query in zip(store.query_many(queries), queries, strict=True):
            assert_same_rows(answer, store.query(query))
