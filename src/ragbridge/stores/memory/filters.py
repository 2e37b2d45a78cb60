"""Filters as masks over columns: the answers of `ragbridge.filters.matches`, for all rows at once."""

from collections.abc import Callable, Mapping
from functools import reduce
from math import inf
from operator import ge, gt, le, lt
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ragbridge._filter_tree import Every, Leaf, Node
from ragbridge.filters import ORDERINGS, Operator, matches_value
from ragbridge.stores.memory._arrays import Mask
from ragbridge.stores.memory.columns import MISSING, NUMBER, Column, Path

_FEW_CODES: Final = 4  # which are compared with faster than looked up

# What a comparison becomes where its number lies between two float64: one of them stands in for it.
_FROM_BELOW: Final[Mapping[Any, Any]] = {gt: gt, ge: gt, lt: le, le: le}
_FROM_ABOVE: Final[Mapping[Any, Any]] = {gt: ge, ge: ge, lt: lt, le: lt}


def evaluate(node: Node, column_of: Callable[[Path], Column], size: int) -> Mask:
    """Which of the first `size` rows fulfil a filter, shape (size,).

    Args:
        node: The filter in negation normal form.
        column_of: Gives the column of a metadata path, for these rows.
        size: How many rows there are.
    """
    if isinstance(node, Leaf):
        mask = _evaluate_leaf(node, column_of(node.path))
        return ~mask if node.negated else mask
    masks = (evaluate(child, column_of, size) for child in node.children)
    if isinstance(node, Every):
        return reduce(np.logical_and, masks, np.ones(size, np.bool_))
    return reduce(np.logical_or, masks, np.zeros(size, np.bool_))


def _evaluate_leaf(leaf: Leaf, column: Column) -> Mask:
    mask = _look_up(_decide_values(leaf, column), column.codes)
    numbers = _wanted_numbers(leaf)
    if numbers and column.numbers is not None:
        mask |= _compare(column.numbers, leaf.operator, numbers)
    return mask


def _decide_values(leaf: Leaf, column: Column) -> Mask:
    """Which codes fulfil the condition: first the distinct values, last `NUMBER` and `MISSING`.

    Those two are negative, so that they index the array from its end.
    """
    values = column.values[:]
    decided = np.zeros(len(values) + 2, np.bool_)
    if leaf.operator is Operator.EXISTS:
        decided[:MISSING] = True
    elif leaf.operator is Operator.IS_EMPTY:
        decided[[MISSING, *_places(column, ("", []), len(values))]] = True
    elif leaf.operator in (Operator.EQ, Operator.IN):
        decided[_places(column, _listed(leaf), len(values))] = True
    else:
        condition = leaf.condition
        decided[: len(values)] = [matches_value(condition, value) for value in values]
    return decided


def _look_up(decided: Mask, codes: NDArray[np.int32]) -> Mask:
    right = np.flatnonzero(decided)
    if len(right) > _FEW_CODES:
        return decided.take(codes, mode="wrap")  # from its end, where a code is negative
    mask = np.zeros(len(codes), np.bool_)
    for code in right.tolist():
        mask |= codes == (code if code < len(decided) + NUMBER else code - len(decided))
    return mask


def _places(column: Column, values: Any, most: int) -> list[int]:
    found = (column.find(value) for value in values)
    return [place for place in found if place is not None and place < most]


def _listed(leaf: Leaf) -> tuple[Any, ...]:
    return leaf.value if isinstance(leaf.value, tuple) else (leaf.value,)


def _wanted_numbers(leaf: Leaf) -> list[float]:
    if leaf.operator not in (Operator.EQ, Operator.IN, *ORDERINGS):
        return []
    return [v for v in _listed(leaf) if isinstance(v, int | float) and not isinstance(v, bool)]


def _compare(numbers: NDArray[np.float64], operator: Operator, wanted: list[float]) -> Mask:
    """Where exact comparison with the wanted numbers, integers of any size among them, holds.

    NaN, which stands for no number, compares false.
    """
    if operator not in ORDERINGS:
        exact = [_nearest(number) for number in wanted if _nearest(number) == number]
        return numbers == exact[0] if len(exact) == 1 else np.isin(numbers, exact)
    compare: Any = ORDERINGS[operator]
    bound = _nearest(wanted[0])
    if bound < wanted[0]:
        compare = _FROM_BELOW[compare]
    elif bound > wanted[0]:
        compare = _FROM_ABOVE[compare]
    mask: Mask = compare(numbers, bound)
    return mask


def _nearest(number: float) -> float:
    try:
        return float(number)
    except OverflowError:
        return inf if number > 0 else -inf
