"""The in-memory store's own arguments and promises; the rest is what the conformance suite proves."""

import subprocess
import sys

import pytest

from memory_rows import entry
from ragbridge.errors import (
    InvalidConfigError,
    InvalidEmbeddingError,
    InvalidQueryError,
    StoreClosedError,
    UnsupportedQueryError,
)
from ragbridge.stores import create_vector_store
from ragbridge.stores.base import Capability, SimilarityMetric, VectorStoreQuery
from ragbridge.stores.memory import FullTextOptions, InMemoryVectorStore


def test_defaults():
    store = InMemoryVectorStore()
    assert store.metric is SimilarityMetric.COSINE
    assert store.capabilities == frozenset(Capability)


def test_metrics_have_names():
    assert InMemoryVectorStore(metric="euclidean").metric is SimilarityMetric.EUCLIDEAN
    assert create_vector_store("memory", metric="dot_product").metric == "dot_product"


@pytest.mark.parametrize(
    "options",
    [{"metric": "manhattan"}, {"metric": None}, {"full_text": True}, {"full_text": {"k1": 1}}],
    ids=str,
)
def test_wrong_arguments_are_refused_by_name(options):
    with pytest.raises(InvalidConfigError, match=next(iter(options))):
        InMemoryVectorStore(**options)


def test_options_that_it_does_not_know_are_refused():
    with pytest.raises(UnsupportedQueryError, match=r"InMemoryVectorStore.*'ef'.*none"):
        InMemoryVectorStore().query(VectorStoreQuery(options={"ef": 64}))


@pytest.mark.parametrize("queries", [None, 7, VectorStoreQuery(), [VectorStoreQuery(), "text"]])
def test_what_are_no_queries(queries):
    with pytest.raises(InvalidQueryError, match="quer"):
        InMemoryVectorStore().query_many(queries)


def test_nothing_of_a_batch_is_answered_if_one_query_is_wrong():
    store = InMemoryVectorStore()
    store.add([entry("a", [1, 2])])
    right, wrong = VectorStoreQuery(embedding=[1, 2]), VectorStoreQuery(embedding=[1, 2, 3])
    with pytest.raises(InvalidEmbeddingError, match="dimension 3"):
        store.query_many([right, wrong])


def test_rows_without_any_vector_are_searched_by_text_and_filter():
    store = InMemoryVectorStore(full_text=FullTextOptions())
    store.add([entry("a", text="red fox"), entry("b", text="blue fox")])
    assert [m.id for m in store.query(VectorStoreQuery(text="red"))] == ["a"]
    assert [m.id for m in store.query(VectorStoreQuery())] == ["a", "b"]
    assert store.get(["a"])[0].embedding is None
    with pytest.raises(UnsupportedQueryError, match="no dense leg"):
        store.query(VectorStoreQuery(embedding=[1, 2]))


def test_closing_is_final():
    store = InMemoryVectorStore()
    store.add([entry("a", [1, 2])])
    store.close()
    store.close()
    with pytest.raises(StoreClosedError, match="load a saved one"):
        store.add([entry("a", [1, 2])])


def test_importing_it_imports_no_library_of_an_extra():
    code = (
        "import sys, ragbridge.stores.memory;"
        "print(sorted({'bm25s', 'Stemmer', 'pymilvus'} & set(sys.modules)))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "[]\n"
