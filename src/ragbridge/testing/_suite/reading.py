"""What `get`, `scan` and `count` promise."""

from typing import Any

import pytest

from ragbridge.errors import InvalidQueryError
from ragbridge.filters import MetadataFilters, where
from ragbridge.stores.base import VectorStore
from ragbridge.testing._suite.base import StoreSuite
from ragbridge.testing._suite.samples import assert_same_rows, ids_of, make_entry

__all__ = ["ReadTests"]

ROWS = [
    make_entry(
        f"r{n}",
        [1.0, n, 0.0, 0.0],
        document_id=f"d{n % 3}" if n % 4 else None,
        metadata={"n": n, "even": n % 2 == 0},
        deleted=n == 5,
    )
    for n in range(10)
]
LIVE = [row for row in ROWS if not row.deleted]

SELECTIONS: list[tuple[dict[str, Any], list[int]]] = [
    ({}, [0, 1, 2, 3, 4, 6, 7, 8, 9]),
    ({"filters": MetadataFilters()}, [0, 1, 2, 3, 4, 6, 7, 8, 9]),
    ({"filters": where("n") > 6}, [7, 8, 9]),
    ({"filters": ~(where("even") == True)}, [1, 3, 7, 9]),  # noqa: E712
    ({"filters": where("n") == 5}, []),
    ({"ids": ["r9", "r5", "r1", "r1", "unknown"]}, [1, 9]),
    ({"ids": []}, []),
    ({"document_ids": ["d0", "d9"]}, [3, 6, 9]),
    ({"document_ids": []}, []),
    ({"document_ids": ["d1", "d2"]}, [1, 2, 7]),
    ({"ids": ["r1", "r2", "r3"], "document_ids": ["d1", "d0"]}, [1, 3]),
    ({"filters": where("n") < 3, "ids": ["r1", "r7"], "document_ids": ["d1"]}, [1]),
    ({"include_deleted": True}, list(range(10))),
    ({"include_deleted": True, "filters": where("n") == 5}, [5]),
    ({"include_deleted": True, "document_ids": ["d2"]}, [2, 5]),
]


class ReadTests(StoreSuite):
    """Reading by id, in bulk, and counting."""

    def test_get_keeps_the_order_asked(self, store: VectorStore) -> None:
        store.add(ROWS)
        assert_same_rows(store.get(["r7", "r2", "r9"]), [ROWS[7], ROWS[2], ROWS[9]])

    def test_get_leaves_unknown_ids_out(self, store: VectorStore) -> None:
        assert store.get(["r1"]) == []
        store.add(ROWS)
        assert ids_of(store.get(["nobody", "r3", "R3", "r3 ", "r1"])) == ["r3", "r1"]
        assert store.get([]) == []
        assert store.get(["nobody"]) == []

    def test_get_gives_a_repeated_id_once(self, store: VectorStore) -> None:
        store.add(ROWS)
        assert ids_of(store.get(["r3", "r1", "r3", "r1"])) == ["r3", "r1"]

    def test_get_hides_soft_deleted_rows(self, store: VectorStore) -> None:
        store.add(ROWS)
        assert ids_of(store.get(["r5", "r6"])) == ["r6"]
        assert_same_rows(store.get(["r5", "r6"], include_deleted=True), [ROWS[5], ROWS[6]])

    @pytest.mark.parametrize("wrong", ["r1", 1, None, [1], [None], [""], ["r1", b"r2"]])
    def test_get_refuses_what_is_no_list_of_ids(self, store: VectorStore, wrong: Any) -> None:
        store.add(ROWS)
        with pytest.raises(InvalidQueryError, match="ids"):
            store.get(wrong)

    @pytest.mark.parametrize("batch_size", [1, 2, 3, 9, 10, 1000])
    def test_scan_reads_every_row_once(self, store: VectorStore, batch_size: int) -> None:
        store.add(ROWS)
        rows = sorted(store.scan(batch_size=batch_size), key=lambda row: row.id or "")
        assert_same_rows(rows, LIVE)

    @pytest.mark.parametrize(("selection", "numbers"), SELECTIONS)
    def test_scan_and_count_select_the_same(
        self, store: VectorStore, selection: dict[str, Any], numbers: list[int]
    ) -> None:
        store.add(ROWS)
        wanted = [f"r{n}" for n in numbers]
        assert sorted(row.id or "" for row in store.scan(**selection)) == wanted
        assert sorted(row.id or "" for row in store.scan(**selection, batch_size=2)) == wanted
        assert store.count(**selection) == len(wanted)

    def test_scan_without_embeddings(self, store: VectorStore) -> None:
        store.add(ROWS)
        rows = sorted(store.scan(include_embeddings=False), key=lambda row: row.id or "")
        assert_same_rows(rows, LIVE, embeddings=False)

    def test_scan_and_count_of_an_empty_store(self, store: VectorStore) -> None:
        assert list(store.scan()) == []
        assert list(store.scan(where("n") == 1, ids=["a"])) == []
        assert store.count() == store.count(where("n") != 1) == 0

    def test_scan_while_deleting(self, store: VectorStore) -> None:
        store.add(ROWS)
        seen = []
        for row in store.scan(batch_size=2):
            seen.append(row.id)
            store.delete(row.id or "")
        assert sorted(seen, key=str) == ids_of(LIVE)
        assert store.count() == 0

    def test_scan_while_adding_sees_no_row_twice(self, store: VectorStore) -> None:
        store.add(ROWS)
        seen = []
        for row in store.scan(batch_size=2):
            seen.append(row.id)
            store.add([make_entry(row.id, [0.0, 1.0, 0.0, 0.0])])
        assert sorted(seen, key=str) == ids_of(LIVE)

    def test_scan_may_be_left_early(self, store: VectorStore) -> None:
        store.add(ROWS)
        first = next(iter(store.scan(batch_size=2)))
        assert first.id in ids_of(LIVE)
        assert store.count() == len(LIVE)

    @pytest.mark.parametrize("wrong", [0, -1, 2.5, "10", None, True])
    def test_scan_refuses_bad_batch_sizes(self, store: VectorStore, wrong: Any) -> None:
        with pytest.raises(InvalidQueryError, match="batch_size"):
            list(store.scan(batch_size=wrong))

    @pytest.mark.parametrize(
        ("name", "wrong"),
        [
            ("ids", "r1"),
            ("ids", [1]),
            ("ids", [""]),
            ("document_ids", "d1"),
            ("document_ids", [None]),
            ("document_ids", [""]),
            ("filters", {"n": 1}),
            ("filters", "n == 1"),
            ("filters", where("n")),
        ],
    )
    def test_bad_restrictions_are_refused(self, store: VectorStore, name: str, wrong: Any) -> None:
        store.add(ROWS)
        with pytest.raises(InvalidQueryError, match=name):
            list(store.scan(**{name: wrong}))
        with pytest.raises(InvalidQueryError, match=name):
            store.count(**{name: wrong})
        with pytest.raises(InvalidQueryError, match=name):
            store.delete_by_filter(**{name: wrong})
        assert store.count() == len(LIVE)
