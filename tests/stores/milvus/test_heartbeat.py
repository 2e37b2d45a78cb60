"""The event loop goes on while a store works: a task that wants to beat often beats often."""

import asyncio
import gc
import time
from contextlib import asynccontextmanager

import numpy as np
import pytest

from ragbridge.documents import TextChunk
from ragbridge.errors import InvalidEmbeddingError
from ragbridge.stores.base import VectorEntry, VectorStoreQuery
from ragbridge.stores.milvus import MilvusVectorStore

pytestmark = pytest.mark.stores("milvus-lite", "milvus")

ROWS, DIMENSION = 20_000, 64


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
    """The moments at which a task had its turn, and what the thread had worked until then."""

    def __init__(self):
        self.beats = [time.perf_counter()]
        self.work = [time.thread_time()]

    async def beat(self):
        while True:
            await asyncio.sleep(0.001)
            self.beats.append(time.perf_counter())
            self.work.append(time.thread_time())

    @property
    def longest_gap(self):
        return max(np.diff([*self.beats, time.perf_counter()]))

    @property
    def longest_work(self):
        """Seconds of the processor, which others on the machine do not add to."""
        return max(np.diff([*self.work, time.thread_time()]))

    @property
    def worked(self):
        return time.thread_time() - self.work[0]


@asynccontextmanager
async def beating():
    heart = Heart()
    task = asyncio.create_task(heart.beat())
    yield heart
    task.cancel()


@pytest.fixture
def _no_clearing_away():
    """What Python clears away, it clears away at any moment and all at once."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("_no_clearing_away")
async def test_it_beats_during_a_bulk_add(make_store, entries):
    store = make_store()
    await store.aadd(entries[:1])
    async with beating() as heart:
        await store.aadd(entries)
        assert heart.longest_work < heart.worked / 8  # checked in one go, they would be a quarter
        assert len(heart.beats) > 100  # whoever waits in the loop stops it for each of its batches


@pytest.mark.usefixtures("_no_clearing_away")
async def test_it_beats_while_a_bulk_add_is_refused(make_store, entries):
    store = make_store()
    await store.aadd(entries[:1])
    wrong = VectorEntry(id="wrong", embedding=[1.0], chunk=TextChunk(content="short"))
    async with beating() as heart:
        with pytest.raises(InvalidEmbeddingError, match=r"entries\[20000\] \(id 'wrong'\)"):
            await store.aadd([*entries, wrong])
        assert heart.longest_work < 0.75 * heart.worked  # in one go, it would be nearly all
    assert await store.acount() == 1


@pytest.mark.usefixtures("_no_clearing_away")
async def test_it_beats_during_many_queries(make_store, entries):
    store = make_store()
    await store.aadd(entries[:10_000])
    queries = [VectorStoreQuery(embedding=entry.embedding, top_k=50) for entry in entries[:300]]
    await store.aquery(queries[0])
    async with beating() as heart:
        for start in range(0, 100, 10):
            await asyncio.gather(*map(store.aquery, queries[start : start + 10]))
        await store.aquery_many(queries[100:])
        assert [row async for row in store.ascan()]
        assert heart.longest_work < heart.worked / 2
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
