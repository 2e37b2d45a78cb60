"""What a wrapped store is told of a filter: in its own terms, and never more than it means.

Where stores and `matches` disagree (missing keys, types, negation), a condition is left out: the store
then finds too much, and `matches` decides. It never finds too little.
"""

from collections.abc import Callable
from typing import Any, Final

from ragbridge._filter_tree import Every, Leaf, Node, normalize
from ragbridge.filters import ORDERINGS, Filter, Operator

_MAX_EXACT: Final = 2**53  # up to here every engine compares numbers as the core does

_NAMES: Final = {
    Operator.GT: "$gt",
    Operator.GTE: "$gte",
    Operator.LT: "$lt",
    Operator.LTE: "$lte",
}

Loose = dict[str, Any] | None
"""A filter in a dict dialect that holds at least where it must; None holds everywhere."""


def for_chroma(filters: Filter | None) -> Loose:
    """What Chroma's `where` can say: equality and its negation, numbers in order, texts in arrays."""
    return _loosen(normalize(filters), _chroma_leaf)


def for_pgvector(filters: Filter | None) -> Loose:
    """What the dialect of langchain-postgres can say: equality and numbers in order."""
    return _loosen(normalize(filters), _pgvector_leaf)


def _loosen(node: Node, say: Callable[[Leaf], Loose]) -> Loose:
    if isinstance(node, Leaf):
        return say(node)
    parts = [_loosen(child, say) for child in node.children]
    if isinstance(node, Every):
        return _join("$and", [part for part in parts if part is not None])
    return None if None in parts else _join("$or", parts)


def _join(name: str, parts: list[Any]) -> Loose:
    if len(parts) < 2:  # a group of one is refused by some
        return parts[0] if parts else None
    return {name: parts}


def _chroma_leaf(leaf: Leaf) -> Loose:
    key = leaf.path[0]
    if len(leaf.path) > 1 or not key or key.startswith(("$", "#", "chroma:")):
        return None
    if leaf.operator is Operator.ANY and not leaf.negated:
        return _each("$contains", key, leaf.value, "$or", texts_only=True)
    if leaf.negated:
        return _each("$ne", key, leaf.value, "$and") if leaf.operator in _EQUALITIES else None
    return _compare(leaf, key)


def _pgvector_leaf(leaf: Leaf) -> Loose:
    key = leaf.path[0]
    if len(leaf.path) > 1 or leaf.negated or not (key.isascii() and key.isidentifier()):
        return None
    return _compare(leaf, key)


_EQUALITIES: Final = (Operator.EQ, Operator.IN)


def _compare(leaf: Leaf, key: str) -> Loose:
    if leaf.operator in _EQUALITIES:
        return _each("$eq", key, leaf.value, "$or")
    if leaf.operator in ORDERINGS and not isinstance(leaf.value, str) and _is_sayable(leaf.value):
        return {key: {_NAMES[leaf.operator]: leaf.value}}
    return None


def _each(name: str, key: str, values: object, group: str, *, texts_only: bool = False) -> Loose:
    listed = values if isinstance(values, tuple) else (values,)
    if not all(isinstance(each, str) if texts_only else _is_sayable(each) for each in listed):
        return None
    return _join(group, [{key: {name: each}} for each in listed])


def _is_sayable(value: object) -> bool:
    return isinstance(value, str) or (isinstance(value, int | float) and abs(value) <= _MAX_EXACT)
