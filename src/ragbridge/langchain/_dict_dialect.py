"""The dict dialect of filters that many LangChain vector stores take, read and written.

What the core has no single operator for is written with several; see `ragbridge.langchain.filters`.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from ragbridge.errors import InvalidFilterError, UnsupportedFilterError, shorten
from ragbridge.filters import (
    Condition,
    Filter,
    MetadataFilter,
    MetadataFilters,
    Operator,
    where,
)
from ragbridge.langchain._like import pattern_of_text, text_of_pattern
from ragbridge.langchain._terms import in_their_terms

_Condition = MetadataFilter | MetadataFilters


_FORM: Final = "LangChain's dict filters"

_PLAIN: Final[Mapping[Operator, str]] = {
    Operator.EQ: "$eq",
    Operator.NE: "$ne",
    Operator.GT: "$gt",
    Operator.GTE: "$gte",
    Operator.LT: "$lt",
    Operator.LTE: "$lte",
    Operator.IN: "$in",
    Operator.NIN: "$nin",
    Operator.CONTAINS: "$contains",
}


def read_dict(filters: object) -> _Condition:
    """The core's form of a filter in the dialect.

    Raises:
        InvalidFilterError: an unknown operator, or a value that does not go with its operator.
        UnsupportedFilterError: a LIKE pattern other than `%text%`.
    """
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
    if isinstance(value, list | tuple):
        raise InvalidFilterError(
            f"the key {key!r} has a list; write {{'$in': [...]}} for a value that is one of them, or "
            "{'$contains': ...} for an array that holds one"
        )
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
    return MetadataFilters([read_dict(item) for item in value], condition)


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


def _plainly(operator: Operator, key: str, value: object) -> _Condition:
    return MetadataFilter(key, operator, value)


_OPERATORS: Final[Mapping[str, Callable[[str, Any], _Condition]]] = {
    **{name: partial(_plainly, operator) for operator, name in _PLAIN.items()},
    "$exists": _exists,
    "$between": _between,
    "$like": lambda key, value: where(key).text_match(text_of_pattern(value)),
    "$not": _not,
}


def write_dict(filters: Filter) -> dict[str, Any]:
    """The dialect's form of a core filter.

    Raises:
        InvalidFilterError: no filter.
        UnsupportedFilterError: the dialect cannot say it.
    """
    if isinstance(filters, MetadataFilters):
        return _write_group(filters)
    if isinstance(filters, MetadataFilter):
        return _write_condition(filters)
    raise InvalidFilterError(f"filters must be MetadataFilters, not {shorten(filters)}")


def _write_group(group: MetadataFilters) -> dict[str, Any]:
    children = [write_dict(child) for child in group.filters]
    if not children:
        return {}
    if group.condition is Condition.NOT and len(children) == 1:
        return {"$not": children[0]}
    return {f"${group.condition}": children}


def _write_condition(condition: MetadataFilter) -> dict[str, Any]:
    said = in_their_terms(condition, _FORM)
    if isinstance(said, MetadataFilters):
        return _write_group(said)
    key = str(said.key)
    if key.startswith("$"):
        raise UnsupportedFilterError(
            f"{_FORM} take {key!r} for an operator; keys must not begin with $ there"
        )
    if said.operator is Operator.TEXT_MATCH:
        return {key: {"$like": pattern_of_text(str(said.value))}}
    if said.value is None:
        return {key: {"$exists": said.operator is Operator.NE}}
    value = list(said.value) if isinstance(said.value, tuple) else said.value
    return {key: {_PLAIN[said.operator]: value}}
