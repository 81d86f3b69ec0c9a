"""A job file with exact sinks, as a user writes it: ``millstream run``, ``kill -9``, again."""

from __future__ import annotations

import json
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

from tests.acceptance.process import MILLSTREAM, Program, wait_until

RECORDS = 3000
JOB = f"""
import millstream as ms

job = ms.Job("numbers", checkpoint_interval="50ms")
numbers = job.source(ms.sequence.source({RECORDS}, rate=1500), uid="numbers")
records = numbers.map(lambda n: {{"k": n % 3, "n": n}})
records.sink(ms.jsonl.sink(folder="parts", roll_every=100), uid="parts")
totals = records.key_by("k").aggregate(total=ms.sum("n"), uid="totals")
totals.sink(ms.sqlite.sink("out.db", "totals", key=["k"]), uid="table")
"""


def test_a_job_file_that_is_killed_goes_on_by_the_same_command(tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text(JOB)
    command = [str(MILLSTREAM), "run", "job.py"]
    for kill in range(1, 3):
        with Program(command, tmp_path) as running:
            before = len(parts(tmp_path))
            wait_until(lambda: len(parts(tmp_path)) > before + 1, "parts", running)  # noqa: B023  # at once
            running.send(signal.SIGKILL)
            assert running.wait() == -signal.SIGKILL
        assert ("goes on from checkpoint" in running.stderr) is (kill > 1)
    with Program(command, tmp_path) as running:
        assert running.wait() == 0, running.stderr
    assert "goes on from checkpoint" in running.stderr
    lines = [line for part in parts(tmp_path) for line in part.read_text().splitlines()]
    assert sorted(json.loads(line)["n"] for line in lines) == list(range(RECORDS))
    with closing(sqlite3.connect(tmp_path / "out.db")) as connection:
        rows = connection.execute("SELECT k, total FROM totals ORDER BY k").fetchall()
    assert rows == [(k, sum(range(k, RECORDS, 3))) for k in range(3)]


def parts(folder: Path) -> list[Path]:
    return [*folder.glob("parts/part-*.jsonl")]
