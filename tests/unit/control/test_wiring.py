"""From a job to a run of it: plan, start, run and explain."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

import millstream as ms
from millstream.control.wiring import plan
from millstream.core.errors import ConfigError, OperatorError


def job_of(records: list[int], **options: Any) -> tuple[ms.Job, list[int]]:
    results: list[int] = []
    job = ms.Job("orders", **options)
    numbers = job.source(ms.collection.source(records), uid="in")
    numbers.map(ms.it * 2, uid="double").sink(ms.collection.sink(results), uid="out")
    return job, results


def endless(position: Any) -> Iterator[tuple[list[int], Any]]:
    while True:
        yield [1], 1


def endless_job(**options: Any) -> ms.Job:
    job = ms.Job("endless", **options)
    job.source(endless, uid="in").sink(ms.blackhole.sink(), uid="out")
    return job


@pytest.mark.parametrize("wrong", [None, "job.py", ms.Job, 3])
def test_only_a_job_can_be_planned_run_started_or_explained(wrong: Any) -> None:
    for call in (plan, ms.run, ms.start, ms.explain):
        with pytest.raises(ConfigError, match="expected a Job; got"):
            call(wrong)


def test_a_plan_is_a_description_that_is_equal_each_time() -> None:
    job, results = job_of([1])
    graph = plan(job)
    assert graph == plan(job)
    assert [spec.id for spec in graph.operators()] == ["in", "double", "out"]
    assert results == []


def test_run_returns_how_it_ended_with_every_operators_counts() -> None:
    job, results = job_of([1, 2, 3])
    result = ms.run(job)
    assert results == [2, 4, 6]
    assert (result.job, result.status, result.error) == ("orders", ms.JobStatus.COMPLETED, None)
    assert result.duration_s > 0
    assert [(each.id, each.records_in) for each in result.account.operators] == [
        ("in", 3),
        ("double", 3),
        ("out", 3),
    ]
    assert list(result.account.violations()) == []


def test_run_raises_what_made_the_job_fail_and_start_keeps_it_in_the_result() -> None:
    job = ms.Job("failing")
    job.source(ms.collection.source([0]), uid="in").map(lambda n: 1 / n, uid="inverse").sink(
        "blackhole", uid="out"
    )
    with pytest.raises(OperatorError, match="operator 'inverse' failed on record 0"):
        ms.run(job)
    result = ms.start(job).wait()
    assert result.status is ms.JobStatus.FAILED
    assert isinstance(result.error, OperatorError)
    assert "not reconciled" in result.report()


class Wrong(ms.Sink[int]):
    def __init__(self, error: Exception) -> None:
        self.error = error

    def validate(self) -> None:
        raise self.error

    def invoke(self, value: int, ctx: ms.SinkContext) -> None:
        raise AssertionError


class WrongSource(ms.BatchSource[int]):
    def validate(self) -> None:
        raise LookupError("no such topic")

    def read(self, position: Any) -> Iterator[tuple[list[int], Any]]:
        raise AssertionError


def test_whatever_a_check_raises_means_that_the_job_cannot_run() -> None:
    job = ms.Job("wrong")
    job.source("sequence", stop=3, uid="in").sink(Wrong(OSError("no such server")), uid="out")
    message = (
        r"sink 'out' cannot run: Wrong\.validate failed at test_wiring\.py:\d+: OSError: no such"
    )
    for call in (ms.run, ms.start):
        with pytest.raises(ConfigError, match=message) as refused:
            call(job)
        assert isinstance(refused.value.__cause__, OSError)
    other = ms.Job("wrong")
    other.source(WrongSource(), uid="in").sink("blackhole", uid="out")
    with pytest.raises(ConfigError, match=r"source 'in' cannot run: .*LookupError: no such topic"):
        ms.run(other)


def test_what_a_check_says_with_an_error_of_ours_is_left_as_it_is() -> None:
    job = ms.Job("wrong")
    job.source("sequence", stop=3, uid="in").sink(Wrong(ConfigError("create it first")), uid="out")
    with pytest.raises(ConfigError, match=r"^create it first$"):
        ms.run(job)


def test_a_started_job_can_be_cancelled_from_any_thread_more_than_once() -> None:
    execution = ms.start(endless_job())
    threads = [threading.Thread(target=execution.cancel) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert execution.wait().status is ms.JobStatus.CANCELLED
    for thread in threads:
        thread.join()
    execution.cancel()  # it has ended already
    assert execution.wait().status is ms.JobStatus.CANCELLED


def test_waiting_again_gives_the_same_result() -> None:
    execution = ms.start(job_of([1])[0])
    first, again = execution.wait(), execution.wait()
    assert first.status is again.status is ms.JobStatus.COMPLETED
    assert first.account.operators == again.account.operators


def test_jobs_run_side_by_side_without_seeing_each_other() -> None:
    pairs = [job_of(list(range(number * 100))) for number in range(1, 5)]
    for execution in [ms.start(job) for job, _ in pairs]:
        assert execution.wait().status is ms.JobStatus.COMPLETED
    for number, (_, results) in enumerate(pairs, start=1):
        assert results == [n * 2 for n in range(number * 100)]


def test_one_job_run_twice_at_once_keeps_the_state_of_each_run_apart() -> None:
    results: list[int] = []
    job = ms.Job("counting")
    counts = job.source(ms.collection.source([7] * 500), uid="in").key_by(ms.it)
    counts.aggregate(ms.count(), emit="final", uid="n").sink(ms.collection.sink(results), uid="out")
    executions = [ms.start(job), ms.start(job)]
    assert {execution.wait().status for execution in executions} == {ms.JobStatus.COMPLETED}
    assert results == [500, 500]


def test_a_job_runs_in_a_thread_as_well() -> None:
    job, results = job_of([1])
    thread = threading.Thread(target=ms.run, args=(job,))
    thread.start()
    thread.join(5)
    assert results == [2]


@pytest.mark.parametrize(
    ("format", "part"),
    [("text", "double"), ("mermaid", "flowchart"), ("json", '"double"'), ("svg", "<svg")],
)
def test_explain_describes_what_would_run(format: str, part: str) -> None:
    job, results = job_of([1])
    assert part in ms.explain(job, format)
    assert ms.explain(job) == ms.explain(job, "text")
    assert results == []


@pytest.mark.parametrize("format", ["pdf", "", "TEXT", None])
def test_explain_lists_its_formats(format: Any) -> None:
    with pytest.raises(ConfigError, match=r"text.*mermaid.*json.*svg"):
        ms.explain(job_of([1])[0], format)


def test_a_job_that_is_built_twice_has_one_fingerprint() -> None:
    assert plan(job_of([1])[0]).fingerprint == plan(job_of([1, 2])[0]).fingerprint
    assert plan(job_of([1])[0]).fingerprint != plan(endless_job()).fingerprint
