"""What searches by binary vector promise, for the stores that have them."""

from collections.abc import Mapping
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragbridge.embeddings import BinaryVector
from ragbridge.errors import InvalidEmbeddingError
from ragbridge.filters import where
from ragbridge.stores.base import SimilarityMetric, VectorMatch, VectorStore, VectorStoreQuery
from ragbridge.testing._reference import ReferenceVectorStore
from ragbridge.testing._suite.base import StoreSuite
from ragbridge.testing._suite.samples import (
    assert_ranked,
    assert_same_rows,
    ids_of,
    make_entry,
    stored_rows,
)

__all__ = ["BinaryTests"]

ZERO = BinaryVector(bytes(2))
SOUGHT = BinaryVector(b"\xf0\x00")


class BinaryTests(StoreSuite):
    """Rows with binary vectors under a binary metric; run it once for each that is served."""

    ROWS = (
        make_entry("a", SOUGHT, metadata={"n": 1}, document_id="d1"),
        make_entry("b", BinaryVector(b"\x70\x00"), metadata={"n": 2}, document_id="d1"),
        make_entry("c", BinaryVector(b"\x30\x01"), metadata={"n": 3}),
        make_entry("none", BinaryVector(b"\x0f\xff"), metadata={"n": 4}),
        make_entry("gone", SOUGHT, deleted=True),
    )
    SCORES: ClassVar[Mapping[SimilarityMetric, Mapping[str | None, float]]] = {
        SimilarityMetric.HAMMING: {"a": 1.0, "b": 15 / 16, "c": 13 / 16, "none": 0.0},
        SimilarityMetric.JACCARD: {"a": 1.0, "b": 3 / 4, "c": 2 / 5, "none": 0.0},
    }

    def search(
        self, store: VectorStore, vector: BinaryVector = SOUGHT, **query: Any
    ) -> list[VectorMatch]:
        """The matches for a binary query vector."""
        return store.query(VectorStoreQuery(embedding=vector, **query))

    def test_binary_scores(self, store: VectorStore) -> None:
        store.add(self.ROWS)
        for top_k in (1, 3, 10, -1):
            assert_ranked(self.search(store, top_k=top_k), self.SCORES[store.metric], top_k)

    def test_binary_zeros(self, store: VectorStore) -> None:
        store.add([make_entry("one", BinaryVector(b"\x00\x01")), make_entry("zero", ZERO)])
        wanted: dict[str | None, float] = {"one": 0.0, "zero": 0.0}
        if store.metric is SimilarityMetric.HAMMING:
            wanted = {"one": 15 / 16, "zero": 1.0}
        for top_k in (10, -1):
            assert_ranked(self.search(store, ZERO, top_k=top_k), wanted, top_k)

    def test_binary_restrictions(self, store: VectorStore) -> None:
        store.add(self.ROWS)
        least = self.SCORES[store.metric]["b"]
        for top_k in (10, -1):
            assert ids_of(self.search(store, min_score=least, top_k=top_k)) == ["a", "b"]
            found = self.search(store, filters=where("n") > 1, top_k=top_k)
            assert ids_of(found) == ["b", "c", "none"]
            assert ids_of(self.search(store, ids=["c", "a"], top_k=top_k)) == ["a", "c"]
        assert ids_of(self.search(store, document_ids=["d1"])) == ["a", "b"]
        assert ids_of(self.search(store, include_deleted=True, top_k=2)) == ["a", "gone"]
        assert ids_of(store.query(VectorStoreQuery(filters=where("n") < 3))) == ["a", "b"]

    def test_binary_vectors_come_back_bit_by_bit(self, store: VectorStore) -> None:
        store.add(self.ROWS)
        assert_same_rows(stored_rows(store), sorted(self.ROWS, key=lambda row: row.id or ""))
        assert_same_rows(store.get(["c", "a"]), [self.ROWS[2], self.ROWS[0]])
        for top_k in (10, -1):
            found = self.search(store, top_k=top_k, include_embeddings=True)
            assert_same_rows(found, self.ROWS[:4])
        assert_same_rows(self.search(store), self.ROWS[:4], embeddings=False)

    def test_query_many_takes_binary_queries(self, store: VectorStore) -> None:
        store.add(self.ROWS)
        vectors = [SOUGHT, BinaryVector(b"\x0f\xff"), ZERO]
        queries = [VectorStoreQuery(embedding=vector) for vector in vectors]
        queries += [VectorStoreQuery(embedding=SOUGHT, top_k=2)]
        for answer, query in zip(store.query_many(queries), queries, strict=True):
            assert_same_rows(answer, store.query(query))

    @pytest.mark.parametrize(
        "vector",
        [
            pytest.param([1.0] * 16, id="dense"),
            pytest.param(BinaryVector(bytes(3)), id="longer"),
            pytest.param(None, id="none"),
        ],
    )
    def test_binary_rows_need_binary_vectors(self, store: VectorStore, vector: Any) -> None:
        store.add(self.ROWS[:1])
        with pytest.raises(InvalidEmbeddingError, match="wrong"):
            store.add([self.ROWS[1], make_entry("wrong", vector)])
        assert store.count() == 1
        if vector is not None:
            with pytest.raises(InvalidEmbeddingError, match="query vector"):
                self.search(store, vector)

    def test_binary_upserts_and_deletes(self, store: VectorStore) -> None:
        store.add(self.ROWS)
        store.add([make_entry("none", SOUGHT)])
        store.delete("b")
        assert ids_of(self.search(store)) == ["a", "none", "c"]

    def test_random_bits_agree_with_the_reference(self, store: VectorStore) -> None:
        vectors = st.binary(min_size=2, max_size=2).map(BinaryVector)

        @given(st.lists(vectors, min_size=1, max_size=20), vectors, st.integers(1, 20))
        def check(stored: list[BinaryVector], vector: BinaryVector, top_k: int) -> None:
            rows = [make_entry(f"{n:02}", values) for n, values in enumerate(stored)]
            reference = ReferenceVectorStore(metric=store.metric)
            reference.add(rows)
            every = reference.query(VectorStoreQuery(embedding=vector, top_k=-1))
            store.clear()
            store.add(rows)
            scores = {match.id: match.similarity_score for match in every}
            assert_ranked(self.search(store, vector, top_k=top_k), scores, top_k)

        check()
