"""Jobs that stop in a callback for as long as a test wants, one for each place there is."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import millstream as ms
from tests.unit.engine.driving import Batches, drop, never_ending, numbers


class Hold:
    """Stops whoever comes by, until it is released.

    Attributes:
        entered: somebody is stopped.
        release: lets everybody go on.
    """

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.release = threading.Event()

    def stuck_here(self) -> None:
        self.entered.set()
        self.release.wait(60)

    async def stuck_awaiting(self) -> None:
        """Wait without blocking the loop, and ignore being cancelled."""
        self.entered.set()
        while not self.release.is_set():
            try:
                await asyncio.sleep(0.05)
            except asyncio.CancelledError:
                continue


class HoldingSink(ms.Sink[Any]):
    def __init__(self, hold: Hold, where: str) -> None:
        self.hold, self.where = hold, where

    def stop_at(self, place: str) -> None:
        if place == self.where:
            self.hold.stuck_here()

    def open(self, ctx: ms.SinkContext) -> None:
        self.stop_at("open")

    def invoke(self, value: Any, ctx: ms.SinkContext) -> None:
        self.stop_at("invoke")

    def flush(self) -> None:
        self.stop_at("flush")

    def finish(self) -> None:
        self.stop_at("finish")

    def close(self) -> None:
        self.stop_at("close")


class HoldingBatchSink(HoldingSink):
    def invoke_batch(self, values: Sequence[Any], ctx: ms.SinkContext) -> None:
        self.stop_at("invoke_batch")


class HoldingAsyncSink(ms.AsyncSink[Any]):
    def __init__(self, hold: Hold, where: str) -> None:
        self.hold, self.where = hold, where

    async def invoke(self, value: Any, ctx: ms.SinkContext) -> None:
        if self.where == "invoke":
            self.hold.stuck_here()

    async def close(self) -> None:
        if self.where == "close":
            await self.hold.stuck_awaiting()


class HoldingSource(ms.BatchSource[int]):
    def __init__(self, hold: Hold, where: str) -> None:
        self.hold, self.where = hold, where

    def stop_at(self, place: str) -> None:
        if place == self.where:
            self.hold.stuck_here()

    def open(self) -> None:
        self.stop_at("open")

    def read(self, position: Any) -> Batches:
        yield [1], 1
        self.stop_at("read")
        yield from never_ending(1)

    def cancel(self) -> None:
        self.stop_at("cancel")

    def close(self) -> None:
        self.stop_at("close")


class HoldingRun(ms.Source[int]):
    def __init__(self, hold: Hold) -> None:
        self.hold = hold

    def run(self, ctx: ms.SourceContext[int]) -> None:
        ctx.collect(1)
        self.hold.stuck_here()


class HoldingProcess(ms.KeyedProcessFunction[int, int]):
    def __init__(self, hold: Hold, where: str) -> None:
        self.hold, self.where = hold, where

    def stop_at(self, place: str) -> None:
        if place == self.where:
            self.hold.stuck_here()

    def open(self, ctx: ms.ProcessContext[int]) -> None:
        self.stop_at("open")

    def process_element(self, value: int, ctx: ms.ProcessContext[int]) -> None:
        self.stop_at("process_element")

    def close(self) -> None:
        self.stop_at("close")


@dataclass(frozen=True)
class Stuck:
    """One place to be stuck in.

    Attributes:
        uid: the operator that is to be named.
        thread: the thread of the run that hangs.
        build: makes the job.
    """

    uid: str
    thread: str
    build: Callable[[ms.Job, Hold], Any]


def sink_case(where: str, *, source: Any = never_ending, kind: Any = HoldingSink) -> Stuck:
    return Stuck(
        "out",
        "sink out",
        lambda job, hold: job.source(source, uid="in").sink(kind(hold, where), uid="out"),
    )


def source_case(where: str, thread: str = "source in") -> Stuck:
    return Stuck(
        "in",
        thread,
        lambda job, hold: job.source(HoldingSource(hold, where), uid="in").sink(drop, uid="out"),
    )


def operator_case(
    build: Callable[[ms.Stream[int], Hold], ms.Stream[Any]], thread: str = "engine"
) -> Stuck:
    return Stuck(
        "worker",
        thread,
        lambda job, hold: build(job.source(never_ending, uid="in"), hold).sink(drop, uid="out"),
    )


def process_case(where: str) -> Stuck:
    return operator_case(
        lambda s, hold: s.key_by(lambda n: n % 2).process(HoldingProcess(hold, where), uid="worker")
    )


def stop_at_ten(n: int, hold: Hold) -> int:
    if n == 10:
        hold.stuck_here()
    return n


def stop_in_the_middle(n: int, hold: Hold) -> Iterator[int]:
    yield n
    stop_at_ten(n, hold)
    yield n


def map_async(call: Callable[[Hold], Any]) -> Stuck:
    def build(stream: ms.Stream[int], hold: Hold) -> ms.Stream[int]:
        async def wait(n: int) -> int:
            await call(hold)
            return n

        return stream.map_async(wait, uid="worker")

    return operator_case(build, "event loop")


async def block_the_loop(hold: Hold) -> None:
    hold.stuck_here()


async def in_a_thread(hold: Hold) -> None:
    await asyncio.to_thread(hold.stuck_here)


async def in_a_task(hold: Hold) -> None:
    await asyncio.wait_for(hold.stuck_awaiting(), 60)


async def in_a_task_of_a_task(hold: Hold) -> None:
    await asyncio.gather(in_a_task(hold))


async def in_a_task_left_behind(hold: Hold) -> None:
    asyncio.create_task(hold.stuck_awaiting())  # noqa: RUF006  # left behind
    await asyncio.sleep(60)


async def in_a_generator(hold: Hold) -> None:
    async def records() -> AsyncIterator[int]:
        await hold.stuck_awaiting()
        yield 1

    async for _ in records():
        pass


def async_source(hold: Hold) -> Callable[[Any], AsyncIterator[tuple[list[int], int]]]:
    async def read(position: Any) -> AsyncIterator[tuple[list[int], int]]:
        yield [1], 1
        await hold.stuck_awaiting()

    return read


PLACES = {
    "sink, open": sink_case("open"),
    "sink, invoke": sink_case("invoke"),
    "sink, invoke_batch": sink_case("invoke_batch", kind=HoldingBatchSink),
    "sink, flush": sink_case("flush", source=numbers(10)),
    "sink, finish": sink_case("finish", source=numbers(10)),
    "sink, close": sink_case("close"),
    "source, open": source_case("open"),
    "source, read": source_case("read"),
    "source, close": source_case("close"),
    "source, cancel": source_case("cancel", "engine"),
    "source, run": Stuck(
        "in",
        "source in",
        lambda job, hold: job.source(HoldingRun(hold), uid="in").sink(drop, uid="out"),
    ),
    "map": operator_case(lambda s, hold: s.map(lambda n: stop_at_ten(n, hold), uid="worker")),
    "filter": operator_case(lambda s, hold: s.filter(lambda n: stop_at_ten(n, hold), uid="worker")),
    "flat_map": operator_case(
        lambda s, hold: s.flat_map(lambda n: stop_in_the_middle(n, hold), uid="worker")
    ),
    "map_batches": operator_case(
        lambda s, hold: s.map_batches(lambda b: [stop_at_ten(n, hold) for n in b], uid="worker")
    ),
    "reduce": operator_case(
        lambda s, hold: s.key_by(lambda n: n % 2).reduce(
            lambda a, n: stop_at_ten(n, hold), uid="worker"
        )
    ),
    "process": process_case("process_element"),
    "process, open": process_case("open"),
    "process, close": process_case("close"),
    "map_async, blocking": map_async(block_the_loop),
    "map_async, deaf": map_async(lambda hold: hold.stuck_awaiting()),
    "map_async, deaf in a task": map_async(in_a_task),
    "map_async, deaf in a task of a task": map_async(in_a_task_of_a_task),
    "map_async, deaf in a task left behind": map_async(in_a_task_left_behind),
    "map_async, deaf in a generator": map_async(in_a_generator),
    "map_async, to_thread": map_async(in_a_thread),
    "async source, deaf": Stuck(
        "in",
        "event loop",
        lambda job, hold: job.source(async_source(hold), uid="in").sink(drop, uid="out"),
    ),
    "async sink, blocking": Stuck(
        "out",
        "event loop",
        lambda job, hold: job.source(never_ending, uid="in").sink(
            HoldingAsyncSink(hold, "invoke"), uid="out"
        ),
    ),
    "async sink, close": Stuck(
        "out",
        "event loop",
        lambda job, hold: job.source(never_ending, uid="in").sink(
            HoldingAsyncSink(hold, "close"), uid="out"
        ),
    ),
}
"""Every place of a job where the user's code runs."""
