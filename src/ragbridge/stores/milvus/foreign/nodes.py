"""LlamaIndex nodes in rows, as llama-index-vector-stores-milvus writes them.

A row has the node as JSON in `_node_content`, without its text, and its metadata once more as dynamic
keys, for filters. What `framework_data["llama_index"]` holds is what `ragbridge.llama_index` makes a node
of. What no node has lies in its JSON under `"ragbridge"`, which LlamaIndex leaves out.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

__all__ = ["CONTENT_KEY", "NO_DOCUMENT", "RESERVED", "Node", "node_keys", "read_node"]

CONTENT_KEY: Final = "_node_content"
NO_DOCUMENT: Final = "None"
"""What stands for the document of a row without one."""

_TYPE_KEY: Final = "_node_type"
_DOCUMENT_KEYS: Final = ("document_id", "doc_id", "ref_doc_id")
RESERVED: Final = frozenset({CONTENT_KEY, _TYPE_KEY, *_DOCUMENT_KEYS})
"""Dynamic keys that are not the metadata's, whatever those hold under that name."""

_FRAMEWORK: Final = "llama_index"
_OURS: Final = "ragbridge"
_CLASS: Final = "TextNode"
_RELATIONS: Final = {"1": "source", "2": "previous", "3": "next", "4": "parent", "5": "child"}
_NUMBERS: Final = {name: number for number, name in _RELATIONS.items()}
_OWN: Final = frozenset(
    {"id_", "embedding", "metadata", "text", "text_resource", "start_char_idx", "end_char_idx"}
    | {"class_name", "relationships", "obj", _OURS}
)
_DOCUMENT: Final = "4"  # ObjectType.DOCUMENT


class Node:
    """What the JSON of a node says.

    Args:
        node: The JSON.
        type: The name of the node's class.
    """

    def __init__(self, node: Mapping[str, Any], type: str | None) -> None:
        self._node = node
        self._type = type
        self._ours: Mapping[str, Any] = node.get(_OURS) or {}

    @property
    def metadata(self) -> dict[str, Any]:
        """Its metadata."""
        return self._node.get("metadata") or {}

    @property
    def document_id(self) -> str | None:
        """The id of its source."""
        source = (self._node.get("relationships") or {}).get("1") or {}
        return source.get("node_id")

    @property
    def chunk(self) -> dict[str, Any]:
        """What else a chunk is."""
        if "chunk" in self._ours:
            return dict(self._ours["chunk"])
        places = {"start": self._node.get("start_char_idx"), "end": self._node.get("end_char_idx")}
        return {name: at for name, at in places.items() if at is not None and at >= 0}

    @property
    def framework_data(self) -> dict[str, Any]:
        """What frameworks need back."""
        if "framework_data" in self._ours:
            return dict(self._ours["framework_data"])
        described = {name: each for name, each in self._node.items() if name not in _OWN}
        if self._type not in (None, _CLASS):
            described["class"] = self._type
        if "obj" in self._node:
            described["obj"] = {"json": self._node["obj"]}
        relationships = self._node.get("relationships")
        if relationships:
            described["relationships"] = {
                _RELATIONS[number]: _related(each, named=number != "1")
                for number, each in relationships.items()
                if number in _RELATIONS
            }
        return {_FRAMEWORK: described} if described else {}


def read_node(row: Mapping[str, Any]) -> Node | None:
    """The node of a row, or None where it has none."""
    text = row.get(CONTENT_KEY)
    return None if text is None else Node(json.loads(text), row.get(_TYPE_KEY))


def node_keys(
    id: str,
    metadata: Mapping[str, Any],
    document_id: str | None,
    chunk: Mapping[str, Any],
    framework_data: Mapping[str, Any],
) -> dict[str, Any]:
    """The dynamic keys of a row that LlamaIndex reads as a node."""
    described = framework_data.get(_FRAMEWORK)
    described = described if isinstance(described, dict) else {}
    node = {
        name: each
        for name, each in described.items()
        if name not in _OWN and name not in ("class", "relationships")
    }
    if "obj" in described:
        node["obj"] = (described["obj"] or {}).get("json")
    name = described.get("class", _CLASS)
    node |= {
        "id_": id,
        "embedding": None,
        "metadata": metadata,
        "relationships": _relationships(described, metadata, document_id),
        "text": "",
        "start_char_idx": described.get("start_char_idx", chunk.get("start")),
        "end_char_idx": described.get("end_char_idx", chunk.get("end")),
        "class_name": name,
        _OURS: {"chunk": chunk, "framework_data": framework_data},
    }
    source = document_id or NO_DOCUMENT
    keys = {CONTENT_KEY: json.dumps(node, ensure_ascii=False), _TYPE_KEY: name}
    return keys | dict.fromkeys(_DOCUMENT_KEYS, source)


def _related(described: Any, *, named: bool) -> Any:
    if isinstance(described, list):
        return [_related(each, named=True) for each in described]
    kept = {"type": described.get("node_type"), "hash": described.get("hash")}
    found = {name: each for name, each in kept.items() if each is not None}
    if named:
        found["id"] = described["node_id"]
    return found | ({"metadata": described["metadata"]} if described.get("metadata") else {})


def _relationships(
    described: Mapping[str, Any], metadata: Mapping[str, Any], document_id: str | None
) -> dict[str, Any]:
    kept = described.get("relationships") or {}
    found = {
        _NUMBERS[name]: _info(each, metadata, document_id)
        for name, each in kept.items()
        if name in _NUMBERS
    }
    if document_id is not None and "1" not in found:
        found["1"] = _info({"type": _DOCUMENT}, metadata, document_id)
    return found


def _info(described: Any, metadata: Mapping[str, Any], document_id: str | None) -> Any:
    if isinstance(described, list):
        return [_info(each, metadata, document_id) for each in described]
    shared = described.get("shared", ())
    keys = metadata if shared is True else [key for key in shared if key in metadata]
    return {
        "node_id": described.get("id", document_id),
        "node_type": described.get("type"),
        "metadata": {key: metadata[key] for key in keys} | described.get("metadata", {}),
        "hash": described.get("hash"),
        "class_name": "RelatedNodeInfo",
    }
