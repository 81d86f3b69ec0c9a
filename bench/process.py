"""Starts the timed processes, and takes their reports."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.data import ROOT

TIMEOUT_S = 180.0


class RunFailedError(Exception):
    """A timed process failed, took too long, or printed no report."""


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a comparison.

    Attributes:
        label: what it is, for the table.
        target: ``module:function`` that ``bench.child`` prepares.
        python: the interpreter.
    """

    label: str
    target: str
    python: str = sys.executable


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one timed process reports."""

    cpu_s: float
    wall_s: float
    peak_rss_mb: float
    answer: Any


def environment() -> Mapping[str, str]:
    """Return the environment of timed processes: strings hash alike in all of them."""
    return {**os.environ, "PYTHONHASHSEED": "0"}


def run_side(side: Side, size: int) -> Outcome:
    """Run one side once.

    Raises:
        RunFailedError: with the end of what the process said.
    """
    command = [side.python, "-m", "bench.child", side.target, str(size)]
    return Outcome(**json.loads(run_command(command).splitlines()[-1]))


def run_command(command: Sequence[str]) -> str:
    """Run a command in the project's folder; return what it printed.

    Raises:
        RunFailedError: it failed, took too long, or printed nothing.
    """
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise RunFailedError(f"no end after {TIMEOUT_S:.0f} s") from error
    except OSError as error:
        raise RunFailedError(str(error)) from error
    if done.returncode or not done.stdout.strip():
        said = (done.stderr.strip() or done.stdout.strip() or "nothing").splitlines()
        raise RunFailedError(f"exit status {done.returncode}: {said[-1][:300]}")
    return done.stdout


def interleave(sides: Sequence[Side], size: int, rounds: int) -> list[list[Outcome]]:
    """Run the sides in turn, so often; return each side's outcomes.

    What slows the machine for a while then slows both sides of a pair.
    """
    outcomes: list[list[Outcome]] = [[] for _ in sides]
    for _ in range(rounds):
        for side, its in zip(sides, outcomes, strict=True):
            its.append(run_side(side, size))
    return outcomes
