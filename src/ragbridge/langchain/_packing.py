"""Rows of the core in LangChain documents, which have an id, a text and metadata only.

A row that is more than that (a document's id, a place in it, what a framework keeps, a soft delete,
content that is no text) has the rest under one reserved metadata key, as JSON text, since many stores
keep scalars only. It is taken out again on the way back.
"""

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from copy import deepcopy
from typing import Any, Final

from langchain_core.documents import Document

from ragbridge.documents import Chunk, JsonValue, TextChunk
from ragbridge.errors import InvalidDocumentError
from ragbridge.filters import Filter, MetadataFilter, MetadataFilters
from ragbridge.stores.base import VectorEntry

RESERVED_KEY: Final = "_ragbridge"

_PLACES: Final = ("id", "document_id", "index", "start", "end")
_TEXT_TYPE: Final = TextChunk.model_fields["type"].default


def pack(row_id: str, entry: VectorEntry, document_id_key: str | None) -> Document:
    """The document of a row.

    Raises:
        InvalidDocumentError: its metadata have a key that is needed here.
    """
    chunk = entry.chunk
    rest = _rest(entry)
    metadata: dict[str, Any] = deepcopy(chunk.metadata)  # some stores keep the very object
    if document_id_key is not None and chunk.document_id is not None:
        _refuse(document_id_key, metadata)
        metadata[document_id_key] = rest.pop("document_id")
    _refuse(RESERVED_KEY, metadata)
    if rest:
        metadata[RESERVED_KEY] = json.dumps(rest)
    text = chunk.content if isinstance(chunk, TextChunk) else ""
    return Document(id=row_id, page_content=text, metadata=metadata)


def _refuse(key: str, metadata: Mapping[str, Any]) -> None:
    if key in metadata:
        raise InvalidDocumentError(
            f"the metadata key {key!r} is needed for what LangChain has no place for; rename it"
        )


def _rest(entry: VectorEntry) -> dict[str, JsonValue]:
    chunk = entry.chunk
    rest = {name: getattr(chunk, name) for name in _PLACES if getattr(chunk, name) is not None}
    if chunk.type != _TEXT_TYPE:
        rest["type"] = chunk.type
    if isinstance(chunk.content, bytes):
        rest["bytes"] = b64encode(chunk.content).decode()
    elif not isinstance(chunk, TextChunk):
        rest["content"] = chunk.content
    if entry.framework_data:
        rest["framework_data"] = entry.framework_data
    if entry.deleted:
        rest["deleted"] = True
    return rest


def unpack(document: Document, document_id_key: str | None) -> dict[str, Any]:
    """What makes the `VectorEntry` of a document, apart from its embedding."""
    metadata = dict(document.metadata)  # the chunk copies what is in it
    rest = json.loads(metadata.pop(RESERVED_KEY, "{}"))
    if document_id_key is not None and isinstance(metadata.get(document_id_key), str):
        rest["document_id"] = metadata.pop(document_id_key)
    framework_data, deleted = rest.pop("framework_data", {}), rest.pop("deleted", False)
    kind = Chunk if rest.keys() & {"bytes", "content"} else TextChunk
    content = rest.pop("content", document.page_content)
    if "bytes" in rest:
        content = b64decode(rest.pop("bytes"))
    return {
        "id": document.id,
        "chunk": kind(**{"type": _TEXT_TYPE, **rest}, content=content, metadata=metadata),
        "framework_data": framework_data,
        "deleted": deleted,
    }


def mentions(filters: Filter | None, key: str) -> bool:
    """Whether `filters` ask for `key`."""
    if isinstance(filters, MetadataFilters):
        return any(mentions(child, key) for child in filters.filters)
    return isinstance(filters, MetadataFilter) and filters.path[0] == key
