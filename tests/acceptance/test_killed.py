"""A job that is killed by SIGKILL, anywhere, goes on and ends with what it would have had."""

from __future__ import annotations

import json
import random
import signal
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest

from millstream.core.job_status import JobStatus
from millstream.core.ports import FAULT_POINTS
from millstream.storage.metadata.records import CheckpointStatus
from millstream.storage.metadata.store import open_metadata
from tests.acceptance.process import program
from tests.acceptance.programs.durable import KEYS, LONG, SHORT

RECOVERY = {"restoring", "recover_and_commit", "recover_committed"}  # only in a later run
POINTS = [
    "trigger", "barrier", "task", "pre_commit", "pre_committed", "durable", "row", "completed",
    "commit", "committed", "publish",
]  # fmt: skip
OCCURRENCES = {"publish": (1,), "task": (1, 4, 9)}

NUMBERS = [*range(LONG), *range(10_000, 10_000 + SHORT)]


def run(folder: Path, **environment: str) -> int:
    with program("durable", folder, **environment) as running:
        return running.wait()


def finish(folder: Path) -> None:
    with program("durable", folder) as running:
        assert running.wait() == 0, running.stderr


def lines(*files: Path) -> list[Any]:
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def check(folder: Path) -> None:
    """Compare all results with what they are when computed again."""
    expected: dict[str, list[int]] = defaultdict(list)
    for number in NUMBERS:
        expected[f"k{number % KEYS}"].append(number)
    totals = {key: (sum(numbers), len(numbers)) for key, numbers in expected.items()}

    staged = lines(*(folder / "committed").iterdir())
    assert Counter(each["n"] for each in staged) == Counter(NUMBERS), "two-phase: exactly once"
    for key, numbers in expected.items():
        seen = sorted(each["seen"] for each in staged if each["k"] == key)
        assert seen == list(range(1, len(numbers) + 1)), "keyed state: exactly once"
    assert not list((folder / "staged").iterdir()), "nothing is left staged"

    result = lines(folder / "result")
    assert sorted(each["k"] for each in result) == sorted(totals), "one result per key"
    assert {each["k"]: (each["total"], each["count"]) for each in result} == totals

    last = {each["k"]: (each["total"], each["count"]) for each in lines(folder / "appended")}
    assert last == totals, "plain sink: the last line of each key is right"
    for key, (_, count) in totals.items():
        counts = {each["count"] for each in lines(folder / "appended") if each["k"] == key}
        assert counts == set(range(1, count + 1)), "plain sink: every line at least once"

    with open_metadata(folder / "job" / "metadata.db") as store:
        job = store.jobs.get("durable")
        assert job is not None
        newest = store.executions.newest(job.id)
        assert newest is not None
        assert newest.status is JobStatus.COMPLETED
        assert not store.executions.unfinished(job.id)
        assert store.leases.current(job.id) is None
        rows = store.checkpoints.of_job(job.id, status=CheckpointStatus.SUCCESS)
        assert not store.checkpoints.of_job(job.id, status=CheckpointStatus.IN_PROGRESS)
    kept = {f"chk-{row.checkpoint_id}" for row in rows}
    assert kept == {each.name for each in (folder / "job/checkpoints/durable").iterdir()}
    assert len(kept) <= 3


def test_a_run_that_nobody_kills_is_right_and_reaches_every_fault_point(tmp_path: Path) -> None:
    finish(tmp_path)
    check(tmp_path)
    assert set((tmp_path / "points").read_text().split()) == set(FAULT_POINTS) - RECOVERY


@pytest.mark.parametrize(
    ("point", "occurrence"),
    [(point, each) for point in POINTS for each in OCCURRENCES.get(point, (1, 3))],
)
def test_killed_at_a_fault_point_it_goes_on_and_is_right(
    point: str, occurrence: int, tmp_path: Path
) -> None:
    assert run(tmp_path, KILL_AT=f"{point}:{occurrence}") == -signal.SIGKILL
    finish(tmp_path)
    check(tmp_path)


def test_killed_while_it_recovers_and_again_it_is_right(tmp_path: Path) -> None:
    assert run(tmp_path, KILL_AT="row:4") == -signal.SIGKILL
    assert run(tmp_path, KILL_AT="recover_and_commit:1") == -signal.SIGKILL
    assert run(tmp_path, KILL_AT="row:2") == -signal.SIGKILL
    assert run(tmp_path, KILL_AT="durable:2") == -signal.SIGKILL
    assert run(tmp_path, KILL_AT="publish:1") == -signal.SIGKILL
    assert run(tmp_path, KILL_AT="publish:1") == -signal.SIGKILL
    finish(tmp_path)
    check(tmp_path)


@pytest.mark.parametrize("seed", range(4))
def test_killed_at_random_moments_it_is_right(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    kills = 0
    while kills < 5:
        with program("durable", tmp_path, SLOWED_S="0.06") as running:
            time.sleep(chance.uniform(0.4, 1.6))
            running.send(signal.SIGKILL)
            if running.wait() == 0:
                break  # it was done: another run would begin anew
            kills += 1
    else:
        finish(tmp_path)
    assert kills >= 3
    check(tmp_path)
