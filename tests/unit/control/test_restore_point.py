"""What a run goes on from when there are savepoints: by default, and by the user's word."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

import millstream as ms
from millstream.control.checkpoint_views import list_savepoints
from millstream.control.durable_run import prepare_durable
from millstream.control.restore_point import RestorePoint, fork_reason, forked_from
from millstream.control.run_options import RunOptions
from millstream.core.errors import ConfigError, SinkError
from millstream.core.job_status import JobStatus
from millstream.storage.checkpoints.base import CheckpointDamagedError
from millstream.storage.metadata.store import open_metadata
from tests.unit.control.running import ENDLESS, Running, generator, make_job, totals, written
from tests.unit.control.test_job_control import Block, damage

MORE = 30  # numbers: more than calls are in flight when a savepoint is made
NO_SOCKET = shutil.ignore_patterns("control.sock")


class Saved:
    """A folder in which a job has made a savepoint, and gone on until it was stopped.

    Attributes:
        path: the savepoint's folder.
        at: the number that it goes on from.
    """

    def __init__(self, root: Path, **stop: Any) -> None:
        self.out, self.folder = root / "out", root / "job"
        with Running(make_job(self.out, generator(ENDLESS)), self.folder) as running:
            running.let_pass(20)
            reply = running.ask("savepoint")
            running.let_pass(20)
            running.ask("checkpoint")  # it commits what the savepoint names, and more
            running.let_pass(20)
            running.ask("stop", **stop)
        self.path = str(reply["location"])

    def run(self, until: int, **options: Any) -> int | None:
        """Run to the end, and return the checkpoint that it went on from."""
        execution = prepare_durable(
            make_job(self.out, generator(until)), RunOptions(self.folder, **options)
        )
        result = execution.wait()
        assert result.error is None, result.error
        return execution.resumed_from

    def clear(self) -> None:
        """Remove what has appeared, so that what a run commits can be told from it."""
        for each in (self.out / "parts").glob("*.jsonl"):
            each.unlink()


@pytest.fixture
def saved(tmp_path: Path) -> Saved:
    return Saved(tmp_path)


def test_by_default_a_savepoint_is_nothing_to_go_on_from(saved: Saved) -> None:
    numbers = written(saved.out)
    assert saved.run(len(numbers) + MORE) == 2
    assert written(saved.out) == dict.fromkeys(range(len(numbers) + MORE), 1)


def test_by_default_a_run_goes_on_from_the_savepoint_of_a_stop(tmp_path: Path) -> None:
    saved = Saved(tmp_path, savepoint=True)
    end = len(written(saved.out)) + MORE
    assert saved.run(end) == 3
    assert written(saved.out) == dict.fromkeys(range(end), 1)


def test_what_a_damaged_stop_savepoint_was_skipped_for_is_there_the_next_time_as_well(
    tmp_path: Path,
) -> None:
    saved = Saved(tmp_path, savepoint=True)
    damage(saved.folder)
    job = make_job(saved.out, generator(ENDLESS))
    begun = []
    for _ in range(2):
        with Running(job, saved.folder, skip_damaged=True) as running:
            begun.append(running.execution.begins)
            running.ask("stop")
    assert begun == ["from checkpoint 2"] * 2
    with pytest.raises(CheckpointDamagedError, match="sp-3 cannot be used"):
        saved.run(ENDLESS)  # a user who does not say it again is not given an older one


def test_a_run_that_went_on_from_a_stop_savepoint_leaves_it_and_what_was_before(
    tmp_path: Path,
) -> None:
    saved = Saved(tmp_path, savepoint=True)
    job = make_job(saved.out, generator(ENDLESS))
    with Running(job, saved.folder) as running:
        assert running.execution.resumed_from == 3
        running.ask("stop")
    damage(saved.folder)
    end = len(written(saved.out)) + MORE
    assert saved.run(end, skip_damaged=True) == 2
    assert set(written(saved.out)) == set(range(end))


def test_the_history_says_what_an_execution_did_go_on_from(tmp_path: Path) -> None:
    saved = Saved(tmp_path, savepoint=True)
    damage(saved.folder)
    saved.run(len(written(saved.out)) + MORE, skip_damaged=True)
    with open_metadata(saved.folder / "metadata.db") as store:
        job = store.jobs.get("job")
        assert job is not None
        [newest, *_] = store.executions.of_job(job.id)
        moves = store.executions.history(newest.execution_id)
    [running] = [each.reason for each in moves if each.to_status is JobStatus.RUNNING]
    assert running == "begins from checkpoint 2"


def test_where_the_savepoint_of_a_stop_is_gone_nothing_older_is_taken(tmp_path: Path) -> None:
    saved = Saved(tmp_path, savepoint=True)
    moved = tmp_path / "moved"
    (saved.folder / "savepoints/sp-3").rename(moved)
    with pytest.raises(ConfigError) as refused:
        saved.run(ENDLESS)
    for words in ("savepoints/sp-3, which is gone", "would repeat it", "--from-savepoint"):
        assert words in str(refused.value)
    assert "GONE" in next(iter(list_savepoints("job", saved.folder)))
    end = len(written(saved.out)) + MORE
    assert saved.run(end, from_savepoint=moved) == 3
    assert written(saved.out) == dict.fromkeys(range(end), 1)


@pytest.mark.parametrize("named", ["1", "sp-1", "path", "moved"])
def test_a_run_from_an_older_savepoint_does_it_all_again_from_there(
    named: str, saved: Saved
) -> None:
    seen = len(written(saved.out))
    reference: Any = {"path": saved.path, "moved": saved.folder.parent / "moved"}.get(named, named)
    if named == "moved":
        Path(saved.path).rename(reference)
    assert saved.run(seen + MORE, from_savepoint=reference) == 1
    numbers = written(saved.out)
    assert sorted(numbers) == list(range(seen + MORE))
    assert numbers[0] == 1, "what the savepoint has is not done again"
    assert numbers[seen - 1] == 2, "what came behind it is: it is a fork"


def test_what_the_savepoint_names_is_committed_whether_or_not_it_was_before(
    saved: Saved,
) -> None:
    seen = written(saved.out)
    saved.run(len(seen), from_savepoint="1")
    count = [n for n, _ in totals(saved.out)]
    assert sum(count) == len(seen), "state goes on from the savepoint as well"


def test_a_fork_that_dies_before_its_first_checkpoint_goes_on_from_the_savepoint(
    saved: Saved,
) -> None:
    seen = len(written(saved.out))
    job = make_job(saved.out, generator(ENDLESS))
    with Running(job, saved.folder, from_savepoint="1") as running:
        running.ask("stop")
    assert saved.run(seen, resume=True) == 1
    assert totals(saved.out)[0][0] == len(range(0, seen, 3))


def test_a_fork_that_never_ran_has_changed_nothing(saved: Saved) -> None:
    seen = len(written(saved.out))
    refused = prepare_durable(
        make_job(saved.out, generator(ENDLESS)), RunOptions(saved.folder, from_savepoint="1")
    )
    refused.close()
    assert saved.run(seen + MORE) == 2
    assert written(saved.out) == dict.fromkeys(range(seen + MORE), 1)


def test_after_a_completed_run_one_that_never_ran_does_not_bring_it_back(tmp_path: Path) -> None:
    out, folder = tmp_path / "out", tmp_path / "job"
    ms.run(make_job(out, generator(9)), folder=folder)
    prepare_durable(make_job(out, generator(9)), RunOptions(folder)).close()
    again = prepare_durable(make_job(out, generator(9)), RunOptions(folder))
    again.close()
    assert again.begins is None


def test_in_a_new_folder_a_run_has_a_greater_epoch_than_the_savepoint(saved: Saved) -> None:
    """Its transactions must not have the names of those that the savepoint's run has made."""
    seen = len(written(saved.out))
    for _ in range(2):
        saved.run(seen)  # each has a greater epoch than the one before
    with Running(make_job(saved.out, generator(ENDLESS)), saved.folder) as running:
        reply = running.ask("savepoint")
    other = saved.folder.parent / "other"
    execution = prepare_durable(
        make_job(saved.out, generator(seen)), RunOptions(other, from_savepoint=reply["location"])
    )
    execution.close()
    with open_metadata(other / "metadata.db") as store:
        [job] = [store.jobs.get("job")]
        assert job is not None
        assert store.leases.acquire(job.id, "me", duration_s=1).epoch == 6


@pytest.mark.parametrize("choice", [{"resume": True}, {"resume": False}])
def test_a_savepoint_and_another_choice_are_refused(choice: Any, tmp_path: Path) -> None:
    job = make_job(tmp_path / "out", generator(1))
    with pytest.raises(ConfigError, match="--from-savepoint says what to go on from"):
        ms.run(job, folder=tmp_path / "job", from_savepoint="1", **choice)
    with pytest.raises(ConfigError, match="have an effect only with folder="):
        ms.run(job, from_savepoint="1")


def test_what_is_no_savepoint_of_the_job_is_refused(saved: Saved, tmp_path: Path) -> None:
    checkpoint = saved.folder / "checkpoints/job/chk-2"
    for reference, message in {
        "7": "no savepoint '7'; there are: 1",
        "2": "no savepoint '2'; there are: 1",
        str(tmp_path): "no savepoint in",
        str(tmp_path / "nowhere"): "no savepoint in",
        str(checkpoint): "is a checkpoint and no savepoint",
    }.items():
        with pytest.raises(ConfigError) as refused:
            saved.run(1, from_savepoint=reference)
        assert message in str(refused.value)


def test_a_savepoint_of_another_job_is_refused(saved: Saved, tmp_path: Path) -> None:
    job = make_job(tmp_path / "out", generator(1), name="another")
    with pytest.raises(ConfigError, match="is of job 'job', not of 'another'"):
        ms.run(job, folder=tmp_path / "another", from_savepoint=saved.path)


@pytest.mark.parametrize("file", ["_metadata", "positions"])
def test_a_damaged_savepoint_is_refused_and_named(file: str, saved: Saved) -> None:
    damaged = Path(saved.path) / file
    damaged.write_bytes(damaged.read_bytes()[:-2] + b"??")
    with pytest.raises(CheckpointDamagedError, match=r"sp-1 cannot be used"):
        saved.run(1, from_savepoint="1")


def test_one_that_a_kill_left_without_its_row_is_refused(tmp_path: Path) -> None:
    folder, copy = tmp_path / "job", tmp_path / "copy"
    block = Block("durable", lambda: shutil.copytree(folder, copy, ignore=NO_SOCKET))
    block.go_on.set()
    job = make_job(tmp_path / "out", generator(ENDLESS))
    with Running(job, folder, faults=block) as running:
        running.ask("savepoint")
    with pytest.raises(ConfigError, match="savepoint 1 of job 'job' was not completed"):
        ms.run(
            make_job(tmp_path / "out", generator(1)),
            folder=copy,
            from_savepoint=copy / "savepoints/sp-1",
        )


def test_a_savepoint_that_does_not_fit_the_job_is_refused(saved: Saved) -> None:
    job = ms.Job("job")
    job.source(generator(1), uid="another").sink(print, uid="out")
    with pytest.raises(ConfigError, match="operator 'totals', which the job does not declare"):
        ms.run(job, folder=saved.folder, from_savepoint="1")


def test_what_a_savepoint_names_and_a_later_run_has_removed_is_a_loss_that_is_told(
    tmp_path: Path,
) -> None:
    """The run after a kill does not know the user's savepoints, and replays what they name."""
    out, folder = tmp_path / "out", tmp_path / "job"
    with Running(make_job(out, generator(ENDLESS)), folder) as running:
        running.ask("checkpoint")
        running.let_pass(20)
        running.ask("savepoint")
        running.ask("stop")  # before a checkpoint has committed what the savepoint names
    with Running(make_job(out, generator(ENDLESS)), folder) as running:
        running.let_pass(3)
    with pytest.raises(SinkError, match="neither"):
        ms.run(make_job(out, generator(1)), folder=folder, from_savepoint="2")


def test_the_words_of_an_execution_name_its_savepoint() -> None:
    point = RestorePoint(7, "/a folder, with\na line/sp-7", 3)
    again = forked_from(fork_reason(point))
    assert again == RestorePoint(7, point.path, 0)
    assert forked_from("begins anew") is None
    assert forked_from(f"begins {point}") is None


def test_damage_is_what_it_says(saved: Saved) -> None:
    damage(saved.folder)
    with pytest.raises(CheckpointDamagedError):
        saved.run(1, from_savepoint="1")
