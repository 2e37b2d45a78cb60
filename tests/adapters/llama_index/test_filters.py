"""LlamaIndex's filters select what `matches()` says, on every store."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
)

from llama_index_stores import ask, group, make_node
from ragbridge import filters as core
from ragbridge.errors import InvalidFilterError, UnsupportedFilterError
from ragbridge.filters import Operator, matches, where
from ragbridge.llama_index import from_llama_index_filters, to_llama_index_filters
from ragbridge.testing import FILTER_TABLES
from ragbridge.testing._strategies import filters as random_filters
from ragbridge.testing._strategies import metadata as random_metadata

PEOPLE = {
    "ada": {"age": 36, "tags": ["maths", "poetry"], "home": "London", "score": 9.5},
    "bob": {"age": 25, "tags": [], "home": "Paris", "score": 1},
    "cyd": {"age": None, "tags": ["poetry"], "home": ""},
    "dan": {"home": "London Bridge"},
}


@pytest.fixture
def people(store):
    store.add([make_node(name, metadata=metadata) for name, metadata in PEOPLE.items()])
    return store


CASES = {
    "==": (("age", "==", 36), "ada"),
    "== of a text": (("home", "==", "London"), "ada"),
    "== of an integer finds a float": (("score", "==", 9.5), "ada"),
    "== of a float finds an integer": (("score", "==", 1.0), "bob"),
    "== None is true where there is no value": (("age", "==", None), "cyd dan"),
    "!= None is true where there is one": (("age", "!=", None), "ada bob"),
    "!= is true where there is no value": (("age", "!=", 36), "bob cyd dan"),
    ">": (("age", ">", 25), "ada"),
    ">=": (("age", ">=", 25), "ada bob"),
    "<": (("age", "<", 36), "bob"),
    "<=": (("age", "<=", 36), "ada bob"),
    "< of texts goes by code points": (("home", "<", "London"), "cyd"),
    "> of another type is false": (("home", ">", 1), ""),
    "in": (("age", "in", [25, 36]), "ada bob"),
    "in of texts": (("home", "in", ["Paris", "Rome"]), "bob"),
    "in of nothing": (("age", "in", []), ""),
    "nin is true where there is no value": (("age", "nin", [25]), "ada cyd dan"),
    "nin of nothing": (("age", "nin", []), "ada bob cyd dan"),
    "any": (("tags", "any", ["maths", "music"]), "ada"),
    "any of nothing": (("tags", "any", []), ""),
    "all": (("tags", "all", ["maths", "poetry"]), "ada"),
    "all of nothing": (("tags", "all", []), "ada bob cyd"),
    "contains": (("tags", "contains", "poetry"), "ada cyd"),
    "contains looks into arrays only": (("home", "contains", "London"), ""),
    "text_match": (("home", "text_match", "London"), "ada dan"),
    "text_match heeds case": (("home", "text_match", "london"), ""),
    "text_match_insensitive": (("home", "text_match_insensitive", "london"), "ada dan"),
    "text_match of a number is false": (("age", "text_match", "3"), ""),
    "is_empty": (("tags", "is_empty", None), "bob dan"),
    "is_empty of a text": (("home", "is_empty", None), "cyd"),
    "is_empty of null": (("age", "is_empty", None), "cyd dan"),
    "an unknown key": (("height", "==", 1), ""),
    "an unknown key is not anything": (("height", "!=", 1), "ada bob cyd dan"),
}


@pytest.mark.parametrize(("condition", "selected"), CASES.values(), ids=CASES)
def test_operator(people, condition, selected):
    assert sorted(ask(people, filters=group(condition))) == selected.split()
    assert [node.node_id for node in people.get_nodes(filters=group(condition))] == selected.split()


GROUPS = {
    "and": (group(("age", ">", 20), ("home", "==", "Paris")), "bob"),
    "or": (group(("age", "==", 36), ("home", "==", "Paris"), condition="or"), "ada bob"),
    "not": (group(("age", "==", 36), condition="not"), "bob cyd dan"),
    "not of several: none of them": (
        group(("age", "==", 36), ("home", "==", "Paris"), condition="not"),
        "cyd dan",
    ),
    "None is and": (group(("age", ">", 20), ("home", "==", "Paris"), condition=None), "bob"),
    "nested": (
        group(
            group(("age", ">", 30), ("tags", "contains", "poetry"), condition="or"),
            group(("home", "==", "London"), condition="not"),
        ),
        "cyd",
    ),
    "not of not": (
        group(group(("age", "==", 36), condition="not"), condition="not"),
        "ada",
    ),
    "empty": (group(), "ada bob cyd dan"),
    "empty is true, whatever its condition": (group(condition="not"), "ada bob cyd dan"),
    "not of an empty group": (group(group(), condition="not"), ""),
    "empty inside of or": (group(group(), ("age", "==", 36), condition="or"), "ada bob cyd dan"),
}


@pytest.mark.parametrize(("filters", "selected"), GROUPS.values(), ids=GROUPS)
def test_condition(people, filters, selected):
    assert sorted(ask(people, filters=filters)) == selected.split()


def test_filters_of_the_core_say_what_llama_index_cannot(people):
    people.add([make_node("eve", metadata={"spec": {"ram": 8}, "new": True})])
    assert ask(people, filters=where("spec", "ram") >= 8) == ["eve"]
    assert ask(people, filters=where("new") == True) == ["eve"]  # noqa: E712
    assert ask(people, filters=MetadataFilter(key="age", value=36)) == ["ada"]


NASTY = [
    '" or id != "',
    "' or true or '",
    'x"] or id in ["a',
    "\\",
    '\\"',
    "%",
    "_",
    "$meta",
    "a\nb",
]


@pytest.mark.parametrize("text", NASTY)
def test_no_value_or_key_changes_the_filter(store, text):
    store.add([make_node("a", metadata={"k": "v", "n": 1}), make_node("b", metadata={text: text})])
    assert ask(store, filters=group(("k", "==", text))) == []
    assert ask(store, filters=group((text, "==", text))) == ["b"]
    assert ask(store, filters=group((text, "in", [text, "other"]))) == ["b"]
    assert ask(store, filters=group((text, "text_match", text))) == ["b"]


@pytest.mark.parametrize("table", FILTER_TABLES, ids=lambda table: table.name)
def test_tables_of_the_core(node_store, table):
    node_store.add([make_node(name, metadata=data) for name, data in table.rows.items()])
    asked = [(each, wanted) for case, wanted in table.cases if (each := said(case)) is not None]
    wrong = [
        f"{filters!r}: {sorted(found)}, wanted {sorted(wanted)}"
        for filters, wanted in asked
        if (found := set(ask(node_store, filters=filters, similarity_top_k=-1))) != wanted
    ]
    assert not wrong, "\n".join(wrong)


def said(filters):
    """`filters` in LlamaIndex's words, or None where it has none."""
    try:
        return to_llama_index_filters(filters)
    except UnsupportedFilterError:
        return None


@given(random_filters(), st.lists(random_metadata(), max_size=8))
def test_what_is_said_means_the_same(filters, rows):
    if (translated := said(filters)) is not None:
        back = from_llama_index_filters(MetadataFilters.model_validate(translated.model_dump()))
        for metadata in rows:
            assert matches(back, metadata) is matches(filters, metadata)


def test_every_operator_and_condition_is_known():
    assert {each.value for each in FilterOperator} | {"exists"} == {each.value for each in Operator}
    assert {each.value for each in FilterCondition} == {each.value for each in core.Condition}


@pytest.mark.parametrize(
    ("filters", "what"),
    [
        (where("k") == True, "a boolean"),  # noqa: E712
        (where("k").in_([1, "a"]), "mixed values"),
        (where("k").in_([1, 2.5]), "mixed values"),
        (where("k").in_([True]), "a list of booleans"),
        (where("a", "b") == 1, "a path"),
        (where("k").exists(), "exists"),
        ((where("k") == 1) & ~where("k").exists(), "exists"),
    ],
    ids=str,
)
def test_what_llama_index_cannot_say(filters, what):
    with pytest.raises(UnsupportedFilterError, match=what):
        to_llama_index_filters(filters)


def test_none_is_none():
    assert from_llama_index_filters(None) is None
    assert to_llama_index_filters(None) is None


@pytest.mark.parametrize(
    "filters", [{"age": 36}, "age > 3", 3, [("age", "==", 36)], [MetadataFilter(key="a", value=1)]]
)
def test_filters_of_a_wrong_type(people, filters):
    for call in (lambda: ask(people, filters=filters), lambda: people.get_nodes(filters=filters)):
        with pytest.raises(InvalidFilterError, match="filters must be LlamaIndex's"):
            call()
    with pytest.raises(InvalidFilterError, match="filters must be"):
        people.delete_nodes(filters=filters)
    with pytest.raises(InvalidFilterError, match="filters must be"):
        to_llama_index_filters(filters)


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        (("age", "in", "36"), "in on 'age' must be a list"),
        (("age", "==", [36]), "== on 'age' must be a string"),
        (("age", ">", None), "> on 'age' must be"),
        (("home", "text_match", 3), "must be made of strings"),
    ],
)
def test_values_that_make_no_sense(people, condition, message):
    with pytest.raises(InvalidFilterError, match=message):
        ask(people, filters=group(condition))


def test_an_unknown_operator_or_condition(people):
    strange = MetadataFilter.model_construct(key="age", value=1, operator="~=")
    with pytest.raises(InvalidFilterError, match=r"operator must be one of ==.*not str '~='"):
        ask(people, filters=MetadataFilters.model_construct(filters=[strange], condition=None))
    with pytest.raises(InvalidFilterError, match="condition must be 'and', 'or' or 'not'"):
        ask(people, filters=MetadataFilters.model_construct(filters=[], condition="xor"))
