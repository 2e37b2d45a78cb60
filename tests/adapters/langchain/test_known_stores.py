"""Real stores of other packages as core stores: their vectors, their scores, their filters."""

import uuid

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.embeddings import DeterministicFakeEmbedding

from ragbridge import (
    InvalidEmbeddingError,
    MetadataFilters,
    Operator,
    SimilarityMetric,
    TextChunk,
    UnsupportedFilterError,
    UnsupportedQueryError,
    VectorEntry,
    VectorStoreError,
    VectorStoreQuery,
    matches,
    where,
)
from ragbridge.langchain._pushdown import for_chroma, for_pgvector
from ragbridge.langchain.filters import from_langchain_filter, to_langchain_filter
from ragbridge.langchain.wrapped_store import LangChainVectorStore
from ragbridge.testing._strategies import filters

# What chromadb says to everyone who reads the configuration of a collection.
pytestmark = pytest.mark.filterwarnings("ignore:legacy embedding function:DeprecationWarning")

MODEL = DeterministicFakeEmbedding(size=4)
WORDS = ["apple", "fig", "pear", "plum"]
VECTORS = np.array(MODEL.embed_documents(WORDS), dtype=np.float32)
ASKED = np.array([1.0, 0.5, 0.0, -1.0], dtype=np.float32)
SPACES = {
    "cosine": SimilarityMetric.COSINE,
    "l2": SimilarityMetric.EUCLIDEAN,
    "ip": SimilarityMetric.DOT_PRODUCT,
}


def right_scores(metric):
    if metric is SimilarityMetric.EUCLIDEAN:
        return 1 / (1 + np.linalg.norm(VECTORS - ASKED, axis=1))
    products = VECTORS @ ASKED
    if metric is SimilarityMetric.DOT_PRODUCT:
        return products
    return products / np.linalg.norm(VECTORS, axis=1) / np.linalg.norm(ASKED)


def assert_scores_are_right(store):
    found = store.query(VectorStoreQuery(embedding=ASKED))
    scores = {match.chunk.content: match.similarity_score for match in found}
    wanted = dict(zip(WORDS, right_scores(store.metric).tolist(), strict=True))
    assert scores == pytest.approx(wanted, abs=1e-5)
    assert list(scores.values()) == sorted(scores.values(), reverse=True)
    best = store.query(VectorStoreQuery(text="fig", top_k=1))
    assert [match.chunk.content for match in best][:1] == ["fig"] or store.metric == "dot_product"


def entries(**metadata):
    return [
        VectorEntry(id=word, embedding=vector, chunk=TextChunk(content=word, metadata=metadata))
        for word, vector in zip(WORDS, VECTORS, strict=True)
    ]


@pytest.fixture(scope="module")
def chroma_client():
    import chromadb

    return chromadb.EphemeralClient(chromadb.Settings(anonymized_telemetry=False))


@pytest.fixture
def make_chroma(chroma_client):
    """A function that makes a wrapped, empty Chroma."""
    from langchain_chroma import Chroma

    def make(space="cosine", model=MODEL):
        return LangChainVectorStore(
            Chroma(
                f"test-{uuid.uuid4().hex}",
                embedding_function=model,
                client=chroma_client,
                collection_configuration={"hnsw": {"space": space}},
            )
        )

    return make


@pytest.mark.parametrize("space", SPACES)
def test_chroma_scores(make_chroma, space):
    store = make_chroma(space)
    assert store.metric is SPACES[space]
    store.add(entries(n=1))
    assert_scores_are_right(store)


def test_chroma_rows(make_chroma):
    store = make_chroma(model=None)  # ready vectors need no model
    given = VectorEntry(
        id="a",
        embedding=[0.0, 1.0, 0.0, 0.0],  # of other lengths Chroma gives back nearly the same
        chunk=TextChunk(
            content="", id="c", document_id="d", index=3, metadata={"n": 1, "l": ["x"]}
        ),
        framework_data={"deep": {"er": [None]}},
        deleted=True,
    )
    bare = VectorEntry(id="b", embedding=[1.0, 0.0, 0.0, 0.0], chunk=TextChunk(content="bare"))
    store.add([given, bare])
    assert sorted(store.scan(include_deleted=True), key=lambda row: row.id) == [given, bare]
    assert store.get(["b", "a"], include_deleted=True) == [bare, given]
    assert store.get(["a"]) == []
    assert [row.id for row in store.query(VectorStoreQuery(embedding=[1.0, 0, 0, 0]))] == ["b"]
    new = VectorEntry(
        id="a", embedding=[0, 0, 0, 1.0], chunk=TextChunk(content="new", metadata={"m": 2})
    )
    store.add([new])
    assert store.get(["a"]) == [new], "the old row must be gone whole"
    store.add([VectorEntry(id="a", embedding=[0, 0, 1.0, 0], chunk=TextChunk(content="bare"))])
    assert store.get(["a"])[0].chunk == TextChunk(content="bare")
    assert store.delete_by_filter(where("m").exists()) == 0
    assert store.delete_by_filter(ids=["a", "x"]) == 1
    store.delete(["x"])
    assert store.count() == 1
    store.clear()
    assert store.count() == 0


async def test_chroma_async(make_chroma):
    store = make_chroma()
    assert await store.aadd(entries(n=1)) == WORDS
    found = await store.aquery(VectorStoreQuery(embedding=ASKED, include_embeddings=True))
    assert {match.id for match in found} == set(WORDS)
    assert all(match.embedding is not None for match in found)
    assert await store.acount() == 4
    await store.aclear()
    assert [row async for row in store.ascan()] == []


def test_chroma_refuses_what_it_cannot_hold(make_chroma):
    store = make_chroma()
    with pytest.raises(VectorStoreError, match="Chroma failed with ValueError"):
        store.add(entries(nested={"a": 1}))
    store.add(entries())
    with pytest.raises(InvalidEmbeddingError, match="dimension"):
        store.query(VectorStoreQuery(embedding=[1.0, 2.0]))


_numbers = st.sampled_from([0, 1, -1, 1.0, 1.5, -0.5, 2**53, 2**53 + 1, 2.0**53])
_texts = st.sampled_from(["", "a", "A", "ab", "1", "true", "'", '"', "\\"])
_arrays = st.lists(_texts, min_size=1, max_size=3) | st.lists(
    st.integers(-2, 2), min_size=1, max_size=2
)
_keys = st.sampled_from(["a", "b", "A", "a b", "a.b", "id", "'", "naïve"])
_held = st.dictionaries(_keys, _numbers | _texts | st.booleans() | _arrays, max_size=4)


def test_chroma_filters(make_chroma):
    store = make_chroma()

    @given(st.lists(_held, min_size=1, max_size=10), st.lists(filters(), min_size=1, max_size=10))
    def check(stored, asked):
        store.clear()
        rows = {str(number): data for number, data in enumerate(stored)}
        store.add(
            [
                VectorEntry(
                    id=name,
                    embedding=MODEL.embed_query(name),
                    chunk=TextChunk(content="", metadata=data),
                )
                for name, data in rows.items()
            ]
        )
        for condition in asked:
            wanted = {name for name, data in rows.items() if matches(condition, data)}
            query = VectorStoreQuery(embedding=ASKED, filters=condition, top_k=-1)
            assert {match.id for match in store.query(query)} == wanted
            pushed = for_chroma(condition)
            if pushed is not None:
                assert set(store.store.get(where=pushed)["ids"]) >= wanted, pushed
            some = VectorStoreQuery(embedding=ASKED, filters=condition, top_k=2)
            assert len(store.query(some)) == min(2, len(wanted))

    check()


@pytest.mark.parametrize(
    ("condition", "pushed"),
    [
        (where("a") == 1, {"a": {"$eq": 1}}),
        (where("a") != "x", {"a": {"$ne": "x"}}),
        (where("a").in_([1, "x"]), {"$or": [{"a": {"$eq": 1}}, {"a": {"$eq": "x"}}]}),
        (where("a").in_([1]), {"a": {"$eq": 1}}),
        (~where("a").in_([1, 2]), {"$and": [{"a": {"$ne": 1}}, {"a": {"$ne": 2}}]}),
        (where("a").contains("x"), {"a": {"$contains": "x"}}),
        (where("a") >= 1.5, {"a": {"$gte": 1.5}}),
        ((where("a") > 1) & (where("a") < 5), {"$and": [{"a": {"$gt": 1}}, {"a": {"$lt": 5}}]}),
        ((where("a") == 1) & where("b").exists(), {"a": {"$eq": 1}}),
        ((where("a") == 1) | where("b").exists(), None),
        (~(where("a") > 1), None),
        (where("a") > "x", None),
        (where("a", "b") == 1, None),
        (where("$a") == 1, None),
        (where("a") == 2**53 + 1, None),
        (MetadataFilters(), None),
        (None, None),
    ],
    ids=str,
)
def test_what_chroma_is_told(condition, pushed):
    assert for_chroma(condition) == pushed


_ROWS = st.lists(_held, min_size=1, max_size=10)


@given(condition=filters(), rows=_ROWS)
def test_what_pgvector_is_told_is_never_less_than_the_filter_means(condition, rows):
    told = for_pgvector(condition)
    if told is None:
        return
    meant = from_langchain_filter(told)
    for data in rows:
        assert matches(meant, data) or not matches(condition, data)


def test_pgvector_is_told_no_more_than_it_says_as_we_do():
    asked = (where("a") == 1) & (where("b") > 2) & (where("a b") == 1) & (where("c") != 1)
    assert for_pgvector(asked) == {"$and": [{"a": {"$eq": 1}}, {"b": {"$gt": 2}}]}
    assert for_pgvector(where("naïve") == 1) is None
    assert for_pgvector(where("a").text_match("x")) is None


def test_a_translator_for_a_store_that_takes_the_dialect(make_chroma):
    plain = make_chroma()
    told = []

    def translate(condition):
        told.append(to_langchain_filter(condition))
        return told[-1]

    store = LangChainVectorStore(plain.store, filter_translator=translate)
    store.add(entries(n=1))
    for condition in (where("n") == 1, where("n").is_empty()):
        query = VectorStoreQuery(embedding=ASKED, filters=condition)
        wanted = 4 if condition.operator is Operator.EQ else 0
        assert len(store.query(query)) == wanted
    assert told == [{"n": {"$eq": 1}}]


# The stores below are not among the test dependencies: they are looked at where they are installed.


@pytest.fixture(params=["EUCLIDEAN_DISTANCE", "MAX_INNER_PRODUCT", "COSINE"])
def faiss(request):
    community = pytest.importorskip("langchain_community.vectorstores", reason="no FAISS here")
    pytest.importorskip("faiss", reason="no FAISS here")
    from langchain_community.vectorstores.utils import DistanceStrategy

    return community.FAISS.from_texts(
        ["old"], MODEL, [{}], ids=["fig"], distance_strategy=DistanceStrategy[request.param]
    )


def test_faiss(faiss):
    store = LangChainVectorStore(faiss)
    store.add(entries(n=1))
    assert_scores_are_right(store)
    assert len(store.query(VectorStoreQuery(embedding=ASKED, filters=where("n") == 1))) == 4
    store.delete(["fig", "x"])
    assert [row.chunk.content for row in store.get(["fig", "plum"])] == ["plum"]
    with pytest.raises(UnsupportedQueryError, match="FAISS"):
        store.count()


@pytest.mark.parametrize("distance", ["COSINE", "EUCLID", "DOT"])
def test_qdrant(distance):
    langchain_qdrant = pytest.importorskip("langchain_qdrant", reason="no Qdrant here")
    qdrant_client = pytest.importorskip("qdrant_client", reason="no Qdrant here")
    kind = qdrant_client.models.Distance[distance]
    client = qdrant_client.QdrantClient(":memory:")
    client.create_collection(
        "x", vectors_config=qdrant_client.models.VectorParams(size=4, distance=kind)
    )
    theirs = langchain_qdrant.QdrantVectorStore(client, "x", MODEL, distance=kind)
    ids = theirs.add_texts(WORDS, [{"n": n} for n in range(4)])
    store = LangChainVectorStore(theirs)
    assert_scores_are_right(store)
    (row,) = store.query(VectorStoreQuery(embedding=ASKED, filters=where("n") == 1))
    assert (row.id.replace("-", ""), row.chunk.metadata) == (ids[1], {"n": 1})
    with pytest.raises(InvalidEmbeddingError, match="reembed"):
        store.add(entries())
    narrow = LangChainVectorStore(theirs, max_candidates=1)
    with pytest.raises(UnsupportedFilterError, match="1 candidates"):
        narrow.query(VectorStoreQuery(embedding=ASKED, filters=where("n") == 9, top_k=1))
