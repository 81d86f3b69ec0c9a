"""A push source in a whole job, under each overflow strategy; what is dropped is in the account."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import pairwise

import pytest

import millstream as ms
from millstream.core.accounting import EdgeCounts
from millstream.core.errors import SourceOverflowError
from tests.support.push_source import PushSource
from tests.support.rules import rule
from tests.support.stepping import PATIENCE_S

MANY = 2_000


class PushJob:
    """A job whose sink takes one record, and the rest when everything has been pushed."""

    def __init__(self, strategy: str, buffer_size: int | None = None) -> None:
        self.taken: list[int] = []
        self.source = PushSource(self._records)
        self.job = ms.Job("pushes")
        stream = self.job.source(
            self.source, uid="push", overflow=strategy, buffer_size=buffer_size
        )
        stream.map(lambda record: record).sink(self._take, uid="out")

    def _records(self) -> Iterator[int]:
        """Push many, until the sink has something in hand, and then many more."""
        number = 0
        while number < MANY or not self.taken:
            yield number
            number += 1
            if number > MANY:
                time.sleep(0.0005)
        yield from range(number, number + MANY)

    def _take(self, record: int) -> None:
        self.taken.append(record)
        assert self.source.done.wait(PATIENCE_S)

    def run(self) -> tuple[ms.JobResult, EdgeCounts]:
        result = ms.start(self.job).wait()
        edge = result.account.edge("push -> engine")
        assert edge.sent == len(self.source.pushed)
        assert edge.sent == edge.received + edge.dropped + edge.discarded
        return result, edge


@rule("1.1")
def test_drop_gives_up_what_nobody_asked_for_and_counts_it() -> None:
    job = PushJob("drop")
    result, edge = job.run()
    assert result.status is ms.JobStatus.COMPLETED
    assert edge.dropped == len(job.source.pushed) - len(job.taken)
    assert edge.dropped >= MANY // 2
    assert all(earlier < later for earlier, later in pairwise(job.taken))


@rule("1.1")
def test_latest_keeps_the_newest_and_counts_the_rest() -> None:
    job = PushJob("latest")
    result, edge = job.run()
    assert result.status is ms.JobStatus.COMPLETED
    assert job.taken[-1] == job.source.pushed[-1]
    assert edge.dropped == len(job.source.pushed) - len(job.taken)
    assert edge.dropped >= MANY // 2
    assert all(earlier < later for earlier, later in pairwise(job.taken))


@rule("1.1")
def test_buffer_keeps_everything_it_has_room_for() -> None:
    job = PushJob("buffer", buffer_size=100 * MANY)
    result, edge = job.run()
    assert result.status is ms.JobStatus.COMPLETED
    assert job.taken == job.source.pushed
    assert edge.dropped == 0


@rule("1.4")
@pytest.mark.parametrize(("strategy", "buffer_size"), [("buffer", 100), ("error", None)])
def test_an_overrun_fails_the_job_and_is_counted(strategy: str, buffer_size: int | None) -> None:
    job = PushJob(strategy, buffer_size)
    result, edge = job.run()
    assert result.status is ms.JobStatus.FAILED
    assert isinstance(result.error, SourceOverflowError)
    assert result.error.operator_uid == "push"
    assert edge.dropped == 1
    assert edge.received <= edge.sent - edge.dropped
    assert job.taken == job.source.pushed[: len(job.taken)]
