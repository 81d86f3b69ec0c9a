"""Rows that are held to a limit of their own: cost per chunk, latency, memory, start-up."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Literal

from bench import data
from bench.data import AnswerOf, is_right
from bench.process import RunFailedError, Side, interleave, run_command, run_side
from bench.result import Result, holds
from bench.row import Effort

SMALL, LARGE = 64, 1024


@dataclass(frozen=True, slots=True)
class _Limit:
    """What these rows share: a figure that must stay under ``floor``."""

    name: str
    workload: str
    variant: str
    size: int
    floor: float
    unit: str

    @property
    def about(self) -> str:
        """Return what is measured."""
        return f"{self.workload}: {self.variant}"

    def failed(self, why: str) -> Result:
        """Return the row without figures."""
        return self._result(None, False, note=why)

    def _result(self, measured: float | None, right: bool, **more: Any) -> Result:
        most: Literal["most"] = "most"
        ok = right and measured is not None and holds(measured, self.floor, most)
        records = more.pop("records", self.size)
        return Result(
            self.name, self.workload, self.variant, records, floor=self.floor, ok=ok,
            measured=measured, unit=self.unit, bound=most, **more,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class ChunkCost(_Limit):
    """What the engine spends per chunk: the same records in small chunks and in large ones."""

    small: Side
    large: Side
    answer: AnswerOf

    def measure(self, effort: Effort) -> Result:
        """Divide the extra CPU time by the extra chunks; the median over the pairs."""
        records = effort.of(self.size)
        expected = self.answer(records)
        small, large = interleave((self.small, self.large), records, effort.pairs)
        chunks = records / SMALL - records / LARGE
        costs = [
            (one.cpu_s - other.cpu_s) / chunks * 1e6
            for one, other in zip(small, large, strict=True)
        ]
        return self._result(
            median(costs),
            all(is_right(outcome.answer, expected) for outcome in (*small, *large)),
            records=records,
            records_per_s=records / median(outcome.wall_s for outcome in large),
            peak_rss_mb=max(outcome.peak_rss_mb for outcome in (*small, *large)),
            extra={"costs_us": costs},
        )


@dataclass(frozen=True, slots=True)
class Latency(_Limit):
    """The 99th percentile of how late records are at the sink; ``size`` is the rate."""

    side: Side
    seconds: float
    most_runs: int = 3

    def measure(self, effort: Effort) -> Result:
        """Take the median run of up to three: one stall of the machine is not the engine's."""
        runs = [run_side(self.side, self.size) for _ in range(min(effort.pairs, self.most_runs))]
        middle = sorted(runs, key=lambda run: float(run.answer["p99_ms"]))[len(runs) // 2]
        expected = int(self.size * self.seconds)  # without those while it warmed up
        return self._result(
            middle.answer["p99_ms"],
            all(run.answer["records"] == expected for run in runs),
            records=expected,
            records_per_s=expected / middle.wall_s,
            peak_rss_mb=max(run.peak_rss_mb for run in runs),
            note=", ".join(f"{key[:-3]} {middle.answer[key]:.2f}" for key in ("p50_ms", "max_ms")),
            extra={
                **{key: middle.answer[key] for key in ("p50_ms", "p99_ms", "max_ms")},
                "p99s_ms": [run.answer["p99_ms"] for run in runs],
            },
        )


@dataclass(frozen=True, slots=True)
class Memory(_Limit):
    """The peak of resident memory over a long input."""

    side: Side
    answer: AnswerOf

    def measure(self, effort: Effort) -> Result:
        """Run it once: a peak does not waver as time does."""
        records = effort.of(self.size)
        expected = self.answer(records)
        outcome = run_side(self.side, records)
        return self._result(
            outcome.peak_rss_mb,
            is_right(outcome.answer, expected),
            records=records,
            records_per_s=records / outcome.wall_s,
            peak_rss_mb=outcome.peak_rss_mb,
        )


@dataclass(frozen=True, slots=True)
class StartUp(_Limit):
    """How long a process needs until something has happened, in ms."""

    time_once: Callable[[], float]

    def measure(self, effort: Effort) -> Result:
        """Run it once to have bytecode and files in place, then take the median."""
        self.time_once()
        times = [self.time_once() for _ in range(effort.pairs)]
        return self._result(median(times), True, extra={"times_ms": times})


def time_import() -> float:
    """Return what ``import millstream`` takes in a fresh interpreter."""
    code = (
        "import time; start = time.perf_counter(); import millstream; "
        "print((time.perf_counter() - start) * 1e3)"
    )
    return float(run_command([sys.executable, "-c", code]))


def time_run_command() -> float:
    """Return what ``millstream run`` of a job with one record takes, from start to exit.

    It makes a checkpoint at its end, and keeps metadata in a folder that is there from the second
    time on.

    Raises:
        RunFailedError: the job's record was not printed.
    """
    job = Path(__file__).with_name("one_record.py")
    start = time.perf_counter()
    folder = data.folder() / "one-record"
    said = run_command([*_command(), "run", str(job), "--folder", str(folder)])
    elapsed_ms = (time.perf_counter() - start) * 1e3
    if "the one record" not in said:
        raise RunFailedError(f"the job printed {said[-200:]!r}, not its record")
    return elapsed_ms


def _command() -> Sequence[str]:
    script = Path(sys.executable).with_name("millstream")
    return [str(script)] if script.exists() else [sys.executable, "-m", "millstream"]
