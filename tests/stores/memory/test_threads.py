"""Real threads: writes are seen whole, lost by nobody, and readers do not wait for writers."""

import asyncio
import sys
import threading
from concurrent.futures import ThreadPoolExecutor, wait

import numpy as np
import pytest

from memory_rows import entry, random_vectors
from ragbridge.errors import StoreClosedError
from ragbridge.filters import where
from ragbridge.stores.base import VectorStoreQuery
from ragbridge.stores.memory import InMemoryVectorStore, table
from ragbridge.stores.memory import store as store_module

ROWS = 40
GENERATIONS = 80


@pytest.fixture(autouse=True)
def busy_threads(monkeypatch):
    """Threads that take turns often, and tables that are compacted often."""
    monkeypatch.setattr(table, "_FEW_DEAD_ROWS", ROWS)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(interval)


def generation(number):
    """All rows anew: content, metadata and vector of each tell the generation."""
    vector = np.array([1, number + 1], np.float32)
    metadata = {"n": number, "text": f"t{number}"}
    return [
        entry(f"{row:02}", vector, text=f"word w{number}", metadata=metadata) for row in range(ROWS)
    ]


def numbers_in(rows):
    """The generations that the rows tell of, having checked that each row agrees with itself."""
    rows = list(rows)
    for row in rows:
        number = row.chunk.metadata["n"]
        assert row.chunk.content == f"word w{number}"
        assert row.embedding is None or row.embedding.tolist() == [1, number + 1]
    return [row.chunk.metadata["n"] for row in rows]


READS = {
    "scan": lambda store: list(store.scan()),
    "get": lambda store: store.get([f"{row:02}" for row in range(ROWS)]),
    "query": lambda store: store.query(VectorStoreQuery(embedding=[1, 1], top_k=-1)),
    "text": lambda store: store.query(VectorStoreQuery(text="word", top_k=-1)),
    "listing": lambda store: store.query(VectorStoreQuery(top_k=-1, include_embeddings=True)),
    "filter": lambda store: store.query(
        VectorStoreQuery(filters=where("text").text_match("t") & (where("n") >= 0), top_k=-1)
    ),
    "ids": lambda store: store.query(
        VectorStoreQuery(ids=[f"{row:02}" for row in range(ROWS)], top_k=-1)
    ),
}


@pytest.mark.parametrize("read", READS)
def test_readers_see_all_of_an_add_or_nothing(read):
    store = InMemoryVectorStore()
    store.add(generation(0))
    done = threading.Event()

    def keep_reading():
        newest, reads = 0, 0
        while not done.is_set() or not reads:
            seen = numbers_in(READS[read](store))
            assert len(seen) == ROWS
            assert len(set(seen)) == 1, f"half of an add: {sorted(set(seen))}"
            assert seen[0] >= newest, "an older state after a newer one"
            newest, reads = seen[0], reads + 1
        return reads

    with ThreadPoolExecutor(4) as threads:
        readers = [threads.submit(keep_reading) for _ in range(3)]
        try:
            for number in range(1, GENERATIONS):
                store.add(generation(number))
        finally:
            done.set()
        assert all(reader.result() > 0 for reader in readers)
    assert set(numbers_in(store.scan())) == {GENERATIONS - 1}


def test_counts_never_tear_while_rows_come_and_go():
    """Rows of a document are added and deleted together, so every count is all of them or none."""
    store = InMemoryVectorStore()
    done = threading.Event()

    def keep_writing(name):
        rows = [entry(f"{name} {n}", [1, n], of=name, metadata={"of": name}) for n in range(ROWS)]
        for n in range(GENERATIONS):
            store.add(rows)
            if n % 2:
                store.delete_by_filter(document_ids=[name])
            else:
                store.delete([row.id for row in rows])
        store.add(rows)

    def keep_counting():
        while not done.is_set():
            counts = {store.count(where("of") == "a"), store.count(document_ids=["b"])}
            assert counts <= {0, ROWS}
            assert store.count() % ROWS == 0

    with ThreadPoolExecutor(4) as threads:
        readers = [threads.submit(keep_counting) for _ in range(2)]
        writers = [threads.submit(keep_writing, name) for name in "ab"]
        for writer in writers:
            writer.result()
        done.set()
        for reader in readers:
            reader.result()
    assert store.count() == 2 * ROWS


def test_no_write_of_many_writers_is_lost():
    store = InMemoryVectorStore()

    def write(writer):
        for n in range(50):
            rows = random_vectors(n, 3, 8)
            store.add([entry(f"{writer} {n} {i}", row) for i, row in enumerate(rows)])
            store.delete(f"{writer} {n} 0")

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(write, range(6)))
    assert store.count() == 6 * 50 * 2
    assert {row.id for row in store.scan()} == {
        f"{writer} {n} {i}" for writer in range(6) for n in range(50) for i in (1, 2)
    }


def test_readers_do_not_wait_for_a_writer(monkeypatch):
    store = InMemoryVectorStore()
    store.add([entry("a", [1.0])])
    writing, go_on = threading.Event(), threading.Event()
    original = table.Table.append

    def slow_append(self, size, rows):
        writing.set()
        assert go_on.wait(60)
        original(self, size, rows)

    monkeypatch.setattr(table.Table, "append", slow_append)
    with ThreadPoolExecutor(1) as threads:
        writer = threads.submit(store.add, [entry("b", [2.0])])
        assert writing.wait(60)
        assert store.count() == 1
        assert [m.id for m in store.query(VectorStoreQuery(embedding=[1.0]))] == ["a"]
        assert len(store.get(["a", "b"])) == len(list(store.scan())) == 1
        go_on.set()
        writer.result()
    assert store.count() == 2


class Watched(dict):
    """An index that tells when the row in the middle is looked up."""

    def __init__(self, index, tell):
        super().__init__(index)
        self.tell = tell

    def get(self, row_id):
        if row_id == f"{ROWS // 2:02}":
            self.tell()
        return super().get(row_id)


@pytest.mark.parametrize("read", ["get", "ids"])
def test_ids_are_looked_up_at_one_moment(read):
    store = InMemoryVectorStore()
    store.add(generation(1))
    reader = threading.get_ident()
    with ThreadPoolExecutor(1) as threads:
        writers = []

        def write_meanwhile():
            if threading.get_ident() == reader and not writers:
                writers.append(threads.submit(store.add, generation(2)))
                wait(writers, timeout=0.3)  # it has to wait until everything is looked up

        store._state.table.slot_of = Watched(store._state.table.slot_of, write_meanwhile)
        assert set(numbers_in(READS[read](store))) == {1}
        writers[0].result()
    assert set(numbers_in(READS[read](store))) == {2}


SLOW_WRITES = {
    "add": (store_module, "prepare_batch", lambda store: store.add([entry("slow", [9, 9])])),
    "delete": (InMemoryVectorStore, "_remove", lambda store: store.delete("00")),
    "delete_by_filter": (
        table.State,
        "mask",
        lambda store: store.delete_by_filter(where("n") == 0, ids=["00"]),
    ),
}


@pytest.mark.parametrize("slow", SLOW_WRITES)
def test_writers_take_turns(slow, monkeypatch):
    owner, name, write = SLOW_WRITES[slow]
    original = getattr(owner, name)
    store = InMemoryVectorStore()
    store.add(generation(0))
    first = threading.get_ident()
    with ThreadPoolExecutor(1) as threads:
        others = []

        def slowly(*args):
            if threading.get_ident() == first and not others:
                others.append(threads.submit(store.add, [entry("other", [7, 7])]))
                wait(others, timeout=0.3)  # it has to wait until this write is through
            return original(*args)

        monkeypatch.setattr(owner, name, slowly)
        write(store)
        others[0].result()
    ids = {row.id for row in store.scan()}
    assert "other" in ids, "a write was lost"
    assert ("slow" in ids) == (slow == "add")
    assert ("00" in ids) == (slow == "add")


def test_a_failed_write_leaves_nothing(monkeypatch):
    store = InMemoryVectorStore()
    store.add([entry("a", [1.0], text="old")])
    original = table.Table.append

    def failing_append(self, size, rows):
        original(self, size, rows)
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(table.Table, "append", failing_append)
        with pytest.raises(MemoryError):
            store.add([entry("a", [2.0], text="new"), entry("b", [3.0], text="new")])
    assert [row.chunk.content for row in store.scan()] == ["old"]
    store.add([entry("c", [4.0], text="next")])
    assert {row.id: (row.chunk.content, row.embedding.tolist()) for row in store.scan()} == {
        "a": ("old", [1.0]),
        "c": ("next", [4.0]),
    }
    assert store.query(VectorStoreQuery(text="new")) == []


def test_a_scan_goes_on_over_the_rows_that_it_began_with():
    store = InMemoryVectorStore()
    store.add(generation(1))
    rows = store.scan(batch_size=7)
    first = next(rows)
    store.add(generation(2))
    store.delete_by_filter(where("n") == 2)
    store.add(generation(3))
    assert numbers_in([first, *rows]) == [1] * ROWS


def test_closing_while_others_work():
    store = InMemoryVectorStore()
    store.add(generation(0))
    closed = threading.Event()

    def work():
        try:
            for number in range(10_000):
                store.add(generation(number))
                numbers_in(store.scan())
        except StoreClosedError:
            assert closed.is_set()
            return
        pytest.fail("the store was never closed")

    with ThreadPoolExecutor(3) as threads:
        workers = [threads.submit(work) for _ in range(3)]
        closed.set()
        store.close()
        for worker in workers:
            worker.result()
    with pytest.raises(StoreClosedError):
        store.count()


async def test_async_twins_at_the_same_time():
    store = InMemoryVectorStore()
    await asyncio.gather(*(store.aadd([entry(str(n), [1, n])]) for n in range(40)))
    queries = [VectorStoreQuery(embedding=[1, n], top_k=3) for n in range(20)]
    answers = await asyncio.gather(*(store.aquery(query) for query in queries))
    assert list(answers) == await store.aquery_many(queries)
