"""Filters are checked where they are made, and travel as JSON and as text."""

import copy
import dataclasses
import json
import pickle
from datetime import UTC, datetime, timedelta, timezone
from enum import Enum, IntEnum, StrEnum

import numpy as np
import pytest
from hypothesis import given

from case_names import shown
from ragbridge.errors import InvalidFilterError, InvalidInputError
from ragbridge.filters import (
    Condition,
    Filter,
    FilterField,
    MetadataFilter,
    MetadataFilters,
    Operator,
    matches,
    where,
)
from ragbridge.testing._strategies import filters

SCALAR_OPERATORS = ["==", "!=", "contains"]
ORDERINGS = [">", ">=", "<", "<="]
LIST_OPERATORS = ["in", "nin", "any", "all"]
TEXT_OPERATORS = ["text_match", "text_match_insensitive"]
UNARY_OPERATORS = ["exists", "is_empty"]

NO_SCALARS = [
    [],
    [1],
    (1, 2),
    {},
    {"a": 1},
    {1},
    b"bytes",
    float("nan"),
    float("inf"),
    -float("inf"),
    1j,
    object(),
    datetime(2024, 1, 1),  # noqa: DTZ001 - without a zone on purpose
    datetime.min.replace(tzinfo=timezone(timedelta(hours=1))),
    "\ud800",
    Exception,
]


class Colour(StrEnum):
    RED = "red"


class Size(IntEnum):
    LARGE = 3


class Other(Enum):
    THING = "thing"


@pytest.mark.parametrize("value", NO_SCALARS, ids=shown)
@pytest.mark.parametrize("operator", [*SCALAR_OPERATORS, *ORDERINGS])
def test_values_must_be_scalars(operator, value):
    with pytest.raises(InvalidFilterError, match="price"):
        MetadataFilter("price", operator, value)


@pytest.mark.parametrize("value", [*NO_SCALARS, None, Other.THING], ids=shown)
@pytest.mark.parametrize("operator", LIST_OPERATORS)
def test_items_must_be_scalars(operator, value):
    with pytest.raises(InvalidFilterError, match="price"):
        MetadataFilter("price", operator, ["fine", value])


@pytest.mark.parametrize("value", [None, "text", b"bytes", 1, 1.5, True, {"a": 1}], ids=repr)
@pytest.mark.parametrize("operator", LIST_OPERATORS)
def test_list_operators_need_lists(operator, value):
    with pytest.raises(InvalidFilterError, match="price"):
        MetadataFilter("price", operator, value)


@pytest.mark.parametrize("value", [None, 1, 1.5, True, ["a"], b"a", "\udfff"], ids=repr)
@pytest.mark.parametrize("operator", TEXT_OPERATORS)
def test_text_operators_need_text(operator, value):
    with pytest.raises(InvalidFilterError, match="price"):
        MetadataFilter("price", operator, value)


@pytest.mark.parametrize("value", [True, False, None])
@pytest.mark.parametrize("operator", ORDERINGS)
def test_booleans_and_null_have_no_order(operator, value):
    with pytest.raises(InvalidFilterError, match="price"):
        MetadataFilter("price", operator, value)


def test_contains_null_has_no_meaning():
    with pytest.raises(InvalidFilterError, match="price"):
        where("price").contains(None)


@pytest.mark.parametrize("value", [0, "", False, [], "x"])
@pytest.mark.parametrize("operator", UNARY_OPERATORS)
def test_unary_operators_take_no_value(operator, value):
    with pytest.raises(InvalidFilterError, match=operator):
        MetadataFilter("price", operator, value)


@pytest.mark.parametrize(
    "key", [None, 1, 1.5, True, b"key", [], (), ["a", 1], ("a", None), {"a": 1}, {"a"}, "\ud800"]
)
def test_keys_must_be_strings_or_paths(key):
    with pytest.raises(InvalidFilterError, match="key"):
        MetadataFilter(key, "==", 1)


@pytest.mark.parametrize("path", [(), (1,), ("a", None), (["a", "b"],), ("a", "\ud800")])
def test_where_needs_a_path(path):
    with pytest.raises(InvalidFilterError, match="key"):
        where(*path)


@pytest.mark.parametrize("operator", ["=", "eq", "$eq", "IN", "", None, 1, "not", "and", "like"])
def test_unknown_operators_are_refused(operator):
    with pytest.raises(InvalidFilterError, match="operator"):
        MetadataFilter("price", operator, 1)


@pytest.mark.parametrize("condition", ["AND", "xor", "", None, 1, "nor"])
def test_unknown_conditions_are_refused(condition):
    with pytest.raises(InvalidFilterError, match="condition"):
        MetadataFilters([where("a") == 1], condition)


@pytest.mark.parametrize(
    "children", [None, 1, "abc", {"a": 1}, [None], ["a == 1"], [{"key": "a"}], [where("a")], [True]]
)
def test_groups_hold_only_filters(children):
    with pytest.raises(InvalidFilterError, match="filters"):
        MetadataFilters(children)


def test_a_group_takes_one_filter_or_any_iterable():
    condition = where("a") == 1
    assert MetadataFilters(condition) == MetadataFilters([condition])
    assert MetadataFilters(each for each in [condition]) == MetadataFilters((condition,))


def test_errors_are_ours_and_name_the_remedy():
    with pytest.raises(InvalidInputError, match="== None for missing"):
        where("a").in_([None])
    with pytest.raises(InvalidInputError, match="parentheses"):
        (where("a") == 1) & 5


@pytest.mark.parametrize("combine", [lambda f: f & 1, lambda f: f | None, lambda f: f & where("a")])
def test_filters_combine_only_with_filters(combine):
    with pytest.raises(InvalidFilterError, match="filter on its right"):
        combine(where("a") == 1)


@pytest.mark.parametrize("nonsense", [lambda f: 1 & f, lambda f: "x" | f])
def test_nothing_else_combines_with_filters(nonsense):
    with pytest.raises(TypeError):
        nonsense(where("a") == 1)


@pytest.mark.parametrize(
    "ask",
    [
        lambda: bool(where("a") == 1),
        lambda: bool(MetadataFilters()),
        lambda: not where("a").exists(),
        lambda: (where("a") == 1) and (where("b") == 1),
        lambda: (where("a") == 1) or (where("b") == 1),
        lambda: 1 < where("a") < 5,
        lambda: where("a") == 1 == 2,
        lambda: bool(where("a")),
    ],
)
def test_filters_have_no_truth_value(ask):
    with pytest.raises(InvalidFilterError, match="filter"):
        ask()


def test_deep_nesting_is_refused():
    nested = MetadataFilters([where("a") == 1])
    for _ in range(49):
        nested = MetadataFilters([nested], "not")
    assert matches(nested, {"a": 1}) is False
    with pytest.raises(InvalidFilterError, match="nested"):
        MetadataFilters([nested])
    with pytest.raises(InvalidFilterError, match="nested"):
        MetadataFilters(nested, "not")


def test_long_groups_are_fine():
    every = MetadataFilters([where("a") == n for n in range(10_000)], "or")
    assert matches(every, {"a": 9_999})


def test_wide_chains_of_operators_stay_flat():
    chain = where("a") == 0
    for n in range(1, 200):
        chain |= where("a") == n
    assert len(chain.filters) == 200
    assert matches(chain, {"a": 199})


def test_the_builder_makes_conditions():
    a = where("a")
    made = {
        (a == 1): ("a", "==", 1),
        (a != "x"): ("a", "!=", "x"),
        (a > 1): ("a", ">", 1),
        (a >= 1.5): ("a", ">=", 1.5),
        (a < "b"): ("a", "<", "b"),
        (a <= 1): ("a", "<=", 1),
        (1 < a): ("a", ">", 1),  # noqa: SIM300 - either way round
        (1 >= a): ("a", "<=", 1),  # noqa: SIM300
        (a == True): ("a", "==", True),  # noqa: E712
        a.in_([1, "x"]): ("a", "in", (1, "x")),
        a.in_(n for n in (1, 2)): ("a", "in", (1, 2)),
        a.not_in({1}): ("a", "nin", (1,)),
        a.contains("x"): ("a", "contains", "x"),
        a.any_of([1]): ("a", "any", (1,)),
        a.all_of(()): ("a", "all", ()),
        a.text_match("x"): ("a", "text_match", "x"),
        a.text_match("x", ignore_case=True): ("a", "text_match_insensitive", "x"),
        a.exists(): ("a", "exists", None),
        a.is_empty(): ("a", "is_empty", None),
        (where("a", "b") == 1): (("a", "b"), "==", 1),
        (where("a.b") == None): ("a.b", "==", None),  # noqa: E711
        MetadataFilter("a", value=2): ("a", "==", 2),
        MetadataFilter(["a", "b"], "exists"): (("a", "b"), "exists", None),
        MetadataFilter(("a",), "exists"): ("a", "exists", None),
    }
    for condition, fields in made.items():
        assert (condition.key, condition.operator, condition.value) == fields
        assert type(condition.operator) is Operator


def test_filters_are_equal_when_they_mean_and_read_the_same():
    assert (where("a") == 1) == (where("a") == 1)
    for one, other in [(1, True), (0, False), (1, 1.0), ("1", 1), (1, 2)]:
        assert (where("a") == one) != MetadataFilter("a", "==", other)
        assert MetadataFilters([where("a") == one]) != MetadataFilters([where("a") == other])
    assert where("a").exists() != where("b").exists()
    assert where("a").exists() != where("a").is_empty()
    assert where("a").exists() != "exists"


def test_combining_builds_groups():
    a, b, c = (where(key) == 1 for key in "abc")
    assert (a & b) == MetadataFilters([a, b], "and")
    assert (a & b & c) == MetadataFilters([a, b, c], "and")
    assert (a | b | c) == MetadataFilters([a, b, c], "or")
    assert (a & b | c) == MetadataFilters([MetadataFilters([a, b]), c], "or")
    assert ~a == MetadataFilters([a], "not")
    assert ~~a == MetadataFilters([MetadataFilters([a], "not")], "not")


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        (Colour.RED, "red"),
        (Size.LARGE, 3),
        (True, True),
        (-0.0, 0.0),
        (2**70, 2**70),
        (np.float64(1.5), 1.5),
        (np.str_("x"), "x"),
        (datetime(2024, 5, 1, 12, tzinfo=UTC), "2024-05-01T12:00:00.000000Z"),
        (
            datetime(2024, 5, 1, 12, 0, 0, 5, tzinfo=timezone(timedelta(hours=-3))),
            "2024-05-01T15:00:00.000005Z",
        ),
    ],
    ids=repr,
)
def test_values_become_plain_json(given, stored):
    for condition in (where("a") == given, where("a").in_([given])):
        value = condition.value[0] if isinstance(condition.value, tuple) else condition.value
        assert repr(value) == repr(stored)
        assert type(value) is type(stored)


def test_a_filter_does_not_change_with_what_it_was_made_of():
    values, path, children = [1, 2], ["a", "b"], [where("a") == 1]
    condition = MetadataFilter(path, "in", values)
    group = MetadataFilters(children)
    values.append(3)
    path.append("c")
    children.clear()
    assert condition == MetadataFilter(("a", "b"), "in", (1, 2))
    assert len(group.filters) == 1


@pytest.mark.parametrize("made", [where("a") == 1, (where("a") == 1) & (where("b") == 2)])
def test_filters_are_immutable_values(made):
    for field in dataclasses.fields(made):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(made, field.name, None)
    with pytest.raises((AttributeError, TypeError)):
        made.extra = 1
    assert hash(made) == hash(copy.deepcopy(made))
    assert copy.deepcopy(made) == made
    assert pickle.loads(pickle.dumps(made)) == made


@given(filters())
def test_filters_travel_as_json(made):
    group = made if isinstance(made, MetadataFilters) else MetadataFilters([made])
    for again in (
        MetadataFilters.from_json(made.to_json()),
        MetadataFilters.from_json(made.to_json().encode()),
        MetadataFilters.from_dict(made.to_dict()),
        MetadataFilters.from_dict(json.loads(json.dumps(made.to_dict()))),
    ):
        assert again == group
        assert again.to_json() == group.to_json(), "1 and 1.0 are different values"


def test_json_has_a_form_that_people_can_write():
    text = '{"filters": [{"key": "a", "value": 1}, {"key": ["b", "c"], "operator": "exists"}]}'
    wanted = (where("a") == 1) & where("b", "c").exists()
    assert MetadataFilters.from_json(text) == wanted
    assert MetadataFilters.from_dict({"key": "a", "operator": ">", "value": 1}) == MetadataFilters(
        [where("a") > 1]
    )
    assert wanted.to_dict() == {
        "condition": "and",
        "filters": [
            {"key": "a", "operator": "==", "value": 1},
            {"key": ["b", "c"], "operator": "exists"},
        ],
    }


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not json",
        "null",
        "[]",
        "1",
        '"a == 1"',
        "{}",
        '{"filters": {}}',
        '{"filters": null}',
        '{"filters": [1]}',
        '{"filters": [], "operator": "and"}',
        '{"filters": [], "condition": "xor"}',
        '{"condition": "and"}',
        '{"key": "a", "value": NaN}',
        '{"key": "a", "operator": "==", "value": [1]}',
        '{"key": "a", "operator": "=>", "value": 1}',
        '{"key": "a", "operator": "in", "value": "abc"}',
        '{"key": "a", "operator": "exists", "value": 1}',
        '{"key": 1, "value": 1}',
        '{"key": "a", "value": 1, "comment": "x"}',
        '{"key": "a", "filters": []}',
        '{"value": 1}',
        '{"filters": [' * 60 + "]}" * 60,
        "[" * 100_000,
        b"\xff\xfe",
    ],
    ids=lambda text: str(text)[:30],
)
def test_json_of_another_shape_is_refused(text):
    with pytest.raises(InvalidFilterError):
        MetadataFilters.from_json(text)


@pytest.mark.parametrize("data", [None, 1, "x", [], [{"key": "a"}], {"key": "a", "value": b"x"}])
def test_data_of_another_shape_is_refused(data):
    with pytest.raises(InvalidFilterError):
        MetadataFilters.from_dict(data)


@given(filters())
def test_repr_evaluates_back(made):
    names = {"MetadataFilter": MetadataFilter, "MetadataFilters": MetadataFilters}
    again = eval(repr(made), names)
    assert again == made
    assert repr(again) == repr(made)


def test_repr_of_a_field():
    assert repr(where("a b")) == "where('a b')"
    assert repr(where("a", "b")) == "where('a', 'b')"
    assert isinstance(where("a"), FilterField)


def test_enumerations_are_their_text():
    assert [str(each) for each in Condition] == ["and", "or", "not"]
    assert MetadataFilter("a", Operator.GTE, 1) == MetadataFilter("a", ">=", 1)


@pytest.mark.parametrize("wrong", [1, "a == 1", {"a": 1}, [], where("a"), Filter()])
def test_matches_refuses_what_is_no_filter(wrong):
    with pytest.raises(InvalidFilterError, match="filters"):
        matches(wrong, {})
