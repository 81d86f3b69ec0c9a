"""Exact sinks against plain ones: part folders against one file, SQLite against executemany."""

from __future__ import annotations

import sqlite3
import tempfile
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

import millstream as ms
from bench import data
from bench.cycled import warm_up_in_folder
from bench.data import Answer
from bench.jobs import Run

INTERVAL = "250ms"  # a run takes about a second: several checkpoints are in it
BATCH = 1024
COLUMNS = ["id", "user", "price", "quantity"]


def _job(records: int, sink: Any, interval: str | None) -> ms.Job:
    job = ms.Job("orders", checkpoint_interval=interval)
    job.source(ms.collection.source(data.orders(records)), uid="source").sink(sink, uid="sink")
    return job


def plain_file(records: int) -> Run:
    """Write one file, in a run without checkpoints."""
    folder = tempfile.TemporaryDirectory()
    path = Path(folder.name) / "out.jsonl"
    job = _job(records, ms.jsonl.sink(path), None)
    warm_up_in_folder()

    def timed() -> Answer:
        with folder:
            ms.run(job)
            return [_lines(path), path.stat().st_size]

    return timed


def part_files(records: int) -> Run:
    """Write parts that appear with each checkpoint."""
    folder = tempfile.TemporaryDirectory()
    parts = Path(folder.name) / "parts"
    job = _job(records, ms.jsonl.sink(folder=parts), INTERVAL)
    warm_up_in_folder()

    def timed() -> Answer:
        with folder:
            ms.run(job, folder=Path(folder.name) / "job")
            files = list(parts.glob("part-*"))
            return [sum(map(_lines, files)), sum(each.stat().st_size for each in files)]

    return timed


def executemany(records: int) -> Run:
    """Insert with the driver alone, a transaction for all."""
    folder = tempfile.TemporaryDirectory()
    path = Path(folder.name) / "out.db"
    orders = data.orders(records)

    def timed() -> Answer:
        with folder:
            with closing(sqlite3.connect(path)) as connection:
                connection.execute(f"CREATE TABLE orders ({', '.join(COLUMNS)})")
                rows = iter(orders)
                while batch := list(islice(rows, BATCH)):
                    connection.executemany(
                        "INSERT INTO orders VALUES (?, ?, ?, ?)", map(_values, batch)
                    )
                connection.commit()
            return _table(path)

    return timed


def exact_table(records: int) -> Run:
    """Insert so that rows appear with each checkpoint."""
    folder = tempfile.TemporaryDirectory()
    path = Path(folder.name) / "out.db"
    job = _job(records, ms.sqlite.sink(path, table="orders"), INTERVAL)
    warm_up_in_folder()

    def timed() -> Answer:
        with folder:
            ms.run(job, folder=Path(folder.name) / "job")
            return _table(path)

    return timed


def _values(order: dict[str, Any]) -> tuple[Any, ...]:
    return tuple([order[name] for name in COLUMNS])


def _lines(path: Path) -> int:
    return path.read_bytes().count(b"\n")


def _table(path: Path) -> Answer:
    with closing(sqlite3.connect(path)) as connection:
        count, total = connection.execute("SELECT count(*), sum(price) FROM orders").fetchone()
    return [count, total]
