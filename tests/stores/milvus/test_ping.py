"""Whether an engine answers: asked once, and not for long."""

import asyncio
import re
import socket
import time

import pytest

from ragbridge.errors import (
    InvalidConfigError,
    StoreClosedError,
    StoreConnectionError,
    StoreTimeoutError,
)
from ragbridge.stores.milvus import MilvusVectorStore

SLACK = 20  # seconds; the store's own timeout is far more


@pytest.fixture
def silent_uri():
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def refused_uri():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


@pytest.mark.stores("milvus-lite", "milvus")
async def test_an_engine_says_its_name_and_version(make_store):
    store = make_store()
    expected = r"Milvus Lite 3\.\d+\.\d+" if store.config.is_lite else r"Milvus 2\.3\.5"
    assert re.fullmatch(expected, store.ping())
    assert await store.aping() == store.ping()


def test_nobody_is_there(refused_uri):
    with MilvusVectorStore(uri=refused_uri, timeout=600) as store:
        with pytest.raises(StoreConnectionError, match=refused_uri):
            store.ping()
        with pytest.raises(StoreConnectionError, match=refused_uri):
            asyncio.run(store.aping())


def test_somebody_is_there_who_never_answers(silent_uri):
    begin = time.monotonic()
    with MilvusVectorStore(uri=silent_uri, timeout=600) as store:
        with pytest.raises(StoreTimeoutError, match=silent_uri):
            store.ping(timeout=1)
        with pytest.raises(StoreTimeoutError, match=silent_uri):
            asyncio.run(store.aping(timeout=1))
    assert time.monotonic() - begin < SLACK


def test_a_server_hangs(fragile_server):
    begin = time.monotonic()
    with MilvusVectorStore(uri=fragile_server.uri, timeout=600) as store:
        store.ping()

        async def ping_again():
            await store.aping()
            with fragile_server.pause(), pytest.raises(StoreTimeoutError):
                await store.aping(timeout=0.5)

        asyncio.run(ping_again())
        with fragile_server.pause(), pytest.raises(StoreTimeoutError):
            store.ping(timeout=0.5)
        assert store.ping(timeout=60) == "Milvus 2.3.5"
    assert time.monotonic() - begin < SLACK + 60


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf"), "5", None, True])
def test_bad_timeouts_are_refused(refused_uri, timeout):
    store = MilvusVectorStore(uri=refused_uri)
    with pytest.raises(InvalidConfigError, match="timeout must be a positive number"):
        store.ping(timeout=timeout)


def test_a_closed_store_is_not_asked(tmp_path):
    store = MilvusVectorStore(uri=str(tmp_path / "rows.db"))
    store.close()
    with pytest.raises(StoreClosedError):
        store.ping()
