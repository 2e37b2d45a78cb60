import pytest

from ragbridge.documents import TextChunk
from ragbridge.embeddings import HashingEmbeddingProvider
from ragbridge.errors import (
    InvalidConfigError,
    InvalidEmbeddingError,
    InvalidQueryError,
    UnsupportedQueryError,
)
from ragbridge.filters import where
from ragbridge.retrievers import QueryMatch, Retriever, SearchMode, VectorRetriever
from ragbridge.stores.base import (
    Capability,
    Leg,
    RRFRanker,
    VectorEntry,
    VectorStoreQuery,
    WeightedRanker,
)
from ragbridge.stores.memory import InMemoryVectorStore
from recording import (
    BinaryProvider,
    HybridProvider,
    RecordingProvider,
    RecordingStore,
    SparseProvider,
)

TEXTS = {
    "tea": "Green tea is brewed at eighty degrees.",
    "coffee": "Espresso is brewed under pressure.",
    "bread": "Sourdough bread rises overnight.",
    "bike": "A gravel bike rolls over rough roads.",
}


def filled(store, provider=None):
    for position, (name, text) in enumerate(TEXTS.items()):
        chunk = TextChunk(content=text, metadata={"place": position}, document_id=name)
        embedding = provider.embed(chunk) if provider else None
        store.add([VectorEntry(id=name, embedding=embedding, chunk=chunk, framework_data={"n": 1})])
    return store


@pytest.fixture
def provider():
    return RecordingProvider()


@pytest.fixture
def store(provider):
    return filled(RecordingStore(), provider)


def ids(matches):
    return [match.id for match in matches]


def test_a_match_carries_what_its_row_holds(store, provider):
    best = VectorRetriever(store, provider).retrieve("sourdough bread")[0]
    assert (best.id, best.chunk.content, best.chunk.document_id) == (
        "bread",
        TEXTS["bread"],
        "bread",
    )
    assert best.framework_data == {"n": 1}
    assert 0 < best.similarity_score <= 1


@pytest.mark.stores("memory", "milvus")
@pytest.mark.parametrize("metric", ["hamming", "jaccard"])
def test_vectors_of_bits_are_searched_by_bits(make_store, metric):
    provider = BinaryProvider(256)
    retriever = VectorRetriever(filled(make_store(metric=metric), provider), provider)
    best, *others = retriever.retrieve(TEXTS["bread"], top_k=3)
    assert (best.id, best.similarity_score) == ("bread", 1.0)
    assert all(match.similarity_score < 1 for match in others)
    filtered = retriever.retrieve(TEXTS["bread"], filters=where("place") == 1)
    assert ids(filtered) == ["coffee"]


def test_matches_come_best_first_and_no_more_than_asked(store, provider):
    matches = VectorRetriever(store, provider).retrieve("brewed tea", top_k=3)
    scores = [match.similarity_score for match in matches]
    assert len(matches) == 3
    assert matches[0].id == "tea"
    assert scores == sorted(scores, reverse=True)


def test_minus_one_asks_for_all(store, provider):
    assert set(ids(VectorRetriever(store, provider).retrieve("tea", -1))) == set(TEXTS)


def test_filters_restrict(store, provider):
    retriever = VectorRetriever(store, provider)
    assert set(ids(retriever.retrieve("tea", 10, where("place") >= 2))) == {"bread", "bike"}


def test_many_queries_are_one_embedding_call_and_one_search(store, provider):
    retriever = VectorRetriever(store, provider)
    queries = ["green tea", "gravel bike", "green tea"]
    found = retriever.retrieve_many(queries, top_k=1)
    assert [ids(matches) for matches in found] == [["tea"], ["bike"], ["tea"]]
    assert provider.query_batches == [queries]
    assert len(store.named("query_many")) == 1


def test_no_queries_ask_nobody(store, provider):
    assert VectorRetriever(store, provider).retrieve_many([]) == []
    assert provider.query_batches == store.named("query_many") == []


async def test_async_twins_answer_the_same(store, provider):
    retriever = VectorRetriever(store, provider)
    queries = ["green tea", "gravel bike"]
    expected = retriever.retrieve_many(queries, 2, where("place") < 3)
    assert await retriever.aretrieve_many(queries, 2, where("place") < 3) == expected
    assert await retriever.aretrieve(queries[0], 2, where("place") < 3) == expected[0]


async def test_async_twins_call_async_methods_only(store, provider, monkeypatch):
    def blocked(*args):
        raise AssertionError("a sync method was called on the event loop")

    embeddings = provider.batch_embed_queries(["green tea"])
    matches = store.query_many([VectorStoreQuery(embedding=embeddings[0], top_k=1)])

    async def embed(texts):
        return embeddings

    async def search(queries):
        return matches

    monkeypatch.setattr(provider, "batch_embed_queries", blocked)
    monkeypatch.setattr(provider, "abatch_embed_queries", embed)
    monkeypatch.setattr(store, "query_many", blocked)
    monkeypatch.setattr(store, "aquery_many", search)
    assert ids(await VectorRetriever(store, provider).aretrieve("green tea", 1)) == ["tea"]


@pytest.mark.parametrize(
    ("provider_class", "mode", "legs"),
    [
        (HashingEmbeddingProvider, None, (Leg.DENSE,)),
        (SparseProvider, None, (Leg.SPARSE,)),
        (HybridProvider, None, (Leg.DENSE, Leg.SPARSE)),
        (HybridProvider, "dense", (Leg.DENSE,)),
        (HybridProvider, SearchMode.SPARSE, (Leg.SPARSE,)),
        (HybridProvider, "hybrid", (Leg.DENSE, Leg.SPARSE, Leg.FULL_TEXT)),
        (HashingEmbeddingProvider, "hybrid", (Leg.DENSE, Leg.FULL_TEXT)),
        (HashingEmbeddingProvider, "full_text", (Leg.FULL_TEXT,)),
    ],
)
def test_the_mode_decides_the_legs(provider_class, mode, legs):
    provider = provider_class()
    store = filled(RecordingStore(), provider)
    matches = VectorRetriever(store, provider, mode=mode).retrieve("gravel bike")
    ((query,),) = store.named("query_many")
    assert query.legs == legs
    assert matches[0].id == "bike"


def test_without_a_provider_the_search_is_full_text():
    retriever = VectorRetriever(filled(InMemoryVectorStore()))
    assert retriever.mode is SearchMode.FULL_TEXT
    assert ids(retriever.retrieve("espresso")) == ["coffee"]


def test_full_text_does_not_embed(store, provider):
    VectorRetriever(store, provider, mode="full_text").retrieve("tea")
    assert provider.query_batches == []


@pytest.mark.parametrize("mode", ["dense", "sparse", "hybrid"])
def test_a_mode_that_needs_a_provider_is_refused_without(mode):
    with pytest.raises(InvalidConfigError, match=f"'{mode}' needs an embedding_provider"):
        VectorRetriever(InMemoryVectorStore(), mode=mode)


@pytest.mark.parametrize("mode", ["fuzzy", 5, ["dense"]])
def test_an_unknown_mode_is_refused(mode, provider):
    with pytest.raises(InvalidConfigError, match="mode must be one of dense, sparse, full_text"):
        VectorRetriever(InMemoryVectorStore(), provider, mode=mode)


@pytest.mark.parametrize(
    ("capabilities", "mode", "with_provider", "missing"),
    [
        ({Capability.DENSE}, "full_text", True, "full_text"),
        ({Capability.DENSE}, None, False, "full_text"),
        ({Capability.DENSE}, "sparse", True, "sparse"),
        ({Capability.FULL_TEXT}, "dense", True, "dense"),
        ({Capability.FULL_TEXT}, None, True, "dense"),
        ({Capability.DENSE, Capability.FULL_TEXT}, "hybrid", True, "hybrid"),
        ({Capability.DENSE, Capability.HYBRID}, "hybrid", True, "full_text"),
    ],
)
def test_what_the_store_cannot_do_is_refused_at_once(
    capabilities, mode, with_provider, missing, provider
):
    class LesserStore(InMemoryVectorStore):
        pass

    LesserStore.capabilities = frozenset(capabilities)
    with pytest.raises(UnsupportedQueryError, match=f"LesserStore has no {missing} search"):
        VectorRetriever(LesserStore(), provider if with_provider else None, mode=mode)


@pytest.mark.parametrize(
    ("provider_class", "mode"), [(HashingEmbeddingProvider, "sparse"), (SparseProvider, "dense")]
)
def test_a_provider_that_yields_other_vectors_is_named(provider_class, mode):
    retriever = VectorRetriever(InMemoryVectorStore(), provider_class(), mode=mode)
    with pytest.raises(InvalidEmbeddingError, match=rf"{provider_class.__name__} yields no {mode}"):
        retriever.retrieve("tea")


@pytest.mark.parametrize("query", ["", "  ", "\n\t\u00a0"])
def test_a_blank_query_is_refused(store, provider, query):
    retriever = VectorRetriever(store, provider)
    with pytest.raises(InvalidQueryError, match="query must not be blank"):
        retriever.retrieve(query)
    with pytest.raises(InvalidQueryError, match="query must not be blank"):
        retriever.retrieve_many(["tea", query])


@pytest.mark.parametrize("query", [None, 5, b"tea", ["tea"]])
def test_a_query_that_is_no_text_is_refused(store, provider, query):
    with pytest.raises(InvalidQueryError, match="query must be a string"):
        VectorRetriever(store, provider).retrieve(query)


@pytest.mark.parametrize("queries", ["tea", None, 5])
def test_queries_that_are_no_list_are_refused(store, provider, queries):
    with pytest.raises(InvalidQueryError, match="queries must be a list"):
        VectorRetriever(store, provider).retrieve_many(queries)


@pytest.mark.parametrize(
    "arguments", [{"top_k": 0}, {"top_k": "5"}, {"filters": {"place": 1}}, {"filters": "place > 1"}]
)
def test_wrong_arguments_cost_no_embedding(store, provider, arguments):
    with pytest.raises(InvalidQueryError, match=next(iter(arguments))):
        VectorRetriever(store, provider).retrieve("tea", **arguments)
    assert provider.query_batches == []


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"vector_store": None}, "vector_store must be of type VectorStore"),
        ({"embedding_provider": "model"}, "embedding_provider must be of type EmbeddingProvider"),
    ],
)
def test_arguments_of_another_kind_are_refused(arguments, named):
    with pytest.raises(InvalidConfigError, match=named):
        VectorRetriever(**{"vector_store": InMemoryVectorStore(), **arguments})


def test_search_settings_reach_the_store(store, provider):
    ranker = WeightedRanker([0.9, 0.1])
    retriever = VectorRetriever(
        store, provider, mode="hybrid", ranker=ranker, leg_top_k={"dense": 7}, min_score=0.01
    )
    retriever.retrieve("tea")
    ((query,),) = store.named("query_many")
    assert (query.ranker, query.leg_top_k, query.min_score) == (ranker, {Leg.DENSE: 7}, 0.01)


def test_an_option_that_the_store_does_not_know_is_refused(store, provider):
    with pytest.raises(UnsupportedQueryError, match="magic"):
        VectorRetriever(store, provider, options={"magic": 1}).retrieve("tea")


@pytest.mark.parametrize(
    "arguments", [{"ranker": "rrf"}, {"min_score": "high"}, {"leg_top_k": {"dense": 0}}]
)
def test_wrong_search_settings_are_refused_at_once(store, provider, arguments):
    with pytest.raises(InvalidQueryError, match=next(iter(arguments))):
        VectorRetriever(store, provider, **arguments)


def test_the_ranker_fuses_as_the_store_does(store, provider):
    retriever = VectorRetriever(store, provider, mode="hybrid", ranker=RRFRanker(k=10))
    best = retriever.retrieve("gravel bike", top_k=1)[0]
    assert best.similarity_score == pytest.approx(2 / 11)


def test_a_provider_that_loses_a_query_is_caught(store):
    class Losing(HashingEmbeddingProvider):
        def batch_embed_queries(self, texts):
            return super().batch_embed_queries(texts[:-1])

    with pytest.raises(InvalidEmbeddingError, match="Losing made 1 embeddings of 2"):
        VectorRetriever(store, Losing(64)).retrieve_many(["tea", "bike"])


def test_a_provider_may_yield_lists(store):
    class Listing(HashingEmbeddingProvider):
        def batch_embed_queries(self, texts):
            return [vector.tolist() for vector in super().batch_embed_queries(texts)]

    assert ids(VectorRetriever(store, Listing(64)).retrieve("gravel bike", 1)) == ["bike"]


async def test_a_plan_is_what_the_store_is_asked(store, provider):
    retriever = VectorRetriever(store, provider, mode="hybrid")
    filters = where("place") == 1
    plan = retriever.plan(["tea", "bike"], 3, filters)
    assert store.named("query_many") == []
    assert [query.text for query in plan] == ["tea", "bike"]
    assert {(query.top_k, query.filters) for query in plan} == {(3, filters)}
    found = store.query_many(plan)
    assert [ids(matches) for matches in found] == [
        ids(matches) for matches in retriever.retrieve_many(["tea", "bike"], 3, filters)
    ]
    assert [query.text for query in await retriever.aplan(["tea"])] == ["tea"]


class EchoRetriever(Retriever):
    def retrieve(self, query, top_k=10, filters=None):
        return [QueryMatch(chunk=TextChunk(content=query), similarity_score=1.0)] * top_k


async def test_a_retriever_of_ones_own_needs_one_method():
    echo = EchoRetriever()
    one = QueryMatch(chunk=TextChunk(content="a"), similarity_score=1.0)
    two = QueryMatch(chunk=TextChunk(content="b"), similarity_score=1.0)
    assert echo.retrieve_many(["a", "b"], 1) == [[one], [two]]
    assert await echo.aretrieve("a", 2) == [one, one]
    assert await echo.aretrieve_many(["a", "b"], 1) == [[one], [two]]
