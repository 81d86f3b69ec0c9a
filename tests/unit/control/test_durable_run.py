"""Runs in a folder: what one goes on from, what it refuses, and what is written down of it."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import millstream as ms
from millstream.control import lease_keeper
from millstream.control.durable_run import prepare_durable
from millstream.control.run_options import RunOptions
from millstream.core.errors import ConfigError, FatalError, MillstreamError
from millstream.core.job_status import JobStatus
from millstream.storage.checkpoints.base import CheckpointDamagedError
from millstream.storage.metadata.errors import LeaseLostError
from millstream.storage.metadata.leases import Leases
from millstream.storage.metadata.records import CheckpointStatus, Lease
from millstream.storage.metadata.store import open_metadata
from tests.support.stepping import wait_until

Batches = Iterator[tuple[Sequence[Any], Any]]


def checkpoints(folder: Path) -> set[str]:
    return {each.name for each in folder.glob("checkpoints/*/chk-*")}


class DiesError(Exception):
    """Stands for a kill: nothing is finished after it."""


def dying(folder: Path, values: Sequence[Any], batch: int = 4) -> Callable[[Any], Batches]:
    """Return a source that gives values, waits for a checkpoint behind them, and dies."""

    def read(position: Any) -> Batches:
        at = position or 0
        while at < len(values):
            yield values[at : at + batch], at + batch
            at += batch
        yield [], at
        for _ in range(2):  # the second one was triggered behind all of them
            before = checkpoints(folder)
            while not checkpoints(folder) - before:
                time.sleep(0.001)
        raise DiesError

    return read


def giving(values: Sequence[Any], batch: int = 3) -> Callable[[Any], Batches]:
    """Return a source that gives values and ends."""

    def read(position: Any) -> Batches:
        for at in range(position or 0, len(values), batch):
            yield values[at : at + batch], at + batch

    return read


def counts(source: Any, out: list[Any], **aggregates: Any) -> ms.Job:
    job = ms.Job("counts", checkpoint_interval="5ms")
    stream = job.source(source, uid="in").key_by(ms.it % 2)
    stream.aggregate(**(aggregates or {"n": ms.count()}), uid="n").sink(out.append, uid="out")
    return job


def die(job: ms.Job, folder: Path, **options: Any) -> None:
    with pytest.raises(FatalError) as caught:
        ms.run(job, folder=folder, **options)
    assert isinstance(caught.value.__cause__, DiesError), caught.value


def status_of(folder: Path) -> list[JobStatus]:
    with open_metadata(folder / "metadata.db") as store:
        job = store.jobs.get("counts")
        assert job is not None
        return [each.status for each in store.executions.of_job(job.id)]


def test_a_run_goes_on_from_the_last_checkpoint_of_the_one_that_died(tmp_path: Path) -> None:
    out: list[Any] = []
    die(counts(dying(tmp_path, range(8)), out), tmp_path)
    assert [each["n"] for each in out] == [1, 1, 2, 2, 3, 3, 4, 4]
    ms.run(counts(giving(range(10)), out), folder=tmp_path)
    assert [each["n"] for each in out[8:]] == [5, 5]
    assert status_of(tmp_path) == [JobStatus.COMPLETED, JobStatus.FAILED]


@pytest.mark.parametrize("records", [0, 1, 4, 5, 9])
def test_restored_three_times_it_is_as_if_it_had_not_died(records: int, tmp_path: Path) -> None:
    out: list[Any] = []
    for _ in range(3):  # the second and the third make checkpoints without a record in them
        die(counts(dying(tmp_path, range(records)), out), tmp_path)
    ms.run(counts(giving(range(records)), out), folder=tmp_path)
    expected = [number // 2 + 1 for number in range(records)]
    assert [each["n"] for each in out] == expected


def test_a_run_whose_lease_is_lost_ends_at_once_and_says_why(tmp_path: Path) -> None:
    def waiting(position: Any) -> Batches:
        yield [1, 2], 2
        with open_metadata(tmp_path / "metadata.db") as store:
            job = store.jobs.get("counts")
            assert job is not None
            held = store.leases.current(job.id)
            assert held is not None
            store.leases.release(held)
            store.leases.acquire(job.id, "somebody else", duration_s=30)
        while True:  # until the next checkpoint finds that out
            time.sleep(0.001)
            yield [], 2

    with pytest.raises(LeaseLostError, match=r"the job is (held by somebody else in epoch 2|free)"):
        ms.run(counts(waiting, []), folder=tmp_path)


def test_a_cut_within_a_batch_is_found_again_in_batches_of_another_size(tmp_path: Path) -> None:
    values = list(range(5000))

    def slow(value: int) -> int:
        time.sleep(0.0002)
        if value == 3000:
            raise DiesError
        return value

    out: list[Any] = []

    def job(batch: int, function: Callable[[int], int]) -> ms.Job:
        job = ms.Job("counts", checkpoint_interval="20ms")
        job.source(giving(values, batch), uid="in").map(function).sink(out.append, uid="out")
        return job

    die(job(5000, slow), tmp_path)
    before = list(out)
    out.clear()
    ms.run(job(7, int), folder=tmp_path)
    assert out == values[out[0] :]  # from a record in the middle, without a gap
    assert 0 < out[0] <= len(before)


def test_after_a_completed_run_the_next_begins_anew(tmp_path: Path) -> None:
    out: list[Any] = []
    for _ in range(2):
        ms.run(counts(giving(range(2)), out), folder=tmp_path)
    assert [each["n"] for each in out] == [1, 1, 1, 1]
    with pytest.raises(ConfigError, match="ended COMPLETED, so there is nothing to resume"):
        ms.run(counts(giving(range(2)), out), folder=tmp_path, resume=True)


def test_fresh_begins_anew_and_what_older_runs_have_left_counts_no_more(tmp_path: Path) -> None:
    out: list[Any] = []
    die(counts(dying(tmp_path, range(8)), out), tmp_path)

    def fails_at_once(position: Any) -> Batches:
        raise DiesError
        yield

    die(counts(fails_at_once, out), tmp_path, resume=False)
    out.clear()
    ms.run(counts(giving(range(2)), out), folder=tmp_path)
    assert [each["n"] for each in out] == [1, 1]


def test_a_run_that_died_before_its_first_checkpoint_leaves_those_it_came_from(
    tmp_path: Path,
) -> None:
    out: list[Any] = []
    die(counts(dying(tmp_path, range(8)), out), tmp_path)

    def fails_at_once(position: Any) -> Batches:
        raise DiesError
        yield

    die(counts(fails_at_once, out), tmp_path)
    out.clear()
    ms.run(counts(giving(range(10)), out), folder=tmp_path)
    assert [each["n"] for each in out] == [5, 5]


def test_without_a_checkpoint_there_is_nothing_to_resume(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has no checkpoint to resume from"):
        ms.run(counts(giving([1]), []), folder=tmp_path, resume=True)


def test_state_of_another_type_is_refused_with_the_difference(tmp_path: Path) -> None:
    die(counts(dying(tmp_path, range(8)), []), tmp_path)
    job = counts(giving(range(10)), [], n=ms.count(), total=ms.sum(ms.it))
    with pytest.raises(ConfigError) as refused:
        ms.run(job, folder=tmp_path)
    assert "state 'aggregates' of operator 'n'" in str(refused.value)
    assert "was [n: count], is [n: count, total: sum]" in str(refused.value)
    assert status_of(tmp_path) == [JobStatus.FAILED, JobStatus.FAILED]


def test_a_source_that_is_gone_is_refused(tmp_path: Path) -> None:
    die(counts(dying(tmp_path, range(8)), []), tmp_path)
    job = ms.Job("counts", checkpoint_interval="5ms")
    stream = job.source(giving(range(10)), uid="other").key_by(ms.it % 2)
    out: list[Any] = []
    stream.aggregate(n=ms.count(), uid="n").sink(out.append, uid="out")
    with pytest.raises(ConfigError, match="has a source 'in', which the job no longer has"):
        ms.run(job, folder=tmp_path)


def spoil(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)


@pytest.mark.parametrize("skip_damaged", [False, True])
def test_where_all_checkpoints_are_damaged_the_newest_is_named(
    skip_damaged: bool, tmp_path: Path
) -> None:
    die(counts(dying(tmp_path, range(8)), []), tmp_path)
    for file in tmp_path.glob("checkpoints/*/chk-*/positions"):
        spoil(file)
    with pytest.raises(CheckpointDamagedError, match=r"checkpoint chk-\d+ cannot be used"):
        ms.run(counts(giving(range(10)), []), folder=tmp_path, skip_damaged=skip_damaged)


DAMAGES: dict[str, Callable[[Path], None]] = {
    "a position": lambda folder: spoil(folder / "positions"),
    "a state": lambda folder: spoil(next(folder.glob("state-n-*"))),
    "the metadata": lambda folder: spoil(folder / "_metadata"),
    "a file that is gone": lambda folder: (folder / "positions").unlink(),
    "a checkpoint that is gone": shutil.rmtree,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_checkpoint_is_skipped_only_if_the_user_allows_it(
    damage: Callable[[Path], None], tmp_path: Path
) -> None:
    die(counts(dying(tmp_path, range(8)), []), tmp_path)
    newest, older, *_ = sorted(
        tmp_path.glob("checkpoints/*/chk-*"), key=lambda each: -int(each.name[4:])
    )
    damage(newest)
    out: list[Any] = []
    with pytest.raises(MillstreamError) as caught:
        ms.run(counts(giving(range(10)), out), folder=tmp_path)
    assert newest.name in str(caught.value)
    assert caught.value.__notes__ == [
        f"{newest.name}: put its files back, or go on from {older.name} with --skip-damaged: then "
        f"what sinks have shown between {older.name} and {newest.name} appears a second time"
    ]
    assert out == []
    ms.run(counts(giving(range(10)), out), folder=tmp_path, skip_damaged=True)
    assert [each["n"] for each in out[-2:]] == [5, 5]  # whatever was shown again


def test_skipping_needs_a_folder() -> None:
    with pytest.raises(
        ConfigError, match="skip_damaged= and from_savepoint= have an effect only with"
    ):
        ms.run(counts(giving([1]), []), skip_damaged=True)


def test_a_folder_is_used_by_one_run_at_a_time(tmp_path: Path) -> None:
    held = prepare_durable(counts(giving([1]), []), RunOptions(tmp_path))
    with pytest.raises(ConfigError, match="job 'counts' is running already: process "):
        prepare_durable(counts(giving([1]), []), RunOptions(tmp_path))
    held.close()


def test_every_run_leaves_its_lease_and_its_counts(tmp_path: Path) -> None:
    ms.run(counts(giving(range(10)), []), folder=tmp_path)
    with open_metadata(tmp_path / "metadata.db") as store:
        job = store.jobs.get("counts")
        assert job is not None
        assert store.leases.current(job.id) is None
        [execution] = store.executions.of_job(job.id)
        assert execution.processed_records == 10
        moves = [str(each.to_status) for each in store.executions.history(execution.execution_id)]
        assert moves == ["CREATED", "SCHEDULED", "INITIALIZING", "RUNNING", "COMPLETED"]
        newest = store.checkpoints.newest(job.id)
        assert newest is not None
        assert newest.status is CheckpointStatus.SUCCESS
        assert newest.state_data["source_state"] == {"in": "finished"}


def test_a_job_with_checkpoints_needs_a_folder() -> None:
    with pytest.raises(ConfigError, match="it needs a folder to keep them in"):
        ms.run(counts(giving([1]), []))


class Collected(ms.Source[int]):
    """The architecture's form: it reports its own state."""

    def __init__(self, folder: Path, until: int, dies: bool) -> None:
        self.folder, self.until, self.dies, self.next = folder, until, dies, 0

    def run(self, ctx: ms.SourceContext[int]) -> None:
        while self.next < self.until:
            with ctx.checkpoint_lock:
                ctx.collect(self.next)
                self.next += 1
        if self.dies:
            for _ in range(2):
                before = checkpoints(self.folder)
                while not checkpoints(self.folder) - before:
                    time.sleep(0.001)
            raise DiesError

    def snapshot_state(self) -> int:
        return self.next

    def restore_state(self, state: int) -> None:
        self.next = state


def test_a_source_of_the_class_form_goes_on_from_its_state(tmp_path: Path) -> None:
    out: list[Any] = []
    die(counts(Collected(tmp_path, 100, dies=True), out), tmp_path)
    out.clear()
    ms.run(counts(Collected(tmp_path, 104, dies=False), out), folder=tmp_path)
    assert [each["n"] for each in out] == [51, 51, 52, 52]


def test_what_is_written_of_a_run_without_checkpoints_is_the_final_one(tmp_path: Path) -> None:
    job = ms.Job("counts")
    job.source(giving(range(3)), uid="in").sink(print, uid="out")
    result = ms.run(job, folder=tmp_path)
    assert str(result.checkpoints) == "checkpoints: 1 completed, 0 failed"


def keepers() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name == "millstream-lease"]


class Slow:
    """Fault points of a run that hangs at one of them until a moment has come."""

    def __init__(self, point: str, until: Callable[[], bool]) -> None:
        self.point, self.until = point, until

    def reach(self, point: str) -> None:
        if point == self.point:
            wait_until(self.until, f"what {point} waits for")


def test_the_lease_is_renewed_while_state_is_restored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    die(counts(dying(tmp_path, range(8)), []), tmp_path)
    monkeypatch.setattr(lease_keeper, "LEASE_S", 0.03)
    renewals: list[Lease] = []
    renew = Leases.renew

    def counted(self: Leases, lease: Lease, *, duration_s: float) -> Lease:
        renewals.append(lease)
        return renew(self, lease, duration_s=30)

    monkeypatch.setattr(Leases, "renew", counted)
    faults = Slow("restoring", lambda: len(renewals) > 2)
    prepare_durable(counts(giving(range(10)), []), RunOptions(tmp_path, faults=faults)).close()


def test_a_lease_that_was_lost_while_state_was_restored_ends_the_run_before_it_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    die(counts(dying(tmp_path, range(8)), []), tmp_path)
    monkeypatch.setattr(lease_keeper, "LEASE_S", 0.03)
    asked: list[Lease] = []

    def lost(self: Leases, lease: Lease, *, duration_s: float) -> Lease:
        asked.append(lease)
        raise LeaseLostError("somebody has it")

    monkeypatch.setattr(Leases, "renew", lost)
    faults = Slow("restoring", lambda: bool(asked) and not keepers())
    with pytest.raises(LeaseLostError, match="somebody has it"):
        prepare_durable(counts(giving(range(10)), []), RunOptions(tmp_path, faults=faults))
    assert status_of(tmp_path)[0] is JobStatus.FAILED


def test_a_run_that_cannot_be_restored_renews_its_lease_no_more(tmp_path: Path) -> None:
    die(counts(dying(tmp_path, range(8)), []), tmp_path)
    job = counts(giving(range(10)), [], n=ms.count(), total=ms.sum(ms.it))
    with pytest.raises(ConfigError, match="has another type"):
        ms.run(job, folder=tmp_path)
    assert not keepers()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(
        ConfigError, match=r"job 'counts': cannot write in its folder .*/file/job: "
    ):
        ms.run(counts(giving([1]), []), folder=tmp_path / "file" / "job")
