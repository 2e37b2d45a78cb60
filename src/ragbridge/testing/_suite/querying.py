"""What `query` and `query_many` promise for dense vectors, filters and restrictions."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragbridge.embeddings import SparseVector
from ragbridge.errors import InvalidEmbeddingError, InvalidQueryError, UnsupportedQueryError
from ragbridge.filters import where
from ragbridge.stores.base import (
    Capability,
    Leg,
    SimilarityMetric,
    VectorEntry,
    VectorMatch,
    VectorStore,
    VectorStoreQuery,
)
from ragbridge.testing._reference import ReferenceVectorStore
from ragbridge.testing._suite.base import StoreSuite
from ragbridge.testing._suite.samples import (
    DIMENSION,
    assert_ranked,
    assert_same_rows,
    ids_of,
    make_entry,
)

__all__ = ["QueryTests", "ScoreTests"]

EAST = [1.0, 0.0, 0.0, 0.0]

# Six rows on an arc from EAST on, so that "a" is best, then "b", ... under every metric.
ARC = [
    make_entry("a", [1.0, 0.0, 0.0, 0.0], document_id="d1", metadata={"n": 1, "kind": "odd"}),
    make_entry("b", [0.9, 0.1, 0.0, 0.0], document_id="d1", metadata={"n": 2, "kind": "even"}),
    make_entry("c", [0.8, 0.2, 0.0, 0.0], document_id="d2", metadata={"n": 3, "kind": "odd"}),
    make_entry("d", [0.7, 0.3, 0.0, 0.0], document_id="d2", metadata={"n": 4, "kind": "even"}),
    make_entry("e", [0.6, 0.4, 0.0, 0.0], metadata={"n": 5, "kind": "odd"}),
    make_entry("gone", [1.0, 0.0, 0.0, 0.0], document_id="d1", metadata={"n": 1}, deleted=True),
]


def ask(store: VectorStore, vector: Any = EAST, **query: Any) -> list[VectorMatch]:
    """The matches for a dense query vector."""
    return store.query(VectorStoreQuery(embedding=vector, **query))


def right_scores(
    store: VectorStore, rows: list[VectorEntry], **query: Any
) -> dict[str | None, float]:
    """The score of every row that the query may find, from the brute-force reference."""
    reference = ReferenceVectorStore(metric=store.metric)
    reference.add(rows)
    found = reference.query(VectorStoreQuery(**{**query, "top_k": -1}))
    return {match.id: match.similarity_score for match in found}


class ScoreTests(StoreSuite):
    """Scores and their order under the store's metric; run it once for each metric served."""

    def test_scores_worked_out_by_hand(self, store: VectorStore) -> None:
        store.add(
            [
                make_entry("same", [3.0, 4.0, 0.0, 0.0]),
                make_entry("half", [1.5, 2.0, 0.0, 0.0]),
                make_entry("right-angle", [4.0, -3.0, 0.0, 0.0]),
                make_entry("opposite", [-3.0, -4.0, 0.0, 0.0]),
            ]
        )
        wanted = {
            SimilarityMetric.COSINE: [1.0, 1.0, 0.0, -1.0],
            SimilarityMetric.DOT_PRODUCT: [25.0, 12.5, 0.0, -25.0],
            SimilarityMetric.EUCLIDEAN: [1.0, 1 / 3.5, 1 / (1 + 50**0.5), 1 / 11],
        }[store.metric]
        ids = ["same", "half", "right-angle", "opposite"]
        assert_ranked(
            ask(store, [3.0, 4.0, 0.0, 0.0]), dict(zip(ids, wanted, strict=True)), top_k=10
        )

    @pytest.mark.parametrize("scale", [1e-18, 1e-3, 1.0, 300.0, 1e18])
    def test_scores_agree_with_float64(self, store: VectorStore, scale: float) -> None:
        random = np.random.default_rng(7)
        vectors = scale * random.standard_normal((60, DIMENSION))
        rows = [make_entry(f"{n:02}", vector) for n, vector in enumerate(vectors.tolist())]
        store.add(rows)
        for vector in (vectors[3], -vectors[4], scale * random.standard_normal(DIMENSION)):
            scores = right_scores(store, rows, embedding=vector)
            for top_k in (1, 7, 60, 100, -1):
                assert_ranked(ask(store, vector, top_k=top_k), scores, top_k)

    def test_random_vectors_agree_with_the_reference(self, store: VectorStore) -> None:
        numbers = st.floats(-100, 100, width=32).filter(lambda x: x == 0 or abs(x) > 1e-3)
        vectors = st.lists(numbers, min_size=DIMENSION, max_size=DIMENSION).filter(any)

        @given(st.lists(vectors, min_size=1, max_size=20), vectors, st.integers(1, 20))
        def check(stored: list[list[float]], vector: list[float], top_k: int) -> None:
            rows = [make_entry(f"{n:02}", values) for n, values in enumerate(stored)]
            store.clear()
            store.add(rows)
            scores = right_scores(store, rows, embedding=vector)
            assert_ranked(ask(store, vector, top_k=top_k), scores, top_k)

        check()

    def test_min_score_is_inclusive(self, store: VectorStore) -> None:
        store.add(ARC)
        scores = [match.similarity_score for match in ask(store)]
        for place, score in enumerate(scores, start=1):
            assert ids_of(ask(store, min_score=score)) == list("abcde")[:place]
        assert ids_of(ask(store, min_score=scores[2], top_k=2)) == ["a", "b"]
        assert ids_of(ask(store, min_score=scores[0] + 0.01)) == []
        assert ids_of(ask(store, min_score=scores[4] - 0.01, top_k=-1)) == list("abcde")

    @pytest.mark.parametrize("top_k", [3, -1])
    def test_a_min_score_of_any_size(self, store: VectorStore, top_k: int) -> None:
        store.add(ARC)
        for least in (-1e300, -5e-324, 0.0, 5e-324, 1e-157, 1e300):
            query = VectorStoreQuery(embedding=EAST, min_score=least, top_k=top_k)
            assert ids_of(store.query(query)) == (
                [] if least == 1e300 else list("abcde")[: top_k if top_k > 0 else None]
            ), least

    def test_query_refuses_zero_vectors_under_cosine_only(self, store: VectorStore) -> None:
        store.add(ARC)
        if store.metric is SimilarityMetric.COSINE:
            with pytest.raises(InvalidEmbeddingError, match="zero"):
                ask(store, [0.0] * DIMENSION)
        else:
            assert len(ask(store, [0.0] * DIMENSION)) == 5


class QueryTests(StoreSuite):
    """Which rows a query finds, in which order, and what it gives back of them."""

    def test_query_finds_the_best_first(self, store: VectorStore) -> None:
        store.add(ARC)
        matches = ask(store, top_k=3)
        assert ids_of(matches) == ["a", "b", "c"]
        assert all(type(match) is VectorMatch for match in matches)
        assert all(type(match.similarity_score) is float for match in matches)
        assert_same_rows(matches, ARC[:3], embeddings=False)

    def test_ties_are_ordered_by_id(self, store: VectorStore) -> None:
        ids = ["m", "B", "z", "a", "\u00e9", "10", "9", "\ufb01", "\U0001f600", "aa", " ", "Z"]
        ordered = [" ", "10", "9", "B", "Z", "a", "aa", "m", "z", "\u00e9", "\ufb01", "\U0001f600"]
        store.add([make_entry(row_id, [0.3, 0.1, 0.7, 0.2]) for row_id in ids])
        for top_k in (12, 50, -1):
            assert ids_of(ask(store, [0.2, 0.5, 0.1, 0.9], top_k=top_k)) == ordered
        cut = ids_of(ask(store, [0.2, 0.5, 0.1, 0.9], top_k=5))
        assert len(cut) == 5
        assert cut == [row_id for row_id in ordered if row_id in cut]

    @pytest.mark.parametrize(
        ("top_k", "found"), [(1, 1), (4, 4), (5, 5), (6, 5), (1000, 5), (-1, 5)]
    )
    def test_top_k(self, store: VectorStore, top_k: int, found: int) -> None:
        store.add(ARC)
        assert ids_of(ask(store, top_k=top_k)) == list("abcde")[:found]

    def test_query_finds_nothing_in_an_empty_store(self, store: VectorStore) -> None:
        assert ask(store) == []
        assert store.query(VectorStoreQuery()) == []
        assert store.query_many([VectorStoreQuery(embedding=EAST)]) == [[]]

    @pytest.mark.parametrize(
        ("restriction", "found"),
        [
            ({"ids": None}, "abcde"),
            ({"ids": []}, ""),
            ({"ids": ["unknown"]}, ""),
            ({"ids": ["d", "b", "unknown", "b"]}, "bd"),
            ({"ids": ["gone"]}, ""),
            ({"document_ids": []}, ""),
            ({"document_ids": ["d9"]}, ""),
            ({"document_ids": ["d2"]}, "cd"),
            ({"document_ids": ["d2", "d1"]}, "abcd"),
            ({"ids": ["a", "c", "e"], "document_ids": ["d2"]}, "c"),
            ({"ids": ["a"], "document_ids": ["d2"]}, ""),
            ({"ids": [], "document_ids": ["d2"]}, ""),
            ({"filters": where("kind") == "odd"}, "ace"),
            ({"filters": where("n") > 5}, ""),
            ({"filters": where("kind") == "odd", "ids": ["a", "b", "c"]}, "ac"),
            ({"filters": where("kind") == "odd", "document_ids": ["d1"]}, "a"),
            (
                {"filters": where("n") >= 2, "ids": ["a", "b", "c"], "document_ids": ["d1"]},
                "b",
            ),
        ],
    )
    @pytest.mark.parametrize("vector", [EAST, None], ids=["dense", "listing"])
    def test_restrictions_hold_together(
        self, store: VectorStore, vector: Any, restriction: dict[str, Any], found: str
    ) -> None:
        store.add(ARC)
        assert ids_of(ask(store, vector, **restriction)) == list(found)
        assert ids_of(ask(store, vector, top_k=-1, **restriction)) == list(found)
        assert len(ask(store, vector, top_k=1, **restriction)) == min(1, len(found))

    def test_restrictions_take_many_ids(self, store: VectorStore) -> None:
        store.add(ARC)
        many = [f"unknown-{n}" for n in range(3000)]
        assert ids_of(ask(store, ids=[*many, "c", "a"])) == ["a", "c"]
        assert ids_of(ask(store, document_ids=[*many, "d2"])) == ["c", "d"]

    def test_embeddings_come_only_when_asked_for(self, store: VectorStore) -> None:
        store.add(ARC)
        for vector in (EAST, None):
            assert_same_rows(ask(store, vector), ARC[:5], embeddings=False)
            assert_same_rows(ask(store, vector, include_embeddings=True), ARC[:5])

    def test_soft_deleted_rows_come_only_when_asked_for(self, store: VectorStore) -> None:
        store.add(ARC)
        for vector in (EAST, None):
            assert "gone" not in ids_of(ask(store, vector, top_k=-1))
            matches = ask(store, vector, include_deleted=True)
            assert {match.id: match.deleted for match in matches} == {
                row.id: row.deleted for row in ARC
            }

    def test_a_query_without_a_leg_lists(self, store: VectorStore) -> None:
        store.add(list(reversed(ARC)))
        matches = store.query(VectorStoreQuery())
        assert ids_of(matches) == list("abcde")
        assert {match.similarity_score for match in matches} == {0.0}
        assert_same_rows(matches, ARC[:5], embeddings=False)
        cut = ids_of(store.query(VectorStoreQuery(top_k=2)))
        assert len(cut) == 2
        assert cut == sorted(row_id for row_id in "abcde" if row_id in cut)
        assert store.query(VectorStoreQuery(min_score=0.5)) == []
        assert len(store.query(VectorStoreQuery(min_score=0.0))) == 5

    def test_query_refuses_unknown_options(self, store: VectorStore) -> None:
        store.add(ARC)
        for vector in (EAST, None):
            with pytest.raises(UnsupportedQueryError, match="no_such_option"):
                ask(store, vector, options={"no_such_option": 1})

    def test_query_refuses_legs_that_the_store_lacks(self, store: VectorStore) -> None:
        store.add(ARC)
        parts: dict[Leg, dict[str, Any]] = {
            Leg.SPARSE: {"embedding": SparseVector([1], [1.0])},
            Leg.FULL_TEXT: {"text": "text"},
        }
        for leg, part in parts.items():
            if Capability(leg) not in store.capabilities:
                with pytest.raises(UnsupportedQueryError, match=leg):
                    store.query(VectorStoreQuery(**part))
        if Capability.HYBRID not in store.capabilities:
            with pytest.raises(UnsupportedQueryError):
                ask(store, text="text")

    def test_query_refuses_a_leg_that_the_rows_lack(self, store: VectorStore) -> None:
        store.add(ARC)
        with pytest.raises(UnsupportedQueryError, match="sparse"):
            store.query(VectorStoreQuery(embedding=SparseVector([1], [1.0])))

    @pytest.mark.parametrize("vector", [[1.0], [1.0] * (DIMENSION - 1), [1.0] * (2 * DIMENSION)])
    def test_query_refuses_another_dimension(self, store: VectorStore, vector: Any) -> None:
        store.add(ARC)
        with pytest.raises(InvalidEmbeddingError, match="dimension"):
            ask(store, vector)

    @pytest.mark.parametrize("wrong", [None, "text", EAST, {"embedding": EAST}])
    def test_query_refuses_what_is_no_query(self, store: VectorStore, wrong: Any) -> None:
        with pytest.raises(InvalidQueryError, match="query"):
            store.query(wrong)
        with pytest.raises(InvalidQueryError, match="query"):
            store.query_many([wrong])

    def test_query_many_answers_each_as_query_does(self, store: VectorStore) -> None:
        store.add(ARC)
        queries = [
            VectorStoreQuery(embedding=EAST),
            VectorStoreQuery(embedding=[0.0, 1.0, 0.0, 0.0]),
            VectorStoreQuery(embedding=EAST, top_k=2),
            VectorStoreQuery(embedding=EAST, top_k=-1),
            VectorStoreQuery(embedding=EAST, filters=where("kind") == "even"),
            VectorStoreQuery(embedding=EAST, ids=[]),
            VectorStoreQuery(embedding=EAST, document_ids=["d2"], include_embeddings=True),
            VectorStoreQuery(embedding=EAST, include_deleted=True),
            VectorStoreQuery(embedding=EAST, min_score=0.99),
            VectorStoreQuery(filters=where("n") < 3),
        ]
        answers = store.query_many(queries)
        assert len(answers) == len(queries)
        for answer, query in zip(answers, queries, strict=True):
            alone = store.query(query)
            assert_same_rows(answer, alone)
            assert_ranked(answer, {match.id: match.similarity_score for match in alone})
        assert store.query_many([]) == []

    def test_query_many_with_one_bad_query_fails(self, store: VectorStore) -> None:
        store.add(ARC)
        with pytest.raises(InvalidEmbeddingError):
            store.query_many([VectorStoreQuery(embedding=v) for v in (EAST, [1.0])])
