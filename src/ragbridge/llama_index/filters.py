"""LlamaIndex metadata filters <-> the core's.

They mean what `ragbridge.filters` says, on every store. That differs from LlamaIndex's own
`SimpleVectorStore` in this: `contains`, `any` and `all` look into arrays and never into strings,
`== None` is true where there is no value, a comparison of different types is false instead of an
error, a list is no value of `==`, and groups nest.
"""

from typing import Any, Final

from llama_index.core.vector_stores.types import FilterCondition, FilterOperator
from llama_index.core.vector_stores.types import MetadataFilter as LlamaIndexFilter
from llama_index.core.vector_stores.types import MetadataFilters as LlamaIndexFilters

from ragbridge.errors import InvalidFilterError, UnsupportedFilterError, shorten
from ragbridge.filters import (
    Condition,
    Filter,
    MetadataFilter,
    MetadataFilters,
    Operator,
)

__all__ = ["from_llama_index_filters", "to_llama_index_filters"]

_KINDS: Final = (int, float, str)
"""What lists of values hold there: one of these alone."""


def from_llama_index_filters(
    filters: LlamaIndexFilters | LlamaIndexFilter | Filter | None,
) -> Filter | None:
    """LlamaIndex filters as the core's; None is None.

    A condition of None means `and`. The core's own filters are taken as they are: they say what
    LlamaIndex's cannot, such as booleans, paths and `exists`.

    Raises:
        InvalidFilterError: no filters, an unknown operator or condition, or a value that makes no
            sense with its operator.
    """
    if filters is None or isinstance(filters, Filter):
        return filters
    if isinstance(filters, LlamaIndexFilter):
        return _from_one(filters)
    if isinstance(filters, LlamaIndexFilters):
        children = [from_llama_index_filters(child) for child in filters.filters]
        return MetadataFilters(
            children,  # type: ignore[arg-type] # None is refused there
            Condition.AND if filters.condition is None else _name(filters.condition),
        )
    raise InvalidFilterError(
        f"filters must be LlamaIndex's MetadataFilters or None, not {shorten(filters)}"
    )


def to_llama_index_filters(filters: Filter | None) -> LlamaIndexFilters | None:
    """The core's filters as LlamaIndex's; None is None.

    Raises:
        UnsupportedFilterError: LlamaIndex has no words for it: booleans, lists of mixed values, paths
            into nested objects, and `exists`.
        InvalidFilterError: no filters.
    """
    if filters is None:
        return None
    if isinstance(filters, MetadataFilter):
        return LlamaIndexFilters(filters=[_to_one(filters)])
    if not isinstance(filters, MetadataFilters):
        raise InvalidFilterError(f"filters must be MetadataFilters or None, not {shorten(filters)}")
    children = [
        _to_one(child) if isinstance(child, MetadataFilter) else to_llama_index_filters(child)
        for child in filters.filters
    ]
    return LlamaIndexFilters(filters=children, condition=FilterCondition(filters.condition.value))


def _from_one(condition: LlamaIndexFilter) -> MetadataFilter:
    operator = _name(condition.operator)
    # LlamaIndex demands a value of every filter and ignores this one's.
    value = None if operator == Operator.IS_EMPTY else condition.value
    return MetadataFilter(condition.key, operator, value)


def _name(value: Any) -> Any:
    return value.value if isinstance(value, FilterOperator | FilterCondition) else value


def _to_one(condition: MetadataFilter) -> LlamaIndexFilter:
    if not isinstance(condition.key, str):
        raise _unsayable(condition, "a path into nested objects")
    if condition.operator is Operator.EXISTS:
        raise _unsayable(condition, "exists")
    return LlamaIndexFilter(
        key=condition.key,
        value=_to_value(condition),
        operator=FilterOperator(condition.operator.value),
    )


def _to_value(condition: MetadataFilter) -> Any:
    value = condition.value
    if isinstance(value, bool):
        raise _unsayable(condition, "a boolean")
    if not isinstance(value, tuple):
        return value
    if value and not any(all(type(item) is kind for item in value) for kind in _KINDS):
        raise _unsayable(condition, "a list of booleans or of mixed values")
    return list(value)


def _unsayable(condition: MetadataFilter, what: str) -> UnsupportedFilterError:
    return UnsupportedFilterError(
        f"LlamaIndex's filters have no words for {what}: {condition}; filter in the core"
    )
