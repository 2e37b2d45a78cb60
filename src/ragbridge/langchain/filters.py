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

On the way out `any` and `all` become groups of `$contains`. What cannot be said raises: paths,
`is_empty`, `text_match_insensitive`, `all []`, and keys that begin with `$`. Structured queries take any
top-level key, but their `contain` finds substrings too, so `contains` with a text cannot be said alone.
"""

from collections.abc import Mapping
from typing import Any, Literal, overload

from langchain_core.structured_query import FilterDirective

from ragbridge.errors import InvalidFilterError, InvalidQueryError, shorten
from ragbridge.filters import Filter
from ragbridge.langchain._dict_dialect import read_dict, write_dict
from ragbridge.langchain.structured_query import RagbridgeTranslator, write_directive

__all__ = ["as_filter", "from_langchain_filter", "to_langchain_filter"]


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
        return read_dict(filters)
    except RecursionError as error:
        raise InvalidFilterError("filter is nested too deep; flatten it") from error


@overload
def to_langchain_filter(filters: Filter, form: Literal["dict"] = "dict") -> dict[str, Any]: ...


@overload
def to_langchain_filter(filters: Filter, form: Literal["structured_query"]) -> FilterDirective: ...


def to_langchain_filter(
    filters: Filter, form: Literal["dict", "structured_query"] = "dict"
) -> dict[str, Any] | FilterDirective:
    """LangChain's form of a core filter, which `from_langchain_filter` reads back.

    Args:
        filters: The filter.
        form: `"dict"` for the dict dialect, `"structured_query"` for a `FilterDirective`.

    Raises:
        UnsupportedFilterError: the form cannot say it.
        InvalidFilterError: filters is no filter.
        InvalidQueryError: there is no such form.
    """
    if form == "dict":
        return write_dict(filters)
    if form == "structured_query":
        return write_directive(filters)
    raise InvalidQueryError(f"form must be 'dict' or 'structured_query', not {shorten(form)}")
