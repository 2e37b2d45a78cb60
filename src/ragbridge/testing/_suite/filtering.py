"""Filters mean in every store what `matches()` says."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragbridge.filters import Filter, matches
from ragbridge.stores.base import VectorStore, VectorStoreQuery
from ragbridge.testing._filter_tables import FILTER_TABLES, FilterTable
from ragbridge.testing._strategies import filters, metadata
from ragbridge.testing._suite.base import StoreSuite
from ragbridge.testing._suite.samples import ids_of, make_entry

__all__ = ["FilterTests"]


class FilterTests(StoreSuite):
    """The hand-made tables, and random filters over random metadata."""

    @pytest.mark.parametrize("table", FILTER_TABLES, ids=lambda table: table.name)
    def test_filter_table(self, store: VectorStore, table: FilterTable) -> None:
        add_rows(store, table.rows)
        wrong = [
            problem
            for condition, wanted in table.cases
            if (problem := disagreement(store, condition, set(wanted)))
        ]
        assert not wrong, "\n".join(wrong)

    def test_random_filters(self, store: VectorStore) -> None:
        @given(
            st.lists(metadata(), min_size=1, max_size=12),
            st.lists(filters(), min_size=1, max_size=12),
        )
        def check(stored: list[dict[str, Any]], asked: list[Filter]) -> None:
            store.clear()
            rows = {str(n): data for n, data in enumerate(stored)}
            add_rows(store, rows)
            for condition in asked:
                wanted = {row_id for row_id, data in rows.items() if matches(condition, data)}
                problem = disagreement(store, condition, wanted)
                assert problem is None, problem

        check()

    def test_random_deletes(self, store: VectorStore) -> None:
        @given(st.lists(metadata(), min_size=1, max_size=12), filters())
        def check(stored: list[dict[str, Any]], condition: Filter) -> None:
            store.clear()
            rows = {str(n): data for n, data in enumerate(stored)}
            add_rows(store, rows)
            doomed = {row_id for row_id, data in rows.items() if matches(condition, data)}
            assert store.delete_by_filter(condition, ids=list(rows)) == len(doomed)
            assert {row.id for row in store.scan()} == rows.keys() - doomed

        check()


def add_rows(store: VectorStore, rows: Any) -> None:
    """Put one row for each metadata in, with its name for an id."""
    store.add([make_entry(name, metadata=data) for name, data in rows.items()])


def disagreement(store: VectorStore, condition: Filter, wanted: set[str]) -> str | None:
    """What is wrong with the rows that the store selects, over every way of asking."""
    query = VectorStoreQuery(embedding=[1.0, 0.0, 0.0, 0.0], filters=condition, top_k=-1)
    answers = {
        "query": {str(row_id) for row_id in ids_of(store.query(query))},
        "scan": {str(row.id) for row in store.scan(condition, include_embeddings=False)},
    }
    for way, found in answers.items():
        if found != wanted:
            return f"{way} {condition!r}: too many {found - wanted}, too few {wanted - found}"
    if (count := store.count(condition)) != len(wanted):
        return f"count {condition!r}: {count}, wanted {len(wanted)}"
    return None
