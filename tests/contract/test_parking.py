"""Operators that make more than was asked for: the rest waits where it is made, for demand."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from typing import Any

import pytest

import millstream as ms
from millstream.core.element import CHUNK_SIZE, Barrier, Control, EndOfInput
from millstream.engine.chain import BatchStep
from millstream.engine.task import Task
from millstream.operators.aggregate import AggregateBy
from millstream.operators.filter import Filter
from millstream.operators.flat_map import FlatMap
from millstream.operators.key_by import KeyBy
from millstream.operators.process import Process
from tests.contract.operators import Steps, TaskSubject, in_one_loop
from tests.contract.processors import ProcessorAsPublisher
from tests.support.probe import MAX_DEMAND, Probe
from tests.support.rules import rule
from tests.support.stepping import wait_until

MANY = 10_000_000
AHEAD = 1  # records that are made before they are asked for, to see whether anything is left


class Endless:
    """Makes very many records of one, and counts them.

    Attributes:
        made: records so far.
        closed: nothing more will be made.
    """

    def __init__(self, many: int = MANY) -> None:
        self.made = 0
        self.closed = False
        self._many = many

    def of(self, _: object) -> Iterator[int]:
        try:
            for number in range(self._many):
                self.made += 1
                yield number
        finally:
            self.closed = True


class _Yields(ms.KeyedProcessFunction[int, int]):
    def __init__(self, endless: Endless) -> None:
        self._endless = endless

    def process_element(self, value: int, ctx: ms.ProcessContext[int]) -> Iterator[int]:
        yield from self._endless.of(value)


BY_ITSELF = KeyBy(lambda record: record, ("key",))


def flat_map(endless: Endless) -> Steps:
    return in_one_loop(FlatMap(endless.of))


def flat_maps(endless: Endless) -> Steps:
    twice = FlatMap(lambda record: [record])
    return [*in_one_loop(twice, FlatMap(endless.of)), *in_one_loop(twice, Filter(ms.it >= 0))]


def map_batches(endless: Endless) -> Steps:
    def function(batch: Sequence[Any]) -> Iterable[int]:
        return endless.of(batch)

    return [BatchStep("op", function, CHUNK_SIZE)]


def process(endless: Endless) -> Steps:
    return in_one_loop(Process(_Yields(endless), (), BY_ITSELF))


every_maker = pytest.mark.parametrize("make", [flat_map, flat_maps, map_batches, process])


def task(steps: Steps, items: Sequence[Any]) -> ProcessorAsPublisher:
    return ProcessorAsPublisher(TaskSubject("op", lambda _: steps, list), items)


@rule("1.1", "4.1")
@every_maker
def test_only_what_is_asked_for_is_made(make: Any) -> None:
    endless = Endless()
    with closing(task(make(endless), [0])) as stage:
        probe = stage.subscribe()
        for asked in range(10, 500, 10):
            probe.request(10)
            stage.settle()
            assert probe.received == asked
            assert asked <= endless.made <= asked + AHEAD


@rule("3.5", "3.12", "1.8")
@every_maker
def test_a_cancel_passes_at_once(make: Any) -> None:
    endless = Endless()
    with closing(task(make(endless), [0, 1])) as stage:
        probe = stage.subscribe(Probe(request=10))
        stage.settle()
        made = endless.made
        probe.cancel()
        assert endless.closed, "what is suspended is closed, and runs its finally clauses"
        stage.settle()
        assert endless.made == made
        assert stage.cancel_reached_origin()


@rule("3.5")
@every_maker
def test_a_cancel_passes_within_a_stream_that_is_never_held_up(make: Any) -> None:
    endless = Endless()
    with closing(task(make(endless), [0])) as stage:
        probe = stage.subscribe(Probe(request=MAX_DEMAND))
        for _ in range(20):
            stage.dispatcher.step()
            stage.pump()
        probe.cancel()
        stage.settle()
        assert endless.closed
        assert endless.made <= 30 * CHUNK_SIZE, "a slice goes on for too long"


@every_maker
def test_chunks_stay_short_whatever_is_asked_for(make: Any) -> None:
    endless = Endless(10 * CHUNK_SIZE)
    with closing(task(make(endless), [0])) as stage:
        probe = stage.subscribe(Probe(request=MAX_DEMAND))
        stage.settle()
        assert probe.completed
        assert probe.records == list(range(10 * CHUNK_SIZE))
        assert max(probe.chunks) <= CHUNK_SIZE


@rule("1.1")
@every_maker
def test_a_task_with_parked_output_takes_no_input(make: Any) -> None:
    endless = Endless(100)
    with closing(task(make(endless), range(50))) as stage:
        probe = stage.subscribe(Probe(request=20))
        stage.settle()
        asked = sum(stage.feeds[0].requests)
        for _ in range(3):
            probe.request(20)
            stage.settle()
        assert probe.received == 80
        assert sum(stage.feeds[0].requests) == asked


@rule("1.1")
@every_maker
def test_a_barrier_passes_behind_the_last_parked_record_without_more_demand(make: Any) -> None:
    with closing(task(make(Endless(30)), [0, Barrier(1), 1])) as stage:
        probe = stage.subscribe(Probe(request=20))
        stage.settle()
        assert probe.controls == []
        probe.request(10)
        stage.settle()
        assert probe.trace == [*range(30), Barrier(1)]


def test_the_engine_gets_its_turn_where_nothing_is_emitted_for_long() -> None:
    endless = Endless()
    with closing(task(in_one_loop(FlatMap(endless.of), Filter(ms.it < 0)), [0])) as stage:
        probe = stage.subscribe(Probe(request=10))
        stage.pump()
        stage.dispatcher.step()
        stage.pump()
        for step in range(1, 20):
            stage.dispatcher.step()
            assert endless.made <= step * 10_000, "a slice goes on for too long"
        probe.cancel()
        stage.settle()
        assert endless.closed


def test_a_list_is_sent_in_slices() -> None:
    with closing(task(in_one_loop(FlatMap(lambda _: list(range(100)))), [0, 1])) as stage:
        probe = stage.subscribe()
        while not probe.completed:
            probe.request(30)
            stage.settle()
            assert probe.received == min(probe.requested, 200)
        assert probe.records == [*range(100)] * 2


def test_final_results_are_drained_as_they_are_asked_for() -> None:
    keys = 10 * CHUNK_SIZE
    counts = AggregateBy({"": ms.count()}, "final", BY_ITSELF)
    with closing(task(in_one_loop(BY_ITSELF, counts), range(keys))) as stage:
        probe = stage.subscribe(Probe(request=10))
        stage.settle()
        assert probe.received == 10
        assert isinstance(stage.task, Task)
        assert stage.task.chain.counts()["op"].records_out <= CHUNK_SIZE
        probe.request(keys)
        stage.settle()
        assert probe.records == [1] * keys
        assert probe.trace[-1] == EndOfInput()
        assert not any(isinstance(each, Control) for each in probe.trace[:-1])


@rule("3.5", "3.14")
def test_a_running_job_is_cancelled_in_the_middle_of_one_record() -> None:
    endless = Endless(2**62)
    job = ms.Job("endless")
    numbers = job.source(ms.collection.source([1]), uid="one").flat_map(endless.of)
    numbers.sink(lambda record: None, uid="out")
    execution = ms.start(job)
    wait_until(lambda: endless.made >= 100_000, "the first records")
    begun = time.monotonic()
    execution.cancel()
    result = execution.wait()
    assert time.monotonic() - begun < 5  # a tenth of it where nothing else runs
    assert result.status is ms.JobStatus.CANCELLED
    assert endless.closed
