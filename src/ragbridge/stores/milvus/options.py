"""The options of queries that Milvus knows: `VectorStoreQuery(options={...})`.

| option | is | and means |
|---|---|---|
| `search_params` | a mapping of Milvus's names | search parameters of the index, for this query |
| `consistency_level` | `"Strong"`, `"Session"`, `"Bounded"` or `"Eventually"` | which writes it sees |
| `expr` | an expression in Milvus's language | only rows that pass it too |
| `group_by` | `"document_id"` | only the best row of each document; rows without one are all kept |
| `partitions` | a list of names | only rows in these partitions |
"""

import re
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from ragbridge.errors import InvalidConfigError, InvalidQueryError, UnsupportedQueryError, shorten
from ragbridge.stores.milvus.config import check_consistency_level
from ragbridge.stores.milvus.layout import DOCUMENT_ID
from ragbridge.stores.milvus.names import check_name

# Only the escapes that every engine reads alike: where one sees a string end, all do.
_STRING: Final = re.compile(
    r""" "(?:[^"\\\r\n]|\\["'\\nrt])*" | '(?:[^'\\\r\n]|\\["'\\nrt])*' """, re.VERBOSE
)
_CLOSING: Final = {"(": ")", "[": "]", "{": "}"}


@dataclass(frozen=True, slots=True)
class QueryOptions:
    """The checked options of a query; see the module for what they mean."""

    search_params: Mapping[str, Any] = field(default_factory=dict)
    consistency_level: str | None = None
    expr: str | None = None
    group_by: str | None = None
    partitions: tuple[str, ...] | None = None

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> "QueryOptions":
        """The options of a query.

        Raises:
            UnsupportedQueryError: an option is unknown; the message lists those that there are.
            InvalidQueryError: a value is wrong; the message names the option and what it may be.
        """
        if not options:
            return NO_OPTIONS
        for name in options:
            if name not in OPTIONS:
                raise UnsupportedQueryError(
                    f"MilvusVectorStore does not know the option {shorten(name)}; it knows "
                    f"{', '.join(sorted(OPTIONS))}"
                )
        return cls(**{name: OPTIONS[name](value) for name, value in options.items()})

    @property
    def key(self) -> Hashable:
        """Equal for queries that have the same options."""
        params = tuple(sorted(self.search_params.items()))
        return params, self.consistency_level, self.expr, self.group_by, self.partitions


def _check_search_params(value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise InvalidQueryError(
            f"the option search_params must be a mapping of names, not {shorten(value)}"
        )
    return dict(value)  # what is in it, the index checks


def _check_level(value: object) -> str:
    try:
        return check_consistency_level(value)
    except InvalidConfigError as error:
        raise InvalidQueryError(f"the option {error}") from error


def _check_expr(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise InvalidQueryError(
            f"the option expr must be an expression in Milvus's language, not {shorten(value)}"
        )
    if complaint := _complaint_about(_STRING.sub("", value)):
        raise InvalidQueryError(f"the option expr {complaint}")
    return value


def _complaint_about(rest: str) -> str | None:
    """What is wrong with an expression that was left without its strings.

    Nothing in it may end what it is put into.
    """
    if any(mark in rest for mark in "\"'\\"):
        return "has a string that does not end, or an escape other than \\\\ \\\" \\' \\n \\r \\t"
    expected: list[str] = []
    for char in rest:
        if char in _CLOSING:
            expected.append(_CLOSING[char])
        elif char in _CLOSING.values() and (not expected or char != expected.pop()):
            return f"has a {char!r} without its opening bracket"
    return f"lacks a {expected[-1]!r}" if expected else None


def _check_group_by(value: object) -> str:
    if value != DOCUMENT_ID:
        raise InvalidQueryError(
            f"the option group_by must be {DOCUMENT_ID!r}, not {shorten(value)}"
        )
    return DOCUMENT_ID


def _check_partitions(value: object) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, list | tuple | set | frozenset):
        raise InvalidQueryError(
            f"the option partitions must be a list of names, not {shorten(value)}"
        )
    try:
        return tuple(check_name(name, "an item of the option partitions") for name in value)
    except InvalidConfigError as error:
        raise InvalidQueryError(str(error)) from error


NO_OPTIONS: Final = QueryOptions()

OPTIONS: Final[Mapping[str, Callable[[object], Any]]] = MappingProxyType(
    {
        "search_params": _check_search_params,
        "consistency_level": _check_level,
        "expr": _check_expr,
        "group_by": _check_group_by,
        "partitions": _check_partitions,
    }
)
"""The options by name, and what checks each."""
