"""Filters over columns: the same rows as `matches()`, whatever happened to the rows before."""

from itertools import product

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from memory_rows import with_metadata
from ragbridge._filter_tree import normalize
from ragbridge.filters import MetadataFilter, MetadataFilters, Operator, matches, where
from ragbridge.stores.memory import InMemoryVectorStore, columns, filters, table
from ragbridge.testing import _strategies

IDS = st.sampled_from([f"row {n}" for n in range(12)])
METADATA = _strategies.metadata()
FILTERS = _strategies.filters()


class ChangingRows(RuleBasedStateMachine):
    """Rows come, are replaced and go; every filter is asked again after each change."""

    @initialize()
    def begin(self):
        self.few_dead_rows, table._FEW_DEAD_ROWS = table._FEW_DEAD_ROWS, 2
        self.store = InMemoryVectorStore()
        self.rows = {}
        self.asked = []

    def teardown(self):
        table._FEW_DEAD_ROWS = self.few_dead_rows

    @rule(rows=st.dictionaries(IDS, METADATA, max_size=8))
    def add(self, rows):
        self.store.add(with_metadata(rows))
        self.rows.update(rows)
        self.ask_again()

    @rule(ids=st.lists(IDS, max_size=6))
    def delete(self, ids):
        self.store.delete(ids)
        for row_id in ids:
            self.rows.pop(row_id, None)
        self.ask_again()

    @rule(asked=FILTERS)
    def delete_by_filter(self, asked):
        restricted = MetadataFilters([asked, where("a").exists()])
        doomed = self.selected(restricted)
        assert self.store.delete_by_filter(restricted) == len(doomed)
        for row_id in doomed:
            del self.rows[row_id]
        self.ask_again()

    @rule(asked=FILTERS)
    def ask(self, asked):
        self.asked.append(asked)
        self.ask_again()

    @rule()
    def clear(self):
        self.store.clear()
        self.rows.clear()
        self.ask_again()

    def ask_again(self):
        for asked in self.asked:
            found = {row.id for row in self.store.scan(asked)}
            assert found == self.selected(asked), str(asked)

    def selected(self, asked):
        return {row_id for row_id, metadata in self.rows.items() if matches(asked, metadata)}


TestChangingRows = ChangingRows.TestCase
TestChangingRows.settings = settings(stateful_step_count=20)


NUMBERS = [0, 1, -1, 0.5, 2**53, 2**53 + 1, 2.0**53, -(2**53) - 1, 2**63 - 1, -(2**63), 2.0**63]
LITERALS = [*NUMBERS, 2**63, 2**64 + 1, -(2**70), 10**400, -(10**400), 1e308, 5e-324, 0.1]
COMPARISONS = [Operator.EQ, Operator.NE, Operator.GT, Operator.GTE, Operator.LT, Operator.LTE]


@pytest.mark.parametrize("operator", COMPARISONS)
def test_numbers_compare_exactly(operator):
    rows = {f"{number!r}": {"n": number} for number in [*NUMBERS, True, False, "1", None, [1]]}
    store = InMemoryVectorStore()
    store.add(with_metadata(rows))
    for literal in LITERALS:
        condition = MetadataFilter("n", operator, literal)
        wanted = {row_id for row_id, metadata in rows.items() if matches(condition, metadata)}
        assert {row.id for row in store.scan(condition)} == wanted, str(condition)


@pytest.mark.parametrize("operator", [Operator.IN, Operator.NIN])
def test_lists_of_numbers_compare_exactly(operator):
    rows = {f"{number!r}": {"n": number} for number in [*NUMBERS, True, "1", None]}
    store = InMemoryVectorStore()
    store.add(with_metadata(rows))
    for pair in product([*LITERALS, True, "1"], repeat=2):
        condition = MetadataFilter("n", operator, pair)
        wanted = {row_id for row_id, metadata in rows.items() if matches(condition, metadata)}
        assert {row.id for row in store.scan(condition)} == wanted, str(condition)


def test_a_column_takes_numbers_after_other_values():
    store = InMemoryVectorStore()
    store.add(with_metadata({"a": {"n": "text"}, "b": {}}))
    assert store.count(where("n") == 1) == 0
    store.add(with_metadata({"c": {"n": 1}, "d": {"n": 2**53 + 1}}))
    assert store.count(where("n") >= 1) == 2
    assert store.count(where("n") < 1) == store.count(where("n") == 0) == 0
    assert store.count(where("n") == "text") == 1


def test_many_distinct_values_are_told_apart():
    rows = {str(n): {"text": f"value {n:04}", "tags": [n % 7, str(n % 5)]} for n in range(3000)}
    store = InMemoryVectorStore()
    store.add(with_metadata(rows))
    assert store.count(where("text") < "value 0100") == 100
    assert store.count(where("text").text_match("9")) == sum("9" in f"{n:04}" for n in range(3000))
    assert store.count(where("tags").all_of([3, "4"])) == sum(
        n % 7 == 3 and n % 5 == 4 for n in range(3000)
    )
    assert [row.id for row in store.scan(where("text") == "value 2999")] == ["2999"]


def test_values_that_came_after_the_rows_match_none_of_them():
    rows = [{"k": "a"}, {}, {"k": 5}]
    codes, numbers = np.array([0, columns.MISSING, columns.NUMBER], np.int32), np.array([0, 0, 5.0])
    places = {"a": 0, "b": 1, "[]": 2}
    column = columns.Column(codes, numbers, ["a"], lambda value: places.get(str(value)))
    for operator, value in [("==", "b"), ("in", ["b"]), ("is_empty", None), ("exists", None)]:
        node = normalize(MetadataFilter("k", operator, value))
        wanted = [matches(node.condition, row) for row in rows]
        assert filters.evaluate(node, lambda _: column, 3).tolist() == wanted


def test_more_columns_are_asked_for_than_are_kept():
    keys = [f"key {n}" for n in range(3 * columns._MOST_COLUMNS)]
    store = InMemoryVectorStore()
    store.add(with_metadata({"a": dict.fromkeys(keys, 1), "b": dict.fromkeys(keys, 2)}))
    for _ in range(2):
        assert all(store.count(where(key) == 1) == 1 for key in keys)
    assert len(store._state.table.columns._growing) == columns._MOST_COLUMNS


def test_rows_with_keys_of_their_own_cost_no_column_each():
    store = InMemoryVectorStore()
    store.add(with_metadata({str(n): {f"key {n}": n} for n in range(2000)}))
    assert store.count(where("key 1234") == 1234) == 1
    assert len(store._state.table.columns._growing) == 1


def test_values_that_nothing_holds_any_more_are_forgotten(monkeypatch):
    monkeypatch.setattr(table, "_FEW_DEAD_ROWS", 10)
    store = InMemoryVectorStore()
    for n in range(100):
        store.add(with_metadata({str(row): {"text": f"{n} {row}"} for row in range(20)}))
        assert store.count(where("text") == f"{n} 7") == 1
    assert len(store._state.table.columns.get(("text",), 20).values) <= 60
