"""Checkpoints and savepoints by command: their turn, what they commit, and what a stop holds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import millstream as ms
from millstream.core.element import Control, Position
from millstream.engine.async_task import AsyncTask
from millstream.engine.checkpoint.journal import Made, Purpose
from millstream.engine.checkpoint.requests import NotMadeError, Request
from millstream.engine.source_head import QueuedHead
from millstream.storage.checkpoints.base import CheckpointStorageError
from millstream.storage.checkpoints.local import LocalCheckpointStorage
from tests.unit.engine.checkpoint.stepped_run import SteppedRun
from tests.unit.engine.checkpoint.test_coordinator import Counting, Shown, never

CHECKPOINT, SAVEPOINT = Purpose(), Purpose(savepoint=True)
STOP = Purpose(savepoint=True, stop=True)
QUIET = ms.CheckpointSettings(timeout="100ms")  # nothing is made but by command


@pytest.fixture
def storage(tmp_path: Path) -> LocalCheckpointStorage:
    return LocalCheckpointStorage(tmp_path, "stepped")


class Asked:
    """A run, and what was answered to each request."""

    def __init__(self, run: SteppedRun) -> None:
        self.run = run
        self.answers: list[Made | Exception] = []
        self.stopped = 0
        run.coordinator.on_stopped = self._on_stopped

    def ask(self, purpose: Purpose) -> None:
        self.run.coordinator.request(Request(purpose, self.answers.append))

    @property
    def made(self) -> list[int]:
        return [each.checkpoint_id for each in self.answers if isinstance(each, Made)]

    def _on_stopped(self) -> None:
        self.stopped += 1


def after_one_record(storage: LocalCheckpointStorage) -> tuple[Counting, Asked]:
    """Return a run whose sink has one record, with no checkpoint of its own due."""
    counting = Counting(storage, QUIET)
    counting.run.give("a", ["x"], 1)
    counting.run.settle()
    return counting, Asked(counting.run)


def test_a_checkpoint_by_command_is_made_at_once_and_commits(
    storage: LocalCheckpointStorage,
) -> None:
    counting, asked = after_one_record(storage)
    asked.ask(CHECKPOINT)
    counting.run.settle()
    assert counting.run.journal.said == ["begin 1", "complete 1"]
    assert (asked.made, counting.shown) == ([1], [1])


def test_a_savepoint_commits_nothing_and_the_next_checkpoint_does(
    storage: LocalCheckpointStorage,
) -> None:
    counting, asked = after_one_record(storage)
    asked.ask(SAVEPOINT)
    counting.run.settle()
    assert asked.made == [1]
    assert counting.run.journal.summaries[1].sinks == {"out": {"handles": [[1]]}}
    assert counting.shown == []
    counting.run.give("a", ["x"], 2)
    counting.run.settle()
    asked.ask(CHECKPOINT)
    counting.run.settle()
    assert counting.calls[1:] == ["begin 7/1", "begin 7/2", "commit [1]", "commit [2]"]
    counts = counting.run.coordinator.counts
    assert (counts.completed, counts.savepoints, counts.last) == (1, 1, 2)


def test_a_run_restored_from_a_savepoint_commits_what_it_names(
    storage: LocalCheckpointStorage,
) -> None:
    counting, asked = after_one_record(storage)
    asked.ask(SAVEPOINT)
    counting.run.settle()
    [made] = asked.answers
    assert isinstance(made, Made)
    again = Counting(storage, QUIET, restored=made.location)
    assert again.calls == ["commit [1]", "abort before 7"]


def test_one_is_in_flight_and_those_asked_for_wait(storage: LocalCheckpointStorage) -> None:
    counting = Counting(storage, QUIET)
    asked = Asked(counting.run)
    counting.run.stuck.add("out")
    for purpose in (CHECKPOINT, SAVEPOINT, SAVEPOINT, STOP):
        asked.ask(purpose)
        counting.run.settle()
    assert counting.run.journal.said == ["begin 1"]
    counting.run.stuck.clear()
    counting.run.settle()
    assert [line for line in counting.run.journal.said if line.startswith("begin")] == [
        "begin 1", "begin 2 savepoint", "begin 3 savepoint", "begin 4 savepoint stop",
    ]  # fmt: skip
    assert (asked.made, asked.stopped) == ([1, 2, 3, 4], 1)


def test_all_who_wait_for_a_checkpoint_get_the_same_one(storage: LocalCheckpointStorage) -> None:
    counting = Counting(storage, QUIET)
    asked = Asked(counting.run)
    counting.run.stuck.add("out")
    for _ in range(3):
        asked.ask(CHECKPOINT)
        counting.run.settle()  # the first is triggered, the others wait
    counting.run.stuck.clear()
    counting.run.settle()
    assert asked.made == [1, 2, 2]


def test_a_savepoint_does_not_put_the_next_checkpoint_off(storage: LocalCheckpointStorage) -> None:
    counting = Counting(storage, ms.CheckpointSettings(interval="10ms"))
    asked = Asked(counting.run)
    counting.run.pass_time(8)
    asked.ask(SAVEPOINT)
    counting.run.pass_time(2)
    assert counting.run.journal.said[::2] == ["begin 1 savepoint", "begin 2"]


def test_one_that_takes_too_long_is_answered_and_counts_as_no_failure(
    storage: LocalCheckpointStorage, capsys: pytest.CaptureFixture[str]
) -> None:
    counting = Counting(storage, ms.CheckpointSettings(timeout="100ms", tolerable_failures=0))
    asked = Asked(counting.run)
    counting.run.stuck.add("out")
    asked.ask(SAVEPOINT)
    counting.run.settle()
    counting.run.pass_time(100)
    [failure] = asked.answers
    assert "savepoint 1 of job 'stepped' took longer than 100ms: out did not answer" in str(failure)
    assert counting.run.coordinator.counts.failed == 0
    err = capsys.readouterr().err
    assert "savepoint.failed" in err
    assert "unhealthy" not in err


def test_a_savepoint_that_is_complete_too_late_still_commits_nothing(
    storage: LocalCheckpointStorage,
) -> None:
    counting, asked = after_one_record(storage)
    counting.run.writer_stuck = True
    asked.ask(SAVEPOINT)
    counting.run.pass_time(110)
    counting.run.writer_stuck = False
    counting.run.settle()
    assert counting.run.journal.said == ["begin 1 savepoint", "complete 1"]
    assert asked.made == []
    assert counting.shown == []


def test_what_cannot_be_written_is_answered(storage: LocalCheckpointStorage) -> None:
    counting = Counting(storage, QUIET)
    asked = Asked(counting.run)
    counting.run.journal.broken = CheckpointStorageError("no space left")
    asked.ask(SAVEPOINT)
    counting.run.settle()
    assert asked.answers == [counting.run.journal.broken]


def test_a_stop_commits_and_processes_nothing_behind_its_barrier(
    storage: LocalCheckpointStorage,
) -> None:
    counting, asked = after_one_record(storage)
    asked.ask(STOP)
    counting.run.dispatcher.run_until_idle()
    counting.run.give("a", ["x"] * 10, 11)
    counting.run.give("b", ["x"] * 10, 10)
    counting.run.end("a")
    counting.run.settle()
    assert (asked.made, asked.stopped) == ([1], 1)
    assert counting.shown == [1]
    assert counting.calls[1:] == ["begin 7/1", "commit [1]"], "no transaction was begun behind it"
    assert counting.run.journal.summaries[1].positions == {"a": "1", "b": "the beginning"}
    assert counting.run.coordinator.stopped_with == asked.answers[0]
    asked.ask(CHECKPOINT)
    assert isinstance(asked.answers[-1], NotMadeError)


def test_a_stop_whose_savepoint_fails_lets_the_job_go_on(storage: LocalCheckpointStorage) -> None:
    counting = Counting(storage, QUIET)
    asked = Asked(counting.run)
    counting.run.stuck.add("out")
    asked.ask(STOP)
    counting.run.settle()
    counting.run.give("a", ["x", "y"], 2)
    counting.run.settle()
    assert counting.run.sinks["out"].taken == 0
    counting.run.pass_time(100)
    counting.run.stuck.clear()
    counting.run.settle()
    assert (asked.made, asked.stopped) == ([], 0)
    assert counting.run.sinks["out"].taken == 2
    asked.ask(CHECKPOINT)
    counting.run.settle()
    assert sorted(counting.shown) == [1, 1]


def test_a_barrier_of_a_stop_that_arrives_after_it_has_failed_holds_nothing(
    storage: LocalCheckpointStorage,
) -> None:
    counting = Counting(storage, QUIET)
    asked = Asked(counting.run)
    counting.run.settle()
    asked.ask(STOP)
    counting.run.dispatcher.step()  # triggered: the barrier is on its way
    counting.run.coordinator._fail(1, CheckpointStorageError("no space left"))
    counting.run.give("a", ["x"], 1)
    counting.run.settle()
    assert counting.run.sinks["out"].taken == 1
    assert not any(task.held for task in counting.run.assembly.tasks())


async def slow(record: Any) -> Any:
    return record


def test_calls_are_not_begun_behind_the_barrier_of_a_stop(storage: LocalCheckpointStorage) -> None:
    job = ms.Job("stepped")
    calls = job.source(never, uid="a").map_async(slow, capacity=5, uid="calls")
    calls.sink(Shown([], []), uid="out")
    run = SteppedRun(job, storage, QUIET)
    asked = Asked(run)
    asked.ask(STOP)
    run.settle()
    run.give("a", [1, 2, 3], 3)
    run.settle()
    [task] = [each for each in run.assembly.tasks() if isinstance(each, AsyncTask)]
    assert (asked.stopped, task.counts().records_in) == (1, 0)


def test_a_call_that_fails_behind_the_barrier_of_a_stop_does_not_fail_it(
    storage: LocalCheckpointStorage,
) -> None:
    """Its input is in the savepoint: the next run makes the call again."""
    job = ms.Job("stepped")
    calls = job.source(never, uid="a").map_async(slow, capacity=5, uid="calls")
    calls.sink(Shown([], []), uid="out")
    run = SteppedRun(job, storage, QUIET)
    asked = Asked(run)
    run.give("a", [1], 1)
    run.settle()
    asked.ask(STOP)
    run.settle()
    [task] = [each for each in run.assembly.tasks() if isinstance(each, AsyncTask)]
    [call] = task._in_flight
    assert not isinstance(call, Control)
    call.error = OSError("the connection was closed")
    task._note_finished(call)
    run.settle()
    assert (asked.stopped, run.failures) == (1, [])


def test_who_waits_when_the_input_ends_is_told(storage: LocalCheckpointStorage) -> None:
    counting = Counting(storage, QUIET)
    asked = Asked(counting.run)
    counting.run.stuck.add("out")
    asked.ask(CHECKPOINT)
    counting.run.settle()
    asked.ask(SAVEPOINT)
    counting.run.coordinator.finish(lambda: None)
    [refused] = asked.answers
    assert "no savepoint was made: all input has ended" in str(refused)
    asked.ask(STOP)
    assert "no savepoint was made: the job has come to its end" in str(asked.answers[-1])


def test_who_waits_when_the_run_ends_is_told(storage: LocalCheckpointStorage) -> None:
    counting = Counting(storage, QUIET)
    asked = Asked(counting.run)
    counting.run.stuck.add("out")
    asked.ask(CHECKPOINT)
    counting.run.settle()
    asked.ask(SAVEPOINT)
    counting.run.coordinator.stop()
    assert [str(each) for each in asked.answers] == [
        "no savepoint was made: the run ended",
        "no checkpoint was made: the run ended",
    ]


@pytest.mark.parametrize("final", [False, True], ids=["another in flight", "itself in flight"])
def test_who_drains_when_the_run_ends_is_told_once(
    final: bool, storage: LocalCheckpointStorage
) -> None:
    counting = Counting(storage, QUIET)
    asked = Asked(counting.run)
    told: list[Made | Exception] = []
    counting.run.coordinator.at_end = (
        Purpose(savepoint=True, stop=True, final=True),
        [told.append],
    )
    counting.run.writer_stuck = True
    if final:
        counting.run.end("a")
        counting.run.end("b")
        counting.run.settle()
        counting.run.coordinator.finish(lambda: None)
    else:
        asked.ask(CHECKPOINT)
    counting.run.settle()
    assert counting.run.coordinator.in_flight
    counting.run.coordinator.stop()
    counting.run.coordinator.close()
    assert [str(each) for each in told] == ["no savepoint was made: the run ended"]
    others = [] if final else ["no checkpoint was made: the run ended"]
    assert [str(each) for each in asked.answers] == others


def test_the_final_one_may_be_a_savepoint_that_is_answered(storage: LocalCheckpointStorage) -> None:
    counting = Counting(storage, QUIET)
    answers: list[Made | Exception] = []
    final = Purpose(savepoint=True, stop=True, final=True)
    counting.run.coordinator.at_end = (final, [answers.append])
    counting.run.give("a", ["x"], 1)
    counting.run.end("a")
    counting.run.end("b")
    ended: list[Sequence[Any]] = []
    counting.run.settle()
    counting.run.coordinator.finish(lambda: ended.append(list(counting.shown)))
    counting.run.settle()
    assert counting.run.journal.said == ["begin 1 savepoint stop final", "complete 1"]
    assert (len(ended), counting.shown) == (1, [1])
    assert counting.run.coordinator.stopped_with == answers[0]


def test_drained_a_source_gives_no_more_of_what_it_has_read_ahead(
    storage: LocalCheckpointStorage,
) -> None:
    counting = Counting(storage, QUIET)
    run = counting.run
    run.stuck.add("out")
    run.give("a", range(5000), 5000)  # far more than a sink that takes nothing asks for
    run.settle()
    head = run.heads["a"]
    assert isinstance(head, QueuedHead)
    sent = head.outlet.sent
    assert 0 < sent < 5000
    head.drain()
    run.give("a", range(7), 5007)  # it has not heard of it yet
    head.on_end()
    run.end("b")
    run.stuck.clear()
    run.settle()
    assert run.sinks["out"].taken == head.outlet.sent == sent
    assert head.discarded == 5007 - sent
    assert head.position == Position(None, sent)
    assert all(task.ended for task in run.assembly.tasks())
