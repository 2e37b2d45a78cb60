"""Conditions on declared keys -> expressions over their columns, see `columns`.

Columns hold no nulls, so a `not` in front of an expression would be right; but Milvus Lite uses its
indexes only for comparisons and lists that are put together by `and` and `or`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from ragbridge._filter_tree import Leaf
from ragbridge.filters import Operator, Scalar
from ragbridge.stores.milvus.capabilities import Engine
from ragbridge.stores.milvus.columns import Column, State
from ragbridge.stores.milvus.expressions import (
    FALSE,
    Clause,
    Condition,
    compare,
    every,
    holding,
    one_of,
    some,
)
from ragbridge.stores.milvus.shadows import fits_in_full
from ragbridge.stores.milvus.texts import may_look_like_others, without_nul


def compile_on_column(column: Column, leaf: Leaf, engine: Engine) -> Condition | None:
    """The condition of a leaf about a declared key, without the leaf's negation.

    Returns:
        None where the columns do not tell, but the shadow keys do.
    """
    operator, value = leaf.operator, leaf.value
    if operator in _UNARY:
        return Condition.exact(_UNARY[operator](column))
    if operator in _TEXT_MATCHES:
        return _TEXT_MATCHES[operator](column, str(value), engine) if column.type is str else None
    if value is None or isinstance(value, tuple):
        return None
    return _compare(column, operator.value, value)


def is_one_of(column: Column, values: Sequence[Scalar]) -> tuple[Clause, tuple[Scalar, ...]]:
    """The rows whose value is one of those that the columns tell apart, and the other values."""
    literals = [column.literal(value) for value in values]
    told = [literal for literal in literals if literal is not None]
    rest = tuple(v for v, literal in zip(values, literals, strict=True) if literal is None)
    if not told:
        return FALSE, rest
    return every([_is_equal_to_literals(column), _is_in(column, told)]), rest


def _is_in(column: Column, literals: Sequence[Scalar]) -> Clause:
    if len(literals) == 1:
        return compare(column.value, "==", literals[0])
    found = one_of(column.value, literals)
    return Clause(found, found.replace(" in [", " not in [", 1))


def _is(column: Column, *states: State) -> Clause:
    if len(states) == 1:
        return compare(column.state, "==", int(states[0]))
    listed = ", ".join(str(int(state)) for state in states)
    return Clause(f"{column.state} in [{listed}]", f"{column.state} not in [{listed}]")


def _is_typed(column: Column) -> Clause:
    """The rows that have a value of the declared type."""
    is_kept_near = column.type in (str, int)
    return _is(column, *((State.EXACT, State.NEAR) if is_kept_near else (State.EXACT,)))


def _is_equal_to_literals(column: Column) -> Clause:
    """The rows whose value equals what its column holds, as far as literals can say."""
    return _is(column, State.EXACT) if column.type is int else _is_typed(column)


def _exists(column: Column) -> Clause:
    return Clause(f"{column.state} > 0", f"{column.state} == 0")


def _is_empty(column: Column) -> Clause:
    nothing = _is(column, State.MISSING, State.EMPTY)
    if column.type is not str:
        return nothing
    return some([nothing, every([_is(column, State.EXACT), compare(column.value, "==", "")])])


def _compare(column: Column, operator: str, value: Scalar) -> Condition | None:
    literal = column.literal(value)
    if literal is None:
        return None
    if isinstance(value, str) and operator != "==" and not fits_in_full(value):
        return Condition(_is_typed(column), FALSE)
    if operator == "==":
        equal = compare(column.value, "==", literal)
        return Condition.exact(every([_is_equal_to_literals(column), equal]))
    if column.type is int and operator in ("<=", ">"):
        return Condition.exact(_compare_from_below(column, operator, literal))
    return Condition.exact(every([_is_typed(column), compare(column.value, operator, literal)]))


def _compare_from_below(column: Column, operator: str, literal: Scalar) -> Clause:
    """Compare by `<=` or `>`: of what stands for a number, which is less, an equal one is less."""
    state = State.EXACT if operator == "<=" else State.NEAR
    equal = every([_is(column, state), compare(column.value, "==", literal)])
    apart = compare(column.value, operator.removesuffix("="), literal)
    return some([every([_is_typed(column), apart]), equal])


def _has_text(column: Column, text: str, engine: Engine) -> Condition:
    typed = _is_typed(column)
    if not text:
        return Condition.exact(typed)
    if not engine.matches_infix:
        return Condition(typed, FALSE)
    expression, is_vague = holding(column.value, without_nul(text))
    is_vague |= may_look_like_others(text)
    found = every([_is(column, State.EXACT), Clause(expression, f"(not ({expression}))")])
    return Condition(some([found, _is(column, State.NEAR)]), FALSE if is_vague else found)


def _has_text_in_any_case(column: Column, text: str, _engine: Engine) -> Condition:
    typed = _is_typed(column)
    return Condition(typed, FALSE) if text else Condition.exact(typed)


_UNARY: Final[Mapping[Operator, Callable[[Column], Clause]]] = {
    Operator.EXISTS: _exists,
    Operator.IS_EMPTY: _is_empty,
}
_TEXT_MATCHES: Final[Mapping[Operator, Callable[[Column, str, Engine], Condition]]] = {
    Operator.TEXT_MATCH: _has_text,
    Operator.TEXT_MATCH_INSENSITIVE: _has_text_in_any_case,
}
