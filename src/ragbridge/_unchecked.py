"""Objects of what is known to be right, made by columns: nothing is checked or copied again.

For what is read again and again after it was checked when it was written. A class's own way to make an
object takes several times as long.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from itertools import repeat
from typing import Any, TypeVar

from pydantic import BaseModel

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)


def make_objects(kind: type[T], count: int, columns: Mapping[str, Iterable[Any]]) -> list[T]:
    """So many objects whose attributes have these values, whatever the class says of setting them."""
    made: list[T] = [*map(object.__new__, repeat(kind, count))]
    for name, values in columns.items():
        deque(map(object.__setattr__, made, repeat(name), values), maxlen=0)
    return made


def make_model(kind: type[M], fields: dict[str, Any], given: Iterable[str]) -> M:
    """One model; see `make_models`."""
    made, put = object.__new__(kind), object.__setattr__
    put(made, "__dict__", fields)
    put(made, "__pydantic_fields_set__", {*given})
    put(made, "__pydantic_extra__", None)
    put(made, "__pydantic_private__", None)
    return made


def make_models(kind: type[M], rows: Sequence[dict[str, Any]], given: Iterable[str]) -> list[M]:
    """A model of each row, which has a value for every field of the class; not for private attributes.

    Args:
        kind: The class.
        rows: The fields of each. The models keep them.
        given: The names of those that count as set.
    """
    names = frozenset(given)  # no copy of one
    state = {  # what pydantic's `__setstate__` sets
        "__dict__": rows,
        "__pydantic_fields_set__": map(set, repeat(names)),
        "__pydantic_extra__": repeat(None),
        "__pydantic_private__": repeat(None),
    }
    return make_objects(kind, len(rows), state)
