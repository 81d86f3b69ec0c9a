"""A failing source, sink or life-cycle method: who, on what, and the user's own line."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

import millstream as ms
from millstream.core.errors import OperatorError, SinkError, SourceError
from tests.unit.engine.driving import Batches, drop, failure, numbers, threads, traceback_of

THE_LINE = "1 // (n - 530)"


def divide(n: int) -> int:
    return 1 // (n - 530)


async def divide_async(n: int) -> int:
    return 1 // (n - 530)


class PerRecord(ms.Sink[int]):
    def invoke(self, value: int, ctx: ms.SinkContext) -> None:
        n = value
        1 // (n - 530)


class PerBatch(ms.Sink[int]):
    def invoke(self, value: int, ctx: ms.SinkContext) -> None:
        raise AssertionError("the batch form is there")

    def invoke_batch(self, values: Sequence[int], ctx: ms.SinkContext) -> None:
        for n in values:
            1 // (n - 530)


class AsyncPerRecord(ms.AsyncSink[int]):
    async def invoke(self, value: int, ctx: ms.SinkContext) -> None:
        n = value
        1 // (n - 530)


class AsyncPerBatch(ms.AsyncSink[int]):
    async def invoke(self, value: int, ctx: ms.SinkContext) -> None:
        raise AssertionError("the batch form is there")

    async def invoke_batch(self, values: Sequence[int], ctx: ms.SinkContext) -> None:
        for n in values:
            1 // (n - 530)


@pytest.mark.parametrize("sink", [PerRecord(), divide, AsyncPerRecord(), divide_async])
def test_a_sink_fails_with_the_record_and_its_position(sink: Any) -> None:
    job = ms.Job("job")
    job.source(numbers(1000), uid="in").sink(sink, uid="out")
    error = failure(job)
    assert isinstance(error, SinkError)
    assert error.operator_uid == "out"
    assert "'out' failed on record 530 at 500 + 30 records" in str(error)
    assert THE_LINE in traceback_of(error)


@pytest.mark.parametrize("sink", [PerBatch(), AsyncPerBatch()])
def test_a_batch_sink_fails_with_where_its_records_begin(sink: Any) -> None:
    job = ms.Job("job")
    job.source(numbers(1000), uid="in").sink(sink, uid="out")
    error = failure(job)
    assert isinstance(error, SinkError)
    assert error.operator_uid == "out"
    assert "records from" in str(error)
    assert THE_LINE in traceback_of(error)


def test_behind_what_drops_records_a_sink_tells_where_its_record_was_made_of() -> None:
    job = ms.Job("job")
    stream = job.source(numbers(1000), uid="in").filter(lambda n: n % 10 == 0)
    stream.sink(divide, uid="out")
    assert "record 530 made of what begins at 500" in str(failure(job))


def test_two_sinks_of_one_stream_keep_exact_positions() -> None:
    job = ms.Job("job")
    stream = job.source(numbers(1000), uid="in").map(lambda n: n)
    stream.sink(drop, uid="other")
    stream.sink(divide, uid="out")
    assert "'out' failed on record 530 at 500 + 30 records" in str(failure(job))


def generator(position: Any) -> Batches:
    for n in range(0, 1000, 10):
        yield [1 // (n - 530)], n


async def async_generator(position: Any) -> AsyncIterator[tuple[list[int], int]]:
    for n in range(0, 1000, 10):
        yield [1 // (n - 530)], n


class Running(ms.Source[int]):
    def run(self, ctx: ms.SourceContext[int]) -> None:
        for n in range(1000):
            ctx.collect(1 // (n - 530))


class Reading(ms.BatchSource[int]):
    def read(self, position: Any) -> Batches:
        return generator(position)


@pytest.mark.parametrize("source", [generator, async_generator, Running(), Reading()])
def test_a_failing_source_is_named(source: Any) -> None:
    job = ms.Job("job")
    job.source(source, uid="in").sink(drop, uid="out")
    error = failure(job)
    assert isinstance(error, SourceError)
    assert error.operator_uid == "in"
    assert "source 'in' failed: ZeroDivisionError" in str(error)
    assert THE_LINE in traceback_of(error)


def fail() -> None:
    raise OSError("it is not there")


class SinkFails(ms.Sink[int]):
    def __init__(self, where: str) -> None:
        self.where = where

    def open(self, ctx: ms.SinkContext) -> None:
        fail() if self.where == "open" else None

    def invoke(self, value: int, ctx: ms.SinkContext) -> None:
        pass

    def flush(self) -> None:
        fail() if self.where == "flush" else None

    def finish(self) -> None:
        fail() if self.where == "finish" else None

    def close(self) -> None:
        fail() if self.where == "close" else None


class AsyncSinkFails(ms.AsyncSink[int]):
    def __init__(self, where: str) -> None:
        self.where = where

    async def open(self, ctx: ms.SinkContext) -> None:
        fail() if self.where == "open" else None

    async def invoke(self, value: int, ctx: ms.SinkContext) -> None:
        pass

    async def flush(self) -> None:
        fail() if self.where == "flush" else None

    async def finish(self) -> None:
        fail() if self.where == "finish" else None

    async def close(self) -> None:
        fail() if self.where == "close" else None


@pytest.mark.parametrize("kind", [SinkFails, AsyncSinkFails])
@pytest.mark.parametrize("where", ["open", "flush", "finish", "close"])
def test_a_sinks_other_methods_are_named(kind: Any, where: str) -> None:
    job = ms.Job("job")
    job.source(numbers(1000), uid="in").sink(kind(where), uid="out")
    error = failure(job)
    assert isinstance(error, SinkError)
    assert error.operator_uid == "out"
    assert f"{where}() failed: OSError: it is not there" in str(error)
    assert f'fail() if self.where == "{where}" else None' in traceback_of(error)
    assert not threads()


class SourceFails(ms.BatchSource[int]):
    def __init__(self, where: str) -> None:
        self.where = where

    def open(self) -> None:
        fail() if self.where == "open" else None

    def read(self, position: Any) -> Batches:
        return numbers(10)(position)

    def close(self) -> None:
        fail() if self.where == "close" else None


@pytest.mark.parametrize("where", ["open", "close"])
def test_a_sources_other_methods_are_named(where: str) -> None:
    job = ms.Job("job")
    job.source(SourceFails(where), uid="in").sink(drop, uid="out")
    error = failure(job)
    assert isinstance(error, SourceError)
    assert error.operator_uid == "in"
    assert "OSError: it is not there" in str(error)
    assert f'fail() if self.where == "{where}" else None' in traceback_of(error)


class ProcessFails(ms.KeyedProcessFunction[int, int]):
    def __init__(self, where: str) -> None:
        self.where = where

    def open(self, ctx: ms.ProcessContext[int]) -> None:
        fail() if self.where == "open" else None

    def process_element(self, value: int, ctx: ms.ProcessContext[int]) -> None:
        pass

    def close(self) -> None:
        fail() if self.where == "close" else None


@pytest.mark.parametrize("where", ["open", "close"])
def test_a_process_functions_other_methods_are_named(where: str) -> None:
    job = ms.Job("job")
    stream = job.source(numbers(10), uid="in").key_by(lambda n: n % 2)
    stream.process(ProcessFails(where), uid="op").sink(drop, uid="out")
    error = failure(job)
    assert isinstance(error, OperatorError)
    assert error.operator_uid == "op"
    assert f"{where}() failed: OSError: it is not there" in str(error)
    assert f'fail() if self.where == "{where}" else None' in traceback_of(error)


class InvokeAndCloseFail(SinkFails):
    def invoke(self, value: int, ctx: ms.SinkContext) -> None:
        raise ValueError("the first")


def test_a_failing_close_does_not_hide_why_the_run_failed() -> None:
    job = ms.Job("job")
    job.source(numbers(10), uid="in").sink(InvokeAndCloseFail("close"), uid="out")
    error = failure(job)
    assert "ValueError: the first" in str(error)
    assert "close() failed: OSError" in "".join(error.__notes__)
