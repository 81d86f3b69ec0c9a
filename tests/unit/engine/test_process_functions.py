"""Process functions in a running job: whatever they collect arrives, and from where they may."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import Any

import pytest

import millstream as ms
from tests.support.stepping import wait_until
from tests.unit.engine.driving import failure


class Keeper(ms.KeyedProcessFunction[dict[str, Any], int]):
    """Keeps ``ctx.collect`` from its first record."""

    def process_element(self, value: dict[str, Any], ctx: ms.ProcessContext[int]) -> None:
        if not hasattr(self, "emit"):
            self.emit = ctx.collect
        self.emit(value["n"])


class Aside(ms.KeyedProcessFunction[dict[str, Any], dict[str, Any]]):
    def process_element(
        self, value: dict[str, Any], ctx: ms.ProcessContext[dict[str, Any]]
    ) -> None:
        ctx.output("odd", value) if value["n"] % 2 else ctx.collect(value)


class Name(StrEnum):
    USER = "user"
    N = "n"


def records(count: int) -> list[dict[str, Any]]:
    return [{"user": f"u{n % 3}", "n": n} for n in range(count)]


def test_a_collect_that_is_kept_loses_nothing() -> None:
    results: list[int] = []
    job = ms.Job("kept")
    source = job.source(ms.collection.source(records(5000)), uid="in")
    source.key_by("user").process(Keeper(), uid="p").sink(ms.collection.sink(results), uid="out")
    ms.run(job)
    assert results == list(range(5000))


class YieldingKeeper(ms.KeyedProcessFunction[dict[str, Any], int]):
    """Keeps ``ctx.collect`` from its first record; collects before and behind what it yields."""

    def process_element(self, value: dict[str, Any], ctx: ms.ProcessContext[int]) -> Iterator[int]:
        if not hasattr(self, "emit"):
            self.emit = ctx.collect
        self.emit(3 * value["n"])
        yield 3 * value["n"] + 1
        self.emit(3 * value["n"] + 2)


def test_what_a_generator_collects_keeps_its_place_in_what_it_yields() -> None:
    results: list[int] = []
    job = ms.Job("kept")
    source = job.source(ms.collection.source(records(5000)), uid="in")
    keyed = source.key_by("user").process(YieldingKeeper(), uid="p")
    keyed.sink(ms.collection.sink(results), uid="out")
    ms.run(job)
    assert results == list(range(15_000))


class Late(ms.KeyedProcessFunction[dict[str, Any], int]):
    """Emits when it is closed."""

    def process_element(self, value: dict[str, Any], ctx: ms.ProcessContext[int]) -> None:
        self.emit = ctx.collect

    def close(self) -> None:
        self.emit(1)


def emits_late_by_close() -> ms.Job:
    job = ms.Job("late")
    source = job.source(ms.collection.source(records(100)), uid="in")
    late = source.key_by("user").process(Late(), uid="p")
    late.sink(ms.collection.sink([]), uid="out")
    return job


def emits_late_by_a_thread() -> ms.Job:
    results: list[int] = []
    contexts: list[ms.ProcessContext[int]] = []

    class Given(ms.KeyedProcessFunction[dict[str, Any], int]):
        def process_element(self, value: dict[str, Any], ctx: ms.ProcessContext[int]) -> None:
            contexts.append(ctx)
            ctx.collect(value["n"])

    def source(position: Any) -> Iterator[tuple[list[dict[str, Any]], int]]:
        yield records(10), 10
        wait_until(lambda: len(results) == 10, "the loop to have ended")
        contexts[0].collect(1)

    job = ms.Job("late")
    late = job.source(source, uid="in").key_by("user").process(Given(), uid="p")
    late.sink(results.append, uid="out")
    return job


class AsideElsewhere(ms.KeyedProcessFunction[dict[str, Any], int]):
    """Emits to its side output when it is opened, or closed."""

    def __init__(self, where: str) -> None:
        self.where = where

    def open(self, ctx: ms.ProcessContext[int]) -> None:
        self.ctx = ctx
        if self.where == "open":
            ctx.output("aside", 1)

    def process_element(self, value: dict[str, Any], ctx: ms.ProcessContext[int]) -> None:
        ctx.output("aside", value["n"])

    def close(self) -> None:
        if self.where == "close":
            self.ctx.output("aside", 1)


@pytest.mark.parametrize("where", ["open", "close"])
def test_a_side_output_outside_of_process_element_fails_the_job(where: str) -> None:
    job = ms.Job("aside")
    source = job.source(ms.collection.source(records(10)), uid="in")
    made = source.key_by("user").process(AsideElsewhere(where), side_outputs=["aside"], uid="p")
    made.sink(ms.blackhole.sink(), uid="out")
    made.side_output("aside").sink(ms.blackhole.sink(), uid="aside")
    error = failure(job)
    assert error.operator_uid == "p"
    assert f"{where}() failed" in str(error)
    assert "emit only in process_element" in str(error)


def test_what_another_thread_collects_meanwhile_arrives_or_fails_the_job() -> None:
    """However threads interleave, nothing vanishes from a job that completes."""
    collected = [0]

    class Shares(ms.KeyedProcessFunction[dict[str, Any], int]):
        def process_element(self, value: dict[str, Any], ctx: ms.ProcessContext[int]) -> None:
            if not hasattr(self, "thread"):
                self.over = threading.Event()
                self.thread = threading.Thread(target=self.go_on, args=[ctx.collect])
                self.thread.start()
            if value["n"] == 19_999:
                self.over.set()
                self.thread.join()

        def go_on(self, collect: Callable[[int], Any]) -> None:
            while not self.over.is_set():
                collect(1)
                collected[0] += 1

    results: list[int] = []
    job = ms.Job("shared")
    source = job.source(ms.collection.source(records(20_000)), uid="in")
    source.key_by("user").process(Shares(), uid="p").sink(ms.collection.sink(results), uid="out")
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        ms.run(job)
    finally:
        sys.setswitchinterval(before)
    assert len(results) == collected[0]


@pytest.mark.parametrize("build", [emits_late_by_close, emits_late_by_a_thread])
def test_what_is_collected_where_it_would_be_lost_fails_the_job(
    build: Callable[[], ms.Job],
) -> None:
    error = failure(build())
    assert error.operator_uid == "p"
    assert "collect(1)" in str(error)
    assert "emit only in process_element" in str(error)


def test_a_failing_close_keeps_the_results_from_appearing() -> None:
    finished: list[str] = []

    class Fails(ms.KeyedProcessFunction[dict[str, Any], int]):
        def process_element(self, value: dict[str, Any], ctx: ms.ProcessContext[int]) -> None:
            pass

        def close(self) -> None:
            raise OSError("no")

    class Notes(ms.Sink[int]):
        def invoke(self, value: int, ctx: ms.SinkContext) -> None:
            pass

        def finish(self) -> None:
            finished.append("finish")

    job = ms.Job("job")
    source = job.source(ms.collection.source(records(10)), uid="in")
    source.key_by("user").process(Fails(), uid="p").sink(Notes(), uid="out")
    assert "close() failed: OSError: no" in str(failure(job))
    assert not finished


def test_side_outputs_do_not_upset_the_edge_to_a_key_by() -> None:
    main: list[Any] = []
    odd: list[Any] = []
    job = ms.Job("aside")
    source = job.source(ms.collection.source(records(10)), uid="in")
    made = source.key_by("user").process(Aside(), side_outputs=["odd"], uid="p")
    made.side_output("odd").sink(ms.collection.sink(odd), uid="odd")
    made.key_by("user").aggregate(ms.count(), uid="n").sink(ms.collection.sink(main), uid="out")
    assert ms.run(job).status is ms.JobStatus.COMPLETED
    assert (len(main), len(odd)) == (5, 5)


def test_names_may_be_members_of_a_str_enum() -> None:
    results: list[Any] = []
    job = ms.Job("enum")
    source = job.source(ms.collection.source(records(2)), uid="in")
    kept = source.filter(ms.col(Name.N) >= 0).key_by(Name.USER)
    kept.aggregate(n=ms.sum(Name.N), uid="a").sink(ms.collection.sink(results), uid="out")
    ms.run(job)
    assert results == [{"user": "u0", "n": 0}, {"user": "u1", "n": 1}]
