"""LlamaIndex nodes <-> the rows of a core store.

A node's id, text, metadata, embedding, source and place in it are the row's own, so that a row means
the same to the core and to every framework. What only LlamaIndex knows lies in the row's
`framework_data`, under `"llama_index"`, without a second copy of the text or the metadata: related
nodes, whose metadata mostly repeat the node's, name their keys and keep what differs.
"""

import json
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from itertools import repeat
from typing import Any, Final, NamedTuple

import numpy as np
from llama_index.core.bridge.pydantic import BaseModel
from llama_index.core.schema import (
    BaseNode,
    Document,
    ImageDocument,
    ImageNode,
    IndexNode,
    MediaResource,
    Node,
    NodeRelationship,
    ObjectType,
    RelatedNodeInfo,
    TextNode,
)

from ragbridge._unchecked import make_model, make_models, make_objects
from ragbridge.documents import Chunk, JsonValue, TextChunk, are_texts
from ragbridge.embeddings import Vector, dense_part
from ragbridge.errors import InvalidDocumentError, shorten
from ragbridge.retrievers import QueryMatch
from ragbridge.stores._contents import are_valid
from ragbridge.stores.base import VectorEntry

__all__ = ["from_llama_index_node", "to_llama_index_node"]

_KEY: Final = "llama_index"
_CLASSES: Final[Mapping[str, type[BaseNode]]] = {
    each.__name__: each for each in (TextNode, IndexNode, ImageNode, Node, Document, ImageDocument)
}
_OWN: Final = frozenset({"id_", "embedding", "metadata", "text", "start_char_idx", "end_char_idx"})
"""Fields that a row has itself."""
_RELATIONSHIPS: Final = {relation: relation.name.lower() for relation in NodeRelationship}
_NAMED_RELATIONSHIPS: Final = {name: relation for relation, name in _RELATIONSHIPS.items()}
_SOURCE: Final = _RELATIONSHIPS[NodeRelationship.SOURCE]
_OBJECT_TYPES: Final[dict[Any, ObjectType]] = {kind.value: kind for kind in ObjectType}
_OBJECT_TYPE_VALUES: Final[dict[Any, Any]] = {kind: kind.value for kind in ObjectType}
_BLANK: Final = dict(TextNode(id_=""))
_LISTS: Final = tuple(name for name, value in _BLANK.items() if value == [])
_CHUNK_DEFAULTS: Final[dict[str, Any]] = dict(TextChunk(content=""))
_MEDIA: Final = ("image", "audio", "video")


def from_llama_index_node(node: BaseNode) -> VectorEntry:
    """A node as a row, with the node's id.

    Metadata become JSON, as the core keeps it: tuples become lists, datetimes text. An embedding
    becomes float32. An `IndexNode`'s `obj` may be None, JSON, a node, or a pydantic model, of which
    the JSON is kept.

    Args:
        node: A `Node`, `TextNode`, `IndexNode`, `ImageNode` or `Document`. Subclasses count as these,
            and may not hold more than these do.

    Raises:
        InvalidDocumentError: no node, or one that cannot be stored; the message names it.
        InvalidEmbeddingError: its embedding is no vector.
    """
    if not isinstance(node, BaseNode):
        raise InvalidDocumentError(f"a node must be a LlamaIndex node, not {shorten(node)}")
    try:
        return VectorEntry(
            id=node.id_,
            embedding=node.embedding,
            chunk=TextChunk(**_chunk_fields(node)),
            framework_data={_KEY: data} if (data := _describe(node)) else None,
        )
    except InvalidDocumentError as error:
        raise InvalidDocumentError(f"node {node.id_!r}: {error}") from error


def to_llama_index_node(entry: VectorEntry | QueryMatch) -> BaseNode:
    """A row, or what a retriever found, as a node.

    What a node was made of comes back as that node. Any other row becomes a `TextNode` whose source
    is the row's document; content that is no text becomes a `Node` with that medium, or JSON text.

    Raises:
        InvalidDocumentError: what the row says about its node makes none.
    """
    data = entry.framework_data.get(_KEY)
    described = data if isinstance(data, dict) else {}
    node_class: type[BaseNode] = TextNode
    try:
        if _is_plain_text(entry, described):
            return _text_node(entry, described)
        node_class = _CLASSES.get(str(described.get("class")), _class_for(entry.chunk))
        node = node_class.__new__(node_class)
        # Constructors of some node classes change what they are given.
        BaseModel.__init__(node, **_fields(node_class, entry, described))
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise InvalidDocumentError(
            f"row {entry.id!r} has data in framework_data[{_KEY!r}] that make no "
            f"{node_class.__name__}; add the node again"
        ) from error
    return node


def from_llama_index_nodes(nodes: Sequence[BaseNode]) -> list[VectorEntry]:
    """Many nodes as rows: what `from_llama_index_node` makes of each, in less time.

    Raises:
        InvalidDocumentError: see there.
        InvalidEmbeddingError: see there.
    """
    given = list(nodes)
    if all(isinstance(node, BaseNode) for node in given):
        vectors = _vectors([node.embedding for node in given])
        if vectors is not None:
            with suppress(InvalidDocumentError):  # which is found again, and named, below
                rows, ids = _drafts(given, vectors), [node.id_ for node in given]
                if are_valid(rows) and all(ids) and are_texts(ids):
                    return rows
    return [from_llama_index_node(node) for node in given]


def _vectors(embeddings: Sequence[Any]) -> Sequence[Vector] | None:
    """Dense vectors of one length that are in order, or None."""
    try:
        matrix = np.array(embeddings, dtype=np.float32)
    except (TypeError, ValueError, OverflowError):
        return None
    return [*matrix] if matrix.ndim == 2 and matrix.size and np.isfinite(matrix).all() else None


def _drafts(nodes: Sequence[BaseNode], vectors: Sequence[Vector]) -> list[VectorEntry]:
    """Nodes as rows that nobody has looked at yet."""
    chunks = [_CHUNK_DEFAULTS | _chunk_fields(node) for node in nodes]
    described = map(_describe, nodes)
    columns = {
        "id": [node.id_ for node in nodes],
        "embedding": vectors,
        "chunk": make_models(TextChunk, chunks, _CHUNK_DEFAULTS),
        "framework_data": ({_KEY: each} if each else {} for each in described),
        "deleted": repeat(False),
    }
    return make_objects(VectorEntry, len(nodes), columns)


class _Plan(NamedTuple):
    """How nodes of a class are kept.

    Attributes:
        name: Of the class that they come back as; None for a `TextNode`.
        has_places: They know where they begin and end in their source.
        has_resources: Their text is in a `MediaResource`.
        defaults: What a node has in its plain fields, and in those with an encoder, if nothing
            was given.
        encoders: For fields that are no JSON.
        foreign: Fields that nobody could give back.
    """

    name: str | None
    has_places: bool
    has_resources: bool
    defaults: dict[str, Any]
    encoders: dict[str, Callable[[Any], JsonValue]]
    foreign: dict[str, Any]


@cache
def _plan(node_class: type[BaseNode]) -> _Plan:
    bases = [each for each in _CLASSES.values() if issubclass(node_class, each)]
    known = max(bases, key=lambda each: len(each.__mro__), default=None)
    if known is None:
        raise InvalidDocumentError(
            f"{node_class.__name__} is no node class that can be given back; derive it from TextNode "
            "or Node"
        )
    fields = known.model_fields
    defaults = {
        name: info.get_default(call_default_factory=True)
        for name, info in fields.items()
        if name not in _OWN and name not in ("relationships", "text_resource")
    }
    return _Plan(
        name=None if known is TextNode else known.__name__,
        has_places="start_char_idx" in fields,
        has_resources="text_resource" in fields,
        defaults=defaults,
        encoders={
            **{name: _resource for name in defaults if name.endswith("_resource")},
            **({"obj": _object} if "obj" in fields else {}),
        },
        foreign={
            name: info.get_default(call_default_factory=True)
            for name, info in node_class.model_fields.items()
            if name not in fields
        },
    )


def _chunk_fields(node: BaseNode) -> dict[str, Any]:
    plan = _plan(type(node))
    fields: dict[str, Any] = {"content": _text(node), "metadata": node.metadata}
    if (source := _source(node)) is not None:
        fields["document_id"] = source.node_id
    if plan.has_places:
        fields["start"] = _place(node.start_char_idx)  # type: ignore[attr-defined]
        fields["end"] = _place(node.end_char_idx)  # type: ignore[attr-defined]
    return fields


def _text(node: BaseNode) -> str:
    if isinstance(node, Node):
        return (node.text_resource and node.text_resource.text) or ""
    return node.text  # type: ignore[attr-defined,no-any-return]


def _place(value: int | None) -> int | None:
    return value if value is not None and value >= 0 else None


def _source(node: BaseNode) -> RelatedNodeInfo | None:
    source = node.relationships.get(NodeRelationship.SOURCE)
    return source if isinstance(source, RelatedNodeInfo) else None


def _describe(node: BaseNode) -> dict[str, Any]:
    """What a row does not say about the node that it was."""
    plan, values = _plan(type(node)), node.__dict__
    _refuse_foreign(node, plan)
    described: dict[str, Any] = {"class": plan.name} if plan.name else {}
    for name, default in plan.defaults.items():
        value = values[name]
        if value != default:
            encode = plan.encoders.get(name)
            described[name] = encode(value) if encode else value
    if plan.has_places:
        for name in ("start_char_idx", "end_char_idx"):
            if _place(values[name]) != values[name]:
                described[name] = values[name]
    if plan.has_resources and (resource := _text_resource(values["text_resource"])) != {}:
        described["text_resource"] = resource
    relationships = _relationships(node)
    # A source of which only the id is known is the row's document, and no more.
    if relationships and relationships != {_RELATIONSHIPS[NodeRelationship.SOURCE]: {}}:
        described["relationships"] = relationships
    return described


def _refuse_foreign(node: BaseNode, plan: _Plan) -> None:
    for name, default in plan.foreign.items():
        if getattr(node, name) != default:
            raise InvalidDocumentError(
                f"{type(node).__name__} has the field {name!r}, which no store keeps; put it into "
                "metadata"
            )


def _resource(resource: MediaResource) -> dict[str, Any]:
    values = {name: value for name, value in resource.__dict__.items() if value is not None}
    for name in values.keys() & {"path", "url"}:
        values[name] = str(values[name])
    if "data" in values:
        values["data"] = values["data"].decode("ascii")  # base64, as MediaResource keeps it
    return values


def _text_resource(resource: MediaResource | None) -> dict[str, Any] | None:
    """What a text's resource has beside the text; None if there is no resource."""
    if resource is None:
        return None
    values = _resource(resource)
    if values.pop("text", None) is None:
        values["text"] = None
    return values


def _object(value: Any) -> Any:
    if isinstance(value, BaseNode):
        entry = from_llama_index_node(value)
        return {
            _KEY: {
                "id": entry.id,
                "embedding": value.embedding,
                "chunk": entry.chunk.model_dump(exclude_none=True),
                "data": entry.framework_data,
            }
        }
    return {"json": value.model_dump(mode="json") if isinstance(value, BaseModel) else value}


def _relationships(node: BaseNode) -> dict[str, Any]:
    return {
        _RELATIONSHIPS[relation]: (
            [_related(each, node.metadata) for each in related]
            if isinstance(related, list)
            else _related(related, node.metadata, named=relation is not NodeRelationship.SOURCE)
        )
        for relation, related in node.relationships.items()
    }


def _related(
    related: RelatedNodeInfo, metadata: Mapping[str, Any], *, named: bool = True
) -> dict[str, Any]:
    """A related node; the source is not `named`, since its id is the row's document."""
    described: dict[str, Any] = {"id": related.node_id} if named else {}
    if related.node_type is not None:
        described["type"] = _OBJECT_TYPE_VALUES.get(related.node_type, related.node_type)
    if related.hash is not None:
        described["hash"] = related.hash
    described.update(_apart(related.metadata, metadata))
    return described


def _apart(metadata: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """A related node's metadata, apart from what it shares with the node's own."""
    if not metadata:
        return {}
    if _have_same_objects(metadata, own) or repr(metadata) == repr(own):
        return {"keys": True}
    others = {
        key: value
        for key, value in metadata.items()
        if key not in own or repr(own[key]) != repr(value)
    }
    if len(others) == len(metadata):
        return {"metadata": others}
    return {"keys": [*metadata]} | ({"metadata": others} if others else {})


def _have_same_objects(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """As copies of one mapping have."""
    return [*one] == [*other] and [*map(id, one.values())] == [*map(id, other.values())]


def _class_for(chunk: Chunk) -> type[BaseNode]:
    """What becomes of a row that was no node."""
    return Node if isinstance(chunk.content, bytes) else TextNode


def _is_plain_text(entry: VectorEntry | QueryMatch, described: dict[str, Any]) -> bool:
    """Whether it was a `TextNode` of which a row says all but how it is related, as nearly all are."""
    is_text = isinstance(entry.chunk.content, str) and entry.id is not None
    return is_text and described.keys() <= {"relationships"}


def _text_node(entry: VectorEntry | QueryMatch, described: Mapping[str, Any]) -> TextNode:
    """A plain text. No value can be of a wrong type: rows were checked, relations are here."""
    chunk, vector = entry.chunk, dense_part(getattr(entry, "embedding", None))
    fields = {
        "id_": entry.id,
        "embedding": None if vector is None else vector.tolist(),
        "metadata": {**chunk.metadata},
        "relationships": _relations(chunk, described),
        "text": chunk.content,
        "start_char_idx": chunk.start,
        "end_char_idx": chunk.end,
    }
    whole = _BLANK | fields
    for name in _LISTS:
        whole[name] = []
    return make_model(TextNode, whole, fields)


def _fields(
    node_class: type[BaseNode], entry: VectorEntry | QueryMatch, described: Mapping[str, Any]
) -> dict[str, Any]:
    chunk, plan = entry.chunk, _plan(node_class)
    fields = {name: value for name, value in described.items() if name in plan.defaults}
    fields |= {"metadata": chunk.metadata, "relationships": _relations(chunk, described)}
    if entry.id is not None:
        fields["id_"] = entry.id
    if (vector := dense_part(getattr(entry, "embedding", None))) is not None:
        fields["embedding"] = vector.tolist()
    if plan.has_places:
        fields["start_char_idx"] = described.get("start_char_idx", chunk.start)
        fields["end_char_idx"] = described.get("end_char_idx", chunk.end)
    if "obj" in fields:
        fields["obj"] = _decode_object(fields["obj"])
    return fields | _content(plan, chunk, described)


def _content(plan: _Plan, chunk: Chunk, described: Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(chunk.content, bytes):
        return _medium(chunk)
    text = chunk.content
    if not isinstance(text, str):
        text = json.dumps(text, ensure_ascii=False)
    if not plan.has_resources:
        return {"text": text}
    resource = described.get("text_resource", {})
    return {"text_resource": None if resource is None else {"text": text} | resource}


def _medium(chunk: Chunk) -> dict[str, Any]:
    kind = next((medium for medium in _MEDIA if chunk.type.startswith(medium)), "text")
    return {
        f"{kind}_resource": {
            "data": b64encode(chunk.content),
            "mimetype": chunk.metadata.get("mime_type"),
        }
    }


def _decode_object(encoded: Mapping[str, Any]) -> Any:
    if _KEY not in encoded:
        return encoded["json"]
    kept = encoded[_KEY]
    entry = VectorEntry(
        id=kept["id"], chunk=TextChunk(**kept["chunk"]), framework_data=kept["data"]
    )
    node = to_llama_index_node(entry)
    node.embedding = kept["embedding"]
    return node


def _relations(chunk: Chunk, described: Mapping[str, Any]) -> dict[NodeRelationship, Any]:
    kept = described.get("relationships", {})
    relations = {
        _NAMED_RELATIONSHIPS[name]: _decode_related(kept[name], chunk)
        for name in kept
        if name in _NAMED_RELATIONSHIPS
    }
    if _SOURCE not in kept and chunk.document_id is not None:
        relations[NodeRelationship.SOURCE] = RelatedNodeInfo(node_id=chunk.document_id)
    return relations


def _decode_related(described: Any, chunk: Chunk) -> RelatedNodeInfo | list[RelatedNodeInfo]:
    if isinstance(described, list):
        return [_decode_info(each, chunk) for each in described]
    return _decode_info(described, chunk)


def _decode_info(described: Mapping[str, Any], chunk: Chunk) -> RelatedNodeInfo:
    kind, node_id = described.get("type"), described.get("id", chunk.document_id)
    fields = {
        "node_id": node_id,
        "node_type": _OBJECT_TYPES.get(kind, kind),
        "metadata": _together(described, chunk.metadata),
        "hash": described.get("hash"),
    }
    if kind in _OBJECT_TYPES and isinstance(node_id, str) and isinstance(fields["hash"], str):
        return make_model(RelatedNodeInfo, fields, fields)
    return RelatedNodeInfo(**fields)


def _together(described: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """What `_apart` took apart; a key that the row lost meanwhile is left out."""
    if described.get("keys") is True:
        return {**own}
    others = described.get("metadata", {})
    values = {**own, **others}
    return {key: values[key] for key in described.get("keys", others) if key in values}
