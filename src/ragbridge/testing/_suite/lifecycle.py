"""What holds across calls: reads see writes, `clear` keeps the shape, `close` ends it."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from ragbridge.errors import InvalidEmbeddingError, StoreClosedError
from ragbridge.filters import where
from ragbridge.stores.base import (
    Capability,
    SimilarityMetric,
    VectorEntry,
    VectorStore,
    VectorStoreQuery,
)
from ragbridge.testing._suite.base import StoreSuite
from ragbridge.testing._suite.samples import ids_of, make_entry

__all__ = ["LifecycleTests"]

EVERYTHING = VectorStoreQuery(embedding=[1.0, 0.0, 0.0, 0.0], top_k=-1)
LISTING = VectorStoreQuery(top_k=-1)

CALLS: dict[str, Callable[[VectorStore], Any]] = {
    "add": lambda store: store.add([make_entry("b")]),
    "query": lambda store: store.query(EVERYTHING),
    "query_many": lambda store: store.query_many([EVERYTHING]),
    "get": lambda store: store.get(["a"]),
    "scan": lambda store: list(store.scan()),
    "delete": lambda store: store.delete("a"),
    "delete_by_filter": lambda store: store.delete_by_filter(where("n") == 1),
    "count": lambda store: store.count(),
    "clear": lambda store: store.clear(),
}


def assert_seen(store: VectorStore, wanted: dict[str, int]) -> None:
    """Assert that every way of reading shows the rows of `wanted`: ids with their `n`."""
    views: dict[str, list[Any]] = {
        "query": store.query(EVERYTHING),
        "listing": store.query(LISTING),
        "get": store.get(["a", "b", "c", "d"]),
        "scan": list(store.scan()),
    }
    for name, rows in views.items():
        seen = {row.id: row.chunk.metadata["n"] for row in rows}
        assert seen == wanted, f"{name} shows {seen}, wanted {wanted}"
    assert store.count() == len(wanted)
    for n in set(wanted.values()):
        matching = sorted(row_id for row_id, value in wanted.items() if value == n)
        found = store.query(VectorStoreQuery(filters=where("n") == n))
        assert ids_of(found) == matching, f"a filter for n = {n} finds {ids_of(found)}"


def row(id: str, n: int, **fields: Any) -> VectorEntry:
    """A row whose metadata says `n`."""
    return make_entry(id, metadata={"n": n}, **fields)


class LifecycleTests(StoreSuite):
    """Visibility, clearing, closing, and callers that come at the same time."""

    def test_the_store_describes_itself(self, vector_store: VectorStore) -> None:
        assert isinstance(vector_store.metric, SimilarityMetric)
        assert isinstance(vector_store.capabilities, frozenset)
        assert vector_store.capabilities
        assert all(type(each) is Capability for each in vector_store.capabilities)

    def test_every_write_is_seen_at_once(self, store: VectorStore) -> None:
        assert_seen(store, {})
        store.add([row("a", 1), row("b", 2)])
        assert_seen(store, {"a": 1, "b": 2})
        store.add([row("b", 3), row("c", 3)])
        assert_seen(store, {"a": 1, "b": 3, "c": 3})
        store.delete("a")
        assert_seen(store, {"b": 3, "c": 3})
        store.add([row("a", 4), row("c", 5, deleted=True)])
        assert_seen(store, {"a": 4, "b": 3})
        store.add([row("c", 6)])
        assert_seen(store, {"a": 4, "b": 3, "c": 6})
        store.delete_by_filter(where("n") > 3)
        assert_seen(store, {"b": 3})
        store.clear()
        assert_seen(store, {})
        store.add([row("d", 7)])
        assert_seen(store, {"d": 7})

    def test_an_upsert_moves_the_vector(self, store: VectorStore) -> None:
        store.add([row("a", 1), row("b", 2, vector=[0.0, 1.0, 0.0, 0.0])])
        store.add([row("a", 1, vector=[0.0, 0.0, 1.0, 0.0])])
        best = store.query(VectorStoreQuery(embedding=[0.1, 0.0, 1.0, 0.0], top_k=1))
        assert ids_of(best) == ["a"]

    def test_clear_empties_and_keeps_the_shape(self, store: VectorStore) -> None:
        store.clear()
        store.add([row("a", 1), row("b", 2, deleted=True)])
        store.clear()
        assert store.count(include_deleted=True) == 0
        with pytest.raises(InvalidEmbeddingError):
            store.add([row("a", 1, vector=[1.0, 2.0])])
        assert store.add([row("c", 3)]) == ["c"]
        assert_seen(store, {"c": 3})

    @pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
    def test_a_closed_store_refuses_calls(
        self, store: VectorStore, call: Callable[[VectorStore], Any]
    ) -> None:
        store.add([row("a", 1)])
        store.close()
        with pytest.raises(StoreClosedError):
            call(store)

    def test_a_store_may_be_closed_twice(self, store: VectorStore) -> None:
        store.close()
        store.close()

    def test_a_store_is_a_context_manager(self, vector_store: VectorStore) -> None:
        with vector_store as entered:
            assert entered is vector_store
            entered.add([row("a", 1)])
        with pytest.raises(StoreClosedError):
            vector_store.count()

    def test_a_store_is_an_async_context_manager(self, vector_store: VectorStore) -> None:
        async def use() -> None:
            async with vector_store as entered:
                assert entered is vector_store
                await entered.aadd([row("a", 1)])
            with pytest.raises(StoreClosedError):
                await vector_store.acount()

        asyncio.run(use())

    def test_threads_may_share_a_store(self, vector_store: VectorStore) -> None:
        vector_store.add([row("a", -1)])

        def work(number: int) -> None:
            for step in range(5):
                vector_store.add([row(f"{number}-{step}-{place}", number) for place in range(4)])
                assert vector_store.count(where("n") == number) == 4 * (step + 1) - step
                vector_store.delete(f"{number}-{step}-0")
                assert len(vector_store.query(EVERYTHING)) >= 3 * (step + 1)

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(work, range(4)))
        assert vector_store.count() == 1 + 4 * 5 * 3

    def test_tasks_may_share_a_store(self, vector_store: VectorStore) -> None:
        async def work(number: int) -> None:
            await vector_store.aadd([row(f"{number}-{place}", number) for place in range(4)])
            assert await vector_store.acount(where("n") == number) == 4
            await vector_store.adelete(f"{number}-0")
            assert len(await vector_store.aquery(EVERYTHING)) >= 3

        async def use() -> None:
            await vector_store.aadd([row("a", -1)])
            await asyncio.gather(*(work(number) for number in range(8)))

        asyncio.run(use())
        assert vector_store.count() == 1 + 8 * 3

    def test_both_ways_of_calling_see_one_another(self, vector_store: VectorStore) -> None:
        vector_store.add([row("a", 1)])
        assert asyncio.run(vector_store.acount()) == 1
        asyncio.run(vector_store.aadd([row("b", 2)]))  # another event loop
        assert vector_store.count() == 2
        asyncio.run(vector_store.adelete("a"))
        assert_seen(vector_store, {"b": 2})
