"""LangChain's structured queries, as self-query retrievers make them, read as the core's filters."""

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from functools import partial
from typing import Any, Final

from langchain_core.structured_query import (
    Comparator,
    Comparison,
    Operation,
    Operator,
    StructuredQuery,
    Visitor,
)

from ragbridge.errors import InvalidFilterError, shorten
from ragbridge.filters import Condition, Filter, MetadataFilter, MetadataFilters, where
from ragbridge.filters import Operator as CoreOperator
from ragbridge.langchain._like import text_of_pattern

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
    Comparator.EQ: partial(_compare, CoreOperator.EQ),
    Comparator.NE: partial(_compare, CoreOperator.NE),
    Comparator.GT: partial(_compare, CoreOperator.GT),
    Comparator.GTE: partial(_compare, CoreOperator.GTE),
    Comparator.LT: partial(_compare, CoreOperator.LT),
    Comparator.LTE: partial(_compare, CoreOperator.LTE),
    Comparator.CONTAIN: _contains,
    Comparator.LIKE: lambda key, value: where(key).text_match(text_of_pattern(value)),
    Comparator.IN: _is_one_of,
    Comparator.NIN: lambda key, value: ~_is_one_of(key, value),
}
