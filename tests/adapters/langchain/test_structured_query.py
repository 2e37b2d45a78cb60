"""Structured queries, read for self-query retrievers."""

import pytest
from langchain_core.structured_query import (
    Comparator,
    Comparison,
    Operation,
    Operator,
    StructuredQuery,
)

from ragbridge import InvalidFilterError, matches, where
from ragbridge.langchain.structured_query import RagbridgeTranslator

DAY = {"date": "2024-01-31", "type": "date"}
LAST_DAY = {"date": "9999-12-31", "type": "date"}
MOMENT = {"datetime": "2024-01-31T10:00:00", "type": "datetime"}
ZONED = {"datetime": "2024-01-31T11:00:00+01:00", "type": "datetime"}
ROWS = {
    "before": {"on": "2024-01-30"},
    "late before": {"on": "2024-01-30T23:59:59.999999Z"},
    "on": {"on": "2024-01-31"},
    "at ten": {"on": "2024-01-31T10:00:00.000000Z"},
    "after": {"on": "2024-02-01"},
    "none": {},
}


def compare(comparator, value):
    return Comparison(Comparator(comparator), "on", value)


@pytest.mark.parametrize(
    ("comparator", "value", "wanted"),
    [
        ("eq", DAY, ["on", "at ten"]),
        ("ne", DAY, ["before", "late before", "after", "none"]),
        ("gt", DAY, ["after"]),
        ("gte", DAY, ["on", "at ten", "after"]),
        ("lt", DAY, ["before", "late before"]),
        ("lte", DAY, ["before", "late before", "on", "at ten"]),
        ("in", DAY, ["on", "at ten"]),
        ("in", [DAY, "2024-01-30"], ["before", "on", "at ten"]),
        ("nin", [DAY, "2024-01-30"], ["late before", "after", "none"]),
        ("contain", DAY, ["on", "at ten"]),
        ("lte", LAST_DAY, ["before", "late before", "on", "at ten", "after"]),
        ("eq", MOMENT, ["at ten"]),
        ("eq", ZONED, ["at ten"]),
        ("gt", MOMENT, ["after"]),
        ("lte", MOMENT, ["before", "late before", "on", "at ten"]),
        ("in", [MOMENT], ["at ten"]),
    ],
)
def test_dates_and_datetimes(comparator, value, wanted):
    read = compare(comparator, value).accept(RagbridgeTranslator())
    assert [name for name, data in ROWS.items() if matches(read, data)] == wanted


def test_every_comparator_and_operator_is_allowed_and_read():
    translator = RagbridgeTranslator()
    assert set(translator.allowed_comparators) == set(Comparator)
    assert set(translator.allowed_operators) == set(Operator)
    for comparator in Comparator:
        value = "%x%" if comparator is Comparator.LIKE else "x"
        for operator in Operator:
            Operation(operator, [compare(comparator, value)]).accept(translator)


def test_a_structured_query_becomes_search_arguments():
    translator = RagbridgeTranslator()
    query = StructuredQuery("films", Comparison(Comparator.GT, "year", 1990), 3)
    assert translator.visit_structured_query(query) == ("films", {"filter": where("year") > 1990})
    assert translator.visit_structured_query(StructuredQuery("films", None)) == ("films", {})


@pytest.mark.parametrize(
    "moment",
    [
        {"date": "2024-02-30", "type": "date"},
        {"date": 20240131, "type": "date"},
        {"datetime": "yesterday", "type": "datetime"},
        {"datetime": "0001-01-01T00:00:00+14:00", "type": "datetime"},
    ],
)
def test_what_is_no_moment_is_refused(moment):
    with pytest.raises(InvalidFilterError, match=r"ISO 8601|out of range"):
        compare("eq", moment).accept(RagbridgeTranslator())


def test_a_translator_can_be_narrowed():
    class Narrow(RagbridgeTranslator):
        allowed_comparators = (Comparator.EQ,)
        allowed_operators = (Operator.AND,)

    with pytest.raises(ValueError, match="disallowed comparator"):
        Operation(Operator.AND, [compare("gt", 1)]).accept(Narrow())
    with pytest.raises(ValueError, match="disallowed operator"):
        Operation(Operator.OR, [compare("eq", 1)]).accept(Narrow())
