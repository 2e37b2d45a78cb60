"""Async without threads: one client for each event loop, whatever becomes of the loop."""

import asyncio
import gc
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from ragbridge.errors import StoreClosedError
from ragbridge.filters import where
from ragbridge.stores.base import VectorStoreQuery
from ragbridge.testing._suite.samples import ids_of, make_entry

pytestmark = pytest.mark.stores("milvus-lite", "milvus")

QUERY = VectorStoreQuery(embedding=[1.0, 0.0, 0.0, 0.0], top_k=3)


async def use(store, name):
    """Every kind of call once; `name` keeps the rows of several users apart."""
    mine = where("user") == name
    rows = [make_entry(f"{name}-{n}", metadata={"user": name, "n": n}) for n in range(4)]
    assert await store.aadd(rows) == ids_of(rows)
    assert await store.acount(mine) == 4
    found = await store.aquery(VectorStoreQuery(embedding=[1.0, 0.0, 0.0, 0.0], filters=mine))
    assert ids_of(found) == ids_of(rows)
    assert len(await store.aquery_many([QUERY] * 3)) == 3
    assert ids_of(await store.aget([f"{name}-2"])) == [f"{name}-2"]
    assert len([row async for row in store.ascan(mine)]) == 4
    await store.adelete(f"{name}-0")
    assert await store.adelete_by_filter(mine & (where("n") == 1)) == 1
    assert await store.acount(mine) == 2


def test_loops_in_turn(make_store):
    store = make_store()
    for number in range(4):
        asyncio.run(use(store, f"loop{number}"))
        gc.collect()
    assert store.count() == 8


def test_loops_in_threads(make_store):
    store = make_store()
    store.add([make_entry("first")])
    start = threading.Barrier(4)

    def work(number):
        start.wait()
        asyncio.run(use(store, f"thread{number}"))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert store.count() == 9


def test_several_stores_in_loops_in_turn(make_store):
    """Loops get the ids of those that are gone, by which pymilvus knows them."""
    first, second = make_store(), make_store()

    async def both(name):
        await asyncio.gather(*(use(store, name) for store in (first, second)))
        await asyncio.gather(*(store.acount() for store in (first, second) for _ in range(10)))

    for number in range(4):
        asyncio.run(both(f"loop{number}"))
    assert first.count() == second.count() == 8


def test_a_loop_that_was_closed_in_the_middle(make_store):
    store = make_store()
    store.add([make_entry("a")])

    async def hurry():
        with suppress(TimeoutError):
            await asyncio.wait_for(use(store, "hurried"), 0.005)

    loop = asyncio.new_event_loop()
    for _ in range(3):
        loop.run_until_complete(hurry())
    loop.close()
    asyncio.run(use(store, "patient"))
    assert store.count(where("user") == "patient") == 2


async def test_many_tasks_share_one_client(make_store):
    store = make_store()
    await asyncio.gather(*(use(store, f"task{number}") for number in range(10)))
    assert await store.acount() == 20


def test_a_store_may_be_closed_from_another_loop_or_none(make_store):
    for close in (
        lambda store: store.close(),
        lambda store: asyncio.run(store.aclose()),
    ):
        store = make_store()
        with asyncio.Runner() as runner:
            runner.run(use(store, "a"))
            close(store)
            with pytest.raises(StoreClosedError):
                runner.run(store.acount())


async def test_a_store_may_be_closed_while_tasks_wait(make_store):
    store = make_store()
    await store.aadd([make_entry("a")])
    waiting = [asyncio.create_task(store.aquery(QUERY)) for _ in range(5)]
    await asyncio.sleep(0)
    await store.aclose()
    for result in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(result, list | StoreClosedError)


async def test_nothing_is_handed_to_threads(make_store, monkeypatch):
    def refuse(*_args, **_kwargs):
        raise AssertionError("work was handed to a thread")

    store = make_store()
    await use(store, "connecting")  # which imports, and starts Milvus Lite
    monkeypatch.setattr(asyncio, "to_thread", refuse)
    monkeypatch.setattr(asyncio.BaseEventLoop, "run_in_executor", refuse)
    if not store.config.is_lite:  # whose own workers are threads of this process
        monkeypatch.setattr(threading.Thread, "start", refuse)
    await use(store, "connected")


async def test_other_tasks_have_their_turns_in_a_bulk_add(make_store):
    store = make_store()
    await store.aadd([make_entry("first")])
    turns = 0

    async def beat():
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    heart = asyncio.create_task(beat())
    await store.aadd([make_entry(f"r{n}") for n in range(5000)])
    heart.cancel()
    assert turns > 40, "the event loop was held up"
    assert await store.acount() == 5001
