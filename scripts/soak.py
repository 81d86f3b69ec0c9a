"""Runs a durable job, kills it every few seconds, and counts what is lost or there twice.

    make soak                       # two minutes
    make soak ARGS="--minutes 10 --seed 7"

Two runs of three end by ``kill -9`` at a random moment; for every third one, things that it asks of
the disk fail, for a moment or from then on. When the time is over the job is let to finish, and
what its sinks have is compared with what it is when computed again.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from scripts.soak_job import INJECTED, KEYS

JOB = Path(__file__).with_name("soak_job.py")
SHORTEST_S, LONGEST_S = 0.3, 6.0  # until a kill; a process takes about half a second to begin
FINISH_S = 120.0  # for the last run


@dataclass(slots=True)
class Tally:
    """What has happened.

    Attributes:
        kills: by ``kill -9``.
        injected: errors of the disk, by name; as many runs have had some.
        ended: runs that ended with such an error, by themselves.
        recovery_s: from the start of each process to its first complete checkpoint.
        unplanned: how runs ended that should not have.
    """

    kills: int = 0
    injected: Counter[str] = field(default_factory=Counter)
    ended: int = 0
    recovery_s: list[float] = field(default_factory=list)
    unplanned: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the sinks have.

    Attributes:
        records: how many there were in the input.
        duplicates: records, or totals, that took effect more than once.
        lost: those that took none.
    """

    records: int
    duplicates: int
    lost: int


def main() -> int:
    """Return 0 if nothing was lost, nothing was there twice, and all runs ended as planned."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=2.0, help="how long (2)")
    parser.add_argument("--seed", type=int, default=random.randrange(10_000))
    options = parser.parse_args()
    print(f'soak: make soak ARGS="--minutes {options.minutes:g} --seed {options.seed}"', flush=True)
    folder = Path(tempfile.mkdtemp(prefix="millstream-soak-"))
    tally = soak(folder, options.minutes * 60, random.Random(options.seed))
    if tally.unplanned:
        print("\n".join(tally.unplanned))
        print(f"NOT as planned; what there is: {folder}")
        return 1
    verdict = verify(folder)
    report(tally, verdict)
    if verdict.duplicates or verdict.lost:
        print(f"NOT exactly once; what there is: {folder}")
        return 1
    shutil.rmtree(folder)
    return 0


def soak(folder: Path, duration_s: float, chance: random.Random) -> Tally:
    """Run the job again and again, then to its end."""
    tally, until_s = Tally(), time.monotonic() + duration_s
    told_s = time.monotonic()
    while time.monotonic() < until_s and not tally.unplanned:
        plan = ""
        if chance.random() < 1 / 3:
            times = chance.choice([1, 20, 1_000_000])  # for a moment, for longer, for ever
            plan = f"{chance.choice(['ENOSPC', 'EIO'])}:{chance.randint(1, 400)}:{times}"
        run_and_kill(folder, tally, plan, chance.uniform(SHORTEST_S, LONGEST_S))
        if time.monotonic() - told_s > 20:
            told_s = time.monotonic()
            print(f"  {tally.kills} kills, {tally.injected.total()} runs with errors", flush=True)
    (folder / "stop").touch()
    if not tally.unplanned:
        run_and_kill(folder, tally, "", FINISH_S, finishes=True)
    return tally


def run_and_kill(
    folder: Path, tally: Tally, plan: str, wait_s: float, *, finishes: bool = False
) -> None:
    """Run the job once, for so long at most, and note how it ended."""
    environment = {**os.environ, "SOAK_STARTED": str(time.time()), "SOAK_ERROR": plan}
    with (folder / "stdout").open("w") as out, (folder / "stderr").open("w") as err:
        process = subprocess.Popen(
            [sys.executable, JOB], cwd=folder, stdout=out, stderr=err, env=environment
        )
        try:
            code = process.wait(wait_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            code = None
    said = (folder / "stderr").read_text()
    tally.recovery_s += map(float, re.findall(r"^recovered (.+)$", (folder / "stdout").read_text()))
    injected = INJECTED in said
    if injected:
        tally.injected[plan.partition(":")[0]] += 1
    if code is None and not finishes:
        tally.kills += 1
    elif code == 1 and injected and not finishes:
        tally.ended += 1
    elif code != 0 or not finishes:
        how = f"took longer than {wait_s:g} s" if code is None else f"ended with exit code {code}"
        tally.unplanned.append(f"a run {how}:\n{said}")


def verify(folder: Path) -> Verdict:
    """Compare what the sinks have with what it is when computed again."""
    end = int((folder / "end").read_text())
    parts: Counter[int] = Counter()
    for part in (folder / "parts").glob("part-*.jsonl"):
        with part.open() as lines:
            parts.update(json.loads(line)["n"] for line in lines)
    with closing(sqlite3.connect(folder / "out.db")) as connection:
        appended = Counter(n for (n,) in connection.execute("SELECT n FROM appended"))
        found = {k: rest for k, *rest in connection.execute("SELECT k, total, count FROM totals")}
    duplicates = lost = 0
    for sink in (parts, appended):
        duplicates += sum(count - 1 for count in sink.values()) + sum(n >= end for n in sink)
        lost += sum(n not in sink for n in range(end))
    for key in range(min(KEYS, end)):
        own = range(key, end, KEYS)
        total, count = found.get(key, (0, 0))
        duplicates += max(0, count - len(own)) or total > sum(own)
        lost += max(0, len(own) - count) or total < sum(own)
    return Verdict(end, duplicates, lost)


def report(tally: Tally, verdict: Verdict) -> None:
    """Print what has happened."""
    kinds = ", ".join(f"{count} {name}" for name, count in sorted(tally.injected.items()))
    times_s = tally.recovery_s or [0.0]
    print(f"records in      {verdict.records:,}")
    print(f"kills           {tally.kills}")
    print(
        f"injected errors in {tally.injected.total()} runs ({kinds or 'none'}); {tally.ended} ended"
    )
    print(f"duplicates      {verdict.duplicates}")
    print(f"lost            {verdict.lost}")
    median_s = statistics.median(times_s)
    print(f"recovery time   median {median_s:.2f} s, max {max(times_s):.2f} s")


if __name__ == "__main__":
    sys.exit(main())
