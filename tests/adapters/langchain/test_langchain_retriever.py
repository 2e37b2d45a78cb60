"""LangChain retrievers as core retrievers."""

import asyncio
import threading

import pytest
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.vectorstores import InMemoryVectorStore

from ragbridge import (
    HashingEmbeddingProvider,
    InvalidConfigError,
    QueryMatch,
    TextChunk,
    VectorKnowledgeBase,
    VectorRetriever,
    where,
)
from ragbridge.langchain import (
    LangChainRetriever,
    LangChainVectorStore,
    RagbridgeEmbeddings,
    RagbridgeRetriever,
    RagbridgeVectorStore,
)
from ragbridge.testing import RetrieverTests

PROVIDER = HashingEmbeddingProvider(64)
MODEL = RagbridgeEmbeddings(PROVIDER)


def filled(theirs):
    VectorKnowledgeBase(LangChainVectorStore(theirs), PROVIDER, chunker=None).ingest(
        RetrieverTests.CHUNKS
    )
    return theirs


class TestOverAVectorStore(RetrieverTests):
    @pytest.fixture(params=["similarity", "mmr"])
    def retriever(self, request):
        theirs = filled(InMemoryVectorStore(MODEL))
        return LangChainRetriever(theirs.as_retriever(search_type=request.param))


class TestOverRagbridge(RetrieverTests):
    @pytest.fixture(params=["as_retriever", "RagbridgeRetriever"])
    def retriever(self, request):
        theirs = filled(RagbridgeVectorStore(embedding=PROVIDER))
        if request.param == "as_retriever":
            return LangChainRetriever(theirs.as_retriever())
        return LangChainRetriever(RagbridgeRetriever(theirs))


class TestOverAWrappedStore(RetrieverTests):
    @pytest.fixture(params=["vectors", "texts"])
    def retriever(self, request):
        store = LangChainVectorStore(filled(InMemoryVectorStore(MODEL)))
        return VectorRetriever(store, PROVIDER if request.param == "vectors" else None)


class Fixed(BaseRetriever):
    """Finds the same three documents, whatever it is asked."""

    threads: list = []  # noqa: RUF012 - a pydantic field

    def _get_relevant_documents(self, query, *, run_manager):
        return [
            Document(query, id=str(n), metadata={"n": n, "score": 1 - n / 10, "doc": "d"})
            for n in range(3)
        ]

    async def _aget_relevant_documents(self, query, *, run_manager):
        self.threads.append(threading.current_thread())
        return self._get_relevant_documents(query, run_manager=run_manager)


def test_what_any_other_retriever_finds():
    retriever = LangChainRetriever(Fixed())
    found = retriever.retrieve("tea", 2)
    assert found[0] == QueryMatch(
        id="0",
        chunk=TextChunk(content="tea", metadata={"n": 0, "score": 1.0, "doc": "d"}),
        similarity_score=0.0,
    )
    assert [match.id for match in found] == ["0", "1"]
    assert [match.id for match in retriever.retrieve("tea", -1, where("n") > 0)] == ["1", "2"]
    assert [[match.id for match in each] for each in retriever.retrieve_many(["a", "b"], 1)] == [
        ["0"],
        ["0"],
    ]


def test_scores_and_documents_are_read_from_their_keys():
    retriever = LangChainRetriever(Fixed(), score_key="score", document_id_key="doc")
    found = retriever.retrieve("tea")
    assert [match.similarity_score for match in found] == [1.0, 0.9, 0.8]
    assert found[0].chunk.document_id == "d"
    assert "doc" not in found[0].chunk.metadata


def test_async_calls_stay_async():
    model = Fixed()
    found = asyncio.run(LangChainRetriever(model).aretrieve_many(["a", "b"], 1))
    assert [[match.chunk.content for match in each] for each in found] == [["a"], ["b"]]
    assert set(model.threads) == {threading.main_thread()}


def test_a_retriever_is_asked_for_as_many_as_filters_take():
    theirs = InMemoryVectorStore(MODEL)
    theirs.add_texts([f"tea {n}" for n in range(500)], [{"n": n} for n in range(500)])
    retriever = LangChainRetriever(theirs.as_retriever(search_kwargs={"k": 1}))
    assert len(retriever.retrieve("tea", 7)) == 7
    assert sorted(
        m.chunk.metadata["n"] for m in retriever.retrieve("tea", 3, where("n") > 496)
    ) == [
        497,
        498,
        499,
    ]
    assert len(retriever.retrieve("tea", -1)) == 500


def test_its_own_filter_stays():
    theirs = RagbridgeVectorStore(embedding=PROVIDER)
    theirs.add_texts([f"tea {n}" for n in range(9)], [{"n": n} for n in range(9)])
    for own in (
        theirs.as_retriever(search_kwargs={"filter": {"n": {"$lt": 5}}}),
        RagbridgeRetriever(theirs, filter={"n": {"$lt": 5}}),
    ):
        found = LangChainRetriever(own).retrieve("tea", 9, where("n") > 2)
        assert sorted(match.chunk.metadata["n"] for match in found) == [3, 4]


def test_bad_arguments_are_refused():
    with pytest.raises(InvalidConfigError, match="retriever"):
        LangChainRetriever(VectorRetriever(LangChainVectorStore(InMemoryVectorStore(MODEL))))
    with pytest.raises(InvalidConfigError, match="score_key"):
        LangChainRetriever(Fixed(), score_key=1)
