"""Declared metadata: typed columns beside the JSON, for filters that come often.

A declared key has two columns: `m_…` holds its value, `k_…` says what that is. Engines before 2.5 have
no nulls, and a value need not be of the declared type, so the value alone would mean nothing:

| `k_…` | the metadata have | and `m_…` holds |
|---|---|---|
| 0 `MISSING` | no such key, or null | 0, `""`, false |
| 1 `EXACT` | a value of the declared type | it |
| 2 `NEAR` | int: a number that is no integer of 64 bits | the next one below, or the nearest |
|   | str: a long text | its beginning and a hash, see `shadows` |
| 3 `OTHER` | a value of another type | 0, `""`, false |
| 4 `EMPTY` | an empty array; `""` where str is not declared | 0, `""`, false |

Texts are kept without NULs, see `texts`. The shadow keys are there all the same, for what filters ask beyond that.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from math import floor
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from ragbridge.errors import InvalidConfigError, shorten
from ragbridge.filters import Scalar
from ragbridge.stores.milvus.literals import literal
from ragbridge.stores.milvus.shadows import (
    INT64_MAX,
    INT64_MIN,
    LONGEST_SHADOW,
    key,
    normal_number,
    shadow_text,
)
from ragbridge.stores.milvus.texts import without_nul

MetadataType: TypeAlias = type[str] | type[int] | type[float] | type[bool]

_EXACT_FLOATS: Final = 2**53  # below, a float column holds every number as it is


class State(IntEnum):
    """What the value of a column is."""

    MISSING = 0
    EXACT = 1
    NEAR = 2
    OTHER = 3
    EMPTY = 4


TYPED: Final = (State.EXACT, State.NEAR)
"""The states of values of the declared type."""


@dataclass(frozen=True, slots=True)
class Column:
    """The columns of one declared key.

    Attributes:
        key: In the metadata.
        type: Of its values.
    """

    key: str
    type: MetadataType

    @property
    def value(self) -> str:
        """The name of the column of its values."""
        return key("m", (self.key,))

    @property
    def state(self) -> str:
        """The name of the column of their states."""
        return key("k", (self.key,))

    @property
    def milvus_type(self) -> str:
        """The name of the `DataType` of its values."""
        return _MILVUS_TYPES[self.type]

    @property
    def options(self) -> Mapping[str, int]:
        """What `add_field` takes for its values apart from the type."""
        return {"max_length": 2 * LONGEST_SHADOW} if self.type is str else {}

    def fill(self, metadata: Mapping[str, Any]) -> dict[str, Scalar]:
        """What the columns hold for a row."""
        value = metadata.get(self.key)
        held, state = _FILLERS[self.type](value)
        if state is State.OTHER and value is None:
            state = State.MISSING
        elif state is State.OTHER and value in ("", []):
            state = State.EMPTY
        return {self.value: held, self.state: int(state)}

    def literal(self, value: Scalar) -> Scalar | None:
        """What stands for `value` in comparisons with the column.

        Returns:
            None where the column alone cannot tell which of its values are equal, less and greater.
        """
        return _LITERALS[self.type](value)


@dataclass(frozen=True, slots=True)
class JsonIndex:
    """An index of a path in JSON, which raw expressions use.

    Attributes:
        path: In the metadata.
        type: As which its values are indexed.
    """

    path: tuple[str, ...]
    type: MetadataType

    @property
    def name(self) -> str:
        """The index's name."""
        return key("j", self.path)

    def index_params(self, field: str) -> dict[str, Any]:
        """The arguments of pymilvus's `IndexParams.add_index`, but for the names.

        Source: https://milvus.io/docs/json-indexing.md
        """
        path = field + "".join(f"[{literal(part)}]" for part in self.path)
        params = {"json_path": path, "json_cast_type": _CASTS[self.type]}
        return {"index_type": "INVERTED", "params": params}


def check_json_indexes(given: object) -> tuple[JsonIndex, ...]:
    """The indexes for `json_indexes`, a mapping of keys or paths to types.

    Raises:
        InvalidConfigError: it is something else; the message names the types.
    """
    if given is None:
        return ()
    if not isinstance(given, Mapping):
        raise InvalidConfigError(
            "json_indexes must be a mapping of keys or paths to types, such as {('spec', 'ram'): int}, "
            f"not {shorten(given)}"
        )
    return tuple(
        JsonIndex(_check_path(path), _check_type("json_indexes", path, given[path]))
        for path in given
    )


def check_metadata_fields(given: object) -> tuple[Column, ...] | None:
    """The columns for `metadata_fields`, a mapping of keys to types; None leaves them to the collection.

    Raises:
        InvalidConfigError: it is something else; the message names the types.
    """
    if given is None:
        return None
    if not isinstance(given, Mapping):
        raise InvalidConfigError(
            "metadata_fields must be a mapping of keys to types, such as {'price': float}, not "
            f"{shorten(given)}"
        )
    return tuple(
        Column(
            _check_key("metadata_fields", name), _check_type("metadata_fields", name, given[name])
        )
        for name in given
    )


def columns_to_json(columns: Iterable[Column]) -> dict[str, str]:
    """What is recorded of columns: their keys, and the names of the types."""
    return {column.key: column.type.__name__ for column in columns}


def columns_from_json(recorded: Mapping[str, str]) -> tuple[Column, ...]:
    """The columns that were recorded."""
    return tuple(Column(name, _TYPES[type_name]) for name, type_name in recorded.items())


def _check_path(path: object) -> tuple[str, ...]:
    parts = path if isinstance(path, tuple) else (path,)
    if not parts:
        raise InvalidConfigError("a path of json_indexes must have a part")
    return tuple(_check_key("json_indexes", part) for part in parts)


def _check_key(argument: str, name: object) -> str:
    if not isinstance(name, str):
        raise InvalidConfigError(f"a key of {argument} must be a string, not {shorten(name)}")
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise InvalidConfigError(
            f"a key of {argument} holds a lone surrogate: {ascii(name)[:60]}"
        ) from error
    return name


def _check_type(argument: str, name: object, given: object) -> MetadataType:
    for allowed in _MILVUS_TYPES:
        if given is allowed:
            return allowed
    raise InvalidConfigError(
        f"{argument}[{repr(name)[:60]}] must be str, int, float or bool, not {shorten(given)}"
    )


def _fill_float(value: object) -> tuple[Scalar, State]:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value), State.EXACT  # or next to it, which `_float_literal` minds
    return 0.0, State.OTHER


def _fill_int(value: object) -> tuple[Scalar, State]:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return 0, State.OTHER
    held = max(INT64_MIN, min(INT64_MAX, floor(value)))
    return held, State.EXACT if held == value else State.NEAR


def _fill_text(value: object) -> tuple[Scalar, State]:
    if not isinstance(value, str):
        return "", State.OTHER
    held = shadow_text(value)
    return without_nul(held), State.EXACT if held is value else State.NEAR


def _fill_flag(value: object) -> tuple[Scalar, State]:
    return (value, State.EXACT) if isinstance(value, bool) else (False, State.OTHER)


def _float_literal(value: Scalar) -> Scalar | None:
    if isinstance(value, bool | str) or not -_EXACT_FLOATS < value < _EXACT_FLOATS:
        return None
    return float(value)


def _int_literal(value: Scalar) -> Scalar | None:
    if isinstance(value, bool | str):
        return None
    whole = normal_number(value)
    # Servers cannot read the smallest integer.
    return whole if isinstance(whole, int) and INT64_MIN < whole <= INT64_MAX else None


def _text_literal(value: Scalar) -> Scalar | None:
    return without_nul(shadow_text(value)) if isinstance(value, str) else None


def _flag_literal(value: Scalar) -> Scalar | None:
    return value if isinstance(value, bool) else None


_MILVUS_TYPES: Final[Mapping[MetadataType, str]] = MappingProxyType(
    {str: "VARCHAR", int: "INT64", float: "DOUBLE", bool: "BOOL"}
)
_CASTS: Final[Mapping[MetadataType, str]] = MappingProxyType(
    {str: "varchar", int: "double", float: "double", bool: "bool"}
)
_TYPES: Final[Mapping[str, MetadataType]] = {each.__name__: each for each in _MILVUS_TYPES}
_FILLERS: Final[Mapping[MetadataType, Callable[[object], tuple[Scalar, State]]]] = {
    str: _fill_text,
    int: _fill_int,
    float: _fill_float,
    bool: _fill_flag,
}
_LITERALS: Final[Mapping[MetadataType, Callable[[Scalar], Scalar | None]]] = {
    str: _text_literal,
    int: _int_literal,
    float: _float_literal,
    bool: _flag_literal,
}
