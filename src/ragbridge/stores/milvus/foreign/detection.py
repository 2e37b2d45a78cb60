"""Which tool made a collection, and where it keeps what."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ragbridge.errors import InvalidConfigError
from ragbridge.stores.milvus.foreign.fields import DENSE_TYPES, Field, Fields
from ragbridge.stores.milvus.foreign.layouts import CollectionLayout

__all__ = ["ambiguous", "detect"]

_TEXT_NAMES: Final = ("text", "content", "page_content", "document")
_REMEDY: Final = "say what is what by layout=CollectionLayout(...)"


def detect(name: str, fields: Fields, sample: Mapping[str, Any] | None) -> CollectionLayout:
    """The layout of a collection that ragbridge did not make.

    Args:
        name: The collection's.
        fields: Its fields.
        sample: One of its rows, where there is one.

    Raises:
        InvalidConfigError: it cannot be told; the message says what is in the way.
    """
    found = _Found.of(name, fields)
    for tool in (_llama_index, _rocketride, _ballerina, _langchain):
        layout = tool(found, fields, sample or {})
        if layout is not None:
            return layout
    raise ambiguous(name, "it has no field of texts")


def ambiguous(name: str, why: str) -> InvalidConfigError:
    """The error for a collection of which one cannot tell what lies where."""
    return InvalidConfigError(
        f"the collection {name!r} is laid out in a way of its own: {why}; {_REMEDY}"
    )


@dataclass(frozen=True, slots=True)
class _Found:
    """The fields that can be told by their types."""

    id: str
    vector: str | None
    sparse: str | None
    full_text: str | None

    @classmethod
    def of(cls, name: str, fields: Fields) -> "_Found":
        vectors = [each.name for each in fields if each.type in DENSE_TYPES]
        sparse = [each for each in fields if each.type == "SPARSE_FLOAT_VECTOR"]
        given = [each.name for each in sparse if each.name not in fields.bm25]
        made = [each.name for each in sparse if each.name in fields.bm25]
        for several in (vectors, given, made):
            if len(several) > 1:
                raise ambiguous(name, f"it has several fields of vectors, {', '.join(several)}")
        return cls(fields.id.name, _only(vectors), _only(given), _only(made))

    def layout(self, **places: Any) -> CollectionLayout:
        """The layout with these places."""
        return CollectionLayout(
            id=self.id, vector=self.vector, sparse=self.sparse, full_text=self.full_text, **places
        )


def _only(names: Sequence[str]) -> str | None:
    return names[0] if names else None


def _llama_index(
    found: _Found, fields: Fields, sample: Mapping[str, Any]
) -> CollectionLayout | None:
    has_nodes = "_node_content" in sample or {"doc_id", "text"} <= fields.names
    if not (fields.is_dynamic and has_nodes and fields.id.type == "VARCHAR"):
        return None
    text = _text_field(found, fields, besides={"doc_id"})
    document_id = "doc_id" if "doc_id" in fields.names or "doc_id" in sample else None
    if text is None:
        return None
    return found.layout(
        content=text, document_id=document_id, nodes=True, tool="llama-index-vector-stores-milvus"
    )


def _rocketride(
    found: _Found, fields: Fields, _sample: Mapping[str, Any]
) -> CollectionLayout | None:
    if fields.names != {"id", "vector", "content", "meta"} or fields["meta"].type != "JSON":
        return None
    return found.layout(
        content="content",
        metadata="meta",
        document_id=("meta", "objectId"),
        index=("meta", "chunkId"),
        deleted=("meta", "isDeleted"),
        tool="RocketRide",
    )


def _ballerina(found: _Found, fields: Fields, sample: Mapping[str, Any]) -> CollectionLayout | None:
    if fields.id.type != "INT64" or fields.auto_id:
        return None
    declared = fields.names - {found.id, found.vector, found.sparse}
    is_bare = fields.is_dynamic and not declared and "text" not in sample
    if not is_bare and not {"content", "type"} <= declared:
        return None
    is_nested = isinstance(sample.get("metadata"), dict)
    return found.layout(
        content="content",
        type="type",
        metadata="metadata" if "metadata" in declared or is_nested else None,
        tool="Ballerina ai.milvus",
    )


def _langchain(
    found: _Found, fields: Fields, _sample: Mapping[str, Any]
) -> CollectionLayout | None:
    text = _text_field(found, fields, besides=set())
    if text is None:
        return None
    return found.layout(
        content=text, metadata=_metadata_field(found, fields, text), tool="langchain-milvus"
    )


def _text_field(found: _Found, fields: Fields, besides: set[str]) -> str | None:
    if found.full_text is not None:
        return fields.bm25[found.full_text]
    texts = [
        each.name
        for each in fields
        if each.type == "VARCHAR" and each.name != found.id and each.name not in besides
    ]
    known = [name for name in _TEXT_NAMES if name in texts]
    return _only([*known, *(texts if len(texts) == 1 else ())])


def _metadata_field(found: _Found, fields: Fields, text: str) -> str | None:
    """The JSON field of all metadata, if there is nothing else that could hold them."""
    others = [each for each in fields if _holds_metadata(each, found, text)]
    if fields.is_dynamic or len(others) != 1 or others[0].type != "JSON":
        return None
    return others[0].name


def _holds_metadata(field: Field, found: _Found, text: str) -> bool:
    return not field.is_vector and field.name not in (found.id, text)
