"""What the command line shows of a run, and what it ends with."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.acceptance.process import MILLSTREAM, Program, job_file

THE_LINE = '100 // order["amount"]'
PER_RECORD = ["map", "lambda", "flat_map", "map_async", "sink", "async sink"]
WITH_A_LINE = [*PER_RECORD, "batch sink", "source", "async source"]
UID = {"sink": "out", "batch sink": "out", "async sink": "out"} | {
    "source": "orders",
    "async source": "orders",
}


def fail(kind: str, folder: Path, *, as_script: bool = False) -> str:
    with job_file("failing", folder, as_script=as_script, OPERATOR=kind) as running:
        assert running.wait() == 1
        assert not running.stdout
        return running.stderr


@pytest.mark.parametrize("kind", WITH_A_LINE)
def test_a_failure_shows_the_users_own_line_and_the_operator(kind: str, tmp_path: Path) -> None:
    stderr = fail(kind, tmp_path)
    assert THE_LINE in stderr
    assert "ZeroDivisionError" in stderr
    assert f"'{UID.get(kind, 'price')}'" in stderr.splitlines()[-1]
    assert "prices: FAILED in" in stderr
    traceback = stderr.partition("Traceback (most recent call last):\n")[2]
    assert 'failing.py", line ' in traceback.splitlines()[0]  # no frame of ours before it


@pytest.mark.parametrize("kind", PER_RECORD)
def test_a_failure_shows_the_record_and_its_position(kind: str, tmp_path: Path) -> None:
    last = fail(kind, tmp_path, as_script=True).splitlines()[-1]
    assert last.startswith("error: ")
    assert "record {'n': 530, 'amount': 0} at 500 + 30 records" in last


def test_a_failing_expression_shows_the_field_and_the_record(tmp_path: Path) -> None:
    assert "{'n': 530, 'amount': 0}" in fail("expression", tmp_path / "1").splitlines()[-1]
    assert "'amuont'" in fail("field", tmp_path / "2").splitlines()[-1]


@pytest.mark.parametrize("as_script", [False, True], ids=["millstream run", "python job.py run"])
def test_a_completed_run_ends_with_0_and_shows_that_its_counts_agree(
    as_script: bool, tmp_path: Path
) -> None:
    with job_file("losing", tmp_path, as_script=as_script, FAULT="none") as running:
        assert running.wait() == 0
        assert "counted: COMPLETED in" in running.stderr
        assert "consistent: in = out + filtered at every operator, both ends of" in running.stderr
        assert not running.stdout
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 20_000


@pytest.mark.parametrize("as_script", [False, True], ids=["millstream run", "python job.py run"])
@pytest.mark.parametrize("fault", ["lost", "doubled"])
def test_a_chunk_lost_or_doubled_inside_the_engine_ends_with_3_and_without_a_file(
    fault: str, as_script: bool, tmp_path: Path
) -> None:
    with job_file("losing", tmp_path, as_script=as_script, FAULT=fault) as running:
        assert running.wait() == 3
        assert "INCONSISTENT: " in running.stderr
        assert {"lost": "missing", "doubled": "too many"}[fault] in running.stderr
        assert "FAILED" in running.stderr
    assert not (tmp_path / "out.jsonl").exists()


WRONG = {
    "no such file": (None, "no job file 'job.py'"),
    "no job in it": ("x = 1\n", "defines no job"),
    "a graph that cannot run": (
        "import millstream as ms\njob = ms.Job('j')\njob.source(ms.sequence.source(3), uid='s')\n",
        "has no sink",
    ),
    "a refused option": (
        "import millstream as ms\njob = ms.Job('j', parallelism=4)\n",
        "parallelism",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_job_that_cannot_run_ends_with_2(case: str, tmp_path: Path) -> None:
    text, message = WRONG[case]
    if text is not None:
        (tmp_path / "job.py").write_text(text)
    with Program([str(MILLSTREAM), "run", "job.py"], tmp_path) as running:
        assert running.wait() == 2
        assert running.stderr.startswith("error: ")
        assert message in running.stderr
        assert "Traceback" not in running.stderr


def test_a_sink_may_have_standard_output_to_itself(tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text(
        "import millstream as ms\n"
        "job = ms.Job('j')\n"
        "job.source(ms.sequence.source(3), uid='s').sink(print, uid='out')\n"
    )
    with Program([str(MILLSTREAM), "run", "job.py"], tmp_path) as running:
        assert running.wait() == 0
        assert running.stdout.split() == ["0", "1", "2"]
        assert "COMPLETED" in running.stderr


PRINTS = "import millstream as ms\njob = ms.Job('j')\n" + (
    "job.source('sequence', stop=100_000, uid='s').sink({sink}, uid='out')\n"
)
BUFFERING = pytest.mark.parametrize("buffering", ["0", "1"], ids=["buffered", "unbuffered"])


def ended_without_a_reader(folder: Path, buffering: str, *arguments: str) -> tuple[int, str]:
    """Return the exit code and standard error of a command of whose output one line is read."""
    environment = {**os.environ, "PYTHONUNBUFFERED": buffering.replace("0", "")}
    with subprocess.Popen(
        [str(MILLSTREAM), *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        if arguments[0] == "run":
            process.stdout.readline()
        process.stdout.close()
        stderr = process.stderr.read()
        return process.wait(60), stderr


@BUFFERING
@pytest.mark.parametrize("sink", ["print", "ms.console.sink()"])
def test_a_job_whose_output_is_cut_by_head_ends_with_141_and_says_so_without_a_traceback(
    sink: str, buffering: str, tmp_path: Path
) -> None:
    (tmp_path / "job.py").write_text(PRINTS.format(sink=sink))
    code, stderr = ended_without_a_reader(tmp_path, buffering, "run", "job.py")
    assert code == 141
    assert stderr.startswith("j: FAILED in ")
    last = stderr.splitlines()[-1]
    assert last.startswith("error: sink 'out' failed on ")
    assert last.endswith("BrokenPipeError: [Errno 32] Broken pipe")
    assert "Traceback" not in stderr
    assert "Exception ignored" not in stderr


@BUFFERING
@pytest.mark.parametrize("arguments", [("explain", "job.py"), ("version",)])
def test_what_nobody_reads_ends_with_141_and_without_a_word(
    arguments: tuple[str, ...], buffering: str, tmp_path: Path
) -> None:
    (tmp_path / "job.py").write_text(PRINTS.format(sink="print"))
    assert ended_without_a_reader(tmp_path, buffering, *arguments) == (141, "")


def test_a_broken_pipe_that_is_not_standard_output_fails_as_any_error_does(tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text(
        "def send(record):\n    raise BrokenPipeError('the server went away')\n\n"
        + PRINTS.format(sink="send")
    )
    with Program([str(MILLSTREAM), "run", "job.py"], tmp_path) as running:
        assert running.wait() == 1
        assert "in send" in running.stderr


@pytest.mark.parametrize(("sink", "code"), [("'blackhole'", 0), ("lambda n: 1 // 0", 1)])
def test_a_report_that_nobody_reads_does_not_change_how_the_job_ends(
    sink: str, code: int, tmp_path: Path
) -> None:
    (tmp_path / "job.py").write_text(PRINTS.format(sink=sink))
    with subprocess.Popen(
        [str(MILLSTREAM), "run", "job.py"], cwd=tmp_path, stderr=subprocess.PIPE
    ) as process:
        assert process.stderr is not None
        process.stderr.close()
        assert process.wait(60) == code


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full disk to write to")
def test_output_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text(PRINTS.format(sink="print"))
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [str(MILLSTREAM), "explain", "job.py"],
            cwd=tmp_path,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.startswith("error: standard output cannot be written: OSError: ")
    assert len(done.stderr.splitlines()) == 1
