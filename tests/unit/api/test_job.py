"""The job: its options, and that building one runs nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import millstream as ms
from millstream.core.errors import ConfigError, GraphError
from tests.unit.api.jobs import begun, collected


@pytest.mark.parametrize("name", ["", "  ", None, 3, b"job"])
def test_a_job_has_a_name(name: Any) -> None:
    with pytest.raises(ConfigError, match=r"Job\(name\): expected a non-empty string; got"):
        ms.Job(name)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "streaming"}, "mode: expected one of 'STREAMING', 'BATCH_ROLLER', 'SQL_TASK'"),
        ({"mode": None}, "mode: expected one of"),
        ({"guarantee": "at_most_once"}, "expected one of 'none', 'at_least_once', 'exactly_once'"),
        ({"guarantee": []}, "guarantee: expected one of"),
        ({"parallelism": 0}, "parallelism must be 1; got 0"),
        ({"parallelism": "2"}, "parallelism must be 1; got '2'"),
        ({"parallelism": True}, "parallelism must be 1; got True"),
        ({"parallelism": 2}, "parallelism=2 is not there yet.*set parallelism=1"),
        ({"chaining": 1}, "chaining must be True or False; got 1"),
        ({"engine": {"chunk_size": 1}}, r"engine must be EngineSettings\(…\)"),
    ],
)
def test_an_option_of_the_job_that_is_refused_names_the_job(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as refused:
        ms.Job("orders", **options)
    assert "job 'orders'" in str(refused.value)


def test_an_option_that_does_not_exist_is_refused() -> None:
    with pytest.raises(TypeError, match="paralelism"):
        ms.Job("orders", paralelism=1)  # type: ignore[call-arg]  # a typing error on purpose


@pytest.mark.parametrize("mode", list(ms.JobMode))
def test_a_mode_is_given_as_text_or_as_a_member(mode: ms.JobMode) -> None:
    assert ms.Job("job", mode=mode).mode is ms.Job("job", mode=mode.value).mode is mode


def test_building_a_job_runs_nothing() -> None:
    called: list[str] = []

    def source(position: Any) -> Iterator[tuple[list[int], Any]]:
        called.append("source")
        yield [1], 1

    class Counting(ms.KeyedProcessFunction[int, int]):
        def open(self, ctx: ms.ProcessContext[int]) -> None:
            called.append("open")

        def process_element(self, value: int, ctx: ms.ProcessContext[int]) -> None:
            called.append("process")

    class Ending(ms.Sink[int]):
        def validate(self) -> None:
            called.append("validate")

        def open(self, ctx: ms.SinkContext) -> None:
            called.append("open")

        def invoke(self, value: int, ctx: ms.SinkContext) -> None:
            called.append("invoke")

    def key(value: int) -> int:
        called.append("key")
        return value

    job = ms.Job("job")
    results = job.source(source, uid="in").key_by(key).process(Counting(), uid="counting")
    results.sink(Ending(), uid="out")
    ms.explain(job)
    assert called == []
    ms.run(job)
    assert called.count("source") == called.count("validate") == called.count("process") == 1


def test_a_job_and_its_streams_show_what_they_are() -> None:
    job, numbers = begun([1])
    keyed = numbers.key_by(lambda number: number, uid="by_number")
    side = numbers.split(lambda number: "a", "a", "b", uid="parts")["a"]
    assert repr(job) == "Job('job', 3 operators)"
    assert repr(numbers) == "Stream(behind 'in')"
    assert repr(keyed) == "KeyedStream(behind 'by_number')"
    assert repr(side) == "Stream(behind 'parts', side output 'a')"


def test_a_stream_cannot_be_iterated() -> None:
    with pytest.raises(TypeError, match="has no records yet; end it with"):
        list(begun([1])[1])


def test_each_call_returns_a_new_stream_and_leaves_the_old_one_alone() -> None:
    job, numbers = begun([1, 2, 3, 4])
    even, tens, all_of_them = list[int](), list[int](), list[int]()
    numbers.filter(ms.it % 2 == 0).sink(ms.collection.sink(even), uid="even")
    numbers.map(ms.it * 10).sink(ms.collection.sink(tens), uid="tens")
    numbers.sink(ms.collection.sink(all_of_them), uid="all")
    ms.run(job)
    assert (even, tens, all_of_them) == ([2, 4], [10, 20, 30, 40], [1, 2, 3, 4])


def test_a_job_can_be_run_again_and_begins_anew() -> None:
    results: list[int] = []
    job, numbers = begun([1, 1, 2])
    counts = numbers.key_by(lambda number: number).aggregate(ms.count(), uid="counts")
    counts.sink(ms.collection.sink(results), uid="out")
    first, second = ms.run(job), ms.run(job)
    assert results == [1, 2, 1] * 2
    assert first.account.operators == second.account.operators


@pytest.mark.parametrize("records", [[], [None], [None, 0, "", [], {}], [[[]]] * 3, [object()]])
def test_records_may_be_anything(records: list[Any]) -> None:
    assert collected(lambda numbers: numbers, records) == records


@pytest.mark.parametrize("mode", list(ms.JobMode))
def test_every_mode_runs(mode: ms.JobMode) -> None:
    job, numbers = begun([1], mode=mode)
    numbers.sink(ms.blackhole.sink(), uid="out")
    assert ms.run(job).status is ms.JobStatus.COMPLETED


@pytest.mark.parametrize("guarantee", [ms.Guarantee.AT_LEAST_ONCE, "exactly_once"])
def test_a_guarantee_that_a_run_cannot_give_is_refused_before_it_begins(guarantee: Any) -> None:
    results: list[int] = []
    job, numbers = begun([1], guarantee=guarantee)
    numbers.sink(ms.collection.sink(results), uid="out")
    for refuse in (ms.run, ms.start):
        with pytest.raises(ConfigError, match=r"needs a folder to keep them in|gets at_least_once"):
            refuse(job)
    assert results == []


def test_a_guarantee_of_none_may_be_said() -> None:
    job, numbers = begun([1], guarantee="none")
    numbers.sink(ms.blackhole.sink(), uid="out")
    assert ms.run(job).status is ms.JobStatus.COMPLETED


def test_a_job_without_source_or_sink_is_refused_before_the_run() -> None:
    with pytest.raises(GraphError, match=r"'job' has no source: begin with job\.source"):
        ms.run(ms.Job("job"))
    with pytest.raises(GraphError, match=r"'job' has no sink.*end a stream with \.sink"):
        ms.run(begun([1])[0])


def test_a_stream_that_leads_nowhere_is_refused_with_its_line() -> None:
    job, numbers = begun([1])
    numbers.sink(ms.blackhole.sink(), uid="out")
    numbers.map(ms.it + 1, uid="unused")
    with pytest.raises(GraphError, match=r"map 'unused' at test_job\.py:\d+: its stream leads"):
        ms.run(job)
