"""What `delete` and `delete_by_filter` promise."""

from typing import Any

import pytest

from ragbridge.errors import EntryNotFoundError, InvalidQueryError
from ragbridge.filters import MetadataFilters, where
from ragbridge.stores.base import VectorStore
from ragbridge.testing._suite.base import StoreSuite
from ragbridge.testing._suite.samples import assert_same_rows, ids_of, make_entry, stored_rows

__all__ = ["DeleteTests"]

ROWS = [
    make_entry(
        f"r{n}", document_id=f"d{n % 2}" if n < 4 else None, metadata={"n": n}, deleted=n == 3
    )
    for n in range(6)
]


def remaining(store: VectorStore) -> list[str]:
    """The ids of all rows left, soft-deleted ones included."""
    return [str(row_id) for row_id in ids_of(stored_rows(store))]


class DeleteTests(StoreSuite):
    """Deleting by id and by what is fulfilled, for good and no more than was asked."""

    def test_delete_one_id(self, store: VectorStore) -> None:
        store.add(ROWS)
        store.delete("r1")
        assert remaining(store) == ["r0", "r2", "r3", "r4", "r5"]
        assert store.get(["r1"], include_deleted=True) == []

    def test_delete_several_ids(self, store: VectorStore) -> None:
        store.add(ROWS)
        store.delete(["r4", "r0", "r4"])
        assert remaining(store) == ["r1", "r2", "r3", "r5"]

    def test_delete_of_nothing_does_nothing(self, store: VectorStore) -> None:
        store.delete([])
        store.delete([], missing_ok=False)
        store.add(ROWS)
        store.delete([])
        store.delete([], missing_ok=False)
        assert store.count(include_deleted=True) == 6

    def test_delete_ignores_unknown_ids(self, store: VectorStore) -> None:
        store.delete("nobody")
        store.add(ROWS)
        store.delete(["nobody", "r2", "r"])
        assert remaining(store) == ["r0", "r1", "r3", "r4", "r5"]

    def test_delete_can_insist_on_every_id(self, store: VectorStore) -> None:
        with pytest.raises(EntryNotFoundError):
            store.delete("r0", missing_ok=False)
        store.add(ROWS)
        with pytest.raises(EntryNotFoundError) as caught:
            store.delete(["r0", "nobody", "r1", "none"], missing_ok=False)
        assert sorted(caught.value.ids) == ["nobody", "none"]
        assert len(remaining(store)) == 6, "nothing may go when an id is unknown"
        store.delete(["r0", "r3"], missing_ok=False)
        assert remaining(store) == ["r1", "r2", "r4", "r5"]
        with pytest.raises(EntryNotFoundError):
            store.delete("r0", missing_ok=False)

    @pytest.mark.parametrize("wrong", [None, 1, "", [""], [1], ["r0", None], b"r0"])
    def test_delete_refuses_what_are_no_ids(self, store: VectorStore, wrong: Any) -> None:
        store.add(ROWS)
        with pytest.raises(InvalidQueryError, match="ids"):
            store.delete(wrong)
        assert len(remaining(store)) == 6

    @pytest.mark.parametrize(
        ("selection", "numbers"),
        [
            ({"filters": where("n") >= 4}, [4, 5]),
            ({"filters": where("n") == 3}, [3]),
            ({"filters": where("n") != 1}, [0, 2, 3, 4, 5]),
            ({"filters": where("n") == 77}, []),
            ({"filters": where("none") == None}, [0, 1, 2, 3, 4, 5]),  # noqa: E711
            ({"filters": ~MetadataFilters()}, []),
            ({"ids": ["r1", "r5", "nobody", "r1"]}, [1, 5]),
            ({"ids": []}, []),
            ({"document_ids": ["d1"]}, [1, 3]),
            ({"document_ids": []}, []),
            ({"document_ids": ["d9"]}, []),
            ({"filters": where("n") > 0, "document_ids": ["d0"]}, [2]),
            ({"filters": MetadataFilters(), "ids": ["r2"]}, [2]),
            ({"ids": ["r1", "r2"], "document_ids": ["d1"]}, [1]),
            ({"filters": where("n") > 0, "ids": []}, []),
            ({"filters": where("n") > 0, "document_ids": []}, []),
        ],
    )
    def test_delete_by_filter_removes_what_it_counts(
        self, store: VectorStore, selection: dict[str, Any], numbers: list[int]
    ) -> None:
        store.add(ROWS)
        assert store.delete_by_filter(**selection) == len(numbers)
        assert remaining(store) == [f"r{n}" for n in range(6) if n not in numbers]
        assert store.delete_by_filter(**selection) == 0

    @pytest.mark.parametrize(
        "filters",
        [
            None,
            MetadataFilters(),
            MetadataFilters(condition="or"),
            MetadataFilters([MetadataFilters()]),
            where("n").not_in([]),
        ],
        ids=str,
    )
    def test_delete_by_filter_refuses_to_empty_a_store(
        self, store: VectorStore, filters: Any
    ) -> None:
        store.add(ROWS)
        with pytest.raises(InvalidQueryError, match="clear"):
            store.delete_by_filter(filters)
        assert len(remaining(store)) == 6

    def test_delete_by_filter_on_an_empty_store(self, store: VectorStore) -> None:
        assert store.delete_by_filter(where("n") == 1) == 0
        assert store.delete_by_filter(ids=["r1"]) == 0

    def test_deleted_rows_can_be_added_again(self, store: VectorStore) -> None:
        store.add(ROWS)
        store.delete("r1")
        store.delete_by_filter(where("n") == 2)
        again = [make_entry("r1", [0.0, 1.0, 0.0, 0.0], text="again"), make_entry("r2")]
        store.add(again)
        assert_same_rows(store.get(["r1", "r2"]), again)
        assert store.count() == 5
