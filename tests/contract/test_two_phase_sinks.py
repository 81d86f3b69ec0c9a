"""Every sink that is exact across kills: by the crash table, and killed for real."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.contract.two_phase_contract import FaultPlan, TwoPhaseContract, run_twice
from tests.contract.two_phase_subjects import END, ONE_FILE, SUBJECTS, TWO_PHASE, Subject

# The others differ from these in what they write, not in the steps.
KILLED = [
    "jsonl folder, roll_every=3",
    "csv folder, roll_every=2",
    "sqlite, key=None",
    *map(str, ONE_FILE),
]
PROGRAM = Path(__file__).parent / "programs" / "kill_two_phase.py"
REPOSITORY = PROGRAM.parents[3]


@pytest.fixture(params=TWO_PHASE, ids=str)
def subject(request: pytest.FixtureRequest) -> Subject:
    chosen: Subject = request.param
    return chosen


class TestTwoPhaseSinks(TwoPhaseContract):
    pass


@pytest.mark.parametrize("lasting", [False, True])
@pytest.mark.parametrize("one_file", ONE_FILE, ids=str)
def test_a_job_whose_disk_fails_at_any_step_ends_right_after_a_restart(
    one_file: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, lasting: bool
) -> None:
    for k in itertools.count(1):
        folder = tmp_path / str(k)
        folder.mkdir()
        with monkeypatch.context() as patch:
            plan = FaultPlan(patch, k, lasting=lasting)
            run_twice(one_file, folder, plan)
        if plan.done < k:
            break
    assert k > 20


@pytest.mark.parametrize("in_recovery", [False, True])
@pytest.mark.parametrize("name", KILLED)
def test_a_job_killed_at_any_step_ends_right_after_a_restart(
    name: str, tmp_path: Path, *, in_recovery: bool
) -> None:
    subject = SUBJECTS[name]
    found = kill_at_each_step(name, tmp_path, *["--in-recovery"] * in_recovery)
    for each in found:
        assert each["visible"] == subject.expected(END), each
        assert each["staged"] == [], each
    hit = {each["at"].partition(":")[0] for each in found}
    wanted = {"begin", "recovered", "records taken", "pre-committed", "completed", "committed one"}
    assert wanted | {"end"} <= hit


def kill_at_each_step(name: str, folder: Path, *options: str) -> list[dict[str, Any]]:
    command = [sys.executable, os.fspath(PROGRAM), name, os.fspath(folder), *options]
    path = os.pathsep.join([os.fspath(REPOSITORY), *sys.path])
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]
