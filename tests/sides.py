"""The three ways to the same rows, told apart by nothing but who writes and who reads."""

from dataclasses import dataclass, field
from typing import Any

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores.types import VectorStoreQuery as LlamaIndexQuery

from ragbridge import TextChunk, VectorEntry, VectorStoreQuery
from ragbridge.langchain import RagbridgeVectorStore as LangChainStore
from ragbridge.langchain import to_langchain_filter
from ragbridge.llama_index import RagbridgeVectorStore as LlamaIndexStore
from ragbridge.llama_index import to_llama_index_filters

__all__ = ["SIDES", "Row"]

DOCUMENT_ID_KEY = "document"


@dataclass(frozen=True)
class Row:
    """What every framework knows of a row."""

    id: str
    text: str
    vector: tuple[float, ...]
    document_id: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)

    def seen_through(self, *sides):
        """What is compared; LangChain knows a row's document as a key of its metadata."""
        metadata = dict(self.metadata)
        if self.document_id is not None and any(isinstance(s, LangChainSide) for s in sides):
            metadata[DOCUMENT_ID_KEY] = self.document_id
        return (self.id, self.text, self.document_id, metadata)


class CoreSide:
    def __init__(self, store):
        self.store = store

    def native(self, row):
        chunk = TextChunk(content=row.text, document_id=row.document_id, metadata=row.metadata)
        return VectorEntry(id=row.id, embedding=row.vector, chunk=chunk)

    def write(self, natives):
        self.store.add(natives)

    def read(self, ids):
        return self.store.get(ids)

    def seen(self, native):
        chunk = native.chunk
        return (native.id, chunk.content, chunk.document_id, chunk.metadata)

    def find(self, vector, filters=None, k=10):
        query = VectorStoreQuery(embedding=vector, filters=filters, top_k=k)
        return [match.id for match in self.store.query(query)]

    def delete(self, row):
        self.store.delete(row.id)


class Vectors(Embeddings):
    """The vectors that texts come with."""

    def __init__(self):
        self.known = {}

    def embed_documents(self, texts):
        return [self.known[text] for text in texts]

    def embed_query(self, text):
        return self.known[text]


class LangChainSide:
    def __init__(self, store):
        self.vectors = Vectors()
        self.store = LangChainStore(store, self.vectors, document_id_key=DOCUMENT_ID_KEY)

    def native(self, row):
        self.vectors.known[row.text] = list(row.vector)
        metadata = dict(row.metadata)
        if row.document_id is not None:
            metadata[DOCUMENT_ID_KEY] = row.document_id
        return Document(id=row.id, page_content=row.text, metadata=metadata)

    def write(self, natives):
        self.store.add_documents(natives)

    def read(self, ids):
        found = {document.id: document for document in self.store.get_by_ids(ids)}
        return [found[row_id] for row_id in ids if row_id in found]

    def seen(self, native):
        metadata = native.metadata
        return (native.id, native.page_content, metadata.get(DOCUMENT_ID_KEY), metadata)

    def find(self, vector, filters=None, k=10):
        said = None if filters is None else to_langchain_filter(filters)
        found = self.store.similarity_search_by_vector(list(vector), k=k, filter=said)
        return [document.id for document in found]

    def delete(self, row):
        self.store.delete([row.id])


class LlamaIndexSide:
    def __init__(self, store):
        self.store = LlamaIndexStore(store)

    def native(self, row):
        node = TextNode(
            id_=row.id, text=row.text, metadata=row.metadata, embedding=list(row.vector)
        )
        if row.document_id is not None:
            source = RelatedNodeInfo(node_id=row.document_id, metadata={"file": "a.txt"})
            node.relationships[NodeRelationship.SOURCE] = source
        node.relationships[NodeRelationship.NEXT] = RelatedNodeInfo(node_id="next of " + row.id)
        node.excluded_embed_metadata_keys = ["n"]
        return node

    def write(self, natives):
        self.store.add(natives)

    def read(self, ids):
        return self.store.get_nodes(ids)

    def seen(self, native):
        return (native.node_id, native.text, native.ref_doc_id, native.metadata)

    def find(self, vector, filters=None, k=10):
        query = LlamaIndexQuery(
            query_embedding=list(vector),
            filters=to_llama_index_filters(filters),
            similarity_top_k=k,
        )
        return self.store.query(query).ids

    def delete(self, row):
        self.store.delete_nodes([row.id])


SIDES = {"core": CoreSide, "langchain": LangChainSide, "llama_index": LlamaIndexSide}
