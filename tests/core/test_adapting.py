"""What the adapters share."""

import pytest

from ragbridge._adapting import as_vector_store, diverse
from ragbridge.documents import TextChunk
from ragbridge.errors import InvalidConfigError, InvalidQueryError
from ragbridge.stores.base import VectorEntry, VectorStoreQuery
from ragbridge.stores.memory import InMemoryVectorStore
from ragbridge.stores.milvus import MilvusConfig, MilvusVectorStore


def test_nothing_is_a_store_in_memory():
    assert isinstance(as_vector_store(), InMemoryVectorStore)
    assert as_vector_store(metric="dot_product").metric == "dot_product"


def test_a_store_is_itself():
    store = InMemoryVectorStore()
    assert as_vector_store(store) is store


def test_options_for_a_store_that_is_made_are_refused():
    with pytest.raises(
        InvalidConfigError, match="metric can only be given where the store is made"
    ):
        as_vector_store(InMemoryVectorStore(), metric="cosine")


def test_an_address_is_milvus(tmp_path):
    uri = str(tmp_path / "rows.db")
    with as_vector_store(uri, collection_name="books") as store:
        assert isinstance(store, MilvusVectorStore)
        assert store.collection_name == "books"
    with as_vector_store(MilvusConfig(uri=uri)) as store:
        assert isinstance(store, MilvusVectorStore)


def test_an_address_may_be_an_option(tmp_path):
    with as_vector_store(uri=tmp_path / "rows.db", collection_name="books") as store:
        assert store.collection_name == "books"
    with as_vector_store(tmp_path / "rows.db") as store:
        assert isinstance(store, MilvusVectorStore)


@pytest.mark.parametrize("source", [3, b"rows.db", ["rows.db"]])
def test_anything_else_is_refused(source):
    with pytest.raises(InvalidConfigError, match="config"):
        as_vector_store(source)


def found(**vectors):
    store = InMemoryVectorStore()
    store.add(
        [
            VectorEntry(id=name, embedding=vector, chunk=TextChunk(content=name))
            for name, vector in vectors.items()
        ]
    )
    return store.query(VectorStoreQuery(embedding=[1.0, 0.0, 0.0], include_embeddings=True))


def test_diverse_matches_are_unlike_one_another():
    matches = found(best=[1.0, 0.1, 0.0], twin=[1.0, 0.11, 0.0], other=[1.0, 0.0, 1.0])
    chosen = diverse(matches, [1.0, 0.0, 0.0], top_k=2, lambda_mult=0.5)
    assert [match.id for match in chosen] == ["best", "other"]
    assert chosen[0] is matches[0]


def test_diverse_needs_vectors():
    with InMemoryVectorStore() as store:
        store.add([VectorEntry(id="a", embedding=[1.0], chunk=TextChunk(content="a"))])
        matches = store.query(VectorStoreQuery(embedding=[1.0]))
    with pytest.raises(InvalidQueryError, match="dense vectors"):
        diverse(matches, [1.0], top_k=1, lambda_mult=0.5)
