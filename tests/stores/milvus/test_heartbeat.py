"""The event loop goes on while a store works: a task that wants to beat often beats often."""

import asyncio
import time
from contextlib import asynccontextmanager

import numpy as np
import pytest

from ragbridge.documents import TextChunk
from ragbridge.stores.base import VectorEntry, VectorStoreQuery
from ragbridge.stores.milvus import MilvusVectorStore

pytestmark = pytest.mark.stores("milvus-lite", "milvus")

ROWS, DIMENSION = 10_000, 128


@pytest.fixture(scope="module")
def entries():
    vectors = np.random.default_rng(0).standard_normal((ROWS, DIMENSION)).astype(np.float32)
    return [
        VectorEntry(
            id=f"r{n}",
            embedding=vectors[n],
            chunk=TextChunk(content=f"text {n}", metadata={"n": n, "kind": f"kind {n % 9}"}),
        )
        for n in range(ROWS)
    ]


class Heart:
    """The moments at which a task had its turn, by the clock and by what its thread had worked."""

    def __init__(self):
        self.beats = [self._now()]

    async def beat(self):
        while True:
            await asyncio.sleep(0.001)
            self.beats.append(self._now())

    @staticmethod
    def _now():
        return time.perf_counter(), time.thread_time()

    @property
    def longest_gap(self):
        """By the clock."""
        return np.diff(self.beats, axis=0)[:, 0].max()

    @property
    def longest_work(self):
        """The largest share of the thread's work that was done in one go."""
        return np.diff([*self.beats, self._now()], axis=0)[:, 1].max() / self._worked

    @property
    def _worked(self):
        return time.thread_time() - self.beats[0][1]


@asynccontextmanager
async def beating():
    heart = Heart()
    task = asyncio.create_task(heart.beat())
    yield heart
    task.cancel()


async def test_it_beats_during_a_bulk_add(make_store, entries):
    store = make_store()
    await store.aadd(entries[:1])
    async with beating() as heart:
        await store.aadd(entries)
        assert heart.longest_work < 1 / 3
        assert len(heart.beats) > 100  # whoever waits in the loop stops it for each of its batches


async def test_it_beats_during_many_queries(make_store, entries):
    store = make_store()
    await store.aadd(entries)
    queries = [VectorStoreQuery(embedding=entry.embedding, top_k=50) for entry in entries[:300]]
    await store.aquery(queries[0])
    async with beating() as heart:
        await asyncio.gather(*map(store.aquery, queries[:100]))
        await store.aquery_many(queries[100:])
        assert [row async for row in store.ascan()]
        assert heart.longest_work < 1 / 3
        assert len(heart.beats) > 100


@pytest.mark.stores("milvus")
async def test_it_beats_while_a_server_hangs(fragile_server, entries):
    store = MilvusVectorStore("heart", uri=fragile_server.uri)
    await store.aadd(entries[:100])
    await store.acount()
    calls = [
        lambda: store.aquery(VectorStoreQuery(embedding=entries[0].embedding)),
        lambda: store.aadd(entries[:10]),
        lambda: anext(store.ascan()),
        store.aping,
    ]
    for call in calls:
        async with beating() as heart:
            with fragile_server.pause():
                waiting = asyncio.ensure_future(call())
                await asyncio.sleep(1)
                assert not waiting.done()
                assert len(heart.beats) > 100
                assert heart.longest_gap < 0.8  # held up, it would be the whole second
            await waiting
    await store.aclose()
