"""The conservation law: a chunk lost or doubled anywhere inside the engine, and the run says so."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import millstream as ms
from millstream.core.element import Chunk
from millstream.core.errors import InconsistentError
from millstream.engine.channel import Inlet, Outlet
from millstream.engine.segment import Segment
from millstream.engine.sink_driver import AsyncSinkDriver, SinkDriver
from millstream.engine.sink_edge import SinkEdge
from millstream.engine.source_head import QueuedHead
from tests.unit.engine.driving import drop, numbers

COUNT = 6_000
NTH = 12  # the chunk at fault: deliveries have grown by then, so that one less stops nothing
Build = Callable[[ms.Job], "ms.Stream[Any]"]


async def same_async(n: int) -> int:
    return n


async def drop_async(n: int) -> None:
    pass


async def async_numbers(position: Any) -> AsyncIterator[tuple[list[int], int]]:
    for start in range(0, COUNT, 100):
        yield list(range(start, start + 100)), start + 100


class Collecting(ms.Source[int]):
    def run(self, ctx: ms.SourceContext[int]) -> None:
        for start in range(0, COUNT, 100):
            ctx.collect_batch(range(start, start + 100))


def simple(job: ms.Job) -> ms.Stream[int]:
    return job.source(numbers(COUNT), uid="in").map(lambda n: n + 1, uid="op")


def with_union(job: ms.Job) -> ms.Stream[int]:
    other = job.source(numbers(COUNT), uid="other")
    return job.source(numbers(COUNT), uid="in").union(other, uid="both")


def with_split(job: ms.Job) -> ms.Stream[int]:
    parts = simple(job).split(lambda n: "even" if n % 2 == 0 else "odd", "even", "odd", uid="ways")
    parts["odd"].sink(drop, uid="odd")
    return parts["even"]


def with_async(job: ms.Job) -> ms.Stream[int]:
    return simple(job).map_async(same_async, uid="async")


def with_flat_map(job: ms.Job) -> ms.Stream[int]:
    return simple(job).flat_map(lambda n: (n, n), uid="twice")


def two_tasks(job: ms.Job) -> ms.Stream[int]:
    return simple(job).disable_chaining().map(lambda n: n, uid="next")


def from_async(job: ms.Job) -> ms.Stream[int]:
    return job.source(async_numbers, uid="in")


def from_collect(job: ms.Job) -> ms.Stream[int]:
    return job.source(Collecting(), uid="in")


def two_sinks(job: ms.Job) -> ms.Stream[int]:
    stream = simple(job)
    stream.sink(drop, uid="other out")
    return stream


BUILDS: dict[str, Build] = {
    "one task": simple,
    "two tasks": two_tasks,
    "union": with_union,
    "split": with_split,
    "map_async": with_async,
    "flat_map": with_flat_map,
    "async source": from_async,
    "collecting source": from_collect,
    "two sinks": two_sinks,
}


class Fault:
    """Loses or doubles one chunk on its way through a method."""

    def __init__(self, copies: int) -> None:
        self.copies = copies
        self.calls: dict[int, int] = {}
        self.struck = False

    def patch(self, monkeypatch: pytest.MonkeyPatch, owner: type, method: str) -> None:
        original = getattr(owner, method)

        def faulty(this: Any, chunk: Any) -> None:
            copies = self.copies_of(this, chunk)
            for _ in range(copies):
                original(this, chunk)
            if isinstance(this, Inlet) and copies != 1:  # or what is missing would be waited for
                this.outstanding += (copies - 1) * len(chunk)
                this._on_ready()

        monkeypatch.setattr(owner, method, faulty)

    def copies_of(self, this: object, chunk: object) -> int:
        if not isinstance(chunk, Chunk) or not len(chunk):
            return 1
        count = self.calls[id(this)] = self.calls.get(id(this), 0) + 1
        if self.struck or count != NTH:
            return 1
        self.struck = True
        return self.copies


def run_inconsistent(job: ms.Job, fault: Fault) -> InconsistentError:
    execution = ms.start(job)
    alarm = threading.Timer(10, execution.cancel)  # a test that fails should not hang
    alarm.start()
    result = execution.wait()
    alarm.cancel()
    assert fault.struck
    assert isinstance(result.error, InconsistentError), result.report()
    assert "INCONSISTENT" in result.report()
    return result.error


@pytest.mark.parametrize("sink", [drop, drop_async], ids=["sink", "async sink"])
@pytest.mark.parametrize("build", BUILDS.values(), ids=BUILDS)
def test_all_counts_agree(build: Build, sink: Any) -> None:
    job = ms.Job("job")
    build(job).sink(sink, uid="out")
    result = ms.run(job)
    assert not list(result.account.violations())
    assert "consistent: in = out + filtered at every operator" in result.report()
    assert "both ends of" in result.report()
    assert result.account.operator("in").records_out == COUNT


@pytest.mark.parametrize("build", BUILDS.values(), ids=BUILDS)
@pytest.mark.parametrize(
    ("owner", "method"),
    [(Outlet, "emit"), (Inlet, "on_next"), (SinkEdge, "on_next")],
    ids=["Outlet.emit", "Inlet.on_next", "SinkEdge.on_next"],
)
def test_a_lost_chunk_is_missed(
    build: Build, owner: type, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = Fault(copies=0)
    fault.patch(monkeypatch, owner, method)
    job = ms.Job("job")
    build(job).sink(drop, uid="out")
    assert "missing" in str(run_inconsistent(job, fault))


@pytest.mark.parametrize("build", BUILDS.values(), ids=BUILDS)
def test_a_doubled_chunk_is_one_too_many(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    fault = Fault(copies=2)
    fault.patch(monkeypatch, Inlet, "on_next")
    job = ms.Job("job")
    build(job).sink(drop, uid="out")
    assert "too many" in str(run_inconsistent(job, fault))


def test_a_chunk_lost_between_a_sources_thread_and_the_engine_is_missed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for build in (simple, from_async):
        with monkeypatch.context() as patch:
            fault = Fault(copies=0)
            fault.patch(patch, QueuedHead, "on_chunk")
            job = ms.Job("job")
            build(job).sink(drop, uid="out")
            assert "in -> engine" in str(run_inconsistent(job, fault))


@pytest.mark.parametrize("copies", [0, 2], ids=["lost", "doubled"])
@pytest.mark.parametrize(
    ("driver", "sink"), [(SinkDriver, drop), (AsyncSinkDriver, drop_async)], ids=["sink", "async"]
)
def test_a_chunk_lost_on_the_way_to_a_sink_is_missed(
    driver: type, sink: Any, copies: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = Fault(copies)
    make = driver.__init__  # type: ignore[misc]

    def init(this: Any, *arguments: Any) -> None:
        make(this, *arguments)
        hand_over = this.hand_over

        def faulty(item: Any) -> None:
            for _ in range(fault.copies_of(this, item)):
                hand_over(item)

        this.hand_over = faulty

    monkeypatch.setattr(driver, "__init__", init)
    job = ms.Job("job")
    simple(job).sink(sink, uid="out")
    assert "op -> out" in str(run_inconsistent(job, fault))


def test_a_record_lost_inside_a_loop_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Segment.run
    struck = Fault(0)

    def lossy(this: Segment, values: Any) -> list[Any]:
        out = run(this, values)
        if len(out) > 1 and not struck.struck:
            struck.struck = True
            out.pop()
        return out

    monkeypatch.setattr(Segment, "run", lossy)
    job = ms.Job("job")
    simple(job).sink(drop, uid="out")
    run_inconsistent(job, struck)


def test_an_inconsistent_run_writes_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = Fault(copies=0)
    fault.patch(monkeypatch, Inlet, "on_next")
    job = ms.Job("job")
    simple(job).sink(ms.jsonl.sink(str(tmp_path / "out.jsonl")), uid="out")
    run_inconsistent(job, fault)
    assert not list(tmp_path.iterdir())


def test_a_run_that_was_cut_short_is_not_called_inconsistent() -> None:
    def fail(n: int) -> Iterator[int]:
        yield n
        if n == 3000:
            raise ValueError("on purpose")

    job = ms.Job("job")
    simple(job).flat_map(fail, uid="fails").sink(drop, uid="out")
    result = ms.start(job).wait()
    assert isinstance(result.error, ms.errors.OperatorError)
    assert "INCONSISTENT" not in result.report()
    assert "not reconciled" in result.report()
