"""The one asyncio loop of a job: it ends every task it began, and can be asked where it stands."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytest

import millstream as ms
from millstream.control.wiring import plan
from millstream.core.errors import FatalError
from millstream.core.ports import Joinable, SystemClock, ThreadSpawner
from millstream.engine.event_loop import EventLoop
from millstream.operators.program import Program
from millstream.runners.embedded import EmbeddedRunner
from tests.support.stepping import wait_until
from tests.unit.engine.driving import drop, never_ending, threads


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
    assert not loop.call_soon(lambda: pytest.fail("called"))
    loop.cancel_all()
    loop.ask()
    assert not loop.asked_ns, "it waits for an answer that cannot come"
    assert not loop.stacks()


def test_calls_before_the_loop_runs_are_made_when_it_does_and_keep_nobody_waiting() -> None:
    loop = EventLoop(SystemClock())
    seen: list[int] = []
    for number in range(3):
        assert loop.call_soon(seen.append, number)
    loop.cancel_all()
    loop.ask()
    assert not loop.asked_ns, "a loop that is not there cannot be late"
    loop.run()
    assert seen == [0, 1, 2]


class NoLoopThread:
    """A system that can start no thread more, when it comes to the event loop's."""

    def spawn(self, name: str, target: Callable[[], None]) -> Joinable:
        if name == "millstream-loop":
            raise RuntimeError("can't start new thread")
        return ThreadSpawner().spawn(name, target)


@pytest.mark.parametrize("kind", ["calls", "source", "sink"])
def test_a_run_whose_loop_gets_no_thread_fails_at_once(kind: str) -> None:
    async def same(n: int) -> int:
        return n

    async def read(position: Any) -> AsyncIterator[tuple[list[int], int]]:
        yield [1], 1

    class Sink(ms.AsyncSink[int]):
        async def invoke(self, value: int, ctx: ms.SinkContext) -> None:
            pass

    job = ms.Job("job")
    source: Any = read if kind == "source" else never_ending
    stream: ms.Stream[int] = job.source(source, uid="in")
    stream = stream.map_async(same, uid="call") if kind == "calls" else stream
    stream.sink(Sink() if kind == "sink" else drop, uid="out")
    program = Program(plan(job), job.stream_graph.definitions())
    began_s = time.monotonic()
    result = EmbeddedRunner(spawner=NoLoopThread()).prepare(program, job.engine).wait()
    assert time.monotonic() - began_s < 1
    assert str(result.error) == "can't start new thread"
    assert not threads()


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


async def records() -> AsyncIterator[int]:
    await innermost()
    yield 1


async def over_records() -> None:
    async for _ in records():
        pass


async def beginning_another() -> None:
    async def another() -> None:
        asyncio.create_task(innermost())  # noqa: RUF006  # left behind
        await asyncio.sleep(60)

    asyncio.create_task(another())  # noqa: RUF006  # left behind
    await asyncio.sleep(60)


def names(stack: tuple[str, list[FrameType]]) -> tuple[str, list[str]]:
    return stack[0], [frame.f_code.co_name for frame in stack[1]]


@pytest.mark.parametrize(
    ("run", "stacks"),
    [
        (outer, [["outer", "innermost", "sleep"]]),
        (over_records, [["over_records", "records", "innermost", "sleep"]]),
        (
            beginning_another,
            [["another", "sleep"], ["beginning_another", "sleep"], ["innermost", "sleep"]],
        ),
    ],
)
def test_it_tells_where_its_tasks_stand_and_for_which_operator(
    run: Callable[[], Any], stacks: list[list[str]]
) -> None:
    expected = [("op", stack) for stack in stacks]
    with running() as loop:
        loop.call_soon(lambda: loop.start(run(), operator="op"))
        wait_until(lambda: sorted(map(names, loop.stacks())) == expected, "the tasks to wait")


def test_a_task_that_nobody_awaits_is_cancelled_at_the_end_and_waited_for() -> None:
    log: list[str] = []

    async def left_behind() -> None:
        try:
            log.append("begun")
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.01)
            log.append("cleaned up")

    async def work() -> None:
        asyncio.create_task(left_behind())  # noqa: RUF006  # left behind

    with running() as loop:
        loop.call_soon(lambda: loop.start(work()))
        wait_until(lambda: log == ["begun"], "the task")
    assert log == ["begun", "cleaned up"]


def test_a_loop_that_is_ended_from_within_says_so_before_it_cancels_what_runs() -> None:
    loop = EventLoop(SystemClock())
    log: list[object] = []

    async def leaves() -> None:
        raise SystemExit("on purpose")

    async def work() -> None:
        task = asyncio.create_task(leaves())
        try:
            await asyncio.sleep(60)
        finally:
            log.append((loop.stopping, isinstance(task.exception(), SystemExit)))

    loop.call_soon(lambda: loop.start(work()))
    with pytest.raises(FatalError, match="ended from within: SystemExit: on purpose") as caught:
        loop.run(log.append)
    assert log == [caught.value, (True, True)]
