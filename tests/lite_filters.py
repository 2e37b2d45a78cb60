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

SCHEMA = CollectionSchema(
    fields=[
        FieldSchema(name="id", dtype=DataType.VARCHAR, is_primary=True, max_length=512),
        FieldSchema(name="vector", dtype=DataType.FLOAT_VECTOR, dim=2),
        FieldSchema(name="document_id", dtype=DataType.VARCHAR, max_length=512),
        FieldSchema(name="deleted", dtype=DataType.BOOL),
    ],
    enable_dynamic_field=True,
)


def passing(expression, keys_of_rows):
    """The names of the rows, given as their dynamic keys by name, that an expression passes."""
    table = pa.table(
        {
            "id": pa.array(list(keys_of_rows), pa.string()),
            "document_id": pa.array([""] * len(keys_of_rows), pa.string()),
            "deleted": pa.array([False] * len(keys_of_rows), pa.bool_()),
            "$meta": pa.array([json.dumps(keys) for keys in keys_of_rows.values()], pa.string()),
        }
    )
    compiled = compile_expr(parse_expr(expression), SCHEMA, expression)
    mask = evaluate(compiled, table).to_pylist()
    return {name for name, passes in zip(keys_of_rows, mask, strict=True) if passes}


def select(filters, rows, *, engine):
    """The names of the rows that a filter selects, by both of the ways in which a store selects."""
    keys = {name: shadows(metadata) for name, metadata in rows.items()}
    found = compile_selection(Selection(filters), engine)
    may, must, doubtful = (passing(each, keys) for each in (found.may, found.must, found.doubtful))

    def checked(names):
        return {name for name in names if matches(filters, rows[name])}

    counted = must | checked(doubtful)
    searched = may if found.is_exact else checked(may)
    assert counted == searched, f"{filters!r}: counts {counted}, finds {searched}"
    assert not must & doubtful, f"{filters!r}: {must & doubtful} would be counted twice"
    return searched
