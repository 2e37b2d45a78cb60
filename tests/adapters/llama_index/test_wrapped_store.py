"""LlamaIndex's vector stores as core stores.

A node carries one dense vector and nothing else: that is why the suites for sparse, binary and hybrid
vectors are not run here. All others hold, each of their tests.
"""

import asyncio
import threading

import numpy as np
import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.schema import Document, MetadataMode
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.core.vector_stores import SimpleVectorStore
from llama_index.core.vector_stores.types import BasePydanticVectorStore, VectorStoreQueryResult
from pydantic import PrivateAttr

from ragbridge import (
    HashingEmbeddingProvider,
    SparseVector,
    TextChunk,
    VectorEntry,
    VectorRetriever,
    VectorStoreQuery,
    where,
)
from ragbridge.errors import (
    InvalidConfigError,
    InvalidEmbeddingError,
    UnsupportedQueryError,
    VectorStoreError,
)
from ragbridge.llama_index import (
    LlamaIndexEmbeddingProvider,
    LlamaIndexVectorStore,
    RagbridgeEmbedding,
    RagbridgeVectorStore,
)
from ragbridge.stores.base import Capability, SimilarityMetric
from ragbridge.stores.memory import InMemoryVectorStore
from ragbridge.testing import (
    DeleteTests,
    FilterTests,
    FullTextTests,
    QueryTests,
    ReadTests,
    ScoreTests,
    VectorStoreConformance,
)

MODEL = RagbridgeEmbedding(HashingEmbeddingProvider(dimension=64))


class VectorsOnly(BasePydanticVectorStore):
    """Keeps vectors, answers by cosine and knows no restriction: the least that a store can do."""

    stores_text: bool = False
    _rows: dict = PrivateAttr(default_factory=dict)

    @property
    def client(self):
        return None

    def add(self, nodes, **_kwargs):
        self._rows.update({node.node_id: self._row(node) for node in nodes})
        return [node.node_id for node in nodes]

    def _row(self, node):
        return np.array(node.get_embedding())

    def delete(self, ref_doc_id, **_kwargs):
        raise NotImplementedError

    def delete_nodes(self, node_ids=None, filters=None, **_kwargs):
        for node_id in node_ids:
            self._rows.pop(node_id, None)

    def clear(self):
        self._rows.clear()

    def query(self, query, **_kwargs):
        wanted = np.array(query.query_embedding)
        scores = {
            node_id: float(row @ wanted / np.linalg.norm(row) / np.linalg.norm(wanted))
            for node_id, row in self._rows.items()
        }
        ids = sorted(scores, key=scores.get, reverse=True)[: query.similarity_top_k]
        return VectorStoreQueryResult(ids=ids, similarities=[scores[each] for each in ids])


class Opaque(VectorsOnly):
    """Keeps nodes as well, but gives them back in answers only, and without their vectors."""

    stores_text: bool = True
    _nodes: dict = PrivateAttr(default_factory=dict)

    def add(self, nodes, **kwargs):
        self._nodes |= {n.node_id: n.model_copy(update={"embedding": None}) for n in nodes}
        return super().add(nodes, **kwargs)

    def query(self, query, **kwargs):
        found = super().query(query, **kwargs)
        found.nodes = [self._nodes[node_id] for node_id in found.ids]
        return found


class Renaming(VectorsOnly):
    def add(self, nodes, **_kwargs):
        return [str(place) for place, _ in enumerate(nodes)]


class Broken(VectorsOnly):
    def query(self, query, **_kwargs):
        raise KeyError("secret")


class Watched(RagbridgeVectorStore):
    """Ours, remembering what was asked."""

    _asked: list = PrivateAttr(default_factory=list)

    def query(self, query, **kwargs):
        self._asked.append(query)
        return super().query(query, **kwargs)


def entry(name, vector=(1.0, 0.0), **fields):
    metadata = fields.pop("metadata", {})
    return VectorEntry(
        id=name,
        embedding=vector,
        chunk=TextChunk(content=f"text of {name}", metadata=metadata),
        **fields,
    )


def many(number, **fields):
    return [
        entry(f"{n:04}", [1.0, n / number], metadata={"n": n, "even": n % 2 == 0}, **fields)
        for n in range(number)
    ]


def ids_of(rows):
    return [row.id for row in rows]


class TestOurs(VectorStoreConformance):
    @pytest.fixture
    def vector_store(self):
        return LlamaIndexVectorStore(RagbridgeVectorStore(InMemoryVectorStore()))


@pytest.mark.stores("milvus-lite", "milvus")
class TestOursOverEngines(QueryTests, ReadTests, DeleteTests):
    @pytest.fixture
    def vector_store(self, backend):
        with backend.empty_store(metric=SimilarityMetric.COSINE) as store:
            yield LlamaIndexVectorStore(RagbridgeVectorStore(store))


class TestScoresOfOurs(ScoreTests):
    @pytest.fixture(params=["euclidean", "dot_product"])
    def vector_store(self, request):
        store = InMemoryVectorStore(metric=request.param)
        return LlamaIndexVectorStore(RagbridgeVectorStore(store))


class TestFullTextOfOurs(FullTextTests):
    @pytest.fixture
    def vector_store(self):
        return LlamaIndexVectorStore(RagbridgeVectorStore())


class TestSimple(VectorStoreConformance):
    @pytest.fixture
    def vector_store(self):
        return LlamaIndexVectorStore(SimpleVectorStore())


class TestVectorsOnly(QueryTests, ReadTests, DeleteTests, FilterTests):
    @pytest.fixture
    def vector_store(self):
        return LlamaIndexVectorStore(VectorsOnly())


class TestAnIndexOfLlamaIndex:
    """A store whose rows an index wrote."""

    @pytest.fixture
    def index(self):
        documents = [
            Document(id_="tea", text="green tea", metadata={"n": 1, "doc_id": "mine"}),
            Document(id_="bike", text="a gravel bike", metadata={"n": 2}),
        ]
        return VectorStoreIndex.from_documents(documents, embed_model=MODEL)

    @pytest.fixture
    def store(self, index):
        return LlamaIndexVectorStore(index.vector_store, docstore=index.docstore)

    def test_its_rows_are_read(self, store):
        rows = {row.chunk.document_id: row for row in store.scan()}
        assert rows.keys() == {"tea", "bike"}
        assert rows["tea"].chunk.content == "green tea"
        assert rows["tea"].chunk.metadata == {"n": 1, "doc_id": "mine"}
        assert rows["tea"].embedding.tolist() == MODEL.get_text_embedding(
            "n: 1\ndoc_id: mine\n\ngreen tea"
        )

    def test_it_is_searched_with_filters(self, store):
        retriever = VectorRetriever(store, LlamaIndexEmbeddingProvider(MODEL))
        (found,) = retriever.retrieve("green tea", 2, where("doc_id") != "mine")
        assert found.chunk.content == "a gravel bike"

    def test_other_nodes_of_its_document_store_are_no_rows(self, index, store):
        index.docstore.add_documents([Document(id_="other", text="x")])
        assert store.count() == 2
        store.clear()
        assert index.docstore.document_exists("other")
        assert store.count() == 0

    def test_without_its_document_store_it_says_so(self, index):
        store = LlamaIndexVectorStore(index.vector_store)
        for call in (lambda: list(store.scan()), lambda: ask(store, MODEL.get_text_embedding("x"))):
            with pytest.raises(VectorStoreError, match="docstore"):
                call()

    def test_what_the_core_adds_the_index_finds(self, index, store):
        (vector,) = MODEL.get_text_embedding_batch(["sourdough bread"])
        chunk = TextChunk(content="sourdough bread", document_id="d", metadata={"n": 3})
        store.add([VectorEntry(id="bread", embedding=vector, chunk=chunk)])
        index.index_struct.nodes_dict["bread"] = "bread"
        (found,) = index.as_retriever(similarity_top_k=1).retrieve("sourdough bread")
        node = found.node
        assert (node.text, node.metadata, node.ref_doc_id) == ("sourdough bread", {"n": 3}, "d")


class TestNodes:
    def test_a_plain_row_is_a_plain_node(self):
        inner = RagbridgeVectorStore()
        chunk = TextChunk(content="t", document_id="d", start=3, end=4, metadata={"x": 1})
        LlamaIndexVectorStore(inner).add([VectorEntry(id="a", embedding=[1.0], chunk=chunk)])
        (node,) = inner.get_nodes(["a"])
        assert (node.text, node.metadata, node.ref_doc_id) == ("t", {"x": 1}, "d")
        (row,) = inner.vector_store.get(["a"])
        assert row.framework_data == {}

    def test_models_do_not_see_what_is_carried(self):
        inner = RagbridgeVectorStore()
        chunk = TextChunk(content="t", metadata={"x": 1}, index=3)
        LlamaIndexVectorStore(inner).add([VectorEntry(id="a", embedding=[1.0], chunk=chunk)])
        (node,) = inner.get_nodes(["a"])
        assert node.metadata.keys() == {"x", "_ragbridge"}
        for mode in (MetadataMode.EMBED, MetadataMode.LLM):
            assert node.get_content(mode) == "x: 1\n\nt"

    def test_a_key_of_the_same_name_is_the_users(self):
        store = LlamaIndexVectorStore(RagbridgeVectorStore())
        row = entry("a", metadata={"_ragbridge": "mine", "x": 1})
        store.add([row, entry("b")])
        assert store.get(["a"]) == [row]
        assert ids_of(store.scan(where("_ragbridge") == "mine")) == ["a"]
        assert ids_of(store.scan(where("_ragbridge").is_empty())) == ["b"]

    def test_what_others_wrote_under_our_key_is_named(self):
        inner = RagbridgeVectorStore()
        inner.vector_store.add([entry("a", metadata={"_ragbridge": "nonsense"})])
        with pytest.raises(VectorStoreError, match="'a' has metadata '_ragbridge'"):
            LlamaIndexVectorStore(inner).get(["a"])

    @pytest.mark.parametrize(
        "vector", [None, SparseVector([1], [1.0])], ids=["no vector", "sparse"]
    )
    def test_rows_without_a_dense_vector_are_refused(self, vector):
        inner = RagbridgeVectorStore()
        with pytest.raises(InvalidEmbeddingError, match="one dense vector"):
            LlamaIndexVectorStore(inner).add([entry("a", vector)])
        assert inner.vector_store.count() == 0


class TestFilters:
    def test_ours_evaluates_what_can_be_said(self):
        inner = Watched()
        store = LlamaIndexVectorStore(inner)
        store.add(many(20))
        condition = (where("n") >= 4) & (where("even") == True) & where("n").exists()  # noqa: E712
        assert ids_of(ask(store, [1.0, 1.0], filters=condition, top_k=3)) == [
            "0018",
            "0016",
            "0014",
        ]
        sent = inner._asked[0].filters
        assert [(each.key, each.operator.value, each.value) for each in sent.filters] == [
            ("n", ">=", 4)
        ]

    def test_ours_is_asked_once_where_all_can_be_said(self):
        inner = Watched()
        store = LlamaIndexVectorStore(inner)
        store.add(many(20))
        found = ask(store, [1.0, 1.0], filters=~(where("n") > 2), ids=["0001", "0002", "0009"])
        assert ids_of(found) == ["0002", "0001"]
        assert len(inner._asked) == 1

    @pytest.mark.parametrize("top_k", [1, 5, 200, -1])
    def test_others_are_asked_for_more_until_there_are_enough(self, top_k):
        store = LlamaIndexVectorStore(Opaque())
        store.add(many(2000))
        wanted = [f"{n:04}" for n in range(99, -1, -1)]
        found = ask(store, [1.0, 1.0], filters=where("n") < 100, top_k=top_k)
        assert ids_of(found) == (wanted if top_k == -1 else wanted[:top_k])

    def test_others_may_be_trusted(self):
        class Trusting(Opaque):
            def query(self, query, **kwargs):
                assert query.filters.filters[0].key == "n"
                return super().query(query, **kwargs)

        store = LlamaIndexVectorStore(Trusting(), native_filters=True)
        store.add(many(5))
        assert ids_of(ask(store, [1.0, 1.0], filters=where("n") == 3)) == ["0003"]


class TestScores:
    def test_scores_may_be_made_of_distances(self):
        class Distances(Opaque):
            def query(self, query, **kwargs):
                found = super().query(query, **kwargs)
                found.similarities = [1 - each for each in found.similarities]
                return found

        store = LlamaIndexVectorStore(Distances(), to_score=lambda distance: 1 - distance)
        store.add([entry("far", [0.0, 1.0]), entry("near", [1.0, 0.1])])
        near, far = ask(store, [1.0, 0.0])
        assert (near.id, far.id, far.similarity_score) == ("near", "far", 0.0)

    def test_the_metric_is_the_wrapped_stores(self):
        inner = RagbridgeVectorStore(InMemoryVectorStore(metric="euclidean"))
        assert LlamaIndexVectorStore(inner).metric is SimilarityMetric.EUCLIDEAN
        assert LlamaIndexVectorStore(Opaque(), metric="dot_product").metric == "dot_product"
        with pytest.raises(InvalidConfigError, match="euclidean"):
            LlamaIndexVectorStore(inner, metric="cosine")
        with pytest.raises(InvalidConfigError, match="cosine"):
            LlamaIndexVectorStore(SimpleVectorStore(), metric="euclidean")

    def test_capabilities_are_the_wrapped_stores(self):
        dense, both = {Capability.DENSE}, {Capability.DENSE, Capability.FULL_TEXT}
        assert LlamaIndexVectorStore(RagbridgeVectorStore()).capabilities == both
        assert LlamaIndexVectorStore(SimpleVectorStore()).capabilities == dense
        assert LlamaIndexVectorStore(Opaque(), full_text=True).capabilities == both


class TestLimits:
    """What a wrapped store cannot do is said, and not made up for."""

    @pytest.mark.parametrize(
        "call",
        [
            lambda store: store.get(["a"]),
            lambda store: store.count(),
            lambda store: list(store.scan()),
            lambda store: store.query(VectorStoreQuery()),
            lambda store: store.delete_by_filter(where("x") == 1),
            lambda store: ask(store, [1.0, 0.0], include_embeddings=True),
        ],
        ids=["get", "count", "scan", "listing", "delete_by_filter", "embeddings"],
    )
    @pytest.mark.parametrize("way", ["sync", "async"])
    def test_a_store_that_lists_nothing(self, call, way):
        store = LlamaIndexVectorStore(Opaque())
        store.add([entry("a")])
        with pytest.raises(UnsupportedQueryError, match="Opaque has no get_nodes"):
            call(store)
        assert ids_of(ask(store, [1.0, 0.0])) == ["a"]
        store.delete("a")
        assert ask(store, [1.0, 0.0]) == []

    def test_a_store_that_gives_no_vectors_back(self):
        class Listing(Opaque):
            def get_nodes(self, node_ids=None, filters=None):
                return [self._nodes[each] for each in node_ids or self._nodes]

        store = LlamaIndexVectorStore(Listing())
        store.add([entry("a")])
        assert ids_of(store.scan(include_embeddings=False)) == ["a"]
        with pytest.raises(UnsupportedQueryError, match="gives no vectors back"):
            store.scan()

    def test_a_store_with_ids_of_its_own(self):
        with pytest.raises(VectorStoreError, match="ids of its own"):
            LlamaIndexVectorStore(Renaming()).add([entry("a")])

    def test_a_failing_store_is_named_and_its_words_are_not_repeated(self):
        store = LlamaIndexVectorStore(Broken())
        with pytest.raises(VectorStoreError, match=r"Broken\.query failed with KeyError") as caught:
            ask(store, [1.0, 0.0])
        assert isinstance(caught.value.__cause__, KeyError)
        assert "secret" not in str(caught.value)

    @pytest.mark.parametrize(
        ("arguments", "named"),
        [
            ((None,), "vector_store"),
            ((InMemoryVectorStore(),), "vector_store"),
            ((RagbridgeVectorStore(), {"docstore": SimpleDocumentStore()}), "docstore"),
            ((SimpleVectorStore(), {"docstore": {}}), "docstore"),
            ((SimpleVectorStore(), {"metric": "nearest"}), "metric"),
            ((Opaque(), {"metric": "hamming"}), "hamming"),
            ((RagbridgeVectorStore(InMemoryVectorStore(metric="jaccard")),), "jaccard"),
        ],
        ids=["none", "core", "text-store", "docstore", "metric", "binary", "binary-store"],
    )
    def test_bad_arguments_are_refused(self, arguments, named):
        store, *options = arguments
        with pytest.raises(InvalidConfigError, match=named):
            LlamaIndexVectorStore(store, **(options[0] if options else {}))


class TestConcurrency:
    async def test_async_methods_of_the_wrapped_store_are_called(self, monkeypatch):
        store = LlamaIndexVectorStore(RagbridgeVectorStore(Threadless()))
        monkeypatch.setattr(asyncio, "to_thread", None)
        await store.aadd([entry("a"), entry("b", [0.0, 1.0])])
        assert ids_of(await store.aquery(VectorStoreQuery(embedding=[1.0, 0.0], top_k=1))) == ["a"]
        assert ids_of(await store.aget(["b"])) == ["b"]
        assert await store.acount() == 2
        assert ids_of([row async for row in store.ascan()]) == ["a", "b"]
        await store.adelete("a")
        await store.aclear()

    async def test_sync_methods_do_not_hold_the_event_loop_up(self):
        threads = []

        class Slow(Opaque):
            def query(self, query, **kwargs):
                threads.append(threading.current_thread())
                return super().query(query, **kwargs)

        store = LlamaIndexVectorStore(Slow())
        await store.aadd([entry("a")])
        await store.aquery(VectorStoreQuery(embedding=[1.0, 0.0]))
        assert threads != [threading.current_thread()]

    def test_closing_leaves_the_wrapped_store_open(self):
        inner = RagbridgeVectorStore()
        with LlamaIndexVectorStore(inner) as store:
            store.add([entry("a")])
        assert inner.vector_store.count() == 1


class Threadless(InMemoryVectorStore):
    """A store whose async twins need no thread."""

    async def aadd(self, entries):
        return self.add(entries)

    async def aquery(self, query):
        return self.query(query)

    async def aget(self, ids, *, include_deleted=False):
        return self.get(ids, include_deleted=include_deleted)

    async def adelete(self, ids, *, missing_ok=True):
        self.delete(ids, missing_ok=missing_ok)

    async def aclear(self):
        self.clear()


def ask(store, vector, **query):
    return store.query(VectorStoreQuery(embedding=vector, **query))
