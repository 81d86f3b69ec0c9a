"""The exact connectors in a run with a folder: as a user writes them, across a run that dies."""

from __future__ import annotations

import csv
import json
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import millstream as ms
from millstream.core.errors import FatalError

RECORDS = [{"user": f"u{n % 5}", "n": n} for n in range(40)]


class DiesError(Exception):
    """Stands for a kill: nothing is finished after it."""


def source(folder: Path, dies_at: int | None) -> Any:
    """Return a source of ``RECORDS`` that may die, when something has appeared."""

    def read(position: int | None) -> Iterator[tuple[Sequence[Any], int]]:
        for at in range(position or 0, len(RECORDS), 10):
            if at == dies_at:
                while not [*folder.glob("parts/part-*")]:
                    time.sleep(0.001)
                raise DiesError
            yield RECORDS[at : at + 10], at + 10

    return read


def job(folder: Path, dies_at: int | None = None) -> ms.Job:
    made = ms.Job("exact", checkpoint_interval="5ms")
    users = made.source(source(folder, dies_at), uid="in")
    users.sink(ms.jsonl.sink(folder=folder / "parts", roll_every=3), uid="parts")
    users.sink(ms.csv.sink(folder=folder / "rows"), uid="rows")
    users.sink(ms.sqlite.sink(folder / "out.db", "records"), uid="appended")
    totals = users.key_by("user").aggregate(total=ms.sum("n"), n=ms.count(), uid="totals")
    totals.sink(ms.sqlite.sink(folder / "out.db", "totals", key=["user"]), uid="upserted")
    return made


def query(folder: Path, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(folder / "out.db")) as connection:
        return connection.execute(sql).fetchall()


def check(folder: Path) -> None:
    lines = [
        json.loads(line)
        for part in (folder / "parts").glob("part-*.jsonl")
        for line in part.read_text("utf-8").splitlines()
    ]
    assert sorted(each["n"] for each in lines) == list(range(40))
    rows = []
    for part in (folder / "rows").glob("part-*.csv"):
        with part.open(newline="") as file:
            rows += [int(row["n"]) for row in csv.DictReader(file)]
    assert sorted(rows) == list(range(40))
    assert query(folder, "SELECT n FROM records ORDER BY rowid") == [(n,) for n in range(40)]
    assert query(folder, "SELECT user, total, n FROM totals ORDER BY user") == [
        (f"u{key}", sum(range(key, 40, 5)), 8) for key in range(5)
    ]
    assert query(folder, "SELECT count(*) FROM _millstream_staged") == [(0,)]
    assert not list(folder.glob("*/.*.tmp"))


def test_every_exact_connector_runs_in_a_folder_to_its_end(tmp_path: Path) -> None:
    ms.run(job(tmp_path), folder=tmp_path / "job")
    check(tmp_path)
    parts = [part.read_text().count("\n") for part in (tmp_path / "parts").glob("part-*.jsonl")]
    assert max(parts) == 3


def test_a_run_that_died_goes_on_and_every_sink_has_each_record_once(tmp_path: Path) -> None:
    with pytest.raises(FatalError) as caught:
        ms.run(job(tmp_path, dies_at=20), folder=tmp_path / "job")
    assert isinstance(caught.value.__cause__, DiesError)
    ms.run(job(tmp_path), folder=tmp_path / "job", resume=True)
    check(tmp_path)


def test_a_transactional_connector_without_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ms.errors.ConfigError, match="needs a folder"):
        ms.run(job(tmp_path))
