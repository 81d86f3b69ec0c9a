"""What a row has measured: one object of ``build/bench.json``."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Result:
    """One row.

    Attributes:
        name: for ``--only``.
        workload: what is done.
        variant: how, on the measured side.
        records: per run.
        records_per_s: by wall clock, the median of the runs.
        baseline: what it is compared with; None where a figure is held to a limit of its own.
        baseline_records_per_s: the same for the baseline.
        ratio: the baseline's CPU time by the variant's, the median over the pairs.
        wall_ratio: the same of wall time.
        peak_rss_mb: the variant's, the largest of its runs.
        floor: what ``measured`` is held to; None: it is only reported.
        ok: the floor is held and every answer was right.
        measured: the figure that the floor is for; the ratio where there is one.
        unit: its unit.
        bound: whether the floor is the least or the most.
        note: why it failed, or what else is to be said.
        extra: figures of this kind of row only; they become keys of the object.
    """

    name: str
    workload: str
    variant: str
    records: int
    records_per_s: float | None = None
    baseline: str | None = None
    baseline_records_per_s: float | None = None
    ratio: float | None = None
    wall_ratio: float | None = None
    peak_rss_mb: float | None = None
    floor: float | None = None
    ok: bool = False
    measured: float | None = None
    unit: str = "x CPU"
    bound: Literal["least", "most"] = "least"
    note: str = ""
    extra: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the object, figures rounded."""
        flat = dataclasses.asdict(self)
        flat.update(flat.pop("extra"))
        return {key: _rounded(value) for key, value in flat.items()}


def holds(measured: float, floor: float | None, bound: Literal["least", "most"]) -> bool:
    """Return whether a figure is on the right side of its floor; "most" excludes the limit."""
    if floor is None:
        return True
    return measured >= floor if bound == "least" else measured < floor


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, list):
        return [_rounded(each) for each in value]
    return value
