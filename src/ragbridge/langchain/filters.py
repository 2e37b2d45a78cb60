"""Filters between the core and LangChain, both ways.

LangChain has two forms. Structured queries are what self-query retrievers make; see
`RagbridgeTranslator`. The dict dialect is what many vector stores take:

| the dialect | the core |
|---|---|
| `{"a": 1}`, `{"a": {"$eq": 1}}` | `where("a") == 1` |
| `$ne` `$gt` `$gte` `$lt` `$lte` | `!=` `>` `>=` `<` `<=` |
| `$in` `$nin` | `in` `nin` |
| `$contains` | `contains`: an array that holds the value |
| `{"a": {"$exists": True}}` | `exists`; with False its negation |
| `{"a": {"$between": [1, 5]}}` | `>= 1` and `<= 5` |
| `{"a": {"$like": "%text%"}}` | `text_match`; other patterns raise |
| `{"$and": [...]}` `{"$or": [...]}` | groups |
| `{"$not": {...}}` `{"$not": [...]}` `{"a": {"$not": {"$gt": 1}}}` | none of these |

Several keys, or several operators on one key, must all hold; `{}` is true. A key is taken literally.
What an operator means is said in `ragbridge.filters`; it is the same on every store.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from langchain_core.structured_query import FilterDirective

from ragbridge.errors import InvalidFilterError, shorten
from ragbridge.filters import (
    Condition,
    Filter,
    MetadataFilter,
    MetadataFilters,
    Operator,
    where,
)
from ragbridge.langchain._like import text_of_pattern
from ragbridge.langchain.structured_query import RagbridgeTranslator

__all__ = ["as_filter", "from_langchain_filter"]

_Condition = MetadataFilter | MetadataFilters


def as_filter(value: object) -> Filter | None:
    """The filter that a caller means: a core filter, LangChain's dicts or structured query, or None.

    Raises:
        InvalidFilterError: anything else, or what has no meaning.
        UnsupportedFilterError: a LIKE pattern other than `%text%`.
    """
    if value is None or isinstance(value, Filter):
        return value
    if isinstance(value, Mapping | FilterDirective):
        return from_langchain_filter(value)
    raise InvalidFilterError(
        "filter must be MetadataFilters, a dict such as {'price': {'$lt': 100}}, or a structured "
        f"query's FilterDirective, not {shorten(value)}"
    )


def from_langchain_filter(filters: Mapping[str, Any] | FilterDirective) -> Filter:
    """The core's form of a filter in the dict dialect or of a structured query.

    Raises:
        InvalidFilterError: an unknown operator, or a value that does not go with its operator.
        UnsupportedFilterError: a LIKE pattern other than `%text%`.
    """
    try:
        if isinstance(filters, FilterDirective):
            read: Filter = filters.accept(RagbridgeTranslator())
            return read
        return _read(filters)
    except RecursionError as error:
        raise InvalidFilterError("filter is nested too deep; flatten it") from error


def _read(filters: object) -> _Condition:
    if not isinstance(filters, Mapping):
        raise InvalidFilterError(
            f"a filter must be a dict such as {{'price': {{'$lt': 100}}}}, not {shorten(filters)}"
        )
    return _all_of([_read_item(key, value) for key, value in filters.items()])


def _all_of(conditions: list[_Condition]) -> _Condition:
    return conditions[0] if len(conditions) == 1 else MetadataFilters(conditions)


def _read_item(key: object, value: object) -> _Condition:
    if not isinstance(key, str):
        raise InvalidFilterError(f"a key must be a string, not {shorten(key)}")
    if key in _GROUPS:
        return _GROUPS[key](value)
    if key.startswith("$"):
        raise _unknown(key, _GROUPS)
    if isinstance(value, Mapping):
        return _read_operators(key, value)
    return MetadataFilter(key, Operator.EQ, value)


def _read_operators(key: str, operators: Mapping[Any, Any]) -> _Condition:
    if not operators:
        raise InvalidFilterError(f"the key {key!r} has no operator; write e.g. {{'$eq': 1}}")
    return _all_of([_read_operator(key, name, value) for name, value in operators.items()])


def _read_operator(key: str, name: object, value: object) -> _Condition:
    if not isinstance(name, str) or name not in _OPERATORS:
        raise _unknown(name, _OPERATORS, f" on the key {key!r}")
    return _OPERATORS[name](key, value)


def _unknown(name: object, known: Mapping[str, Any], where_: str = "") -> InvalidFilterError:
    return InvalidFilterError(
        f"unknown operator {shorten(name)}{where_}; known are {', '.join(known)}"
    )


def _read_group(condition: Condition, name: str, value: object) -> _Condition:
    if not isinstance(value, list | tuple):
        raise InvalidFilterError(f"{name} takes a list of filters, not {shorten(value)}")
    return MetadataFilters([_read(item) for item in value], condition)


def _read_not(value: object) -> _Condition:
    return _read_group(Condition.NOT, "$not", [value] if isinstance(value, Mapping) else value)


_GROUPS: Final[Mapping[str, Callable[[object], _Condition]]] = {
    "$and": partial(_read_group, Condition.AND, "$and"),
    "$or": partial(_read_group, Condition.OR, "$or"),
    "$not": _read_not,
}


def _exists(key: str, value: object) -> _Condition:
    if not isinstance(value, bool):
        raise InvalidFilterError(f"$exists on {key!r} takes True or False, not {shorten(value)}")
    return where(key).exists() if value else ~where(key).exists()


def _between(key: str, value: object) -> _Condition:
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise InvalidFilterError(
            f"$between on {key!r} takes the lowest and the highest value, not {shorten(value)}"
        )
    lowest, highest = value
    return MetadataFilter(key, Operator.GTE, lowest) & MetadataFilter(key, Operator.LTE, highest)


def _not(key: str, value: object) -> _Condition:
    if not isinstance(value, Mapping):
        raise InvalidFilterError(f"$not on {key!r} takes a dict of operators, not {shorten(value)}")
    return ~_read_operators(key, value)


def _plainly(operator: Operator) -> Callable[[str, Any], _Condition]:
    return lambda key, value: MetadataFilter(key, operator, value)


_OPERATORS: Final[Mapping[str, Callable[[str, Any], _Condition]]] = {
    "$eq": _plainly(Operator.EQ),
    "$ne": _plainly(Operator.NE),
    "$gt": _plainly(Operator.GT),
    "$gte": _plainly(Operator.GTE),
    "$lt": _plainly(Operator.LT),
    "$lte": _plainly(Operator.LTE),
    "$in": _plainly(Operator.IN),
    "$nin": _plainly(Operator.NIN),
    "$contains": _plainly(Operator.CONTAINS),
    "$exists": _exists,
    "$between": _between,
    "$like": lambda key, value: where(key).text_match(text_of_pattern(value)),
    "$not": _not,
}
