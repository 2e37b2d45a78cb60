"""Rows of other tools -> rows as ragbridge lays them out."""

from collections.abc import Iterable, Mapping
from math import isfinite
from typing import Any, Final

from ragbridge.stores.milvus.foreign.fields import DYNAMIC, Fields
from ragbridge.stores.milvus.foreign.layouts import CollectionLayout
from ragbridge.stores.milvus.foreign.nodes import NO_DOCUMENT, RESERVED, Node, read_node
from ragbridge.stores.milvus.layout import (
    CHUNK,
    CONTENT,
    DELETED,
    DOCUMENT_ID,
    FRAMEWORK_DATA,
    ID,
    METADATA,
    SPARSE,
    VECTOR,
)
from ragbridge.stores.milvus.shadows import INT64_MAX, INT64_MIN
from ragbridge.stores.milvus.texts import without_nul

__all__ = ["RowReader", "plain_json", "value_at"]

_TEXT_CHUNK: Final = {"class": "TextChunk", "type": "text-chunk", "hash": ""}


class RowReader:
    """Reads the rows of a collection.

    Args:
        layout: Where what lies.
        fields: Its fields.

    Attributes:
        taken: The fields and dynamic keys that are no metadata where these have no field of their own.
    """

    def __init__(self, layout: CollectionLayout, fields: Fields) -> None:
        self._layout = layout
        self._fields = fields
        self._paths = dict(layout.places)
        reserved = RESERVED if layout.nodes else ()
        vectors = (field.name for field in fields if field.is_vector)
        places = (path[0] for path in self._paths.values() if len(path) == 1)
        self.taken = frozenset((*places, *vectors, *reserved))
        self._readers = {
            ID: self._id,
            DOCUMENT_ID: self._document_id,
            CONTENT: self._content,
            METADATA: self._metadata,
            CHUNK: self._chunk,
            FRAMEWORK_DATA: self._framework_data,
            DELETED: self._deleted,
            VECTOR: self._vector,
            SPARSE: self._sparse,
        }

    def sources(self, asked: Iterable[str]) -> set[str]:
        """The fields to read for what ragbridge calls so."""
        found = {self._layout.id}
        for name in asked:
            found |= self._sources(name)
        return found

    def read(self, row: Mapping[str, Any], asked: Iterable[str]) -> dict[str, Any]:
        """What was asked of a row."""
        node = read_node(row) if self._layout.nodes else None
        return {name: self._readers[name](row, node) for name in {ID, *asked}}

    def _sources(self, name: str) -> set[str]:
        if name == METADATA and self._layout.metadata is None:
            columns = {field.name for field in self._fields} - self.taken
            return columns | ({DYNAMIC} if self._fields.is_dynamic else set())
        places = ("chunk", "index", "type") if name == CHUNK else (name,)
        paths = [self._paths[place] for place in places if place in self._paths]
        found = {path[0] if path[0] in self._fields else DYNAMIC for path in paths}
        of_node = self._layout.nodes and name in (DOCUMENT_ID, CHUNK, FRAMEWORK_DATA)
        return found | {DYNAMIC} if of_node else found

    def _at(self, row: Mapping[str, Any], place: str) -> Any:
        path = self._paths.get(place)
        return None if path is None else value_at(row, path)

    def _id(self, row: Mapping[str, Any], _node: Node | None) -> str:
        return str(row[self._layout.id])

    def _document_id(self, row: Mapping[str, Any], node: Node | None) -> str:
        value = self._at(row, "document_id")
        if node is not None:
            value = node.document_id
        elif self._layout.nodes and value == NO_DOCUMENT:
            value = None
        return "" if value is None else without_nul(str(value))

    def _content(self, row: Mapping[str, Any], _node: Node | None) -> str:
        value = self._at(row, "content")
        return "" if value is None else str(value)

    def _metadata(self, row: Mapping[str, Any], node: Node | None) -> dict[str, Any]:
        if node is not None:
            return _plain_object(node.metadata)
        if self._layout.metadata is None:
            return _plain_object(
                {
                    name: value
                    for name, value in row.items()
                    if name not in self.taken and not (value is None and name in self._fields)
                }
            )
        held = self._at(row, "metadata")
        found = _plain_object(held) if isinstance(held, dict) else {}
        base = self._paths["metadata"]
        for path in self._paths.values():
            if path[: len(base)] == base and len(path) > len(base):
                _remove(found, path[len(base) :])
        return found

    def _chunk(self, row: Mapping[str, Any], node: Node | None) -> dict[str, Any]:
        if node is not None:
            return _described(node.chunk)
        held = self._at(row, "chunk")
        if isinstance(held, dict):
            return _described(held)
        kept = {"type": self._at(row, "type"), "index": self._at(row, "index")}
        return _TEXT_CHUNK | {name: value for name, value in kept.items() if _is_fit(name, value)}

    def _framework_data(self, row: Mapping[str, Any], node: Node | None) -> dict[str, Any]:
        if node is not None:
            return _plain_object(node.framework_data)
        held = self._at(row, "framework_data")
        return _plain_object(held) if isinstance(held, dict) else {}

    def _deleted(self, row: Mapping[str, Any], _node: Node | None) -> bool:
        return bool(self._at(row, "deleted"))

    def _vector(self, row: Mapping[str, Any], _node: Node | None) -> Any:
        return row.get(self._layout.vector or "")

    def _sparse(self, row: Mapping[str, Any], _node: Node | None) -> Any:
        return row.get(self._layout.sparse or "")


def _described(held: dict[str, Any]) -> dict[str, Any]:
    """What a chunk is: all that ragbridge said of it, or what another tool says of a text."""
    return held if held.keys() >= {"class", "type"} else _TEXT_CHUNK | held


def value_at(row: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    """What a row has at a path, or None."""
    found: Any = row
    for name in path:
        if not isinstance(found, Mapping):
            return None
        found = found.get(name)
    return found


def plain_json(value: Any) -> Any:
    """JSON as the core keeps it: what it cannot hold becomes null or a float.

    Other tools' JSON may have NaN, or integers of more than 64 bits.
    """
    if isinstance(value, dict):
        return _plain_object(value)
    if isinstance(value, str | bool) or value is None:
        return value
    if isinstance(value, float):
        return value + 0.0 if isfinite(value) else None
    if isinstance(value, int):
        return value if INT64_MIN <= value <= INT64_MAX else float(value)
    return [plain_json(item) for item in value]


def _plain_object(value: Mapping[str, Any]) -> dict[str, Any]:
    return {name: plain_json(item) for name, item in value.items()}


def _is_fit(name: str, value: Any) -> bool:
    if name == "type":
        return isinstance(value, str) and value != ""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _remove(value: dict[str, Any], path: tuple[str, ...]) -> None:
    *parents, last = path
    held: Any = value
    for name in parents:
        held = held.get(name) if isinstance(held, dict) else None
    if isinstance(held, dict):
        held.pop(last, None)
