"""Entries and matches out of rows.

What lies in a collection was checked when it was written, but others may write to it too. So rows are
looked at once more, all at once, and only where one is not certainly as `rows.encode` makes them of
texts, each is taken apart and checked by itself.
"""

from collections.abc import Sequence
from typing import Any, Final

from ragbridge.documents import TextChunk, are_texts, is_plain_json, unchecked_text_chunk
from ragbridge.stores.base import VectorMatch, unchecked
from ragbridge.stores.milvus.answers import Hits
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
from ragbridge.stores.milvus.rows import Row, decode
from ragbridge.stores.milvus.shadows import INT64_MAX
from ragbridge.stores.milvus.tenancy import Tenancy
from ragbridge.stores.milvus.texts import with_nul

_TEXT: Final = TextChunk(content="").type
_LEAST: Final = 3  # what is said of every text: class, type and hash


def matches_of(hits: Hits, tenancy: Tenancy) -> list[VectorMatch]:
    """The matches of hits, in their order. The rows must not be used for anything else afterwards.

    Raises:
        InvalidDocumentError: a row is not as ragbridge writes it; the message names what is wrong.
    """
    if _are_as_written([row for row, _ in hits]):
        return [
            unchecked(VectorMatch, similarity_score=float(score), **_taken_apart(row, tenancy))
            for row, score in hits
        ]
    return [VectorMatch(similarity_score=score, **decode(row, tenancy)) for row, score in hits]


def _taken_apart(row: Row, tenancy: Tenancy) -> dict[str, Any]:
    described = row[CHUNK]
    fields = {
        "id": described.get("id"),
        "type": _TEXT,
        "content": row[CONTENT],
        "metadata": row[METADATA],
        "document_id": with_nul(row[DOCUMENT_ID]) or None,
        "index": described.get("index"),
        "start": described.get("start"),
        "end": described.get("end"),
    }
    return {
        "id": tenancy.given(row[ID]),
        "embedding": None,
        "chunk": unchecked_text_chunk(fields),
        "framework_data": row[FRAMEWORK_DATA],
        "deleted": bool(row[DELETED]),
    }


def _are_as_written(rows: Sequence[Row]) -> bool:
    """Whether all rows are certainly as they were written: texts, and read without their vectors."""
    ids = [row[ID] for row in rows]
    texts = [*ids, *(row[CONTENT] for row in rows), *(row[DOCUMENT_ID] for row in rows)]
    data = [row[METADATA] for row in rows] + [row[FRAMEWORK_DATA] for row in rows]
    return (
        all(VECTOR not in row and SPARSE not in row and _is_text(row[CHUNK]) for row in rows)
        and all(ids)
        and are_texts(texts)
        and set(map(type, data)) <= {dict}
        and is_plain_json([*filter(None, data)])
    )


def _is_text(described: object) -> bool:
    if not isinstance(described, dict):
        return False
    get = described.get
    return (
        get("class") == TextChunk.__name__
        and get("type") == _TEXT
        and "hash" in described
        and (
            len(described) == _LEAST
            or (_is_id(get("id")) and all(map(_is_place, map(get, ("index", "start", "end")))))
        )
    )


def _is_id(value: object) -> bool:
    return value is None or (bool(value) and are_texts([value]))


def _is_place(value: object) -> bool:
    return value is None or (type(value) is int and 0 <= value <= INT64_MAX)
