"""Rows of the core inside of LlamaIndex nodes, to the last detail.

A node says most of a row. What it does not say (a chunk's index and own id, another framework's data,
soft deletion, content that is bytes, ...) goes into the node's metadata as JSON text under one key of
ours, which models do not get to see.
"""

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from llama_index.core.schema import BaseNode

from ragbridge.documents import Chunk, TextChunk
from ragbridge.errors import VectorStoreError
from ragbridge.llama_index.documents import from_llama_index_node, to_llama_index_node
from ragbridge.stores.base import VectorEntry

CARRIED_KEY: Final = "_ragbridge"
"""The metadata key."""

_HIDING: Final = ("excluded_embed_metadata_keys", "excluded_llm_metadata_keys")


def to_node(entry: VectorEntry) -> BaseNode:
    """A row as a node; see `from_node`."""
    node = to_llama_index_node(_with_text(entry))
    unsaid = _unsaid(entry, from_llama_index_node(node))
    if unsaid:
        node.metadata = {**node.metadata, CARRIED_KEY: json.dumps(unsaid, ensure_ascii=False)}
        for name in _HIDING:
            setattr(node, name, [*getattr(node, name), CARRIED_KEY])
    return node


def from_node(node: BaseNode) -> VectorEntry:
    """The row that `to_node` made a node of, or that any other node is.

    Raises:
        VectorStoreError: what is under our key was not written by `to_node`.
    """
    carried = node.metadata.get(CARRIED_KEY)
    if carried is None:
        return from_llama_index_node(node)
    try:
        return _with_carried(from_llama_index_node(_plain(node)), json.loads(carried))
    except (TypeError, ValueError, LookupError) as error:
        raise VectorStoreError(
            f"row {node.node_id!r} has metadata {CARRIED_KEY!r} that make no row; add it again"
        ) from error


def _with_text(entry: VectorEntry) -> VectorEntry:
    """The row with no bytes for content: not every store gives a node's media back."""
    if not isinstance(entry.chunk.content, bytes):
        return entry
    return replace(entry, chunk=TextChunk(**dict(entry.chunk) | {"content": ""}))


def _unsaid(entry: VectorEntry, said: VectorEntry) -> dict[str, Any]:
    """What of `entry` its node does not say."""
    unsaid: dict[str, Any] = {}
    fields, known = dict(entry.chunk), dict(said.chunk)
    content = fields.pop("content")
    chunk = {name: value for name, value in fields.items() if value != known[name]}
    if type(entry.chunk) is not type(said.chunk):
        chunk["class"] = type(entry.chunk).__name__
    if CARRIED_KEY in fields["metadata"]:
        chunk["metadata"] = fields["metadata"]
    if chunk:
        unsaid["chunk"] = chunk
    if isinstance(content, bytes):
        unsaid["bytes"] = b64encode(content).decode()
    elif not isinstance(content, str):
        unsaid["json"] = True
    if entry.framework_data != said.framework_data:
        unsaid["framework_data"] = entry.framework_data
    return unsaid | ({"deleted": True} if entry.deleted else {})


def _plain(node: BaseNode) -> BaseNode:
    """The node without our key."""
    metadata = {key: value for key, value in node.metadata.items() if key != CARRIED_KEY}
    hiding = {name: [key for key in getattr(node, name) if key != CARRIED_KEY] for name in _HIDING}
    return node.model_copy(update={"metadata": metadata, **hiding})


def _with_carried(entry: VectorEntry, carried: Mapping[str, Any]) -> VectorEntry:
    fields = dict(entry.chunk) | carried.get("chunk", {})
    kind = {"Chunk": Chunk, "TextChunk": TextChunk}[fields.pop("class", "TextChunk")]
    if "bytes" in carried:
        fields["content"] = b64decode(carried["bytes"])
    elif "json" in carried:
        fields["content"] = json.loads(fields["content"])
    return replace(
        entry,
        chunk=kind(**fields),
        framework_data=carried.get("framework_data", entry.framework_data),
        deleted=carried.get("deleted", False),
    )
