"""Milvus Lite's own reader of expressions, without a store around it."""

import json

import pyarrow as pa
from milvus_lite.schema.types import CollectionSchema, DataType, FieldSchema
from milvus_lite.search.filter import compile_expr, evaluate, parse_expr

from ragbridge.filters import matches
from ragbridge.stores._requests import Selection
from ragbridge.stores.milvus.filters import compile_selection
from ragbridge.stores.milvus.shadows import shadows

__all__ = ["passing", "select"]

FIELDS = [
    FieldSchema(name="id", dtype=DataType.VARCHAR, is_primary=True, max_length=512),
    FieldSchema(name="vector", dtype=DataType.FLOAT_VECTOR, dim=2),
    FieldSchema(name="document_id", dtype=DataType.VARCHAR, max_length=512),
    FieldSchema(name="deleted", dtype=DataType.BOOL),
]
ARROW_TYPES = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}


def passing(expression, keys_of_rows, columns=(), values_of_rows=None):
    """The names of the rows that an expression passes.

    Rows are given by name: their dynamic keys, and what the columns hold of them.
    """
    table = {
        "id": pa.array(list(keys_of_rows), pa.string()),
        "document_id": pa.array([""] * len(keys_of_rows), pa.string()),
        "deleted": pa.array([False] * len(keys_of_rows), pa.bool_()),
        "$meta": pa.array([json.dumps(keys) for keys in keys_of_rows.values()], pa.string()),
    }
    fields = [*FIELDS]
    for column in columns:
        held = [values_of_rows[name][column.value] for name in keys_of_rows]
        states = [values_of_rows[name][column.state] for name in keys_of_rows]
        table[column.value] = pa.array(held, ARROW_TYPES[column.type])
        table[column.state] = pa.array(states, pa.int8())
        value_type = DataType[column.milvus_type]
        fields.append(FieldSchema(name=column.value, dtype=value_type, **column.options))
        fields.append(FieldSchema(name=column.state, dtype=DataType.INT8))
    schema = CollectionSchema(fields=fields, enable_dynamic_field=True)
    compiled = compile_expr(parse_expr(expression), schema, expression)
    mask = evaluate(compiled, pa.table(table)).to_pylist()
    return {name for name, passes in zip(keys_of_rows, mask, strict=True) if passes}


def select(filters, rows, *, engine, columns=()):
    """The names of the rows that a filter selects, by both of the ways in which a store selects."""
    keys = {name: shadows(metadata) for name, metadata in rows.items()}
    held = {
        name: {key: value for column in columns for key, value in column.fill(metadata).items()}
        for name, metadata in rows.items()
    }
    found = compile_selection(Selection(filters), engine, {each.key: each for each in columns})
    expressions = (found.may, found.must, found.doubtful)
    may, must, doubtful = (passing(each, keys, columns, held) for each in expressions)

    def checked(names):
        return {name for name in names if matches(filters, rows[name])}

    counted = must | checked(doubtful)
    searched = may if found.is_exact else checked(may)
    assert counted == searched, f"{filters!r}: counts {counted}, finds {searched}"
    assert not must & doubtful, f"{filters!r}: {must & doubtful} would be counted twice"
    return searched
