"""Retrievers as parts of chains, as users of LangChain write them."""

import asyncio
from operator import itemgetter

import pytest
from langchain_core.documents import Document
from langchain_core.language_models import FakeListChatModel, ParrotFakeChatModel
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnablePassthrough

from ragbridge import HashingEmbeddingProvider
from ragbridge.langchain import RagbridgeRetriever, RagbridgeVectorStore

TEXTS = ["Green tea is brewed at eighty degrees", "A gravel bike rolls over rough roads"]
ANSWERS = {"green tea": f"{TEXTS[0]} | green tea", "gravel bike": f"{TEXTS[1]} | gravel bike"}


@pytest.fixture
def store(make_store):
    store = RagbridgeVectorStore(make_store(), HashingEmbeddingProvider(64))
    store.add_documents([Document(text) for text in TEXTS])
    return store


@pytest.fixture(params=["RagbridgeRetriever", "as_retriever", "mmr"])
def chain(request, store):
    retriever = {
        "RagbridgeRetriever": lambda: RagbridgeRetriever(store, k=1),
        "as_retriever": lambda: store.as_retriever(search_kwargs={"k": 1}),
        "mmr": lambda: store.as_retriever(search_type="mmr", search_kwargs={"k": 1}),
    }[request.param]()
    return chain_of(retriever)


def chain_of(retriever):
    prompt = ChatPromptTemplate.from_template("{context} | {question}")
    model = ParrotFakeChatModel()  # says what it is told
    return (
        {"context": retriever | joined, "question": RunnablePassthrough()}
        | prompt
        | model
        | StrOutputParser()
    )


def joined(documents):
    return "\n".join(document.page_content for document in documents)


@pytest.mark.stores("memory", "milvus-lite", "milvus")
async def test_a_chain_runs_in_every_way(chain):
    questions = list(ANSWERS)
    for question, answer in ANSWERS.items():
        assert chain.invoke(question) == answer
        assert await chain.ainvoke(question) == answer
        assert "".join(chain.stream(question)) == answer
        assert "".join([part async for part in chain.astream(question)]) == answer
    assert chain.batch(questions) == list(ANSWERS.values())
    assert await chain.abatch(questions) == list(ANSWERS.values())
    assert chain.batch(questions * 3, {"max_concurrency": 2}) == list(ANSWERS.values()) * 3


def test_a_chain_runs_in_one_event_loop_after_another(chain):
    for _ in range(2):
        assert asyncio.run(chain.ainvoke("green tea")) == ANSWERS["green tea"]
        assert asyncio.run(chain.abatch(list(ANSWERS))) == list(ANSWERS.values())
    assert chain.invoke("gravel bike") == ANSWERS["gravel bike"]


def test_a_chain_that_begins_with_a_retriever_asks_for_its_batch_at_once(store):
    asked = []
    query_many = store.store.query_many
    store.store.query_many = lambda queries: asked.append(len(queries)) or query_many(queries)
    chain = RagbridgeRetriever(store, k=1) | joined
    assert chain.batch(["green tea", "gravel bike"]) == TEXTS
    assert asked == [2]


async def test_events_of_a_chain_name_the_retriever(store):
    chain = chain_of(RagbridgeRetriever(store, k=1, name="shelf"))
    events = [event async for event in chain.astream_events("green tea", version="v2")]
    mine = [event for event in events if event["event"].startswith("on_retriever")]
    assert [(event["event"], event["name"]) for event in mine] == [
        ("on_retriever_start", "shelf"),
        ("on_retriever_end", "shelf"),
    ]
    assert [each.page_content for each in mine[1]["data"]["output"]] == TEXTS[:1]


def test_scripted_answers_with_assigned_context(store):
    chain = (
        RunnablePassthrough.assign(context=itemgetter("question") | store.as_retriever())
        | ChatPromptTemplate.from_template("{context} {question}")
        | FakeListChatModel(responses=["At eighty degrees."])
        | StrOutputParser()
    )
    assert chain.invoke({"question": "green tea"}) == "At eighty degrees."
