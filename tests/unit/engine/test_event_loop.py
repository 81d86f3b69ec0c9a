"""The one asyncio loop of a job: it ends every task it began, and can be asked where it stands."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from millstream.core.ports import SystemClock
from millstream.engine.event_loop import EventLoop
from tests.support.stepping import wait_until


@contextmanager
def running() -> Iterator[EventLoop]:
    loop = EventLoop(SystemClock())
    thread = threading.Thread(target=loop.run)
    thread.start()
    try:
        yield loop
    finally:
        loop.cancel_all()
        thread.join(10)
    assert not thread.is_alive()


def test_calls_from_other_threads_run_on_the_loop_in_order() -> None:
    seen: list[tuple[int, int]] = []
    with running() as loop:
        for number in range(100):
            loop.call_soon(lambda n=number: seen.append((n, threading.get_ident())))
        wait_until(lambda: len(seen) == 100, "the calls")
    assert [number for number, _ in seen] == list(range(100))
    assert len({ident for _, ident in seen}) == 1
    assert seen[0][1] != threading.get_ident()


def test_the_end_cancels_what_runs_and_waits_for_it() -> None:
    log: list[str] = []

    async def work() -> None:
        try:
            log.append("begun")
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.01)
            log.append("cleaned up")

    with running() as loop:
        loop.call_soon(lambda: loop.start(work(), lambda: log.append("done")))
        wait_until(lambda: log == ["begun"], "the task")
    assert log == ["begun", "cleaned up", "done"]


def test_a_task_that_is_started_at_the_end_is_cancelled_and_still_said_to_be_done() -> None:
    log: list[str] = []

    async def work() -> None:
        log.append("begun")

    def start_late() -> None:
        loop.start(work(), lambda: log.append("done"))

    with running() as loop:
        loop.cancel_all()
        loop.call_soon(start_late)
    assert log in (["done"], [])  # none: the loop had ended before


def test_a_task_may_end_by_itself() -> None:
    done = threading.Event()

    async def work() -> None:
        await asyncio.sleep(0)

    with running() as loop:
        loop.call_soon(lambda: loop.start(work(), done.set))
        assert done.wait(10)


def test_calls_behind_the_end_do_nothing() -> None:
    with running() as loop:
        pass
    loop.call_soon(lambda: pytest.fail("called"))
    loop.cancel_all()
    loop.ask()


def test_a_loop_that_answers_is_not_blocked_and_one_that_does_not_is() -> None:
    release, blocking = threading.Event(), threading.Event()

    def block() -> None:
        blocking.set()
        release.wait(10)

    with running() as loop:
        loop.call_soon(lambda: None)
        loop.ask()
        wait_until(lambda: not loop.asked_ns, "the answer")
        loop.call_soon(block)
        assert blocking.wait(10)
        loop.ask()
        first = loop.asked_ns
        loop.ask()
        assert loop.asked_ns == first > 0
        release.set()
        wait_until(lambda: not loop.asked_ns, "the answer")


async def innermost() -> None:
    await asyncio.sleep(60)


async def outer() -> None:
    await innermost()


def test_it_tells_where_its_tasks_stand_down_to_the_innermost_await() -> None:
    with running() as loop:
        loop.call_soon(lambda: loop.start(outer()))
        wait_until(lambda: any(loop.stacks()), "the task")
        wait_until(lambda: len(loop.stacks()[0]) == 3, "the task to wait")
        (frames,) = loop.stacks()
    assert [frame.f_code.co_name for frame in frames] == ["outer", "innermost", "sleep"]
