"""Servers that are killed, processes that are killed, disks that are full: nothing acknowledged is lost.

The slowest tests of all: a server takes some 15 seconds to come back.
"""

import asyncio
import json
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ragbridge.errors import (
    PartialWriteError,
    StoreConnectionError,
    StoreTimeoutError,
)
from ragbridge.stores.base import VectorStoreQuery
from ragbridge.stores.milvus import MilvusConfig, MilvusVectorStore
from ragbridge.testing._suite.samples import ids_of, make_entry

QUERY = VectorStoreQuery(embedding=[1.0, 0.0, 0.0, 0.0], top_k=3)
ROWS = 20_000


def rows(name, count=ROWS):
    return [make_entry(f"{name}{n:06}") for n in range(count)]


# Servers


def open_store(server, collection="rows", **settings):
    config = MilvusConfig(uri=server.uri, **{"timeout": 120, "batch_size": 250, **settings})
    return MilvusVectorStore(collection, config=config)


def wait_until(fulfilled, seconds=60):
    deadline = time.monotonic() + seconds
    while not fulfilled():
        assert time.monotonic() < deadline, "what was waited for did not happen"
        time.sleep(0.05)


def test_everybody_waits_for_a_server_that_comes_back(fragile_server):
    """Adds, queries, scans and tasks are in the middle when it is killed, and all come to their end."""
    kept = rows("kept", 2_000)
    with open_store(fragile_server) as store, open_store(fragile_server, "others") as others:
        store.add(kept)
        others.add(kept)
        scan = others.scan(batch_size=100)
        seen = [next(scan).id for _ in range(150)]
        over = threading.Event()

        def query():
            asked = 0
            while not over.is_set():
                assert len(others.query(QUERY)) == 3
                asked += 1
            return asked

        async def tasks():
            await others.aquery(QUERY)
            added = asyncio.create_task(store.aadd(rows("task", 4_000)))
            while not over.is_set():
                assert await others.acount() == len(kept)
                await asyncio.sleep(0.01)
            return await added

        with ThreadPoolExecutor(3) as pool:
            adding = pool.submit(store.add, rows("new"))
            querying, in_tasks = pool.submit(query), pool.submit(asyncio.run, tasks())
            try:
                wait_until(lambda: others.count() and store.count() > len(kept) + 1_000)
                assert not adding.done()
                fragile_server.kill()
                time.sleep(1)
                fragile_server.start()
                assert len(adding.result()) == ROWS
            finally:
                over.set()
            assert querying.result() > 0
            assert len(in_tasks.result()) == 4_000
        seen += [row.id for row in scan]
        assert sorted(seen) == ids_of(kept)
        assert store.count() == len(kept) + ROWS + 4_000
        assert ids_of(store.scan()) == ids_of([*kept, *rows("new"), *rows("task", 4_000)])


def test_a_bulk_add_that_is_cut_off_says_what_is_in(fragile_server):
    entries = rows("cut")
    with (
        open_store(fragile_server, "cut", timeout=2) as store,
        open_store(fragile_server, "cut") as patient,
    ):
        patient.add(entries[:1])
        assert store.count() == 1
        with ThreadPoolExecutor(1) as pool:
            adding = pool.submit(store.add, entries)
            wait_until(lambda: patient.count() > 1_000)
            fragile_server.kill()
            with pytest.raises(PartialWriteError, match="adding the entries again is safe") as cut:
                adding.result()
        error = cut.value
        assert isinstance(error.__cause__, StoreConnectionError | StoreTimeoutError)
        assert sorted([*error.written, *error.not_written]) == ids_of(entries)
        assert error.written
        for call in (store.count, lambda: store.query(QUERY), lambda: asyncio.run(store.acount())):
            with pytest.raises((StoreConnectionError, StoreTimeoutError)):
                call()
        fragile_server.start()
        there = {row.id for row in patient.scan(include_embeddings=False)}
        assert set(error.written) <= there
        assert patient.add(entries) == ids_of(entries)
        assert patient.count() == ROWS
        wait_until(lambda: answers(store))
        assert store.count() == ROWS


def answers(store):
    try:
        return store.count() > 0
    except (StoreConnectionError, StoreTimeoutError):
        return False


# Processes


ADDER = """
import sys
from ragbridge.stores.milvus import MilvusVectorStore
from ragbridge.testing._suite.samples import make_entry

store = MilvusVectorStore("rows", uri=sys.argv[1], full_text=False)
for number in range(10_000):
    ids = store.add([make_entry(f"r{number:05}-{n:03}") for n in range(100)])
    print(ids[0][:6], flush=True)
    if number % 3 == 0:
        store.count()
"""


@pytest.mark.stores("milvus-lite")
@pytest.mark.parametrize("batches", [1, 40])
def test_a_process_that_is_killed_in_a_bulk_add_loses_nothing(store_name, tmp_path, batches):
    path = str(tmp_path / "rows.db")
    with subprocess.Popen(
        [sys.executable, "-c", ADDER, path], stdout=subprocess.PIPE, text=True
    ) as adder:
        said = [adder.stdout.readline() for _ in range(batches)]
        adder.kill()
        said += adder.stdout.readlines()
    acknowledged = [f"{each.strip()}-{n:03}" for each in said for n in range(100) if each.strip()]
    assert len(acknowledged) >= 100 * batches
    with MilvusVectorStore("rows", uri=path) as store:
        assert len(store.get(acknowledged)) == len(acknowledged)
        assert store.count() - len(acknowledged) in (0, 100)  # the last batch may be in
        store.add([make_entry("another")])
        assert len(store.query(QUERY)) == 3


# Disks


SMALL = 4 * 2**20


@pytest.fixture
def small_disk(tmp_path):
    """A folder with little room, and how to give it more; where none can be mounted, small files."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SMALL}", "tmpfs", str(folder)]
    try:
        is_mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except OSError:
        is_mounted = False
    if not is_mounted:
        yield folder, SMALL // 8, lambda: None
        return
    more = ["mount", "-o", f"remount,size={50 * SMALL}", str(folder)]
    try:
        yield folder, 0, lambda: subprocess.run(more, check=True)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.stores("milvus-lite")
@pytest.mark.parametrize("ends", ["closed", "killed"])
def test_a_full_disk_loses_nothing(store_name, small_disk, ends):
    folder, limit, give_room = small_disk
    path = str(folder / "rows.db")
    script = Path(__file__).with_name("disk_child.py")
    with subprocess.Popen(
        [sys.executable, str(script), path, str(limit)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as child:
        try:
            said = list(read_until(child.stdout, "full"))
            give_room()
            go_on(child)
            (last,) = read_until(child.stdout, "counted")
            if ends == "closed":
                go_on(child)
                child.wait()
        finally:
            child.kill()
    errors = [each for each in said if "error" in each]
    assert len(errors) == 3
    assert {each["error"] for each in errors} <= {"VectorStoreError", "PartialWriteError"}
    assert all("No space left" in e["message"] or "File too large" in e["message"] for e in errors)
    counts = [each for each in [*said, last] if "counted" in each]
    assert all(each["counted"] == each["acknowledged"] for each in counts)
    with MilvusVectorStore("rows", uri=path) as store:
        expected = [f"r{n:06}" for n in range(last["acknowledged"])]
        assert store.count() == len(expected)
        assert ids_of(store.scan()) == expected


def read_until(lines, key):
    """What the child says, the first with `key` included."""
    for line in lines:
        said = json.loads(line)
        yield said
        if key in said:
            return
    raise AssertionError(f"the process ended before it said {key!r}")


def go_on(child):
    child.stdin.write("\n")
    child.stdin.flush()
