"""Filter tree -> expressions in Milvus's language, over the shadows of metadata.

A filter becomes two expressions. `may` passes every row that fulfils it, `must` only rows that do.
For what engines can say exactly they are the same; otherwise the rows in between are looked at with
`matches()`. Nothing in them depends on what an engine makes of missing keys or of other types: only
keys that hold one type are compared, and what a missing one means is said each time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, nextafter
from types import MappingProxyType
from typing import Final

from ragbridge._filter_tree import Every, Leaf, Node, normalize
from ragbridge.filters import LIST_OPERATORS, Operator, Scalar
from ragbridge.stores._requests import Selection
from ragbridge.stores.milvus.capabilities import Engine
from ragbridge.stores.milvus.column_filters import compile_on_column, is_one_of
from ragbridge.stores.milvus.columns import Column
from ragbridge.stores.milvus.expressions import (
    EVERYTHING,
    FALSE,
    NOTHING,
    Clause,
    Condition,
    all_of,
    combine,
    compare,
    every,
    holding,
    one_of,
    some,
)
from ragbridge.stores.milvus.layout import DELETED, DOCUMENT_ID, ID
from ragbridge.stores.milvus.literals import literal
from ragbridge.stores.milvus.shadows import (
    INT64_MIN,
    KINDS,
    element_key,
    fits_in_full,
    key,
    normal_number,
    shadow_text,
)
from ragbridge.stores.milvus.texts import without_nul

_NONE: Final[Mapping[str, Column]] = MappingProxyType({})

# Engines compare integers with floats as floats, and 2**63 is the float next to this one.
_LARGEST_SAFE: Final = 2**63 - 1024


@dataclass(frozen=True, slots=True)
class Expression:
    """What selects rows in the engine.

    Attributes:
        may: Passes every row that is selected.
        must: Passes only rows that are selected.
        doubtful: Passes the rows that `may` passes and `must` does not; NOTHING where they agree.
    """

    may: str
    must: str
    doubtful: str

    @property
    def is_exact(self) -> bool:
        """Whether the engine decides alone."""
        return self.doubtful == NOTHING


_UNRESTRICTED: Final = Expression(EVERYTHING, EVERYTHING, NOTHING)


def compile_selection(
    selection: Selection, engine: Engine, columns: Mapping[str, Column] = _NONE
) -> Expression:
    """The expression for a selection.

    Args:
        selection: Which rows.
        engine: Which reads it.
        columns: Those of declared metadata, by key.
    """
    expression = _compile_with_deleted(selection, engine, columns)
    return expression if selection.include_deleted else not_deleted(expression)


def not_deleted(expression: Expression) -> Expression:
    """Those rows of `expression` that are not soft-deleted."""
    parts = (expression.may, expression.must, expression.doubtful)
    return Expression(*(all_of([f"{DELETED} == false", part]) for part in parts))


def _compile_with_deleted(
    selection: Selection, engine: Engine, columns: Mapping[str, Column]
) -> Expression:
    if selection.filters is None and selection.ids is selection.document_ids is None:
        return _UNRESTRICTED
    outer = []
    if selection.ids is not None:
        outer.append(one_of(ID, selection.ids))
    if selection.document_ids is not None:
        outer.append(one_of(DOCUMENT_ID, [*map(without_nul, selection.document_ids)]))
    inner = _compile(normalize(selection.filters), engine, columns)
    may = all_of([*outer, inner.may.holds])
    if inner.is_exact:
        return Expression(may, may, NOTHING)
    must = all_of([*outer, inner.must.holds])
    return Expression(may, must, all_of([*outer, inner.may.holds, inner.must.fails]))


def after(expression: str, last_id: str | None) -> str:
    """Those rows of `expression` whose ids come after `last_id`."""
    return expression if last_id is None else all_of([expression, f"{ID} > {literal(last_id)}"])


def up_to(expression: str, last_id: str) -> str:
    """Those rows of `expression` whose ids come no later than `last_id`."""
    return all_of([expression, f"{ID} <= {literal(last_id)}"])


def _compile(node: Node, engine: Engine, columns: Mapping[str, Column]) -> Condition:
    if isinstance(node, Leaf):
        condition = _compile_leaf(node, engine, columns)
        return condition.negated() if node.negated else condition
    children = [_compile(child, engine, columns) for child in node.children]
    return combine(every if isinstance(node, Every) else some, children)


def _compile_leaf(leaf: Leaf, engine: Engine, columns: Mapping[str, Column]) -> Condition:
    column = columns.get(leaf.path[0]) if len(leaf.path) == 1 else None
    if column is None:
        return _compile_on_shadows(leaf, engine)
    if leaf.operator is Operator.IN and isinstance(leaf.value, tuple):
        told, rest = is_one_of(column, leaf.value)
        return combine(some, [Condition.exact(told), _is_one_of(leaf.path, rest)])
    return compile_on_column(column, leaf, engine) or _compile_on_shadows(leaf, engine)


def _compile_on_shadows(leaf: Leaf, engine: Engine) -> Condition:
    if leaf.operator is Operator.EXISTS:
        return Condition.exact(some(_has(key(kind, leaf.path)) for kind in KINDS))
    if leaf.operator is Operator.IS_EMPTY:
        return Condition.exact(_is_empty(leaf.path))
    if leaf.operator in LIST_OPERATORS and isinstance(leaf.value, tuple):
        return _LISTS[leaf.operator](leaf.path, leaf.value)
    if isinstance(leaf.value, str) and leaf.operator in _TEXT_MATCHES:
        return _TEXT_MATCHES[leaf.operator](leaf.path, leaf.value, engine)
    return _compare(leaf.path, leaf.operator.value, leaf.value)  # type: ignore[arg-type]


# Tests of single keys


def _has(name: str) -> Clause:
    return Clause(f"(exists {name})", f"(not exists {name})")


def _is(name: str, operator: str, value: Scalar) -> Clause:
    there = compare(name, operator, value)
    return Clause(there.holds, f"((not exists {name}) or {there.fails})")


def _is_in(name: str, values: Sequence[Scalar]) -> Clause:
    if len(values) == 1:
        return _is(name, "==", values[0])
    return _passes(name, one_of(name, values)) if values else FALSE


def _passes(name: str, found: str) -> Clause:
    return Clause(found, f"((not exists {name}) or (not ({found})))")


# Operators


def _is_empty(path: tuple[str, ...]) -> Clause:
    text, array = key("s", path), key("a", path)
    others = (_has(key(kind, path)).negated() for kind in KINDS if kind not in ("s", "a"))
    return every(
        [
            *others,
            some([_has(text).negated(), _is(text, "==", "")]),
            some([_has(array).negated(), _is(array, "==", 0)]),
        ]
    )


def _is_one_of(path: tuple[str, ...], values: tuple[Scalar, ...]) -> Condition:
    texts = [shadow_text(value) for value in values if isinstance(value, str)]
    numbers = [normal_number(v) for v in values if not isinstance(v, bool | str)]
    safe = [number for number in numbers if _is_safe(number)]
    # A server takes lists of one type only.
    whole = [number for number in safe if isinstance(number, int)]
    broken = [number for number in safe if isinstance(number, float)]
    others = [v for v in values if isinstance(v, bool)] + [n for n in numbers if not _is_safe(n)]
    together = [
        _is_in(key("s", path), texts),
        _is_in(key("n", path), whole),
        _is_in(key("n", path), broken),
    ]
    parts = [Condition.exact(test) for test in together]
    return combine(some, [*parts, *(_compare(path, "==", value) for value in others)])


def _holds_any(path: tuple[str, ...], values: tuple[Scalar, ...]) -> Condition:
    found = some(_has(element_key(path, value)) for value in values)
    return Condition(some([found, _has(key("x", path))]), found)


def _holds_all(path: tuple[str, ...], values: tuple[Scalar, ...]) -> Condition:
    if not values:
        return Condition.exact(_has(key("a", path)))
    found = every(_has(element_key(path, value)) for value in values)
    return Condition(some([found, _has(key("x", path))]), found)


def _has_text(path: tuple[str, ...], text: str, engine: Engine) -> Condition:
    name = key("s", path)
    if not text:
        return Condition.exact(_has(name))
    if not engine.matches_infix:
        return Condition(_has(name), FALSE)
    expression, is_vague = holding(name, text)
    found = _passes(name, expression)
    may = some([found, _has(key("l", path))])
    # What stands for a long text ends in a hash, which is no part of it.
    certain = every([found, _has(key("l", path)).negated()])
    return Condition(may, FALSE if is_vague else certain)


def _has_text_in_any_case(path: tuple[str, ...], text: str, _engine: Engine) -> Condition:
    test = _has(key("s", path))
    return Condition.exact(test) if not text else Condition(test, FALSE)


_LISTS: Final = {Operator.IN: _is_one_of, Operator.ANY: _holds_any, Operator.ALL: _holds_all}
_TEXT_MATCHES: Final = {
    Operator.TEXT_MATCH: _has_text,
    Operator.TEXT_MATCH_INSENSITIVE: _has_text_in_any_case,
}


def _compare(path: tuple[str, ...], operator: str, value: Scalar) -> Condition:
    if isinstance(value, bool):
        return Condition.exact(_is(key("b", path), operator, value))
    if isinstance(value, str):
        return _compare_text(key("s", path), operator, value)
    return _compare_number(key("n", path), operator, normal_number(value))


def _compare_text(name: str, operator: str, value: str) -> Condition:
    if operator == "==" or fits_in_full(value):
        return Condition.exact(_is(name, operator, shadow_text(value)))
    return Condition(_has(name), FALSE)


def _compare_number(name: str, operator: str, value: float) -> Condition:
    if _is_safe(value):
        return Condition.exact(_is(name, operator, value))
    if value == INT64_MIN or _LARGEST_SAFE < value <= 2**63:
        return Condition(_has(name), FALSE)
    return Condition.exact(_compare_large(name, operator, value))


def _is_safe(value: float) -> bool:
    """Whether engines compare it exactly with every number as it is stored."""
    return not isinstance(value, int) or INT64_MIN < value <= _LARGEST_SAFE


def _compare_large(name: str, operator: str, value: float) -> Clause:
    """Compare with an integer beyond 64 bits: only floats are that large."""
    try:
        near = float(value)
    except OverflowError:
        near = inf if value > 0 else -inf
    if near == value:
        return _is(name, operator, near)
    if operator == "==":
        return FALSE
    if operator in (">", ">="):
        below = near if near < value else nextafter(near, -inf)
        return _has(name) if below == -inf else _is(name, ">", below)
    above = near if near > value else nextafter(near, inf)
    return _has(name) if above == inf else _is(name, "<", above)
