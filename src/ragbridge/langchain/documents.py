"""LangChain documents <-> the rows of a core store.

A document's id, text and metadata are the row's own, so that a row means the same to the core and to
every framework. LangChain knows no document that a row is a part of: where a `document_id_key` is
given, it stands in the metadata under that key.
"""

import json
from collections.abc import Iterable
from typing import Any, Final

from langchain_core.documents import Document

from ragbridge._unchecked import make_models
from ragbridge.documents import Chunk, TextChunk
from ragbridge.errors import InvalidDocumentError, InvalidQueryError, shorten
from ragbridge.retrievers import QueryMatch
from ragbridge.stores.base import VectorEntry, VectorMatch

__all__ = ["from_langchain_document", "to_langchain_document"]

_GIVEN: Final = ("id", "page_content", "metadata")
_DEFAULTS: Final = dict(Document(page_content=""))


def from_langchain_document(
    document: Document, *, document_id_key: str | None = None
) -> VectorEntry:
    """A document as a row, with the document's id.

    Metadata become JSON, as the core keeps it: tuples become lists, datetimes text.

    Args:
        document: The document, which is not changed.
        document_id_key: The metadata key whose value is the row's document id as well.

    Raises:
        InvalidDocumentError: no document, or one that cannot be stored; the message names it.
        InvalidQueryError: its id is empty.
    """
    if not isinstance(document, Document):
        raise InvalidDocumentError(
            f"a document must be a LangChain Document, not {shorten(document)}"
        )
    chunk = make_chunk(document.page_content, document.metadata, document_id_key)
    return VectorEntry(id=document.id, chunk=chunk)


def make_chunk(text: str, metadata: dict[str, Any], document_id_key: str | None) -> TextChunk:
    """A text with metadata as a chunk, whose document is named under `document_id_key`.

    Raises:
        InvalidDocumentError: it cannot be stored.
    """
    if document_id_key is None or not isinstance(metadata, dict):
        return TextChunk(content=text, metadata=metadata)
    return TextChunk(content=text, metadata=metadata, document_id=metadata.get(document_id_key))


def to_langchain_document(
    entry: VectorEntry | QueryMatch,
    *,
    document_id_key: str | None = None,
    score_key: str | None = None,
) -> Document:
    """A row, or what a retriever found, as a document with its id, text and metadata.

    Content that is JSON becomes JSON text.

    Args:
        entry: The row.
        document_id_key: The metadata key that gets the row's document id, if it has one.
        score_key: The metadata key that gets the similarity score.

    Raises:
        InvalidDocumentError: the content is bytes, which a LangChain document cannot hold.
        InvalidQueryError: a `score_key`, but no score.
    """
    found = to_langchain_documents([entry], document_id_key=document_id_key, score_key=score_key)
    return found[0]


def to_langchain_documents(
    entries: Iterable[VectorEntry | QueryMatch],
    *,
    document_id_key: str | None = None,
    score_key: str | None = None,
) -> list[Document]:
    """Many rows as documents: what `to_langchain_document` makes of each, in less time."""
    fields = [
        {
            **_DEFAULTS,
            "id": entry.id or entry.chunk.id,
            "page_content": _text_of(entry.chunk),
            "metadata": _metadata_of(entry, document_id_key, score_key),
        }
        for entry in entries
    ]
    return make_models(Document, fields, _GIVEN)


def _metadata_of(
    entry: VectorEntry | QueryMatch, document_id_key: str | None, score_key: str | None
) -> dict[str, Any]:
    metadata: dict[str, Any] = dict(entry.chunk.metadata)
    if document_id_key is not None and entry.chunk.document_id is not None:
        metadata[document_id_key] = entry.chunk.document_id
    if score_key is not None:
        metadata[score_key] = _score_of(entry)
    return metadata


def _score_of(entry: VectorEntry | QueryMatch) -> float:
    if not isinstance(entry, VectorMatch | QueryMatch):
        raise InvalidQueryError(
            f"score_key can only be given for what a query found, not for a {type(entry).__name__}"
        )
    return entry.similarity_score


def _text_of(chunk: Chunk) -> str:
    content = chunk.content
    if isinstance(content, bytes):
        raise InvalidDocumentError(
            f"a chunk of type {chunk.type!r} holds bytes, but LangChain documents are text; leave it "
            "out by a filter, or read it from the core's store"
        )
    return content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
