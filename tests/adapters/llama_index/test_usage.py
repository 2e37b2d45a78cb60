"""What people do with LlamaIndex, over every store."""

import asyncio
import json
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from llama_index.core import (
    Document,
    StorageContext,
    VectorStoreIndex,
    load_index_from_storage,
)
from llama_index.core.callbacks import CallbackManager, CBEventType, LlamaDebugHandler
from llama_index.core.ingestion import DocstoreStrategy, IngestionPipeline
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events.embedding import EmbeddingEndEvent
from llama_index.core.instrumentation.events.query import QueryEndEvent
from llama_index.core.instrumentation.events.retrieval import RetrievalEndEvent
from llama_index.core.instrumentation.events.synthesis import SynthesizeEndEvent
from llama_index.core.llms import ChatMessage, MockLLM
from llama_index.core.memory import ChatMemoryBuffer, Memory, VectorMemoryBlock
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.retrievers import QueryFusionRetriever, VectorIndexAutoRetriever
from llama_index.core.schema import TextNode
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.core.vector_stores import MetadataFilter, MetadataFilters
from llama_index.core.vector_stores.types import MetadataInfo, VectorStoreInfo
from pydantic import PrivateAttr

from ragbridge import (
    ChatAssistantMessage,
    HashingEmbeddingProvider,
    ModelProvider,
    SimilarityMetric,
    VectorRetriever,
    where,
)
from ragbridge.llama_index import (
    RagbridgeEmbedding,
    RagbridgeLLM,
    RagbridgeRetriever,
    RagbridgeVectorStore,
)

PROVIDER = HashingEmbeddingProvider(dimension=64)
MODEL = RagbridgeEmbedding(PROVIDER)
TEXTS = {
    "tea": ("Green tea is brewed at eighty degrees.", {"kind": "drink", "year": 2024}),
    "espresso": ("Espresso is brewed under high pressure.", {"kind": "drink", "year": 2019}),
    "bread": ("Sourdough bread rises overnight.", {"kind": "food", "year": 2024}),
    "bike": ("A gravel bike rolls over rough roads.", {"year": 2020}),
}


class Scripted(ModelProvider):
    """A core chat model that says what it was told to."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []

    def chat(self, messages, tools=(), stop=None):
        self.asked.append("\n".join(str(message.content) for message in messages))
        return ChatAssistantMessage(self.answers.pop(0))


def scripted(*answers):
    return RagbridgeLLM(Scripted(*answers), is_function_calling_model=False)


def documents(*names):
    return [
        Document(id_=name, text=TEXTS[name][0], metadata=TEXTS[name][1]) for name in names or TEXTS
    ]


def changed(name, text):
    return Document(id_=name, text=text, metadata=TEXTS[name][1])


def index_over(store, *names, **options):
    return VectorStoreIndex.from_documents(
        documents(*names),
        storage_context=StorageContext.from_defaults(vector_store=store),
        embed_model=MODEL,
        **options,
    )


def found(retriever, query):
    """The documents of what a retriever finds, best first."""
    return [each.node.ref_doc_id for each in retriever.retrieve(query)]


def stored(store):
    """The texts in a store by their documents."""
    return {node.ref_doc_id: node.get_content() for node in store.get_nodes()}


@pytest.fixture
def store(backend):
    """An empty store; on engines in a collection that these tests share."""
    with backend.empty_store(metric=SimilarityMetric.COSINE, holds="llama_index_usage") as core:
        yield RagbridgeVectorStore(core)


class TestIndex:
    def test_from_documents(self, store):
        retriever = index_over(store).as_retriever(similarity_top_k=2)
        best, second = retriever.retrieve("How is green tea brewed?")
        assert (best.node.ref_doc_id, second.node.ref_doc_id) == ("tea", "espresso")
        assert 1 >= best.score > second.score > 0
        assert best.node.metadata == TEXTS["tea"][1]
        assert best.node.get_content() == TEXTS["tea"][0]

    def test_from_documents_async(self, store):
        async def use():
            index = index_over(store, use_async=True)
            return await index.as_retriever(similarity_top_k=1).aretrieve("green tea")

        assert [each.node.ref_doc_id for each in asyncio.run(use())] == ["tea"]

    def test_from_vector_store(self, store):
        index_over(store)
        index = VectorStoreIndex.from_vector_store(store, embed_model=MODEL)
        filters = MetadataFilters(
            filters=[MetadataFilter(key="kind", value="drink", operator="!=")]
        )
        assert found(index.as_retriever(filters=filters), "brewed bread") == ["bread", "bike"]

    def test_insert_and_delete(self, store):
        index = index_over(store, "tea", "bread")
        index.insert(documents("bike")[0])
        index.insert_nodes([TextNode(id_="n", text="A node of nobody.")])
        index.delete_ref_doc("bread")
        index.delete_ref_doc("nobody")
        assert stored(store).keys() == {"tea", "bike", None}
        index.delete_nodes(["n"])
        assert stored(store).keys() == {"tea", "bike"}
        assert found(index.as_retriever(similarity_top_k=5), "gravel bike") == ["bike", "tea"]

    def test_async_insert_and_delete(self, store):
        async def use():
            index = VectorStoreIndex.from_vector_store(store, embed_model=MODEL)
            for document in documents():
                await index.ainsert(document)
            await index.adelete_ref_doc("tea")
            await index.arefresh_ref_docs([changed("bread", "Rye bread.")])

        asyncio.run(use())
        assert stored(store).keys() == {"espresso", "bread", "bike"}

    def test_refresh(self, store):
        index = index_over(store, "tea", "bread")
        given = [documents("tea")[0], changed("bread", "Rye bread."), documents("bike")[0]]
        assert index.refresh_ref_docs(given) == [False, True, True]
        assert stored(store) == {
            "tea": TEXTS["tea"][0],
            "bread": "Rye bread.",
            "bike": TEXTS["bike"][0],
        }
        assert index.refresh_ref_docs(given) == [False, False, False]

    def test_update(self, store):
        index = index_over(store, "tea", "bread")
        index.update_ref_doc(changed("tea", "White tea."))
        assert stored(store) == {"tea": "White tea.", "bread": TEXTS["bread"][0]}

    def test_long_documents_are_split_and_deleted_whole(self, store):
        long = Document(id_="long", text="One sentence about tea. " * 200)
        splitter = SentenceSplitter(chunk_size=64, chunk_overlap=8)
        index = index_over(store, "bread", transformations=[splitter])
        index.insert(long)
        nodes = [node for node in store.get_nodes() if node.ref_doc_id == "long"]
        assert len(nodes) > 10
        assert all(long.text[n.start_char_idx : n.end_char_idx] == n.text for n in nodes)
        assert all(node.prev_node or node.next_node for node in nodes)
        index.delete_ref_doc("long")
        assert stored(store).keys() == {"bread"}


class TestIngestion:
    @pytest.fixture
    def docstore(self):
        return SimpleDocumentStore()

    def pipeline(self, store, docstore, strategy):
        return IngestionPipeline(
            transformations=[SentenceSplitter(), MODEL],
            vector_store=store,
            docstore=docstore,
            docstore_strategy=strategy,
        )

    @pytest.mark.parametrize("way", ["run", "arun"])
    @pytest.mark.parametrize(
        ("strategy", "wanted"),
        [
            (DocstoreStrategy.UPSERTS, ["Rye bread.", "bike", "tea"]),
            (DocstoreStrategy.UPSERTS_AND_DELETE, ["Rye bread.", "bike"]),
            (DocstoreStrategy.DUPLICATES_ONLY, ["Rye bread.", "bike", "bread", "tea"]),
        ],
    )
    def test_strategies(self, store, docstore, way, strategy, wanted):
        pipeline = self.pipeline(store, docstore, strategy)

        def ingest(given):
            made = getattr(pipeline, way)(documents=given)
            return len(made if way == "run" else asyncio.run(made))

        assert ingest(documents("tea", "bread")) == 2
        assert ingest(documents("tea", "bread")) == 0
        assert ingest([changed("bread", "Rye bread."), documents("bike")[0]]) == 2
        names = {text: name for name, (text, _) in TEXTS.items()}
        texts = [node.get_content() for node in store.get_nodes()]
        assert sorted(names.get(text, text) for text in texts) == wanted

    def test_without_a_document_store_it_adds(self, store):
        pipeline = IngestionPipeline(transformations=[MODEL], vector_store=store)
        pipeline.run(documents=documents())
        pipeline.run(documents=documents())
        assert len(store.get_nodes()) == len(TEXTS)

    def test_documents_known_by_a_reloaded_docstore_are_skipped(self, store, docstore, tmp_path):
        pipeline = self.pipeline(store, docstore, DocstoreStrategy.UPSERTS)
        pipeline.run(documents=documents())
        pipeline.persist(str(tmp_path))
        again = self.pipeline(store, None, DocstoreStrategy.UPSERTS)
        again.load(str(tmp_path))
        assert again.run(documents=documents()) == []
        assert len(store.get_nodes()) == len(TEXTS)


class TestPersistence:
    def test_a_storage_context_over_the_same_store(self, store, tmp_path):
        index = index_over(store)
        index.set_index_id("mine")
        index.storage_context.persist(str(tmp_path))
        context = StorageContext.from_defaults(persist_dir=str(tmp_path), vector_store=store)
        again = load_index_from_storage(context, index_id="mine", embed_model=MODEL)
        assert found(again.as_retriever(similarity_top_k=1), "green tea") == ["tea"]
        assert again.refresh_ref_docs(documents()) == [False] * len(TEXTS)

    @pytest.mark.stores("memory")
    def test_a_store_in_memory_is_saved_with_it(self, store, tmp_path):
        index_over(store).storage_context.persist(str(tmp_path))
        loaded = RagbridgeVectorStore.from_persist_dir(str(tmp_path))
        context = StorageContext.from_defaults(persist_dir=str(tmp_path), vector_store=loaded)
        again = load_index_from_storage(context, embed_model=MODEL)
        assert found(again.as_retriever(similarity_top_k=1), "gravel bike") == ["bike"]
        assert loaded.vector_store is not store.vector_store

    @pytest.mark.stores("memory", "milvus")
    def test_an_index_in_another_process(self, store, tmp_path):
        index = index_over(store)
        file = tmp_path / "index"
        file.write_bytes(pickle.dumps(index))
        code = (
            "import pickle, sys\n"
            "from llama_index.core.utils import get_tokenizer\n"
            "get_tokenizer()\n"  # the one that LlamaIndex brings, so that none is downloaded
            "with open(sys.argv[1], 'rb') as file: index = pickle.load(file)\n"
            "print(index.as_retriever(similarity_top_k=1).retrieve('green tea')[0].node.ref_doc_id)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, str(file)], capture_output=True, text=True, check=False
        )
        assert done.stdout.split() == ["tea"], done.stderr
        assert found(index.as_retriever(similarity_top_k=1), "green tea") == ["tea"]


class TestRetrievers:
    def fusion(self, store, llm=None, **options):
        index = VectorStoreIndex.from_vector_store(store, embed_model=MODEL)
        core = VectorRetriever(store.vector_store, PROVIDER)
        retrievers = [
            index.as_retriever(similarity_top_k=2),
            RagbridgeRetriever(core, similarity_top_k=2, filters=where("kind").exists()),
        ]
        return QueryFusionRetriever(
            retrievers,
            llm=llm or MockLLM(),
            similarity_top_k=3,
            mode="reciprocal_rerank",
            **options,
        )

    @pytest.mark.parametrize("use_async", [True, False])
    def test_fusion(self, store, use_async):
        index_over(store)
        fused = self.fusion(store, num_queries=1, use_async=use_async)
        assert found(fused, "a gravel bike and espresso")[0] == "espresso"
        assert set(found(fused, "a gravel bike")) >= {"bike"}

    async def test_fusion_in_a_running_event_loop(self, store):
        index_over(store)
        fused = self.fusion(store, num_queries=1, use_async=True)
        one, other = await asyncio.gather(fused.aretrieve("green tea"), fused.aretrieve("bread"))
        assert (one[0].node.ref_doc_id, other[0].node.ref_doc_id) == ("tea", "bread")

    def test_fusion_of_queries_that_a_model_makes(self, store):
        index_over(store)
        llm = scripted("sourdough bread\nrises overnight")
        fused = self.fusion(store, llm, num_queries=3, use_async=True)
        assert found(fused, "what to bake")[0] == "bread"

    @pytest.mark.parametrize("way", ["sync", "async"])
    def test_a_model_chooses_the_filters(self, store, way):
        index = index_over(store)
        asked = {
            "query": "brewed",
            "filters": [
                {"key": "kind", "value": "drink", "operator": "=="},
                {"key": "year", "value": 2020, "operator": ">="},
            ],
            "top_k": 3,
        }
        info = VectorStoreInfo(
            content_info="food and drinks",
            metadata_info=[MetadataInfo(name="kind", type="str", description="what it is")],
        )
        retriever = VectorIndexAutoRetriever(
            index, vector_store_info=info, llm=scripted(json.dumps(asked))
        )
        if way == "sync":
            nodes = retriever.retrieve("drinks since 2020")
        else:
            nodes = asyncio.run(retriever.aretrieve("drinks since 2020"))
        assert [each.node.ref_doc_id for each in nodes] == ["tea"]


class TestMemory:
    async def test_a_memory_finds_what_was_said(self, store):
        def memory(session):
            block = VectorMemoryBlock(vector_store=store, embed_model=MODEL, similarity_top_k=1)
            return Memory.from_defaults(
                session_id=session,
                token_limit=60,
                chat_history_token_ratio=0.3,
                token_flush_size=10,
                memory_blocks=[block],
                insert_method="user",
            )

        mine, other = memory("mine"), memory("other")
        await mine.aput(ChatMessage("My favourite tea is sencha, brewed at eighty degrees."))
        await other.aput(ChatMessage("My favourite tea is rooibos, brewed with milk and honey."))
        for each in (mine, other):
            for text in ("The weather is fine in Lisbon.", "Trains to Porto leave at noon."):
                await each.aput(ChatMessage(text))
            await each.aput(ChatMessage("Which tea is my favourite?"))
        said = "\n".join(str(message.content) for message in await mine.aget())
        for each in (mine, other):  # LlamaIndex leaves its database open
            await each.sql_store._async_engine.dispose()
        assert "sencha" in said
        assert "rooibos" not in said


class TestEngines:
    def test_a_query_engine_answers_from_what_is_found(self, store):
        llm = scripted("At eighty.")
        engine = index_over(store).as_query_engine(llm=llm, similarity_top_k=1)
        response = engine.query("How is green tea brewed?")
        assert str(response) == "At eighty."
        assert [each.node.ref_doc_id for each in response.source_nodes] == ["tea"]
        assert TEXTS["tea"][0] in llm.model_provider.asked[0]

    def test_a_query_engine_answers_in_an_event_loop(self, store):
        engine = index_over(store).as_query_engine(llm=MockLLM(), similarity_top_k=1)
        response = asyncio.run(engine.aquery("How is green tea brewed?"))
        assert TEXTS["tea"][0] in str(response)

    @pytest.mark.parametrize("mode", ["refine", "compact", "tree_summarize", "simple_summarize"])
    def test_modes_of_answering(self, store, mode):
        engine = index_over(store, "tea").as_query_engine(
            llm=MockLLM(), response_mode=mode, similarity_top_k=1
        )
        response = engine.query("How is green tea brewed?")
        assert len(response.source_nodes) == 1
        assert TEXTS["tea"][0] in str(response)

    def test_a_chat_engine_streams(self, store):
        engine = index_over(store).as_chat_engine(
            chat_mode="context",
            llm=scripted("At eighty."),
            similarity_top_k=1,
            memory=ChatMemoryBuffer.from_defaults(),
        )
        assert "".join(engine.stream_chat("How is green tea brewed?").response_gen) == "At eighty."


class Listener(BaseEventHandler):
    _seen: list = PrivateAttr(default_factory=list)

    @classmethod
    def class_name(cls):
        return "Listener"

    def handle(self, event, **_kwargs):
        self._seen.append(event)


@pytest.fixture
def seen_events():
    """The events since the test began."""
    listener, root = Listener(), get_dispatcher()
    root.add_event_handler(listener)
    yield listener._seen
    root.event_handlers.remove(listener)


class TestEvents:
    def test_callbacks_are_those_of_other_stores(self, store):
        kinds = [self.callbacks(each) for each in (store, None)]
        assert kinds[0] == kinds[1]
        assert CBEventType.RETRIEVE in kinds[0]

    def callbacks(self, store):
        debug = LlamaDebugHandler(print_trace_on_end=False)
        manager = CallbackManager([debug])
        model = RagbridgeEmbedding(PROVIDER, callback_manager=manager)
        index = VectorStoreIndex.from_documents(
            documents(),
            storage_context=StorageContext.from_defaults(vector_store=store),
            embed_model=model,
            callback_manager=manager,
        )
        engine = index.as_query_engine(llm=MockLLM(callback_manager=manager), similarity_top_k=2)
        engine.query("green tea")
        return [event.event_type for event in debug.get_events()]

    def test_instrumentation_is_that_of_other_stores(self, store, seen_events):
        engine = index_over(store).as_query_engine(llm=MockLLM(), similarity_top_k=1)
        engine.query("green tea")
        kinds = {type(event) for event in seen_events}
        assert {EmbeddingEndEvent, RetrievalEndEvent, SynthesizeEndEvent, QueryEndEvent} <= kinds
        (retrieved,) = (event for event in seen_events if isinstance(event, RetrievalEndEvent))
        assert [each.node.ref_doc_id for each in retrieved.nodes] == ["tea"]


class TestConcurrency:
    def test_threads_may_share_an_index(self, store):
        index = index_over(store)

        def work(number):
            name = f"extra-{number}"
            index.insert(Document(id_=name, text=f"Extra text number {number}."))
            assert found(index.as_retriever(similarity_top_k=1), "green tea") == ["tea"]
            asyncio.run(index.as_retriever().aretrieve("bread"))
            index.delete_ref_doc(name)

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(work, range(8)))
        assert stored(store).keys() == TEXTS.keys()

    def test_event_loops_in_turn(self, store):
        index = index_over(store)
        retriever = index.as_retriever(similarity_top_k=1)

        async def use(name):
            await index.ainsert(Document(id_=name, text=f"Text of {name}."))
            return await retriever.aretrieve("green tea")

        first, second = asyncio.run(use("one")), asyncio.run(use("two"))
        assert first[0].node.ref_doc_id == second[0].node.ref_doc_id == "tea"
        assert found(retriever, "green tea") == ["tea"]
        assert stored(store).keys() == {*TEXTS, "one", "two"}

    async def test_tasks_may_share_an_index(self, store):
        index = index_over(store)
        retriever = index.as_retriever(similarity_top_k=1)
        queries = ["green tea", "espresso", "sourdough bread", "gravel bike"] * 3
        nodes = await asyncio.gather(*map(retriever.aretrieve, queries))
        assert [each[0].node.ref_doc_id for each in nodes] == [
            "tea",
            "espresso",
            "bread",
            "bike",
        ] * 3
