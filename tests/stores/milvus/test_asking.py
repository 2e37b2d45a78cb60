"""Searches by dense vectors: the requests that pymilvus would make, and who makes them."""

import numpy as np
import pytest

from engine_calls import record_calls
from ragbridge.filters import where
from ragbridge.stores.base import VectorStoreQuery
from ragbridge.stores.milvus import asking
from ragbridge.testing._suite.samples import ids_of, make_entry

pytestmark = pytest.mark.stores("milvus-lite", "milvus")

EAST = [1.0, 0.0, 0.0, 0.0]
QUERIES = {
    "plain": {},
    "fewer": {"top_k": 1},
    "filtered": {"filters": where("n") == 1},
    "by ids": {"ids": ["a", "c"]},
    "with deleted ones": {"include_deleted": True},
    "strong": {"options": {"consistency_level": "Strong"}},
    "bounded": {"options": {"consistency_level": "Bounded"}},
    "eventually": {"options": {"consistency_level": "Eventually"}},
    "grouped": {"options": {"group_by": "document_id"}},
    "with vectors": {"include_embeddings": True},
    "all": {"top_k": -1},
}


def fill(store):
    store.add([make_entry(row_id, metadata={"n": n}) for n, row_id in enumerate("abcd")])
    store.count()


@pytest.fixture
def store(make_store):
    store = make_store()
    fill(store)
    return store


def query_of(vector=EAST, **more):
    return VectorStoreQuery(embedding=vector, **more)


def sent_by(client, stub, patch):
    """The requests of searches that the client sends from now on."""
    requests, send = [], getattr(client._handler, stub).Search

    def sending(request, **how):
        requests.append(request)
        return send(request, **how)

    patch.setattr(getattr(client._handler, stub), "Search", sending)
    return requests


def forbid_pymilvus(patch):
    """Let pymilvus's own way to make requests of searches fail."""
    from pymilvus.client.prepare import Prepare

    def fail(*_args, **_told):
        raise AssertionError("pymilvus makes the request: its handlers have other methods now")

    patch.setattr(Prepare, "search_requests_with_expr", fail)


@pytest.mark.parametrize("asked", QUERIES)
def test_requests_are_those_that_pymilvus_makes(store, monkeypatch, asked):
    """Whatever vectors and filters searches of the kind had before."""
    store.query(query_of([0.0, 1.0, 0.0, 0.0], **QUERIES[asked]))
    calls = record_calls(monkeypatch)
    requests = sent_by(store.client, "_stub", monkeypatch)
    store.query(query_of(**QUERIES[asked]))
    ours = [*requests]
    searches = [call.arguments for call in calls if call.method == "search"]
    assert len(ours) == len(searches)
    for arguments in searches:
        store.client.search(**{**arguments, "data": [*arguments["data"]]})
    assert requests[len(ours) :] == ours


def test_many_at_once_are_one_request_as_pymilvus_makes_it(store, monkeypatch):
    calls = record_calls(monkeypatch)
    requests = sent_by(store.client, "_stub", monkeypatch)
    vectors = np.random.default_rng(0).standard_normal((7, 4))
    store.query_many([query_of(vector, top_k=2) for vector in vectors])
    (search,) = [call.arguments for call in calls]
    store.client.search(**{**search, "data": [*search["data"]]})
    assert requests[0].nq == 7
    assert requests[0] == requests[1]


def test_a_kind_that_was_seen_is_not_made_by_pymilvus(store, monkeypatch):
    first = store.query(query_of(top_k=2))
    forbid_pymilvus(monkeypatch)
    assert store.query(query_of(top_k=2)) == first
    assert ids_of(store.query(query_of(top_k=2, filters=where("n") == 1))) == ["b"]


async def test_the_async_client_sends_the_same(make_store, monkeypatch):
    store = make_store()
    fill(store)
    first = await store.aquery(query_of())
    asynchronous = sent_by(await store.aclient(), "_async_stub", monkeypatch)
    forbid_pymilvus(monkeypatch)
    assert await store.aquery(query_of()) == first
    monkeypatch.undo()
    sync = sent_by(store.client, "_stub", monkeypatch)
    assert store.query(query_of()) == first
    assert asynchronous == sync
    await store.aclose()


@pytest.mark.parametrize("stub", ["_stub", "_async_stub"])
async def test_where_requests_are_made_otherwise_pymilvus_makes_them(make_store, monkeypatch, stub):
    store = make_store()
    fill(store)
    monkeypatch.setattr(asking._Wire, "_packed", lambda *_: b"packed otherwise")
    client = store.client if stub == "_stub" else await store.aclient()
    requests = sent_by(client, stub, monkeypatch)
    for _ in range(2):
        found = store.query(query_of()) if stub == "_stub" else await store.aquery(query_of())
        assert len(found) == 4
    assert len(requests) == 2
    await store.aclose()


def test_a_pymilvus_with_other_methods_searches_itself(make_store, monkeypatch):
    monkeypatch.setattr(asking, "_NEEDED", ("_search_otherwise",))
    store = make_store()
    fill(store)
    with pytest.MonkeyPatch.context() as patch:
        calls = record_calls(patch)
        assert len(store.query(query_of())) == 4
    assert not any(isinstance(hits, asking.ReadHits) for call in calls for hits in call.answer)


def test_answers_are_read_by_column(store, monkeypatch):
    """Also those of Milvus Lite, which sends dynamic keys that nobody asked for."""
    calls = record_calls(monkeypatch)
    assert len(store.query(query_of())) == 4
    (search,) = [call for call in calls if call.method == "search"]
    assert {type(hits) for hits in search.answer} == {asking.ReadHits}


def test_an_answer_without_what_was_asked_for_is_read_by_pymilvus(store, monkeypatch):
    """Dynamic keys come in a column of their own."""
    calls = record_calls(monkeypatch)
    store.query(query_of())
    asked = calls[0].arguments | {"output_fields": ["content", "unheard_of"]}
    (found,) = store.client.search(**asked)
    assert not isinstance(found, asking.ReadHits)
    assert {hit["entity"]["content"] for hit in found} == {"some text"}


def test_searches_go_past_interceptors_that_are_known(store):
    handler = store.client._handler
    assert isinstance(handler._stub.Search, asking._Straight)
    known = [getattr(handler, name) for name in asking._INTERCEPTORS]
    met, channel = [], handler._final_channel
    while channel is not handler._channel:
        met.append(channel._interceptor)
        channel = channel._channel
    assert {*met} == {each for each in known if each is not None}


def test_headers_are_those_of_the_interceptors(store):
    from pymilvus.client.interceptor import header_adder_interceptor

    class Handler:
        _authorization_interceptor = header_adder_interceptor(["authorization"], ["Basic YTpi"])
        _identifier_interceptor = None

    assert asking._headers_of(Handler()) == [("authorization", "Basic YTpi")]
    Handler._identifier_interceptor = header_adder_interceptor(["identifier"], ["7"])
    assert asking._headers_of(Handler())[1:] == [("identifier", "7")]


def test_a_client_that_connected_anew_searches_through_its_new_stub(store):
    first = store.query(query_of())
    handler = store.client._handler
    handler._setup_grpc_channel()
    assert not isinstance(handler._stub.Search, asking._Straight)
    assert store.query(query_of()) == first


def test_the_client_searches_for_others_as_ever(store):
    from pymilvus.client.search_result import SearchResult

    store.query(query_of())
    found = store.client.search(
        store.collection_name, data=[EAST], anns_field="vector", limit=4, output_fields=["content"]
    )
    assert isinstance(found, SearchResult)
    assert {hit["id"] for hit in found[0]} == set("abcd")


def test_kinds_are_forgotten_when_there_are_many(store, monkeypatch):
    monkeypatch.setattr(asking, "_MOST_KINDS", 3)
    for top_k in (1, 2, 3, 4, 5, 1):
        assert len(store.query(query_of(top_k=top_k))) == min(top_k, 4)
