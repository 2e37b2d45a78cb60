"""VectorEntry <-> rows as the engine keeps them."""

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, Final

import numpy as np

from ragbridge.documents import Chunk, JsonValue, TextChunk
from ragbridge.embeddings import (
    BinaryVector,
    Embedding,
    HybridVector,
    SparseVector,
    dense_part,
    sparse_part,
)
from ragbridge.errors import InvalidDocumentError
from ragbridge.stores.base import VectorEntry
from ragbridge.stores.milvus.capabilities import Engine
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
from ragbridge.stores.milvus.shadows import shadows
from ragbridge.stores.milvus.tenancy import Tenancy
from ragbridge.stores.milvus.texts import with_nul, without_nul

Row = dict[str, Any]

FIELDS: Final = (ID, DOCUMENT_ID, CONTENT, METADATA, CHUNK, FRAMEWORK_DATA, DELETED)
"""What is read of a row, apart from its vectors."""

_JSON_FIELDS: Final = (METADATA, CHUNK, FRAMEWORK_DATA)
_REMEDIES: Final[Mapping[str, str]] = {
    ID: "give it a shorter id",
    DOCUMENT_ID: "give the document a shorter id",
    CONTENT: "split it into smaller chunks",
    TERMS: "split its content into smaller chunks",
    METADATA: "keep what need not be filtered elsewhere",
    CHUNK: "store a link in place of the content",
    FRAMEWORK_DATA: "leave out what the framework does not need",
}
_NUMBER_BYTES: Final = 4
_WEIGHT_BYTES: Final = 8  # of a sparse vector, with its place


def encode(id: str, entry: VectorEntry, engine: Engine, schema: Schema) -> Row:
    """The row for an entry.

    Raises:
        InvalidDocumentError: something in it is larger than the engine takes; the message names the
            row, the field and the limit.
    """
    chunk = entry.chunk
    keys = shadows(chunk.metadata)
    row: Row = {
        ID: id,
        DOCUMENT_ID: without_nul(chunk.document_id or ""),
        CONTENT: chunk.content if isinstance(chunk.content, str) else "",
        METADATA: _to_json(chunk.metadata),
        CHUNK: _to_json(_describe(chunk)),
        FRAMEWORK_DATA: _to_json(entry.framework_data),
        DELETED: entry.deleted,
    }
    if schema.has_terms:
        row[TERMS] = schema.searched(row[CONTENT])
    _check_limits(row, keys, engine)
    for column in schema.columns:
        row |= column.fill(chunk.metadata)
    return row | _vectors(entry.embedding) | keys


def decode(row: Mapping[str, Any], tenancy: Tenancy) -> dict[str, Any]:
    """What makes the VectorEntry of a row, with those of its vectors that were read."""
    return {
        "id": tenancy.given(row[ID]),
        "embedding": _embedding(row.get(VECTOR), row.get(SPARSE)),
        "chunk": _rebuild(row),
        "framework_data": row[FRAMEWORK_DATA],
        "deleted": bool(row[DELETED]),
    }


def size_of(row: Row) -> int:
    """About how many bytes a row takes in a request."""
    texts = sum(len(value) for value in row.values() if isinstance(value, str))
    numbers = _NUMBER_BYTES * len(row.get(VECTOR, ()))
    return 4 * texts + numbers + _WEIGHT_BYTES * len(row.get(SPARSE, ()))


def _vectors(embedding: Embedding | None) -> Row:
    if isinstance(embedding, BinaryVector):
        return {VECTOR: embedding.packed.tobytes()}
    dense, sparse = dense_part(embedding), sparse_part(embedding)
    vectors: Row = {} if dense is None else {VECTOR: dense}
    return vectors if sparse is None else vectors | {SPARSE: sparse.to_dict()}


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


def _to_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _describe(chunk: Chunk) -> dict[str, JsonValue]:
    """What a chunk is apart from its text, its document and its metadata."""
    described = {
        "class": "TextChunk" if isinstance(chunk, TextChunk) else "Chunk",
        "type": chunk.type,
        "id": chunk.id,
        "index": chunk.index,
        "start": chunk.start,
        "end": chunk.end,
    }
    kept: dict[str, JsonValue] = {name: v for name, v in described.items() if v is not None}
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


def _check_limits(row: Row, keys: Mapping[str, Any], engine: Engine) -> None:
    _check_text(row, ID, engine)
    _check_text(row, DOCUMENT_ID, engine)
    if engine.text_bytes is not None:
        _check_text(row, CONTENT, engine)
        if TERMS in row:
            _check_text(row, TERMS, engine)
    if engine.json_bytes is None:
        return
    for field in _JSON_FIELDS:
        _check_size(row, field, len(row[field].encode()), engine.json_bytes, engine)
    size = _size_of_keys(keys, engine.json_bytes)
    if size > engine.json_bytes:
        raise InvalidDocumentError(
            f"row {row[ID]!r}: the keys by which its metadata are filtered take {size} bytes, but "
            f"{engine.name} takes at most {engine.json_bytes}; use fewer or shorter metadata keys"
        )


def _size_of_keys(keys: Mapping[str, Any], limit: int) -> int:
    """Their size in bytes, exactly only where it comes near the limit."""
    texts = sum(len(value) for value in keys.values() if isinstance(value, str))
    most = 4 * texts + sum(map(len, keys)) + 32 * len(keys)
    return most if most <= limit else len(_to_json(keys).encode())


def _check_text(row: Row, field: str, engine: Engine) -> None:
    text, limit = row[field], TEXT_LENGTHS[field]
    if len(text) * 4 > limit:
        size = len(text.encode()) if engine.counts_bytes else len(text)
        _check_size(row, field, size, limit, engine)


def _check_size(row: Row, field: str, size: int, limit: int, engine: Engine) -> None:
    if size > limit:
        unit = "bytes" if engine.counts_bytes else "characters"
        raise InvalidDocumentError(
            f"row {row[ID][:60]!r}: its {field} takes {size} {unit}, but {engine.name} takes at most "
            f"{limit}; {_REMEDIES[field]}"
        )
