"""Filter tree -> expressions in Milvus's language, over the shadows of metadata.

A filter becomes two expressions. `may` passes every row that fulfils it, `must` only rows that do.
For what engines can say exactly they are the same; otherwise the rows in between are looked at with
`matches()`. Nothing in them depends on what an engine makes of missing keys or of other types: only
keys that hold one type are compared, and what a missing one means is said each time.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import inf, nextafter
from typing import Final, Self

from ragbridge._filter_tree import Every, Leaf, Node, normalize
from ragbridge.filters import LIST_OPERATORS, Operator, Scalar
from ragbridge.stores._requests import Selection
from ragbridge.stores.milvus.capabilities import Engine
from ragbridge.stores.milvus.layout import DELETED, DOCUMENT_ID, ID
from ragbridge.stores.milvus.shadows import (
    INT64_MIN,
    KINDS,
    element_key,
    fits_in_full,
    key,
    normal_number,
    shadow_text,
)

EVERYTHING: Final = f'{ID} >= ""'
NOTHING: Final = f"{ID} in []"

_FEW = 16  # operands side by side; servers take minutes for a row of thousands
_INVERSE: Final = {"==": "!=", "!=": "==", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}
_ESCAPES: Final = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"})
_WILDCARDS: Final = "%_\\"
_ANY_CHARACTER: Final = str.maketrans(dict.fromkeys(_WILDCARDS, "_"))  # engines differ in escapes

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


def compile_selection(selection: Selection, engine: Engine) -> Expression:
    """The expression for a selection."""
    outer = [] if selection.include_deleted else [f"{DELETED} == false"]
    if selection.ids is not None:
        outer.append(one_of(ID, selection.ids))
    if selection.document_ids is not None:
        outer.append(one_of(DOCUMENT_ID, selection.document_ids))
    inner = _compile(normalize(selection.filters), engine)
    may = _all([*outer, inner.may.holds])
    if inner.is_exact:
        return Expression(may, may, NOTHING)
    must = _all([*outer, inner.must.holds])
    return Expression(may, must, _all([*outer, inner.may.holds, inner.must.fails]))


def after(expression: str, last_id: str | None) -> str:
    """Those rows of `expression` whose ids come after `last_id`."""
    return expression if last_id is None else _all([expression, f"{ID} > {_literal(last_id)}"])


def one_of(name: str, values: Sequence[Scalar]) -> str:
    """The rows whose field or key `name` has one of some values of one type."""
    if len(values) == 1:
        return f"{name} == {_literal(values[0])}"
    return f"{name} in [{', '.join(map(_literal, values))}]" if values else NOTHING


@dataclass(frozen=True, slots=True)
class _Test:
    """An expression, and one for its opposite."""

    holds: str
    fails: str

    def negated(self) -> "_Test":
        return _Test(self.fails, self.holds)


@dataclass(frozen=True, slots=True)
class _Condition:
    may: _Test
    must: _Test

    @classmethod
    def exact(cls, test: _Test) -> Self:
        return cls(test, test)

    @property
    def is_exact(self) -> bool:
        return self.may == self.must

    def negated(self) -> "_Condition":
        return _Condition(self.must.negated(), self.may.negated())


_TRUE: Final = _Test(EVERYTHING, NOTHING)
_FALSE: Final = _Test(NOTHING, EVERYTHING)


def _every(tests: Iterable[_Test]) -> _Test:
    tests = list(tests)
    return _Test(_all([test.holds for test in tests]), _any([test.fails for test in tests]))


def _some(tests: Iterable[_Test]) -> _Test:
    return _every(test.negated() for test in tests).negated()


def _all(parts: Sequence[str]) -> str:
    return _join(" and ", parts, neutral=EVERYTHING, decided=NOTHING)


def _any(parts: Sequence[str]) -> str:
    return _join(" or ", parts, neutral=NOTHING, decided=EVERYTHING)


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


def _compile(node: Node, engine: Engine) -> _Condition:
    if isinstance(node, Leaf):
        condition = _compile_leaf(node, engine)
        return condition.negated() if node.negated else condition
    children = [_compile(child, engine) for child in node.children]
    return _combine(_every if isinstance(node, Every) else _some, children)


def _combine(
    how: Callable[[Iterable[_Test]], _Test], conditions: Sequence[_Condition]
) -> _Condition:
    may = how(condition.may for condition in conditions)
    if all(condition.is_exact for condition in conditions):
        return _Condition.exact(may)
    return _Condition(may, how(condition.must for condition in conditions))


def _compile_leaf(leaf: Leaf, engine: Engine) -> _Condition:
    if leaf.operator is Operator.EXISTS:
        return _Condition.exact(_some(_has(key(kind, leaf.path)) for kind in KINDS))
    if leaf.operator is Operator.IS_EMPTY:
        return _Condition.exact(_is_empty(leaf.path))
    if leaf.operator in LIST_OPERATORS and isinstance(leaf.value, tuple):
        return _LISTS[leaf.operator](leaf.path, leaf.value)
    if isinstance(leaf.value, str) and leaf.operator in _TEXT_MATCHES:
        return _TEXT_MATCHES[leaf.operator](leaf.path, leaf.value, engine)
    return _compare(leaf.path, leaf.operator.value, leaf.value)  # type: ignore[arg-type]


# Tests of single keys


def _has(name: str) -> _Test:
    return _Test(f"(exists {name})", f"(not exists {name})")


def _is(name: str, operator: str, value: Scalar) -> _Test:
    literal = _literal(value)
    inverse = f"{name} {_INVERSE[operator]} {literal}"
    return _Test(f"{name} {operator} {literal}", f"((not exists {name}) or {inverse})")


def _is_in(name: str, values: Sequence[Scalar]) -> _Test:
    if len(values) == 1:
        return _is(name, "==", values[0])
    found = one_of(name, values)
    return _Test(found, f"((not exists {name}) or (not ({found})))") if values else _FALSE


def _is_like(name: str, pattern: str) -> _Test:
    found = f"{name} like {_literal(pattern)}"
    return _Test(found, f"((not exists {name}) or (not ({found})))")


def _literal(value: Scalar) -> str:
    if isinstance(value, str):
        return f'"{value.translate(_ESCAPES)}"'
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value)


# Operators


def _is_empty(path: tuple[str, ...]) -> _Test:
    text, array = key("s", path), key("a", path)
    others = (_has(key(kind, path)).negated() for kind in KINDS if kind not in ("s", "a"))
    return _every(
        [
            *others,
            _some([_has(text).negated(), _is(text, "==", "")]),
            _some([_has(array).negated(), _is(array, "==", 0)]),
        ]
    )


def _is_one_of(path: tuple[str, ...], values: tuple[Scalar, ...]) -> _Condition:
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
    parts = [_Condition.exact(test) for test in together]
    return _combine(_some, [*parts, *(_compare(path, "==", value) for value in others)])


def _holds_any(path: tuple[str, ...], values: tuple[Scalar, ...]) -> _Condition:
    found = _some(_has(element_key(path, value)) for value in values)
    return _Condition(_some([found, _has(key("x", path))]), found)


def _holds_all(path: tuple[str, ...], values: tuple[Scalar, ...]) -> _Condition:
    if not values:
        return _Condition.exact(_has(key("a", path)))
    found = _every(_has(element_key(path, value)) for value in values)
    return _Condition(_some([found, _has(key("x", path))]), found)


def _has_text(path: tuple[str, ...], text: str, engine: Engine) -> _Condition:
    name = key("s", path)
    if not text:
        return _Condition.exact(_has(name))
    if not engine.matches_infix:
        return _Condition(_has(name), _FALSE)
    found = _is_like(name, f"%{text.translate(_ANY_CHARACTER)}%")
    may = _some([found, _has(key("l", path))])
    # What stands for a long text ends in a hash, which is no part of it.
    certain = _every([found, _has(key("l", path)).negated()])
    return _Condition(may, _FALSE if any(map(text.__contains__, _WILDCARDS)) else certain)


def _has_text_in_any_case(path: tuple[str, ...], text: str, _engine: Engine) -> _Condition:
    test = _has(key("s", path))
    return _Condition.exact(test) if not text else _Condition(test, _FALSE)


_LISTS: Final = {Operator.IN: _is_one_of, Operator.ANY: _holds_any, Operator.ALL: _holds_all}
_TEXT_MATCHES: Final = {
    Operator.TEXT_MATCH: _has_text,
    Operator.TEXT_MATCH_INSENSITIVE: _has_text_in_any_case,
}


def _compare(path: tuple[str, ...], operator: str, value: Scalar) -> _Condition:
    if isinstance(value, bool):
        return _Condition.exact(_is(key("b", path), operator, value))
    if isinstance(value, str):
        return _compare_text(key("s", path), operator, value)
    return _compare_number(key("n", path), operator, normal_number(value))


def _compare_text(name: str, operator: str, value: str) -> _Condition:
    if operator == "==" or fits_in_full(value):
        return _Condition.exact(_is(name, operator, shadow_text(value)))
    return _Condition(_has(name), _FALSE)


def _compare_number(name: str, operator: str, value: float) -> _Condition:
    if _is_safe(value):
        return _Condition.exact(_is(name, operator, value))
    if value == INT64_MIN or _LARGEST_SAFE < value <= 2**63:
        return _Condition(_has(name), _FALSE)
    return _Condition.exact(_compare_large(name, operator, value))


def _is_safe(value: float) -> bool:
    """Whether engines compare it exactly with every number as it is stored."""
    return not isinstance(value, int) or INT64_MIN < value <= _LARGEST_SAFE


def _compare_large(name: str, operator: str, value: float) -> _Test:
    """Compare with an integer beyond 64 bits: only floats are that large."""
    try:
        near = float(value)
    except OverflowError:
        near = inf if value > 0 else -inf
    if near == value:
        return _is(name, operator, near)
    if operator == "==":
        return _FALSE
    if operator in (">", ">="):
        below = near if near < value else nextafter(near, -inf)
        return _has(name) if below == -inf else _is(name, ">", below)
    above = near if near > value else nextafter(near, inf)
    return _has(name) if above == inf else _is(name, "<", above)
