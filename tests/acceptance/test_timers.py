"""Timers that are pending when a job is killed by SIGKILL fire once after it is resumed."""

from __future__ import annotations

import json
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.process import Program, program, wait_until
from tests.acceptance.programs.timers import HOUR_MS, KEYS, RECORDS


def results(folder: Path) -> list[Any]:
    """Return the records that have appeared."""
    parts = sorted((folder / "out").glob("*.jsonl"))
    return [json.loads(line) for part in parts for line in part.read_text().splitlines()]


def wait_for_two_checkpoints(running: Program) -> None:
    """Wait until the next checkpoint but one is complete: it was begun after now."""
    now = running.stdout.count("completed:")
    wait_until(lambda: running.stdout.count("completed:") >= now + 2, "checkpoints", running)


def kill_while_timers_are_pending(folder: Path) -> None:
    """Let the timers that are due soon fire, and kill the job before the others do."""
    with program("timers", folder) as running:
        running.wait_for("all read")
        wait_until(lambda: len(results(folder)) == KEYS // 2, "the first half", running)
        wait_for_two_checkpoints(running)
        running.send(signal.SIGKILL)
        assert running.wait() == -signal.SIGKILL
    assert {each["k"] % 2 for each in results(folder)} == {0}


def check(folder: Path) -> None:
    totals = {key: sum(range(key, RECORDS, KEYS)) for key in range(KEYS)}
    expected = [{"k": key, "total": total, "fine": True} for key, total in totals.items()]
    assert sorted(results(folder), key=lambda each: int(each["k"])) == expected


def test_pending_timers_fire_after_the_resume_though_they_came_due_meanwhile(
    tmp_path: Path,
) -> None:
    kill_while_timers_are_pending(tmp_path)
    with program("timers", tmp_path, SHIFT_MS=str(HOUR_MS)) as running:
        assert running.wait() == 0, running.stderr
        assert "resumed from None" not in running.stdout
        assert f"sessions             0            {KEYS // 2}" in running.stdout  # no records
    check(tmp_path)
    fired = Counter((tmp_path / "fired").read_text().split())
    assert set(fired.values()) == {1}  # there was a checkpoint behind each


@pytest.mark.parametrize("point", ["task:1", "pre_committed:2", "row:1", "row:2", "commit:1"])
def test_killed_again_while_they_fire_each_counts_once(point: str, tmp_path: Path) -> None:
    kill_while_timers_are_pending(tmp_path)
    shift = {"SHIFT_MS": str(HOUR_MS)}
    with program("timers", tmp_path, KILL_AT=point, **shift) as running:
        assert running.wait() == -signal.SIGKILL, running.stderr
    with program("timers", tmp_path, **shift) as running:
        assert running.wait() == 0, running.stderr
    check(tmp_path)


def test_killed_at_any_checkpoint_from_the_beginning_it_is_right(tmp_path: Path) -> None:
    for point in ["row:1", "durable:2", "row:3", "task:2"]:
        with program("timers", tmp_path, KILL_AT=point) as running:
            assert running.wait() == -signal.SIGKILL, running.stderr
    with program("timers", tmp_path, SHIFT_MS=str(2 * HOUR_MS)) as running:
        assert running.wait() == 0, running.stderr
    check(tmp_path)
