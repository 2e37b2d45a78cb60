"""Filters as text: what `str` writes, `MetadataFilters.parse` reads."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragbridge.errors import InvalidFilterError
from ragbridge.filters import MetadataFilter, MetadataFilters, Operator, matches, where

A, B = where("a") == 1, where("b") == "x"


@pytest.mark.parametrize(
    ("text", "filters"),
    [
        ("price < 100", where("price") < 100),
        ("100 > price", where("price") < 100),
        ("10 <= price < 20", (where("price") >= 10) & (where("price") < 20)),
        ('a == 1 and b == "x"', A & B),
        ("a == 1 or b == 'x'", A | B),
        ("not (a == 1 or b == 'x')", MetadataFilters([A | B], "not")),
        ("(a == 1 or b == 'x') and a == 1", MetadataFilters([A | B, A])),
        ("a == 1\n  and b == 'x'\r\n", A & B),
        ("spec.ram >= 16", where("spec", "ram") >= 16),
        ('metadata["unit price"] != null', where("unit price") != None),  # noqa: E711
        ('metadata["spec"]["ram"] == -1.5', where("spec", "ram") == -1.5),
        ("metadata == 1", where("metadata") == 1),
        ("color in ['red', \"blue\"]", where("color").in_(["red", "blue"])),
        ("color not in []", where("color").not_in([])),
        ("new == true", where("new") == True),  # noqa: E712
        ("contains(tags, 'a')", where("tags").contains("a")),
        ("any(tags, ['a', 1])", where("tags").any_of(["a", 1])),
        ("all(tags, [])", where("tags").all_of([])),
        ("text_match(title, '%')", where("title").text_match("%")),
        ("text_match_insensitive(title, 'A')", where("title").text_match("A", ignore_case=True)),
        ("exists(a.b)", where("a", "b").exists()),
        ("not is_empty(a)", ~where("a").is_empty()),
        ("true", MetadataFilters()),
    ],
)
def test_reads(text, filters):
    expected = filters if isinstance(filters, MetadataFilters) else MetadataFilters([filters])
    assert MetadataFilters.parse(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "price",
        "price <",
        "price < cheap",
        "1 < 2",
        "a == 1 and",
        "a is 1",
        "a + 1 == 2",
        "f(a)",
        "exists()",
        "contains(a, b=1)",
        "exists(a, 1)",
        "a[0] == 1",
        "a == {}",
        "a == {'b': 1}",
        "__import__('os').system('true') == 1",
        "true == 1",
        "a in 'text'",
        "a == '\\d'",
        "a == 1e999",
        "a" + ".a" * 100_000 + " == 1",
        "not " * 10_000 + "exists(a)",
        "a == '\x00'",
        3,
    ],
)
def test_refuses_what_it_cannot_read(text):
    with pytest.raises(InvalidFilterError):
        MetadataFilters.parse(text)


def test_shows_filters_as_a_reader_would_write_them():
    filters = (where("price") < 100) & ((where("unit price") == "5 €") | ~where("new").exists())
    assert str(filters) == (
        'price < 100 and (metadata["unit price"] == "5 €" or not (exists(new)))'
    )


keys = st.text(max_size=5) | st.sampled_from(["a", "b", "not", "true", "metadata", "ﬁ", "a.b"])
scalars = st.text(max_size=5) | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
conditions = st.one_of(
    st.builds(
        MetadataFilter, keys, st.sampled_from(["==", "!="]), scalars | st.booleans() | st.none()
    ),
    st.builds(MetadataFilter, keys, st.sampled_from([">", "<="]), scalars),
    st.builds(
        MetadataFilter, keys, st.sampled_from(["in", "nin", "any", "all"]), st.lists(scalars)
    ),
    st.builds(
        MetadataFilter,
        st.lists(keys, min_size=1, max_size=3).map(tuple),
        st.sampled_from([Operator.EXISTS, Operator.IS_EMPTY]),
    ),
)
groups = st.recursive(
    conditions,
    lambda inner: st.builds(
        MetadataFilters, st.lists(inner, max_size=3), st.sampled_from(["and", "or", "not"])
    ),
    max_leaves=8,
)


@given(groups, st.dictionaries(keys, scalars | st.booleans() | st.none()))
def test_text_keeps_the_meaning(filters, metadata):
    assert matches(MetadataFilters.parse(str(filters)), metadata) == matches(filters, metadata)


@given(conditions)
def test_text_of_one_condition_is_exact(condition):
    assert MetadataFilters.parse(str(condition)) == MetadataFilters([condition])
