"""langchain-milvus in a process of its own: writes a collection, or says what it reads in one.

python langchain_peer.py URI COLLECTION KIND write|read|delete [JSON]
"""

import json
import logging
import sys
import warnings

warnings.simplefilter("ignore")
logging.disable(logging.CRITICAL)

import pymilvus  # noqa: E402 - warnings first
from embedding import embed  # noqa: E402
from langchain_core.documents import Document  # noqa: E402
from langchain_core.embeddings import Embeddings  # noqa: E402

OLD = pymilvus.__version__.startswith("2.")
EXACT = {"index_type": "FLAT", "metric_type": "L2", "params": {}}
BM25 = {"index_type": "SPARSE_INVERTED_INDEX", "metric_type": "BM25", "params": {}}


class Hashed(Embeddings):
    """`embed` as LangChain has it."""

    def embed_query(self, text):
        return embed(text)

    def embed_documents(self, texts):
        return [*map(embed, texts)]


def connect_old_tables():
    """langchain-milvus 0.3 uses connections that later versions of pymilvus 2.6 do not make."""
    made = pymilvus.MilvusClient.__init__

    def make(self, *args, **options):
        made(self, *args, **options)
        if not pymilvus.connections.has_connection(self._using):
            pymilvus.connections.connect(alias=self._using, uri=options["uri"])

    pymilvus.MilvusClient.__init__ = make


def options(kind):
    """What tells one way of laying out collections from another."""
    from langchain_milvus import BM25BuiltInFunction

    return {
        "dynamic": {"enable_dynamic_field": True},
        "auto": {"enable_dynamic_field": True, "auto_id": True},
        "declared": {},
        "json": {"metadata_field": "metadata"},
        "hybrid": {
            "enable_dynamic_field": True,
            "vector_field": ["dense", "sparse"],
            "index_params": [EXACT, BM25],
            "search_params": [{"metric_type": "L2"}, {"metric_type": "BM25"}],
            "builtin_function": BM25BuiltInFunction(output_field_names="sparse"),
        },
    }[kind]


def main(uri, collection, kind, task, data="null"):
    """Do one task, and print its answer."""
    if OLD:
        connect_old_tables()
    from langchain_milvus import Milvus

    chosen = {"index_params": EXACT} | options(kind)
    store = Milvus(Hashed(), collection_name=collection, connection_args={"uri": uri}, **chosen)
    given = json.loads(data)
    if task == "write":
        documents = [Document(page_content=text, metadata=meta) for _, text, meta in given]
        ids = {} if kind == "auto" else {"ids": [row_id for row_id, _, _ in given]}
        store.add_documents(documents, **ids)
        store.client.flush(collection)
    elif task == "delete":
        store.delete(ids=given)
    elif task == "read":
        every = {"fetch_k": 100} if kind == "hybrid" else {}
        found = store.similarity_search_with_score(
            given, k=100, consistency_level="Strong", **every
        )
        rows = [[each.page_content, dict(each.metadata), score] for each, score in found]
        sys.stdout.write(json.dumps(rows))


if __name__ == "__main__":
    main(*sys.argv[1:])
