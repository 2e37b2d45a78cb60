"""LangChain's SelfQueryRetriever over a real store, with a model that says what it is told to."""

import asyncio
import json

import pytest
from langchain_classic.chains.query_constructor.schema import AttributeInfo
from langchain_classic.retrievers import SelfQueryRetriever
from langchain_core.language_models import FakeListChatModel
from langchain_core.structured_query import Comparator, Operator

from ragbridge import ChatAssistantMessage, HashingEmbeddingProvider, ModelProvider
from ragbridge.errors import UnsupportedFilterError
from ragbridge.langchain import RagbridgeChatModel, RagbridgeTranslator, RagbridgeVectorStore

FILMS = {
    "Alien": {"year": 1979, "genres": ["horror", "space"], "seen": "2024-01-31", "rating": 8.5},
    "Aliens": {"year": 1986, "genres": ["action", "space"], "seen": "2024-02-01", "rating": 8.4},
    "Heat": {"year": 1995, "genres": ["crime"], "seen": "2024-01-30", "own": True},
    "Gravity": {"year": 2013, "genres": ["space"], "director": "Alfonso Cuarón"},
}
FIELDS = [
    AttributeInfo(name=name, description=name, type="string")
    for name in ("year", "genres", "seen", "rating", "own", "director")
]


@pytest.fixture
def films(make_store):
    store = RagbridgeVectorStore(make_store(), HashingEmbeddingProvider(64))
    store.add_texts([f"the film {name}" for name in FILMS], list(FILMS.values()), ids=list(FILMS))
    return store


def make_retriever(store, *filters, limit=None, model=None):
    answers = [
        "```json\n" + json.dumps({"query": "film", "filter": each, "limit": limit}) + "\n```"
        for each in filters
    ]
    return SelfQueryRetriever.from_llm(
        model(answers) if model else FakeListChatModel(responses=answers),
        store,
        "films",
        FIELDS,
        structured_query_translator=RagbridgeTranslator(),
        enable_limit=True,
        search_kwargs={"k": 10},
    )


CASES = {
    'eq("year", 1979)': ["Alien"],
    'ne("year", 1979)': ["Aliens", "Gravity", "Heat"],
    'gt("year", 1986)': ["Gravity", "Heat"],
    'gte("year", 1986)': ["Aliens", "Gravity", "Heat"],
    'lt("rating", 8.5)': ["Aliens"],
    'lte("rating", 8.5)': ["Alien", "Aliens"],
    'contain("genres", "space")': ["Alien", "Aliens", "Gravity"],
    'contain("director", "Cuar")': ["Gravity"],
    'like("director", "%Alfonso%")': ["Gravity"],
    'in("year", [1979, 1995])': ["Alien", "Heat"],
    'in("year", 1979)': ["Alien"],
    'nin("year", [1979, 1995])': ["Aliens", "Gravity"],
    'eq("own", true)': ["Heat"],
    'eq("seen", "2024-01-31")': ["Alien"],
    'gte("seen", "2024-01-31")': ["Alien", "Aliens"],
    'gt("seen", 2024-01-31)': ["Aliens"],
    'lt("seen", "2024-01-31T10:00:00")': ["Alien", "Heat"],
    'and(gt("year", 1980), contain("genres", "space"))': ["Aliens", "Gravity"],
    'or(lt("year", 1980), gt("year", 2000))': ["Alien", "Gravity"],
    'not(contain("genres", "space"))': ["Heat"],
    "NO_FILTER": ["Alien", "Aliens", "Gravity", "Heat"],
}


def test_every_comparator_and_operator_over_a_real_store(films):
    asked = {name.split("(")[0] for case in CASES for name in case.replace("(", "( ").split()}
    assert {*map(str, (each.value for each in Comparator))} <= asked
    assert {*map(str, (each.value for each in Operator))} <= asked
    retriever = make_retriever(films, *CASES)
    found = {case: sorted(each.id for each in retriever.invoke("films?")) for case in CASES}
    assert found == CASES


def test_async_and_with_a_limit(films):
    retriever = make_retriever(films, 'contain("genres", "space")', limit=2)
    found = asyncio.run(retriever.ainvoke("two films in space?"))
    assert len(found) == 2
    assert {each.id for each in found} < {"Alien", "Aliens", "Gravity"}


@pytest.mark.stores("memory")
def test_what_cannot_be_said_is_refused(films):
    with pytest.raises(UnsupportedFilterError, match="LIKE"):
        make_retriever(films, 'like("director", "Alfonso%")').invoke("films?")


@pytest.mark.stores("memory")
def test_with_a_model_of_the_core(films):
    class Scripted(ModelProvider):
        def __init__(self, answers):
            self.answers = answers

        def chat(self, messages, tools=(), stop=None):
            return ChatAssistantMessage(self.answers.pop(0))

    def model(answers):
        return RagbridgeChatModel(Scripted(answers))

    retriever = make_retriever(films, 'eq("year", 1979)', model=model)
    assert [each.id for each in retriever.invoke("films of 1979?")] == ["Alien"]
