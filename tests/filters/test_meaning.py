"""`matches()` and the normal form against the tables, and the laws of two-valued logic."""

from hypothesis import given
from hypothesis import strategies as st

from filter_tables import decides_tree, disagreements
from ragbridge._filter_tree import FALSE, TRUE, Every, Leaf, Some, normalize
from ragbridge.filters import MetadataFilter, MetadataFilters, Operator, matches, where
from ragbridge.testing import FILTER_TABLES
from ragbridge.testing._strategies import filters, metadata

a, b, data = filters(), filters(), metadata()
conditions = filters().filter(lambda each: isinstance(each, MetadataFilter))


def test_matches_agrees_with_the_tables():
    def select(asked, rows):
        return [name for name, row in rows.items() if matches(asked, row)]

    assert list(disagreements(select)) == []


def test_the_normal_form_agrees_with_the_tables():
    def select(asked, rows):
        node = normalize(asked)
        return [name for name, row in rows.items() if decides_tree(node, row)]

    assert list(disagreements(select)) == []


def test_the_tables_ask_every_operator_plainly_and_negated():
    asked = [filters for table in FILTER_TABLES for filters, _ in table.cases]
    plain = {each.operator for each in asked if isinstance(each, MetadataFilter)}
    negated = {
        each.filters[0].operator
        for each in asked
        if isinstance(each, MetadataFilters)
        and each.condition == "not"
        and len(each.filters) == 1
        and isinstance(each.filters[0], MetadataFilter)
    }
    assert plain == negated == set(Operator)


def test_no_filter_selects_everything():
    assert matches(None, {})
    assert matches(MetadataFilters(), {})
    assert normalize(None) == TRUE


@given(a, data)
def test_the_normal_form_decides_as_matches(one, row):
    assert decides_tree(normalize(one), row) is matches(one, row)
    assert decides_tree(normalize(one, negated=True), row) is not matches(one, row)


@given(a)
def test_the_normal_form_is_normal(one):
    assert_normal(normalize(one), top=True)


def assert_normal(node, *, top=False):
    if isinstance(node, Leaf):
        assert node.operator not in (Operator.NE, Operator.NIN, Operator.CONTAINS)
        assert not (node.operator is Operator.EQ and node.value is None)
        assert not (node.operator in (Operator.IN, Operator.ANY) and not node.value)
        return
    assert top or node not in (TRUE, FALSE), "constants stand alone"
    assert len(node.children) != 1
    for child in node.children:
        assert type(child) is not type(node), "groups of a kind are merged"
        assert_normal(child)


def test_normal_forms():
    assert normalize(where("a") != 1) == Leaf(("a",), Operator.EQ, 1, negated=True)
    assert normalize(~(where("a") != 1)) == Leaf(("a",), Operator.EQ, 1, negated=False)
    assert normalize(where("a") == None) == Leaf(("a",), Operator.EXISTS, None, negated=True)  # noqa: E711
    assert normalize(where("a", "b").contains("x")) == Leaf(
        ("a", "b"), Operator.ANY, ("x",), negated=False
    )
    assert normalize(where("a").in_([])) == FALSE
    assert normalize(where("a").not_in([])) == TRUE
    assert normalize(where("a").all_of([])) == Leaf(("a",), Operator.ALL, (), negated=False)
    one, two = (normalize(where(key) > 1) for key in "ab")
    assert normalize((where("a") > 1) & (where("b") > 1)) == Every((one, two))
    assert normalize((where("a") > 1) | (where("b") > 1)) == Some((one, two))
    both = ~((where("a") > 1) | (where("b") > 1))
    assert normalize(both) == normalize(~(where("a") > 1) & ~(where("b") > 1))


@given(conditions, data)
def test_every_operator_and_its_negation_divide_all_rows(one, row):
    opposite = {Operator.EQ: Operator.NE, Operator.IN: Operator.NIN}.get(one.operator)
    assert matches(~one, row) is not matches(one, row)
    if opposite:
        assert matches(MetadataFilter(one.key, opposite, one.value), row) is not matches(one, row)


@given(a, data)
def test_double_negation(one, row):
    assert matches(~~one, row) is matches(one, row)


@given(a, b, data)
def test_de_morgan(one, other, row):
    assert matches(~(one & other), row) is matches(~one | ~other, row)
    assert matches(~(one | other), row) is matches(~one & ~other, row)
    none = MetadataFilters([one, other], "not")
    assert matches(none, row) is matches(~(one | other), row)


@given(a, b, data)
def test_groups_are_all_and_any(one, other, row):
    each = [matches(one, row), matches(other, row)]
    assert matches(MetadataFilters([one, other], "and"), row) is all(each)
    assert matches(MetadataFilters([one, other], "or"), row) is any(each)
    assert matches(one & other, row) is all(each)
    assert matches(one | other, row) is any(each)
    assert matches(other & one, row) is matches(one & other, row)
    assert matches(other | one, row) is matches(one | other, row)


@given(a, data)
def test_empty_groups_are_true(one, row):
    for empty in (MetadataFilters(condition=each) for each in ("and", "or", "not")):
        assert matches(empty, row)
        assert not matches(~empty, row)
        assert matches(one & empty, row) is matches(one, row)
        assert matches(one | empty, row)


@given(data, st.sampled_from(["a", "b", "none"]))
def test_a_missing_key_and_null_are_the_same(row, key):
    without = {name: value for name, value in row.items() if name != key}
    for operator in Operator:
        value = {"in": ["a"], "nin": ["a"], "any": ["a"], "all": [], "exists": None}.get(
            operator, None if operator == "is_empty" else "a"
        )
        condition = MetadataFilter(key, operator, value)
        assert matches(condition, without) is matches(condition, {**without, key: None})


@given(conditions, data)
def test_two_comparisons_are_their_disjunction(one, row):
    parts = {Operator.GTE: Operator.GT, Operator.LTE: Operator.LT}
    if one.operator in parts:
        strict = MetadataFilter(one.key, parts[one.operator], one.value)
        equal = MetadataFilter(one.key, Operator.EQ, one.value)
        assert matches(one, row) is matches(strict | equal, row)
