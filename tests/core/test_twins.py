"""Pieces of work done together, by their sync calls and by their async ones."""

import asyncio
import threading
from contextvars import ContextVar
from itertools import count

import pytest

from ragbridge._twins import Step, arun, pause, run, together

USER = ContextVar("user", default="nobody")


def do(*steps):
    for step in steps:
        yield from step


@pytest.fixture(params=["sync", "async"])
def do_together(request):
    """`together`, done one way or the other."""

    def call(works, at_once):
        work = do(together(works, at_once))
        return run(work) if request.param == "sync" else asyncio.run(arun(work))

    return call


class Works:
    """Pieces of work with numbers; those of a pair wait for each other."""

    def __init__(self, fails=()):
        self.fails = fails
        self.done, self.under_way, self.most = [], 0, 0
        self._lock = threading.Lock()
        self._met = threading.Barrier(2)
        self._amet = asyncio.Barrier(2)

    def one(self, number, *, meets=True):
        with self._lock:
            self.under_way += 1
            self.most = max(self.most, self.under_way)
        yield from Step(self._meet, self._ameet) if meets else pause()
        with self._lock:
            self.under_way -= 1
        if number in self.fails:
            raise self.fails[number]
        self.done.append(number)

    def _meet(self):
        self._met.wait(30)

    async def _ameet(self):
        async with asyncio.timeout(30):
            await self._amet.wait()


def test_as_many_as_is_said_are_under_way(do_together):
    works = Works()
    do_together(map(works.one, range(10)), 2)
    assert sorted(works.done) == [*range(10)]
    assert works.most == 2


@pytest.mark.parametrize("amount", [0, 1, 5])
def test_one_at_once_is_one_after_the_other(do_together, amount):
    works = Works()
    do_together((works.one(number, meets=False) for number in range(amount)), 1)
    assert works.done == [*range(amount)]
    assert works.most <= 1


def test_one_piece_needs_no_thread(do_together, monkeypatch):
    def refuse(_thread):
        raise AssertionError("a thread was started")

    works = Works()
    monkeypatch.setattr(threading.Thread, "start", refuse)
    do_together([works.one(0, meets=False)], 2)
    assert works.done == [0]


def test_async_work_needs_no_threads(monkeypatch):
    def refuse(_thread):
        raise AssertionError("a thread was started")

    works = Works()
    monkeypatch.setattr(threading.Thread, "start", refuse)
    asyncio.run(arun(do(together(map(works.one, range(4)), 2))))
    assert sorted(works.done) == [*range(4)]


def test_without_threads_the_work_is_done_all_the_same(monkeypatch):
    def refuse(_thread):
        raise RuntimeError("can't start new thread")

    works = Works()
    monkeypatch.setattr(threading.Thread, "start", refuse)
    run(do(together((works.one(number, meets=False) for number in range(4)), 2)))
    assert works.done == [*range(4)]


@pytest.mark.parametrize("error", [ValueError("wrong"), KeyboardInterrupt(), SystemExit(3)])
def test_failures_end_it(error):
    """Whatever it is: an interrupt in another thread is one of the caller's too."""
    works = Works({0: error, 1: error})
    with pytest.raises(type(error)) as caught:
        run(do(together(map(works.one, count()), 2)))
    assert caught.value is error
    assert works.under_way == 0


def test_those_under_way_come_to_their_end(do_together):
    works = Works({1: ValueError("wrong")})
    pieces = (works.one(number, meets=number < 2) for number in count())
    with pytest.raises(ValueError, match="wrong"):
        do_together(pieces, 2)
    assert 0 in works.done
    assert works.under_way == 0


def test_the_pieces_may_fail_to_be_made(do_together):
    works = Works()

    def make():
        yield from map(works.one, range(4))
        raise ValueError("no more to be had")

    with pytest.raises(ValueError, match="no more"):
        do_together(make(), 2)
    assert sorted(works.done) == [*range(4)]


def test_threads_know_whose_work_it_is():
    seen = []

    def note():
        seen.append(USER.get())
        yield from pause()

    def one(works, number):
        yield from works.one(number)
        yield from note()

    USER.set("me")
    works = Works()
    run(do(together((one(works, number) for number in range(2)), 2)))
    assert seen == ["me", "me"]


async def test_a_piece_that_is_cancelled_ends_it():
    """As gRPC does it with the calls of a channel that is closed."""
    works = Works({0: asyncio.CancelledError()})
    with pytest.raises(asyncio.CancelledError):
        await arun(do(together(map(works.one, range(2)), 2)))
    assert works.done == [1]


async def test_cancelled_it_cancels_all():
    begun, cancelled = [], []
    both = asyncio.Event()

    async def hang():
        begun.append(1)
        if len(begun) == 2:
            both.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)  # those who end it are waited for
            cancelled.append(1)

    pieces = (do(Step(lambda: None, hang)) for _ in range(4))
    task = asyncio.create_task(arun(do(together(pieces, 2))))
    await both.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (len(begun), len(cancelled)) == (2, 2)
    assert asyncio.all_tasks() == {asyncio.current_task()}
