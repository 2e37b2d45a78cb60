"""Rows out of what pymilvus answers to a search."""

from collections.abc import Sequence
from typing import Any, TypeAlias

from ragbridge.stores.milvus.asking import ReadHits
from ragbridge.stores.milvus.layout import ID
from ragbridge.stores.milvus.rows import Row

Hits: TypeAlias = list[tuple[Row, float]]
"""Rows with the engine's scores or with similarities."""


def hits_of(answer: Any) -> Hits:
    """The rows and distances of an answer: `ReadHits`, or one of pymilvus's `HybridHits`."""
    if isinstance(answer, ReadHits):
        return answer
    columns = _json_columns(answer)
    if columns is None:
        return [({**hit["entity"], ID: hit["id"]}, hit["distance"]) for hit in answer]
    rows = [answer.get_raw_item(place)["entity"] for place in range(len(answer))]
    for row, row_id in zip(rows, answer.ids, strict=True):
        row[ID] = row_id
    for name, values in columns.items():
        for row, value in zip(rows, values, strict=True):
            row[name] = value
    return list(zip(rows, answer.distances, strict=True))


def _json_columns(answer: Any) -> dict[str, Sequence[Any]] | None:
    """The columns that pymilvus leaves to be decoded; None where they are more than plain JSON.

    It decodes them cell by cell and looks up the type of each, which takes it longer than all else.
    """
    import orjson

    lazy = getattr(answer, "lazy_field_data", None)
    if lazy is None or not all(map(_is_plain_json, lazy)):
        return None
    start, end = answer.start, answer.start + len(answer)
    cells = {column.field_name: column.scalars.json_data.data[start:end] for column in lazy}
    if any(len(each) != len(answer) for each in cells.values()):
        return None
    return {name: [*map(orjson.loads, each)] for name, each in cells.items()}


def _is_plain_json(column: Any) -> bool:
    is_json = column.HasField("scalars") and column.scalars.HasField("json_data")
    return is_json and not column.is_dynamic and not column.valid_data
