"""LangChain's structured queries, as self-query retrievers make them, read as the core's filters."""

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from functools import partial
from typing import Any, Final, TypeGuard

from langchain_core.structured_query import (
    Comparator,
    Comparison,
    FilterDirective,
    Operation,
    Operator,
    StructuredQuery,
    Visitor,
)

from ragbridge.errors import InvalidFilterError, UnsupportedFilterError, shorten
from ragbridge.filters import Condition, Filter, MetadataFilter, MetadataFilters, where
from ragbridge.filters import Operator as CoreOperator
from ragbridge.langchain._like import pattern_of_text, text_of_pattern
from ragbridge.langchain._terms import in_their_terms

__all__ = ["RagbridgeTranslator"]


class RagbridgeTranslator(Visitor):
    r"""Makes core filters of structured queries, for `SelfQueryRetriever`.

    ```python
    SelfQueryRetriever.from_llm(
        model, vector_store, "films", fields, structured_query_translator=RagbridgeTranslator()
    )
    ```

    Every comparator and operator is understood:

    - `contain` finds arrays that hold the value and, for a text, strings with it as a substring.
    - `like` finds a substring (`%text%`); `\%`, `\_` and `\\` stand for the characters themselves.
    - `in` and `nin` take a single value as a list of one.
    - A date, `{"date": "2024-01-31", "type": "date"}`, is the whole day, in texts that begin with it
      (`2024-01-31`) as in stored datetimes, which are in UTC: `gt` means after that day.
    - A datetime without a zone, `{"datetime": "2024-01-31T10:00:00", "type": "datetime"}`, is in UTC.
    """

    allowed_comparators = tuple(Comparator)
    allowed_operators = tuple(Operator)

    def visit_operation(self, operation: Operation) -> MetadataFilters:
        """`and`: all of the arguments, `or`: one of them, `not`: none of them.

        Raises:
            InvalidFilterError: an argument has no meaning.
            UnsupportedFilterError: an argument is a LIKE pattern other than `%text%`.
        """
        self._validate_func(operation.operator)
        arguments = [argument.accept(self) for argument in operation.arguments]
        return MetadataFilters(arguments, Condition(operation.operator.value))

    def visit_comparison(self, comparison: Comparison) -> MetadataFilter | MetadataFilters:
        """The condition on one key.

        Raises:
            InvalidFilterError: the value does not go with the comparator.
            UnsupportedFilterError: a LIKE pattern other than `%text%`.
        """
        self._validate_func(comparison.comparator)
        return _READERS[comparison.comparator](comparison.attribute, comparison.value)

    def visit_structured_query(
        self, structured_query: StructuredQuery
    ) -> tuple[str, dict[str, Filter]]:
        """The text to search for, and the keyword arguments for the search.

        Raises:
            InvalidFilterError: the filter has no meaning.
            UnsupportedFilterError: there is a LIKE pattern other than `%text%`.
        """
        if structured_query.filter is None:
            return structured_query.query, {}
        return structured_query.query, {"filter": structured_query.filter.accept(self)}


_Condition = MetadataFilter | MetadataFilters

_FORM: Final = "LangChain's structured queries"

_COMPARATORS: Final[Mapping[CoreOperator, Comparator]] = {
    CoreOperator.EQ: Comparator.EQ,
    CoreOperator.NE: Comparator.NE,
    CoreOperator.GT: Comparator.GT,
    CoreOperator.GTE: Comparator.GTE,
    CoreOperator.LT: Comparator.LT,
    CoreOperator.LTE: Comparator.LTE,
    CoreOperator.IN: Comparator.IN,
    CoreOperator.NIN: Comparator.NIN,
    CoreOperator.CONTAINS: Comparator.CONTAIN,
}


def _compare(operator: CoreOperator, key: str, value: Any) -> _Condition:
    scalar = _scalar(value)
    if isinstance(scalar, _Day):
        return _DAYS[operator](key, scalar)
    return MetadataFilter(key, operator, scalar)


class _Day(str):
    """A date as texts begin with it: `2024-01-31`."""

    __slots__ = ()


def _scalar(value: Any) -> Any:
    """`value`, with the dates and datetimes of structured queries as days and Python's datetimes."""
    kind = str(value.get("type")) if isinstance(value, Mapping) else ""
    if kind not in _MOMENTS:
        return value
    read, example = _MOMENTS[kind]
    try:
        return read(value[kind])
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidFilterError(
            f"a {kind} must be given in ISO 8601, as {example!r}, not {shorten(value)}"
        ) from error


def _datetime(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


_MOMENTS: Final[Mapping[str, tuple[Callable[[str], Any], str]]] = {
    "date": (lambda text: _Day(date.fromisoformat(text).isoformat()), "2024-01-31"),
    "datetime": (_datetime, "2024-01-31T10:00:00"),
}


def _on(key: str, day: str) -> MetadataFilters:
    return (where(key) >= day) & (where(key) < _after(day))


def _after(day: str) -> str:
    """What is above every text that begins with `day`, and below the next day; 9999-12-31 has one."""
    return day[:-1] + chr(ord(day[-1]) + 1)


_DAYS: Final[Mapping[CoreOperator, Callable[[str, str], _Condition]]] = {
    CoreOperator.EQ: _on,
    CoreOperator.NE: lambda key, day: ~_on(key, day),
    CoreOperator.GT: lambda key, day: where(key) >= _after(day),
    CoreOperator.GTE: lambda key, day: where(key) >= day,
    CoreOperator.LT: lambda key, day: where(key) < day,
    CoreOperator.LTE: lambda key, day: where(key) < _after(day),
}


def _is_one_of(key: str, value: Any) -> _Condition:
    items = [_scalar(item) for item in (value if isinstance(value, list | tuple) else [value])]
    days = [item for item in items if isinstance(item, _Day)]
    others = where(key).in_([item for item in items if not isinstance(item, _Day)])
    alternatives = [others, *(_on(key, day) for day in days)]
    return MetadataFilters(alternatives, Condition.OR) if days else others


def _contains(key: str, value: Any) -> _Condition:
    scalar = _scalar(value)
    held = where(key).contains(scalar)
    return held | where(key).text_match(scalar) if isinstance(scalar, str) else held


_READERS: Final[Mapping[Comparator, Callable[[str, Any], _Condition]]] = {
    **{_COMPARATORS[operator]: partial(_compare, operator) for operator in _DAYS},
    Comparator.CONTAIN: _contains,
    Comparator.LIKE: lambda key, value: where(key).text_match(text_of_pattern(value)),
    Comparator.IN: _is_one_of,
    Comparator.NIN: lambda key, value: ~_is_one_of(key, value),
}


def write_directive(filters: Filter) -> FilterDirective:
    """The structured query's form of a core filter.

    Raises:
        InvalidFilterError: no filter.
        UnsupportedFilterError: structured queries cannot say it.
    """
    if isinstance(filters, MetadataFilters):
        return _write_group(filters)
    if isinstance(filters, MetadataFilter):
        return _write_condition(filters)
    raise InvalidFilterError(f"filters must be MetadataFilters, not {shorten(filters)}")


def _write_group(group: MetadataFilters) -> FilterDirective:
    if not group.filters:
        return Operation(Operator.AND, [])
    children = [
        in_their_terms(child, _FORM) if isinstance(child, MetadataFilter) else child
        for child in group.filters
    ]
    written = _contained_texts(children) if group.condition is Condition.OR else []
    return Operation(
        Operator(group.condition.value), [*written, *(write_directive(c) for c in children)]
    )


def _contained_texts(alternatives: list[_Condition]) -> list[FilterDirective]:
    """What `contain` says of a text takes two conditions: take those out where both are there."""
    written: list[FilterDirective] = []
    for held in [each for each in alternatives if _is_contained_text(each)]:
        found = MetadataFilter(held.key, CoreOperator.TEXT_MATCH, held.value)
        if found in alternatives:
            alternatives.remove(found)
            alternatives.remove(held)
            written.append(Comparison(Comparator.CONTAIN, str(held.key), held.value))
    return written


def _is_contained_text(condition: _Condition) -> TypeGuard[MetadataFilter]:
    return (
        isinstance(condition, MetadataFilter)
        and condition.operator is CoreOperator.CONTAINS
        and isinstance(condition.value, str)
    )


def _write_condition(condition: MetadataFilter) -> FilterDirective:
    said = in_their_terms(condition, _FORM)
    if isinstance(said, MetadataFilters):
        return _write_group(said)
    if _is_contained_text(said):
        raise UnsupportedFilterError(
            f"{_FORM} cannot say {condition}: their `contain` finds the text in strings too; "
            "where that is meant, add a text_match with or"
        )
    if said.operator is CoreOperator.TEXT_MATCH:
        return Comparison(Comparator.LIKE, str(said.key), pattern_of_text(str(said.value)))
    value = list(said.value) if isinstance(said.value, tuple) else said.value
    return Comparison(_COMPARATORS[said.operator], str(said.key), value)
