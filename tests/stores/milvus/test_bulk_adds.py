"""Bulk adds keep two requests under way on servers, and say what is in when one of them fails."""

import asyncio
import threading
import time

import pytest

from ragbridge import _twins
from ragbridge.errors import PartialWriteError, VectorStoreError
from ragbridge.stores.milvus import MilvusConfig, MilvusVectorStore
from ragbridge.stores.milvus.ledger import Ledger
from ragbridge.testing._suite.samples import assert_same_rows, ids_of, make_entry, stored_rows

pytestmark = pytest.mark.stores("milvus")

SIZE = 10
ROWS = [make_entry(f"r{n:02}", [1.0, n, 0.0, 0.0]) for n in range(45)]
BATCHES = [ROWS[start : start + SIZE] for start in range(0, len(ROWS), SIZE)]


class Traffic:
    """The requests that write, by their numbers: when they begin and end, and which are to fail.

    Attributes:
        pairs: Each waits until the other of its pair has begun.
        fails: Those that fail. The other of such a pair ends after it has.
        hangs: None ends.
    """

    def __init__(self, patch):
        self.pairs, self.fails, self.hangs = False, (), False
        self.begun, self.cancelled = [], []
        self.most, self._under_way = 0, 0
        self._lines = []
        self._lock = threading.Lock()
        self._watch(patch)

    def _watch(self, patch):
        from pymilvus import AsyncMilvusClient, MilvusClient

        lines = self._lines

        class Line(_twins._Line):
            def __init__(self, *args):
                super().__init__(*args)
                lines.append(self)

        patch.setattr(_twins, "_Line", Line)
        for method in ("insert", "upsert"):
            sync, twin = getattr(MilvusClient, method), getattr(AsyncMilvusClient, method)
            patch.setattr(MilvusClient, method, self._wrap(sync))
            patch.setattr(AsyncMilvusClient, method, self._awrap(twin))

    def _wrap(self, original):
        def write(client, *args, **kwargs):
            number = self._begin(kwargs["data"])
            try:
                while not self._may_go_on(number):
                    time.sleep(0.001)
                return original(client, *args, **kwargs)
            finally:
                self._end()

        return write

    def _awrap(self, original):
        async def write(client, *args, **kwargs):
            number = self._begin(kwargs["data"])
            try:
                await until(lambda: self._may_go_on(number))
                return await original(client, *args, **kwargs)
            except asyncio.CancelledError:
                self.cancelled.append(number)
                raise
            finally:
                self._end()

        return write

    def _begin(self, rows):
        number = int(next(iter(rows))["id"][1:]) // SIZE
        with self._lock:
            self.begun.append(number)
            self._under_way += 1
            self.most = max(self.most, self._under_way)
            self._until = time.monotonic() + 30
        return number

    def _end(self):
        with self._lock:
            self._under_way -= 1

    def _may_go_on(self, number):
        from pymilvus.exceptions import MilvusException

        assert time.monotonic() < self._until, "the other request did not come"
        other = number ^ 1
        if self.hangs or (self.pairs and other < len(BATCHES) and other not in self.begun):
            return False
        if number in self.fails:
            raise MilvusException(1100, f"request {number} failed")
        return other not in self.fails or bool(self._lines[-1]._failures)


async def until(fulfilled):
    async with asyncio.timeout(60):
        while not fulfilled():  # noqa: ASYNC110 - threads fulfil it too
            await asyncio.sleep(0.001)


@pytest.fixture
def traffic(store, monkeypatch):
    return Traffic(monkeypatch)


@pytest.fixture
def store(make_store):
    """A store whose requests hold few rows, connected."""
    first = make_store()
    first.add([make_entry("r99")])
    config = MilvusConfig(uri=first.config.uri, batch_size=SIZE)
    with MilvusVectorStore(first.collection_name, config=config) as store:
        assert store.count() == 1
        yield store


@pytest.fixture(params=["sync", "async"])
def add(request, store):
    """How rows are added: `add`, or `aadd` in a loop of its own."""
    if request.param == "sync":
        return store.add
    return lambda rows: asyncio.run(store.aadd(rows))


def test_two_requests_are_under_way_on_servers(store, traffic, add):
    traffic.pairs = True
    assert add(ROWS) == ids_of(ROWS)
    assert sorted(traffic.begun) == [*range(len(BATCHES))]
    assert traffic.most == 2
    assert_same_rows(stored_rows(store), [*ROWS, make_entry("r99")])


@pytest.mark.stores("milvus-lite")
def test_milvus_lite_gets_one_after_the_other(store, traffic, add):
    assert add(ROWS) == ids_of(ROWS)
    assert traffic.begun == [*range(len(BATCHES))]
    assert traffic.most == 1
    assert_same_rows(stored_rows(store), [*ROWS, make_entry("r99")])


def test_one_request_starts_no_thread(store, monkeypatch):
    def refuse(_thread):
        raise AssertionError("a thread was started")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    store.add(ROWS[:SIZE])


async def test_tasks_start_no_threads(store, traffic, monkeypatch):
    def refuse(*_args, **_kwargs):
        raise AssertionError("work was handed to a thread")

    assert await store.acount() == 1
    traffic.pairs = True
    monkeypatch.setattr(asyncio, "to_thread", refuse)
    monkeypatch.setattr(asyncio.BaseEventLoop, "run_in_executor", refuse)
    monkeypatch.setattr(threading.Thread, "start", refuse)
    await store.aadd(ROWS)
    assert traffic.most == 2


@pytest.mark.parametrize("failing", range(4))
def test_a_request_that_fails_lets_the_other_end(store, traffic, add, monkeypatch, failing):
    noted = []
    wrote = Ledger.wrote
    monkeypatch.setattr(Ledger, "wrote", lambda self, rows: (noted.append(rows), wrote(self, rows)))
    traffic.pairs, traffic.fails = True, (failing,)
    begun = [*range((failing | 1) + 1)]
    with pytest.raises(PartialWriteError, match=f"then: .*request {failing} failed") as caught:
        add(ROWS)
    written = [row.id for n in begun if n != failing for row in BATCHES[n]]
    assert sorted(traffic.begun) == begun, "none may be begun after the failure"
    assert caught.value.written == written
    assert caught.value.not_written == [row.id for row in ROWS if row.id not in written]
    assert isinstance(caught.value.__cause__, VectorStoreError)
    assert f"request {failing}" in str(caught.value.__cause__)
    assert len(noted) == len(begun), "each write is noted, those that failed too"
    assert ids_of(stored_rows(store)) == [*written, "r99"]

    traffic.fails = ()
    assert add(ROWS) == ids_of(ROWS)
    assert_same_rows(stored_rows(store), [*ROWS, make_entry("r99")])


def test_where_nothing_is_written_the_error_is_plain(store, traffic, add):
    traffic.pairs, traffic.fails = True, (0, 1)
    with pytest.raises(VectorStoreError, match=r"request [01] failed") as caught:
        add(ROWS)
    assert not isinstance(caught.value, PartialWriteError)
    assert sorted(traffic.begun) == [0, 1]
    assert store.count() == 1


async def test_an_add_that_is_cancelled_cancels_both(store, traffic):
    assert await store.acount() == 1
    others = asyncio.all_tasks()
    traffic.hangs = True
    adding = asyncio.create_task(store.aadd(ROWS))
    await until(lambda: len(traffic.begun) == 2)
    adding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await adding
    assert sorted(traffic.cancelled) == sorted(traffic.begun) == [0, 1]
    assert asyncio.all_tasks() == others, "no task may be left"

    traffic.hangs = False
    assert await store.aadd(ROWS) == ids_of(ROWS)
    assert await store.acount() == len(ROWS) + 1
