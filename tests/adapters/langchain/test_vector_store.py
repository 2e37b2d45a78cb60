"""A core store as LangChain's: what the standard suite does not ask."""

import copy
import pickle
from copy import deepcopy

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.structured_query import Comparator, Comparison

from ragbridge import (
    Capability,
    HashingEmbeddingProvider,
    InvalidConfigError,
    InvalidDocumentError,
    InvalidEmbeddingError,
    InvalidFilterError,
    InvalidInputError,
    InvalidQueryError,
    RRFRanker,
    SimilarityMetric,
    SparseVector,
    UnsupportedQueryError,
    VectorEntry,
    VectorKnowledgeBase,
    VectorStoreQuery,
    WeightedRanker,
    where,
)
from ragbridge.documents import Chunk, TextChunk, TextDocument
from ragbridge.embeddings import BinaryVector
from ragbridge.langchain import RagbridgeEmbeddings, RagbridgeVectorStore
from ragbridge.stores.memory import InMemoryVectorStore
from recording import HybridProvider, RecordingProvider, RecordingStore, SparseProvider

TEXTS = {
    "tea": "Green tea is brewed at eighty degrees",
    "coffee": "Espresso coffee is brewed under pressure",
    "bread": "Sourdough bread rises overnight",
    "bike": "A gravel bike rolls over rough roads",
}
ODD = {
    "id": "not the id",
    "text": "not the text",
    "pk": 7,
    "vector": [1, 2],
    "a b": True,
    "naïve": "é\n\"'\\",
    "nested": {"deep": [{"er": None}], "n": 1.5},
    "list": [1, "two", None],
    "none": None,
    "": "empty",
    "big": 2**60,
}


def documents():
    return [
        Document(id=name, page_content=text, metadata={"place": place, "name": name})
        for place, (name, text) in enumerate(TEXTS.items())
    ]


@pytest.fixture
def core(backend):
    store = backend.empty_store(metric=SimilarityMetric.COSINE, holds="langchain_64")
    yield store
    store.close()


@pytest.fixture
def store(core):
    return RagbridgeVectorStore(core, HashingEmbeddingProvider(64))


@pytest.fixture
def filled(store):
    store.add_documents(documents())
    return store


@pytest.fixture
def recorded():
    """A store in memory, and a provider, that keep a record."""
    store = RagbridgeVectorStore(RecordingStore(), RecordingProvider())
    store.add_documents(documents())
    store.store.calls.clear()
    return store


def ids(found):
    return [document.id for document in found]


def names(found):
    return {document.id for document in found}


# --- adding


def test_ids_are_those_of_the_argument_then_those_of_the_documents_then_new_ones(store):
    given = [Document(id="own", page_content="a"), Document(page_content="b")]
    own, new = store.add_documents(given)
    assert own == "own"
    assert isinstance(new, str)
    assert len(new) == 36
    assert store.add_documents(given, ids=["x", None])[0] == "x"
    assert ids(store.get_by_ids(["x", "own", new])) == ["x", "own", new]
    assert given == [Document(id="own", page_content="a"), Document(page_content="b")]


def test_the_same_id_is_replaced(store):
    store.add_texts(["old"], [{"a": 1}], ids=["x"])
    store.add_texts(["older", "new"], [{"b": 2}, {"c": 3}], ids=["x", "x"])
    assert store.get_by_ids(["x"]) == [Document(id="x", page_content="new", metadata={"c": 3})]


async def test_iterables_are_taken(store):
    one = store.add_documents((each for each in documents()[:2]), ids=iter(["a", "b"]))
    two = await store.aadd_texts(iter(["x", "y"]), iter([{"n": 1}, {"n": 2}]), ids=iter("cd"))
    assert (one, two) == (["a", "b"], ["c", "d"])
    assert [each.metadata for each in store.get_by_ids(["c", "d"])] == [{"n": 1}, {"n": 2}]


@pytest.mark.parametrize("batch_size", [1, 3, 100])
async def test_a_batch_size_is_how_many_are_embedded_at_once(batch_size):
    store = RagbridgeVectorStore(RecordingStore(), provider := RecordingProvider())
    store.add_documents(documents(), batch_size=batch_size)
    await store.aadd_documents(documents(), batch_size=batch_size)
    expected = {1: [1] * 4, 3: [3, 1], 100: [4]}[batch_size]
    assert provider.batches == expected * 2
    assert len(store.store.named("add")) == 2


def test_nothing_is_nothing(store):
    assert store.add_documents([]) == store.add_texts([]) == []
    assert store.add_texts([], [], ids=[]) == []
    assert store.similarity_search("anything") == []


async def test_metadata_come_back_exactly(store):
    document = Document(page_content="Odd keys", metadata=ODD)
    before = deepcopy(document)
    (given_id,) = store.add_documents([document])
    assert document == before
    found = [
        store.get_by_ids([given_id])[0],
        store.similarity_search("odd", k=1)[0],
        (await store.asimilarity_search_with_score("odd", k=1))[0][0],
        store.max_marginal_relevance_search("odd", k=1)[0],
    ]
    for each in found:
        assert each.metadata == ODD
        assert [type(value) for value in each.metadata.values()] == [
            type(ODD[key]) for key in each.metadata
        ]
        assert (each.id, each.page_content) == (given_id, "Odd keys")
        each.metadata["nested"]["deep"].append("changed")  # which is no business of the store
    assert store.get_by_ids([given_id])[0].metadata == ODD


async def test_embeddings_that_are_there_are_taken(store):
    vectors = np.eye(64, dtype=np.float32)[:3]
    assert store.add_embeddings(["a", "b"], vectors[:2], [{"n": 1}, {"n": 2}], ids=["a", "b"]) == [
        "a",
        "b",
    ]
    await store.aadd_embeddings(["c"], [vectors[2].tolist()], ids=["c"])
    assert ids(store.similarity_search_by_vector(vectors[1].tolist(), k=1)) == ["b"]
    assert ids(await store.asimilarity_search_by_vector(vectors[2], k=1)) == ["c"]


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda store: store.add_texts(["a", "b"], [{}]), "metadatas must be one for each text"),
        (lambda store: store.add_texts(["a", "b"], ids=["1"]), "ids must be one for each text"),
        (lambda store: store.add_texts(["a"], ids=["1", "2"]), "2 of them and 1 texts"),
        (lambda store: store.add_texts("abc"), "texts must be a list, not str 'abc'"),
        (lambda store: store.add_texts(["a"], {"b": 1}), "metadatas must be a list"),
        (lambda store: store.add_texts(["a"], ids="x"), "ids must be a list"),
        (lambda store: store.add_texts(["a"], ids=[3]), "id must be a non-empty string, not int 3"),
        (lambda store: store.add_texts(["a"], ids=[""]), "id must be a non-empty string"),
        (lambda store: store.add_texts(["a"], batch_size=0), "batch_size must be a positive"),
        (lambda store: store.add_texts(["a"], timeout=3), "unknown argument 'timeout'"),
        (lambda store: store.add_documents([Document("a")], ids=[]), "ids must be one for each"),
        (lambda store: store.add_documents(Document("a")), "documents must be a list"),
        (lambda store: store.add_documents([Document("a")], wait=1), "unknown argument 'wait'"),
        (lambda store: store.add_embeddings(["a"], []), "embeddings must be one for each text"),
        (lambda store: store.add_embeddings(["a"], [["x"]]), "embedding must be a flat"),
        (lambda store: store.add_embeddings(["a"], [[0.1, 0.2]]), "dimension"),
    ],
)
def test_what_cannot_be_added_is_refused_and_nothing_is_written(filled, call, named):
    with pytest.raises(ValueError, match=named) as caught:
        call(filled)
    assert isinstance(caught.value, InvalidInputError)
    assert filled.store.count() == 4


def test_a_document_that_cannot_be_stored_is_named(recorded):
    for wrong in ("no document", {"page_content": "a"}):
        with pytest.raises(InvalidDocumentError, match=r"documents\[1\] must be a LangChain Doc"):
            recorded.add_documents([Document("a"), wrong])
    with pytest.raises(InvalidDocumentError, match=r"texts\[1\]: .*'when'"):
        recorded.add_documents([Document("a"), Document("b", metadata={"when": object()})])
    with pytest.raises(InvalidDocumentError, match=r"texts\[0\]"):
        recorded.add_texts([3])
    assert recorded.store.named("add") == []
    assert recorded.embeddings.provider.batches == [4]  # nor was anything embedded


# --- making


async def test_a_store_is_made_of_texts_or_documents(core):
    embedding = DeterministicFakeEmbedding(size=64)
    made = RagbridgeVectorStore.from_texts(
        ["a", "b"], embedding, [{"n": 1}, {"n": 2}], ids=["1", "2"], store=core
    )
    assert made.store is core
    assert made.embeddings is embedding
    assert made.get_by_ids(["2"])[0].metadata == {"n": 2}
    await RagbridgeVectorStore.afrom_texts(["c"], embedding, ids=["3"], store=core)
    RagbridgeVectorStore.from_documents(iter(documents()), embedding, store=core, batch_size=2)
    await RagbridgeVectorStore.afrom_documents([Document("d")], embedding, ids=["4"], store=core)
    assert core.count() == 8
    assert ids(made.get_by_ids(["1", "3", "4", "tea"])) == ["1", "3", "4", "tea"]


def test_a_store_is_in_memory_by_default():
    made = RagbridgeVectorStore.from_texts(["a"], HashingEmbeddingProvider(8), metric="euclidean")
    assert isinstance(made.store, InMemoryVectorStore)
    assert made.store.metric is SimilarityMetric.EUCLIDEAN


async def test_a_store_is_made_at_an_address(tmp_path):
    uri, embedding = str(tmp_path / "rows.db"), HashingEmbeddingProvider(8)
    made = RagbridgeVectorStore.from_texts(["a"], embedding, store=uri, collection_name="texts")
    same = RagbridgeVectorStore(embedding=embedding, uri=uri, collection_name="texts")
    assert same.similarity_search("a")[0].page_content == "a"
    assert same.store.collection_name == "texts"
    other = await RagbridgeVectorStore.afrom_texts(["b"], embedding, uri=uri, collection_name="b")
    for each in (made, same, other):
        each.store.close()


async def test_a_store_that_could_not_be_filled_is_closed():
    closed = []

    class Store(InMemoryVectorStore):
        def close(self):
            closed.append(self)
            super().close()

    class Made(RagbridgeVectorStore):
        def __init__(self, store, embedding):
            super().__init__(store or Store(), embedding)

    for store in (None, given := Store()):
        with pytest.raises(InvalidDocumentError):
            Made.from_texts([None], HashingEmbeddingProvider(8), store=store)
        with pytest.raises(InvalidDocumentError):
            await Made.afrom_documents([None], HashingEmbeddingProvider(8), store=store)
    assert len(closed) == 2
    assert given not in closed


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"embedding": "model"}, "embedding must be a LangChain Embeddings"),
        ({"search_mode": "magic"}, "search_mode must be one of dense"),
        ({"search_mode": "hybrid"}, "search_mode 'hybrid' needs an embedding_provider"),
        ({"ranker": "rrf"}, "ranker must be an RRFRanker"),
        ({"document_id_key": 3}, "document_id_key must be a string"),
        ({"store": 3}, "config"),
        ({"store": InMemoryVectorStore(), "metric": "cosine"}, "metric can only be given where"),
        ({"metrics": "cosine"}, "metrics"),
    ],
)
def test_wrong_settings_are_refused(arguments, named):
    with pytest.raises(ValueError, match=named) as caught:
        RagbridgeVectorStore(**arguments)
    assert isinstance(caught.value, InvalidConfigError | InvalidQueryError)


# --- deleting and reading


async def test_deleting(filled):
    assert filled.delete(["tea", "unknown"]) is True
    assert await filled.adelete("bread") is True
    assert filled.get_by_ids(["tea", "bike", "bread"])[0].id == "bike"
    filled.delete(filter={"name": "bike"})
    await filled.adelete(["coffee", "x"], filter=where("place") > 100)
    assert filled.store.count() == 1
    filled.delete([])
    filled.delete(["coffee", "x"], filter=where("place") < 100)
    assert filled.store.count() == 0


async def test_delete_needs_to_know_what(filled):
    for wrong in ({}, {"ids": None}, {"filter": {}}, {"filter": None}):
        with pytest.raises(InvalidQueryError, match=r"clear\(\) empties"):
            filled.delete(**wrong)
        with pytest.raises(InvalidQueryError, match=r"clear\(\) empties"):
            await filled.adelete(**wrong)
    with pytest.raises(InvalidQueryError, match="ids must be a non-empty string"):
        filled.delete("")
    with pytest.raises(InvalidQueryError, match="unknown argument 'expr': there are filter, ids"):
        filled.delete(expr="place > 1")
    assert filled.store.count() == 4
    filled.clear()
    assert filled.store.count() == 0
    await filled.aadd_texts(["again"])
    await filled.aclear()
    assert filled.store.count() == 0


async def test_documents_are_read_in_the_order_asked(filled):
    assert ids(filled.get_by_ids(["bike", "no", "tea", "tea"])) == ["bike", "tea"]
    assert ids(await filled.aget_by_ids(["bread", "tea"])) == ["bread", "tea"]
    assert filled.get_by_ids([]) == []


async def test_rows_of_the_core_are_found_and_deleted_ones_are_not(core, store):
    base = VectorKnowledgeBase(core, HashingEmbeddingProvider(64), chunker=None)
    base.ingest([TextDocument(id=name, content=text) for name, text in TEXTS.items()])
    base.mark_deleted("tea")
    found = store.similarity_search("tea", k=10)
    assert {each.page_content for each in found} == set(TEXTS.values()) - {TEXTS["tea"]}
    assert all(isinstance(each.id, str) and each.metadata == {} for each in found)
    assert len(await store.asimilarity_search("tea", k=10)) == 3


def test_content_that_is_no_text(core, store):
    vector = np.ones(64, np.float32)
    core.add([VectorEntry(id="json", embedding=vector, chunk=Chunk(content={"a": [1, "é"]}))])
    assert store.get_by_ids(["json"])[0].page_content == '{"a": [1, "é"]}'
    core.add([VectorEntry(id="png", embedding=vector, chunk=Chunk(content=b"\x89PNG"))])
    with pytest.raises(InvalidDocumentError, match="holds bytes, but LangChain documents are text"):
        store.get_by_ids(["png"])


async def test_the_document_id_stands_under_its_key_if_one_is_given(core, store):
    keyed = RagbridgeVectorStore(core, HashingEmbeddingProvider(64), document_id_key="source")
    keyed.add_documents(
        [
            Document("a", id="1", metadata={"source": "a.md", "n": 1}),
            Document("b", id="2", metadata={"n": 2}),
        ]
    )
    assert [row.chunk.document_id for row in core.get(["1", "2"])] == ["a.md", None]
    core.add(
        [
            VectorEntry(
                id="3",
                embedding=np.ones(64, np.float32),
                chunk=TextChunk(content="c", document_id="c.md", metadata={"n": 3}),
            )
        ]
    )
    assert [each.metadata for each in keyed.get_by_ids(["1", "2", "3"])] == [
        {"source": "a.md", "n": 1},
        {"n": 2},
        {"source": "c.md", "n": 3},
    ]
    assert store.get_by_ids(["3"])[0].metadata == {"n": 3}
    assert ids(await keyed.asimilarity_search("a", filter={"source": "a.md"})) == ["1"]
    with pytest.raises(InvalidDocumentError, match="id must be a string"):
        keyed.add_texts(["d"], [{"source": 3}])


# --- searching


async def test_every_search_has_a_native_twin(filled):
    vector = filled.embeddings.embed_query("gravel bike")
    for method, argument in {
        "similarity_search": "gravel bike",
        "similarity_search_with_score": "gravel bike",
        "similarity_search_with_relevance_scores": "gravel bike",
        "max_marginal_relevance_search": "gravel bike",
        "similarity_search_by_vector": vector,
        "similarity_search_with_score_by_vector": vector,
        "max_marginal_relevance_search_by_vector": vector,
    }.items():
        found = getattr(filled, method)(argument, k=2, filter=where("place") != 3)
        assert found == await getattr(filled, f"a{method}")(
            argument, k=2, filter=where("place") != 3
        )
        assert len(found) == 2
        best = getattr(filled, method)(argument, 1)[0]
        document = best[0] if isinstance(best, tuple) else best
        assert document == documents()[3]
    for kind in ("similarity", "mmr"):
        assert ids(filled.search("gravel bike", kind, k=1)) == ["bike"]
        assert ids(await filled.asearch("gravel bike", kind, k=1)) == ["bike"]


def test_every_method_that_waits_has_a_twin():
    ours = {name for name in vars(RagbridgeVectorStore) if not name.startswith("_")}
    twins = {name for name in ours if f"a{name}" in ours}
    assert ours - twins - {f"a{name}" for name in twins} == {
        "as_retriever", "embeddings", "retriever",
    }  # fmt: skip


async def test_async_calls_reach_the_cores_async_methods():
    class Native(InMemoryVectorStore):
        async def aadd(self, entries):
            return InMemoryVectorStore.add(self, entries)

        async def aquery_many(self, queries):
            return InMemoryVectorStore.query_many(self, queries)

        def add(self, entries):
            raise AssertionError("add, though the call was async")

        def query_many(self, queries):
            raise AssertionError("query_many, though the call was async")

    store = RagbridgeVectorStore(Native(), HashingEmbeddingProvider(64))
    await store.aadd_documents(documents())
    assert ids(await store.asimilarity_search("gravel bike", 1)) == ["bike"]
    assert ids(await store.as_retriever(search_kwargs={"k": 1}).ainvoke("tea")) == ["tea"]


@pytest.mark.parametrize(
    "filter",
    [
        where("place") >= 2,
        {"place": {"$gte": 2}},
        Comparison(comparator=Comparator.GTE, attribute="place", value=2),
    ],
    ids=["core", "dict", "structured query"],
)
def test_a_filter_in_three_dialects(filled, filter):
    assert names(filled.similarity_search("brewed", k=4, filter=filter)) == {"bread", "bike"}
    assert names(filled.max_marginal_relevance_search("brewed", filter=filter)) == {
        "bread",
        "bike",
    }
    retriever = filled.as_retriever(search_kwargs={"filter": filter})
    assert names(retriever.invoke("brewed")) == {"bread", "bike"}
    filled.delete(filter=filter)
    assert filled.store.count() == 2


@pytest.mark.parametrize(
    "wrong", [{"place": {"$near": 2}}, {"$xor": []}, "place > 2", 3, {"place": {"$in": 3}}]
)
async def test_a_filter_without_meaning_is_refused(filled, wrong):
    for call in (
        lambda: filled.similarity_search("tea", filter=wrong),
        lambda: filled.delete(filter=wrong),
        lambda: filled.similarity_search_by_vector([1.0] * 64, filter=wrong),
    ):
        with pytest.raises(InvalidFilterError):
            call()
    assert filled.store.count() == 4


@pytest.mark.stores("milvus-lite", "milvus")
async def test_an_expression_of_the_engine_is_passed_on(filled):
    expression = "metadata['place'] >= 2"
    assert names(filled.similarity_search("tea", expr=expression)) == {"bread", "bike"}
    assert names(await filled.asimilarity_search("tea", options={"expr": expression})) == {
        "bread",
        "bike",
    }
    both = filled.similarity_search_by_vector([1.0] * 64, expr=expression, filter={"name": "bike"})
    assert ids(both) == ["bike"]
    with pytest.raises(InvalidQueryError, match="expr"):
        filled.similarity_search("tea", expr="metadata['place'] >= (2")


def test_an_expression_is_refused_where_there_is_no_engine(recorded):
    for call in (recorded.similarity_search, recorded.max_marginal_relevance_search):
        with pytest.raises(UnsupportedQueryError, match="does not know the option 'expr'"):
            call("tea", expr="place >= 2")


@pytest.mark.parametrize("metric", ["cosine", "euclidean", "dot_product"])
async def test_scores_are_the_cores_and_relevance_is_by_the_metric(make_store, metric):
    core = make_store(metric=metric)
    store = RagbridgeVectorStore(core, HashingEmbeddingProvider(64))
    store.add_documents(documents())
    scored = store.similarity_search_with_score("gravel bike", k=4)
    vector = store.embeddings.embed_query("gravel bike")
    expected = core.query(VectorStoreQuery(embedding=vector, top_k=4))
    assert [(each.id, score) for each, score in scored] == [
        (match.id, pytest.approx(match.similarity_score, abs=1e-5)) for match in expected
    ]
    relevant = store.similarity_search_with_relevance_scores("gravel bike", k=4)
    assert relevant == await store.asimilarity_search_with_relevance_scores("gravel bike", k=4)
    function = store._select_relevance_score_fn()
    assert [score for _, score in relevant] == pytest.approx([function(s) for _, s in scored], 1e-4)
    assert all(0 <= score <= 1 for _, score in relevant)
    middle = (relevant[0][1] + relevant[1][1]) / 2
    above = store.similarity_search_with_relevance_scores("gravel bike", score_threshold=middle)
    assert [each.id for each, _ in above] == ["bike"]
    retriever = store.as_retriever(
        search_type="similarity_score_threshold", search_kwargs={"score_threshold": middle}
    )
    assert (
        ids(retriever.invoke("gravel bike"))
        == ids(await retriever.ainvoke("gravel bike"))
        == ["bike"]
    )


@pytest.mark.parametrize("wrong", ["0.5", None, -0.1, 1.1, float("nan"), True, [0.5]])
def test_a_score_threshold_is_a_number_from_0_to_1(recorded, wrong):
    with pytest.raises(ValueError, match="score_threshold must be a number from 0 to 1") as caught:
        recorded.as_retriever(
            search_type="similarity_score_threshold", search_kwargs={"score_threshold": wrong}
        )
    assert isinstance(caught.value, InvalidQueryError)
    if wrong is not None:
        with pytest.raises(InvalidQueryError, match="score_threshold must be a number"):
            recorded.similarity_search_with_relevance_scores("tea", score_threshold=wrong)


def test_relevance_is_refused_where_scores_have_no_range(recorded):
    full_text = RagbridgeVectorStore(recorded.store)
    sparse = RagbridgeVectorStore.from_documents(documents(), SparseProvider())
    for call in (
        lambda: recorded.similarity_search_with_relevance_scores("tea", search_mode="hybrid"),
        lambda: recorded.similarity_search_with_relevance_scores("tea", search_mode="full_text"),
        lambda: full_text.similarity_search_with_relevance_scores("tea"),
        lambda: sparse.similarity_search_with_relevance_scores("tea"),
        full_text._select_relevance_score_fn,
        RagbridgeVectorStore(
            recorded.store, recorded.embeddings, search_mode="hybrid"
        )._select_relevance_score_fn,
    ):
        with pytest.raises(ValueError, match="relevance scores are for searches by dense vectors"):
            call()


def test_relevance_of_binary_vectors():
    class Bits(HashingEmbeddingProvider):
        def batch_embed(self, chunks):
            dense = super().batch_embed(chunks)
            return [BinaryVector.from_bits((vector > 0).astype(int)) for vector in dense]

    store = RagbridgeVectorStore.from_documents(documents(), Bits(64), metric="hamming")
    (best, score), *_ = store.similarity_search_with_relevance_scores(TEXTS["tea"])
    assert (best.id, score) == ("tea", 1.0)
    with pytest.raises(UnsupportedQueryError, match="compares dense vectors"):
        store.max_marginal_relevance_search("tea")


def test_mmr_is_one_search_and_one_embedding(recorded):
    provider = recorded.embeddings.provider
    recorded.max_marginal_relevance_search("brewed tea", k=2, fetch_k=3, lambda_mult=0.3)
    ((query,),) = recorded.store.named("query_many")
    assert (query.top_k, query.include_embeddings) == (3, True)
    assert provider.query_batches == [["brewed tea"]]
    recorded.max_marginal_relevance_search_by_vector(np.ones(64), k=2, fetch_k=1)
    assert [query.top_k for (query,) in recorded.store.named("query_many")] == [3, 2]


def test_a_wrong_argument_costs_no_embedding(recorded):
    for wrong in ({"lambda_mult": 2}, {"k": 0}, {"filter": 3}, {"expr": 3, "magic": 1}):
        with pytest.raises(ValueError, match=next(reversed(wrong))):
            recorded.max_marginal_relevance_search("tea", **wrong)
    assert recorded.embeddings.provider.query_batches == []


def test_mmr_prefers_what_is_different(store):
    store.add_embeddings(
        ["a", "a again", "b"],
        [[1.0, 0.1] + [0.0] * 62, [1.0, 0.11] + [0.0] * 62, [0.5, -1.0] + [0.0] * 62],
        ids=["a", "a2", "b"],
    )
    query = [1.0, 0.0] + [0.0] * 62
    assert ids(store.similarity_search_by_vector(query, k=2)) == ["a", "a2"]
    chosen = store.max_marginal_relevance_search_by_vector(query, k=2, lambda_mult=0.1)
    assert ids(chosen) == ["a", "b"]
    likest = store.max_marginal_relevance_search_by_vector(query, k=2, lambda_mult=1.0)
    assert ids(likest) == ["a", "a2"]


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda store: store.similarity_search("tea", k=0), "k must be a positive integer"),
        (lambda store: store.similarity_search("tea", k=-1), "k must be a positive integer"),
        (lambda store: store.similarity_search("tea", k="3"), "k must be a positive integer"),
        (lambda store: store.similarity_search("tea", k=True), "k must be a positive integer"),
        (lambda store: store.similarity_search_by_vector([0.1] * 64, k=0), "k must be"),
        (lambda store: store.similarity_search_with_relevance_scores("tea", k=0), "k must be"),
        (lambda store: store.max_marginal_relevance_search("tea", k=-2), "k must be"),
        (lambda store: store.max_marginal_relevance_search("tea", fetch_k=0), "fetch_k must be"),
        (lambda store: store.max_marginal_relevance_search("a", lambda_mult=2), "lambda_mult must"),
        (lambda store: store.similarity_search(" "), "query must not be blank"),
        (lambda store: store.similarity_search(3), "query must be a string"),
        (lambda store: store.similarity_search("tea", fetch_k=3), "max_marginal_relevance_search"),
        (lambda store: store.similarity_search("tea", score_threshold=0.5), "relevance_scores"),
        (lambda store: store.similarity_search("tea", top_k=3), "unknown argument 'top_k'"),
        (lambda store: store.similarity_search("tea", search_mode="magic"), "search_mode must be"),
        (lambda store: store.similarity_search("tea", ranker="rrf"), "ranker must be"),
        (lambda store: store.similarity_search("tea", min_score="high"), "min_score must be"),
        (lambda store: store.similarity_search("tea", options=["expr"]), "options must be a map"),
        (lambda store: store.similarity_search("tea", options={"magic": 1}), "magic"),
        (lambda store: store.similarity_search("tea", search_mode="sparse"), "no sparse vector"),
        (lambda store: store.similarity_search_by_vector([0.1] * 3), "dimension 3"),
        (lambda store: store.similarity_search_by_vector(None), "embedding must be a vector"),
        (lambda store: store.similarity_search_by_vector("tea"), "embedding must be"),
        (
            lambda store: store.similarity_search_by_vector([0.1], search_mode="dense"),
            "unknown arg",
        ),
        (lambda store: store.search("tea", "magic"), "search_type must be one of similarity"),
        (lambda store: store.as_retriever(search_type="magic"), "search_type must be one of"),
        (lambda store: store.as_retriever(k=3), "unknown argument 'k'"),
    ],
)
def test_wrong_searches_are_refused_by_name(recorded, call, named):
    with pytest.raises(ValueError, match=named):
        call(recorded)


# --- other ways to search


@pytest.fixture
def searchable(make_store):
    """Made where texts are searched too; skipped where the engine cannot."""
    core = make_store()
    if Capability.FULL_TEXT not in core.capabilities:
        pytest.skip("no full text there")
    store = RagbridgeVectorStore(core, HashingEmbeddingProvider(64))
    store.add_documents(documents())
    return store


@pytest.mark.stores("memory", "milvus-lite")
async def test_full_text_and_hybrid_by_keyword_or_constructor(searchable):
    by_words = searchable.similarity_search("espresso", search_mode="full_text")
    assert ids(by_words) == ["coffee"]
    hybrid = searchable.similarity_search_with_score(
        "gravel bike", k=1, search_mode="hybrid", ranker=RRFRanker(k=10)
    )
    assert [(each.id, score) for each, score in hybrid] == [("bike", pytest.approx(2 / 11))]
    of_it = RagbridgeVectorStore(
        searchable.store,
        searchable.embeddings,
        search_mode="hybrid",
        ranker=WeightedRanker([0.0, 1.0]),
    )
    scored = await of_it.asimilarity_search_with_score("espresso", k=2)
    assert [each.id for each, score in scored if score > 0] == ["coffee"]
    assert of_it.similarity_search("espresso", search_mode="dense", ranker=RRFRanker(), k=1)
    chosen = of_it.max_marginal_relevance_search("gravel bike", k=2)
    assert "bike" in ids(chosen)
    retriever = of_it.as_retriever(search_kwargs={"search_mode": "full_text"})
    assert ids(await retriever.ainvoke("sourdough")) == ["bread"]


@pytest.mark.stores("memory", "milvus-lite")
async def test_full_text_needs_no_embeddings(make_store):
    core = make_store()
    store = RagbridgeVectorStore(core)
    assert store.embeddings is None
    store.add_documents(documents())
    assert ids(store.similarity_search("espresso")) == ["coffee"]
    assert ids(await store.asimilarity_search("gravel", filter={"place": 3})) == ["bike"]
    assert store.as_retriever().tags == ["RagbridgeVectorStore"]
    with pytest.raises(UnsupportedQueryError, match="compares dense vectors"):
        store.max_marginal_relevance_search("tea")


@pytest.mark.stores("memory", "milvus-lite")
def test_sparse_and_hybrid_vectors(make_store):
    sparse = RagbridgeVectorStore(make_store(), SparseProvider())
    sparse.add_documents(documents())
    assert ids(sparse.similarity_search("gravel bike", 1)) == ["bike"]
    assert ids(sparse.similarity_search_by_vector(SparseVector([0], [1.0]), 1)) == []
    hybrid = RagbridgeVectorStore(make_store(), HybridProvider(64))
    hybrid.add_documents(documents())
    for mode in (None, "dense", "sparse"):
        assert ids(hybrid.similarity_search("gravel bike", 1, search_mode=mode)) == ["bike"]
    with pytest.raises(UnsupportedQueryError, match="dense and sparse"):
        hybrid.similarity_search_with_relevance_scores("tea")


# --- being LangChain's


def test_tags_and_tracing_parameters(recorded):
    retriever = recorded.as_retriever(tags=["mine"], metadata={"team": "x"}, name="shop")
    assert retriever.tags == ["mine", "RagbridgeVectorStore", "RagbridgeEmbeddings"]
    assert (retriever.metadata, retriever.get_name()) == ({"team": "x"}, "shop")
    params = retriever._get_ls_params()
    assert params["ls_vector_store_provider"] == "RagbridgeVectorStore"
    assert params["ls_embedding_provider"] == "RagbridgeEmbeddings"


def test_embeddings_are_what_was_given():
    model, provider = DeterministicFakeEmbedding(size=3), HashingEmbeddingProvider(8)
    assert RagbridgeVectorStore(embedding=model).embeddings is model
    wrapped = RagbridgeVectorStore(embedding=provider).embeddings
    assert isinstance(wrapped, RagbridgeEmbeddings)
    assert wrapped.provider is provider
    again = RagbridgeVectorStore(embedding=wrapped)
    assert again.embeddings.provider is provider


def test_pickling_and_copying(tmp_path):
    store = RagbridgeVectorStore(
        str(tmp_path / "rows.db"),
        HashingEmbeddingProvider(64),
        collection_name="texts",
        search_mode="dense",
        document_id_key="source",
    )
    store.add_documents(documents())
    retriever = store.as_retriever(search_kwargs={"k": 1})
    for copied in (
        pickle.loads(pickle.dumps(retriever)),
        copy.copy(retriever),
        copy.deepcopy(retriever),
        retriever.model_copy(),
        pickle.loads(pickle.dumps(store)).as_retriever(search_kwargs={"k": 1}),
    ):
        assert ids(copied.invoke("gravel bike")) == ["bike"]
        if copied.vectorstore is not store:
            copied.vectorstore.store.close()
    store.store.close()


def test_secrets_stay_out():
    store = RagbridgeVectorStore("http://localhost:1", collection_name="c", token="root:s3cret")
    retriever = store.as_retriever()
    for shown in (repr(store), repr(retriever), str(retriever.to_json()), str(vars(store))):
        assert "s3cret" not in shown
    assert b"s3cret" not in pickle.dumps(store)


def test_errors_of_vectors_are_value_errors(recorded):
    with pytest.raises(ValueError, match="dimension 2") as caught:
        recorded.similarity_search_by_vector([1.0, 0.0])
    assert isinstance(caught.value, InvalidEmbeddingError)
