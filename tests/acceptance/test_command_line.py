"""What the command line shows of a run, and what it ends with."""

from __future__ import annotations

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
    assert sorted(each.name for each in tmp_path.iterdir()) == ["stderr", "stdout"]


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
