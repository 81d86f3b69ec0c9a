"""``make soak``: it kills and counts, and finds what is lost or there twice."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from scripts.soak import Verdict, verify
from scripts.soak_job import KEYS
from tests.acceptance.process import REPOSITORY

RECORDS = 2 * KEYS


def test_a_short_soak_loses_nothing_and_says_what_it_did() -> None:
    command = [sys.executable, "-m", "scripts.soak", "--minutes", "0.15", "--seed", "1"]
    done = subprocess.run(
        command, cwd=REPOSITORY, env=os.environ, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    told = dict(line.split(maxsplit=1) for line in done.stdout.splitlines()[1:])
    assert int(told["records"].removeprefix("in").replace(",", "")) > 0
    assert int(told["kills"]) > 0
    assert told["duplicates"] == told["lost"] == "0"
    assert "median" in told["recovery"]


def write(folder: Path, numbers: list[int]) -> None:
    """Write what a run of those records would leave behind."""
    (folder / "end").write_text(str(RECORDS))
    (folder / "parts").mkdir()
    lines = "".join(json.dumps({"n": n}) + "\n" for n in numbers)
    (folder / "parts" / "part-1.jsonl").write_text(lines)
    with closing(sqlite3.connect(folder / "out.db")) as connection, connection:
        connection.execute("CREATE TABLE appended (n)")
        connection.execute("CREATE TABLE totals (k, total, count)")
        connection.executemany("INSERT INTO appended VALUES (?)", [(n,) for n in numbers])
        for key in range(KEYS):
            own = [n for n in numbers if n % KEYS == key]
            row: tuple[Any, ...] = (key, sum(own), len(own))
            connection.execute("INSERT INTO totals VALUES (?, ?, ?)", row)


@pytest.mark.parametrize(
    ("numbers", "duplicates", "lost"),
    [
        ([*range(RECORDS)], 0, 0),
        ([*range(RECORDS), 7], 2 + 1, 0),  # in two sinks, and a total that is too large
        ([*range(RECORDS - 1)], 0, 2 + 1),
    ],
)
def test_what_is_lost_or_there_twice_is_counted(
    tmp_path: Path, numbers: list[int], duplicates: int, lost: int
) -> None:
    write(tmp_path, numbers)
    assert verify(tmp_path) == Verdict(RECORDS, duplicates, lost)
