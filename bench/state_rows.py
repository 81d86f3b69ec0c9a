"""Rows about large state: one process measures all of them, three times."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from statistics import median
from typing import Any, Literal

from bench.large_state import CHECKPOINTS, KEYS
from bench.process import Side, run_side
from bench.result import Result, holds
from bench.row import Effort

RUNS = 3


@dataclass(frozen=True, slots=True)
class LargeState:
    """One figure of a job with much state, or a ratio of two.

    Attributes:
        name: for ``--only``.
        variant: which kind of state.
        side: what measures.
        figure: the name of the figure.
        unit: its unit.
        over: what it is divided by.
        floor: what it is held to; None: only reported.
        bound: whether the floor is the least or the most.
    """

    name: str
    variant: str
    side: Side
    figure: str
    unit: str
    over: str | None = None
    floor: float | None = None
    bound: Literal["least", "most"] = "most"

    @property
    def about(self) -> str:
        """Return what is measured."""
        return f"{KEYS:,} keys: {self.variant}, {self.figure}"

    def measure(self, effort: Effort) -> Result:
        """Take the median of the runs."""
        keys = effort.of(KEYS)
        runs = measured(self.side, keys, 1 if effort.share < 1 else RUNS)
        measured_ = median(self._of(run) for run in runs)
        complete = all(run["checkpoints"] > CHECKPOINTS for run in runs)
        return Result(
            self.name,
            f"{keys:,} keys, checkpoints back to back",
            f"{self.variant}, {self.figure}",
            keys,
            records_per_s=median(run["checkpointed_per_s"] for run in runs),
            baseline=self.over,
            baseline_records_per_s=median(run[self.over] for run in runs) if self.over else None,
            peak_rss_mb=max(run["peak_rss_mb"] for run in runs),
            floor=self.floor,
            ok=complete and holds(measured_, self.floor, self.bound),
            measured=measured_,
            unit=self.unit,
            bound=self.bound,
            note="" if complete else "too few checkpoints",
            extra={"runs": [self._of(run) for run in runs]},
        )

    def failed(self, why: str) -> Result:
        """Return the row without figures."""
        return Result(self.name, f"{KEYS:,} keys", self.variant, KEYS, floor=self.floor, note=why)

    def _of(self, run: Mapping[str, float]) -> float:
        return run[self.figure] / (run[self.over] if self.over else 1)


@cache
def measured(side: Side, keys: int, runs: int) -> list[dict[str, Any]]:
    """Run it so often; every row about it takes its figures from the same runs."""
    outcomes = [run_side(side, keys) for _ in range(runs)]
    return [{**outcome.answer, "peak_rss_mb": outcome.peak_rss_mb} for outcome in outcomes]


def large_state_rows() -> list[LargeState]:
    """Return the rows in the order of the table."""
    reduce = Side("reduce", "bench.large_state:reduce")
    rows = [
        LargeState(
            "keys-1m", "reduce", reduce, "plain_per_s", "x wall", "bare_per_s", 0.8, "least"
        ),
        LargeState(
            "keys-1m-checkpoints", "reduce", reduce,
            "checkpointed_per_s", "x wall", "plain_per_s", 0.4, "least",
        ),
        LargeState("keys-1m-pause", "reduce", reduce, "pause_ms", "ms", floor=1.0),
        LargeState("keys-1m-chunk", "reduce", reduce, "p999_ms", "ms", floor=10.0),
        LargeState("keys-1m-slowest", "reduce", reduce, "slowest_ms", "ms", floor=25.0),
        LargeState("keys-1m-restore", "reduce", reduce, "restore_s", "s", floor=1.5),
    ]  # fmt: skip
    for kind, target in (("MapState", "map"), ("ListState", "list_")):
        side = Side(kind, f"bench.large_state:{target}")
        stem = f"keys-1m-{target.strip('_')}"
        rows += [
            LargeState(
                stem, kind, side, "checkpointed_per_s", "x wall", "plain_per_s", None, "least"
            ),
            LargeState(f"{stem}-chunk", kind, side, "p999_ms", "ms"),
            LargeState(f"{stem}-slowest", kind, side, "slowest_ms", "ms"),
        ]
    return rows
