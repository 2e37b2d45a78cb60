"""Filters as text, both ways: what `str(filters)` shows and `MetadataFilters.parse` reads.

The text is a Python expression over keys and literals, read by Python's own parser and never run:

    price < 100 and category == "Wireless Headphones"
    10 <= price < 20 or not exists(stock)
    spec.ram >= 16 and metadata["unit price"] != null
    color in ["red", "blue"] and contains(tags, "new")

A bare name is a top-level key, dots lead into nested objects, and `metadata["..."]` takes any key.
"""

import ast
import json
import keyword
import unicodedata
import warnings
from collections.abc import Mapping
from typing import Any, Final

from ragbridge.errors import InvalidFilterError, shorten
from ragbridge.filters import Condition, Filter, MetadataFilter, MetadataFilters, Operator

_ROOT: Final = "metadata"
_CONSTANTS: Final[Mapping[str, bool | None]] = {"true": True, "false": False, "null": None}
_FUNCTIONS: Final = (
    Operator.CONTAINS,
    Operator.ANY,
    Operator.ALL,
    Operator.TEXT_MATCH,
    Operator.TEXT_MATCH_INSENSITIVE,
    Operator.EXISTS,
    Operator.IS_EMPTY,
)
_COMPARISONS: Final[Mapping[type[ast.cmpop], Operator]] = {
    ast.Eq: Operator.EQ,
    ast.NotEq: Operator.NE,
    ast.Gt: Operator.GT,
    ast.GtE: Operator.GTE,
    ast.Lt: Operator.LT,
    ast.LtE: Operator.LTE,
    ast.In: Operator.IN,
    ast.NotIn: Operator.NIN,
}
_MIRRORED: Final[Mapping[Operator, Operator]] = {
    Operator.EQ: Operator.EQ,
    Operator.NE: Operator.NE,
    Operator.GT: Operator.LT,
    Operator.GTE: Operator.LTE,
    Operator.LT: Operator.GT,
    Operator.LTE: Operator.GTE,
}


def render(filters: Filter) -> str:
    """`filters` as text that `parse` reads back as filters of the same meaning."""
    if isinstance(filters, MetadataFilter):
        return _render_condition(filters)
    if not isinstance(filters, MetadataFilters):
        raise InvalidFilterError(f"filters must be MetadataFilters, not {shorten(filters)}")
    if not filters.filters:
        return "true"
    if filters.condition is Condition.NOT:
        inner = MetadataFilters(filters.filters, Condition.OR)
        return f"not ({render(inner)})"
    return f" {filters.condition} ".join(map(_render_child, filters.filters))


def _render_child(child: Filter) -> str:
    text = render(child)
    is_group = isinstance(child, MetadataFilters) and child.condition is not Condition.NOT
    return f"({text})" if is_group and text != "true" else text


def _render_condition(condition: MetadataFilter) -> str:
    key, operator = _render_key(condition.path), condition.operator
    if operator in (Operator.EXISTS, Operator.IS_EMPTY):
        return f"{operator}({key})"
    value = _render_value(condition.value)
    if operator in _FUNCTIONS:
        return f"{operator}({key}, {value})"
    return f"{key} {'not in' if operator is Operator.NIN else operator} {value}"


def _render_key(path: tuple[str, ...]) -> str:
    if all(map(_is_bare, path)) and path[0] not in (_ROOT, *_CONSTANTS):
        return ".".join(path)
    return _ROOT + "".join(f"[{_render_value(part)}]" for part in path)


def _is_bare(name: str) -> bool:
    # Python's parser normalises names, so one that this would change needs quotes.
    return (
        name.isidentifier()
        and not keyword.iskeyword(name)
        and unicodedata.normalize("NFKC", name) == name
    )


def _render_value(value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_render_value, value))}]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False) if value.isprintable() else repr(value)
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return repr(value)


def parse(text: str) -> MetadataFilters:
    """The filters that `text` says.

    Raises:
        InvalidFilterError: the text cannot be read; the message shows the place.
    """
    if not isinstance(text, str):
        raise InvalidFilterError(f"a filter text must be a string, not {shorten(text)}")
    source = text.replace("\n", " ").replace("\r", " ").strip()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", SyntaxWarning)
            tree = ast.parse(source, mode="eval")
        made = _read(tree.body)
    except InvalidFilterError:
        raise
    except SyntaxError as error:
        raise InvalidFilterError(f"cannot read the filter {shorten(text)}: {error.msg}") from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise InvalidFilterError(
            f"cannot read the filter {shorten(text)}: {str(error) or 'nested too deep'}"
        ) from error
    return made if isinstance(made, MetadataFilters) else MetadataFilters([made])


def _read(node: ast.expr) -> MetadataFilter | MetadataFilters:
    if isinstance(node, ast.BoolOp):
        condition = Condition.AND if isinstance(node.op, ast.And) else Condition.OR
        return MetadataFilters(map(_read, node.values), condition)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return MetadataFilters([_read(node.operand)], Condition.NOT)
    if isinstance(node, ast.Compare):
        return _read_comparison(node)
    if isinstance(node, ast.Call):
        return _read_call(node)
    if isinstance(node, ast.Name) and node.id == "true":
        return MetadataFilters()
    raise _unreadable(node, 'expected a comparison such as price < 100 or category == "Books"')


def _read_comparison(node: ast.Compare) -> MetadataFilter | MetadataFilters:
    terms = [node.left, *node.comparators]
    parts = [
        _read_pair(left, op, right)
        for left, op, right in zip(terms, node.ops, terms[1:], strict=False)
    ]
    return parts[0] if len(parts) == 1 else MetadataFilters(parts)


def _read_pair(left: ast.expr, op: ast.cmpop, right: ast.expr) -> MetadataFilter:
    operator = _COMPARISONS.get(type(op))
    if operator is None:
        raise _unreadable(left, "'is' is not an operator here; use == or !=")
    if _is_key(left):
        return MetadataFilter(_read_key(left), operator, _read_value(right))
    if operator in _MIRRORED and _is_key(right):
        return MetadataFilter(_read_key(right), _MIRRORED[operator], _read_value(left))
    raise _unreadable(left, "one side of a comparison must be a key and the other a value")


def _read_call(node: ast.Call) -> MetadataFilter:
    name = node.func.id if isinstance(node.func, ast.Name) else ""
    if name not in _FUNCTIONS or node.keywords or not 1 <= len(node.args) <= 2:
        raise _unreadable(
            node, f"the functions are {', '.join(_FUNCTIONS)}, each of a key and at most one value"
        )
    key, *values = node.args
    return MetadataFilter(_read_key(key), name, *map(_read_value, values))


def _is_key(node: ast.expr) -> bool:
    if isinstance(node, ast.Name):
        return node.id not in _CONSTANTS
    return isinstance(node, ast.Attribute | ast.Subscript)


def _read_key(node: ast.expr) -> tuple[str, ...]:
    path: list[str] = []
    while isinstance(node, ast.Attribute | ast.Subscript):
        path.append(node.attr if isinstance(node, ast.Attribute) else _read_index(node))
        node = node.value
    if not isinstance(node, ast.Name) or node.id in _CONSTANTS:
        raise _unreadable(node, 'expected a key: a name, a dotted path or metadata["any key"]')
    if node.id != _ROOT or not path:
        path.append(node.id)
    return tuple(reversed(path))


def _read_index(node: ast.Subscript) -> str:
    if isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, str):
        return node.slice.value
    raise _unreadable(node, "a key in brackets must be a string")


def _read_value(node: ast.expr) -> Any:
    if isinstance(node, ast.Name) and node.id in _CONSTANTS:
        return _CONSTANTS[node.id]
    if isinstance(node, ast.List | ast.Tuple):
        return [_read_value(item) for item in node.elts]
    try:
        return ast.literal_eval(node)
    except ValueError as error:
        raise _unreadable(
            node, "expected a value: a number, a quoted text, true, false, null or a list"
        ) from error


def _unreadable(node: ast.expr, message: str) -> InvalidFilterError:
    place = ast.unparse(node)
    return InvalidFilterError(f"cannot read {shorten(place)} in the filter: {message}")
