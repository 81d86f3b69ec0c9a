"""Results appear when nothing but that can fail any more; from then on a run has completed."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

import millstream as ms
from millstream.core.errors import SourceError, StuckError
from tests.support.stepping import wait_until
from tests.unit.engine.driving import Begun, drop, failure, numbers


class Finishing(ms.Sink[Any]):
    """Says when it finishes, and waits there until it may go on."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.may_end = threading.Event()
        self.calls: list[str] = []

    def invoke(self, value: Any, ctx: ms.SinkContext) -> None:
        pass

    def finish(self) -> None:
        self.begun.set()
        self.may_end.wait(10)
        self.calls.append("finish")

    def close(self) -> None:
        self.calls.append("close")


class Closing(ms.BatchSource[int]):
    """Has something to do when its input has ended."""

    def __init__(self, close: Any) -> None:
        self.at_close = close

    def read(self, position: Any) -> Iterator[tuple[list[int], int]]:
        yield [1, 2, 3], 3

    def close(self) -> None:
        self.at_close()


def test_a_cancel_that_comes_while_results_appear_is_too_late() -> None:
    sink = Finishing()
    job = ms.Job("job")
    job.source(numbers(10), uid="in").sink(sink, uid="out")
    begun = Begun(job)
    assert sink.begun.wait(10)
    begun.run.cancel()
    sink.may_end.set()
    assert begun.wait().status is ms.JobStatus.COMPLETED
    assert sink.calls == ["finish", "close"]


def test_a_cancel_does_not_wait_for_ever_for_a_result_to_appear() -> None:
    sink = Finishing()
    job = ms.Job("job", engine=ms.EngineSettings(grace="200ms"))
    job.source(numbers(10), uid="in").sink(sink, uid="out")
    begun = Begun(job)
    assert sink.begun.wait(10)
    begun.run.cancel()
    with pytest.raises(StuckError, match="sink out"):
        begun.wait()
    sink.may_end.set()


def test_nothing_appears_when_a_source_cannot_be_closed() -> None:
    def fail() -> None:
        raise OSError("no")

    sink = Finishing()
    sink.may_end.set()
    job = ms.Job("job")
    job.source(Closing(fail), uid="in").sink(sink, uid="out")
    assert isinstance(failure(job), SourceError)
    assert sink.calls == ["close"]


def test_results_wait_for_a_source_that_is_being_closed() -> None:
    sink = Finishing()
    sink.may_end.set()
    job = ms.Job("job")

    def close() -> None:
        time.sleep(0.05)
        sink.calls.append("closed")

    job.source(Closing(close), uid="in").sink(sink, uid="out")
    assert ms.run(job).status is ms.JobStatus.COMPLETED
    assert sink.calls == ["closed", "finish", "close"]


def test_a_run_is_started_once() -> None:
    job = ms.Job("job")
    job.source(numbers(10), uid="in").sink(drop, uid="out")
    execution = ms.start(job)
    with pytest.raises(RuntimeError, match="'job' was started before"):
        execution.start()
    assert execution.wait().account.operator("out").records_in == 10
    with pytest.raises(RuntimeError, match="'job' was started before"):
        execution.start()


def test_there_is_no_result_before_the_end_and_only_one_behind_it() -> None:
    sink = Finishing()
    job = ms.Job("job")
    job.source(numbers(10), uid="in").sink(sink, uid="out")
    execution = ms.start(job)
    with pytest.raises(RuntimeError, match="has not ended"):
        execution.result()
    sink.may_end.set()
    assert execution.wait() is execution.result()


def test_a_run_that_was_given_up_on_has_not_completed() -> None:
    may_close = threading.Event()
    job = ms.Job("job", engine=ms.EngineSettings(grace="200ms"))
    job.source(Closing(lambda: may_close.wait(10)), uid="in").sink(drop, uid="out")
    execution = ms.start(job)
    with pytest.raises(StuckError, match="still running: source in"):
        execution.wait()
    may_close.set()
    wait_until(lambda: execution.ended, "the end")
    assert execution.result().status is ms.JobStatus.FAILED


def test_a_cancel_that_nobody_asked_for_in_an_async_close_is_a_failure() -> None:
    class Cancels(ms.AsyncBatchSource[int]):
        async def read(self, position: Any) -> AsyncIterator[tuple[list[int], int]]:
            yield [1], 1

        async def close(self) -> None:
            await asyncio.sleep(0.02)  # the sink has flushed by now
            raise asyncio.CancelledError

    job = ms.Job("job")
    job.source(Cancels(), uid="in").sink(drop, uid="out")
    assert failure(job).operator_uid == "in"


def test_the_time_of_a_task_begins_with_the_run() -> None:
    job = ms.Job("job")
    job.source(numbers(10), uid="in").sink(drop, uid="out")
    begun = Begun(job, start=False)
    time.sleep(0.2)
    result = begun.wait()
    (times,) = result.account.tasks
    assert times.busy_s + times.backpressured_s + times.idle_s <= result.duration_s
