"""What the commands print, and the exit code that tells how it went."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import millstream as ms
from millstream.cli.commands import explain_job, run_job, show_version
from millstream.core.errors import ConfigError, InconsistentError, InternalError, SinkError


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # a run keeps its history in .millstream


def job_of(function: Callable[[int], Any] = int, **options: Any) -> ms.Job:
    job = ms.Job("orders", **options)
    numbers = job.source("sequence", start=1, stop=3, uid="n")
    numbers.map(function, uid="mapped").sink("console", uid="screen")
    return job


def ended(call: Callable[[], None], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Return the exit code, and what went to standard output and standard error."""
    code: Any = 0
    try:
        call()
    except SystemExit as end:
        code = end.code
    out, err = capsys.readouterr()
    return code, out, err


def test_the_report_goes_to_standard_error_and_leaves_standard_output_to_sinks(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, out, err = ended(lambda: run_job(job_of), capsys)
    assert (code, out) == (0, "1\n2\n")
    assert err.startswith("orders: COMPLETED in ")
    assert "consistent: in = out + filtered at every operator" in err


def test_a_failing_function_shows_its_own_traceback_first_and_then_the_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def divides_by_zero(n: int) -> float:
        return 1 / (n - 2)

    code, _, err = ended(lambda: run_job(lambda: job_of(divides_by_zero)), capsys)
    assert code == 1
    shown = err.partition("Traceback (most recent call last):\n")[2]
    first, second = shown.splitlines()[:2]
    assert first.endswith("in divides_by_zero")  # no frame of ours before it
    assert second == "    return 1 / (n - 2)"
    last = "error: operator 'mapped' failed on record 2 at "
    assert err.index("orders: FAILED") < err.index("ZeroDivisionError") < err.index(last)


@pytest.mark.parametrize("command", [run_job, lambda load: explain_job(load, "text")])
def test_what_is_the_users_to_fix_is_one_line_and_exit_code_2(
    command: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = ended(lambda: command(lambda: job_of(guarantee="exactly_once")), capsys)
    assert (code, out) == (2, "")
    assert err.startswith("error: job 'orders' asks for exactly_once")
    assert "Traceback" not in err

    def refuse() -> ms.Job:
        raise ConfigError("no job file 'x.py'")

    assert ended(lambda: command(refuse), capsys) == (2, "", "error: no job file 'x.py'\n")


@pytest.mark.parametrize("command", [run_job, lambda load: explain_job(load, "text")])
def test_an_error_of_the_job_file_itself_is_shown_without_our_frames(
    command: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken() -> ms.Job:
        raise LookupError("in the user's file")

    code, out, err = ended(lambda: command(broken), capsys)
    assert (code, out) == (1, "")
    first, second, *_, last = err.splitlines()
    assert first == "Traceback (most recent call last):"
    assert second.endswith("in broken")
    assert last == "LookupError: in the user's file"


@pytest.mark.parametrize("command", [run_job, lambda load: explain_job(load, "text")])
def test_an_error_of_a_description_is_shown_without_our_frames(
    command: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    class Described(ms.Sink[int]):
        def invoke(self, value: int, ctx: ms.SinkContext) -> None:
            pass

        def describe(self) -> dict[str, object]:
            raise LookupError("no such option")

    job = ms.Job("orders")
    job.source("sequence", stop=3, uid="n").sink(Described(), uid="out")
    code, _, err = ended(lambda: command(lambda: job), capsys)
    assert code == 1
    assert err.splitlines()[1].endswith("in describe")
    assert err.endswith("LookupError: no such option\n")


def test_an_error_of_ours_that_has_no_line_of_the_users_is_its_message_alone(
    capsys: pytest.CaptureFixture[str],
) -> None:
    job = ms.Job("orders")
    doubled = job.source("sequence", stop=3, uid="n").map(ms.col("amount") * 2, uid="doubled")
    doubled.sink("console", uid="screen")
    code, _, err = ended(lambda: run_job(lambda: job), capsys)
    assert code == 1
    assert "Traceback" not in err
    assert err.splitlines()[-1].startswith("error: operator 'doubled' failed on record 0 at ")


class Failing(ms.Sink[int]):
    def __init__(self, error: Exception) -> None:
        self.error = error

    def invoke(self, value: int, ctx: ms.SinkContext) -> None:
        raise self.error


def test_a_failing_sink_is_exit_code_1_with_its_cause(capsys: pytest.CaptureFixture[str]) -> None:
    job = ms.Job("orders")
    job.source("sequence", stop=3, uid="n").sink(Failing(OSError("disk full")), uid="out")
    code, _, err = ended(lambda: run_job(lambda: job), capsys)
    assert code == 1
    assert "OSError: disk full\n" in err
    assert err.rstrip().endswith("error: sink 'out' failed on record 0 at the beginning: "
                                 "OSError: disk full")  # fmt: skip


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InconsistentError("INCONSISTENT: 1 missing"), 3),
        (ConfigError("no such table"), 2),
        (SinkError("gone", operator_uid="out"), 1),
        (InternalError("ours"), 1),
    ],
)
def test_the_exit_code_tells_the_kind_of_error(
    error: Exception, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> ms.Job:
        raise error

    ended_with, _, err = ended(lambda: run_job(fail), capsys)
    assert ended_with == code
    assert err.rstrip().endswith(f"error: {error}")


def test_an_interrupt_before_the_job_has_started_is_exit_code_130(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupted() -> ms.Job:
        raise KeyboardInterrupt

    assert ended(lambda: run_job(interrupted), capsys) == (130, "", "cancelled\n")


@pytest.mark.parametrize("format", ["text", "mermaid", "json", "svg"])
def test_explain_prints_the_description(format: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = ended(lambda: explain_job(job_of, format), capsys)
    assert (code, err) == (0, "")
    assert out == ms.explain(job_of(), format) + "\n"


def test_explain_refuses_an_unknown_format_with_those_there_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, out, err = ended(lambda: explain_job(job_of, "pdf"), capsys)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert "svg" in err


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = ended(show_version, capsys)
    name, number = out.split()
    assert (code, err) == (0, "")
    assert name == "millstream"
    assert number[0].isdigit()
