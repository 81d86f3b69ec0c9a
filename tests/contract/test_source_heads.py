"""What the engine's ends of sources add: credit, positions at a cut, and failures of user code."""

from __future__ import annotations

import threading
import weakref
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from typing import Any

import pytest

import millstream as ms
from millstream.core.element import CHUNK_SIZE, Barrier, Chunk, EndOfInput, Position, Watermark
from millstream.core.errors import CancelledError, SourceError
from millstream.core.ports import ThreadSpawner
from millstream.core.source import OverflowStrategy, SourceBatch
from millstream.engine.channel import Inlet
from millstream.engine.dispatcher import Dispatcher
from millstream.engine.source_driver import AsyncDriver, BatchDriver, Packer
from millstream.engine.source_head import PREFETCH, CollectHead, QueuedHead
from tests.contract.sources import BatchStage, CollectStage, PushStage
from tests.contract.stage import is_gone
from tests.support.probe import Probe
from tests.support.rules import rule
from tests.support.stepping import (
    PATIENCE_S,
    ManualClock,
    SteppedLoop,
    WatchedCondition,
    wait_until,
)


class Record:
    """Something that can be referred to weakly."""


class Head:
    """A queued head whose source is the test."""

    def __init__(self) -> None:
        self.dispatcher = Dispatcher(ManualClock())
        self.credits: list[int] = []
        self.failures: list[BaseException] = []
        self.head = QueuedHead(self.dispatcher, "source", self.credits.append, Position(None, 0))
        self.head.open()

    def fed_inlet(self, demand: int) -> Inlet:
        """Return the inlet of the source's task, which has asked for so much."""
        inlet = Inlet(lambda: None, self.failures.append)
        self.head.feed(inlet)
        inlet.request(demand)
        self.dispatcher.run_until_idle()
        return inlet

    def give(self, values: list[Any]) -> None:
        self.head.on_chunk(Chunk(values, "source", Position(7, 0), Position(8, 0), 0))


# -- credit -------------------------------------------------------------------------------------


@rule("1.1", "2.1")
def test_a_source_is_never_further_ahead_than_its_prefetch() -> None:
    source, probe, given = Head(), Probe(), 0
    source.head.outlet.subscribe(probe)
    for _ in range(50):
        while given + CHUNK_SIZE <= sum(source.credits):
            source.give([0] * CHUNK_SIZE)
            given += CHUNK_SIZE
        assert sum(source.credits) <= probe.received + PREFETCH
        assert sum(source.credits) > probe.received, "the source waits for credit for ever"
        probe.request(CHUNK_SIZE)
        source.dispatcher.run_until_idle()
    assert probe.received == 50 * CHUNK_SIZE


class FiniteBatches(ms.BatchSource[int]):
    """More than the first credit, in batches that are cut into chunks."""

    def read(self, position: Any) -> Iterator[SourceBatch[int]]:
        for start in range(0, 2 * PREFETCH, 3):
            yield range(start, start + 3), start + 3


class FiniteAsyncBatches(ms.AsyncBatchSource[int]):
    async def read(self, position: Any) -> AsyncIterator[SourceBatch[int]]:
        for start in range(0, 2 * PREFETCH, 3):
            yield range(start, start + 3), start + 3


@rule("1.1")
def test_a_source_on_a_thread_hands_over_no_more_than_its_credit() -> None:
    dispatcher = Dispatcher(ManualClock())
    packer = Packer("batches", None, ManualClock())
    driver = BatchDriver(FiniteBatches(), "batches", dispatcher, packer, None)
    driver.head = QueuedHead(dispatcher, "batches", driver.grant, Position(None, 0))
    thread = ThreadSpawner().spawn("batches", driver.run)
    for granted in (0, 1, 2, 7, 20):
        driver.grant(granted)
    wait_until(lambda: driver.sent == 30, "the source to use its credit")
    driver.cancel()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    assert driver.sent == 30


@rule("1.1")
def test_a_source_on_the_event_loop_hands_over_no_more_than_its_credit() -> None:
    dispatcher = Dispatcher(ManualClock())
    packer = Packer("batches", None, ManualClock())
    driver = AsyncDriver(FiniteAsyncBatches(), "batches", dispatcher, packer, None)
    with closing(SteppedLoop()) as loop:
        driver.call_soon = loop.call_soon
        driver.head = QueuedHead(dispatcher, "batches", driver.grant, Position(None, 0))
        loop.start(driver.run())
        for granted in (1, 2, 7, 20):
            driver.grant(granted)
        loop.step()
        assert driver.sent == 30


@rule("no demand loss")
def test_credit_comes_again_before_what_was_prefetched_is_used_up() -> None:
    source, probe = Head(), Probe()
    source.head.outlet.subscribe(probe)
    for _ in range(PREFETCH // CHUNK_SIZE):
        source.give([0] * CHUNK_SIZE)
    while probe.received < PREFETCH - CHUNK_SIZE:
        probe.request(100)
        source.dispatcher.run_until_idle()
    assert len(source.credits) > 1, "the source stands still until the queue is empty"


@rule("3.12", "3.13")
def test_what_arrives_behind_a_cancel_is_dropped() -> None:
    source, probe = Head(), Probe()
    source.head.outlet.subscribe(probe)
    before, behind = Record(), Record()
    references = [weakref.ref(before), weakref.ref(behind)]
    source.give([before])
    probe.cancel()
    source.give([behind])
    source.dispatcher.run_until_idle()
    del before, behind
    assert all(map(is_gone, references))
    assert source.head.position == Position(None, 0)


@rule("3.12")
def test_a_cancel_within_on_next_gives_no_more_credit() -> None:
    source, probe = Head(), Probe(request=PREFETCH, on_next=Probe.cancel)
    source.head.outlet.subscribe(probe)
    source.give([0] * PREFETCH)
    source.dispatcher.run_until_idle()
    assert source.credits == [PREFETCH]


# -- barriers -----------------------------------------------------------------------------------


def test_a_barrier_cuts_behind_the_last_emitted_record() -> None:
    stage = BatchStage(range(20))
    probe = stage.subscribe(Probe(request=7))
    stage.settle()
    assert stage.head.inject(Barrier(1)) == Position(5, 2)
    probe.request(3)
    stage.settle()
    assert stage.head.inject(Barrier(2)) == Position(10, 0)
    assert probe.trace == [*range(7), Barrier(1), *range(7, 10), Barrier(2)]


def test_a_barrier_goes_behind_what_collect_has_accepted() -> None:
    with closing(CollectStage(range(20))) as stage:
        probe = stage.subscribe(Probe(request=7))
        stage.pump()  # the source has collected; the engine has not looked yet
        assert stage.head.inject(Barrier(1)) == Position(None, 7)
        assert probe.trace == [*range(7), Barrier(1)]


def test_a_barrier_does_not_wait_for_a_source_that_is_silent() -> None:
    head = CollectHead(Dispatcher(ManualClock()), "silent", None)
    probe = Probe(request=5)
    head.outlet.subscribe(probe)
    head.inject(Barrier(1))
    assert probe.trace == [Barrier(1)]


# -- collect ------------------------------------------------------------------------------------


@rule("1.1", "3.2")
@pytest.mark.parametrize("strategy", [None, OverflowStrategy.BUFFER])
def test_demand_within_a_long_drain_is_not_counted_twice(strategy: OverflowStrategy | None) -> None:
    records = range(5 * CHUNK_SIZE)
    stage = PushStage(records, strategy) if strategy else CollectStage(records)
    with closing(stage):
        probe = Probe(
            request=2 * CHUNK_SIZE + 5,
            on_next=lambda probe: probe.request(10) if len(probe.chunks) < 5 else None,
        )
        stage.subscribe(probe)
        stage.settle()  # the probe fails at a record that was not requested
        assert probe.received == 2 * CHUNK_SIZE + 5 + 40
        probe.request(len(records))
        stage.settle()
        assert probe.completed
        assert probe.records == list(records)


@rule("3.12", "3.5")
def test_a_source_that_waits_in_collect_is_woken_by_a_cancel() -> None:
    head = CollectHead(Dispatcher(ManualClock()), "source", None)
    head.checkpoint_lock = lock = WatchedCondition()
    probe = Probe()
    head.outlet.subscribe(probe)
    caught: list[BaseException] = []

    def collect() -> None:
        try:
            head.collect(1)
        except CancelledError as error:
            caught.append(error)

    thread = threading.Thread(target=collect, daemon=True)
    thread.start()
    wait_until(lambda: lock.waited_for, "the source to wait")
    probe.cancel()
    thread.join(10)
    assert len(caught) == 1
    with pytest.raises(CancelledError):
        head.collect(2)
    assert head.offered == 0


# -- failures -----------------------------------------------------------------------------------


class FailingSource(ms.Source[int]):
    def run(self, ctx: ms.SourceContext[int]) -> None:
        ctx.collect_batch([1, 2])
        raise ValueError("no more")


def failing_generator(position: Any) -> Iterator[SourceBatch[int]]:
    yield [1, 2], 2
    raise ValueError("no more")


async def failing_async_generator(position: Any) -> AsyncIterator[SourceBatch[int]]:
    yield [1, 2], 2
    raise ValueError("no more")


class Witness(ms.Sink[int]):
    """Keeps what it saw in a list that outlives the run's copy."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def invoke(self, value: int, ctx: ms.SinkContext) -> None:
        self.seen.append(value)

    def finish(self) -> None:
        self.seen.append("finish")

    def close(self) -> None:
        self.seen.append("close")


@rule("1.4", "1.7")
@pytest.mark.parametrize("source", [FailingSource(), failing_generator, failing_async_generator])
def test_a_source_that_fails_fails_the_run_and_nothing_appears(source: Any) -> None:
    """Its thread is at the edge of the engine, so its failure ends every stream at once."""
    witness = Witness()
    job = ms.Job("fails")
    job.source(source, uid="numbers").sink(witness, uid="out")
    with pytest.raises(SourceError, match="no more") as raised:
        ms.run(job)
    assert isinstance(raised.value.__cause__, ValueError)
    assert "finish" not in witness.seen
    assert witness.seen[-1] == "close"


@rule("1.5")
def test_the_end_of_a_source_needs_no_demand() -> None:
    source, probe = Head(), Probe(request=2)
    source.head.outlet.subscribe(probe)
    source.give([1, 2])
    source.head.on_end()
    source.dispatcher.run_until_idle()
    assert probe.trace == [1, 2, EndOfInput()]
    assert probe.completed


def test_a_barrier_overtakes_what_the_sources_task_has_not_begun() -> None:
    source = Head()
    inlet = source.fed_inlet(demand=10)
    source.give([1, 2, 3])
    source.give([4, 5])
    inlet.take(2)
    assert source.head.inject(Barrier(1)) == Position(7, 2)
    assert source.head.inject(Barrier(2)) == Position(7, 2)
    queued = [each.values if isinstance(each, Chunk) else each for each in inlet.queue]
    assert queued == [Barrier(1), Barrier(2), [3], [4, 5]]


def test_a_watermark_overtakes_nothing() -> None:
    source = Head()
    inlet = source.fed_inlet(demand=10)
    source.give([1, 2, 3])
    assert source.head.inject(Watermark(7)) == Position(8, 0)
    assert inlet.queue[-1] == Watermark(7)


def test_a_late_collect_is_refused_and_one_that_waits_is_woken() -> None:
    head = CollectHead(Dispatcher(ManualClock()), "in", None)
    refused: list[BaseException] = []

    def collect() -> None:
        try:
            head.collect("late")
        except SourceError as error:
            refused.append(error)

    waiting = threading.Thread(target=collect)
    waiting.start()
    head.end()
    waiting.join(5)
    collect()
    assert len(refused) == 2
    assert "its run() has returned, and 'late'" in str(refused[0])
