"""When checkpoints are made, what makes one complete, and what becomes of those that fail."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import millstream as ms
from millstream.control.wiring import plan
from millstream.core.job_result import CheckpointCounts
from millstream.storage.checkpoints.base import CheckpointStorageError
from millstream.storage.checkpoints.local import LocalCheckpointStorage
from millstream.storage.checkpoints.pending import FolderPendingCheckpoint
from millstream.storage.metadata.errors import LeaseLostError
from tests.unit.engine.checkpoint.stepped_run import SteppedRun


class Shown(ms.TwoPhaseCommitSink[Any, list[Any]]):
    """Stages in memory; a handle is the list itself, so that a test sees what it names."""

    def __init__(self, shown: list[Any], calls: list[str]) -> None:
        self.shown, self.calls = shown, calls

    def begin_transaction(self, id: ms.TransactionId) -> list[Any]:
        self.calls.append(f"begin {id.epoch}/{id.checkpoint}")
        return []

    def invoke(self, transaction: list[Any], value: Any) -> None:
        transaction.append(value)

    def pre_commit(self, transaction: list[Any]) -> list[Any]:
        return list(transaction)

    def commit(self, handle: list[Any]) -> None:
        self.calls.append(f"commit {handle}")
        self.shown.extend(handle)

    def abort(self, transaction: list[Any]) -> None:
        self.calls.append("abort")

    def recover_and_abort(self, before_epoch: int) -> None:
        self.calls.append(f"abort before {before_epoch}")


def never(position: Any) -> Iterator[tuple[list[Any], Any]]:
    yield from ()


@pytest.fixture
def storage(tmp_path: Path) -> LocalCheckpointStorage:
    return LocalCheckpointStorage(tmp_path, "stepped")


SETTINGS = ms.CheckpointSettings(interval="10ms", timeout="100ms", tolerable_failures=1)


class Counting:
    """A run of two sources into a count per key, shown by a two-phase sink."""

    def __init__(
        self,
        storage: LocalCheckpointStorage,
        settings: ms.CheckpointSettings = SETTINGS,
        restored: str = "",
    ) -> None:
        self.shown: list[Any] = []
        self.calls: list[str] = []
        job = ms.Job("stepped")
        first, second = job.source(never, uid="a"), job.source(never, uid="b")
        counts = first.union(second).key_by(ms.it).aggregate(ms.count(), uid="n")
        counts.sink(Shown(self.shown, self.calls), uid="out")
        self.run = SteppedRun(job, storage, settings, restored)


def test_what_a_sink_took_appears_when_the_checkpoint_behind_it_is_complete(
    storage: LocalCheckpointStorage,
) -> None:
    counting = Counting(storage)
    counting.run.give("a", ["x", "y"], 2)
    counting.run.give("b", ["x"], 1)
    counting.run.pass_time(9)
    assert counting.shown == []
    counting.run.pass_time(1)
    assert sorted(counting.shown) == [1, 1, 2]
    assert counting.run.journal.said == ["begin 1", "complete 1"]
    assert counting.run.journal.summaries[1].positions == {"a": "2", "b": "1"}
    assert counting.run.journal.summaries[1].entries == {"n": 2}


def test_nothing_appears_before_the_row_is_written(storage: LocalCheckpointStorage) -> None:
    counting = Counting(storage)
    counting.run.writer_stuck = True
    counting.run.give("a", ["x"], 1)
    counting.run.pass_time(50)
    assert counting.shown == []
    counting.run.writer_stuck = False
    counting.run.settle()
    assert counting.shown == [1]


def test_one_is_in_flight_and_the_next_is_due_from_the_start_of_the_last(
    storage: LocalCheckpointStorage,
) -> None:
    counting = Counting(storage)
    counting.run.pass_time(30)
    assert counting.run.journal.said[::2] == ["begin 1", "begin 2", "begin 3"]
    counting.run.stuck.add("out")
    counting.run.pass_time(50)
    assert counting.run.journal.said[-1] == "begin 4"
    counting.run.stuck.clear()
    counting.run.pass_time(1)
    assert counting.run.journal.said[-2:] == ["begin 5", "complete 5"]


def test_the_pause_counts_from_the_end_of_the_last(storage: LocalCheckpointStorage) -> None:
    settings = ms.CheckpointSettings(interval="10ms", min_pause="30ms")
    counting = Counting(storage, settings)
    counting.run.pass_time(39)
    assert counting.run.journal.said == ["begin 1", "complete 1"]
    counting.run.pass_time(1)
    assert counting.run.journal.said[2:] == ["begin 2", "complete 2"]


def test_one_that_takes_too_long_is_given_up_and_its_records_appear_with_the_next(
    storage: LocalCheckpointStorage,
) -> None:
    counting = Counting(storage)
    counting.run.give("a", ["x"], 1)
    counting.run.settle()
    counting.run.stuck.add("out")
    counting.run.pass_time(109)
    assert counting.run.coordinator.counts.failed == 0
    counting.run.give("a", ["x"], 2)
    counting.run.pass_time(1)  # the next one is due at once
    assert counting.run.coordinator.counts.failed == 1
    counting.run.stuck.clear()
    counting.run.settle()  # the sink also pre-commits for the one that is no more
    assert counting.calls[1:] == ["begin 7/1", "begin 7/2", "commit [1]", "commit [2]"]
    assert counting.shown == [1, 2]


def test_one_that_is_complete_just_after_it_was_given_up_exists(
    storage: LocalCheckpointStorage,
) -> None:
    counting = Counting(storage)
    counting.run.give("a", ["x"], 1)
    counting.run.settle()
    counting.run.writer_stuck = True  # the sink has pre-committed, the files are not written
    counting.run.pass_time(110)
    assert counting.run.coordinator.counts.failed == 1
    counting.run.writer_stuck = False
    counting.run.settle()
    assert counting.run.journal.said[:2] == ["begin 1", "complete 1"]
    assert not any(line.startswith("fail 1") for line in counting.run.journal.said)
    assert counting.shown == [1]


def test_a_sink_that_does_not_answer_is_named(
    storage: LocalCheckpointStorage, capsys: pytest.CaptureFixture[str]
) -> None:
    counting = Counting(storage)
    counting.run.stuck.add("out")
    counting.run.pass_time(110)
    [failed] = [line for line in counting.run.journal.said if line.startswith("fail")]
    assert "checkpoint 1 of job 'stepped' took longer than 100ms: out did not answer" in failed
    assert "checkpoint.failed" in capsys.readouterr().err
    counting.run.stuck.clear()
    counting.run.pass_time(20)
    assert counting.run.journal.said[-1].startswith("complete")


def test_failures_in_a_row_make_the_job_unhealthy_and_stop_nothing(
    storage: LocalCheckpointStorage, capsys: pytest.CaptureFixture[str]
) -> None:
    counting = Counting(storage)
    counting.run.give("a", ["x"], 1)
    counting.run.journal.broken = CheckpointStorageError("no space left")
    counting.run.pass_time(10)
    assert counting.run.coordinator.counts == CheckpointCounts(failed=1)
    counting.run.pass_time(10)
    assert counting.run.coordinator.counts == CheckpointCounts(failed=2, healthy=False)
    assert "job.unhealthy" in capsys.readouterr().err
    assert counting.run.journal.said == ["begin 1", "begin 2"], "none has begun that could fail"
    counting.run.journal.broken = None
    counting.run.pass_time(10)
    assert counting.run.coordinator.counts == CheckpointCounts(completed=1, failed=2, last=3)
    assert counting.shown == [1]
    assert counting.run.failures == []


def test_a_lost_lease_ends_the_run(storage: LocalCheckpointStorage) -> None:
    counting = Counting(storage)
    lost = LeaseLostError("somebody has it")
    counting.run.journal.broken = lost
    counting.run.pass_time(10)
    assert counting.run.failures == [lost]
    counting.run.pass_time(50)
    assert counting.run.journal.said[0] == "begin 1"
    assert not any(line.startswith("begin 2") for line in counting.run.journal.said)


def test_what_the_writers_thread_fails_with_ends_the_run(
    storage: LocalCheckpointStorage,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Such as what cannot be removed: it would only have timed out, as all later ones."""
    counting = Counting(storage)
    counting.run.stuck.add("out")
    counting.run.pass_time(10)  # it waits for the sink

    def broken(_: Any) -> None:
        raise KeyError("no such file")

    monkeypatch.setattr(FolderPendingCheckpoint, "abort", broken)
    counting.run.pass_time(100)
    [failure] = counting.run.failures
    assert "that writes checkpoints of job 'stepped' failed: KeyError: 'no such file'" in str(
        failure
    )
    assert isinstance(failure.__cause__, KeyError)
    assert "checkpoint.writer_failed" in capsys.readouterr().err


def test_an_ended_source_counts_as_aligned_and_stays_finished(
    storage: LocalCheckpointStorage,
) -> None:
    counting = Counting(storage)
    counting.run.give("a", ["x"], 1)
    counting.run.end("a")
    counting.run.pass_time(20)
    assert counting.run.journal.said[::2] == ["begin 1", "begin 2"]
    assert counting.run.journal.summaries[2].positions == {"a": "finished", "b": "the beginning"}
    assert counting.shown == [1]
    again = Counting(storage, restored="chk-2")
    assert again.run.assembly.finished_sources == {"a"}


def test_the_final_one_is_made_of_what_every_part_ended_with(
    storage: LocalCheckpointStorage,
) -> None:
    counting = Counting(storage, ms.CheckpointSettings())
    counting.run.give("a", ["x", "x"], 2)
    counting.run.end("a")
    counting.run.end("b")
    counting.run.pass_time(100)
    assert counting.run.journal.said == []
    ended: list[bool] = []
    counting.run.coordinator.finish(lambda: ended.append(True))
    counting.run.settle()
    assert counting.run.journal.said == ["begin 1 final", "complete 1"]
    assert (counting.shown, ended) == ([1, 2], [True])


def test_the_final_one_is_tried_again_and_then_fails_the_run(
    storage: LocalCheckpointStorage,
) -> None:
    counting = Counting(storage, ms.CheckpointSettings(tolerable_failures=1))
    counting.run.end("a")
    counting.run.end("b")
    counting.run.settle()
    counting.run.journal.broken = CheckpointStorageError("no space left")
    counting.run.coordinator.finish(lambda: pytest.fail("it is not complete"))
    counting.run.settle()
    assert counting.run.failures == []
    counting.run.pass_time(1000)
    [failure] = counting.run.failures
    assert "the final checkpoint of job 'stepped' failed 2 times" in str(failure)


def test_failures_of_earlier_checkpoints_take_no_attempt_from_the_final_one(
    storage: LocalCheckpointStorage,
) -> None:
    counting = Counting(storage)  # it tolerates 1
    counting.run.journal.broken = CheckpointStorageError("no space left")
    counting.run.pass_time(20)
    assert counting.run.coordinator.counts.failed == 2
    counting.run.end("a")
    counting.run.end("b")
    counting.run.settle()
    ended: list[bool] = []
    counting.run.coordinator.finish(lambda: ended.append(True))
    counting.run.settle()
    assert counting.run.journal.said[-1] == "begin 3 final"
    counting.run.journal.broken = None
    counting.run.pass_time(1000)
    assert (counting.run.failures, ended) == ([], [True])


def test_one_in_flight_at_the_end_that_fails_takes_no_attempt_from_the_final_one(
    storage: LocalCheckpointStorage,
) -> None:
    settings = ms.CheckpointSettings(interval="10ms", timeout="100ms", tolerable_failures=0)
    counting = Counting(storage, settings)
    counting.run.writer_stuck = True
    counting.run.pass_time(10)
    counting.run.end("a")
    counting.run.end("b")
    counting.run.settle()
    ended: list[bool] = []
    counting.run.coordinator.finish(lambda: ended.append(True))
    counting.run.pass_time(100)
    assert counting.run.coordinator.counts.failed == 1
    counting.run.writer_stuck = False
    counting.run.settle()
    assert (counting.run.failures, ended) == ([], [True])


def test_restored_it_counts_on_and_commits_what_the_checkpoint_names(
    storage: LocalCheckpointStorage,
) -> None:
    counting = Counting(storage)
    counting.run.give("a", ["x", "y"], 2)
    counting.run.pass_time(10)
    again = Counting(storage, restored="chk-1")
    assert again.calls == ["commit [1, 1]", "abort before 7"]
    again.run.give("a", ["x"], 3)
    again.run.settle()
    again.run.end("a")
    again.run.end("b")
    again.run.settle()
    again.run.coordinator.finish(lambda: None)
    again.run.settle()
    assert again.run.heads["a"].position.base == 3


def flat(record: Any) -> Iterator[Any]:
    for number in range(5000):
        yield record, number


def test_state_is_not_merged_while_a_loop_is_in_the_middle_of_a_chunk(
    storage: LocalCheckpointStorage,
) -> None:
    shown: list[Any] = []
    job = ms.Job("stepped")
    stream = job.source(never, uid="a").key_by(ms.it).aggregate(ms.count(), uid="n")
    stream.flat_map(flat).sink(Shown(shown, []), uid="out")
    run = SteppedRun(job, storage, SETTINGS)
    run.give("a", ["x"], 1)
    run.settle()
    run.writer_stuck = True
    run.clock.advance(10)
    run.dispatcher.run_until_idle()  # the barrier has passed the task
    run.stuck.add("out")
    run.give("a", ["x", "y"], 3)  # more comes of it than the sink takes: the loop stands still
    run.settle()
    run.pass_time(20)
    run.stuck.clear()
    run.writer_stuck = False
    run.pass_time(1000)
    table = run.states.state_table("n", job_state(job))
    assert dict(table.table.items()) == {"x": 2, "y": 1}


def job_state(job: ms.Job) -> Any:
    return next(spec for spec in plan(job).operators() if spec.id == "n").states[0]


class LiveState(ms.StatefulSink[Any]):
    """Returns the very list that it appends to."""

    def __init__(self) -> None:
        self.taken: list[Any] = []

    def invoke(self, value: Any, ctx: ms.SinkContext) -> None:
        self.taken.append(value)

    def snapshot_state(self) -> list[Any]:
        return self.taken

    def restore_state(self, state: list[Any]) -> None:
        raise NotImplementedError


class LiveHandle(Shown):
    """Returns the very list that it keeps of all it has staged."""

    def pre_commit(self, transaction: list[Any]) -> list[Any]:
        self.shown.extend(transaction)
        return self.shown


@pytest.mark.parametrize(
    ("sink", "part"),
    [(LiveState(), {"state": ["x"]}), (LiveHandle([], []), {"handles": [["x"]]})],
    ids=["state", "handle"],
)
def test_what_a_sink_changes_while_another_is_slow_is_saved_as_it_was(
    sink: Any, part: Any, storage: LocalCheckpointStorage
) -> None:
    job = ms.Job("stepped")
    stream = job.source(never, uid="in")
    stream.sink(sink, uid="live")
    stream.sink(Shown([], []), uid="slow")
    run = SteppedRun(job, storage, SETTINGS)
    run.give("in", ["x"], 1)
    run.settle()
    run.stuck.add("slow")
    run.pass_time(10)
    assert run.journal.said == ["begin 1"]
    run.give("in", ["y"], 2)
    run.end("in")  # a second handle
    run.settle()
    run.stuck.clear()
    run.settle()
    assert run.journal.summaries[1].sinks["live"] == part
