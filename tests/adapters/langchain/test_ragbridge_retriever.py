"""A core retriever as LangChain's."""

import asyncio
import pickle
from uuid import uuid4

import pytest
from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.runnables import ConfigurableField

from ragbridge import (
    HashingEmbeddingProvider,
    InvalidConfigError,
    InvalidFilterError,
    InvalidQueryError,
    QueryMatch,
    Retriever,
    RRFRanker,
    StoreConnectionError,
    UnsupportedQueryError,
    VectorKnowledgeBase,
    VectorRetriever,
    where,
)
from ragbridge.documents import TextChunk, TextDocument
from ragbridge.embeddings import EmbeddingProvider
from ragbridge.langchain import (
    LangChainEmbeddingProvider,
    RagbridgeRetriever,
    RagbridgeVectorStore,
)
from ragbridge.stores.memory import InMemoryVectorStore
from recording import RecordingProvider, RecordingStore

TEXTS = {
    "tea": "Green tea is brewed at eighty degrees",
    "coffee": "Espresso coffee is brewed under pressure",
    "bread": "Sourdough bread rises overnight",
    "bike": "A gravel bike rolls over rough roads",
}


@pytest.fixture
def base():
    """A knowledge base in memory that keeps a record of what it was asked."""
    base = VectorKnowledgeBase(RecordingStore(), RecordingProvider(), chunker=None)
    base.ingest(
        [
            TextDocument(id=name, content=text, metadata={"place": place})
            for place, (name, text) in enumerate(TEXTS.items())
        ]
    )
    return base


@pytest.fixture
def retriever(base):
    return RagbridgeRetriever(base, k=2)


class Record(BaseCallbackHandler):
    """What happened, in order."""

    def __init__(self):
        self.events = []
        self.started = {}

    def on_retriever_start(self, serialized, query, *, run_id, **details):
        self.events.append(("start", query))
        self.started[run_id] = {"query": query, **details}

    def on_retriever_end(self, documents, *, run_id, **details):
        self.events.append(("end", self.started[run_id]["query"], len(documents)))

    def on_retriever_error(self, error, *, run_id, **details):
        self.events.append(("error", self.started[run_id]["query"], type(error)))


class AsyncRecord(Record, AsyncCallbackHandler):
    async def on_retriever_start(self, *args, **kwargs):
        Record.on_retriever_start(self, *args, **kwargs)

    async def on_retriever_end(self, *args, **kwargs):
        Record.on_retriever_end(self, *args, **kwargs)

    async def on_retriever_error(self, *args, **kwargs):
        Record.on_retriever_error(self, *args, **kwargs)


async def settled(call, *args, **kwargs):
    """What a method or its async twin gives."""
    found = call(*args, **kwargs)
    return await found if asyncio.iscoroutine(found) else found


def contents(found):
    return [document.page_content for document in found]


def places(found):
    return [document.metadata["place"] for document in found]


# --- what it is made of


async def test_over_every_kind_of_source(base):
    store, provider = base.vector_store, base.embedding_provider
    for source in (
        RagbridgeRetriever(base),
        RagbridgeRetriever(retriever=base),
        RagbridgeRetriever(VectorRetriever(store, provider)),
        RagbridgeRetriever(store, provider),
        RagbridgeRetriever(store, embedding=provider, ranker=RRFRanker(), search_mode="dense"),
        RagbridgeRetriever(RagbridgeVectorStore(store, provider)),
        RagbridgeRetriever(store, search_mode="full_text"),
        RagbridgeRetriever(store),
    ):
        assert source.k == 4
        assert contents(source.invoke("gravel bike"))[0] == TEXTS["bike"]
        assert contents(await source.ainvoke("gravel bike"))[0] == TEXTS["bike"]


def test_over_a_store_it_searches_as_the_store_does(base):
    store = RagbridgeVectorStore(
        base.vector_store,
        base.embedding_provider,
        search_mode="hybrid",
        ranker=RRFRanker(k=10),
        document_id_key="source",
    )
    retriever = RagbridgeRetriever(store, k=1, score_key="score")
    (best,) = retriever.invoke("gravel bike")
    assert best.metadata == {"place": 3, "source": "bike", "score": pytest.approx(2 / 11)}
    assert "source" not in RagbridgeRetriever(store, document_id_key=None).invoke("tea")[0].metadata


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"k": 0}, "k must be a positive integer, not int 0"),
        ({"k": -1}, "k must be a positive integer"),
        ({"k": "4"}, "k must be a positive integer"),
        ({"k": None}, "k must be a positive integer"),
        ({"filter": {"place": {"$near": 1}}}, "near"),
        ({"filter": "place > 1"}, "filter must be"),
        ({"score_key": 1}, "score_key must be a string or None"),
        ({"document_id_key": 1}, "document_id_key must be a string or None"),
        ({"top_k": 3}, "unknown argument 'top_k'"),
        ({"search_mode": "dense"}, "unknown argument 'search_mode'"),
        ({"embedding": HashingEmbeddingProvider(8)}, "embedding goes with a core store"),
        ({"retriever": "base"}, "retriever must be a core Retriever"),
        ({"retriever": InMemoryVectorStore(), "search_mode": "dense"}, "mode 'dense' needs"),
        ({"retriever": InMemoryVectorStore(), "k1": 1}, "unknown argument 'k1'"),
    ],
)
def test_wrong_settings_are_refused_by_name(base, arguments, named):
    with pytest.raises(ValueError, match=named) as caught:
        RagbridgeRetriever(**{"retriever": base, **arguments})
    assert isinstance(caught.value, InvalidConfigError | InvalidQueryError | InvalidFilterError)


# --- what it finds


async def test_k_filter_and_scores_by_field_or_call(base, retriever):
    assert len(retriever.invoke("brewed")) == 2
    assert len(retriever.invoke("brewed", k=3)) == len(await retriever.ainvoke("brewed", k=3)) == 3
    assert set(places(retriever.invoke("brewed", filter=where("place") > 1))) == {2, 3}
    narrow = RagbridgeRetriever(base, filter={"place": {"$gt": 0}})
    assert set(places(narrow.invoke("brewed"))) == {1, 2, 3}
    assert set(places(await narrow.ainvoke("brewed", filter={"place": {"$lt": 3}}))) == {1, 2}
    (best,) = retriever.invoke("gravel bike", k=1, score_key="score")
    expected = base.retrieve("gravel bike", 1)[0].similarity_score
    assert best.metadata == {"place": 3, "score": expected}
    assert retriever.invoke("gravel bike", k=1)[0].metadata == {"place": 3}


@pytest.mark.parametrize(
    ("call", "named"),
    [
        ({"k": 0}, "k must be"),
        ({"k": None}, "k must be"),
        ({"top_k": 3}, "unknown argument 'top_k': there are filter, k, score_key"),
        ({"filter": 3}, "filter must be"),
    ],
)
async def test_wrong_calls_are_refused_by_name(retriever, call, named):
    with pytest.raises(ValueError, match=named):
        retriever.invoke("tea", **call)
    with pytest.raises(ValueError, match=named):
        await retriever.ainvoke("tea", **call)
    with pytest.raises(ValueError, match=named):
        retriever.batch(["tea", "bread"], **call)


def test_a_source_without_ids_is_no_trouble():
    class Echo(Retriever):
        def retrieve(self, query, top_k=10, filters=None):
            return [QueryMatch(chunk=TextChunk(content=query, id="own"), similarity_score=1.0)]

    assert RagbridgeRetriever(Echo()).batch(["a", "b"]) == [
        [Document("a", id="own")],
        [Document("b", id="own")],
    ]


# --- many queries at once


QUERIES = ["gravel bike", "green tea", "sourdough bread"]


@pytest.mark.parametrize("kind", ["retriever", "similarity", "mmr", "similarity_score_threshold"])
async def test_a_batch_is_one_embedding_call_and_one_search(base, kind):
    store, provider = base.vector_store, base.embedding_provider
    retriever = RagbridgeRetriever(base, k=1)
    if kind != "retriever":
        threshold = {"score_threshold": 0.0} if kind.endswith("threshold") else {}
        retriever = RagbridgeVectorStore(store, provider).as_retriever(
            search_type=kind, search_kwargs={"k": 1, **threshold}
        )
    one_by_one = [retriever.invoke(query) for query in QUERIES]
    store.calls.clear()
    provider.query_batches.clear()
    assert retriever.batch(QUERIES) == one_by_one
    assert [len(queries) for queries in store.named("query_many")] == [3]
    assert provider.query_batches == [QUERIES]
    assert await retriever.abatch(QUERIES) == one_by_one
    assert [len(queries) for queries in store.named("query_many")] == [3, 3]
    assert provider.query_batches == [QUERIES, QUERIES]
    assert [list(place) for place in map(places, one_by_one)] == [[3], [0], [2]]
    assert retriever.batch([]) == await retriever.abatch([]) == []


def test_a_langchain_model_embeds_a_batch_in_one_call(base):
    calls = []

    class Model(Embeddings):
        def embed_documents(self, texts):
            calls.append(list(texts))
            provider = base.embedding_provider
            return [vector.tolist() for vector in provider.batch_embed_queries(texts)]

        def embed_query(self, text):
            raise AssertionError("one by one")

    provider = LangChainEmbeddingProvider(Model(), queries_as_documents=True)
    retriever = RagbridgeRetriever(base.vector_store, provider, k=1)
    assert [places(found) for found in retriever.batch(QUERIES)] == [[3], [0], [2]]
    assert calls == [QUERIES]


async def test_every_query_of_a_batch_has_a_run_of_its_own(base):
    retriever = RagbridgeRetriever(base, k=1, name="shop", tags=["own"], metadata={"team": "x"})
    for record, batch in ((Record(), retriever.batch), (AsyncRecord(), retriever.abatch)):
        config = {"tags": ["all"], "metadata": {"a": 1}, "run_name": "asked"}
        await settled(batch, QUERIES, {"callbacks": [record], **config})
        assert record.events == [
            *(("start", query) for query in QUERIES),
            *(("end", query, 1) for query in QUERIES),
        ]
        assert len(record.started) == 3
        for details in record.started.values():
            assert details["name"] == "asked"
            assert set(details["tags"]) == {"own", "all"}
            assert details["metadata"] == {
                "a": 1,
                "team": "x",
                "ls_retriever_name": "shop",
                "ls_vector_store_provider": "RecordingStore",
                "ls_embedding_provider": "RagbridgeEmbeddings",
            }


async def test_a_run_of_a_batch_is_told_as_a_run_of_its_own(retriever):
    """Callbacks see no difference between `batch` and as many calls of `invoke`."""
    for make, many, one in (
        (Record, retriever.batch, retriever.invoke),
        (AsyncRecord, retriever.abatch, retriever.ainvoke),
    ):
        batched, single = make(), make()
        config = {"tags": ["t"], "metadata": {"a": 1}, "run_name": "n"}
        await settled(many, ["green tea"], {**config, "callbacks": [batched]})
        await settled(one, "green tea", {**config, "callbacks": [single]})
        assert batched.events == single.events
        assert list(batched.started.values()) == list(single.started.values())


def test_a_config_for_each_query(retriever):
    records = [Record() for _ in QUERIES]
    run_ids = [uuid4() for _ in QUERIES]
    retriever.batch(
        QUERIES,
        [
            {"callbacks": [record], "run_name": query, "run_id": run_id}
            for record, query, run_id in zip(records, QUERIES, run_ids, strict=True)
        ],
    )
    for record, query, run_id in zip(records, QUERIES, run_ids, strict=True):
        assert record.events == [("start", query), ("end", query, 2)]
        assert record.started[run_id]["name"] == query
    with pytest.raises(ValueError, match="2 configs for 3 inputs"):
        retriever.batch(QUERIES, [{}, {}])


async def test_max_concurrency_bounds_how_many_go_at_once(base, retriever):
    record = Record()
    config = {"max_concurrency": 2, "callbacks": [record]}
    assert len(retriever.batch(QUERIES, config)) == 3
    assert [len(queries) for queries in base.vector_store.named("query_many")] == [2, 1]
    assert [event[0] for event in record.events] == ["start"] * 2 + ["end"] * 2 + ["start", "end"]
    assert len(await retriever.abatch(QUERIES, {"max_concurrency": 1})) == 3
    assert [len(queries) for queries in base.vector_store.named("query_many")][2:] == [1, 1, 1]


async def test_one_wrong_query_fails_alone_where_exceptions_are_given_back(retriever):
    queries = ["gravel bike", " ", "green tea"]
    for record, batch in ((Record(), retriever.batch), (AsyncRecord(), retriever.abatch)):
        bike, wrong, tea = await settled(
            batch, queries, {"callbacks": [record]}, return_exceptions=True, k=1
        )
        assert (places(bike), places(tea)) == ([3], [0])
        assert isinstance(wrong, InvalidQueryError)
        assert record.events[3:] == [
            ("end", "gravel bike", 1),
            ("error", " ", InvalidQueryError),
            ("end", "green tea", 1),
        ]


async def test_a_batch_that_fails_raises_and_ends_every_run(retriever):
    for record, batch in ((Record(), retriever.batch), (AsyncRecord(), retriever.abatch)):
        with pytest.raises(InvalidQueryError, match="blank"):
            await settled(batch, ["gravel bike", " "], {"callbacks": [record]})
        assert [event[0] for event in record.events] == ["start", "start", "error", "error"]


def test_a_store_that_is_gone_is_asked_once():
    class Gone(RecordingStore):
        def query_many(self, queries):
            self.calls.append(("query_many", queries))
            raise StoreConnectionError("nobody answers")

    store = Gone()
    retriever = RagbridgeRetriever(store, HashingEmbeddingProvider(8))
    found = retriever.batch(QUERIES, return_exceptions=True)
    assert [type(each) for each in found] == [StoreConnectionError] * 3
    assert len(store.calls) == 1


def test_a_model_that_fails_for_one_query_fails_for_it_alone(base):
    class Picky(RecordingProvider):
        def batch_embed_queries(self, texts):
            if any("tea" in text for text in texts):
                raise RuntimeError("too long")
            return super().batch_embed_queries(texts)

    retriever = RagbridgeRetriever(base.vector_store, Picky(), k=1)
    found = retriever.batch(QUERIES, return_exceptions=True)
    assert [type(each) for each in found] == [list, RuntimeError, list]


# --- being a runnable


async def test_callbacks_and_names_of_single_calls(retriever):
    for record, call in ((Record(), retriever.invoke), (AsyncRecord(), retriever.ainvoke)):
        config = {"callbacks": [record], "run_name": "asked", "tags": ["t"]}
        await settled(call, "green tea", config)
        ((started),) = record.started.values()
        assert (started["name"], started["tags"]) == ("asked", ["t"])
        assert record.events == [("start", "green tea"), ("end", "green tea", 2)]
    record = Record()
    with pytest.raises(InvalidQueryError):
        retriever.invoke("", {"callbacks": [record]})
    assert record.events == [("start", ""), ("error", "", InvalidQueryError)]
    assert retriever.get_name() == "RagbridgeRetriever"
    assert retriever.invoke("tea", verbose=True) == retriever.batch(["tea"], verbose=True)[0]


def test_binding_and_configuring(retriever):
    assert len(retriever.bind(k=3).invoke("brewed")) == 3
    assert [len(found) for found in retriever.bind(k=1).batch(QUERIES)] == [1, 1, 1]
    configurable = retriever.configurable_fields(k=ConfigurableField("k"))
    assert len(configurable.invoke("brewed", {"configurable": {"k": 4}})) == 4
    assert [len(found) for found in configurable.batch(QUERIES)] == [2, 2, 2]
    assert len(retriever.model_copy(update={"k": 1}).invoke("brewed")) == 1


def test_it_shows_no_content_and_travels(base, tmp_path):
    retriever = RagbridgeRetriever(base, filter=where("place") > 1)
    assert "Sourdough" not in repr(retriever) + str(retriever.to_json())
    with RagbridgeVectorStore(
        str(tmp_path / "rows.db"), HashingEmbeddingProvider(64), collection_name="texts"
    ).store as store:
        made = RagbridgeVectorStore(store, HashingEmbeddingProvider(64))
        made.add_texts(list(TEXTS.values()), ids=list(TEXTS))
        travelled = pickle.loads(pickle.dumps(RagbridgeRetriever(made, k=1, score_key="s")))
        assert travelled.invoke("gravel bike")[0].id == "bike"
        assert (travelled.k, travelled.score_key) == (1, "s")
        travelled.retriever.vector_store.close()


def test_what_the_store_cannot_do_it_says(base):
    class Dense(EmbeddingProvider):
        def batch_embed(self, chunks):
            return HashingEmbeddingProvider(64).batch_embed(chunks)

    with pytest.raises(UnsupportedQueryError, match="does not know the option 'expr'"):
        RagbridgeRetriever(base.vector_store, Dense(), options={"expr": "a > 1"}).invoke("tea")
