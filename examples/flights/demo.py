"""Runs the flights job, kills it half-way and resumes it; checks each result against Polars."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

import millstream as ms
from data import FLIGHTS, ROWS, fetch_flights
from job import NEVER_ARRIVED, RESULT, Flight, job

RELATIVE = 1e-9  # of a mean: two ways of adding up doubles differ in the last digits
JOB_FILE = Path(__file__).with_name("job.py")
JOB_FOLDER = FLIGHTS.with_name("job")  # what a run goes on from
PER_SECOND = 33_000  # the whole file in about ten seconds, so about ten checkpoints


def main() -> int:
    """Return 0 if all results are right."""
    fetch_flights()
    print("1. The job, as fast as it goes\n")
    clean()
    print(ms.run(job, folder=JOB_FOLDER).report())
    right = equal_to_polars()

    print("\n2. The same job, slowed down, killed half-way, and resumed\n")
    clean()
    killed_after, checkpoint = run_and_kill()
    resumed_from, read = resume()
    print(
        f"killed after {killed_after:,} flights, at checkpoint {checkpoint}; resumed from "
        f"checkpoint {resumed_from}, which had {ROWS - read:,} of them: "
        f"{killed_after + read - ROWS:,} were read again"
    )
    right = equal_to_polars() and right

    print("\n3. What ran\n")
    print(ms.explain(job))
    return 0 if right else 1


def clean() -> None:
    """Remove what earlier runs have left: what is checked is from this one."""
    RESULT.unlink(missing_ok=True)
    for folder in (NEVER_ARRIVED, JOB_FOLDER):
        shutil.rmtree(folder, ignore_errors=True)


# -- a run that is killed -------------------------------------------------------------------------


def start() -> subprocess.Popen[str]:
    """Start the job in a process of its own, slowed down."""
    return subprocess.Popen(
        [sys.executable, JOB_FILE, "run", "--folder", JOB_FOLDER],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "FLIGHTS_PER_SECOND": str(PER_SECOND)},
    )


def lines_of(process: subprocess.Popen[str]) -> Iterator[str]:
    """Yield, and show, what a process prints."""
    assert process.stdout is not None
    for line in process.stdout:
        print(f"   {line}", end="", flush=True)
        yield line


def run_and_kill() -> tuple[int, int]:
    """Kill the job when half is read; return how many flights that is, and the last checkpoint."""
    with start() as process:
        for line in lines_of(process):
            told = re.fullmatch(r"read ([\d,]+)\n", line)
            if told and (read := int(told[1].replace(",", ""))) > ROWS / 2:
                process.kill()  # SIGKILL: nobody is asked, and nothing is closed
                break
        else:
            sys.exit(f"the job ended with exit code {process.wait()} before it was killed")
    if RESULT.exists():
        sys.exit(f"{RESULT} is there, and the job has not ended")
    command = [sys.executable, "-m", "millstream", "checkpoints", "list", job.name]
    listed = subprocess.run(
        [*command, "--folder", JOB_FOLDER], check=True, capture_output=True, text=True
    ).stdout
    checkpoint = int(listed.removeprefix("chk-").split(maxsplit=1)[0])
    print(f"   KILLED at checkpoint {checkpoint}; {len(never_arrived()):,} have appeared so far\n")
    return read, checkpoint


def resume() -> tuple[int, int]:
    """Run the job to its end; return the checkpoint it went on from, and how many it read."""
    with start() as process:
        output = "".join(lines_of(process))
    if process.returncode:
        sys.exit(f"the job ended with exit code {process.returncode}")
    print()
    resumed = re.search(r"goes on from checkpoint (\d+)", output)
    read = re.search(r"^ +flights +([\d,]+)", output, re.MULTILINE)
    if resumed is None or read is None:
        sys.exit("the job has not gone on from a checkpoint")
    return int(resumed[1]), int(read[1].replace(",", ""))


# -- the results, and the same computed by Polars -------------------------------------------------


def equal_to_polars() -> bool:
    """Print how the results compare; return whether they are equal."""
    found, never = mean_delays(), Counter(never_arrived())
    right, right_never = computed_by_polars()
    differences = compare(found, right)
    if never != right_never:
        more, less = (never - right_never).total(), (right_never - never).total()
        differences.append(f"never arrived: {more:,} records too many, {less:,} are missing")
    for difference in differences:
        print(f"NOT equal to Polars: {difference}", file=sys.stderr)
    if not differences:
        flights = sum(count for count, _ in found.values())
        print(
            f"equal to Polars: {len(found)} carriers, {flights:,} flights; "
            f"{never.total():,} that never arrived, each once"
        )
    return not differences


def mean_delays() -> dict[str, tuple[int, float]]:
    """Return flights and mean delay by carrier, from the file that the job wrote."""
    rows = [json.loads(line) for line in RESULT.read_text("utf-8").splitlines()]
    return {row["carrier"]: (row["flights"], row["mean_delay"]) for row in rows}


def never_arrived() -> list[tuple[Any, ...]]:
    """Return the flights that are in the folder that the job writes."""
    parts = sorted(NEVER_ARRIVED.glob("part-*.jsonl"))
    lines = [line for part in parts for line in part.read_text("utf-8").splitlines()]
    return [tuple(json.loads(line).values()) for line in lines]


def computed_by_polars() -> tuple[dict[str, tuple[int, float]], Counter[tuple[Any, ...]]]:
    """Return the same, from the same CSV file, without Millstream."""
    table = pl.read_csv(FLIGHTS, null_values=["NA", ""], infer_schema_length=None)
    assert table.height == ROWS, f"{FLIGHTS} has {table.height:,} rows; expected {ROWS:,}"
    arrived = pl.col("arr_delay").is_not_null()
    grouped = (
        table.filter(arrived)
        .group_by("carrier")
        .agg(pl.len().alias("flights"), pl.col("arr_delay").mean().alias("mean_delay"))
    )
    means = {row["carrier"]: (row["flights"], row["mean_delay"]) for row in grouped.to_dicts()}
    never = table.filter(~arrived).select(Flight.__struct_fields__)
    return means, Counter(never.iter_rows())


def compare(
    found: dict[str, tuple[int, float]], expected: dict[str, tuple[int, float]]
) -> list[str]:
    """Return what differs in the means."""
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
    return differences


if __name__ == "__main__":
    sys.exit(main())
