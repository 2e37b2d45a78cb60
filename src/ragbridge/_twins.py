"""One description of work for a method and its async twin.

Work that calls stores and providers is written once, as a generator of steps:

    def _search(self, text: str) -> Work[list[VectorMatch]]:
        embedding = yield from Step(provider.embed_query, provider.aembed_query, text)
        return (yield from Step(store.query, store.aquery, VectorStoreQuery(embedding=embedding)))

`run` does the steps by their sync calls, `arun` by the async ones.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from itertools import chain, islice
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


def together(works: Iterable[Work[Any]], at_once: int) -> Step[None]:
    """Do pieces of work, so many at once; each is begun when there is room for it.

    After a failure no more are begun, and those under way come to their end. The first failure is
    raised then.
    """
    return Step(_run_together, _arun_together, works, at_once)


def run(work: Work[T]) -> T:
    """Do `work` with sync calls; what they raise is raised inside of it."""
    resume: Callable[[], Step[Any]] = partial(next, work)
    try:
        while True:
            step = resume()
            try:
                resume = partial(work.send, step.call())
            except Exception as error:  # noqa: BLE001 - raised inside of the work
                resume = partial(work.throw, error)
    except StopIteration as done:
        result: T = done.value
        return result
    finally:
        work.close()


async def arun(work: Work[T]) -> T:
    """Do `work` with async calls; what they raise is raised inside of it."""
    resume: Callable[[], Step[Any]] = partial(next, work)
    try:
        while True:
            step = resume()
            try:
                resume = partial(work.send, await step.async_call())
            except Exception as error:  # noqa: BLE001 - raised inside of the work
                resume = partial(work.throw, error)
    except StopIteration as done:
        result: T = done.value
        return result
    finally:
        work.close()


class _Line:
    """Pieces of work that are taken one by one, until none is left or one has failed.

    Args:
        works: The pieces.
        at_once: How many may take from them.

    Attributes:
        takers: How many find something to take.
    """

    def __init__(self, works: Iterable[Work[Any]], at_once: int) -> None:
        rest = iter(works)
        first = [*islice(rest, at_once)]
        self.takers = len(first)
        self._works = chain(first, rest)
        self._taking = threading.Lock()
        self._failures: list[BaseException] = []

    def run(self) -> None:
        """Do those that others do not take."""
        try:
            for work in self:
                run(work)
        except BaseException as error:  # noqa: BLE001 - raised where the others have ended too
            self._failures.append(error)

    async def arun(self) -> None:
        """Async twin of `run`."""
        try:
            for work in self:
                await arun(work)
        except BaseException as error:  # noqa: BLE001 - likewise
            self._failures.append(error)

    def raise_first(self) -> None:
        """Raise what failed first, if anything did."""
        if self._failures:
            raise self._failures[0]

    def __iter__(self) -> Iterator[Work[Any]]:
        return self

    def __next__(self) -> Work[Any]:
        with self._taking:
            if self._failures:
                raise StopIteration
            return next(self._works)


def _run_together(works: Iterable[Work[Any]], at_once: int) -> None:
    line = _Line(works, at_once)
    with ThreadPoolExecutor(at_once) as pool:
        for _ in range(1, line.takers):
            with suppress(RuntimeError):  # no threads are to be had when the process ends
                pool.submit(copy_context().run, line.run)
        line.run()
    line.raise_first()


async def _arun_together(works: Iterable[Work[Any]], at_once: int) -> None:
    line = _Line(works, at_once)
    if line.takers > 1:
        # Cancelled, it cancels all and waits for them.
        await asyncio.gather(*(line.arun() for _ in range(line.takers)), return_exceptions=True)
    else:
        await line.arun()
    line.raise_first()
