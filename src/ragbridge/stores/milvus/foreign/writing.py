"""Entries -> rows as other tools lay them out."""

import json
from collections.abc import Mapping
from typing import Any, Final, Never
from uuid import uuid4

from ragbridge.documents import Chunk, TextChunk
from ragbridge.embeddings import BinaryVector, Embedding, dense_part, sparse_part
from ragbridge.errors import InvalidDocumentError, shorten
from ragbridge.stores.base import VectorEntry
from ragbridge.stores.milvus.capabilities import Engine
from ragbridge.stores.milvus.foreign.fields import DYNAMIC, Field
from ragbridge.stores.milvus.foreign.nodes import NO_DOCUMENT, node_keys
from ragbridge.stores.milvus.foreign.opened import Opened, is_int64
from ragbridge.stores.milvus.rows import describe

__all__ = ["Row", "make_rows", "size_of"]

Row = dict[str, Any]

_INTEGERS: Final = {"INT8": 8, "INT16": 16, "INT32": 32, "INT64": 64}
_KINDS: Final[Mapping[str, tuple[type[Any], ...]]] = {
    "VARCHAR": (str,),
    "BOOL": (bool,),
    "FLOAT": (int, float),
    "DOUBLE": (int, float),
    "ARRAY": (list,),
    "JSON": (dict, list, str, int, float, bool),
    **dict.fromkeys(_INTEGERS, (int,)),
}


def make_rows(
    entries: Mapping[str, VectorEntry], opened: Opened, engine: Engine
) -> list[tuple[str, Row]]:
    """The rows for entries by id, and their ids, in order.

    Rows whose ids the engine gives keep those of the entries for the time being.

    Raises:
        InvalidDocumentError: the layout has no place for something in one, or not enough; the message
            names the row and the remedy.
    """
    ids = {given: _id_for(given, entry, opened) for given, entry in entries.items()}
    return [
        (ids[given], _RowMaker(ids[given], entry, opened, engine).make())
        for given, entry in entries.items()
    ]


def size_of(row: Row) -> int:
    """About how many bytes a row takes in a request."""
    return sum(_size(value) for value in row.values())


def _size(value: Any) -> int:
    if isinstance(value, str):
        return 4 * len(value)
    if isinstance(value, dict):
        return len(json.dumps(value, default=str))
    return 4 * len(value) if hasattr(value, "__len__") else 8


def _id_for(given: str, entry: VectorEntry, opened: Opened) -> str:
    if opened.fields.auto_id:
        if entry.id is None:
            return given
        raise InvalidDocumentError(
            f"row {shorten(given)}: {opened.name!r} gives its rows ids of its own ({opened.fields.id.type} "
            "auto-id), so a row cannot be replaced or named; leave the id out, and delete the old row"
        )
    if not opened.has_int_ids:
        return given
    if entry.id is None:
        return str(uuid4().int >> 65)
    if is_int64(given) and int(given) > -(2**63):
        return given
    raise InvalidDocumentError(
        f"row {shorten(given)}: ids in {opened.name!r} are INT64, so an id must be a decimal integer "
        'of 64 bits such as "42"; leave it out to get a new one'
    )


class _RowMaker:
    """Makes the row of one entry."""

    def __init__(self, id: str, entry: VectorEntry, opened: Opened, engine: Engine) -> None:
        self._id = id
        self._entry = entry
        self._opened = opened
        self._layout = opened.layout
        self._fields = opened.fields
        self._engine = engine
        self._paths = dict(opened.layout.places)
        self._row: Row = {}

    def make(self) -> Row:
        """The row.

        Raises:
            InvalidDocumentError: see `make_rows`.
        """
        if not self._fields.auto_id:
            key = int(self._id) if self._opened.has_int_ids else self._id
            self._row[self._layout.id] = key
        self._put_metadata()
        self._put_chunk()
        if self._layout.nodes:
            self._put_node()
        else:
            self._put_document_id(self._entry.chunk.document_id)
            self._put_or_refuse("framework_data", self._entry.framework_data or None)
        if "deleted" in self._paths:
            self._put("deleted", self._entry.deleted)
        elif self._entry.deleted:
            self._refuse("it is soft-deleted", "deleted")
        self._put_vectors(self._entry.embedding)
        self._check()
        return self._row

    # Parts

    def _put_metadata(self) -> None:
        metadata = self._entry.chunk.metadata
        if self._layout.metadata is not None:
            self._put("metadata", dict(metadata))
            return
        for key, value in metadata.items():
            if key in self._opened.rows.taken or key == DYNAMIC:
                if self._layout.nodes:  # it is in the node
                    continue
                self._fail(f"its metadata have the key {key!r}, which has another meaning there")
            if key not in self._fields and not self._fields.is_dynamic:
                self._fail(f"its metadata have the key {shorten(key)}, for which there is no field")
            if value is not None or key not in self._fields:
                self._row[key] = value

    def _put_chunk(self) -> None:
        chunk = self._entry.chunk
        has_text = isinstance(chunk.content, str)
        self._put("content", chunk.content if has_text else "")
        if "chunk" in self._paths:
            self._put("chunk", describe(chunk))
        if "index" in self._paths and chunk.index is not None:
            self._put("index", chunk.index)
        if "type" in self._paths:
            self._put("type", chunk.type)
        if "chunk" not in self._paths and not self._layout.nodes:
            self._refuse_what_is_lost(chunk)

    def _refuse_what_is_lost(self, chunk: Chunk) -> None:
        if not isinstance(chunk, TextChunk):
            self._refuse(f"its chunk is no text but of type {chunk.type!r}", "chunk")
        if chunk.type != "text-chunk" and "type" not in self._paths:
            self._refuse(f"its chunk is of type {chunk.type!r}", "chunk")
        if chunk.id not in (None, self._id):
            self._refuse("its chunk has an id of its own", "chunk")
        lost = [name for name in ("start", "end") if getattr(chunk, name) is not None]
        if chunk.index is not None and "index" not in self._paths:
            lost.append("index")
        if lost:
            self._refuse(f"its chunk has {' and '.join(lost)}", "chunk")

    def _put_document_id(self, document_id: str | None) -> None:
        if document_id is None:
            field = self._field_of("document_id")
            if field is not None and not field.is_optional and field.type == "VARCHAR":
                self._put("document_id", "")
            return
        field = self._field_of("document_id")
        if field is None or field.type not in _INTEGERS:
            self._put_or_refuse("document_id", document_id)
        elif is_int64(document_id):
            self._put("document_id", int(document_id))
        else:
            self._fail(f"its document is {shorten(document_id)}, but {field.name} holds integers")

    def _put_node(self) -> None:
        chunk = self._entry.chunk
        if chunk.document_id == NO_DOCUMENT:
            self._fail(f"its document is called {NO_DOCUMENT!r}, which means none there")
        described = describe(chunk)
        keys = node_keys(
            self._id, chunk.metadata, chunk.document_id, described, self._entry.framework_data
        )
        self._row |= keys
        if "document_id" in self._paths:
            self._put("document_id", chunk.document_id or NO_DOCUMENT)

    def _put_vectors(self, embedding: Embedding | None) -> None:
        if self._layout.vector is not None and isinstance(embedding, BinaryVector):
            self._row[self._layout.vector] = embedding.packed.tobytes()
        elif self._layout.vector is not None:
            self._row[self._layout.vector] = dense_part(embedding)
        sparse = sparse_part(embedding)
        if self._layout.sparse is not None and sparse is not None:
            self._row[self._layout.sparse] = sparse.to_dict()

    # Places

    def _put_or_refuse(self, name: str, value: Any) -> None:
        if value is None:
            return
        if name not in self._paths:
            self._refuse(f"it has {name.replace('_', ' ')}", name)
        self._put(name, value)

    def _put(self, name: str, value: Any) -> None:
        *parents, last = self._paths[name]
        held = self._row
        for key in parents:
            held = held.setdefault(key, {})
            if not isinstance(held, dict):
                self._fail(f"{key!r} in its metadata is in the way of its {name}")
        if parents and last in held:
            self._fail(f"its metadata have the key {last!r}, under which its {name} is kept")
        held[last] = value

    def _field_of(self, name: str) -> Field | None:
        path = self._paths.get(name, ())
        return self._fields[path[0]] if len(path) == 1 and path[0] in self._fields else None

    # Checks

    def _check(self) -> None:
        for field in self._fields:
            if field.name in self._row:
                self._check_value(field, self._row[field.name])
            elif not (field.is_optional or self._is_filled(field)):
                self._fail(f"it has no {field.name!r}, which every row needs; put it into metadata")
        dynamic = {key: value for key, value in self._row.items() if key not in self._fields}
        self._check_json("dynamic keys", dynamic)

    def _is_filled(self, field: Field) -> bool:
        by_engine = field.name in self._fields.bm25
        return by_engine or (field == self._fields.id and self._fields.auto_id)

    def _check_value(self, field: Field, value: Any) -> None:
        kinds: tuple[type[Any], ...] | None = _KINDS.get(field.type)
        if field.is_vector or (value is None and field.is_nullable):
            return
        is_flag = isinstance(value, bool) and field.type not in ("BOOL", "JSON")
        if kinds is None or is_flag or not isinstance(value, kinds):
            self._fail(f"{field.name!r} is {field.type} and cannot hold {shorten(value)}")
        bits = _INTEGERS.get(field.type)
        if bits is not None and not -(2 ** (bits - 1)) <= value < 2 ** (bits - 1):
            self._fail(f"{field.name!r} is {field.type} and cannot hold {shorten(value)}")
        if field.type == "DOUBLE" and float(value) != value:
            self._fail(f"{field.name!r} is DOUBLE and cannot hold {value} exactly")
        if field.type == "VARCHAR" and field.max_length is not None:
            size = len(value.encode()) if self._engine.counts_bytes else len(value)
            self._check_size(field.name, size, field.max_length)
        if field.type == "JSON":
            self._check_json(field.name, value)

    def _check_json(self, name: str, value: Any) -> None:
        if self._engine.json_bytes is not None:
            size = len(json.dumps(value, ensure_ascii=False).encode())
            self._check_size(name, size, self._engine.json_bytes)

    def _check_size(self, name: str, size: int, limit: int) -> None:
        if size > limit:
            unit = "bytes" if self._engine.counts_bytes else "characters"
            self._fail(f"its {name} takes {size} {unit}, but at most {limit} fit; make it smaller")

    def _refuse(self, what: str, place: str) -> Never:
        self._fail(
            f"{what}, for which this layout ({self._layout.tool}) has no place; leave it out, or open the "
            f"collection with a layout that names one as {place}"
        )

    def _fail(self, what: str) -> Never:
        raise InvalidDocumentError(
            f"row {shorten(self._id)} cannot be stored in {self._opened.name!r}: {what}"
        )
