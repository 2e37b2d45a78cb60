"""Metadata filters, and what they mean.

`matches(filters, metadata)` is the definition: every store and every adapter selects exactly the
rows that it selects. Logic is two-valued throughout.

| operator | true when |
|---|---|
| `==` | the key is present and its value equals: numbers by exact value (`1 == 1.0`, `2**53 + 1 != 2.0**53`), strings by code points, booleans only with booleans (True is not 1) |
| `!=` | not `==`: also when the key is missing, null or of another type |
| `>` `>=` `<` `<=` | present, and both numbers (exact) or both strings (code point order) |
| `in` | equal to one of the listed scalars; `in []` is false |
| `nin` | not `in`: also when missing; `nin []` is true |
| `contains` `any` `all` | the value is an array that holds the scalar / any / all of the listed scalars |
| `text_match` `text_match_insensitive` | the value is a string that has the text as a substring |
| `exists` `is_empty` | there with a non-null value / missing, null, `""` or `[]` |

Conditions are `and`, `or` and `not` (none of the children matches). An empty group is true wherever
it stands, so its negation is false. A missing key and an explicit null are the same thing. `== None`
means not-exists, `!= None` means exists. `any []` is false, `all []` is true for every array and
`text_match ""` for every string. Case-insensitive means `str.lower` on both sides. `contains`, `any`
and `all` look into arrays only; LlamaIndex's SimpleVectorStore also finds substrings with `contains`.

A key is a top-level key, taken literally; a tuple of strings is a path into nested objects. An array
on a path ends it: missing.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from math import isfinite
from operator import ge, gt, le, lt
from typing import Any, Final, Never, TypeAlias

from ragbridge.documents import format_datetime
from ragbridge.errors import InvalidDocumentError, InvalidFilterError, shorten

__all__ = [
    "Condition",
    "Filter",
    "FilterField",
    "FilterValue",
    "MetadataFilter",
    "MetadataFilters",
    "Operator",
    "Scalar",
    "matches",
    "where",
]

Scalar: TypeAlias = str | int | float | bool
FilterValue: TypeAlias = Scalar | tuple[Scalar, ...] | None

_MAX_DEPTH = 50


class Operator(StrEnum):
    """What a `MetadataFilter` asks of the value; see the module's table."""

    EQ = "=="
    NE = "!="
    GT = ">"
    GTE = ">="
    LT = "<"
    LTE = "<="
    IN = "in"
    NIN = "nin"
    CONTAINS = "contains"
    ANY = "any"
    ALL = "all"
    TEXT_MATCH = "text_match"
    TEXT_MATCH_INSENSITIVE = "text_match_insensitive"
    EXISTS = "exists"
    IS_EMPTY = "is_empty"


class Condition(StrEnum):
    """How a group combines its children: all of them, one of them, none of them."""

    AND = "and"
    OR = "or"
    NOT = "not"


ORDERINGS: Final[Mapping[Operator, Callable[[Any, Any], bool]]] = {
    Operator.GT: gt,
    Operator.GTE: ge,
    Operator.LT: lt,
    Operator.LTE: le,
}
LIST_OPERATORS: Final = frozenset({Operator.IN, Operator.NIN, Operator.ANY, Operator.ALL})
TEXT_OPERATORS: Final = frozenset({Operator.TEXT_MATCH, Operator.TEXT_MATCH_INSENSITIVE})
UNARY_OPERATORS: Final = frozenset({Operator.EXISTS, Operator.IS_EMPTY})


class Filter:
    """What `MetadataFilter` and `MetadataFilters` share: `&`, `|`, `~`, JSON, and no truth value."""

    __slots__ = ()

    def __and__(self, other: "Filter") -> "MetadataFilters":
        return _combine(Condition.AND, self, other)

    def __or__(self, other: "Filter") -> "MetadataFilters":
        return _combine(Condition.OR, self, other)

    def __invert__(self) -> "MetadataFilters":
        return MetadataFilters([_require_filter(self)], condition=Condition.NOT)

    def __bool__(self) -> Never:
        raise InvalidFilterError(
            "a filter has no truth value; combine filters with & | ~ instead of and, or, not, and "
            "write a range as (where('x') > 1) & (where('x') < 5)"
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form, read back by `MetadataFilters.from_dict`."""
        raise NotImplementedError

    def to_json(self) -> str:
        """JSON text, read back by `MetadataFilters.from_json`."""
        return json.dumps(self.to_dict(), ensure_ascii=False)


@dataclass(frozen=True, slots=True, init=False)
class MetadataFilter(Filter):
    """One condition on one metadata key.

    Attributes:
        key: A top-level key, literally, or a tuple of at least two strings: a path.
        operator: An `Operator` or its text.
        value: A scalar; for `in`, `nin`, `any` and `all` a tuple of scalars (any iterable is
            accepted); None for `exists` and `is_empty`. Datetimes with a zone become text.

    Raises:
        InvalidFilterError: the key, the operator or the value has no meaning.
    """

    key: str | tuple[str, ...]
    operator: Operator
    value: FilterValue

    def __init__(
        self,
        key: str | Sequence[str],
        operator: Operator | str = Operator.EQ,
        value: object = None,
    ) -> None:
        object.__setattr__(self, "key", _check_key(key))
        object.__setattr__(self, "operator", _check_operator(operator))
        object.__setattr__(self, "value", _check_value(self.operator, value, self.key))

    def __eq__(self, other: object) -> bool:
        # By text, since Python's 1 == True, and a filter's is not.
        return repr(self) == repr(other) if isinstance(other, MetadataFilter) else NotImplemented

    @property
    def path(self) -> tuple[str, ...]:
        """The key as a path: a top-level key is a path of one."""
        return (self.key,) if isinstance(self.key, str) else self.key

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form: `{"key": ..., "operator": ..., "value": ...}`."""
        result: dict[str, Any] = {
            "key": self.key if isinstance(self.key, str) else list(self.key),
            "operator": str(self.operator),
        }
        if self.operator not in UNARY_OPERATORS:
            result["value"] = list(self.value) if isinstance(self.value, tuple) else self.value
        return result

    def __repr__(self) -> str:
        value = list(self.value) if isinstance(self.value, tuple) else self.value
        if self.operator in UNARY_OPERATORS:
            return f"MetadataFilter({self.key!r}, {str(self.operator)!r})"
        return f"MetadataFilter({self.key!r}, {str(self.operator)!r}, {value!r})"

    def __str__(self) -> str:
        from ragbridge._filter_text import render

        return render(self)


@dataclass(frozen=True, slots=True, init=False)
class MetadataFilters(Filter):
    """A group of filters and groups under a condition.

    Attributes:
        filters: The children. An empty group is true.
        condition: `and` (all of them), `or` (one of them) or `not` (none of them).

    Raises:
        InvalidFilterError: a child is no filter, the condition is unknown, or nesting exceeds 50.
    """

    filters: tuple["MetadataFilter | MetadataFilters", ...]
    condition: Condition
    _depth: int = field(repr=False, compare=False)

    def __init__(
        self,
        filters: "Iterable[Filter] | Filter" = (),
        condition: Condition | str = Condition.AND,
    ) -> None:
        children = (filters,) if isinstance(filters, Filter) else _check_iterable(filters)
        object.__setattr__(self, "filters", tuple(_require_filter(child) for child in children))
        object.__setattr__(self, "condition", _check_condition(condition))
        depths = [child._depth for child in self.filters if isinstance(child, MetadataFilters)]
        object.__setattr__(self, "_depth", 1 + max(depths, default=0))
        if self._depth > _MAX_DEPTH:
            raise InvalidFilterError(
                f"filters are nested deeper than {_MAX_DEPTH} groups; flatten them: and/or groups "
                "take any number of children"
            )

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "MetadataFilters":
        """The filters that `to_dict` wrote; a single filter comes back as a group of one.

        Raises:
            InvalidFilterError: the data has another shape.
        """
        made = _from_dict(data, 0)
        return made if isinstance(made, MetadataFilters) else cls([made])

    @classmethod
    def from_json(cls, text: str | bytes) -> "MetadataFilters":
        """The filters that `to_json` wrote.

        Raises:
            InvalidFilterError: no JSON, or JSON of another shape.
        """
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InvalidFilterError(f"filters are no JSON: {error}") from error
        return cls.from_dict(data)

    @classmethod
    def parse(cls, text: str) -> "MetadataFilters":
        """The filters that a text says, in the language that `str(filters)` writes.

        For example `price < 100 and (category == "Books" or not exists(stock))`. A bare name is a
        top-level key, dots lead into nested objects, `metadata["any key"]` takes any key.

        Raises:
            InvalidFilterError: the text cannot be read.
        """
        from ragbridge._filter_text import parse

        return parse(text)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form: `{"condition": ..., "filters": [...]}`."""
        return {
            "condition": str(self.condition),
            "filters": [child.to_dict() for child in self.filters],
        }

    def __repr__(self) -> str:
        return f"MetadataFilters({list(self.filters)!r}, condition={str(self.condition)!r})"

    def __str__(self) -> str:
        from ragbridge._filter_text import render

        return render(self)


class FilterField:
    """A metadata key on which operators make filters; see `where`."""

    __slots__ = ("_key",)
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, key: str | tuple[str, ...]) -> None:
        self._key = _check_key(key)

    def __eq__(self, value: object) -> MetadataFilter:  # type: ignore[override]
        return MetadataFilter(self._key, Operator.EQ, value)

    def __ne__(self, value: object) -> MetadataFilter:  # type: ignore[override]
        return MetadataFilter(self._key, Operator.NE, value)

    def __gt__(self, value: object) -> MetadataFilter:
        return MetadataFilter(self._key, Operator.GT, value)

    def __ge__(self, value: object) -> MetadataFilter:
        return MetadataFilter(self._key, Operator.GTE, value)

    def __lt__(self, value: object) -> MetadataFilter:
        return MetadataFilter(self._key, Operator.LT, value)

    def __le__(self, value: object) -> MetadataFilter:
        return MetadataFilter(self._key, Operator.LTE, value)

    def in_(self, values: Iterable[Scalar | datetime]) -> MetadataFilter:
        """Equal to one of `values`."""
        return MetadataFilter(self._key, Operator.IN, values)

    def not_in(self, values: Iterable[Scalar | datetime]) -> MetadataFilter:
        """Equal to none of `values`, or missing."""
        return MetadataFilter(self._key, Operator.NIN, values)

    def contains(self, value: Scalar | datetime) -> MetadataFilter:
        """An array that holds `value`."""
        return MetadataFilter(self._key, Operator.CONTAINS, value)

    def any_of(self, values: Iterable[Scalar | datetime]) -> MetadataFilter:
        """An array that holds at least one of `values`."""
        return MetadataFilter(self._key, Operator.ANY, values)

    def all_of(self, values: Iterable[Scalar | datetime]) -> MetadataFilter:
        """An array that holds every one of `values`."""
        return MetadataFilter(self._key, Operator.ALL, values)

    def text_match(self, text: str, *, ignore_case: bool = False) -> MetadataFilter:
        """A string that has `text` as a substring."""
        operator = Operator.TEXT_MATCH_INSENSITIVE if ignore_case else Operator.TEXT_MATCH
        return MetadataFilter(self._key, operator, text)

    def exists(self) -> MetadataFilter:
        """There, with a value that is not null."""
        return MetadataFilter(self._key, Operator.EXISTS)

    def is_empty(self) -> MetadataFilter:
        """Missing, null, `""` or `[]`."""
        return MetadataFilter(self._key, Operator.IS_EMPTY)

    def __bool__(self) -> Never:
        raise InvalidFilterError(
            f"where({self._key!r}) is no filter yet; compare it or call .exists()"
        )

    def __repr__(self) -> str:
        parts = (self._key,) if isinstance(self._key, str) else self._key
        return f"where({', '.join(map(repr, parts))})"


def where(*path: str) -> FilterField:
    """The start of a filter: `where("price") < 100`, `where("spec", "ram") >= 16`.

    One argument is a top-level key, taken literally; several are a path into nested objects.

    Raises:
        InvalidFilterError: no path, or a part that is no string.
    """
    return FilterField(path)


def matches(filters: Filter | None, metadata: Mapping[str, Any]) -> bool:
    """Whether `metadata` fulfils `filters`: the definition of what a filter means.

    None filters nothing.
    """
    if filters is None:
        return True
    if isinstance(filters, MetadataFilter):
        return matches_value(filters, _lookup(metadata, filters.path))
    if not isinstance(filters, MetadataFilters):
        raise InvalidFilterError(f"filters must be MetadataFilters, not {shorten(filters)}")
    if not filters.filters:
        return True
    results = (matches(child, metadata) for child in filters.filters)
    if filters.condition is Condition.AND:
        return all(results)
    if filters.condition is Condition.OR:
        return any(results)
    return not any(results)


def _lookup(metadata: Mapping[str, Any], path: Sequence[str]) -> Any:
    """The value at `path`, or None: a missing key and a null are the same thing to a filter."""
    value: Any = metadata
    for part in path:
        if not isinstance(value, Mapping):
            return None
        value = value.get(part)
    return value


def matches_value(condition: MetadataFilter, value: Any) -> bool:
    """Whether one metadata value (None where missing) fulfils one condition."""
    operator, wanted = condition.operator, condition.value
    if operator in ORDERINGS:
        return _same_order(value, wanted) and ORDERINGS[operator](value, wanted)
    if operator in TEXT_OPERATORS:
        return _has_text(value, wanted, operator)
    return _TESTS[operator](value, wanted)


def _equal(one: Any, other: Any) -> bool:
    """Equality of JSON scalars: numbers by exact value, booleans only with booleans."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, str) or isinstance(other, str):
        return isinstance(one, str) and isinstance(other, str) and one == other
    return isinstance(one, int | float) and isinstance(other, int | float) and one == other


def _equal_or_both_missing(value: Any, wanted: Any) -> bool:
    return value is None if wanted is None else _equal(value, wanted)


def _same_order(value: Any, wanted: Any) -> bool:
    if isinstance(value, str):
        return isinstance(wanted, str)
    return _is_number(value) and _is_number(wanted)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _has_text(value: Any, text: Any, operator: Operator) -> bool:
    if not isinstance(value, str):
        return False
    if operator is Operator.TEXT_MATCH:
        return text in value
    return text.lower() in value.lower()


def _holds(value: Any, wanted: Any) -> bool:
    return isinstance(value, list) and any(_equal(item, wanted) for item in value)


def _holds_all(value: Any, wanted: Any) -> bool:
    return isinstance(value, list) and all(_holds(value, item) for item in wanted)


def _is_one_of(value: Any, wanted: Any) -> bool:
    return any(_equal(value, item) for item in wanted)


_TESTS: Final[Mapping[Operator, Callable[[Any, Any], bool]]] = {
    Operator.EQ: _equal_or_both_missing,
    Operator.NE: lambda value, wanted: not _equal_or_both_missing(value, wanted),
    Operator.IN: _is_one_of,
    Operator.NIN: lambda value, wanted: not _is_one_of(value, wanted),
    Operator.CONTAINS: _holds,
    Operator.ANY: lambda value, wanted: any(_holds(value, item) for item in wanted),
    Operator.ALL: _holds_all,
    Operator.EXISTS: lambda value, _: value is not None,
    Operator.IS_EMPTY: lambda value, _: value is None or value in ("", []),
}


def _combine(condition: Condition, left: Filter, right: Filter) -> MetadataFilters:
    if not isinstance(right, Filter):
        raise InvalidFilterError(
            f"{condition} needs a filter on its right, not {shorten(right)}; put comparisons in "
            "parentheses: (where('a') == 1) & (where('b') == 2)"
        )
    return MetadataFilters([*_operands(condition, left), *_operands(condition, right)], condition)


def _operands(condition: Condition, operand: Filter) -> Sequence[Filter]:
    # An empty group is true, so it may not vanish into its parent.
    if isinstance(operand, MetadataFilters) and operand.filters and operand.condition is condition:
        return operand.filters
    return (operand,)


def _require_filter(child: object) -> "MetadataFilter | MetadataFilters":
    if isinstance(child, MetadataFilter | MetadataFilters):
        return child
    raise InvalidFilterError(
        f"filters must hold MetadataFilter or MetadataFilters, not {shorten(child)}"
    )


def _check_iterable(filters: object) -> Iterable[object]:
    if isinstance(filters, Iterable) and not isinstance(filters, str | bytes | Mapping):
        return filters
    raise InvalidFilterError(f"filters must be a sequence of filters, not {shorten(filters)}")


def _check_condition(condition: object) -> Condition:
    try:
        return Condition(condition)  # type: ignore[arg-type]
    except ValueError as error:
        raise InvalidFilterError(
            f"condition must be 'and', 'or' or 'not', not {shorten(condition)}"
        ) from error


def _check_operator(operator: object) -> Operator:
    try:
        return Operator(operator)  # type: ignore[arg-type]
    except ValueError as error:
        known = ", ".join(Operator)
        raise InvalidFilterError(
            f"operator must be one of {known}; not {shorten(operator)}"
        ) from error


def _check_key(key: object) -> str | tuple[str, ...]:
    parts = (key,) if isinstance(key, str) else key
    if not isinstance(parts, tuple | list) or not parts:
        raise InvalidFilterError(
            f"key must be a string, or a non-empty tuple of strings for a path, not {shorten(key)}"
        )
    checked = tuple(_check_text(part, "key") for part in parts)
    return checked[0] if len(checked) == 1 else checked


def _check_text(text: object, name: str) -> str:
    if not isinstance(text, str):
        raise InvalidFilterError(f"{name} must be made of strings, not {shorten(text)}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidFilterError(f"{name} holds a lone surrogate: {ascii(text)[:60]}") from error
    return str.__str__(text)


def _check_value(operator: Operator, value: object, key: object) -> FilterValue:
    name = f"the value of {operator} on {key!r}"
    if operator in UNARY_OPERATORS:
        if value is not None:
            raise InvalidFilterError(f"{operator} takes no value, not {shorten(value)}")
        return None
    if operator in LIST_OPERATORS:
        return _check_list(value, name)
    if operator in TEXT_OPERATORS:
        return _check_text(value, name)
    if value is None and operator in (Operator.EQ, Operator.NE):
        return None
    scalar = _check_scalar(value, name)
    if operator in ORDERINGS and isinstance(scalar, bool):
        raise InvalidFilterError(f"{name} must be a number, a string or a datetime, not {scalar}")
    return scalar


def _check_list(value: object, name: str) -> tuple[Scalar, ...]:
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        raise InvalidFilterError(f"{name} must be a list of scalars, not {shorten(value)}")
    return tuple(_check_scalar(item, f"an item of {name}") for item in value)


def _check_scalar(value: object, name: str) -> Scalar:
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _check_text(value, name)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float) and isfinite(value):
        return float(value) + 0.0
    if isinstance(value, datetime):
        return _check_datetime(value, name)
    hint = "; write == None for missing" if value is None else ""
    raise InvalidFilterError(
        f"{name} must be a string, a finite number, a boolean or a datetime with a zone, "
        f"not {shorten(value)}{hint}"
    )


def _check_datetime(value: datetime, name: str) -> str:
    try:
        return format_datetime(value, name)
    except InvalidDocumentError as error:
        raise InvalidFilterError(str(error)) from error


def _from_dict(data: object, depth: int) -> "MetadataFilter | MetadataFilters":
    if not isinstance(data, Mapping) or depth > _MAX_DEPTH:
        raise InvalidFilterError(
            "a filter must be an object with 'key' or 'filters', nested at most "
            f"{_MAX_DEPTH} deep, not {shorten(data)}"
        )
    if set(data) <= {"filters", "condition"} and isinstance(data.get("filters"), list | tuple):
        children = [_from_dict(child, depth + 1) for child in data["filters"]]
        return MetadataFilters(children, data.get("condition", Condition.AND))
    if "key" in data and set(data) <= {"key", "operator", "value"}:
        return MetadataFilter(data["key"], data.get("operator", Operator.EQ), data.get("value"))
    raise InvalidFilterError(
        "a filter must be {'key', 'operator', 'value'} or {'filters': [...], 'condition'}, "
        f"not {shorten(data)}"
    )
