"""What LangChain stores do as core stores, beyond the conformance suite."""

import asyncio
import threading

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding, Embeddings
from langchain_core.vectorstores import InMemoryVectorStore, VectorStore

from ragbridge import (
    BinaryVector,
    Capability,
    HybridVector,
    InvalidConfigError,
    InvalidDocumentError,
    InvalidEmbeddingError,
    SimilarityMetric,
    SparseVector,
    TextChunk,
    UnsupportedFilterError,
    UnsupportedQueryError,
    VectorEntry,
    VectorRetriever,
    VectorStoreError,
    VectorStoreQuery,
    where,
)
from ragbridge.langchain.vector_store import RagbridgeVectorStore
from ragbridge.langchain.wrapped_store import LangChainVectorStore

EAST = [1.0, 0.0, 0.0, 0.0]
MODEL = DeterministicFakeEmbedding(size=4)


class Unwilling(Embeddings):
    """A model that must not be asked."""

    def embed_documents(self, texts):
        raise AssertionError("embedded again")

    def embed_query(self, text):
        raise AssertionError("embedded again")


class Unknown(VectorStore):
    """A store with no more than LangChain's interface; remembers how it was asked."""

    def __init__(self, relevance=lambda score: (score + 1) / 2):
        self.inner = InMemoryVectorStore(MODEL)
        self.relevance = relevance
        self.asked = []

    @classmethod
    def from_texts(cls, texts, embedding, metadatas=None, **kwargs):
        raise NotImplementedError

    def add_documents(self, documents, **kwargs):
        self.asked.append(("add_documents", kwargs))
        return self.inner.add_documents(documents, **kwargs)

    def get_by_ids(self, ids, /):
        return self.inner.get_by_ids(ids)

    def delete(self, ids=None, **kwargs):
        unknown = set(ids) - set(self.inner.store)
        if unknown:
            raise ValueError(f"not there: {unknown}")
        self.inner.delete(ids)

    def similarity_search(self, query, k=4, **kwargs):
        return [document for document, _ in self.similarity_search_with_score(query, k, **kwargs)]

    def similarity_search_with_score(self, query, k=4, **kwargs):
        self.asked.append((k, kwargs))
        return self.inner.similarity_search_with_score(query, k, **kwargs)

    def _select_relevance_score_fn(self):
        return self.relevance


def entry(row_id, text="some text", vector=EAST, **fields):
    metadata = fields.pop("metadata", {})
    chunk = TextChunk(content=text, metadata=metadata, document_id=fields.pop("document_id", None))
    return VectorEntry(id=row_id, embedding=vector, chunk=chunk, **fields)


def ids_of(rows):
    return [row.id for row in rows]


def test_given_embeddings_are_never_computed_again():
    for theirs in (InMemoryVectorStore(Unwilling()), RagbridgeVectorStore(embedding=Unwilling())):
        store = LangChainVectorStore(theirs)
        store.add([entry("a"), entry("b", vector=[0.0, 1.0, 0.0, 0.0])])
        assert ids_of(store.query(VectorStoreQuery(embedding=EAST, top_k=1))) == ["a"]
        assert np.array_equal(store.get(["a"])[0].embedding, EAST)


def test_embeddings_are_computed_again_when_asked_to():
    store = LangChainVectorStore(InMemoryVectorStore(MODEL), reembed=True)
    store.add([entry("a", "apple", vector=[9.0, 9.0, 9.0, 9.0])])
    np.testing.assert_allclose(store.get(["a"])[0].embedding, MODEL.embed_query("apple"), 1e-6)
    other = LangChainVectorStore(Unknown(), reembed=True)
    other.add([entry("a", "apple")])
    assert ids_of(other.query(VectorStoreQuery(text="apple"))) == ["a"]


def test_rows_without_embeddings_are_embedded_by_the_store():
    theirs = Unknown()
    store = LangChainVectorStore(theirs)
    assert store.add([entry("a", "apple", None), entry("b", "pear", None)]) == ["a", "b"]
    assert theirs.asked == [("add_documents", {"ids": ["a", "b"]})]
    without = LangChainVectorStore(RagbridgeVectorStore())
    with pytest.raises(InvalidEmbeddingError, match="no model"):
        without.add([entry("a", "apple", None)])


def test_unknown_stores_take_no_ready_vectors():
    store = LangChainVectorStore(Unknown())
    with pytest.raises(InvalidEmbeddingError, match=r"'a'.*reembed=True"):
        store.add([entry("a")])


@pytest.mark.parametrize(
    "vector",
    [
        SparseVector([1], [1.0]),
        HybridVector(EAST, SparseVector([1], [1.0])),
        BinaryVector(b"ab"),
    ],
    ids=lambda vector: type(vector).__name__,
)
def test_only_dense_vectors_go_in(vector):
    store = LangChainVectorStore(InMemoryVectorStore(MODEL))
    with pytest.raises(InvalidEmbeddingError):
        store.add([entry("a", vector=vector)])
    assert store.count() == 0


def test_unknown_stores_are_asked_by_text_with_relevance_scores():
    store = LangChainVectorStore(Unknown())
    assert store.capabilities == {Capability.FULL_TEXT}
    store.add([entry(text, text, None, metadata={"n": len(text)}) for text in ("fig", "apple")])
    best, other = store.query(VectorStoreQuery(text="fig"))
    assert (best.id, best.similarity_score) == ("fig", pytest.approx(1.0))
    assert 0 <= other.similarity_score < 1
    assert ids_of(store.query(VectorStoreQuery(text="fig", filters=where("n") == 5))) == ["apple"]
    assert ids_of(store.query(VectorStoreQuery(text="fig", min_score=0.999))) == ["fig"]
    assert ids_of(VectorRetriever(store).retrieve("fig", 1)) == ["fig"]
    with pytest.raises(UnsupportedQueryError, match="dense"):
        store.query(VectorStoreQuery(embedding=EAST))


def test_what_unknown_stores_cannot_do_is_refused():
    store = LangChainVectorStore(Unknown())
    store.add([entry("a", "apple", None)])
    for ask in (
        lambda: store.count(),
        lambda: list(store.scan()),
        lambda: store.clear(),
        lambda: store.delete_by_filter(where("a") == 1),
        lambda: store.query(VectorStoreQuery()),
        lambda: store.query(VectorStoreQuery(text="a", include_embeddings=True)),
    ):
        with pytest.raises(UnsupportedQueryError, match="no known way to list the rows of Unknown"):
            ask()


def test_scores_that_may_point_either_way_are_refused():
    class Unscored(Unknown):
        def _select_relevance_score_fn(self):
            raise NotImplementedError

    store = LangChainVectorStore(Unscored())
    store.add([entry("a", "apple", None)])
    with pytest.raises(UnsupportedQueryError, match=r"higher.*langchain_chroma\.Chroma"):
        store.query(VectorStoreQuery(text="apple"))


def test_unknown_stores_read_and_delete_by_id():
    store = LangChainVectorStore(Unknown())
    store.add([entry("a", "apple", None, deleted=True), entry("b", "pear", None)])
    assert ids_of(store.get(["b", "x", "a"])) == ["b"]
    assert ids_of(store.get(["b", "x", "a"], include_deleted=True)) == ["b", "a"]
    store.delete(["b", "x"])
    store.delete([])
    assert ids_of(store.get(["a", "b"], include_deleted=True)) == ["a"]


def test_filters_look_at_as_many_candidates_as_it_takes():
    theirs = Unknown()
    store = LangChainVectorStore(theirs)
    store.add([entry(f"{n:04}", f"text {n}", None, metadata={"n": n}) for n in range(1000)])
    theirs.asked.clear()
    found = store.query(VectorStoreQuery(text="text 0", filters=where("n") >= 997, top_k=3))
    assert sorted(ids_of(found)) == ["0997", "0998", "0999"]
    sizes = [k for k, _ in theirs.asked]
    assert sizes == sorted(sizes)
    assert len(sizes) <= 3, "the number of candidates must grow fast"
    assert (
        len(store.query(VectorStoreQuery(text="text 0", filters=where("n") < 600, top_k=-1))) == 600
    )


def test_filters_that_need_too_many_candidates_are_refused():
    store = LangChainVectorStore(Unknown(), max_candidates=200)
    store.add([entry(f"{n:04}", f"text {n}", None, metadata={"n": n}) for n in range(1000)])
    rare = VectorStoreQuery(text="text 0", filters=where("n") >= 997, top_k=3)
    with pytest.raises(UnsupportedFilterError, match=r"200 candidates.*filter_translator"):
        store.query(rare)
    assert len(store.query(VectorStoreQuery(text="text 0", top_k=500))) == 500, (
        "no filter, no limit"
    )


def test_a_filter_translator_is_used_and_checked():
    theirs = Unknown()

    def translate(filters):
        if filters == (where("n") == 1):
            return lambda document: document.metadata["n"] <= 1  # too much, which is allowed
        raise UnsupportedFilterError("only that")

    store = LangChainVectorStore(theirs, filter_translator=translate)
    store.add([entry(f"{n}", f"text {n}", None, metadata={"n": n}) for n in range(9)])
    theirs.asked.clear()
    for n in (1, 2):
        query = VectorStoreQuery(text="text", filters=where("n") == n)
        assert ids_of(store.query(query)) == [str(n)]
    assert [set(kwargs) for _, kwargs in theirs.asked] == [{"filter"}, set()]


def test_a_known_store_is_known_by_its_ancestors():
    class Mine(InMemoryVectorStore):
        pass

    class InMemoryVectorStoreOfMyOwn(Unknown):
        pass

    InMemoryVectorStoreOfMyOwn.__name__ = "InMemoryVectorStore"
    assert Capability.DENSE in LangChainVectorStore(Mine(MODEL)).capabilities
    mine = LangChainVectorStore(InMemoryVectorStoreOfMyOwn())
    assert Capability.DENSE not in mine.capabilities


@pytest.mark.parametrize("metric", [SimilarityMetric.COSINE, SimilarityMetric.EUCLIDEAN])
def test_the_metric_is_that_of_the_wrapped_store(metric):
    store = LangChainVectorStore(RagbridgeVectorStore(metric=metric))
    assert store.metric is metric


def test_rows_that_others_wrote_are_read():
    theirs = InMemoryVectorStore(MODEL)
    theirs.add_documents([Document("apple", id="a", metadata={"doc": "d", "n": [1, {"x": None}]})])
    plain, keyed = (LangChainVectorStore(theirs, document_id_key=key) for key in (None, "doc"))
    (row,) = plain.scan(include_embeddings=False)
    assert row == VectorEntry(
        id="a", chunk=TextChunk(content="apple", metadata={"doc": "d", "n": [1, {"x": None}]})
    )
    (row,) = keyed.scan(document_ids=["d"], include_embeddings=False)
    assert row.chunk == TextChunk(
        content="apple", document_id="d", metadata={"n": [1, {"x": None}]}
    )
    assert keyed.count(where("doc") == None) == 1  # noqa: E711 - it is no metadata here
    assert ids_of(keyed.query(VectorStoreQuery(text="x", filters=~where("doc").exists()))) == ["a"]


def test_others_see_rows_as_documents():
    theirs = InMemoryVectorStore(MODEL)
    store = LangChainVectorStore(theirs, document_id_key="doc")
    store.add([entry("a", "apple", document_id="d", metadata={"n": 1}), entry("b", deleted=True)])
    assert theirs.get_by_ids(["a"]) == [Document("apple", id="a", metadata={"n": 1, "doc": "d"})]
    assert ids_of(store.scan()) == ["a"]


@pytest.mark.parametrize("key", ["_ragbridge", "doc"])
def test_reserved_metadata_keys_are_refused(key):
    store = LangChainVectorStore(InMemoryVectorStore(MODEL), document_id_key="doc")
    with pytest.raises(InvalidDocumentError, match=key):
        store.add([entry("a"), entry("b", document_id="d", metadata={key: 1})])
    assert store.count() == 0


def test_filters_on_the_reserved_key_see_no_metadata():
    store = LangChainVectorStore(RagbridgeVectorStore())
    store.add([entry("a", document_id="d"), entry("b")])
    for filters in (where("_ragbridge").exists(), where("_ragbridge", "x") == 1):
        query = VectorStoreQuery(embedding=EAST, filters=filters)
        assert store.query(query) == []
        assert len(store.query(VectorStoreQuery(embedding=EAST, filters=~filters))) == 2


def test_errors_of_the_store_are_chained_and_show_nothing():
    class Failing(Unknown):
        def add_documents(self, documents, **kwargs):
            raise RuntimeError(documents[0].page_content)

    store = LangChainVectorStore(Failing())
    with pytest.raises(VectorStoreError, match="Failing failed with RuntimeError") as caught:
        store.add([entry("a", "a secret", None)])
    assert "secret" not in str(caught.value)
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_async_calls_use_the_store_s_own_async_methods():
    class Watched(InMemoryVectorStore):
        threads: list = []  # noqa: RUF012

        async def asimilarity_search_with_score(self, query, k=4, **kwargs):
            self.threads.append(threading.current_thread())
            return await super().asimilarity_search_with_score(query, k, **kwargs)

    async def use():
        store = LangChainVectorStore(Watched(MODEL))
        await store.aadd([entry("a", "apple", None)])
        return await store.aquery(VectorStoreQuery(text="apple"))

    assert ids_of(asyncio.run(use())) == ["a"]
    assert Watched.threads == [threading.main_thread()]


def test_a_store_made_for_sync_calls_is_called_so():
    class OneWay(Unknown):
        async_mode = False  # as PGVector has it

        async def aadd_documents(self, documents, **kwargs):
            raise AssertionError("made without async_mode")

    store = LangChainVectorStore(OneWay())
    assert asyncio.run(store.aadd([entry("a", "apple", None)])) == ["a"]


class PGVector(Unknown):
    """Gives the distances of pgvector's operators, as langchain-postgres does; no server is needed."""

    DISTANCES = {  # noqa: RUF012
        "cosine": lambda one, other: 1 - one @ other / np.linalg.norm(one) / np.linalg.norm(other),
        "l2": lambda one, other: np.linalg.norm(one - other),
        "inner": lambda one, other: -(one @ other),
    }

    def __init__(self, strategy):
        super().__init__()
        self._distance_strategy = strategy
        self.rows = []

    def add_embeddings(self, texts, embeddings, metadatas=None, ids=None, **kwargs):
        self.rows += zip(ids, texts, embeddings, metadatas, strict=True)

    def similarity_search_with_score_by_vector(self, embedding, k=4, filter=None):
        self.asked.append(filter)
        distance = self.DISTANCES[self._distance_strategy]
        scored = [
            (Document(text, id=row_id, metadata=metadata), distance(np.array(vector), embedding))
            for row_id, text, vector, metadata in self.rows
        ]
        return sorted(scored, key=lambda pair: pair[1])[:k]


PGVector.__module__ = "langchain_postgres.vectorstores"


@pytest.mark.parametrize(
    ("strategy", "metric", "scores"),
    [
        ("cosine", SimilarityMetric.COSINE, [1.0, 0.6]),
        ("l2", SimilarityMetric.EUCLIDEAN, [1.0, 1 / (1 + np.sqrt(20))]),
        ("inner", SimilarityMetric.DOT_PRODUCT, [1.0, 3.0]),
    ],
)
def test_scores_of_pgvector(strategy, metric, scores):
    theirs = PGVector(strategy)
    store = LangChainVectorStore(theirs)
    assert store.metric is metric
    store.add([entry("a"), entry("b", vector=[3.0, 4.0, 0.0, 0.0])])
    query = VectorStoreQuery(embedding=EAST, filters=where("n") != 1)
    found = {match.id: match.similarity_score for match in store.query(query)}
    assert found == pytest.approx(dict(zip("ab", scores, strict=True)))
    store.query(VectorStoreQuery(embedding=EAST, filters=where("n") == 1))
    assert theirs.asked == [None, {"n": {"$eq": 1}}]


def test_a_store_that_compares_otherwise_is_refused():
    with pytest.raises(InvalidConfigError, match=r"'hamming'.*cosine"):
        LangChainVectorStore(PGVector("hamming"))


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"store": "chroma"}, "store"),
        ({"filter_translator": {}}, "filter_translator"),
        ({"document_id_key": ""}, "document_id_key"),
        ({"document_id_key": 1}, "document_id_key"),
        ({"max_candidates": 0}, "max_candidates"),
        ({"max_candidates": 1.5}, "max_candidates"),
    ],
)
def test_bad_settings_are_refused(wrong, named):
    with pytest.raises(InvalidConfigError, match=named):
        LangChainVectorStore(**{"store": Unknown(), **wrong})
