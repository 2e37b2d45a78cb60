"""Filter tree -> expressions over the rows of other tools, which have no shadow keys.

A condition becomes what passes every row that fulfils it, and what passes only such rows. Typed fields
are decided by the engine. Of JSON, engines make different things (whether 1 equals true, what a missing
key is), so only what no engine gets wrong is asked of them, and never a negation; `matches()` looks at
the rows that come back.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import floor, inf, nextafter
from typing import Final

from ragbridge._filter_tree import Every, Leaf, Node, normalize
from ragbridge.filters import MetadataFilter, Operator, Scalar, matches
from ragbridge.stores._requests import Selection
from ragbridge.stores.milvus.capabilities import Engine
from ragbridge.stores.milvus.expressions import (
    EVERYTHING,
    NOTHING,
    all_of,
    any_of,
    holding,
    one_of,
)
from ragbridge.stores.milvus.filters import Expression
from ragbridge.stores.milvus.foreign.fields import DYNAMIC, Field
from ragbridge.stores.milvus.foreign.nodes import NO_DOCUMENT
from ragbridge.stores.milvus.foreign.opened import Opened, is_int64
from ragbridge.stores.milvus.literals import literal

__all__ = ["compile_foreign", "only_active"]

_PLAIN_KEY: Final = re.compile(r"[\w .:-]+")
_EXACT_FLOATS: Final = 2**53
_WORDS: Final = frozenset("and or not in like is null exists true false".split())
_LARGEST: Final = 1.7976931348623157e308
_INT_BITS: Final = {"INT8": 8, "INT16": 16, "INT32": 32, "INT64": 64}
_ORDERINGS: Final = {
    Operator.GT: ">",
    Operator.GTE: ">=",
    Operator.LT: "<",
    Operator.LTE: "<=",
}


@dataclass(frozen=True, slots=True)
class _Bounds:
    """Of a condition: what passes every row of which it is true, and what passes only such rows."""

    may: str
    must: str

    @classmethod
    def exact(cls, expression: str) -> "_Bounds":
        return cls(expression, expression)

    @classmethod
    def at_most(cls, expression: str) -> "_Bounds":
        return cls(expression, NOTHING)


_UNKNOWN: Final = _Bounds.at_most(EVERYTHING)


def compile_foreign(selection: Selection, engine: Engine, opened: Opened) -> Expression:
    """The expression for a selection of rows of another tool."""
    outer = [] if selection.include_deleted else _is_active(opened)
    if selection.ids is not None:
        outer.append(opened.with_ids(selection.ids))
    if selection.document_ids is not None:
        outer.append(_is_of(opened, selection.document_ids))
    inner = _compile(normalize(selection.filters), engine, opened)
    may = all_of([*outer, inner.may])
    if inner.may == inner.must or may == NOTHING:
        return Expression(may, may, NOTHING)
    return Expression(may, NOTHING, may)


def only_active(expression: Expression, opened: Opened) -> Expression:
    """Those rows of an expression that are not soft-deleted."""
    active = _is_active(opened)
    parts = (expression.may, expression.must, expression.doubtful)
    return Expression(*(all_of([*active, part]) for part in parts))


def _is_active(opened: Opened) -> list[str]:
    path = dict(opened.layout.places).get("deleted")
    if path is None:
        return []
    name = _name(path, opened)
    if path[0] in opened.fields and len(path) == 1:
        return [f"{name} == false"]
    return [f"((not exists {name}) or {name} == false)"]


def _is_of(opened: Opened, document_ids: Sequence[str]) -> str:
    path = dict(opened.layout.places).get("document_id")
    if path is None:
        return NOTHING
    ids = [each for each in document_ids if not (opened.layout.nodes and each == NO_DOCUMENT)]
    name = _name(path, opened)
    if path[0] not in opened.fields or len(path) > 1:
        return any_of([f"{name} == {literal(each)}" for each in ids])
    if opened.fields[path[0]].type == "VARCHAR":
        return one_of(name, ids)
    return one_of(name, [int(each) for each in ids if is_int64(each)])


def _compile(node: Node, engine: Engine, opened: Opened) -> _Bounds:
    if isinstance(node, Leaf):
        return _compile_leaf(node, engine, opened)
    join = all_of if isinstance(node, Every) else any_of
    children = [_compile(child, engine, opened) for child in node.children]
    return _Bounds(join([each.may for each in children]), join([each.must for each in children]))


def _compile_leaf(leaf: Leaf, engine: Engine, opened: Opened) -> _Bounds:
    layout, path = opened.layout, leaf.path
    if layout.metadata is not None:
        base = (layout.metadata,) if isinstance(layout.metadata, str) else layout.metadata
        whole = (*base, *path)
        if whole in dict(layout.places).values():
            return _missing(leaf)
        return _on_json(leaf, whole, engine, opened)
    if path[0] in opened.rows.taken:
        return _UNKNOWN if layout.nodes else _missing(leaf)
    field = opened.fields.get(path[0])
    if field is None and not opened.fields.is_dynamic:
        return _missing(leaf)
    if field is None or field.type == "JSON":
        return _on_json(leaf, path, engine, opened)
    if len(path) > 1:
        return _missing(leaf)
    return _on_field(leaf, field, engine)


def _missing(leaf: Leaf) -> _Bounds:
    """Of a key that no row has."""
    return _constant(matches(leaf.condition, {}) is not leaf.negated)


def _constant(value: bool) -> _Bounds:
    return _Bounds.exact(EVERYTHING if value else NOTHING)


def _name(path: Sequence[str], opened: Opened) -> str:
    """What an expression calls a field, or what lies in JSON."""
    keys = "".join(f"[{literal(key)}]" for key in path[1:])
    return (
        f"{path[0]}{keys}" if path[0] in opened.fields else f"{DYNAMIC}[{literal(path[0])}]{keys}"
    )


# JSON


def _on_json(leaf: Leaf, path: Sequence[str], engine: Engine, opened: Opened) -> _Bounds:
    keys = path[1:] if path[0] in opened.fields else path
    # Engines look into a field, but compare none as a whole.
    if leaf.negated or not keys or not all(map(_PLAIN_KEY.fullmatch, keys)):
        return _UNKNOWN
    name, value = _name(path, opened), leaf.value
    if leaf.operator is Operator.IN and isinstance(value, tuple):
        return _any_of([_equals(name, each) for each in value])
    if isinstance(value, tuple):
        listed = _name_of_list(path, opened, engine)
        return _UNKNOWN if listed is None else _holds(leaf.operator, listed, value)
    if leaf.operator is Operator.EQ and value is not None:
        return _equals(name, value)
    if leaf.operator in _ORDERINGS and value is not None and _is_plain(value):
        return _Bounds.at_most(f"{name} {_ORDERINGS[leaf.operator]} {literal(value)}")
    if leaf.operator is Operator.TEXT_MATCH and engine.matches_infix and _is_plain(value) and value:
        return _Bounds.at_most(holding(name, str(value))[0])
    return _UNKNOWN


def _name_of_list(path: Sequence[str], opened: Opened, engine: Engine) -> str | None:
    """What `json_contains` calls what lies at a path; None where the engine has no name for it."""
    if path[0] in opened.fields or engine.looks_into_dynamic_lists:
        return _name(path, opened)
    is_word = path[0].isidentifier() and path[0].isascii() and path[0].lower() not in _WORDS
    return path[0] if len(path) == 1 and is_word else None


def _is_plain(value: Scalar | None) -> bool:
    """Whether engines compare it with all that JSON holds, in the same way."""
    if isinstance(value, str):
        return "\x00" not in value
    return isinstance(value, int | float) and abs(value) < _EXACT_FLOATS


def _equals(name: str, value: Scalar) -> _Bounds:
    if not _is_plain(value):
        return _UNKNOWN
    if isinstance(value, bool):
        return _Bounds.at_most(f"{name} == {literal(value)}")
    expression = f"{name} == {literal(value)}"
    return _Bounds.at_most(expression) if value in (0, 1) else _Bounds.exact(expression)


def _holds(operator: Operator, name: str, values: Sequence[Scalar]) -> _Bounds:
    """Of arrays: strings in them are found by every engine, numbers are not."""
    if not values or not all(isinstance(each, str) and _is_plain(each) for each in values):
        return _UNKNOWN
    join = any_of if operator is Operator.ANY else all_of
    return _Bounds.at_most(join([f"json_contains({name}, {literal(each)})" for each in values]))


def _any_of(several: Sequence[_Bounds]) -> _Bounds:
    return _Bounds(any_of([each.may for each in several]), any_of([each.must for each in several]))


# Typed fields


def _on_field(leaf: Leaf, field: Field, engine: Engine) -> _Bounds:
    if field.type not in _TESTS:
        return _UNKNOWN
    if leaf.operator is Operator.TEXT_MATCH_INSENSITIVE and leaf.value and field.type == "VARCHAR":
        return _UNKNOWN
    if leaf.operator is Operator.TEXT_MATCH and leaf.value and field.type == "VARCHAR":
        return _on_text_match(leaf, field, engine)
    test = _test(leaf.condition, field)
    return _UNKNOWN if test is None else _decided(test, leaf, field)


def _decided(test: str, leaf: Leaf, field: Field) -> _Bounds:
    """A test that the engine decides, of a field that may be null."""
    if not leaf.negated:
        return _Bounds.exact(test)
    if test in (EVERYTHING, NOTHING):
        return _Bounds.exact(NOTHING if test == EVERYTHING else EVERYTHING)
    fails = f"(not ({test}))"
    is_null = field.is_nullable and leaf.operator is not Operator.IS_EMPTY
    return _Bounds.exact(f"({field.name} is null or {fails})" if is_null else fails)


def _on_text_match(leaf: Leaf, field: Field, engine: Engine) -> _Bounds:
    if not engine.matches_infix or not _is_plain(leaf.value):  # type: ignore[arg-type]
        return _UNKNOWN
    expression, is_vague = holding(field.name, str(leaf.value))
    if not is_vague:
        return _decided(expression, leaf, field)
    return _UNKNOWN if leaf.negated else _Bounds.at_most(expression)


def _test(condition: MetadataFilter, field: Field) -> str | None:
    """What decides a condition; None where an engine cannot."""
    operator, value = condition.operator, condition.value
    if operator is Operator.EXISTS:
        return _exists(field)
    if operator is Operator.IS_EMPTY:
        return _is_empty(field)
    if operator is Operator.IN and isinstance(value, tuple):
        return _is_in(field, value)
    if operator is Operator.EQ and isinstance(value, str | int | float):
        return _TESTS[field.type](field, "==", value)
    if operator in _ORDERINGS and isinstance(value, str | int | float):
        return _TESTS[field.type](field, _ORDERINGS[operator], value)
    if operator is Operator.TEXT_MATCH or operator is Operator.TEXT_MATCH_INSENSITIVE:
        return _exists(field) if field.type == "VARCHAR" else NOTHING
    return NOTHING  # any and all: no array


def _exists(field: Field) -> str:
    if field.type == "DOUBLE":
        return _finite(field)
    return f"{field.name} is not null" if field.is_nullable else EVERYTHING


def _is_empty(field: Field) -> str | None:
    if field.type == "DOUBLE":
        return None
    null = [f"{field.name} is null"] if field.is_nullable else []
    empty = [f'{field.name} == ""'] if field.type == "VARCHAR" else []
    return any_of([*null, *empty])


def _is_in(field: Field, values: Sequence[Scalar]) -> str | None:
    if field.type == "VARCHAR":
        texts = [each for each in values if isinstance(each, str)]
        return one_of(field.name, texts) if all(map(_is_plain, texts)) else None
    tests = [_TESTS[field.type](field, "==", each) for each in values]
    told = [each for each in tests if each is not None]
    return any_of(told) if len(told) == len(tests) else None


def _compare_text(field: Field, operator: str, value: Scalar) -> str | None:
    if not isinstance(value, str):
        return NOTHING
    return f"{field.name} {operator} {literal(value)}" if _is_plain(value) else None


def _compare_flag(field: Field, operator: str, value: Scalar) -> str:
    if not isinstance(value, bool) or operator != "==":
        return NOTHING
    return f"{field.name} == {literal(value)}"


def _compare_whole(field: Field, operator: str, value: Scalar) -> str | None:
    if isinstance(value, str | bool):
        return NOTHING
    whole = floor(value)
    if whole != value:
        if operator == "==":
            return NOTHING
        operator = "<=" if operator in ("<", "<=") else ">"
    most = 2 ** (_INT_BITS[field.type] - 1) - 1
    if not -most - 1 <= whole <= most:
        is_passed = operator != "==" and (whole < 0) == (operator in (">", ">="))
        return _exists(field) if is_passed else NOTHING
    # No engine reads the least integer of 64 bits.
    return None if whole == -(2**63) else f"{field.name} {operator} {whole}"


def _compare_number(field: Field, operator: str, value: Scalar) -> str | None:
    if isinstance(value, str | bool):
        return NOTHING
    try:
        near = float(value)
    except OverflowError:
        near = inf if value > 0 else -inf
    if near != value:
        if operator == "==":
            return NOTHING
        operator, near = _around(operator, near, value)
    if near in (inf, -inf):
        return _finite(field) if (near > 0) == (operator in ("<", "<=")) else NOTHING
    return all_of([_finite(field), f"{field.name} {operator} {near!r}"])


def _around(operator: str, near: float, value: float) -> tuple[str, float]:
    """The same comparison, with a float next to a value that is none."""
    if operator in ("<", "<="):
        return "<=", near if near < value else nextafter(near, -inf)
    return ">=", near if near > value else nextafter(near, inf)


def _finite(field: Field) -> str:
    """NaN and infinity are no JSON, and so not in the metadata."""
    return f"({field.name} >= -{_LARGEST!r} and {field.name} <= {_LARGEST!r})"


_TESTS: Final = {
    "VARCHAR": _compare_text,
    "BOOL": _compare_flag,
    "DOUBLE": _compare_number,
    **dict.fromkeys(_INT_BITS, _compare_whole),
}
