"""Connecting: addresses where nobody answers, servers that hang, secrets, and closing."""

import asyncio
import os
import pickle
import socket
import subprocess
import sys
import threading
import time
from uuid import uuid4

import pytest

from ragbridge.errors import (
    InvalidConfigError,
    MissingDependencyError,
    StoreClosedError,
    StoreConnectionError,
    StoreTimeoutError,
    VectorStoreError,
)
from ragbridge.stores.base import VectorStoreQuery
from ragbridge.stores.milvus import MilvusConfig, MilvusVectorStore
from ragbridge.testing._suite.samples import make_entry

QUERY = VectorStoreQuery(embedding=[1.0, 0.0, 0.0, 0.0])
TOKEN = "root:very-secret"

CALLS = {
    "add": lambda store: store.add([make_entry("a")]),
    "query": lambda store: store.query(QUERY),
    "get": lambda store: store.get(["a"]),
    "scan": lambda store: list(store.scan()),
    "delete": lambda store: store.delete("a"),
    "count": lambda store: store.count(),
    "clear": lambda store: store.clear(),
}
ASYNC_CALLS = {
    "aadd": lambda store: store.aadd([make_entry("a")]),
    "aquery": lambda store: store.aquery(QUERY),
    "adelete": lambda store: store.adelete("a"),
    "acount": lambda store: store.acount(),
}
every_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
every_async_call = pytest.mark.parametrize("call", ASYNC_CALLS.values(), ids=ASYNC_CALLS)


@pytest.fixture
def refused_uri():
    """An address where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


@pytest.fixture
def silent_uri():
    """An address where somebody listens who never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@every_call
def test_a_server_that_is_not_there(refused_uri, call):
    with MilvusVectorStore(uri=refused_uri, timeout=5) as store:
        with pytest.raises(StoreConnectionError, match=refused_uri) as caught:
            call(store)
        assert caught.value.__cause__ is not None


@every_async_call
async def test_a_server_that_is_not_there_for_tasks(refused_uri, call):
    async with MilvusVectorStore(uri=refused_uri, timeout=5) as store:
        with pytest.raises(StoreConnectionError, match=refused_uri):
            await call(store)


def test_a_server_that_never_answers_is_given_up(silent_uri):
    begin = time.monotonic()
    with (
        MilvusVectorStore(uri=silent_uri, timeout=1) as store,
        pytest.raises((StoreConnectionError, StoreTimeoutError), match=silent_uri),
    ):
        store.count()
    assert time.monotonic() - begin < 30, "minutes instead of the timeout"


async def test_a_server_that_never_answers_is_given_up_by_tasks(silent_uri):
    begin = time.monotonic()
    async with MilvusVectorStore(uri=silent_uri, timeout=1) as store:
        with pytest.raises((StoreConnectionError, StoreTimeoutError), match=silent_uri):
            await store.acount()
    assert time.monotonic() - begin < 30, "minutes instead of the timeout"


def test_a_silent_server_holds_up_nobody_else(silent_uri):
    """Who waits for a connection in a thread does not stop the tasks of an event loop."""
    store = MilvusVectorStore(uri=silent_uri, timeout=3)

    def wait():
        with pytest.raises(VectorStoreError):
            store.count()

    async def tasks():
        counting = asyncio.create_task(store.acount())
        beats = 0
        while not counting.done():
            await asyncio.sleep(0.01)
            beats += 1
        assert isinstance(counting.exception(), VectorStoreError)
        return beats

    waiting = threading.Thread(target=wait)
    waiting.start()
    assert asyncio.run(tasks()) > 20
    waiting.join()
    store.close()


def test_connecting_is_left_to_the_first_call(refused_uri):
    with MilvusVectorStore(uri=refused_uri) as store:
        assert refused_uri in repr(store)


@every_call
def test_a_server_that_hangs(hanging_store, call):
    with pytest.raises(StoreTimeoutError, match=r"DEADLINE|timeout"):
        call(hanging_store)


@every_async_call
async def test_a_server_that_hangs_for_tasks(fragile_server, call):
    async with MilvusVectorStore("hanging", uri=fragile_server.uri, timeout=60) as patient:
        await patient.aadd([make_entry("a")])
    async with MilvusVectorStore("hanging", uri=fragile_server.uri, timeout=1) as store:
        assert await store.acount() == 1
        with fragile_server.pause(), pytest.raises(StoreTimeoutError, match=r"DEADLINE|timeout"):
            await call(store)


@pytest.fixture
def hanging_store(fragile_server):
    """A store that was connected before its server stopped answering."""
    with MilvusVectorStore("hanging", uri=fragile_server.uri, timeout=1) as store:
        with MilvusVectorStore("hanging", uri=fragile_server.uri) as patient:
            patient.add([make_entry("a")])
        assert store.count() == 1
        with fragile_server.pause():
            yield store


def test_a_server_that_hung_is_used_again(hanging_store, fragile_server):
    with pytest.raises(StoreTimeoutError):
        hanging_store.count()
    fragile_server.resume()
    deadline = time.monotonic() + 30
    while True:
        try:
            assert hanging_store.count() == 1
            break
        except VectorStoreError:
            assert time.monotonic() < deadline, "the store did not recover"
            time.sleep(0.2)


# Secrets


def test_a_token_shows_nowhere(refused_uri):
    stores = [
        MilvusVectorStore(uri=refused_uri, token=TOKEN, timeout=1),
        MilvusVectorStore(uri=refused_uri.replace("//", f"//{TOKEN}@"), timeout=1),
        MilvusVectorStore(config=MilvusConfig(uri=refused_uri, token=TOKEN, timeout=1)),
    ]
    for store in stores:
        assert store.config.token == TOKEN
        with pytest.raises(StoreConnectionError) as caught:
            store.count()
        shown = [repr(store), str(store), str(vars(store)), str(caught.value), repr(caught.value)]
        assert not any("very-secret" in text for text in shown)
        assert b"very-secret" not in pickle.dumps(store)


def test_a_store_may_be_pickled(tmp_path):
    uri = str(tmp_path / "rows.db")
    with MilvusVectorStore("some", uri=uri, metric="euclidean", index="HNSW") as store:
        store.add([make_entry("a")])
        copy = pickle.loads(pickle.dumps(store))
        assert (copy.collection_name, copy.metric, copy.config) == (
            "some",
            store.metric,
            store.config,
        )
        assert copy.count() == 1
        copy.close()
        assert store.count() == 1


# Arguments


@pytest.mark.parametrize(
    "name", ["", "1a", "a-b", "a b", "a.b", "é", "a" * 256, "a;drop", 'a"', "$a", None, 7, b"a"]
)
def test_bad_collection_names_are_refused(tmp_path, name):
    with pytest.raises(InvalidConfigError, match="1 to 255 letters"):
        MilvusVectorStore(name, uri=str(tmp_path / "rows.db"))


@pytest.mark.parametrize("name", ["a", "_", "A1_b", "a" * 255])
def test_good_collection_names(tmp_path, name):
    with MilvusVectorStore(name, uri=str(tmp_path / "rows.db")) as store:
        store.add([make_entry("a")])
        assert store.count() == 1


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("uri", "ftp://host"),
        ("uri", 7),
        ("metric", "manhattan"),
        ("metric", 7),
        ("index", "BOGUS"),
        ("index", 7),
        ("timeout", 0),
        ("timeout", "soon"),
        ("config", {"uri": "rows.db"}),
    ],
)
def test_bad_arguments_are_refused(tmp_path, argument, value):
    arguments = {"uri": str(tmp_path / "rows.db"), argument: value}
    with pytest.raises(InvalidConfigError, match=argument):
        MilvusVectorStore(**arguments)


def test_arguments_go_before_the_configuration(tmp_path):
    config = MilvusConfig(uri=str(tmp_path / "rows.db"), metric="L2", timeout=7)
    store = MilvusVectorStore(config=config, metric="dot_product")
    assert (store.metric, store.config.timeout) == ("dot_product", 7)
    assert store.config.uri == config.uri


def run_python(code, **environment):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MILVUS")}
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**kept, **environment},
        check=False,
    )


def test_a_path_in_milvus_uri_is_explained(tmp_path):
    uri = str(tmp_path / "rows.db")
    code = f"from ragbridge.stores.milvus import MilvusVectorStore as M; M(uri={uri!r}).count()"
    done = run_python(code, MILVUS_URI=uri)
    assert "InvalidConfigError: MILVUS_URI" in done.stderr
    assert "RAGBRIDGE_URI" in done.stderr
    assert run_python(code, RAGBRIDGE_URI=uri).returncode == 0


@pytest.mark.parametrize("missing", ["pymilvus", "milvus_lite"])
def test_a_missing_package_is_named_with_its_remedy(tmp_path, monkeypatch, missing):
    for name in list(sys.modules):
        if name.split(".")[0] == missing:
            monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, missing, None)
    with (
        MilvusVectorStore(uri=str(tmp_path / "rows.db")) as store,
        pytest.raises(MissingDependencyError, match=r"pip install 'ragbridge\[milvus\]'"),
    ):
        store.count()


# Closing


def test_a_closed_store_says_so_also_before_its_first_call(tmp_path):
    store = MilvusVectorStore(uri=str(tmp_path / "rows.db"))
    store.close()
    for call in CALLS.values():
        with pytest.raises(StoreClosedError):
            call(store)
    for call in ASYNC_CALLS.values():
        with pytest.raises(StoreClosedError):
            asyncio.run(call(store))
    assert not (tmp_path / "rows.db").exists()


def test_closing_one_store_leaves_others_of_the_same_server(milvus_server):
    name = f"test_{uuid4().hex}"
    first, second = (MilvusVectorStore(name, uri=milvus_server.uri) for _ in range(2))
    first.add([make_entry("a")])
    assert second.count() == 1
    first.close()
    assert second.count() == 1
    second.close()
