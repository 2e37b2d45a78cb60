"""Milvus Lite files: who may open them, who shares them, and what survives."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ragbridge.errors import InvalidConfigError, StoreLockedError, VectorStoreError
from ragbridge.stores.base import VectorStoreQuery
from ragbridge.stores.milvus import MilvusVectorStore
from ragbridge.testing._suite.samples import ids_of, make_entry, stored_rows

HOLDER = """
import sys
from ragbridge.stores.milvus import MilvusVectorStore
from ragbridge.testing._suite.samples import make_entry

store = MilvusVectorStore(uri=sys.argv[1])
store.add([make_entry(f"r{n:04}", metadata={"n": n}) for n in range(1500)])
print("holding", flush=True)
sys.stdin.read()
store.close()
print("released", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "rows.db")


@pytest.fixture
def other_process(path):
    """A process that holds the file and has written 1500 rows into it."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout.readline() == "holding\n"
    yield process
    process.kill()
    process.communicate()


def test_a_file_that_another_process_holds_is_refused(path, other_process):
    with MilvusVectorStore(uri=path) as store, pytest.raises(StoreLockedError, match=r"rows\.db"):
        store.count()


async def test_a_held_file_is_refused_to_tasks_too(path, other_process):
    async with MilvusVectorStore(uri=path) as store:
        with pytest.raises(StoreLockedError, match=r"rows\.db"):
            await store.acount()


def test_what_was_acknowledged_survives_a_kill(path, other_process):
    os.killpg(other_process.pid, signal.SIGKILL)
    other_process.wait()
    with MilvusVectorStore(uri=path) as store:
        assert store.count() == 1500
        found = store.query(VectorStoreQuery(embedding=[1.0, 0.0, 0.0, 0.0], top_k=3))
        assert len(found) == 3


def test_the_last_store_that_closes_releases_the_file(path):
    first, second = MilvusVectorStore(uri=path), MilvusVectorStore("another", uri=path)
    first.add([make_entry("a")])
    second.add([make_entry("b")])
    first.close()
    assert ids_of(stored_rows(second)) == ["b"]
    assert "locked" in open_elsewhere(path)
    second.close()
    assert "1 row" in open_elsewhere(path)


def open_elsewhere(path):
    """What another process sees in the file."""
    code = (
        "import sys\n"
        "from ragbridge.errors import StoreLockedError\n"
        "from ragbridge.stores.milvus import MilvusVectorStore\n"
        "with MilvusVectorStore(uri=sys.argv[1]) as store:\n"
        "    try:\n"
        "        print(store.count(), 'row')\n"
        "    except StoreLockedError:\n"
        "        print('locked')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, path], capture_output=True, text=True, check=True
    )
    return done.stdout


def test_a_file_may_be_closed_and_opened_again(path):
    for number in range(3):
        with MilvusVectorStore(uri=path) as store:
            assert store.count() == number
            store.add([make_entry(f"r{number}")])


def test_several_names_of_one_file_are_one_file(tmp_path, path, monkeypatch):
    link = tmp_path / "link.db"
    link.symlink_to(path)
    monkeypatch.chdir(tmp_path)
    stores = [MilvusVectorStore(uri=uri) for uri in (path, str(link), "rows.db", Path(path))]
    stores[0].add([make_entry("a")])
    assert [store.count() for store in stores] == [1, 1, 1, 1]
    for store in stores:
        store.close()


def test_threads_may_open_a_new_file_at_once(path):
    start = threading.Barrier(8)

    def work(number):
        with MilvusVectorStore(uri=path) as store:
            start.wait()
            store.add([make_entry(f"{number}-{row}") for row in range(20)])
            start.wait()
            return store.count()

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(8))) == [160] * 8


def test_threads_and_tasks_may_write_together_while_rows_are_flushed(path):
    store = MilvusVectorStore(uri=path)
    store.add([make_entry("first")])

    def work(number):
        for step in range(8):
            store.add([make_entry(f"{number}-{step}-{row}") for row in range(40)])
            found = store.query(VectorStoreQuery(ids=["first", f"{number}-{step}-0"]))
            assert len(found) == 2, "a row vanished while others were flushed"

    async def awork(number):
        for step in range(8):
            await store.aadd([make_entry(f"{number}-{step}-{row}") for row in range(40)])
            found = await store.aquery(VectorStoreQuery(ids=["first", f"{number}-{step}-0"]))
            assert len(found) == 2, "a row vanished while others were flushed"

    async def tasks():
        await asyncio.gather(*(awork(f"task{number}") for number in range(3)))

    with ThreadPoolExecutor(5) as pool:
        jobs = [pool.submit(work, f"thread{number}") for number in range(4)]
        jobs.append(pool.submit(asyncio.run, tasks()))
        for job in jobs:
            job.result()
    assert store.count() == 1 + 7 * 8 * 40
    store.close()
    with MilvusVectorStore(uri=path) as reopened:
        assert reopened.count() == 1 + 7 * 8 * 40


@pytest.mark.parametrize("uri", ["no/such/folder/rows.db", "file.txt/rows.db"])
def test_a_path_without_a_folder_is_refused(tmp_path, monkeypatch, uri):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file.txt").write_text("text")
    with MilvusVectorStore(uri=uri) as store, pytest.raises(VectorStoreError, match="folder"):
        store.add([make_entry("a")])
    assert sorted(tmp_path.iterdir()) == [tmp_path / "file.txt"]


def test_a_path_of_something_else_is_refused(path):
    Path(path).write_text("not rows")
    with MilvusVectorStore(uri=path) as store, pytest.raises(VectorStoreError, match=r"rows\.db"):
        store.add([make_entry("a")])
    assert Path(path).read_text() == "not rows"


@pytest.mark.skipif(not Path("/proc/version").exists(), reason="needs Linux's /proc")
def test_a_path_that_cannot_be_written_is_refused():
    with (
        MilvusVectorStore(uri="/proc/rows.db") as store,
        pytest.raises(VectorStoreError, match=r"cannot open the Milvus Lite file /proc/rows\.db"),
    ):
        store.count()


def test_the_address_of_a_file_ends_in_db(tmp_path):
    with pytest.raises(InvalidConfigError, match=r"\.db"):
        MilvusVectorStore(uri=str(tmp_path / "rows"))


# The flush policy


@pytest.fixture
def calls(monkeypatch):
    """The methods of pymilvus's client that stores call, in their order."""
    from pymilvus import MilvusClient

    called = []

    def recording(name, method):
        def call(self, *args, **kwargs):
            called.append(name)
            return method(self, *args, **kwargs)

        return call

    for name in ("flush", "insert", "search", "query", "delete"):
        monkeypatch.setattr(MilvusClient, name, recording(name, getattr(MilvusClient, name)))
    return called


QUERY = VectorStoreQuery(embedding=[1.0, 0.0, 0.0, 0.0])


def many(count, start=0):
    return [make_entry(f"r{n:05}", [1.0, n, 0.0, 0.0]) for n in range(start, start + count)]


def test_many_rows_are_flushed_before_they_are_read(path, calls):
    with MilvusVectorStore(uri=path) as store:
        store.add(many(10))
        store.query(QUERY)
        calls.clear()
        for start in range(0, 3000, 300):
            store.add(many(300, start))
        assert "flush" not in calls, "adding must not flush"
        store.query(QUERY)
        store.query(QUERY)
        assert calls[-3:] == ["flush", "search", "search"]
        assert calls.count("flush") == 1


def test_few_rows_are_read_where_they_are(path, calls):
    with MilvusVectorStore(uri=path) as store:
        store.add(many(10))
        store.query(QUERY)
        calls.clear()
        for start in range(0, 900, 300):
            store.add(many(300, start))
            store.query(QUERY)
        assert "flush" not in calls


def test_rows_that_another_process_left_are_flushed_once(path, calls, other_process):
    os.killpg(other_process.pid, signal.SIGKILL)
    other_process.wait()
    with MilvusVectorStore(uri=path) as store:
        assert len(store.query(QUERY)) == 10
        store.query(QUERY)
        assert calls.count("flush") == 1


def test_an_upsert_leaves_nothing_of_the_old_row(path, calls):
    from ragbridge.filters import where

    with MilvusVectorStore(uri=path) as store:
        store.add([make_entry("a", metadata={"old": 1, "both": "x", "list": [1]})])
        store.add([make_entry("a", metadata={"both": 2})])
        assert store.count(where("old").exists()) == 0
        assert store.count(where("both") == "x") == store.count(where("list").contains(1)) == 0
        assert store.count(where("both") == 2) == 1
