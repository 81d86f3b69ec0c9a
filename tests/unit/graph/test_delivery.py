"""The guarantee end to end: the least that any source or sink of a job gives, and why."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

import millstream as ms
from millstream.core.errors import ConfigError


class Replayed(ms.BatchSource[int]):
    def read(self, position: Any) -> Iterator[tuple[list[int], Any]]:
        yield [1], 1


class Forgetful(ms.Source[int]):
    def run(self, ctx: ms.SourceContext[int]) -> None:
        ctx.collect(1)


class Remembering(Forgetful):
    def snapshot_state(self) -> Any:
        return 1


class Pushed(Forgetful):
    can_be_slowed = False


class PushedAndReplayed(Remembering):
    can_be_slowed = False


class Shown(ms.Sink[int]):
    def invoke(self, value: int, ctx: ms.SinkContext) -> None: ...


class Upserted(Shown):
    guarantee = ms.Guarantee.EXACTLY_ONCE


class Unfenced(ms.TwoPhaseCommitSink[int, list[int]]):
    guarantee = ms.Guarantee.AT_LEAST_ONCE

    def begin_transaction(self, id: ms.TransactionId) -> list[int]:
        return []

    def invoke(self, transaction: list[int], value: int) -> None: ...

    def pre_commit(self, transaction: list[int]) -> Any: ...

    def commit(self, handle: Any) -> None: ...

    def abort(self, transaction: list[int]) -> None: ...

    def recover_and_abort(self, before_epoch: int) -> None: ...


def job_of(source: Any, *sinks: Any, overflow: str | None = None, **options: Any) -> ms.Job:
    job = ms.Job("job", **options)
    stream = job.source(source, uid="in", overflow=overflow)
    for number, sink in enumerate(sinks):
        stream.sink(sink, uid=f"out-{number}")
    return job


def given(job: ms.Job) -> tuple[str, str]:
    found = json.loads(ms.explain(job, "json"))["job_graph"]["guarantee"]
    return found["result"], found["reason"]


EXACT = "every source goes on from its position, every sink shows only what a checkpoint names"
AGAIN = "shows records as they come, and again those behind the last checkpoint"

TABLE = [
    (Replayed(), Upserted(), None, "exactly_once", EXACT),
    (Remembering(), Upserted(), None, "exactly_once", EXACT),
    (PushedAndReplayed(), Upserted(), "buffer", "exactly_once", EXACT),
    (Replayed(), Shown(), None, "at_least_once", f"sink 'out-0' {AGAIN}"),
    (Replayed(), Unfenced(), None, "at_least_once", "sink 'out-0' says that it cannot be fenced"),
    (
        Forgetful(),
        Upserted(),
        None,
        "at_least_once",
        "source 'in' has no snapshot_state, so it begins at its start each time",
    ),
    (
        Pushed(),
        Shown(),
        "error",
        "none",
        "source 'in' has no snapshot_state, so what is pushed to it while the job is down is lost",
    ),
    (
        PushedAndReplayed(),
        Upserted(),
        "drop",
        "none",
        "source 'in' drops what comes too fast (overflow='drop')",
    ),
]


@pytest.mark.parametrize(("source", "sink", "overflow", "result", "reason"), TABLE)
def test_the_least_of_source_and_sink_results(
    source: Any, sink: Any, overflow: str | None, result: str, reason: str
) -> None:
    assert given(job_of(source, sink, overflow=overflow)) == (result, reason)


def test_the_connectors_on_files_are_exact(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text("1\n")
    source = ms.jsonl.source(tmp_path / "in.jsonl")
    sinks = [
        ms.jsonl.sink(tmp_path / "out.jsonl"),
        ms.jsonl.sink(folder=tmp_path / "jsonl"),
        ms.csv.sink(tmp_path / "out.csv"),
        ms.csv.sink(folder=tmp_path / "csv"),
    ]
    assert given(job_of(source, *sinks)) == ("exactly_once", EXACT)


def test_every_end_that_gives_least_is_named() -> None:
    result, reason = given(job_of(Replayed(), Shown(), Upserted(), Shown()))
    assert result == "at_least_once"
    assert reason == f"sink 'out-0' {AGAIN}; sink 'out-2' {AGAIN}"


@pytest.mark.parametrize("act", [ms.run, ms.explain])
def test_a_job_that_asks_for_more_than_it_gets_is_refused(act: Any) -> None:
    job = job_of(Replayed(), Shown(), guarantee="exactly_once")
    with pytest.raises(
        ConfigError,
        match=r"'job' asks for exactly_once, but gets at_least_once: sink 'out-0' shows .*; "
        "use others there, or ask for at_least_once",
    ):
        act(job)


@pytest.mark.parametrize("asked", ["none", "at_least_once"])
def test_a_job_may_ask_for_less_than_it_gets(asked: str, tmp_path: Path) -> None:
    job = job_of(Replayed(), Upserted(), guarantee=asked)
    assert given(job)[0] == "exactly_once"
    assert ms.run(job, folder=tmp_path).status is ms.JobStatus.COMPLETED


def test_what_is_asked_for_needs_a_folder() -> None:
    job = job_of(Replayed(), Upserted(), guarantee="at_least_once")
    with pytest.raises(ConfigError, match=r"needs a folder to keep them in: run it by"):
        ms.run(job)


def test_a_guarantee_of_another_type_is_refused() -> None:
    class Wrong(Shown):
        guarantee: ClassVar[Any] = "exactly_once"

    class WrongToo(Unfenced):
        guarantee: ClassVar[Any] = True

    for sink in (Wrong(), WrongToo()):
        with pytest.raises(ConfigError, match=r"\.guarantee must be a Guarantee, such as"):
            job_of(Replayed(), sink)
