"""The row of a checkpoint whose files are durable: tried again, but not while the run ends."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

import millstream as ms
from millstream.control import checkpoint_journal
from millstream.core.job_status import JobStatus
from millstream.storage.metadata.checkpoints import Checkpoints
from millstream.storage.metadata.errors import MetadataUnavailableError
from tests.support.stepping import wait_until
from tests.unit.control.running import ENDLESS, Running, generator, make_job

UNAVAILABLE = MetadataUnavailableError("no answer")


def test_a_store_that_is_away_for_a_moment_costs_no_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint_journal, "_PAUSE_S", 0.001)
    complete, calls = Checkpoints.complete, []

    def away(self: Checkpoints, *arguments: Any) -> None:
        calls.append(arguments)
        if len(calls) < 5:
            raise UNAVAILABLE
        complete(self, *arguments)

    monkeypatch.setattr(Checkpoints, "complete", away)
    result = ms.run(make_job(tmp_path / "out", generator(9)), folder=tmp_path / "job")
    assert str(result.checkpoints) == "checkpoints: 1 completed, 0 failed"


def test_a_cancel_does_not_wait_until_all_has_been_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint_journal, "_PAUSE_S", 0.001)
    asked, answer, calls = threading.Event(), threading.Event(), []

    def away(self: Checkpoints, *arguments: Any) -> None:
        calls.append(arguments)
        asked.set()
        answer.wait(30)  # as a lock that nobody gives back: an attempt lasts
        raise UNAVAILABLE

    monkeypatch.setattr(Checkpoints, "complete", away)
    job = make_job(tmp_path / "out", generator(ENDLESS), interval="5ms")
    with Running(job, tmp_path / "job") as running:
        assert asked.wait(30)
        running.execution.cancel()
        wait_until(lambda: running.execution._execution.ending, "the cancel")
        answer.set()
        assert running.result().status is JobStatus.CANCELLED
    assert len(calls) == 1
