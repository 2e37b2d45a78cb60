"""What `add` promises."""

from typing import Any
from uuid import UUID

import numpy as np
import pytest

from ragbridge.embeddings import SparseVector
from ragbridge.errors import InvalidEmbeddingError, InvalidInputError
from ragbridge.stores.base import SimilarityMetric, VectorEntry, VectorStore, VectorStoreQuery
from ragbridge.testing._suite.base import StoreSuite
from ragbridge.testing._suite.samples import (
    DIMENSION,
    assert_same_rows,
    ids_of,
    make_entry,
    stored_rows,
)

__all__ = ["AddTests"]

ZEROS = [0.0] * DIMENSION


class AddTests(StoreSuite):
    """Ids, upserts, batches, and input that must be refused before anything is written."""

    def test_add_returns_ids_in_order(self, store: VectorStore) -> None:
        assert store.add([make_entry("b"), make_entry("a"), make_entry("c")]) == ["b", "a", "c"]
        assert ids_of(store.get(["a", "b", "c"])) == ["a", "b", "c"]

    def test_add_gives_new_ids(self, store: VectorStore) -> None:
        ids = store.add(
            [make_entry(None, text="one"), make_entry("x"), make_entry(None, text="two")]
        )
        assert ids[1] == "x"
        assert len({UUID(ids[0]), UUID(ids[2])}) == 2, "every row needs an id of its own"
        assert [row.chunk.content for row in store.get(ids)] == ["one", "some text", "two"]

    def test_add_does_not_change_the_entry(self, store: VectorStore) -> None:
        entry = make_entry(None)
        first, second = store.add([entry]), store.add([entry])
        assert entry.id is None
        assert first != second, "an entry without an id is a new row each time"

    def test_add_replaces_the_whole_row(self, store: VectorStore) -> None:
        old = make_entry(
            "a",
            text="old",
            document_id="d1",
            metadata={"x": 1, "gone": True},
            framework_data={"node": {"n": 1}},
            deleted=True,
        )
        new = make_entry("a", [0.0, 1.0, 0.0, 0.0], text="new", metadata={"x": "two"})
        store.add([old, make_entry("b")])
        store.add([new])
        assert_same_rows(stored_rows(store), [new, make_entry("b")])
        assert store.count(document_ids=["d1"], include_deleted=True) == 0

    def test_add_keeps_the_last_of_equal_ids(self, store: VectorStore) -> None:
        last = make_entry("a", [0.0, 0.0, 1.0, 0.0], text="third", metadata={"n": 3})
        batch = [
            make_entry("a", text="first", metadata={"n": 1}),
            make_entry("b"),
            make_entry("a", text="second", metadata={"m": 2}),
            last,
        ]
        assert store.add(batch) == ["a", "b", "a", "a"]
        assert_same_rows(stored_rows(store), [last, make_entry("b")])

    def test_add_of_nothing_does_nothing(self, store: VectorStore) -> None:
        assert store.add([]) == []
        store.add([make_entry("a")])
        assert store.add([]) == []
        assert store.count() == 1

    def test_add_takes_any_iterable(self, store: VectorStore) -> None:
        entries: Any = (make_entry(row_id) for row_id in "abc")
        assert store.add(entries) == ["a", "b", "c"]
        assert store.add(tuple(make_entry(row_id) for row_id in "bd")) == ["b", "d"]
        assert ids_of(stored_rows(store)) == ["a", "b", "c", "d"]

    def test_add_takes_many_rows(self, store: VectorStore) -> None:
        rows = [make_entry(f"{n:04}", [1.0, n, -n, 0.5], metadata={"n": n}) for n in range(1500)]
        assert store.add(rows) == ids_of(rows)
        assert_same_rows(stored_rows(store), rows)

    @pytest.mark.parametrize(
        "wrong",
        [
            pytest.param([1.0, 0.0, 0.0], id="shorter"),
            pytest.param([1.0] * (DIMENSION + 1), id="longer"),
            pytest.param([1.0] * (2 * DIMENSION), id="twice-as-long"),
            pytest.param(None, id="no-vector"),
            pytest.param(SparseVector([1], [1.0]), id="sparse"),
        ],
    )
    def test_add_refuses_other_vectors(self, store: VectorStore, wrong: Any) -> None:
        kept = make_entry("kept")
        store.add([kept])
        with pytest.raises(InvalidEmbeddingError, match="wrong"):
            store.add([make_entry("new"), make_entry("wrong", wrong), make_entry("kept", text="x")])
        assert_same_rows(stored_rows(store), [kept])

    def test_add_refuses_mixed_vectors_at_first(self, store: VectorStore) -> None:
        with pytest.raises(InvalidEmbeddingError):
            store.add([make_entry("a"), make_entry("b", [1.0, 2.0])])
        assert store.count() == 0
        assert store.add([make_entry("a")]) == ["a"], "a refused batch must not fix the dimension"

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_add_refuses_vectors_that_are_not_finite(
        self, store: VectorStore, value: float
    ) -> None:
        vector = np.ones(DIMENSION, dtype=np.float32)
        entry = make_entry("bad", vector)
        vector[1] = value  # after the entry was checked
        with pytest.raises(InvalidEmbeddingError, match="bad"):
            store.add([make_entry("good"), entry])
        assert store.count() == 0

    def test_add_refuses_zero_vectors_under_cosine_only(self, store: VectorStore) -> None:
        batch = [make_entry("a"), make_entry("zero", ZEROS)]
        if store.metric is SimilarityMetric.COSINE:
            with pytest.raises(InvalidEmbeddingError, match="zero"):
                store.add(batch)
            assert store.count() == 0
        else:
            store.add(batch)
            assert_same_rows(stored_rows(store), batch)

    @pytest.mark.parametrize(
        "wrong", [None, 7, "ab", make_entry("a"), ["a"], [make_entry("a"), None], [{"id": "a"}]]
    )
    def test_add_refuses_what_is_no_list_of_entries(self, store: VectorStore, wrong: Any) -> None:
        with pytest.raises(InvalidInputError, match="entries"):
            store.add(wrong)
        assert store.count() == 0

    def test_add_copies_what_it_is_given(self, store: VectorStore) -> None:
        vector = np.array([1.0, 2.0, 3.0, 4.0], dtype=np.float32)
        metadata = {"list": [1, 2], "object": {"k": "v"}}
        entry = make_entry("a", vector, metadata=metadata, framework_data=metadata)
        store.add([entry])
        vector[:] = 9.0
        for data in (entry.chunk.metadata, entry.framework_data):
            data["list"] = "changed"
            data["object"]["k"] = "changed"  # type: ignore[call-overload, index]
        wanted = make_entry("a", [1.0, 2.0, 3.0, 4.0], metadata=metadata, framework_data=metadata)
        assert_same_rows(store.get(["a"]), [wanted])

    def test_rows_given_back_are_copies(self, store: VectorStore) -> None:
        wanted = make_entry("a", [1.0, 2.0, 3.0, 4.0], metadata={"x": 1, "in": {"y": [1]}})
        store.add([wanted])
        asked = VectorStoreQuery(embedding=[1.0, 2.0, 3.0, 4.0], include_embeddings=True)
        for row in (store.get(["a"])[0], next(iter(store.scan())), store.query(asked)[0]):
            _spoil(row)
        assert_same_rows(store.get(["a"]), [wanted])


def _spoil(row: VectorEntry) -> None:
    row.chunk.metadata["x"] = 2
    row.chunk.metadata["in"]["y"].append(2)  # type: ignore[call-overload, index, union-attr]
    row.framework_data["new"] = True
    if isinstance(row.embedding, np.ndarray) and row.embedding.flags.writeable:
        row.embedding[:] = 0.0
