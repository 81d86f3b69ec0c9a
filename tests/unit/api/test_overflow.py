"""What a source that cannot be slowed does when nobody asks, and who may say so."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

import millstream as ms
from millstream.core.errors import ConfigError, SourceOverflowError

PUSHED = 100_000  # more than the engine can have asked for: it takes nothing while a batch comes


class Pushed(ms.Source[int]):
    """Pushes everything at once."""

    can_be_slowed = False

    def __init__(self, records: int = PUSHED) -> None:
        self.records = records

    def run(self, ctx: ms.SourceContext[int]) -> None:
        ctx.collect_batch(range(self.records))


class PushedBatches(ms.BatchSource[int]):
    can_be_slowed = False

    def read(self, position: Any) -> Iterator[tuple[list[int], Any]]:
        yield [1], 1


class Patient(ms.Source[int]):
    def run(self, ctx: ms.SourceContext[int]) -> None:
        ctx.collect(1)


def refused(source: Any, guarantee: str = "none", **options: Any) -> str:
    job = ms.Job("clicks", guarantee=guarantee)
    with pytest.raises(ConfigError) as error:
        job.source(source, uid="in", **options)
    message = str(error.value)
    assert re.match(r"source 'in' at test_overflow\.py:\d+ \(job 'clicks'\): ", message), message
    return message


def run(records: int = PUSHED, **options: Any) -> tuple[list[int], ms.JobResult]:
    results: list[int] = []
    job = ms.Job("clicks")
    job.source(Pushed(records), uid="in", **options).sink(ms.collection.sink(results), uid="out")
    return results, ms.start(job).wait()


def test_a_source_that_cannot_be_slowed_must_say_what_happens() -> None:
    message = refused(Pushed())
    assert "Pushed cannot be slowed, so say what happens when it is faster than the job" in message
    assert "overflow='buffer', 'drop', 'latest' or 'error'" in message


@pytest.mark.parametrize("overflow", list(ms.OverflowStrategy))
def test_a_source_that_can_be_slowed_is_refused_a_strategy(overflow: Any) -> None:
    message = refused(Patient(), overflow=overflow)
    assert f"overflow={overflow.value!r} is for sources that cannot be slowed" in message
    assert "Patient simply waits: leave it out" in message


def test_a_source_that_is_read_cannot_be_one_that_is_pushed_to() -> None:
    message = refused(PushedBatches(), overflow="drop")
    assert "must be a Source with run(ctx); got BatchSource" in message


@pytest.mark.parametrize("overflow", ["block", "", 3, True, ["drop"], "DROP"])
def test_a_strategy_is_one_of_four(overflow: Any) -> None:
    message = refused(Pushed(), overflow=overflow)
    assert "overflow: expected one of 'buffer', 'drop', 'latest', 'error'; got" in message


@pytest.mark.parametrize("overflow", ["drop", "latest"])
def test_losing_records_is_refused_under_exactly_once(overflow: str) -> None:
    message = refused(Pushed(), guarantee="exactly_once", overflow=overflow)
    assert f"overflow='{overflow}' loses records, which exactly_once forbids" in message
    assert "use 'buffer' or 'error', or ask for less" in message


@pytest.mark.parametrize("overflow", ["buffer", "error"])
def test_losing_none_is_fine_under_exactly_once(overflow: str) -> None:
    ms.Job("clicks", guarantee="exactly_once").source(Pushed(), uid="in", overflow=overflow)


@pytest.mark.parametrize("overflow", ["drop", "latest", "error"])
def test_a_buffer_size_without_a_buffer_is_refused(overflow: str) -> None:
    message = refused(Pushed(), overflow=overflow, buffer_size=10)
    assert "buffer_size has an effect only with overflow='buffer'" in message


@pytest.mark.parametrize("size", [0, -1, 1.5, "10", True])
def test_a_buffer_holds_a_number_of_records(size: Any) -> None:
    message = refused(Pushed(), overflow="buffer", buffer_size=size)
    assert "buffer_size must be 1 or more records; got" in message


def test_a_dropped_record_is_counted_and_those_before_it_arrive() -> None:
    results, result = run(overflow="drop")
    edge = result.account.edge("in -> engine")
    assert result.status is ms.JobStatus.COMPLETED
    assert results == list(range(len(results)))
    assert edge.sent == PUSHED
    assert edge.dropped == PUSHED - len(results) > 0
    assert list(result.account.violations()) == []
    assert f"in -> engine: {edge.dropped:,} dropped" in result.report()


def test_latest_keeps_the_newest_and_counts_the_others() -> None:
    results, result = run(overflow="latest")
    assert results == [*range(len(results) - 1), PUSHED - 1]
    assert result.account.edge("in -> engine").dropped == PUSHED - len(results) > 0
    assert list(result.account.violations()) == []


def test_error_fails_the_job_at_the_first_record_too_many() -> None:
    result = run(overflow="error")[1]
    assert isinstance(result.error, SourceOverflowError)
    assert "source 'in' produced more than the job takes, and has no buffer" in str(result.error)
    assert "choose overflow='drop' or 'latest'" in str(result.error)
    assert result.error.operator_uid == "in"


def test_a_buffer_holds_what_comes_too_early() -> None:
    results, result = run(overflow="buffer", buffer_size=PUSHED)
    assert results == list(range(PUSHED))
    assert result.account.edge("in -> engine").dropped == 0


def test_a_full_buffer_fails_the_job_and_says_how_much_it_held() -> None:
    result = run(overflow="buffer", buffer_size=5)[1]
    assert isinstance(result.error, SourceOverflowError)
    assert "has a buffer of 5 records; make the job faster, raise buffer_size" in str(result.error)
    assert "a buffer of 10,000 records" in str(run(overflow="buffer")[1].error)


@pytest.mark.parametrize("overflow", list(ms.OverflowStrategy))
def test_a_source_that_is_not_too_fast_loses_nothing(overflow: str) -> None:
    results, result = run(0, overflow=overflow)
    assert (results, result.status) == ([], ms.JobStatus.COMPLETED)
