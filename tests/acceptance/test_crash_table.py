"""The crash windows of two-phase commit, C0 to C16, with real sinks, runs and kills.

A test for each row, for a folder of parts and for a SQLite table. What a sink does by itself is in
``tests/contract/test_two_phase_sinks.py``; here, what the whole of a run does.
"""

from __future__ import annotations

import errno
import itertools
import os
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from millstream.core.job_status import JobStatus
from millstream.storage.metadata.records import CheckpointStatus
from millstream.storage.metadata.store import open_metadata
from tests.acceptance.exact_results import (
    check,
    check_nothing_is_staged,
    check_results,
    parts,
    query,
)
from tests.acceptance.exact_server import Server, memory_folder, said
from tests.acceptance.process import Program, program, wait_until
from tests.acceptance.programs.exact import GROUP, LONG, SHORT, SINKS

KILLED = -signal.SIGKILL
RECORDS = {"appended": LONG + SHORT, "parts": LONG + SHORT + (LONG + SHORT) // GROUP}  # and sums


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


@pytest.fixture(params=["parts", "appended"])
def uid(request: pytest.FixtureRequest) -> str:
    """Return which sink a fault hits: of a folder, or of a table."""
    chosen: str = request.param
    return chosen


class Stand:
    """The job in a folder of its own.

    Attributes:
        folder: the job's, and its sinks'.
        runs: how many have ended other than well.
    """

    def __init__(self, server: Server, folder: Path, uid: str) -> None:
        self.folder = folder
        self.uid = uid
        self.runs = 0
        self._server = server

    def run(self, faults: str = "", **environment: str) -> int:
        """Run the job; in the faults, ``@`` alone stands for the sink."""
        points = self.folder / "points"
        points.unlink(missing_ok=True)  # of this run alone
        code = self._server.run(self.folder, faults.replace("@:", f"@{self.uid}:"), **environment)
        self.runs += code != 0
        return code

    def finish(self) -> None:
        """Run the job to its end, and check everything."""
        code = self.run()
        assert code == 0, said(self.folder, code)
        check(self.folder, self.runs)

    def fails(self, faults: str = "", **environment: str) -> str:
        """Run the job, which fails by itself, and return what it says."""
        code = self.run(faults, **environment)
        assert code == 1, said(self.folder, code)
        assert self.newest_status() is JobStatus.FAILED
        return (self.folder / "stderr").read_text()

    def visible(self, uid: str | None = None) -> int:
        """Return how many records a reader of a sink sees."""
        try:
            if (uid or self.uid) == "parts":
                return len(parts(self.folder))
            table = uid or self.uid
            return int(query(self.folder, f"SELECT count(*) FROM {table}")[0][0])  # noqa: S608  # ours
        except sqlite3.OperationalError as error:
            assert "no such table" in str(error)  # noqa: PT017  # the first commit makes it
            return 0

    def staged(self, before_epoch: int = 1000) -> list[str]:
        """Return what the sink has staged, of epochs before one."""
        if self.uid == "parts":
            names = [each.name for each in (self.folder / "parts").glob(".*.tmp")]
            return [name for name in names if int(name.split("-")[3]) < before_epoch]
        rows = query(self.folder, "SELECT uid, epoch, checkpoint, seq FROM _millstream_staged")
        return [str(row) for row in rows if row[0] == self.uid and row[1] < before_epoch]

    def lose_staged(self, put_away: Path) -> None:
        """Take away what is staged: the files, or the staging table."""
        if self.uid == "parts":
            put_away.mkdir()
            for each in (self.folder / "parts").glob(".*.tmp"):
                shutil.move(each, put_away / each.name)
        else:
            shutil.copy(self.folder / "out.db", put_away)
            with closing(sqlite3.connect(self.folder / "out.db")) as connection, connection:
                connection.execute("DROP TABLE _millstream_staged")

    def put_back(self, put_away: Path) -> None:
        """Undo ``lose_staged``."""
        if self.uid == "parts":
            for each in put_away.iterdir():
                shutil.move(each, self.folder / "parts" / each.name)
        else:
            shutil.copy(put_away, self.folder / "out.db")

    def savepoint(self) -> str:
        """Return the folder of the last savepoint."""
        return (self.folder / "saved").read_text().split()[-1]

    def points(self, *, engine: bool = True) -> list[str]:
        """Return the points that the last run came to in the sink's thread, and in the engine's."""
        lines = [line.split() for line in (self.folder / "points").read_text().splitlines()]
        return [point for point, uid in lines if uid == self.uid or (engine and uid == "-")]

    def newest_status(self) -> JobStatus:
        with open_metadata(self.folder / "job" / "metadata.db") as store:
            job = store.jobs.get("exact")
            assert job is not None
            execution = store.executions.newest(job.id)
            assert execution is not None
            return execution.status

    def checkpoints(self, status: CheckpointStatus) -> list[int]:
        with open_metadata(self.folder / "job" / "metadata.db") as store:
            job = store.jobs.get("exact")
            assert job is not None
            rows = store.checkpoints.of_job(job.id, status=status)
            return [row.checkpoint_id for row in rows]


@pytest.fixture
def stand(server: Server, uid: str) -> Iterator[Stand]:
    with memory_folder() as folder:
        yield Stand(server, folder, uid)


def check_recovery_removes(stand: Stand) -> None:
    """Check that what is staged disappears with the recovery, before there is anything new."""
    assert stand.run("kill recovered@:1") == KILLED
    assert stand.staged(before_epoch=2) == []
    assert stand.visible() == 0
    stand.finish()


def test_c0_killed_while_records_are_written_nothing_of_them_is_visible(stand: Stand) -> None:
    assert stand.run("kill staged@:1") == KILLED
    assert stand.visible() == 0
    assert bool(stand.staged()) is (stand.uid == "parts")  # rows are in memory as yet
    check_recovery_removes(stand)


@pytest.mark.parametrize("step", [1, 2])
def test_c1_killed_in_pre_commit_what_is_staged_is_removed(stand: Stand, step: int) -> None:
    assert stand.run(f"kill pre_commit/step@:{step}") == KILLED
    assert stand.visible() == 0
    check_recovery_removes(stand)


def test_c2_pre_committed_and_the_snapshot_is_not_durable_it_is_removed(stand: Stand) -> None:
    assert stand.run("kill complete@:1") == KILLED
    assert stand.staged()
    assert stand.visible() == 0
    check_recovery_removes(stand)


def test_c3_durable_and_without_a_row_the_checkpoint_does_not_exist(stand: Stand) -> None:
    assert stand.run("kill durable@:1") == KILLED
    (files,) = (stand.folder / "job/checkpoints/exact").glob("chk-*")
    assert int(files.name[4:]) not in stand.checkpoints(CheckpointStatus.SUCCESS)
    assert stand.staged()
    assert stand.visible() == 0
    check_recovery_removes(stand)


@pytest.mark.parametrize("point", ["row", "completed", "commit"])
def test_c4_with_a_row_it_is_committed_before_anything_is_read(stand: Stand, point: str) -> None:
    assert stand.run(f"kill {point}@:1") == KILLED
    assert stand.visible() == 0
    assert stand.staged()
    assert stand.run("kill recovered:3") == KILLED
    assert stand.visible() > 0
    assert stand.staged(before_epoch=2) == []
    stand.finish()


def test_c5_committed_and_nobody_knows_it_is_not_committed_again(stand: Stand) -> None:
    assert stand.run("kill committed@:1") == KILLED
    visible = stand.visible()
    assert visible > 0
    assert stand.run("kill recovered@:1") == KILLED
    assert "recover_and_commit" in stand.points(), "it is repeated, without effect"
    assert stand.visible() == visible
    stand.finish()


@pytest.mark.parametrize("step", range(1, 5))
def test_c5_killed_at_a_step_of_a_commit_it_is_committed_once(stand: Stand, step: int) -> None:
    assert stand.run(f"kill commit/step@:{step}") == KILLED
    assert stand.run("kill recovered:3") == KILLED
    assert stand.visible() > 0
    stand.finish()


def test_c6_some_of_several_sinks_have_committed_the_others_do(stand: Stand) -> None:
    others = [each for each in SINKS if each != stand.uid]
    held = "; ".join(f"hold commit@{each}:1" for each in others)
    assert stand.run(held) == KILLED
    assert stand.visible() > 0
    assert [stand.visible(each) for each in others] == [0, 0]
    assert stand.run("kill recovered:3") == KILLED
    assert all(stand.visible(each) > 0 for each in others)
    stand.finish()


def test_c7_a_commit_that_fails_for_now_is_not_lost(stand: Stand) -> None:
    if stand.uid == "parts":  # of a file system's errors none says that it will pass
        message = stand.fails("EIO commit/step@:1")
        assert "Input/output error" in message
    else:
        assert stand.run("EBUSY commit/step@:1x3") == 0, said(stand.folder, 0)
        assert (stand.folder / "stderr").read_text().count("commit.failed") == 3
        check(stand.folder, 0)
        return
    assert stand.staged()
    stand.finish()


def test_c7_a_commit_that_fails_for_ever_fails_the_job_and_is_kept(stand: Stand) -> None:
    failure = "EIO" if stand.uid == "parts" else "EBUSY"
    message = stand.fails(f"{failure} commit/step@:1x1000")
    assert "commit() failed" in message
    staged = stand.staged()
    assert staged
    assert stand.visible() == 0
    for _ in range(2):  # it is not given up after a while, either
        assert "recover_and_commit() failed" in stand.fails(
            f"{failure} recover_and_commit/step@:1x1000"
        )
        assert stand.staged() == staged
    stand.finish()


def test_c8_what_is_lost_in_the_target_is_named_and_left_to_a_person(
    stand: Stand, tmp_path: Path
) -> None:
    assert stand.run("kill row@:1") == KILLED
    stand.lose_staged(tmp_path / "away")
    for _ in range(2):  # nobody decides anything by trying again
        message = stand.fails()
        assert "DataLossError" in message or "lost" in message
        assert "ut it back, or" in message, "it says what can be done"
        assert stand.visible() == 0
    stand.put_back(tmp_path / "away")
    stand.finish()


def test_c8_a_fresh_run_goes_on_without_what_is_lost(stand: Stand, tmp_path: Path) -> None:
    assert stand.run("kill row@:1") == KILLED
    others = [each for each in SINKS if each != stand.uid]
    assert [stand.visible(each) for each in others] == [0, 0]
    stand.lose_staged(tmp_path / "away")
    stand.fails()
    assert stand.run(FRESH="yes") == 0, said(stand.folder, 1)
    assert stand.visible() == RECORDS[stand.uid]
    check_nothing_is_staged(stand.folder)


def test_c9_epochs_of_failed_checkpoints_are_committed_with_the_next_in_order(
    stand: Stand,
) -> None:
    code = stand.run("EIO complete@:1x3", PAUSE_S="0.02")
    assert code == 0, said(stand.folder, code)
    assert "3 failed" in (stand.folder / "stdout").read_text()
    points = stand.points()
    assert points.count("begin_transaction") >= 2
    assert "commit" not in points[: points.index("row")]
    own = stand.points(engine=False)
    behind = own[own.index("commit") :]
    together = list(itertools.takewhile(lambda point: point != "pre_commit", behind))
    assert together.count("committed") >= 2
    check(stand.folder, 0)


def test_c9_epochs_of_failed_checkpoints_are_recovered_together_in_order(stand: Stand) -> None:
    assert stand.run("EIO complete@:1x3; kill row@:1", PAUSE_S="0.02") == KILLED
    assert stand.points().count("begin_transaction") >= 2
    assert stand.run("kill recovered:3") == KILLED
    assert stand.points().count("recover_committed") >= 2
    stand.finish()


def test_c10_a_checkpoint_that_completes_after_it_was_given_up_commits_once(stand: Stand) -> None:
    code = stand.run("delay durable@:1", TIMEOUT="200ms")
    assert code == 0, said(stand.folder, code)
    assert ", 0 failed" not in (stand.folder / "stdout").read_text()
    check(stand.folder, 0)


def test_c11_an_epoch_without_records_has_no_transaction(stand: Stand) -> None:
    code = stand.run(PAUSE_S="0.05")  # time for many checkpoints
    assert code == 0, said(stand.folder, code)
    check(stand.folder, 0)
    points = stand.points()
    begun = points.count("begin_transaction")
    assert points.count("pre_committed") > begun
    assert points.count("commit") == begun
    if stand.uid == "parts":
        assert all(each.stat().st_size for each in (stand.folder / "parts").glob("part-*"))


def test_c12_at_the_end_of_the_input_everything_is_committed(stand: Stand) -> None:
    assert stand.run("kill durable:1", INTERVAL="none", PAUSE_S="0.001") == KILLED
    assert stand.visible() == 0
    assert stand.run(INTERVAL="none", PAUSE_S="0.001") == 0
    assert stand.points().count("begin_transaction") == 1, "all of it in one transaction"
    check(stand.folder, 1)


@pytest.mark.parametrize("point", ["row@:1", "commit@:1", "committed@:1", "publish:1", "ended:1"])
def test_c12_killed_after_the_final_checkpoint_nothing_is_read_again(
    stand: Stand, point: str
) -> None:
    assert stand.run(f"kill {point}", INTERVAL="none", PAUSE_S="0.001") == KILLED
    stand.finish()
    assert "begin_transaction" not in stand.points()


def stop_and_overtake(stand: Stand, point: str) -> int:
    """Run the job, stop it at a point, let another run complete, and let the first one go on.

    The lock of the folder would keep the other one out: it is taken away, as on a file system where
    locks do not reach. Then the lease and its epoch are what is left.

    Returns:
        The exit code of the one that was stopped.
    """
    faults = f"stop {point}".replace("@:", f"@{stand.uid}:")
    with program("exact", stand.folder, FAULTS=faults) as zombie:
        wait_until(lambda: is_stopped(zombie), point, zombie)
        (stand.folder / "job" / "lock").unlink()
        code = stand.run()
        assert code == 0, said(stand.folder, code)
        zombie.send(signal.SIGCONT)
        return zombie.wait()


def is_stopped(running: Program) -> bool:
    return running.watched.status() == "stopped"


def test_c13_a_zombie_cannot_write_its_checkpoint(stand: Stand) -> None:
    assert stop_and_overtake(stand, "complete@:1") == 1
    check_results(stand.folder)
    check_nothing_is_staged_by(stand)
    assert (
        "no longer holds"
        in (stand.folder / "stderr").read_text() + (stand.folder / "stdout").read_text()
    )


@pytest.mark.parametrize("point", ["row@:1", "commit@:1", "staged@:1", "pre_commit@:1"])
def test_c13_what_a_zombie_commits_or_stages_is_without_effect(stand: Stand, point: str) -> None:
    assert stop_and_overtake(stand, point) == 1
    check_results(stand.folder)


def check_nothing_is_staged_by(stand: Stand) -> None:
    assert stand.staged(before_epoch=1) == []


def back_up(folder: Path, to: Path) -> None:
    """Copy a job's folder, but for the socket that a kill has left."""
    shutil.copytree(folder, to, ignore=shutil.ignore_patterns("control.sock"))


def test_c14_a_back_up_of_an_older_checkpoint_is_refused_by_the_target(
    stand: Stand, tmp_path: Path
) -> None:
    assert stand.run("kill committed@:1") == KILLED
    back_up(stand.folder / "job", tmp_path / "older")
    assert stand.run("kill committed@:2") == KILLED
    stand.run("kill leased:1")
    shutil.rmtree(stand.folder / "job")
    shutil.copytree(tmp_path / "older", stand.folder / "job")
    visible = stand.visible()
    message = stand.fails()
    assert "the job's own folder was removed" in message
    assert stand.visible() == visible


def test_c14_a_savepoint_waits_for_the_checkpoint_in_flight(stand: Stand) -> None:
    assert stand.run("save complete@:1") == 0, said(stand.folder, 0)
    number = int(Path(stand.savepoint()).name.split("-")[1])
    points = stand.points()
    triggers = [at for at, point in enumerate(points) if point == "trigger"]
    before = points[: triggers[number - 1]]
    assert before.count("complete") == before.count("row") == number - 1 > 0
    check(stand.folder, 0)


def test_c14_a_savepoint_commits_nothing(stand: Stand) -> None:
    faults = "save staged@:1; save saved:1; kill saved:2"  # what the first commits, it has by then
    assert stand.run(faults, INTERVAL="none") == KILLED
    assert stand.points().count("row") == 2
    assert [stand.visible(each) for each in SINKS] == [0, 0, 0]
    assert stand.staged()
    stand.finish()  # no checkpoint names what is staged: it is removed and done again


def test_c14_what_a_savepoint_has_pre_committed_appears_with_the_next_checkpoint(
    stand: Stand,
) -> None:
    faults = "save staged@:1; checkpoint saved:1; kill committed@:1"
    assert stand.run(faults, INTERVAL="none") == KILLED
    points = stand.points()
    assert points[: points.index("commit")].count("row") == 2
    assert stand.visible() > 0
    stand.finish()


@pytest.mark.parametrize("failure", ["ENOSPC", "EACCES"])
@pytest.mark.parametrize("step", [1, 2])
def test_c15_a_pre_commit_that_fails_fails_the_job_and_loses_nothing(
    stand: Stand, failure: str, step: int
) -> None:
    message = stand.fails(f"{failure} pre_commit/step@:{step}x1000")
    shown = os.strerror(getattr(errno, failure)) if stand.uid == "parts" else "disk is full"
    assert shown in message
    assert stand.visible() == 0
    stand.finish()


def test_c15_an_earlier_epoch_is_committed_though_a_later_pre_commit_failed(stand: Stand) -> None:
    faults = "kill row@:1"
    assert stand.run(faults) == KILLED
    stand.fails("ENOSPC pre_commit/step@:1x1000")
    assert stand.visible() > 0, "of the run before"
    stand.finish()


def test_c15_with_a_disk_that_is_really_full_the_job_fails_and_resumes(
    server: Server, uid: str, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    options = ["-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)]
    mounted = subprocess.run(["mount", *options], check=False, capture_output=True)
    if mounted.returncode:
        pytest.skip("only root may mount a small disk")
    try:
        stand = Stand(server, disk, uid)
        assert stand.run("kill row@:2") == KILLED
        (disk / "stdout").write_bytes(b" " * 65_536)  # room for what the runs below say
        fill(disk / "filler")
        code = stand.run()
        assert code == 1, said(disk, code)
        (disk / "filler").unlink()
        stand.finish()
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def fill(path: Path) -> None:
    """Write a file until the disk is full."""
    with suppress(OSError), path.open("wb") as file:
        while True:
            file.write(b"0" * 4096)
            file.flush()


def test_c16_a_checkpoint_that_is_resumed_twice_gives_the_same(stand: Stand) -> None:
    assert stand.run("kill row@:1") == KILLED
    (newest, *_) = stand.checkpoints(CheckpointStatus.SUCCESS)
    for _ in range(2):
        assert stand.run("kill complete:1") == KILLED
        assert f"resumed from {newest}\n" in (stand.folder / "stdout").read_text()
    stand.finish()


def test_c16_from_an_older_savepoint_what_later_checkpoints_have_staged_is_removed(
    stand: Stand,
) -> None:
    faults = "save staged@:1; checkpoint saved:1; kill row@:2"
    assert stand.run(faults, INTERVAL="none") == KILLED
    assert stand.checkpoints(CheckpointStatus.SUCCESS) == [2, 1]
    assert stand.visible() == 0
    assert stand.run("kill recovered:3", FROM_SAVEPOINT=stand.savepoint()) == KILLED
    assert "resumed from 1\n" in (stand.folder / "stdout").read_text()
    assert stand.visible() > 0, "what the savepoint names is committed"
    assert stand.staged(before_epoch=2) == [], "and what checkpoint 2 names is removed"
    stand.finish()  # of the fork, not of checkpoint 2
    assert "resumed from 1\n" in (stand.folder / "stdout").read_text()


def test_c16_what_a_savepoint_names_and_is_committed_is_not_committed_again(stand: Stand) -> None:
    faults = "save staged@:1; checkpoint saved:1; kill committed@:1"
    assert stand.run(faults, INTERVAL="none") == KILLED
    visible = stand.visible()
    assert visible > 0
    assert stand.run("kill recovered:3", FROM_SAVEPOINT=stand.savepoint()) == KILLED
    assert "recover_and_commit" in stand.points(), "it is repeated, without effect"
    assert stand.visible() == visible
    assert stand.run() == 0, said(stand.folder, 1)
    assert stand.visible() == RECORDS[stand.uid]  # of the others, what they committed comes again


def test_c16_a_savepoint_that_is_restored_twice_is_forked_twice(stand: Stand) -> None:
    assert stand.run("save staged@:1; kill saved:1", INTERVAL="none") == KILLED
    for fork in range(2):
        # The second one has to remove what the first has staged.
        assert stand.run("kill pre_committed@:1", FROM_SAVEPOINT=stand.savepoint()) == KILLED
        assert "resumed from 1\n" in (stand.folder / "stdout").read_text()
        assert stand.staged(before_epoch=2 + fork) == [], "of the runs before"
        assert stand.staged(), "its own, under its own epoch"
    stand.finish()


def test_c16_a_savepoint_that_was_passed_over_is_refused_by_the_target(stand: Stand) -> None:
    assert stand.run("save staged@:1; kill saved:1", INTERVAL="none") == KILLED
    assert stand.run("kill recovered:3") == KILLED  # anew: it removes what no checkpoint names
    message = stand.fails(FROM_SAVEPOINT=stand.savepoint())
    assert "DataLossError" in message or "lost" in message
    assert [stand.visible(each) for each in SINKS] == [0, 0, 0]


def test_c16_a_fork_of_the_job_s_folder_is_refused_by_the_target(
    stand: Stand, tmp_path: Path
) -> None:
    assert stand.run("kill row@:1") == KILLED
    back_up(stand.folder / "job", tmp_path / "fork")
    stand.finish()
    shutil.rmtree(stand.folder / "job")
    shutil.copytree(tmp_path / "fork", stand.folder / "job")
    message = stand.fails()
    assert "the job's own folder was removed" in message
    check_results(stand.folder)
