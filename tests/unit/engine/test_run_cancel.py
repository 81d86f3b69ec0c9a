"""A cancel ends a run at once, whatever its parts wait for."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

import millstream as ms
from tests.support.stepping import wait_until
from tests.unit.engine.driving import Begun, drop, never_ending, numbers, threads

CANCEL_S = 1.0  # what the issue allows; these runs take a few milliseconds


class Waits(ms.BatchSource[int]):
    """Blocks until it is cancelled."""

    def __init__(self) -> None:
        self.items: queue.SimpleQueue[None] = queue.SimpleQueue()

    def open(self) -> None:
        self.items = queue.SimpleQueue()

    def read(self, position: Any) -> Iterator[tuple[list[int], int]]:
        yield [1], 1
        self.items.get()

    def cancel(self) -> None:
        self.items.put(None)


class Collects(ms.Source[int]):
    """Waits for demand inside ``collect``."""

    def run(self, ctx: ms.SourceContext[int]) -> None:
        while True:
            ctx.collect(1)


async def waits_async(position: Any) -> AsyncIterator[tuple[list[int], int]]:
    yield [1], 1
    await asyncio.sleep(60)


async def without_end_async(position: Any) -> AsyncIterator[tuple[list[int], int]]:
    while True:
        yield [1] * 100, 1


async def wait_async(n: int) -> int:
    await asyncio.sleep(60)
    return n


def slow(n: int) -> None:
    time.sleep(0.02)


def flat_map_without_end(n: int) -> Iterator[int]:
    while True:
        yield n


SOURCES: dict[str, Any] = {
    "generator, waiting for credit": never_ending,
    "source, waiting for input": Waits(),
    "source, waiting in collect": Collects(),
    "async source, waiting for input": waits_async,
    "async source, waiting for credit": without_end_async,
}


def end_in_time(job: ms.Job) -> None:
    """Let a job run for a while, cancel it, and see how long that takes."""
    begun = Begun(job)
    time.sleep(0.04)
    started_s = time.monotonic()
    result = begun.end()
    assert time.monotonic() - started_s < CANCEL_S
    assert result.status is ms.JobStatus.CANCELLED
    assert result.error is None
    assert "not reconciled" in result.report()
    assert not threads()


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
@pytest.mark.parametrize("sink", [drop, slow, wait_async], ids=["fast", "slow", "async, waiting"])
def test_a_cancel_ends_a_run_whatever_its_source_and_sink_wait_for(source: Any, sink: Any) -> None:
    job = ms.Job("job")
    job.source(source, uid="in").sink(sink, uid="out")
    end_in_time(job)


OPERATORS: dict[str, Callable[[ms.Stream[int]], ms.Stream[Any]]] = {
    "calls in flight": lambda s: s.map_async(wait_async, uid="op"),
    "a flat_map without end": lambda s: s.flat_map(flat_map_without_end),
    "a long range": lambda s: s.flat_map(lambda n: range(10_000_000)),
    "a long range, all dropped": lambda s: s.flat_map(lambda n: range(10**9)).filter(ms.it < 0),
    "without end, all dropped by a function": lambda s: s.flat_map(flat_map_without_end).filter(
        lambda n: False
    ),
    "without end, all dropped later": lambda s: s.flat_map(flat_map_without_end).map_batches(
        lambda batch: []
    ),
    "5 ms a record": lambda s: s.map(lambda n: time.sleep(0.005)),
    "5 ms a record, behind a flat_map": lambda s: s.flat_map(lambda n: range(1000)).map(
        lambda n: time.sleep(0.005)
    ),
}


@pytest.mark.parametrize("chaining", [True, False], ids=["chained", "unchained"])
@pytest.mark.parametrize("build", OPERATORS.values(), ids=OPERATORS)
def test_a_cancel_ends_a_run_whatever_its_operators_do(
    build: Callable[[ms.Stream[int]], ms.Stream[Any]], chaining: bool
) -> None:
    job = ms.Job("job", chaining=chaining)
    build(job.source(never_ending, uid="in")).sink(drop, uid="out")
    end_in_time(job)


def test_cancel_may_come_at_any_time_and_again() -> None:
    job = ms.Job("job")
    job.source(never_ending, uid="in").sink(drop, uid="out")
    before = Begun(job, start=False)
    before.run.cancel()
    before.run.start()
    assert before.wait().status is ms.JobStatus.CANCELLED
    twice = Begun(job)
    for _ in range(3):
        twice.run.cancel()
    assert twice.wait().status is ms.JobStatus.CANCELLED
    done = ms.Job("job")
    done.source(numbers(10), uid="in").sink(drop, uid="out")
    late = Begun(done)
    assert late.wait().status is ms.JobStatus.COMPLETED
    late.run.cancel()
    assert late.run.result().status is ms.JobStatus.COMPLETED


def test_a_cancelled_sink_closes_but_does_not_finish() -> None:
    calls: list[str] = []

    class Notes(ms.Sink[int]):
        def invoke(self, value: int, ctx: ms.SinkContext) -> None:
            pass

        def finish(self) -> None:
            calls.append("finish")

        def close(self) -> None:
            calls.append("close")

    job = ms.Job("job")
    job.source(never_ending, uid="in").sink(Notes(), uid="out")
    Begun(job).end()
    assert calls == ["close"]


def test_a_sink_that_has_become_slow_does_not_finish_its_records_first() -> None:
    taken: list[int] = []

    def slow_later(n: int) -> None:
        taken.append(n)
        if n >= 5_000:  # a thousand records at once by now
            time.sleep(0.05)

    job = ms.Job("job")
    job.source(never_ending, uid="in").sink(slow_later, uid="out")
    begun = Begun(job)
    wait_until(lambda: len(taken) > 5_001, "the sink to be slow")
    started_s = time.monotonic()
    result = begun.end()
    assert time.monotonic() - started_s < CANCEL_S
    assert taken == list(range(len(taken)))
    assert abs(result.account.operator("out").records_out - len(taken)) <= 1


def test_a_generators_finally_clause_runs_when_it_is_cancelled() -> None:
    closed: list[str] = []

    def source(position: Any) -> Iterator[tuple[list[int], int]]:
        try:
            while True:
                yield [1] * 100, 1
        finally:
            closed.append(threading.current_thread().name)

    job = ms.Job("job")
    job.source(source, uid="in").sink(slow, uid="out")
    begun = Begun(job)
    time.sleep(0.05)
    begun.end()
    assert closed == ["millstream-source in"]
