"""The table that ``make bench`` prints, a line as soon as a row is measured."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence

from bench.result import Result

_LINE = (
    "{name:<21} {measured:<24} {floor:<9} {ok:<4} {best:>5} {wall:>5} "
    "{rate:>8} {base:>8} {rss:>6}  {what}"
)


def head() -> str:
    """Return the machine and the column heads."""
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    machine = f"Python {platform.python_version()}, {os.cpu_count()} CPUs{load}"
    heads = _LINE.format(
        name="row", measured="measured", floor="floor", ok="ok", best="best", wall="wall",
        rate="rec/s", base="baseline", rss="MB", what="variant / baseline",
    )  # fmt: skip
    return f"{machine}\n{heads}\n{'-' * len(heads)}"


def line(result: Result) -> str:
    """Return one row."""
    measured = "-"
    if result.measured is not None:
        ratios = result.extra.get("ratios")
        spread = f" ({min(ratios):.2f}-{max(ratios):.2f})" if ratios else ""
        digits = ".0f" if result.measured >= 100 else ".3g"
        measured = f"{result.measured:{digits}} {result.unit}{spread}"
    sign = "<" if result.bound == "most" else ">="
    what = f"{result.workload}: {result.variant}"
    if result.baseline:
        what += f" / {result.baseline}"
    if result.note:
        what += f"  [{result.note}]"
    verdict = "ok" if result.ok else "NO"
    return _LINE.format(
        name=result.name,
        measured=measured,
        floor="" if result.floor is None else f"{sign} {result.floor:g}",
        ok=verdict,
        best=f"{best:.2f}" if (best := result.extra.get("best_ratio")) else "",
        wall="" if result.wall_ratio is None else f"{result.wall_ratio:.2f}",
        rate=_rate(result.records_per_s),
        base=_rate(result.baseline_records_per_s),
        rss="" if result.peak_rss_mb is None else f"{result.peak_rss_mb:.0f}",
        what=what,
    ).rstrip()


def foot(results: Sequence[Result]) -> str:
    """Return the verdict."""
    missed = [result.name for result in results if not result.ok]
    if missed:
        return f"\n{len(missed)} of {len(results)} rows are not ok: {', '.join(missed)}"
    return f"\nall {len(results)} rows are ok"


def _rate(per_s: float | None) -> str:
    if per_s is None:
        return ""
    return f"{per_s / 1e6:.2f} M" if per_s >= 1e5 else f"{per_s / 1e3:.1f} k"
