"""Entries and matches out of rows.

What lies in a collection was checked when it was written, but others may write to it too. So rows are
looked at once more, all at once, and only where one is not certainly as `rows.encode` makes them of
texts, each is taken apart and checked by itself.
"""

from collections.abc import Sequence
from itertools import repeat
from operator import itemgetter
from typing import Any, Final

from ragbridge._unchecked import make_models, make_objects
from ragbridge.documents import TextChunk, are_texts, is_plain_json
from ragbridge.stores.base import VectorMatch
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

_CLASS: Final = TextChunk.__name__
_TEXT: Final = TextChunk(content="").type
_READ: Final = itemgetter(ID, CONTENT, DOCUMENT_ID, METADATA, FRAMEWORK_DATA, CHUNK, DELETED)
_CHUNK_FIELDS: Final = frozenset(TextChunk.model_fields)
_LEAST: Final = 3  # what is said of every text: class, type and hash


def matches_of(hits: Hits, tenancy: Tenancy) -> list[VectorMatch]:
    """The matches of hits, in their order. The rows must not be used for anything else afterwards.

    Raises:
        InvalidDocumentError: a row is not as ragbridge writes it; the message names what is wrong.
    """
    rows = [row for row, _ in hits]
    columns = [*zip(*map(_READ, rows), strict=True)]
    if _are_as_written(rows, columns):
        return _matches(columns, [float(score) for _, score in hits], tenancy)
    return [VectorMatch(similarity_score=score, **decode(row, tenancy)) for row, score in hits]


def _matches(
    columns: Sequence[tuple[Any, ...]], scores: Sequence[float], tenancy: Tenancy
) -> list[VectorMatch]:
    ids, contents, document_ids, metadata, framework_data, described, deleted = columns
    chunks = [
        {
            "id": each.get("id"),
            "type": _TEXT,
            "content": content,
            "metadata": data,
            "document_id": document_id or None,
            "index": each.get("index"),
            "start": each.get("start"),
            "end": each.get("end"),
        }
        for content, data, document_id, each in zip(
            contents, metadata, map(with_nul, document_ids), described, strict=True
        )
    ]
    fields = {
        "id": map(tenancy.given, ids),
        "embedding": repeat(None),
        "chunk": make_models(TextChunk, chunks, _CHUNK_FIELDS),
        "framework_data": framework_data,
        "deleted": map(bool, deleted),
        "similarity_score": scores,
    }
    return make_objects(VectorMatch, len(scores), fields)


def _are_as_written(rows: Sequence[Row], columns: Sequence[tuple[Any, ...]]) -> bool:
    """Whether all rows are certainly as they were written: texts, and read without their vectors."""
    if set(map(len, rows)) != {len(FIELDS)}:
        return False
    ids, contents, document_ids, metadata, framework_data, described, _ = columns
    data = metadata + framework_data
    return (
        set(map(type, data + described)) == {dict}
        and all(ids)
        and are_texts(ids + contents + document_ids)
        and _describe_texts(described)
        and is_plain_json([*filter(None, data)])
    )


def _describe_texts(described: Sequence[dict[str, Any]]) -> bool:
    """Whether they are what `rows.describe` says of texts."""
    more = [each for each in described if len(each) != _LEAST]
    return (
        all(
            each.get("class") == _CLASS and each.get("type") == _TEXT and "hash" in each
            for each in described
        )
        and all(_is_id(each.get("id")) for each in more)
        and all(_is_place(each.get(name)) for each in more for name in ("index", "start", "end"))
    )


def _is_id(value: object) -> bool:
    return value is None or (bool(value) and are_texts([value]))


def _is_place(value: object) -> bool:
    return value is None or (type(value) is int and 0 <= value <= INT64_MAX)
