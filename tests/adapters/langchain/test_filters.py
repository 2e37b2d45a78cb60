"""Filters between the core and LangChain, judged by `matches`."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.structured_query import Comparator, Comparison, FilterDirective, Operation
from langchain_core.structured_query import Operator as Junction

from ragbridge import (
    InvalidFilterError,
    InvalidQueryError,
    MetadataFilter,
    MetadataFilters,
    Operator,
    UnsupportedFilterError,
    matches,
    where,
)
from ragbridge.langchain.filters import as_filter, from_langchain_filter, to_langchain_filter
from ragbridge.testing._strategies import filters, metadata

FORMS = ["dict", "structured_query"]
ROWS = {
    "one": {"a": 1},
    "float": {"a": 1.5},
    "two": {"a": 2, "b": "x"},
    "true": {"a": True},
    "text": {"a": "one two"},
    "percent": {"a": "50%_off\\"},
    "list": {"a": ["one two", 1, True]},
    "null": {"a": None},
    "none": {"b": "x"},
    "odd": {"$a": 1, "a.b": 1, "": 1},
}
DIALECT = [
    ({}, ROWS),
    ({"a": 1}, ["one"]),
    ({"a": None}, ["null", "none", "odd"]),
    ({"a": {"$eq": True}}, ["true"]),
    ({"a": {"$ne": 1}}, [name for name in ROWS if name != "one"]),
    ({"a": {"$ne": None}}, ["one", "float", "two", "true", "text", "percent", "list"]),
    ({"a": {"$gt": 1}}, ["float", "two"]),
    ({"a": {"$gte": 1}}, ["one", "float", "two"]),
    ({"a": {"$lt": 2}}, ["one", "float"]),
    ({"a": {"$lte": 2}}, ["one", "float", "two"]),
    ({"a": {"$gte": "one"}}, ["text"]),
    ({"a": {"$in": [1, 2, "x"]}}, ["one", "two"]),
    ({"a": {"$in": []}}, []),
    ({"a": {"$nin": [1, 1.5, 2]}}, [n for n in ROWS if n not in ("one", "float", "two")]),
    ({"a": {"$nin": []}}, ROWS),
    ({"a": {"$contains": 1}}, ["list"]),
    ({"a": {"$contains": "one two"}}, ["list"]),
    ({"a": {"$exists": True}}, ["one", "float", "two", "true", "text", "percent", "list"]),
    ({"a": {"$exists": False}}, ["null", "none", "odd"]),
    ({"a": {"$between": [1, 1.5]}}, ["one", "float"]),
    ({"a": {"$like": "%e t%"}}, ["text"]),
    ({"a": {"$like": "%%"}}, ["text", "percent"]),
    ({"a": {"$like": r"%50\%\_%"}}, ["percent"]),
    ({"a": {"$like": r"%\\%"}}, ["percent"]),
    ({"a": {"$gt": 1, "$lt": 2}}, ["float"]),
    ({"a": 2, "b": "x"}, ["two"]),
    ({"a": {"$not": {"$gt": 1}}, "b": "x"}, ["none"]),
    ({"$and": [{"a": {"$gt": 1}}, {"b": "x"}]}, ["two"]),
    ({"$or": [{"a": 1}, {"b": "x"}]}, ["one", "two", "none"]),
    ({"$or": [{"a": 1}], "b": "x"}, []),
    ({"$not": {"a": {"$exists": True}}}, ["null", "none", "odd"]),
    ({"$not": [{"a": {"$exists": True}}, {"b": "x"}]}, ["null", "odd"]),
    ({"$not": {}}, []),
    ({"$and": []}, ROWS),
    ({"a.b": 1}, ["odd"]),
    ({"": 1}, ["odd"]),
]


def compare(comparator, value, key="a"):
    return Comparison(Comparator(comparator), key, value)


DIRECTIVES = [
    (compare("eq", 1), ["one"]),
    (compare("eq", 1, "$a"), ["odd"]),
    (compare("eq", None), ["null", "none", "odd"]),
    (compare("ne", 1), [name for name in ROWS if name != "one"]),
    (compare("gt", 1), ["float", "two"]),
    (compare("gte", 1), ["one", "float", "two"]),
    (compare("lt", 2), ["one", "float"]),
    (compare("lte", 2), ["one", "float", "two"]),
    (compare("in", [1, 2]), ["one", "two"]),
    (compare("in", 1), ["one"]),
    (compare("in", "one two"), ["text"]),
    (compare("nin", "x", "b"), [name for name in ROWS if name not in ("two", "none")]),
    (compare("nin", [1, 1.5, 2]), [n for n in ROWS if n not in ("one", "float", "two")]),
    (compare("contain", "one two"), ["text", "list"]),
    (compare("contain", "two"), ["text"]),
    (compare("contain", 1), ["list"]),
    (compare("like", "%two%"), ["text"]),
    (Operation(Junction.AND, [compare("gt", 1), compare("eq", "x", "b")]), ["two"]),
    (Operation(Junction.OR, [compare("eq", 1), compare("eq", "x", "b")]), ["one", "two", "none"]),
    (Operation(Junction.NOT, [compare("ne", 1)]), ["one"]),
    (Operation(Junction.NOT, [compare("ne", None), compare("eq", "x", "b")]), ["null", "odd"]),
    (Operation(Junction.AND, []), ROWS),
]


@pytest.mark.parametrize(("dialect", "wanted"), DIALECT, ids=str)
def test_the_dict_dialect_means_what_it_says(dialect, wanted):
    read = from_langchain_filter(dialect)
    assert [name for name, data in ROWS.items() if matches(read, data)] == list(wanted)


@pytest.mark.parametrize(("directive", "wanted"), DIRECTIVES, ids=str)
def test_structured_queries_mean_what_they_say(directive, wanted):
    read = from_langchain_filter(directive)
    assert [name for name, data in ROWS.items() if matches(read, data)] == list(wanted)


def can_be_said(condition, form):
    """Worked out apart from the code: which filters have a form in LangChain."""
    if isinstance(condition, MetadataFilters):
        return all(can_be_said(child, form) for child in condition.filters)
    operator, value, key = condition.operator, condition.value, condition.key
    if operator in (Operator.IS_EMPTY, Operator.TEXT_MATCH_INSENSITIVE):
        return False
    if not isinstance(key, str) or (operator is Operator.ALL and not value):
        return False
    if form == "dict":
        return not key.startswith("$")
    sought = value if isinstance(value, tuple) else (value,)
    looks_into_arrays = operator in (Operator.CONTAINS, Operator.ANY, Operator.ALL)
    return not (looks_into_arrays and any(isinstance(item, str) for item in sought))


@pytest.mark.parametrize("form", FORMS)
@given(condition=filters(), rows=st.lists(metadata(), min_size=1, max_size=8))
def test_core_filters_come_back_as_they_were(form, condition, rows):
    try:
        written = to_langchain_filter(condition, form)
    except UnsupportedFilterError:
        assert not can_be_said(condition, form)
        return
    read = from_langchain_filter(written)
    for data in [*rows, *ROWS.values()]:
        assert matches(read, data) == matches(condition, data)
    if form == "dict":
        assert json.loads(json.dumps(written)) == written


_keys = st.sampled_from(["a", "b", "a b", "id", ""])
_texts = st.sampled_from(["a", "A", "ab", "", "50%", "_", "\\", "'"])
_scalars = _texts | st.integers(-2, 2) | st.sampled_from([0.5, 1.0, 2**53 + 1]) | st.booleans()
_ordered = _texts | st.integers(-2, 2) | st.just(0.5)
_escape = str.maketrans({"%": r"\%", "_": r"\_", "\\": r"\\"})
_patterns = _texts.map(lambda text: f"%{text.translate(_escape)}%")
_operators = st.one_of(
    st.tuples(st.sampled_from(["$eq", "$ne"]), _scalars | st.none()),
    st.tuples(st.just("$contains"), _scalars),
    st.tuples(st.sampled_from(["$gt", "$gte", "$lt", "$lte"]), _ordered),
    st.tuples(st.sampled_from(["$in", "$nin"]), st.lists(_scalars, max_size=3)),
    st.tuples(st.just("$exists"), st.booleans()),
    st.tuples(st.just("$between"), st.tuples(_ordered, _ordered).map(list)),
    st.tuples(st.just("$like"), _patterns),
).map(lambda pair: dict([pair]))
_operands = _scalars | st.none() | _operators | _operators.map(lambda inner: {"$not": inner})
dialects = st.recursive(
    st.dictionaries(_keys, _operands, max_size=2),
    lambda inner: st.dictionaries(
        st.sampled_from(["$and", "$or", "$not"]), st.lists(inner, max_size=3), max_size=2
    ),
    max_leaves=6,
)
_moments = st.sampled_from(
    [
        {"date": "2024-01-31", "type": "date"},
        {"datetime": "2024-01-31T10:00:00", "type": "datetime"},
    ]
)
_comparisons = st.one_of(
    st.tuples(st.sampled_from(["eq", "ne"]), _scalars | _moments),
    st.tuples(st.sampled_from(["gt", "gte", "lt", "lte"]), _ordered | _moments),
    st.tuples(st.sampled_from(["in", "nin"]), _scalars | st.lists(_scalars | _moments, max_size=3)),
    st.tuples(st.just("contain"), _scalars),
    st.tuples(st.just("like"), _patterns),
)
directives = st.recursive(
    st.builds(lambda pair, key: compare(*pair, key=key), _comparisons, _keys),
    lambda inner: st.builds(Operation, st.sampled_from(Junction), st.lists(inner, max_size=3)),
    max_leaves=6,
)
_days = ["2024-01-30", "2024-01-31", "2024-01-31T10:00:00.000000Z", "2024-02-01"]
_values = _scalars | st.none() | st.lists(_scalars, max_size=2) | st.sampled_from(_days)
_rows = st.lists(st.dictionaries(_keys, _values, max_size=3), min_size=1, max_size=8)


@pytest.mark.parametrize("form", FORMS)
@given(data=st.data(), rows=_rows)
def test_their_filters_come_back_as_they_were(form, data, rows):
    theirs = data.draw(dialects if form == "dict" else directives)
    read = from_langchain_filter(theirs)
    again = from_langchain_filter(to_langchain_filter(read, form))
    for row in rows:
        assert matches(again, row) == matches(read, row)


@pytest.mark.parametrize(
    ("unknown", "named"),
    [
        ({"a": {"$regex": "x"}}, r"\$regex.*'a'.*\$eq, \$ne, \$gt.*\$like, \$not"),
        ({"a": {"eq": 1}}, r"'eq'.*\$eq"),
        ({"$nor": []}, r"\$nor.*\$and, \$or, \$not"),
        ({"$and": [{"$xor": []}]}, r"\$xor"),
        ({"a": {}}, "no operator"),
        ({"$and": {"a": 1}}, r"\$and takes a list"),
        ({"$or": [1]}, "must be a dict"),
        ({"a": [1]}, r"\$in.*\$contains"),
        ({"a": {"$eq": [1]}}, "=="),
        ({"a": {"$in": 1}}, "list"),
        ({"a": {"$between": [1]}}, "lowest"),
        ({"a": {"$exists": 1}}, "True or False"),
        ({"a": {"$not": 1}}, "dict of operators"),
        ({"a": {"$like": 1}}, "LIKE pattern"),
        ({"a": {"$gt": True}}, "number"),
        ({"a": float("nan")}, "finite"),
        ({1: 1}, "key must be a string"),
        (compare("eq", [1]), "=="),
        (compare("gt", {"date": "31.1.2024", "type": "date"}), "2024-01-31"),
        (compare("gt", {"type": "date"}), "ISO 8601"),
        (compare("gt", {"type": []}), "type"),
        ("a == 1", "FilterDirective"),
        ([("a", 1)], "FilterDirective"),
    ],
    ids=str,
)
def test_what_has_no_meaning_is_refused(unknown, named):
    with pytest.raises(InvalidFilterError, match=named):
        as_filter(unknown)


@pytest.mark.parametrize("pattern", ["a%", "%a", "a", "%a_b%", "%a%b%", "%a\\", "%a\\b%", ""])
def test_like_patterns_that_are_no_substring_are_refused(pattern):
    for filters_ in ({"a": {"$like": pattern}}, compare("like", pattern)):
        with pytest.raises(UnsupportedFilterError, match="%text%"):
            as_filter(filters_)


def test_filters_nested_too_deep_are_refused():
    dialect, directive = {"a": 1}, compare("eq", 1)
    for _ in range(60):
        dialect, directive = {"$not": dialect}, Operation(Junction.NOT, [directive])
    for deep in (dialect, directive):
        with pytest.raises(InvalidFilterError, match="nested"):
            as_filter(deep)
    for _ in range(100_000):
        dialect = {"$not": dialect}
    with pytest.raises(InvalidFilterError, match="nested"):
        as_filter(dialect)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "condition",
    [
        where("a", "b") == 1,
        where("a").is_empty(),
        where("a").text_match("x", ignore_case=True),
        where("a").all_of([]),
    ],
    ids=str,
)
def test_what_langchain_cannot_say_is_refused(condition, form):
    with pytest.raises(UnsupportedFilterError, match=r"no paths|no operator"):
        to_langchain_filter(condition & (where("b") == 1), form)


def test_operators_of_the_dialect_as_keys_are_refused():
    with pytest.raises(UnsupportedFilterError, match=r"\$and"):
        to_langchain_filter(where("$and") == 1)
    assert isinstance(to_langchain_filter(where("$and") == 1, "structured_query"), Comparison)


def test_contain_of_a_text_is_both_of_its_meanings():
    both = where("a").contains("x") | where("a").text_match("x")
    assert to_langchain_filter(both, "structured_query") == Operation(
        Junction.OR, [compare("contain", "x")]
    )
    for alone in (
        where("a").contains("x"),
        where("a").contains("x") | where("b").text_match("x"),
        where("a").contains("x") & where("a").text_match("x"),
    ):
        with pytest.raises(UnsupportedFilterError, match=r"substring|strings too"):
            to_langchain_filter(alone, "structured_query")


def test_what_is_meant_is_taken():
    condition = where("a") == 1
    assert as_filter(None) is None
    assert as_filter(condition) is condition
    assert as_filter({"a": 1}) == MetadataFilter("a", "==", 1)
    assert as_filter(compare("eq", 1)) == MetadataFilter("a", "==", 1)


@pytest.mark.parametrize("wrong", [None, {"a": 1}, "a == 1"])
@pytest.mark.parametrize("form", FORMS)
def test_only_filters_go_out(wrong, form):
    with pytest.raises(InvalidFilterError, match="MetadataFilters"):
        to_langchain_filter(wrong, form)


def test_unknown_forms_are_refused():
    with pytest.raises(InvalidQueryError, match="form"):
        to_langchain_filter(where("a") == 1, "sql")


def test_forms_have_their_types():
    assert to_langchain_filter(where("a") == 1) == {"a": {"$eq": 1}}
    assert isinstance(to_langchain_filter(where("a") == 1, "structured_query"), FilterDirective)
