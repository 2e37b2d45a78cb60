"""The README's table for those who come from langchain-milvus: every row of it, run."""

import pytest
from langchain_core.documents import Document

from migration import MigrationTable
from ragbridge import HashingEmbeddingProvider, WeightedRanker, where
from ragbridge.langchain import RagbridgeVectorStore, to_langchain_document
from ragbridge.stores.base import SimilarityMetric

TABLE = MigrationTable("langchain-milvus", store="store")
DOCUMENTS = [
    Document("A folding tent", id="a", metadata={"price": 80, "kind": "tent"}),
    Document("A tent for two", id="b", metadata={"price": 121, "kind": "tent"}),
    Document("Wireless headphones", id="c", metadata={"price": 59, "kind": "audio"}),
]


def test_every_row_of_the_table_is_read():
    TABLE.assert_read(CHECKS, at_least=20)


def found(*expected):
    return lambda result, _: sorted(each.id for each in result) == sorted(expected)


def best(expected):
    return lambda result, _: result[0].id == expected


def made(**expected):
    def check(store, names):
        store.add_documents(names["documents"])
        got = {name: getattr(store.store, name) for name in expected}
        return got == expected and store.similarity_search("tent for two")[0].id == "b"

    return check


CHECKS = {
    'Milvus(embedding, collection_name="books", connection_args={"uri": uri})': made(
        collection_name="books"
    ),
    'Milvus.from_documents(documents, embedding, connection_args={"uri": uri})': lambda store, _: (
        store.store.count() == 3
    ),
    'Milvus(embedding, index_params={"index_type": "HNSW", "metric_type": "IP"})': made(
        metric=SimilarityMetric.DOT_PRODUCT
    ),
    'Milvus(embedding, builtin_function=BM25BuiltInFunction(), vector_field=["dense", "sparse"])': (
        made()
    ),
    'Milvus(None, builtin_function=BM25BuiltInFunction(), vector_field="sparse")': made(),
    'Milvus(embedding, partition_key_field="owner")': made(),
    'Milvus(embedding, consistency_level="Strong", drop_old=True)': lambda result, _: (
        result is None
    ),
    "store.upsert(ids, documents)": lambda ids, names: ids == names["ids"] == ["1", "2", "3"],
    "store.add_embeddings(texts, embeddings, metadatas)": lambda ids, _: len(ids) == 3,
    "store.similarity_search(query, k=2, expr='price < 100 and kind == \"tent\"')": found("a"),
    'store.similarity_search(query, expr="price != 59")': found("a", "b"),
    'store.similarity_search(query, param={"ef": 64})': best("a"),
    'store.similarity_search(query, ranker_type="weighted", ranker_params={"weights": [0.6, 0.4]})': (
        best("a")
    ),
    "store.similarity_search_with_score(query)": lambda result, _: (
        [score for _, score in result] == sorted((score for _, score in result), reverse=True)
    ),
    'store.as_retriever(search_kwargs={"k": 1, "expr": "price < 100"})': lambda retriever, _: (
        [each.id for each in retriever.invoke("a tent for two")] == ["a"]
    ),
    'store.similarity_search(query)[0].metadata["pk"]': lambda result, _: result == "a",
    'store.delete(expr="price > 100")': lambda done, names: (
        done is True and names["store"].store.count() == 2
    ),
    'store.get_pks("price > 100")': lambda ids, _: ids == ["b"],
    'store.search_by_metadata("price > 100")': lambda result, _: result == DOCUMENTS[1:2],
    "store.client": lambda client, names: (
        names["store"].store.collection_name in client.list_collections()
    ),
}


@pytest.fixture
def names(tmp_path):
    uri, embedding = str(tmp_path / "rows.db"), HashingEmbeddingProvider(64)
    store = RagbridgeVectorStore(uri, embedding, collection_name="filled", index="HNSW")
    store.add_documents(DOCUMENTS)
    yield {
        "RagbridgeVectorStore": RagbridgeVectorStore,
        "WeightedRanker": WeightedRanker,
        "where": where,
        "to_langchain_document": to_langchain_document,
        "uri": uri,
        "embedding": embedding,
        "store": store,
        "documents": DOCUMENTS,
        "ids": ["1", "2", "3"],
        "texts": [each.page_content for each in DOCUMENTS],
        "metadatas": [each.metadata for each in DOCUMENTS],
        "embeddings": embedding.batch_embed_queries([each.page_content for each in DOCUMENTS]),
        "query": "folding tent",
    }
    store.store.close()


@pytest.mark.stores("milvus-lite")
@pytest.mark.parametrize(("there", "here"), TABLE.rows, ids=[here for _, here in TABLE.rows])
def test_a_row_does_what_it_says(store_name, names, there, here):
    TABLE.assert_done(here, names, CHECKS[there])
