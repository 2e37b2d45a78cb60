"""Entries and matches out of rows.

What lies in a collection was checked when it was written, but others may write to it too. So rows are
looked at once more, all at once, and only where one is not certainly as `rows.encode` makes them of
texts, each is taken apart and checked by itself.
"""

from collections.abc import Sequence
from operator import itemgetter
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
)
from ragbridge.stores.milvus.rows import FIELDS, Row, decode
from ragbridge.stores.milvus.shadows import INT64_MAX
from ragbridge.stores.milvus.tenancy import Tenancy
from ragbridge.stores.milvus.texts import with_nul

_TEXT: Final = TextChunk(content="").type
_READ: Final = itemgetter(ID, CONTENT, DOCUMENT_ID, METADATA, FRAMEWORK_DATA, CHUNK, DELETED)
_LEAST: Final = 3  # what is said of every text: class, type and hash


def matches_of(hits: Hits, tenancy: Tenancy) -> list[VectorMatch]:
    """The matches of hits, in their order. The rows must not be used for anything else afterwards.

    Raises:
        InvalidDocumentError: a row is not as ragbridge writes it; the message names what is wrong.
    """
    rows = [row for row, _ in hits]
    read = [*map(_READ, rows)]
    if _are_as_written(rows, read):
        return [
            _match(fields, score, tenancy) for fields, (_, score) in zip(read, hits, strict=True)
        ]
    return [VectorMatch(similarity_score=score, **decode(row, tenancy)) for row, score in hits]


def _match(fields: tuple[Any, ...], score: float, tenancy: Tenancy) -> VectorMatch:
    row_id, content, document_id, metadata, framework_data, described, deleted = fields
    chunk = {
        "id": described.get("id"),
        "type": _TEXT,
        "content": content,
        "metadata": metadata,
        "document_id": with_nul(document_id) or None,
        "index": described.get("index"),
        "start": described.get("start"),
        "end": described.get("end"),
    }
    return unchecked(
        VectorMatch,
        id=tenancy.given(row_id),
        embedding=None,
        chunk=unchecked_text_chunk(chunk),
        framework_data=framework_data,
        deleted=bool(deleted),
        similarity_score=float(score),
    )


def _are_as_written(rows: Sequence[Row], read: Sequence[tuple[Any, ...]]) -> bool:
    """Whether all rows are certainly as they were written: texts, and read without their vectors."""
    if set(map(len, rows)) != {len(FIELDS)}:
        return False
    ids, contents, document_ids, metadata, framework_data, described, _ = zip(*read, strict=True)
    data = metadata + framework_data
    return (
        all(map(_is_text, described))
        and all(ids)
        and are_texts(ids + contents + document_ids)
        and set(map(type, data)) == {dict}
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
