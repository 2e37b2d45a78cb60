"""The README's table for those who come from llama-index-vector-stores-milvus: every row of it, run."""

import pytest
from llama_index.core import MockEmbedding, VectorStoreIndex
from llama_index.core.base.base_retriever import BaseRetriever

from llama_index_stores import make_node
from migration import MigrationTable
from ragbridge import RRFRanker, where
from ragbridge.embeddings import EmbeddingProvider, SparseVector
from ragbridge.llama_index import RagbridgeVectorStore
from ragbridge.stores.base import SimilarityMetric

TABLE = MigrationTable("llama-index-vector-stores-milvus", store="vector_store")
NODES = [
    make_node("a", (1, 0, 0, 0), text="a folding tent", doc="doc-a", metadata={"price": 80}),
    make_node(
        "b", (0.5, 0.5, 0.5, 0.5), text="a tent for two", doc="doc-b", metadata={"price": 121}
    ),
    make_node("c", (0, 0, 0, 1), text="wireless headphones", metadata={"price": 59}),
]


def test_every_row_of_the_table_is_read():
    TABLE.assert_read(CHECKS, at_least=18)


class Encoder(EmbeddingProvider):
    """One weight, for the length of the text."""

    def batch_embed(self, chunks):
        return [SparseVector([len(chunk.content)], [1.0]) for chunk in chunks]


def made(**expected):
    """The new store takes nodes, replaces and finds them, and is what it was told to be."""

    def check(store, names):
        core = store.vector_store
        store.add(NODES)
        store.add(NODES[:1])
        return core.count() == 3 and {name: getattr(core, name) for name in expected} == expected

    return check


def found(*expected):
    def check(retriever, _):
        ids = [each.node.node_id for each in retriever.retrieve("a tent for two")]
        return isinstance(retriever, BaseRetriever) and ids == [*expected]

    return check


def left(*expected):
    return lambda _, names: (
        sorted(node.node_id for node in names["store"].get_nodes()) == [*expected]
    )


def read(*expected):
    return lambda nodes, _: [node.node_id for node in nodes] == [*expected]


CHECKS = {
    'MilvusVectorStore(uri=uri, collection_name="books", dim=4)': made(collection_name="books"),
    'MilvusVectorStore(uri=uri, similarity_metric="L2", index_config={"index_type": "HNSW"})': made(
        metric=SimilarityMetric.EUCLIDEAN
    ),
    "MilvusVectorStore(uri=uri, overwrite=True)": lambda result, _: result is None,
    "MilvusVectorStore(uri=uri, upsert_mode=True)": made(),
    "MilvusVectorStore(uri=uri, enable_sparse=True)": made(),
    "MilvusVectorStore(uri=uri, enable_sparse=True, sparse_embedding_function=encoder)": made(),
    'MilvusVectorStore(uri=uri, scalar_field_names=["price"], scalar_field_types=[DataType.DOUBLE])': (
        made()
    ),
    'MilvusVectorStore(uri=uri, hybrid_ranker="WeightedRanker", hybrid_ranker_params={"weights": [0.6, 0.4]})': (
        found("b", "a")
    ),
    'MilvusVectorStore(uri=uri, hybrid_ranker="RRFRanker", hybrid_ranker_params={"k": 10})': found(
        "b", "a"
    ),
    'index.as_retriever(vector_store_kwargs={"milvus_search_config": {"params": {"ef": 64}}})': found(
        "b", "a"
    ),
    'index.as_retriever(vector_store_kwargs={"string_expr": "price > 100"})': found("b"),
    'index.as_retriever(vector_store_query_mode="mmr", vector_store_kwargs={"mmr_prefetch_factor": 4})': (
        found("b", "a")
    ),
    'MetadataFilters(filters=[MetadataFilter(key="doc_id", value="doc-a")])': found("a"),
    "store.add(nodes, force_flush=True)": lambda ids, _: ids == ["a", "b", "c"],
    'store.delete(["doc-a", "doc-b"])': left("c"),
    'store.get_nodes(node_ids=["a", "b"])': read("a", "b"),
    'store.client.query("llamacollection", filter="price > 100")': read("b"),
    "store.client": lambda client, names: (
        names["store"].vector_store.collection_name in client.list_collections()
    ),
}


@pytest.fixture
def names(tmp_path):
    uri = str(tmp_path / "rows.db")
    store = RagbridgeVectorStore(uri, collection_name="filled", index="HNSW")
    store.add(NODES)
    yield {
        "RagbridgeVectorStore": RagbridgeVectorStore,
        "RRFRanker": RRFRanker,
        "where": where,
        "uri": uri,
        "encoder": Encoder(),
        "store": store,
        "nodes": NODES,
        "index": VectorStoreIndex.from_vector_store(store, MockEmbedding(embed_dim=4)),
    }
    store.vector_store.close()


@pytest.mark.stores("milvus-lite")
@pytest.mark.parametrize(("there", "here"), TABLE.rows, ids=[here for _, here in TABLE.rows])
def test_a_row_does_what_it_says(store_name, names, there, here):
    TABLE.assert_done(here, names, CHECKS[there])
