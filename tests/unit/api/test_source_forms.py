"""Every form a source may have, as the engine calls it."""

from __future__ import annotations

import asyncio
import functools
import queue
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

import millstream as ms
from millstream.core.errors import ConfigError, SourceError

RECORDS = list(range(10))


def generator(position: Any) -> Iterator[tuple[list[int], Any]]:
    yield [0, 1, 2], 3
    yield [], 3
    yield RECORDS[3:], 10


async def async_generator(position: Any) -> AsyncIterator[tuple[list[int], Any]]:
    yield [0, 1, 2], 3
    yield [], 3
    yield RECORDS[3:], 10


def sliced(step: int, position: Any) -> Iterator[tuple[list[int], Any]]:
    for start in range(0, 10, step):
        yield RECORDS[start : start + step], start + step


class Sliced:
    def __call__(self, position: Any) -> Iterator[tuple[list[int], Any]]:
        yield from sliced(3, position)

    def method(self, position: Any) -> Iterator[tuple[list[int], Any]]:
        yield from sliced(4, position)


class Batches(ms.BatchSource[int]):
    def read(self, position: Any) -> Iterator[tuple[list[int], Any]]:
        return generator(position)


class AsyncBatches(ms.AsyncBatchSource[int]):
    async def read(self, position: Any) -> AsyncIterator[tuple[list[int], Any]]:
        async for batch in async_generator(position):
            yield batch


class Running(ms.Source[int]):
    def run(self, ctx: ms.SourceContext[int]) -> None:
        for record in RECORDS[:5]:
            with ctx.checkpoint_lock:
                ctx.collect(record)
        ctx.collect_batch(RECORDS[5:])
        ctx.collect_batch([])


FORMS = [
    generator,
    async_generator,
    functools.partial(sliced, 4),
    Sliced(),
    Sliced().method,
    Batches(),
    AsyncBatches(),
    Running(),
]


def run(source: Any, chunk_size: int = 1024, chaining: bool = True) -> list[Any]:
    results: list[Any] = []
    job = ms.Job("job", chaining=chaining, engine=ms.EngineSettings(chunk_size=chunk_size))
    job.source(source, uid="in").sink(ms.collection.sink(results), uid="out")
    ms.run(job)
    return results


@pytest.mark.parametrize(
    "form", FORMS, ids=lambda form: getattr(form, "__name__", type(form).__name__)
)
@pytest.mark.parametrize(("chunk_size", "chaining"), [(1, True), (3, False), (1024, True)])
def test_every_form_gives_its_records_in_order(form: Any, chunk_size: int, chaining: bool) -> None:
    assert run(form, chunk_size, chaining) == RECORDS


@pytest.mark.parametrize("records", [(0, 1), range(2), iter([0, 1]), {0: "a", 1: "b"}.keys()])
def test_a_batch_may_be_any_iterable_of_records(records: Any) -> None:
    def source(position: Any) -> Iterator[tuple[Any, Any]]:
        yield records, None

    assert run(source) == [0, 1]


@pytest.mark.parametrize(
    "batch",
    [None, 5, [1, 2], ([1],), ([1], 2, 3), ("text", 1), (b"bytes", 1), ({"a": 1}, 1), (7, 1)],
)
def test_what_is_no_batch_is_an_error_that_says_what_a_batch_is(batch: Any) -> None:
    def source(position: Any) -> Iterator[Any]:
        yield batch

    with pytest.raises(SourceError, match=r"'in' must yield \(records, position\)") as failed:
        run(source)
    assert failed.value.operator_uid == "in"


@pytest.mark.parametrize("form", ["generator", "async", "run", "read"])
def test_an_error_of_a_source_names_it_and_keeps_the_cause(form: str) -> None:
    def fails(position: Any) -> Iterator[Any]:
        yield [1], 1
        raise LookupError("no such page")

    async def fails_later(position: Any) -> AsyncIterator[Any]:
        yield [1], 1
        raise LookupError("no such page")

    class FailsInRun(ms.Source[int]):
        def run(self, ctx: ms.SourceContext[int]) -> None:
            raise LookupError("no such page")

    class FailsInRead(ms.BatchSource[int]):
        def read(self, position: Any) -> Iterator[Any]:
            raise LookupError("no such page")

    forms = {"generator": fails, "async": fails_later, "run": FailsInRun(), "read": FailsInRead()}
    with pytest.raises(
        SourceError, match="source 'in' failed: LookupError: no such page"
    ) as failed:
        run(forms[form])
    assert isinstance(failed.value.__cause__, LookupError)


class Living(ms.BatchSource[int]):
    """Notes what is called, and on which thread."""

    def __init__(self, calls: list[str]) -> None:
        self.calls = calls
        self.opened = False

    def validate(self) -> None:
        self.calls.append("validate")

    def open(self) -> None:
        self.opened = True
        self.threads: set[int] = set()
        self.threads.add(threading.get_ident())
        self.calls.append("open")

    def read(self, position: Any) -> Iterator[tuple[list[int], Any]]:
        assert self.opened
        self.threads.add(threading.get_ident())
        self.calls.append(f"read from {position}")
        yield [1, 2], 2

    def close(self) -> None:
        self.threads.add(threading.get_ident())
        assert len(self.threads) == 1
        self.calls.append("close")


def test_a_source_is_validated_opened_read_from_the_beginning_and_closed() -> None:
    calls: list[str] = []
    assert run(Living(calls)) == [1, 2]
    assert calls == ["validate", "open", "read from None", "close"]


class LivingAsync(ms.AsyncBatchSource[int]):
    def __init__(self, calls: list[str]) -> None:
        self.calls = calls

    async def open(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.calls.append("open")

    async def read(self, position: Any) -> AsyncIterator[tuple[list[int], Any]]:
        assert self.loop is asyncio.get_running_loop()
        self.calls.append(f"read from {position}")
        yield [1, 2], 2
        if len(self.calls) > 4:
            await asyncio.sleep(60)

    async def close(self) -> None:
        await asyncio.sleep(0)
        self.calls.append("close")


def test_an_async_source_is_opened_read_and_closed_on_the_event_loop() -> None:
    calls: list[str] = []
    source = LivingAsync(calls)
    assert run(source) == [1, 2]
    assert calls == ["open", "read from None", "close"]
    assert not hasattr(source, "loop")  # the run had a copy


def test_an_async_source_that_waits_is_closed_when_the_job_is_cancelled() -> None:
    calls = ["", "", ""]
    arrived = threading.Event()
    job = ms.Job("job")
    job.source(LivingAsync(calls), uid="in").sink(lambda record: arrived.set(), uid="out")
    execution = ms.start(job)
    assert arrived.wait(5)
    execution.cancel()
    assert execution.wait().status is ms.JobStatus.CANCELLED
    assert calls[3:] == ["open", "read from None", "close"]


def test_a_run_works_on_a_copy_of_the_source() -> None:
    source = Living([])
    assert run(source) == run(source) == [1, 2]
    assert not source.opened


def test_a_source_that_finds_that_it_cannot_run_stops_the_job_before_anything_runs() -> None:
    calls: list[str] = []

    class Missing(Living):
        def validate(self) -> None:
            raise ConfigError("no such file: orders.csv; create it first")

    job = ms.Job("job")
    here = job.source(Living(calls), uid="here")
    here.union(job.source(Missing(calls), uid="missing")).sink(ms.blackhole.sink(), uid="out")
    with pytest.raises(ConfigError, match="no such file"):
        ms.run(job)
    assert "open" not in calls


def test_a_source_is_closed_when_a_record_fails_as_well() -> None:
    calls: list[str] = []
    job = ms.Job("job")
    job.source(Living(calls), uid="in").map(lambda n: n / 0).sink(ms.blackhole.sink(), uid="out")
    with pytest.raises(ms.errors.OperatorError):
        ms.run(job)
    assert calls[-1] == "close"


def test_a_generator_is_closed_when_the_job_is_cancelled() -> None:
    begun, closed = threading.Event(), threading.Event()

    def endless(position: Any) -> Iterator[tuple[list[int], Any]]:
        try:
            while True:
                yield [1], 1
                begun.set()
        finally:
            closed.set()

    job = ms.Job("job")
    job.source(endless, uid="in").sink(ms.blackhole.sink(), uid="out")
    execution = ms.start(job)
    assert begun.wait(5)
    execution.cancel()
    assert execution.wait().status is ms.JobStatus.CANCELLED
    assert closed.is_set()


class Watched(ms.Source[int]):
    """Collects under the lock, as its position changes; shows the run's own copy to the test."""

    def __init__(self, shown: queue.SimpleQueue[tuple[Watched, ms.SourceContext[int]]]) -> None:
        self.shown = shown
        self.position = 0

    def run(self, ctx: ms.SourceContext[int]) -> None:
        assert ctx.uid == "in"
        self.shown.put((self, ctx))
        while not ctx.cancelled:
            with ctx.checkpoint_lock:
                ctx.collect(self.position)
                self.position += 1

    def snapshot_state(self) -> int:
        return self.position


def test_a_full_pipeline_holds_collect_back_and_the_lock_is_free_meanwhile() -> None:
    release, taken = threading.Event(), threading.Event()

    def take(record: int) -> None:
        taken.set()
        release.wait(5)

    shown: queue.SimpleQueue[tuple[Watched, ms.SourceContext[int]]] = queue.SimpleQueue()
    job = ms.Job("job")
    job.source(Watched(shown), uid="in").sink(take, uid="out")
    execution = ms.start(job)
    source, ctx = shown.get(timeout=5)
    assert taken.wait(5)
    position = -1
    while position != source.position:  # until it waits in collect: the sink takes nothing
        position = source.position
        time.sleep(0.02)
    with ctx.checkpoint_lock:
        assert source.snapshot_state() == position  # what waits is not part of it
    assert position < 20_000
    execution.cancel()
    release.set()
    assert execution.wait().status is ms.JobStatus.CANCELLED


def test_collect_from_several_threads_of_a_source_loses_nothing() -> None:
    class Threads(ms.Source[int]):
        def run(self, ctx: ms.SourceContext[int]) -> None:
            def emit(start: int) -> None:
                for record in range(start, start + 200):
                    ctx.collect(record)

            threads = [threading.Thread(target=emit, args=(n * 200,)) for n in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

    results = run(Threads())
    assert sorted(results) == list(range(800))
    assert [record for record in results if record < 200] == list(range(200))


def test_a_blocked_source_is_woken_by_its_cancel_method() -> None:
    class Blocking(ms.BatchSource[int]):
        def __init__(self) -> None:
            self.reading, self.stop = threading.Event(), threading.Event()

        def read(self, position: Any) -> Iterator[tuple[list[int], Any]]:
            self.reading.set()
            self.stop.wait(30)
            yield [], None

        def cancel(self) -> None:
            self.stop.set()

    source = Blocking()
    job = ms.Job("job")
    job.source(source, uid="in").sink(ms.blackhole.sink(), uid="out")
    begun_s = time.monotonic()
    execution = ms.start(job)
    assert source.reading.wait(5)
    execution.cancel()
    assert execution.wait().status is ms.JobStatus.CANCELLED
    assert time.monotonic() - begun_s < 5


def test_the_lines_of_a_decoder_become_records() -> None:
    class Raw(ms.BatchSource[Any]):
        decoder = ms.json()

        def read(self, position: Any) -> Iterator[tuple[list[bytes], Any]]:
            yield [b'{"n": 1}', b"[2]"], 2

    assert run(Raw()) == [{"n": 1}, [2]]
