"""What the job of ``programs/exact.py`` leaves behind, compared with what it is when recomputed."""

from __future__ import annotations

import itertools
import json
import sqlite3
from collections import Counter, defaultdict
from contextlib import closing
from pathlib import Path
from typing import Any

from millstream.core.job_status import JobStatus
from millstream.storage.metadata.records import CheckpointStatus
from millstream.storage.metadata.store import open_metadata
from tests.acceptance.programs.exact import BATCH, GROUP, KEYS, LONG, SHORT

NUMBERS = [*range(LONG), *range(1000, 1000 + SHORT)]
BATCHES = LONG // BATCH  # at least so many checkpoints have records of every sink


def query(folder: Path, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(folder / "out.db")) as connection:
        return connection.execute(sql).fetchall()


def parts(folder: Path) -> list[dict[str, Any]]:
    """Return the records that a reader of the folder sees."""
    files = sorted((folder / "parts").glob("part-*.jsonl"))
    texts = [file.read_text("utf-8") for file in files]
    assert all(1 <= text.count("\n") <= 3 for text in texts), "roll_every is kept"
    return [json.loads(line) for text in texts for line in text.splitlines()]


def check_results(folder: Path) -> None:
    """Check that every sink has each record once, and nothing else."""
    numbers: dict[str, list[int]] = defaultdict(list)
    for number in NUMBERS:
        numbers[f"k{number % KEYS}"].append(number)
    appended = query(folder, "SELECT k, total, count FROM appended ORDER BY rowid")
    shown = parts(folder)
    assert Counter(each["n"] for each in shown if "n" in each) == Counter(NUMBERS)
    sums: dict[int, int] = defaultdict(int)
    for number in NUMBERS:
        sums[number // GROUP] += number
    emitted = [(each["group"], each["sum"]) for each in shown if "sum" in each]
    assert sorted(emitted) == sorted(sums.items()), "each timer has emitted once, all of its group"
    for key, own in numbers.items():
        rows = [(total, count) for k, total, count in appended if k == key]
        assert [count for _, count in rows] == list(range(1, len(own) + 1)), "each once, in order"
        totals = [0, *(total for total, _ in rows)]
        added = [after - before for before, after in itertools.pairwise(totals)]
        assert sorted(added) == own, "the keyed state is exact"
    assert query(folder, "SELECT k, total, count FROM upserted ORDER BY k") == [
        (key, sum(own), len(own)) for key, own in sorted(numbers.items())
    ]


def check_nothing_is_staged(folder: Path) -> None:
    """Check that no sink and no checkpoint has left anything half done."""
    assert not list((folder / "parts").glob(".*.tmp"))
    assert query(folder, "SELECT count(*) FROM _millstream_staged") == [(0,)]
    names = {each.name for each in (folder / "job/checkpoints/exact").iterdir()}
    assert all(name.startswith("chk-") for name in names), names


def check_metadata(folder: Path, killed: int) -> None:
    """Check what is written down of a job that completed after so many kills of its runs."""
    with open_metadata(folder / "job" / "metadata.db") as store:
        job = store.jobs.get("exact")
        assert job is not None
        executions = store.executions.of_job(job.id)
        assert executions[0].status is JobStatus.COMPLETED
        assert {each.status for each in executions[1:]} <= {JobStatus.FAILED}
        # One that was killed before it was written down has left none; its epoch is used up.
        assert len(executions) <= killed + 1
        epochs = [int(each.execution_id.rpartition("-")[2]) for each in executions]
        assert epochs == sorted(set(epochs), reverse=True)
        assert not store.executions.unfinished(job.id)
        assert store.leases.current(job.id) is None
        assert not store.checkpoints.of_job(job.id, status=CheckpointStatus.IN_PROGRESS)
        rows = store.checkpoints.of_job(job.id, status=CheckpointStatus.SUCCESS)
        kept = {f"chk-{row.checkpoint_id}" for row in rows if not row.savepoint}
    assert kept == {each.name for each in (folder / "job/checkpoints/exact").iterdir()}
    assert len(kept) <= 2


def check(folder: Path, killed: int) -> None:
    """Check everything, after the last run has completed."""
    assert "consistent: in = out + filtered" in (folder / "stdout").read_text()
    check_results(folder)
    check_nothing_is_staged(folder)
    check_metadata(folder, killed)
