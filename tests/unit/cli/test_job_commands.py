"""The commands that reach a running job: what they print, and what they end with."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from millstream.cli import job_commands
from millstream.cli.app import command
from millstream.control.job_socket import ask
from tests.support.stepping import wait_until
from tests.unit.control.running import ENDLESS, Running, generator, make_job
from tests.unit.control.test_job_control import Block, damage


@pytest.fixture
def millstream(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["millstream", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            command()
        out, err = capsys.readouterr()
        return int(str(end.value.code or 0)), out, err

    return run


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    """A job in the folder where its name alone finds it."""
    job = make_job(tmp_path / "out", generator(ENDLESS))
    with Running(job, tmp_path / ".millstream" / "job") as running:
        yield running


@pytest.mark.usefixtures("running")
def test_checkpoints_and_savepoints_are_printed_with_where_they_are(
    millstream: Any, tmp_path: Path
) -> None:
    folder = tmp_path / ".millstream/job"
    code, out, _ = millstream("checkpoints", "trigger", "job")
    assert code == 0
    assert out.startswith(f"checkpoint 1: {folder}/checkpoints/job/chk-1 (")
    code, out, _ = millstream("savepoint", "trigger", "job")
    assert code == 0
    assert out.startswith(f"savepoint 2: {folder}/savepoints/sp-2 (")
    code, out, _ = millstream("savepoint", "trigger", "job", "--to", "mine")
    assert out.startswith(f"savepoint 3: {tmp_path}/mine/sp-3-job (")
    code, out, _ = millstream("savepoint", "list", "job")
    assert [line.split()[0] for line in out.splitlines()] == ["3", "2"]


@pytest.mark.usefixtures("running")
def test_the_status_is_printed(millstream: Any) -> None:
    code, out, _ = millstream("status", "job")
    assert code == 0
    assert out.splitlines() == [
        "job: RUNNING",
        "  execution job-1-run-1",
        "  began anew",
        "  checkpoints: 0 completed, 0 failed, the last complete one is none",
        "  savepoints: 0",
    ]


@pytest.mark.parametrize(
    ("options", "printed"),
    [
        ([], "job: CANCELLED\n"),
        (["--savepoint"], "job: CANCELLED with savepoint {}/.millstream/job/savepoints/sp-1\n"),
        (["--drain"], "job: COMPLETED with savepoint {}/.millstream/job/savepoints/sp-1\n"),
        (["--savepoint", "--to", "x"], "job: CANCELLED with savepoint {}/x/sp-1-job\n"),
    ],
)
def test_stop_prints_how_the_job_has_ended(
    options: list[str], printed: str, millstream: Any, tmp_path: Path, running: Running
) -> None:
    code, out, _ = millstream("stop", "job", *options)
    assert (code, out) == (0, printed.format(tmp_path))
    assert running.result().status.value in out


@pytest.mark.parametrize(
    "arguments",
    [
        ["status"],
        ["stop"],
        ["stop", "--drain"],
        ["checkpoints", "trigger"],
        ["savepoint", "trigger"],
    ],
)
def test_a_job_that_does_not_run_is_one_line_and_exit_code_2(
    arguments: list[str], millstream: Any, tmp_path: Path
) -> None:
    code, out, err = millstream(*arguments, "job", "--folder", str(tmp_path / "nowhere"))
    assert (code, out) == (2, "")
    assert err.startswith(f"error: there is no folder {tmp_path}/nowhere of job 'job'")
    code, out, err = millstream(*arguments, "job", "--folder", str(tmp_path))
    assert (code, out) == (2, "")
    assert err.startswith("error: job 'job' is not running in ")
    assert len(err.splitlines()) == 1


def test_a_list_of_savepoints_needs_the_jobs_folder(millstream: Any, tmp_path: Path) -> None:
    code, _, err = millstream("savepoint", "list", "job")
    assert (code, err.partition(";")[0]) == (2, "error: no job 'job' in .millstream/job")
    (tmp_path / "job.py").write_text(
        'import millstream as ms\njob = ms.Job("other")\n'
        'job.source("sequence", stop=1, uid="n").sink("blackhole", uid="out")\n'
    )
    assert millstream("run", "job.py", "--folder", "f")[0] == 0
    code, _, err = millstream("savepoint", "list", "job", "--folder", "f")
    assert (code, err) == (2, "error: the folder f is not that of job 'job'\n")


def test_to_without_a_savepoint_is_refused(millstream: Any) -> None:
    code, _, err = millstream("stop", "job", "--to", "x")
    assert code == 2
    assert err == "error: --to is where the savepoint goes: say --savepoint as well\n"


def test_what_the_job_refuses_is_exit_code_1_and_the_job_goes_on(
    millstream: Any, tmp_path: Path
) -> None:
    folder = tmp_path / ".millstream" / "job"
    block = Block("durable", lambda: damage(folder))
    block.go_on.set()
    job = make_job(tmp_path / "out", generator(ENDLESS))
    with Running(job, folder, faults=block) as running:
        code, out, err = millstream("stop", "job", "--savepoint")
        assert (code, out) == (1, "")
        assert "error: job 'job': savepoint 1 of job 'job' cannot be restored" in err
        assert running.ask("status")["status"] == "RUNNING"


def test_ctrl_c_while_waiting_leaves_the_job_alone(
    millstream: Any, monkeypatch: pytest.MonkeyPatch, running: Running
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(job_commands, "ask", interrupted)
    code, out, err = millstream("stop", "job", "--savepoint")
    assert (code, out) == (130, "")
    assert err == "not waited for: the job goes on with what it was asked for\n"
    assert running.ask("status")["ok"]


@pytest.mark.parametrize("choice", ["--resume", "--fresh"])
def test_from_savepoint_and_another_choice_are_refused(
    choice: str, millstream: Any, tmp_path: Path
) -> None:
    (tmp_path / "job.py").write_text('import millstream as ms\njob = ms.Job("job")\n')
    code, _, err = millstream("run", "job.py", "--from-savepoint", "1", choice)
    assert code == 2
    assert "--from-savepoint says what to go on from" in err


@pytest.mark.parametrize(
    ("request_", "code", "last"),
    [({}, 130, "stopped\n"), ({"savepoint": True}, 130, "stopped\n"), ({"drain": True}, 0, "")],
)
def test_a_run_that_is_stopped_ends_as_one_that_is_interrupted_unless_it_is_drained(
    request_: dict[str, bool], code: int, last: str, millstream: Any, tmp_path: Path
) -> None:
    (tmp_path / "job.py").write_text(
        'import millstream as ms\njob = ms.Job("told")\n'
        'job.source("sequence", stop=None, rate=1000, uid="n").sink("blackhole", uid="out")\n'
    )

    def stop() -> None:
        wait_until((tmp_path / "folder/control.sock").exists, "the job")
        ask(tmp_path / "folder", "told", {"command": "stop", **request_})

    stopping = threading.Thread(target=stop)
    stopping.start()
    ended_with, _, err = millstream("run", "job.py", "--folder", "folder")
    stopping.join(30)
    assert ended_with == code
    assert err.endswith(last)
    assert ("ended with savepoint" in err) == bool(request_)
