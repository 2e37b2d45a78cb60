"""VectorEntry <-> rows as the engine keeps them."""

from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Any, Final

import numpy as np

from ragbridge.documents import Chunk, JsonValue, TextChunk
from ragbridge.embeddings import (
    BinaryVector,
    Embedding,
    HybridVector,
    SparseVector,
    dense_parts,
    sparse_part,
)
from ragbridge.errors import InvalidDocumentError
from ragbridge.stores._requests import VectorShape
from ragbridge.stores.base import VectorEntry
from ragbridge.stores.milvus.capabilities import Engine
from ragbridge.stores.milvus.columns import Column
from ragbridge.stores.milvus.layout import (
    CHUNK,
    CONTENT,
    DELETED,
    DOCUMENT_ID,
    FRAMEWORK_DATA,
    ID,
    METADATA,
    SPARSE,
    TERMS,
    TEXT_LENGTHS,
    VECTOR,
    Schema,
)
from ragbridge.stores.milvus.packing import DYNAMIC, Field, Rows, to_json
from ragbridge.stores.milvus.shadows import shadows
from ragbridge.stores.milvus.tenancy import Tenancy
from ragbridge.stores.milvus.texts import with_nul, without_nul

Row = dict[str, Any]

FIELDS: Final = (ID, DOCUMENT_ID, CONTENT, METADATA, CHUNK, FRAMEWORK_DATA, DELETED)
"""What is read of a row, apart from its vectors."""

_JSON_FIELDS: Final = (METADATA, CHUNK, FRAMEWORK_DATA, DYNAMIC)
_NAMES: Final[Mapping[str, str]] = {DYNAMIC: "list of keys by which its metadata are filtered"}
_REMEDIES: Final[Mapping[str, str]] = {
    ID: "give it a shorter id",
    DOCUMENT_ID: "give the document a shorter id",
    CONTENT: "split it into smaller chunks",
    TERMS: "split its content into smaller chunks",
    METADATA: "keep what need not be filtered elsewhere",
    CHUNK: "store a link in place of the content",
    FRAMEWORK_DATA: "leave out what the framework does not need",
    DYNAMIC: "use fewer or shorter metadata keys",
}


def encode(
    entries: Mapping[str, VectorEntry], engine: Engine, schema: Schema, tenancy: Tenancy
) -> Rows:
    """The rows for entries by id.

    Raises:
        InvalidDocumentError: something in one is larger than the engine takes; the message names the
            row, the field and the limit.
    """
    chunks = [entry.chunk for entry in entries.values()]
    metadata = [chunk.metadata for chunk in chunks]
    texts = [chunk.content if isinstance(chunk.content, str) else "" for chunk in chunks]
    fields = {
        ID: Field("VARCHAR", [*entries]),
        DOCUMENT_ID: Field("VARCHAR", [without_nul(chunk.document_id or "") for chunk in chunks]),
        CONTENT: Field("VARCHAR", texts),
        METADATA: Field("JSON", to_json(metadata)),
        CHUNK: Field("JSON", to_json(map(describe, chunks))),
        FRAMEWORK_DATA: Field("JSON", to_json(each.framework_data for each in entries.values())),
        DELETED: Field("BOOL", [entry.deleted for entry in entries.values()]),
        DYNAMIC: Field("JSON", to_json(map(shadows, metadata))),
    }
    if schema.has_terms:
        fields[TERMS] = Field("VARCHAR", [*map(schema.searched, texts)])
    _check_limits(fields, engine)
    fields |= _vectors([entry.embedding for entry in entries.values()], schema.shape)
    for column in schema.columns:
        fields |= _declared(column, metadata)
    return Rows(fields | tenancy.fields([*entries]))


def decode(row: Mapping[str, Any], tenancy: Tenancy) -> dict[str, Any]:
    """What makes the VectorEntry of a row, with those of its vectors that were read."""
    return {
        "id": tenancy.given(row[ID]),
        "embedding": _embedding(row.get(VECTOR), row.get(SPARSE)),
        "chunk": _rebuild(row),
        "framework_data": row[FRAMEWORK_DATA],
        "deleted": bool(row[DELETED]),
    }


def _vectors(embeddings: Sequence[Embedding | None], shape: VectorShape) -> dict[str, Field]:
    fields = {}
    if shape.binary:
        bits = [each.packed for each in embeddings if isinstance(each, BinaryVector)]
        fields[VECTOR] = Field("BINARY_VECTOR", bits)
    elif shape.dimension is not None:
        fields[VECTOR] = Field("FLOAT_VECTOR", dense_parts(embeddings))
    if shape.sparse:
        fields[SPARSE] = Field("SPARSE_FLOAT_VECTOR", [*map(sparse_part, embeddings)])
    return fields


def _declared(column: Column, metadata: Sequence[Mapping[str, Any]]) -> dict[str, Field]:
    filled = [column.fill(each) for each in metadata]
    types = {column.value: column.milvus_type, column.state: "INT8"}
    return {name: Field(types[name], [each[name] for each in filled]) for name in types}


def packed_bits(value: Any) -> bytes:
    """The bits of a binary vector, which searches give as bytes and queries in a list."""
    bits: bytes = value if isinstance(value, bytes) else value[0]
    return bits


def _embedding(
    dense: bytes | Sequence[Any] | None, sparse: Mapping[int, float] | None
) -> Embedding | None:
    if dense is not None and isinstance(packed_bits(dense), bytes):
        return BinaryVector(packed_bits(dense))
    vector = None if dense is None else np.array(dense, dtype=np.float32)
    if sparse is None:
        return vector
    weights = SparseVector.from_dict(sparse)
    return weights if vector is None else HybridVector(vector, weights)


def describe(chunk: Chunk) -> dict[str, JsonValue]:
    """What a chunk is apart from its text, its document and its metadata."""
    kept: dict[str, JsonValue] = {
        "class": "TextChunk" if isinstance(chunk, TextChunk) else "Chunk",
        "type": chunk.type,
    }
    for name in ("id", "index", "start", "end"):
        value = getattr(chunk, name)
        if value is not None:
            kept[name] = value
    if isinstance(chunk.content, str):
        kept["hash"] = sha256(chunk.content.encode()).hexdigest()
    elif isinstance(chunk.content, bytes):
        kept["bytes"] = b64encode(chunk.content).decode()
    else:
        kept["content"] = chunk.content
    return kept


def _rebuild(row: Mapping[str, Any]) -> Chunk:
    described = row[CHUNK]
    kind: type[Chunk] = TextChunk if described["class"] == "TextChunk" else Chunk
    return kind(
        id=described.get("id"),
        type=described["type"],
        content=_content(row[CONTENT], described),
        metadata=row[METADATA],
        document_id=with_nul(row[DOCUMENT_ID]) or None,
        index=described.get("index"),
        start=described.get("start"),
        end=described.get("end"),
    )


def _content(text: str, described: Mapping[str, Any]) -> Any:
    if "hash" in described:
        return text
    return b64decode(described["bytes"]) if "bytes" in described else described["content"]


def _check_limits(fields: Mapping[str, Field], engine: Engine) -> None:
    for name in (ID, DOCUMENT_ID):
        _check_texts(fields, name, engine)
    if engine.text_bytes is not None:
        for name in fields.keys() & {CONTENT, TERMS}:
            _check_texts(fields, name, engine)
    if engine.json_bytes is not None:
        for name in _JSON_FIELDS:
            _check_sizes(fields, name, map(len, fields[name].values), engine.json_bytes, engine)


def _check_texts(fields: Mapping[str, Field], name: str, engine: Engine) -> None:
    texts, limit = fields[name].values, TEXT_LENGTHS[name]
    if 4 * max(map(len, texts)) > limit:
        sizes = (len(text.encode() if engine.counts_bytes else text) for text in texts)
        _check_sizes(fields, name, sizes, limit, engine)


def _check_sizes(
    fields: Mapping[str, Field], name: str, sizes: Iterable[int], limit: int, engine: Engine
) -> None:
    for row_id, size in zip(fields[ID].values, sizes, strict=True):
        if size > limit:
            unit = "bytes" if engine.counts_bytes else "characters"
            raise InvalidDocumentError(
                f"row {row_id[:60]!r}: its {_NAMES.get(name, name)} takes {size} {unit}, but "
                f"{engine.name} takes at most {limit}; {_REMEDIES[name]}"
            )
