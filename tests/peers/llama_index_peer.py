"""llama-index-vector-stores-milvus in a process of its own: writes a collection, or says what it reads.

python llama_index_peer.py URI COLLECTION KIND write|read|get|delete [JSON]
"""

import json
import logging
import sys
import warnings

warnings.simplefilter("ignore")
logging.disable(logging.CRITICAL)

from llama_index.core.schema import BaseNode, IndexNode, TextNode  # noqa: E402 - warnings first
from llama_index.core.vector_stores.types import VectorStoreQuery  # noqa: E402
from llama_index.vector_stores.milvus import MilvusVectorStore  # noqa: E402
from llama_index.vector_stores.milvus.utils import (  # noqa: E402
    BaseSparseEmbeddingFunction,
    BM25BuiltInFunction,
)


class WordLengths(BaseSparseEmbeddingFunction):
    """How often a text has words of each length."""

    def encode_queries(self, queries):
        return self.encode_documents(queries)

    def encode_documents(self, documents):
        return [
            {len(word): float(text.split().count(word)) for word in text.split()}
            for text in documents
        ]


def options(kind):
    """What tells one way of laying out collections from another."""
    return {
        "dense": {},
        "sparse": {"enable_sparse": True, "sparse_embedding_function": WordLengths()},
        "bm25": {"enable_sparse": True, "sparse_embedding_function": BM25BuiltInFunction()},
    }[kind]


def node_of(data) -> BaseNode:
    """The node that JSON describes."""
    return {"IndexNode": IndexNode}.get(data["class_name"], TextNode).from_dict(data)


def main(uri, collection, kind, task, data="null"):
    """Do one task, and print its answer."""
    store = MilvusVectorStore(
        uri=uri,
        collection_name=collection,
        dim=4,
        similarity_metric="COSINE",
        consistency_level="Strong",
        use_async_client=False,
        **options(kind),
    )
    store.client.load_collection(collection)  # Milvus Lite forgets that it was
    given = json.loads(data)
    if task == "write":
        store.add([*map(node_of, given)])
        store.client.flush(collection)
    elif task == "delete":
        store.delete(given)
    elif task == "get":
        sys.stdout.write(json.dumps([node.to_dict() for node in store.get_nodes(node_ids=given)]))
    elif task == "read":
        query = VectorStoreQuery(query_embedding=given, similarity_top_k=100)
        found = store.query(query)
        nodes = [node.to_dict() for node in found.nodes]
        sys.stdout.write(json.dumps([*zip(found.ids, nodes, found.similarities, strict=True)]))


if __name__ == "__main__":
    main(*sys.argv[1:])
