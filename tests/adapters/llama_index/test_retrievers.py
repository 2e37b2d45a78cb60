"""Retrievers between the core and LlamaIndex."""

import asyncio
import threading

import pytest
from llama_index.core import StorageContext, VectorStoreIndex
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.callbacks import CallbackManager, CBEventType, LlamaDebugHandler
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events.retrieval import RetrievalEndEvent
from llama_index.core.schema import IndexNode, NodeWithScore, QueryBundle, TextNode
from llama_index.core.vector_stores import MetadataFilter, MetadataFilters
from pydantic import PrivateAttr

from ragbridge import (
    HashingEmbeddingProvider,
    QueryMatch,
    TextChunk,
    TextDocument,
    VectorKnowledgeBase,
    VectorRetriever,
    where,
)
from ragbridge.errors import (
    InvalidConfigError,
    InvalidFilterError,
    InvalidQueryError,
    UnsupportedQueryError,
)
from ragbridge.llama_index import (
    LlamaIndexEmbeddingProvider,
    LlamaIndexRetriever,
    LlamaIndexVectorStore,
    RagbridgeEmbedding,
    RagbridgeRetriever,
    RagbridgeVectorStore,
)
from ragbridge.retrievers import Retriever
from ragbridge.stores.memory import InMemoryVectorStore
from ragbridge.testing import RetrieverTests

PROVIDER = HashingEmbeddingProvider(dimension=256)


class Recorded(Retriever):
    """Finds what it was told to, and remembers what it was asked and how."""

    def __init__(self, *found):
        self.found = list(found)
        self.asked = []

    def retrieve(self, query, top_k=10, filters=None):
        self.asked.append(("retrieve", query, top_k, filters))
        return self.found

    async def aretrieve(self, query, top_k=10, filters=None):
        self.asked.append(("aretrieve", query, top_k, filters))
        return self.found


class Found(BaseRetriever):
    """A LlamaIndex retriever that finds given nodes."""

    def __init__(self, *found):
        super().__init__()
        self.found = list(found)
        self.threads = []

    def _retrieve(self, query_bundle):
        return self.found

    async def _aretrieve(self, query_bundle):
        self.threads.append(threading.current_thread())
        return self.found


def match(name, score, **metadata):
    chunk = TextChunk(content=f"text of {name}", document_id="d", metadata=metadata)
    return QueryMatch(id=name, chunk=chunk, similarity_score=score)


def scored(name, score, **metadata):
    node = TextNode(id_=name, text=f"text of {name}", metadata=metadata)
    return NodeWithScore(node=node, score=score)


@pytest.fixture
def knowledge_base(make_store):
    knowledge = VectorKnowledgeBase(make_store(), PROVIDER)
    knowledge.ingest(
        [
            TextDocument(id="tea", content="green tea at eighty degrees", metadata={"n": 1}),
            TextDocument(id="bike", content="a gravel bike on rough roads", metadata={"n": 2}),
            TextDocument(id="bread", content="sourdough bread with green herbs", metadata={"n": 3}),
        ]
    )
    return knowledge


class TestRagbridgeRetriever:
    @pytest.mark.parametrize("way", ["retrieve", "aretrieve"])
    def test_matches_become_nodes(self, way):
        inner = Recorded(match("a", 0.9, x=1), match("b", 0.5))
        outer = RagbridgeRetriever(inner, similarity_top_k=3, filters=where("x") == 1)
        found = outer.retrieve("q") if way == "retrieve" else asyncio.run(outer.aretrieve("q"))
        assert [(each.node_id, each.score) for each in found] == [("a", 0.9), ("b", 0.5)]
        node = found[0].node
        assert (node.text, node.metadata, node.ref_doc_id) == ("text of a", {"x": 1}, "d")
        assert inner.asked == [(way, "q", 3, where("x") == 1)]

    def test_a_knowledge_base_is_a_retriever(self, knowledge_base):
        retriever = RagbridgeRetriever(
            knowledge_base,
            similarity_top_k=1,
            filters=MetadataFilters(filters=[MetadataFilter(key="n", value=1, operator="!=")]),
        )
        (found,) = retriever.retrieve("green")
        assert found.node.ref_doc_id == "bread"
        (again,) = asyncio.run(retriever.aretrieve("green"))
        assert (again.node_id, again.score) == (found.node_id, pytest.approx(found.score))

    def test_index_nodes_lead_on(self):
        there = Recorded(match("there", 0.7))
        store = RagbridgeVectorStore()
        index = VectorStoreIndex(
            [IndexNode(id_="i", text="green tea", index_id="more")],
            storage_context=StorageContext.from_defaults(vector_store=store),
            embed_model=RagbridgeEmbedding(PROVIDER),
        )
        inner = VectorRetriever(index.vector_store.vector_store, PROVIDER)
        outer = RagbridgeRetriever(inner, object_map={"more": RagbridgeRetriever(there)})
        assert [each.node_id for each in outer.retrieve("green tea")] == ["there"]

    def test_callbacks_are_those_of_other_retrievers(self):
        debug = LlamaDebugHandler(print_trace_on_end=False)
        outer = RagbridgeRetriever(
            Recorded(match("a", 0.9)), callback_manager=CallbackManager([debug])
        )
        outer.retrieve("q")
        ((start, end),) = debug.get_event_pairs(CBEventType.RETRIEVE)
        assert start.payload["query_str"] == "q"
        assert [each.node_id for each in end.payload["nodes"]] == ["a"]

    def test_instrumentation_is_that_of_other_retrievers(self, seen_events):
        outer = RagbridgeRetriever(Recorded(match("a", 0.9)))
        outer.retrieve("q")
        asyncio.run(outer.aretrieve("q"))
        ended = [event for event in seen_events() if isinstance(event, RetrievalEndEvent)]
        assert [[each.node_id for each in event.nodes] for event in ended] == [["a"], ["a"]]

    @pytest.mark.parametrize(
        "bundle",
        [
            QueryBundle("q", custom_embedding_strs=["another"]),
            QueryBundle("q", image_path="image.png"),
        ],
        ids=["texts", "image"],
    )
    def test_what_is_no_text_is_refused(self, bundle):
        inner = Recorded()
        with pytest.raises(UnsupportedQueryError):
            RagbridgeRetriever(inner).retrieve(bundle)
        assert inner.asked == []

    def test_a_text_with_its_own_embedding_is_a_text(self):
        inner = Recorded()
        bundle = QueryBundle("q", custom_embedding_strs=["q"], embedding=[1.0])
        RagbridgeRetriever(inner).retrieve(bundle)
        assert inner.asked == [("retrieve", "q", 10, None)]

    @pytest.mark.parametrize(
        ("arguments", "error", "named"),
        [
            ({"retriever": Found()}, InvalidConfigError, "retriever"),
            ({"similarity_top_k": 0}, InvalidQueryError, "top_k"),
            ({"similarity_top_k": "3"}, InvalidQueryError, "top_k"),
            ({"filters": {"x": 1}}, InvalidFilterError, "filters"),
        ],
        ids=["retriever", "zero", "text", "filters"],
    )
    def test_bad_arguments_are_refused(self, arguments, error, named):
        with pytest.raises(error, match=named):
            RagbridgeRetriever(**({"retriever": Recorded()} | arguments))


class TestOverAnIndex(RetrieverTests):
    """A LlamaIndex retriever over a LlamaIndex index, as the core's."""

    @pytest.fixture
    def retriever(self):
        nodes = [
            TextNode(id_=chunk.id, text=chunk.content, metadata=chunk.metadata)
            for chunk in self.CHUNKS
        ]
        index = VectorStoreIndex(nodes, embed_model=RagbridgeEmbedding(PROVIDER))
        return LlamaIndexRetriever(index.as_retriever(similarity_top_k=len(nodes)))


class TestOverOurs(RetrieverTests):
    """A core retriever as LlamaIndex's, and that as the core's."""

    @pytest.fixture
    def retriever(self):
        knowledge = VectorKnowledgeBase(InMemoryVectorStore(), PROVIDER)
        knowledge.ingest(list(self.CHUNKS))
        return LlamaIndexRetriever(RagbridgeRetriever(knowledge, similarity_top_k=-1))


class TestOverAWrappedStore(RetrieverTests):
    """A core retriever over a LlamaIndex index's own store and model."""

    @pytest.fixture
    def retriever(self):
        model = RagbridgeEmbedding(PROVIDER)
        index = VectorStoreIndex([], embed_model=model)
        store = LlamaIndexVectorStore(index.vector_store, docstore=index.docstore)
        retriever = VectorRetriever(store, LlamaIndexEmbeddingProvider(model))
        VectorKnowledgeBase(store, LlamaIndexEmbeddingProvider(model)).ingest(list(self.CHUNKS))
        return retriever


class TestLlamaIndexRetriever:
    def test_nodes_become_matches_in_their_order(self):
        found = LlamaIndexRetriever(Found(scored("a", 0.2, x=1), scored("b", None))).retrieve("q")
        assert [(each.id, each.similarity_score) for each in found] == [("a", 0.2), ("b", 0.0)]
        assert found[0].chunk.content == "text of a"
        assert found[0].chunk.metadata == {"x": 1}

    def test_a_node_comes_back_as_it_was(self):
        node = IndexNode(id_="a", text="t", index_id="i", excluded_llm_metadata_keys=["x"])
        (found,) = LlamaIndexRetriever(Found(NodeWithScore(node=node, score=1.0))).retrieve("q")
        (again,) = RagbridgeRetriever(Recorded(found)).retrieve("q")
        assert again.node == node

    async def test_async_methods_use_no_threads(self):
        inner = Found(scored("a", 0.2))
        outer = LlamaIndexRetriever(inner)
        await outer.aretrieve("q")
        await outer.aretrieve_many(["q", "r"])
        assert inner.threads == [threading.current_thread()] * 3

    @pytest.mark.parametrize("wrong", [None, "q", Recorded()], ids=["none", "text", "core"])
    def test_what_is_no_retriever_is_refused(self, wrong):
        with pytest.raises(InvalidConfigError, match="retriever"):
            LlamaIndexRetriever(wrong)


class Listener(BaseEventHandler):
    _seen: list = PrivateAttr(default_factory=list)

    @classmethod
    def class_name(cls):
        return "Listener"

    def handle(self, event, **_kwargs):
        self._seen.append(event)


@pytest.fixture
def seen_events():
    """A function that gives all events so far."""
    listener, root = Listener(), get_dispatcher()
    root.add_event_handler(listener)
    yield lambda: listener._seen
    root.event_handlers.remove(listener)
