"""Runs the flights job from start to end, and checks its result against Polars."""

from __future__ import annotations

import json
import math
import sys

import polars as pl

import millstream as ms
from data import FLIGHTS, ROWS, fetch_flights
from job import RESULT, job

RELATIVE = 1e-9  # of a mean: two ways of adding up doubles differ in the last digits


def main() -> int:
    """Return 0 if the result is right."""
    fetch_flights()
    RESULT.unlink(missing_ok=True)  # what is checked below is from this run
    print(ms.run(job).report())
    print()
    differences = compare(read_result(), computed_by_polars())
    for difference in differences:
        print(f"NOT equal to Polars: {difference}", file=sys.stderr)
    if differences:
        return 1
    print()
    print(ms.explain(job))
    return 0


def read_result() -> dict[str, tuple[int, float]]:
    """Return flights and mean delay by carrier, from the file that the job wrote."""
    rows = [json.loads(line) for line in RESULT.read_text("utf-8").splitlines()]
    return {row["carrier"]: (row["flights"], row["mean_delay"]) for row in rows}


def computed_by_polars() -> dict[str, tuple[int, float]]:
    """Return the same, from the same CSV file, without Millstream."""
    table = pl.read_csv(FLIGHTS, null_values=["NA", ""], infer_schema_length=None)
    assert table.height == ROWS, f"{FLIGHTS} has {table.height:,} rows; expected {ROWS:,}"
    grouped = (
        table.filter(pl.col("arr_delay").is_not_null())
        .group_by("carrier")
        .agg(pl.len().alias("flights"), pl.col("arr_delay").mean().alias("mean_delay"))
    )
    return {row["carrier"]: (row["flights"], row["mean_delay"]) for row in grouped.to_dicts()}


def compare(
    found: dict[str, tuple[int, float]], expected: dict[str, tuple[int, float]]
) -> list[str]:
    """Return what differs; print a sentence if nothing does."""
    differences = []
    for carrier in sorted(found.keys() | expected.keys()):
        if carrier not in found or carrier not in expected:
            only = "Millstream" if carrier in found else "Polars"
            differences.append(f"carrier {carrier} is only in the result of {only}")
            continue
        (count, mean), (right_count, right_mean) = found[carrier], expected[carrier]
        if count != right_count:
            differences.append(f"carrier {carrier}: {count:,} flights, Polars has {right_count:,}")
        if not math.isclose(mean, right_mean, rel_tol=RELATIVE):
            differences.append(f"carrier {carrier}: mean {mean!r}, Polars has {right_mean!r}")
    if not differences:
        total = sum(count for count, _ in found.values())
        print(f"equal to Polars: {len(found)} carriers, {total:,} flights")
    return differences


if __name__ == "__main__":
    sys.exit(main())
