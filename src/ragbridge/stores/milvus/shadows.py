"""Typed shadows of metadata: what filters compare in the engine.

Engines disagree about JSON: whether 1 equals true, what a missing key is, whether 2**53 + 1 equals
2.0**53. So beside the exact metadata each row has dynamic keys, named by the type of a value and its
path, that hold one type each and are never null:

| key | is there for | and holds |
|---|---|---|
| `n_…` | a number | it; a whole float within int64 as an integer |
| `s_…` | a string | it; of a long one its beginning and a hash |
| `l_…` | a long string | 1 |
| `b_…` | a boolean | it |
| `o_…` | an object | 1; what is in it has keys of its own |
| `a_…` | an array | its length |
| `e_…__…` | a scalar in an array | 1; the scalar is part of the name |
| `x_…` | an array of many scalars | 1, instead of the `e_` keys |
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from string import ascii_letters, digits
from typing import Any, Final

from ragbridge.filters import Scalar

INT64_MIN: Final = -(2**63)
INT64_MAX: Final = 2**63 - 1

KINDS: Final = ("n", "s", "b", "a", "o")
"""Of the keys, one of which is there for every value that is not null."""

_LONGEST_TEXT = 512  # bytes
LONGEST_SHADOW: Final = _LONGEST_TEXT + 64
"""The most bytes of what stands for a text."""

_MOST_ELEMENTS = 64
_LONGEST_NAME = 200
_KEPT = frozenset(ascii_letters + digits)


def shadows(metadata: Mapping[str, Any]) -> dict[str, Scalar]:
    """The shadow keys of one row's metadata, and their values."""
    found: dict[str, Scalar] = {}
    for name, value in metadata.items():
        _shadow((name,), value, found)
    return found


def _shadow(path: tuple[str, ...], value: Any, found: dict[str, Scalar]) -> None:
    shadow = _SHADOWS.get(type(value))
    if shadow is not None:
        shadow(path, value, found)


def _shadow_text(path: tuple[str, ...], value: str, found: dict[str, Scalar]) -> None:
    found[key("s", path)] = text = shadow_text(value)
    if text is not value:
        found[key("l", path)] = 1


def _shadow_number(path: tuple[str, ...], value: float, found: dict[str, Scalar]) -> None:
    found[key("n", path)] = stored_number(value)


def _shadow_flag(path: tuple[str, ...], value: bool, found: dict[str, Scalar]) -> None:
    found[key("b", path)] = value


def _shadow_object(path: tuple[str, ...], value: dict[str, Any], found: dict[str, Scalar]) -> None:
    found[key("o", path)] = 1
    for name, item in value.items():
        _shadow((*path, name), item, found)


def _shadow_array(path: tuple[str, ...], value: list[Any], found: dict[str, Scalar]) -> None:
    found[key("a", path)] = len(value)
    scalars = [item for item in value if isinstance(item, str | int | float)]
    elements = {element_key(path, item) for item in scalars[: 10 * _MOST_ELEMENTS]}
    if len(elements) > _MOST_ELEMENTS or len(scalars) > 10 * _MOST_ELEMENTS:
        found[key("x", path)] = 1
    else:
        found.update(dict.fromkeys(elements, 1))


_SHADOWS: Final[Mapping[type, Callable[[tuple[str, ...], Any, dict[str, Scalar]], None]]] = {
    str: _shadow_text,
    int: _shadow_number,
    float: _shadow_number,
    bool: _shadow_flag,
    dict: _shadow_object,
    list: _shadow_array,
}


def normal_number(value: float) -> int | float:
    """The number, as an integer if it is whole."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def stored_number(value: float) -> int | float:
    """The number as it is stored: as an integer if it is one of 64 bits."""
    whole = normal_number(value)
    return whole if INT64_MIN <= whole <= INT64_MAX else value


def shadow_text(text: str) -> str:
    """The text, or what stands for a long one: equal exactly where the texts are."""
    if 4 * len(text) <= _LONGEST_TEXT:
        return text
    data = text.encode()
    if len(data) <= _LONGEST_TEXT:
        return text
    return _beginning(data, _LONGEST_TEXT) + sha256(data).hexdigest()


def fits_in_full(text: str) -> bool:
    """Whether comparing with the text is as good as comparing with what stands for a longer one.

    A text is cut between characters, so up to three bytes early.
    """
    return len(text.encode()) <= _LONGEST_TEXT - 4


def _beginning(data: bytes, length: int) -> str:
    return data[:length].decode(errors="ignore")


@lru_cache(maxsize=4096)
def key(kind: str, path: tuple[str, ...]) -> str:
    """The name of a shadow key."""
    return _name(kind, "__".join(map(_encode, path)))


def element_key(path: Sequence[str], element: Scalar) -> str:
    """The name of the key that says that an array holds `element`."""
    return _name("e", "__".join(map(_encode, (*path, _token(element)))))


def _token(element: Scalar) -> str:
    if isinstance(element, str):
        return "s" + element
    if isinstance(element, bool):
        return "b1" if element else "b0"
    return f"n{normal_number(element)!r}"


def _name(kind: str, encoded: str) -> str:
    if len(encoded) <= _LONGEST_NAME:
        return f"{kind}_{encoded}"
    return f"{kind}h_{sha256(encoded.encode()).hexdigest()}"


def _encode(part: str) -> str:
    """An identifier for any text: letters and digits stay, the rest becomes `_xx` for each byte."""
    if part.isascii() and part.isalnum():
        return part
    return "".join(
        char if char in _KEPT else "".join(f"_{byte:02x}" for byte in char.encode())
        for char in part
    )
