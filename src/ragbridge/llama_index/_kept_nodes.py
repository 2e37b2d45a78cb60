"""The nodes of a LlamaIndex store that keeps vectors only, in a document store."""

from collections.abc import Iterable, Sequence

from llama_index.core.schema import BaseNode
from llama_index.core.storage.docstore.types import BaseDocumentStore
from llama_index.core.vector_stores.simple import SimpleVectorStore
from llama_index.core.vector_stores.types import BasePydanticVectorStore

from ragbridge.errors import VectorStoreError


class KeptNodes:
    """The nodes of a store, by id.

    A `SimpleVectorStore` says which rows it has and gives their vectors back, so the document store may
    hold other nodes as well. Of any other store the vectors are kept with the nodes, and the nodes are
    its rows.
    """

    def __init__(self, store: BasePydanticVectorStore, docstore: BaseDocumentStore) -> None:
        self.docstore = docstore
        self._name = type(store).__name__
        self._simple = store if isinstance(store, SimpleVectorStore) else None

    def put(self, nodes: Iterable[BaseNode]) -> None:
        """Keep nodes, in place of those with the same ids."""
        if self._simple is not None:
            nodes = (node.model_copy(update={"embedding": None}) for node in nodes)
        self.docstore.add_documents(list(nodes), allow_update=True)

    def listed(self, ids: Sequence[str] | None = None) -> list[str]:
        """The ids of the rows that there are, of those asked for."""
        known = self.docstore.docs if self._simple is None else self._simple.data.embedding_dict
        return list(known) if ids is None else [row_id for row_id in ids if row_id in known]

    def read(self, ids: Iterable[str], *, embeddings: bool) -> list[BaseNode]:
        """The nodes with these ids.

        Raises:
            VectorStoreError: one is not there.
        """
        nodes = [self._get(row_id) for row_id in ids]
        if embeddings and self._simple is not None:
            for node in nodes:
                node.embedding = self._simple.get(node.node_id)
        return nodes

    def forget(self, ids: Iterable[str]) -> None:
        """Remove nodes; unknown ids are no error."""
        for row_id in ids:
            self.docstore.delete_document(row_id, raise_error=False)

    def _get(self, row_id: str) -> BaseNode:
        node = self.docstore.get_document(row_id, raise_error=False)
        if node is None:
            raise VectorStoreError(
                f"{self._name} holds the row {row_id!r}, but its document store has no text of it; give "
                "the docstore that the rows were written with"
            )
        return node
