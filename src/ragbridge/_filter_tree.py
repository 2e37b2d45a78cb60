"""Filters in negation normal form: what the stores' filter evaluators walk.

Negations stand only at the leaves, and every operator that is another one's negation, or a special
case of another one, is gone: `!=`, `nin`, `contains`, `== None`, empty lists and empty groups.
"""

from dataclasses import dataclass
from typing import TypeAlias

from ragbridge.errors import InvalidFilterError, shorten
from ragbridge.filters import (
    Condition,
    Filter,
    FilterValue,
    MetadataFilter,
    MetadataFilters,
    Operator,
)


@dataclass(frozen=True, slots=True)
class Leaf:
    """One condition: `==`, `in`, an ordering, `any`, `all`, a text match, `exists` or `is_empty`."""

    path: tuple[str, ...]
    operator: Operator
    value: FilterValue
    negated: bool

    @property
    def condition(self) -> MetadataFilter:
        """The condition without its negation."""
        return MetadataFilter(self.path, self.operator, self.value)


@dataclass(frozen=True, slots=True)
class Every:
    """All of the children; without children: true."""

    children: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Some:
    """At least one of the children; without children: false."""

    children: tuple["Node", ...]


Node: TypeAlias = Leaf | Every | Some

TRUE = Every(())
FALSE = Some(())


def normalize(filters: Filter | None, *, negated: bool = False) -> Node:
    """The negation normal form of `filters` (None is true)."""
    if filters is None:
        return _constant(not negated)
    if isinstance(filters, MetadataFilter):
        return _leaf(filters, negated)
    if not isinstance(filters, MetadataFilters):
        raise InvalidFilterError(f"filters must be MetadataFilters, not {shorten(filters)}")
    if not filters.filters:
        return _constant(not negated)
    inner = negated != (filters.condition is Condition.NOT)
    children = [normalize(child, negated=inner) for child in filters.filters]
    conjunction = negated if filters.condition is Condition.OR else not negated
    return _group(children, conjunction)


def _constant(value: bool) -> Node:
    return TRUE if value else FALSE


def _group(children: list[Node], conjunction: bool) -> Node:
    kind: type[Every | Some] = Every if conjunction else Some
    decided, neutral = (FALSE, TRUE) if conjunction else (TRUE, FALSE)
    flat: list[Node] = []
    for child in children:
        if child == decided:
            return decided
        if isinstance(child, kind):
            flat.extend(child.children)
        elif child != neutral:
            flat.append(child)
    return flat[0] if len(flat) == 1 else kind(tuple(flat))


def _leaf(condition: MetadataFilter, negated: bool) -> Node:
    operator, value = condition.operator, condition.value
    if operator in (Operator.NE, Operator.NIN):
        operator = Operator.EQ if operator is Operator.NE else Operator.IN
        negated = not negated
    if operator is Operator.CONTAINS:
        operator, value = Operator.ANY, (value,)  # type: ignore[assignment]
    if operator is Operator.EQ and value is None:
        operator, negated = Operator.EXISTS, not negated
    if operator in (Operator.IN, Operator.ANY) and value == ():
        return _constant(negated)
    return Leaf(condition.path, operator, value, negated)
