"""Ctrl-C, SIGTERM, a failure: from wherever it stands, a process ends in time and says why."""

from __future__ import annotations

import signal
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.acceptance.process import MILLSTREAM, PROGRAMS, Program, job_file, program

GRACE_S = 1  # the programs' own
SLACK_S = 10  # for starting and ending a process on a busy machine

STUCK = {
    "opening": "sink out",
    "sink": "sink out",
    "flushing": "sink out",
    "finishing": "sink out",
    "closing": "sink out",
    "source": "source in",
    "engine": "engine (operator 'op')",
    "process closing": "engine (operator 'process')",
    "loop": "event loop (operator 'async')",
    "deaf": "event loop (operator 'async')",
    "to_thread": "event loop",
}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("as_script", [False, True], ids=["millstream run", "python job.py run"])
@pytest.mark.parametrize("place", ["working", "async source", "waiting calls"])
def test_a_signal_ends_what_can_be_ended_at_once(
    place: str, as_script: bool, number: signal.Signals, tmp_path: Path
) -> None:
    with job_file("ending", tmp_path, as_script=as_script, PLACE=place, GRACE="30s") as running:
        running.wait_for("there")
        running.send(number)
        began_s = time.monotonic()
        assert running.wait() == 130
        assert time.monotonic() - began_s < SLACK_S
        assert f"{place}: CANCELLED in" in running.stderr
        assert "not reconciled" in running.stderr
        assert "Traceback" not in running.stderr


@dataclass(frozen=True)
class End:
    """How a process ended: its exit code, the seconds that took, and its last words."""

    code: int
    seconds: float
    stderr: str


@pytest.fixture(scope="module")
def ends(tmp_path_factory: pytest.TempPathFactory) -> dict[str, End]:
    """Interrupt a job in each place where it cannot end; some at a time, for they mostly wait."""

    def interrupt(place: str) -> End:
        with job_file("ending", tmp_path_factory.mktemp("stuck"), PLACE=place) as running:
            running.wait_for("there")
            running.send(signal.SIGINT)
            began_s = time.monotonic()
            code = running.wait()
            return End(code, time.monotonic() - began_s, running.stderr)

    with ThreadPoolExecutor(4) as pool:
        return dict(zip(STUCK, pool.map(interrupt, STUCK), strict=True))


@pytest.mark.parametrize("place", STUCK)
def test_a_signal_ends_what_is_stuck_after_its_grace_with_its_stack(
    place: str, ends: dict[str, End]
) -> None:
    end = ends[place]
    assert end.code == 1
    assert GRACE_S * 0.9 < end.seconds < GRACE_S + SLACK_S
    assert f"did not end within its grace of {GRACE_S} s" in end.stderr
    assert f"still running: {STUCK[place]}." in end.stderr
    standing = "await asyncio.sleep(3600)" if place == "deaf" else "select.select"
    assert standing in end.stderr  # the user's own line


@pytest.mark.parametrize("place", ["sink", "source", "engine", "loop", "to_thread", "deaf"])
def test_a_second_signal_ends_the_process_at_once(place: str, tmp_path: Path) -> None:
    with job_file("ending", tmp_path, PLACE=place, GRACE="1h") as running:
        running.wait_for("there")
        running.send(signal.SIGINT)
        time.sleep(0.5)
        assert running.running
        running.send(signal.SIGINT)
        began_s = time.monotonic()
        assert running.wait() == 130
        assert time.monotonic() - began_s < SLACK_S


def test_a_failure_ends_a_job_whose_source_blocks_for_ever_and_both_are_told(
    tmp_path: Path,
) -> None:
    with job_file("ending", tmp_path, PLACE="failing") as running:
        assert running.wait() == 1
        assert "ValueError: the sink's own failure" in running.stderr
        assert "still running: source in." in running.stderr
        assert "select.select" in running.stderr


def test_threads_of_the_jobs_own_do_not_keep_an_interrupted_process(tmp_path: Path) -> None:
    with job_file("ending", tmp_path, PLACE="threads of its own") as running:
        running.wait_for("there")
        running.send(signal.SIGINT)
        began_s = time.monotonic()
        assert running.wait() == 130
        assert time.monotonic() - began_s < GRACE_S + SLACK_S
        assert "CANCELLED" in running.stderr
        assert "did not end within 1 s: its own." in running.stderr
        assert "select.select" in running.stderr


@pytest.mark.parametrize("place", ["working", "async source", "waiting calls"])
def test_inside_a_program_nothing_is_left_of_a_cancelled_run(place: str, tmp_path: Path) -> None:
    with program("embedding", tmp_path, PLACE=place) as running:
        running.wait_for("there")
        running.send(signal.SIGINT)
        assert running.wait() == 0, running.stderr
        before, raised, after = (
            next(line for line in running.stdout.splitlines() if line.startswith(start))
            for start in ("before", "raised", "after")
        )
    assert raised == "raised KeyboardInterrupt"
    assert after.removeprefix("after") == before.removeprefix("before")


@pytest.mark.parametrize("place", ["sink", "source", "engine", "loop"])
def test_inside_a_program_only_what_is_stuck_is_left(place: str, tmp_path: Path) -> None:
    with program("embedding", tmp_path, PLACE=place) as running:
        running.wait_for("there")
        running.send(signal.SIGINT)
        assert running.wait() == 0, running.stderr
        after = next(line for line in running.stdout.splitlines() if line.startswith("after"))
        assert "raised StuckError" in running.stdout
        assert "select.select" in running.stderr
    stuck = {"sink": "sink out", "source": "source in", "engine": "engine", "loop": "loop"}
    assert f"['millstream-{stuck[place]}']" in after
    assert "gc=True" in after
    assert "default_int_handler" in after


@pytest.mark.parametrize("ignored", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_was_ignored_as_the_process_began_stays_ignored(
    ignored: signal.Signals, tmp_path: Path
) -> None:
    other = signal.SIGTERM if ignored is signal.SIGINT else signal.SIGINT
    shell = ["sh", "-c", f"trap '' {ignored.name[3:]}; exec \"$@\"", "sh"]
    command = [*shell, str(MILLSTREAM), "run", str(PROGRAMS / "ending.py")]
    with Program(command, tmp_path, PLACE="working", GRACE="30s") as running:
        running.wait_for("there")
        running.send(ignored)
        time.sleep(1)
        assert running.running, running.stderr
        running.send(other)
        assert running.wait() == 130
        assert "CANCELLED" in running.stderr


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("held", True),
        ("dropped", True),
        ("waited for in a daemon", True),
        ("waited for in a thread", False),
        ("waited for", False),
        ("ended", False),
    ],
)
def test_a_process_that_ends_before_its_job_says_so(how: str, told: bool, tmp_path: Path) -> None:
    with program("unwaited", tmp_path, HOW=how) as running:
        assert running.wait() == 0
        assert "there" in running.stdout
        if told:
            assert "job.abandoned" in running.stderr
            assert "'left alone'" in running.stderr
            assert "call wait()" in running.stderr
        else:
            assert running.stderr == ""


def test_no_child_process_is_ever_started(tmp_path: Path) -> None:
    with job_file("ending", tmp_path, PLACE="waiting calls") as running:
        running.wait_for("there")
        assert not psutil.Process(running.watched.pid).children(recursive=True)
        running.send(signal.SIGTERM)
        assert running.wait() == 130
