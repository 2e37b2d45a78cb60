"""A core vector store as LlamaIndex's."""

from collections.abc import Sequence
from typing import Any

from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    VectorStoreQuery,
    VectorStoreQueryResult,
)

from ragbridge._adapting import as_vector_store
from ragbridge._twins import Step, Work, arun, run
from ragbridge.llama_index._queries import Request, Settings
from ragbridge.llama_index.documents import from_llama_index_node
from ragbridge.stores.base import VectorStore

__all__ = ["RagbridgeVectorStore"]


class RagbridgeVectorStore(BasePydanticVectorStore):
    """A core vector store behind LlamaIndex's interface."""

    vector_store: VectorStore
    stores_text: bool = True

    def __init__(self, vector_store: Any = None, **options: Any) -> None:
        super().__init__(vector_store=as_vector_store(vector_store, **options), stores_text=True)

    @classmethod
    def class_name(cls) -> str:
        """The name of this class, as LlamaIndex writes it down."""
        return "RagbridgeVectorStore"

    @property
    def client(self) -> Any:
        """The engine's own client, if the core store has one."""
        return getattr(self.vector_store, "client", None)

    def add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """Put nodes in."""
        return run(self._add(nodes))

    async def async_add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """Async twin of `add`."""
        return await arun(self._add(nodes))

    def delete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """Remove."""
        self.vector_store.delete_by_filter(document_ids=[ref_doc_id])

    async def adelete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """Async twin of `delete`."""
        await self.vector_store.adelete_by_filter(document_ids=[ref_doc_id])

    def clear(self) -> None:
        """Remove every node; the store is usable at once."""
        self.vector_store.clear()

    async def aclear(self) -> None:
        """Async twin of `clear`."""
        await self.vector_store.aclear()

    def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """Ask."""
        return run(self._query(query, kwargs))

    async def aquery(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """Async twin of `query`."""
        return await arun(self._query(query, kwargs))

    def _add(self, nodes: Sequence[BaseNode]) -> Work[list[str]]:
        entries = [from_llama_index_node(node) for node in nodes]
        return (yield from Step(self.vector_store.add, self.vector_store.aadd, entries))

    def _query(
        self, query: VectorStoreQuery, kwargs: dict[str, Any]
    ) -> Work[VectorStoreQueryResult]:
        request = Request.of(query, Settings(**kwargs))
        store = self.vector_store
        found = yield from Step(store.query, store.aquery, request.to_core())
        return request.to_result(request.rank(found))
