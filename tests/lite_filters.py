"""Milvus Lite's own reader of expressions, without a store around it."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
from milvus_lite.schema.types import CollectionSchema, DataType, FieldSchema
from milvus_lite.search.filter import compile_expr, evaluate, parse_expr

from ragbridge.filters import Filter, matches
from ragbridge.stores._requests import Selection
from ragbridge.stores.milvus.capabilities import Engine
from ragbridge.stores.milvus.columns import Column
from ragbridge.stores.milvus.filters import compile_selection
from ragbridge.stores.milvus.shadows import shadows

__all__ = ["LiteFilters"]

FIELDS = [
    FieldSchema(name="id", dtype=DataType.VARCHAR, is_primary=True, max_length=512),
    FieldSchema(name="vector", dtype=DataType.FLOAT_VECTOR, dim=2),
    FieldSchema(name="document_id", dtype=DataType.VARCHAR, max_length=512),
    FieldSchema(name="deleted", dtype=DataType.BOOL),
]
ARROW_TYPES = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}

Rows = Mapping[str, Mapping[str, Any]]


class LiteRows:
    """Rows by name, as Milvus Lite would hold them."""

    def __init__(self, rows: Rows, columns: Sequence[Column] = ()) -> None:
        self._names = list(rows)
        table = {
            "id": pa.array(self._names, pa.string()),
            "document_id": pa.array([""] * len(rows), pa.string()),
            "deleted": pa.array([False] * len(rows), pa.bool_()),
            "$meta": pa.array([json.dumps(shadows(each)) for each in rows.values()], pa.string()),
        }
        fields = [*FIELDS]
        for column in columns:
            held = [column.fill(each) for each in rows.values()]
            type_ = ARROW_TYPES[column.type]
            table[column.value] = pa.array([each[column.value] for each in held], type_)
            table[column.state] = pa.array([each[column.state] for each in held], pa.int8())
            value_type = DataType[column.milvus_type]
            fields.append(FieldSchema(name=column.value, dtype=value_type, **column.options))
            fields.append(FieldSchema(name=column.state, dtype=DataType.INT8))
        self._schema = CollectionSchema(fields=fields, enable_dynamic_field=True)
        self._table = pa.table(table)

    def passing(self, expression: str) -> set[str]:
        """The names of those that an expression passes."""
        compiled = compile_expr(parse_expr(expression), self._schema, expression)
        mask = evaluate(compiled, self._table).to_pylist()
        return {name for name, passes in zip(self._names, mask, strict=True) if passes}


class LiteFilters:
    """Selects rows by filters, in both of the ways in which a store selects.

    Args:
        engine: What filters are compiled for.
        columns: The declared keys.
    """

    def __init__(self, engine: Engine, columns: Sequence[Column] = ()) -> None:
        self._engine = engine
        self._columns = columns
        self._last: tuple[Rows, LiteRows] | None = None

    def __call__(self, filters: Filter, rows: Rows) -> set[str]:
        """The names of the rows that a filter selects."""
        by_key = {each.key: each for each in self._columns}
        found = compile_selection(Selection(filters), self._engine, by_key)
        held = self._held(rows)
        expressions = (found.may, found.must, found.doubtful)
        may, must, doubtful = (held.passing(each) for each in expressions)

        def checked(names: set[str]) -> set[str]:
            return {name for name in names if matches(filters, rows[name])}

        counted = must | checked(doubtful)
        searched = may if found.is_exact else checked(may)
        assert counted == searched, f"{filters!r}: counts {counted}, finds {searched}"
        assert not must & doubtful, f"{filters!r}: {must & doubtful} would be counted twice"
        return searched

    def _held(self, rows: Rows) -> LiteRows:
        if self._last is None or self._last[0] is not rows:
            self._last = rows, LiteRows(rows, self._columns)
        return self._last[1]
