"""``millstream …``, and the command line that a job file is."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

import millstream as ms
from millstream.cli.app import command
from millstream.core.errors import ConfigError

JOB = """
import millstream as ms

job = ms.Job("orders")
job.source("sequence", stop=3, uid="n").sink("console", uid="screen")
other = ms.Job("other")
other.source("sequence", stop=1, uid="n").sink("console", uid="screen")

if __name__ == "__main__":
    ms.main(job)
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "orders_job.py").write_text(JOB)
    return tmp_path


@pytest.fixture
def millstream(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["millstream", *arguments])
        with pytest.raises(SystemExit) as end:
            command()
        out, err = capsys.readouterr()
        return int(str(end.value.code or 0)), out, err

    return run


@pytest.mark.parametrize(
    ("reference", "printed"),
    [
        ("orders_job.py", "0\n1\n2\n"),
        ("orders_job.py:other", "0\n"),
        ("orders_job", "0\n1\n2\n"),
        ("orders_job:other", "0\n"),
    ],
)
def test_run_runs_the_job_that_is_named(millstream: Any, reference: str, printed: str) -> None:
    code, out, err = millstream("run", reference)
    assert (code, out) == (0, printed)
    assert "COMPLETED" in err


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ([], "StreamGraph"),
        (["--format", "text"], "StreamGraph"),
        (["--format", "mermaid"], "flowchart"),
        (["-f", "json"], '"job": "orders"'),
        (["--format=svg"], "<svg"),
    ],
)
def test_explain_prints_what_would_run(millstream: Any, arguments: list[str], part: str) -> None:
    code, out, err = millstream("explain", "orders_job.py", *arguments)
    assert (code, err) == (0, "")
    assert part in out


def test_version_prints_the_version(millstream: Any) -> None:
    assert millstream("version") == (0, f"millstream {version('millstream')}\n", "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "missing.py"], "error: no job file 'missing.py'"),
        (["explain", "missing"], "error: no module 'missing'"),
        (["run", "orders_job.py:none"], "error: 'orders_job.py:none': 'none' is not there"),
        (["explain", "orders_job.py", "--format", "pdf"], "error: "),
        (["run"], "Missing argument 'JOB'"),
        (["run", "orders_job.py", "extra"], "unexpected extra argument"),
        (["run", "orders_job.py", "--parallelism", "2"], "No such option"),
        (["start", "orders_job.py"], "No such command 'start'"),
    ],
)
def test_a_wrong_call_is_exit_code_2_and_says_why(
    millstream: Any, arguments: list[str], message: str
) -> None:
    code, out, err = millstream(*arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert "Traceback" not in err


def test_without_arguments_the_commands_are_shown(millstream: Any) -> None:
    _, out, err = millstream()
    for name in ("run", "explain", "version"):
        assert name in out + err


def test_an_error_inside_the_job_file_is_its_own(millstream: Any, folder: Path) -> None:
    (folder / "broken_job.py").write_text("import not_installed_at_all\n")
    code, out, err = millstream("run", "broken_job.py")
    assert (code, out) == (1, "")
    assert err.splitlines() == [
        "Traceback (most recent call last):",
        f'  File "{folder / "broken_job.py"}", line 1, in <module>',
        "    import not_installed_at_all",
        "ModuleNotFoundError: No module named 'not_installed_at_all'",
        "'broken_job.py' failed while it was being loaded; no job was started",
    ]


def test_a_syntax_error_in_the_job_file_is_shown_where_it_is(millstream: Any, folder: Path) -> None:
    (folder / "broken_job.py").write_text("def f(:\n")
    (folder / "importing_job.py").write_text("import broken_job\n")
    for name, file, line in (
        ("run", "broken_job.py", 0), ("explain", "broken_job", 0), ("run", "importing_job.py", 3)
    ):  # fmt: skip
        code, out, err = millstream(name, file)
        assert (code, out) == (1, "")
        assert err.splitlines()[line] == f'  File "{folder / "broken_job.py"}", line 1'
        assert err.splitlines()[-2] == "SyntaxError: invalid syntax"


def test_a_job_file_without_a_guard_is_refused_and_runs_nothing(
    millstream: Any, folder: Path
) -> None:
    (folder / "eager_job.py").write_text(JOB.partition("if __name__")[0] + "ms.main(job)\n")
    for name in ("run", "explain"):
        code, out, err = millstream(name, "eager_job.py")
        assert (code, out) == (2, "")
        assert "put the call of millstream.main, run or start under" in err


def python(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_job_file_is_a_command_line(folder: Path) -> None:
    ran = python(folder, "orders_job.py", "run")
    assert (ran.returncode, ran.stdout) == (0, "0\n1\n2\n")
    assert "orders: COMPLETED" in ran.stderr


def test_run_as_a_module_it_shows_the_traceback_of_a_broken_job_file(folder: Path) -> None:
    (folder / "broken_job.py").write_text("import millstream\n\n1 / 0\n")
    ran = python(folder, "-m", "millstream", "run", "broken_job.py")
    assert ran.returncode == 1
    assert "ZeroDivisionError: division by zero" in ran.stderr
    assert 'broken_job.py", line 3, in <module>' in ran.stderr.splitlines()[1]


@pytest.fixture
def job_file(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    job = ms.Job("orders")
    job.source("sequence", stop=3, uid="n").sink("console", uid="screen")

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["orders_job.py", *arguments])
        with pytest.raises(SystemExit) as end:
            ms.main(job)
        out, err = capsys.readouterr()
        return int(str(end.value.code or 0)), out, err

    return run


def test_main_runs_and_explains_its_job(job_file: Any) -> None:
    assert job_file("run")[:2] == (0, "0\n1\n2\n")
    code, out, err = job_file("explain", "--format", "json")
    assert (code, err) == (0, "")
    assert '"job": "orders"' in out


@pytest.mark.parametrize("arguments", [["runn"], ["explain", "-f", "pdf"], ["run", "other.py"]])
def test_main_refuses_what_it_does_not_know(job_file: Any, arguments: list[str]) -> None:
    assert job_file(*arguments)[:2] == (2, "")


def test_main_without_arguments_names_its_job_and_commands(job_file: Any) -> None:
    _, out, err = job_file()
    for part in ("The job 'orders'", "run", "explain"):
        assert part in out + err


@pytest.mark.parametrize("name", ["[/red]", "[bold]", "50%", "\\[x]", ":tada:"])
def test_the_name_of_a_job_is_shown_as_it_is(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["job.py", "--help"])
    with pytest.raises(SystemExit):
        ms.main(ms.Job(name))
    assert f"The job {name!r}." in capsys.readouterr().out


@pytest.mark.parametrize("wrong", [None, "orders", ms.Job])
def test_main_takes_a_job(wrong: Any) -> None:
    with pytest.raises(ConfigError, match=r"main\(job\): expected a Job; got"):
        ms.main(wrong)
