"""Every form a sink may have, as the engine calls it."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

import millstream as ms
from millstream.core.errors import ConfigError, OperatorError, SinkError
from tests.support.stepping import wait_until
from tests.unit.api.jobs import begun
from tests.unit.engine.driving import Begun

RECORDS = list(range(5))


class Living(ms.Sink[int]):
    """Notes what is called, and that it is always on one thread, which is not the caller's."""

    threads: frozenset[int] = frozenset()

    def __init__(self, calls: list[str]) -> None:
        self.calls = calls
        self.opened = False

    def _note(self, call: str) -> None:
        self.threads = self.threads | {threading.get_ident()}
        self.calls.append(call)

    def validate(self) -> None:
        self.calls.append("validate")

    def open(self, ctx: ms.SinkContext) -> None:
        self.opened = True
        self._note(f"open {ctx.job}/{ctx.uid}")

    def invoke(self, value: int, ctx: ms.SinkContext) -> None:
        self._note(f"invoke {value}")

    def flush(self) -> None:
        self._note("flush")

    def finish(self) -> None:
        self._note("finish")

    def close(self) -> None:
        self._note("close")
        assert len(self.threads) == 1
        assert threading.main_thread().ident not in self.threads


class LivingInBatches(Living):
    def invoke_batch(self, values: Sequence[int], ctx: ms.SinkContext) -> None:
        for value in values:
            self._note(f"invoke {value}")


class LivingAsync(ms.AsyncSink[int]):
    def __init__(self, calls: list[str]) -> None:
        self.calls = calls
        self.opened = False

    async def _note(self, call: str) -> None:
        await asyncio.sleep(0)
        self.calls.append(call)

    def validate(self) -> None:
        self.calls.append("validate")

    async def open(self, ctx: ms.SinkContext) -> None:
        self.opened = True
        await self._note(f"open {ctx.job}/{ctx.uid}")

    async def invoke(self, value: int, ctx: ms.SinkContext) -> None:
        await self._note(f"invoke {value}")

    async def flush(self) -> None:
        await self._note("flush")

    async def finish(self) -> None:
        await self._note("finish")

    async def close(self) -> None:
        await self._note("close")


CLASSES: list[Any] = [Living, LivingInBatches, LivingAsync]
IN_ORDER = [*(f"invoke {n}" for n in RECORDS), "flush", "finish", "close"]


def job_with(sink: Any, records: Sequence[Any] = RECORDS) -> ms.Job:
    job, numbers = begun(records)
    numbers.sink(sink, uid="out")
    return job


@pytest.mark.parametrize("kind", CLASSES)
def test_a_sink_is_opened_invoked_flushed_finished_and_closed_in_this_order(kind: Any) -> None:
    calls: list[str] = []
    ms.run(job_with(kind(calls)))
    assert calls == ["validate", "open job/out", *IN_ORDER]


@pytest.mark.parametrize("kind", CLASSES)
def test_a_sink_without_records_is_flushed_and_finished_as_well(kind: Any) -> None:
    calls: list[str] = []
    ms.run(job_with(kind(calls), []))
    assert calls == ["validate", "open job/out", "flush", "finish", "close"]


@pytest.mark.parametrize("kind", CLASSES)
def test_a_run_works_on_a_copy_of_the_sink(kind: Any) -> None:
    calls: list[str] = []
    sink = kind(calls)
    job = job_with(sink)
    ms.run(job)
    ms.run(job)
    assert not sink.opened
    assert calls == ["validate", "open job/out", *IN_ORDER] * 2


@pytest.mark.parametrize("kind", CLASSES)
def test_a_sink_is_closed_but_not_finished_when_the_job_fails(kind: Any) -> None:
    calls: list[str] = []
    job, numbers = begun([1, 0])
    numbers.map(lambda n: 1 // n).sink(kind(calls), uid="out")
    with pytest.raises(OperatorError):
        ms.run(job)
    assert calls[-1] == "close"
    assert "finish" not in calls


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("method", ["open", "invoke", "flush", "finish", "close"])
def test_a_failing_method_fails_the_job_names_the_sink_and_still_closes_it(
    kind: Any, method: str
) -> None:
    calls: list[str] = []

    def fail(self: Any, *_: Any) -> None:
        raise OSError("disk full")

    async def fail_later(self: Any, *_: Any) -> None:
        raise OSError("disk full")

    body: dict[str, Any] = {method: fail_later if kind is LivingAsync else fail}
    if method == "invoke" and kind is LivingInBatches:
        body = {"invoke_batch": fail}
    failing = type("Failing", (kind,), body)
    with pytest.raises(SinkError, match=r"sink 'out'.*OSError: disk full") as failed:
        ms.run(job_with(failing(calls)))
    assert failed.value.operator_uid == "out"
    assert isinstance(failed.value.__cause__, OSError)
    assert calls[-1] == "close" or method == "close"


def test_a_failing_record_of_a_sink_is_named() -> None:
    def take(n: int) -> None:
        if n == 3:
            raise OSError("disk full")

    with pytest.raises(SinkError, match=r"sink 'out' failed on record 3 at .*: OSError: disk"):
        ms.run(job_with(take))


def test_a_sink_that_finds_that_it_cannot_run_stops_the_job_before_anything_runs() -> None:
    calls: list[str] = []

    class Missing(ms.Sink[int]):
        def validate(self) -> None:
            raise ConfigError("no such folder: out; create it first")

        def invoke(self, value: int, ctx: ms.SinkContext) -> None:
            calls.append("invoke")

    job, numbers = begun(RECORDS)
    numbers.sink(Living(calls), uid="one")
    numbers.sink(Missing(), uid="two")
    with pytest.raises(ConfigError, match="no such folder"):
        ms.run(job)
    assert calls == ["validate"]


async def append_later(into: list[int], n: int) -> None:
    await asyncio.sleep(0)
    into.append(n)


class Appending:
    def __init__(self, into: list[int]) -> None:
        self.into = into

    def __call__(self, n: int) -> None:
        self.into.append(n)


class AppendingLater(Appending):
    async def __call__(self, n: int) -> None:  # type: ignore[override]
        await append_later(self.into, n)


FUNCTIONS: list[Callable[[list[int]], Any]] = [
    lambda into: into.append,
    lambda into: lambda n: into.insert(len(into), n),
    lambda into: functools.partial(append_later, into),
    Appending,
    AppendingLater,
    lambda into: AppendingLater(into).__call__,
]


@pytest.mark.parametrize("make", FUNCTIONS)
def test_a_function_of_any_kind_is_called_per_record(make: Callable[[list[int]], Any]) -> None:
    into: list[int] = []
    ms.run(job_with(make(into)))
    assert into == RECORDS


def test_a_lambda_around_an_async_def_is_an_error_as_nobody_would_await_it() -> None:
    into: list[int] = []
    with pytest.raises(SinkError, match=r"returned a coroutine.*pass the 'async def' itself"):
        ms.run(job_with(lambda n: append_later(into, n)))


@pytest.mark.parametrize("kind", CLASSES)
def test_a_sink_is_flushed_at_a_barrier_behind_the_records_before_it(
    kind: Any, tmp_path: Path
) -> None:
    calls: list[str] = []
    more = threading.Event()

    def source(position: Any) -> Any:
        yield [1, 2], 2
        more.wait(5)
        yield [3], 3

    job = ms.Job("job")
    job.source(source, uid="in").sink(kind(calls), uid="out")
    run = Begun(job, tmp_path)
    wait_until(lambda: "invoke 2" in calls, "two records")
    run.checkpoint()
    assert calls[-2:] == ["invoke 2", "flush"]
    more.set()
    run.wait()
    assert calls[-4:] == ["invoke 3", "flush", "finish", "close"]
