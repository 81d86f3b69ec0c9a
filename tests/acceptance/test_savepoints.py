"""Jobs are told from other processes to save, stop and drain, and are killed while they do it."""

from __future__ import annotations

import json
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from millstream.control.folder_lock import FolderLock
from millstream.control.job_socket import ask
from tests.acceptance.process import MILLSTREAM, Program, program, wait_until
from tests.acceptance.programs.savepoints import KEYS

POINTS = [
    "trigger", "barrier", "task", "pre_commit", "pre_committed", "durable", "verified", "row",
    "completed", "commit", "committed",
]  # fmt: skip
SAVED = ("row", "completed", "commit", "committed")  # from here on the savepoint exists


def told(folder: Path, *arguments: str) -> tuple[int, str, str]:
    """Run a command of another process; return its exit code and what it printed."""
    command = [str(MILLSTREAM), *arguments, "told", "--folder", str(folder / "job")]
    with Program(command, folder / "command") as running:
        code = running.wait()
        return code, running.stdout, running.stderr


def running(folder: Path, **environment: str) -> Program:
    return program("savepoints", folder, **environment)


def wait_for_records(folder: Path, job: Program, more: int = 200) -> None:
    """Have checkpoints made until so many more records have appeared."""
    wait_until((folder / "job" / "control.sock").exists, "its socket", job)
    seen = len(shown(folder))

    def enough() -> bool:
        ask(folder / "job", "told", {"command": "checkpoint"}, timeout_s=30)
        return len(shown(folder)) >= seen + more

    wait_until(enough, f"{more} records", job)


def shown(folder: Path) -> list[dict[str, Any]]:
    return [
        json.loads(line)
        for file in (folder / "parts").glob("*.jsonl")
        for line in file.read_text().splitlines()
    ]


def finish(folder: Path, **environment: str) -> int:
    """Run to the end, some records further on; return how many records there are in all."""
    until = max((each["n"] for each in shown(folder)), default=0) + 20_000
    with running(folder, UNTIL=str(until), **environment) as job:
        assert job.wait() == 0, job.stderr
    return until


def check(folder: Path, until: int) -> None:
    records = shown(folder)
    assert Counter(each["n"] for each in records) == Counter(range(until)), "exactly once"
    for key in range(KEYS):
        seen = sorted(each["seen"] for each in records if each["k"] == f"k{key}")
        assert seen == list(range(1, len(seen) + 1)), "state of each key: exactly once"
    totals = [json.loads(line) for line in (folder / "totals.jsonl").read_text().splitlines()]
    assert sum(each["n"] for each in totals) == until
    left = [each.name for each in (folder / "parts").iterdir() if not each.name.endswith(".jsonl")]
    assert not [name for name in left if not name.endswith(".done")], "nothing is left staged"


def test_saved_by_command_the_job_goes_on(tmp_path: Path) -> None:
    with running(tmp_path) as job:
        job.wait_for("resumed from None")
        wait_for_records(tmp_path, job)
        assert told(tmp_path, "checkpoints", "trigger")[1].startswith("checkpoint ")
        code, out, err = told(tmp_path, "savepoint", "trigger")
        assert code == 0, err
        assert "/job/savepoints/sp-" in out
        wait_for_records(tmp_path, job)
        assert told(tmp_path, "stop")[:2] == (0, "told: CANCELLED\n")
        assert job.wait() == 0
        assert "told: CANCELLED in" in job.stdout
    check(tmp_path, finish(tmp_path))


def test_stopped_with_a_savepoint_and_run_again_each_record_is_there_once(tmp_path: Path) -> None:
    for _ in range(3):
        with running(tmp_path) as job:
            job.wait_for("resumed from")
            wait_for_records(tmp_path, job)
            code, out, err = told(tmp_path, "stop", "--savepoint")
            assert code == 0, err
            assert out.startswith("told: CANCELLED with savepoint /")
            FolderLock(tmp_path / "job", "told").release()  # it is free when the command says so
            assert job.wait() == 0
            assert f"ended with savepoint {out.split()[-1]}" in job.stdout
        numbers = [each["n"] for each in shown(tmp_path)]
        assert sorted(numbers) == list(range(len(numbers))), "all of it, and nothing behind it"
    check(tmp_path, finish(tmp_path))


def test_drained_all_results_are_there(tmp_path: Path) -> None:
    with running(tmp_path) as job:
        job.wait_for("resumed from None")
        wait_for_records(tmp_path, job)
        code, out, err = told(tmp_path, "stop", "--drain")
        assert code == 0, err
        assert out.startswith("told: COMPLETED with savepoint /")
        assert job.wait() == 0
        assert "consistent: in = out" in job.stdout
    check(tmp_path, len(shown(tmp_path)))


def test_from_an_older_savepoint_all_behind_it_is_done_again(tmp_path: Path) -> None:
    with running(tmp_path) as job:
        job.wait_for("resumed from None")
        wait_for_records(tmp_path, job)
        path = told(tmp_path, "savepoint", "trigger")[1].split()[2]
        wait_for_records(tmp_path, job)  # it may be that only what the savepoint names has appeared
        wait_for_records(tmp_path, job)
        job.send(signal.SIGKILL)
        job.wait()
    before = Counter(each["n"] for each in shown(tmp_path))
    until = finish(tmp_path, FROM_SAVEPOINT=path)
    records = Counter(each["n"] for each in shown(tmp_path))
    again = records - before
    first = min(again)
    assert 0 < first < max(before), "it goes on in the middle of what has appeared"
    assert again == Counter(range(first, until)), "and does all behind that once more"
    totals = [json.loads(line) for line in (tmp_path / "totals.jsonl").read_text().splitlines()]
    assert sum(each["n"] for each in totals) == until


@pytest.mark.parametrize("point", POINTS)
def test_killed_while_it_stops_with_a_savepoint_it_goes_on_and_is_right(
    point: str, tmp_path: Path
) -> None:
    with running(tmp_path, KILL_AT=point) as job:
        job.wait_for("resumed from None")
        wait_for_records(tmp_path, job)
        (tmp_path / "armed").touch()
        code, out, err = told(tmp_path, "stop", "--savepoint")
        assert (code, out) == (1, "")
        assert "the process of job 'told' ended before it had answered" in err
        assert job.wait() == -signal.SIGKILL
    (tmp_path / "armed").unlink()
    assert (tmp_path / "job/control.sock").is_socket(), "it was left by the kill"
    code, _, err = told(tmp_path, "status")
    assert (code, err.partition(" in ")[0]) == (2, "error: job 'told' is not running")
    until = finish(tmp_path)
    check(tmp_path, until)
    assert not (tmp_path / "job/control.sock").exists()
    saved = told(tmp_path, "savepoint", "list")[1]
    assert ("the job stopped with it" in saved) == (point in SAVED)
