"""Nodes to test LlamaIndex's stores with, and the two ways of calling them."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    FilterCondition,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
)

__all__ = ["ThroughAsync", "ask", "group", "make_node", "through"]

_TWINS = {"add": "async_add"}
_METHODS = ("add", "delete", "delete_nodes", "get_nodes", "clear", "query")


class ThroughAsync:
    """A store whose methods are called by their async twins, all in one event loop."""

    def __init__(self, store: BasePydanticVectorStore, runner: asyncio.Runner) -> None:
        self._store = store
        self._runner = runner

    def __getattr__(self, name: str) -> Any:
        if name not in _METHODS:
            return getattr(self._store, name)
        twin = getattr(self._store, _TWINS.get(name, f"a{name}"))
        return lambda *args, **kwargs: self._runner.run(twin(*args, **kwargs))


@contextmanager
def through(store: BasePydanticVectorStore, way: str) -> Iterator[Any]:
    """`store` as it is called one way, "sync" or "async"."""
    if way == "sync":
        yield store
        return
    with asyncio.Runner() as runner:
        yield ThroughAsync(store, runner)
        if hasattr(store.vector_store, "aclient"):
            runner.run(store.vector_store.aclose())


def make_node(node_id: str, embedding: Any = (1.0, 0.0, 0.0, 0.0), **fields: Any) -> TextNode:
    """A text node of the document `doc`, if one is given."""
    document_id = fields.pop("doc", None)
    if document_id is not None:
        source = RelatedNodeInfo(node_id=document_id)
        fields["relationships"] = {NodeRelationship.SOURCE: source}
    fields.setdefault("text", f"text of {node_id}")
    return TextNode(id_=node_id, embedding=list(embedding), **fields)


def group(
    *filters: MetadataFilter | MetadataFilters | tuple[Any, ...], condition: Any = "and"
) -> MetadataFilters:
    """LlamaIndex's filters; tuples are key, operator and value."""
    children = [
        MetadataFilter(key=each[0], operator=each[1], value=each[2])
        if isinstance(each, tuple)
        else each
        for each in filters
    ]
    return MetadataFilters(filters=children, condition=condition and FilterCondition(condition))


def ask(store: Any, *, keywords: dict[str, Any] | None = None, **fields: Any) -> list[str]:
    """The ids that a query finds, best first."""
    fields = {"query_embedding": [1.0, 0.0, 0.0, 0.0], "similarity_top_k": 10, **fields}
    result = store.query(VectorStoreQuery(**fields), **(keywords or {}))
    assert [node.node_id for node in result.nodes] == result.ids
    assert len(result.similarities) == len(result.ids)
    return result.ids
