"""One description of work for a method and its async twin.

Work that calls stores and providers is written once, as a generator of steps:

    def _search(self, text: str) -> Work[list[VectorMatch]]:
        embedding = yield from Step(provider.embed_query, provider.aembed_query, text)
        return (yield from Step(store.query, store.aquery, VectorStoreQuery(embedding=embedding)))

`run` does the steps by their sync calls, `arun` by the async ones.
"""

import asyncio
from collections.abc import Awaitable, Callable, Generator
from contextlib import closing
from functools import partial
from typing import Any, Generic, ParamSpec, TypeAlias, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Step(Generic[T]):
    """A call that can be made either way; `yield from` gives its result."""

    def __init__(
        self,
        call: Callable[P, T],
        async_call: Callable[P, Awaitable[T]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> None:
        self.call: Callable[[], T] = partial(call, *args, **kwargs)
        self.async_call: Callable[[], Awaitable[T]] = partial(async_call, *args, **kwargs)

    def __iter__(self) -> "Generator[Step[Any], Any, T]":
        result: T = yield self
        return result


Work: TypeAlias = Generator[Step[Any], Any, T]


def pause() -> Step[None]:
    """Let the other tasks of an event loop have their turns."""
    return Step(lambda _seconds: None, asyncio.sleep, 0)


def run(work: Work[T]) -> T:
    """Do `work` with sync calls; what they raise is raised inside of it."""
    with closing(work):
        resume: Callable[[], Step[Any]] = partial(next, work)
        while True:
            try:
                step = resume()
            except StopIteration as done:
                result: T = done.value
                return result
            try:
                resume = partial(work.send, step.call())
            except Exception as error:  # noqa: BLE001 - raised inside of the work
                resume = partial(work.throw, error)


async def arun(work: Work[T]) -> T:
    """Do `work` with async calls; what they raise is raised inside of it."""
    with closing(work):
        resume: Callable[[], Step[Any]] = partial(next, work)
        while True:
            try:
                step = resume()
            except StopIteration as done:
                result: T = done.value
                return result
            try:
                resume = partial(work.send, await step.async_call())
            except Exception as error:  # noqa: BLE001 - raised inside of the work
                resume = partial(work.throw, error)
