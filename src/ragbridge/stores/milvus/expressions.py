"""Expressions in Milvus's language, and how they are put together.

Engines differ in what `not` makes of missing keys, so an expression is never negated: each is made
together with its opposite, as a `Clause`. What an engine can only narrow down is a `Condition`.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Self

from ragbridge.filters import Scalar
from ragbridge.stores.milvus.layout import ID
from ragbridge.stores.milvus.literals import literal

EVERYTHING: Final = f'{ID} >= ""'
NOTHING: Final = f"{ID} in []"

_FEW = 16  # operands side by side; servers take minutes for a row of thousands
_INVERSE: Final = {"==": "!=", "!=": "==", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}
_WILDCARDS: Final = "%_\\"
_ANY_CHARACTER: Final = str.maketrans(dict.fromkeys(_WILDCARDS, "_"))  # engines differ in escapes


@dataclass(frozen=True, slots=True)
class Clause:
    """An expression, and one for its opposite."""

    holds: str
    fails: str

    def negated(self) -> "Clause":
        """The opposite."""
        return Clause(self.fails, self.holds)


@dataclass(frozen=True, slots=True)
class Condition:
    """What is true of a row, as far as the engine can say.

    Attributes:
        may: Holds for every row of which it is true.
        must: Holds only for rows of which it is true.
    """

    may: Clause
    must: Clause

    @classmethod
    def exact(cls, clause: Clause) -> Self:
        """A condition that the engine decides alone."""
        return cls(clause, clause)

    @property
    def is_exact(self) -> bool:
        """Whether the engine decides alone."""
        return self.may == self.must

    def negated(self) -> "Condition":
        """The opposite."""
        return Condition(self.must.negated(), self.may.negated())


TRUE: Final = Clause(EVERYTHING, NOTHING)
FALSE: Final = Clause(NOTHING, EVERYTHING)


def every(clauses: Iterable[Clause]) -> Clause:
    """All of them; of none, true."""
    clauses = list(clauses)
    holding, failing = [each.holds for each in clauses], [each.fails for each in clauses]
    return Clause(all_of(holding), any_of(failing))


def some(clauses: Iterable[Clause]) -> Clause:
    """At least one of them; of none, false."""
    return every(clause.negated() for clause in clauses).negated()


def combine(
    how: Callable[[Iterable[Clause]], Clause], conditions: Sequence[Condition]
) -> Condition:
    """Several conditions in one: `every` or `some`."""
    may = how(condition.may for condition in conditions)
    if all(condition.is_exact for condition in conditions):
        return Condition.exact(may)
    return Condition(may, how(condition.must for condition in conditions))


def all_of(parts: Sequence[str]) -> str:
    """The expression for the rows that all of `parts` pass."""
    return _join(" and ", parts, neutral=EVERYTHING, decided=NOTHING)


def any_of(parts: Sequence[str]) -> str:
    """The expression for the rows that one of `parts` passes."""
    return _join(" or ", parts, neutral=NOTHING, decided=EVERYTHING)


def compare(name: str, operator: str, value: Scalar) -> Clause:
    """The rows whose field or key `name` compares so with a value; all of them must have one."""
    found, inverse = f"{name} {operator}", f"{name} {_INVERSE[operator]}"
    return Clause(f"{found} {literal(value)}", f"{inverse} {literal(value)}")


def one_of(name: str, values: Sequence[Scalar]) -> str:
    """The rows whose field or key `name` has one of some values of one type."""
    if len(values) == 1:
        return f"{name} == {literal(values[0])}"
    return f"{name} in [{', '.join(map(literal, values))}]" if values else NOTHING


def holding(name: str, text: str) -> tuple[str, bool]:
    """The rows whose field or key `name` has `text` in it, and whether others may pass too."""
    pattern = f"%{text.translate(_ANY_CHARACTER)}%"
    return f"{name} like {literal(pattern)}", any(map(text.__contains__, _WILDCARDS))


def _join(word: str, parts: Sequence[str], *, neutral: str, decided: str) -> str:
    """A tree of parentheses: side by side, thousands of operands take a server minutes to read."""
    if decided in parts:
        return decided
    left = [part for part in parts if part != neutral] or [neutral]
    while len(left) > 1:
        left = [_group(word, left[i : i + _FEW]) for i in range(0, len(left), _FEW)]
    return left[0]


def _group(word: str, parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"({word.join(parts)})"
