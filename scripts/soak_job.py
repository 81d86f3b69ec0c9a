"""The job of ``soak.py``, in a process that is killed sooner or later; run in the soak's folder.

Its input is numbered records, as many as there is time for: when there is a file ``stop``, the
source writes into ``end`` how many there are in all. ``SOAK_ERROR=ENOSPC:400:3`` lets the 400th
thing that a sink or the writer of checkpoints asks of the disk fail, and two more behind it.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import millstream as ms
from millstream.control.durable_run import prepare_durable
from millstream.control.run_options import RunOptions

KEYS, BATCH = 100, 100
PER_SECOND = 5_000
INJECTED = "injected by the soak"
DISK_THREADS = ("millstream-sink ", "millstream-checkpoints")
CALLS = ("open", "fsync", "rename", "unlink", "mkdir")  # of os


def numbers(position: int | None) -> Iterator[tuple[list[dict[str, Any]], int]]:
    """Yield numbered records at a steady pace up to the ``end``, which comes with ``stop``."""
    begun_s, first = time.monotonic(), position or 0
    at, end = first, Path("end")
    while True:
        if Path("stop").exists() and not end.exists():
            end.with_suffix(".new").write_text(str(at))
            end.with_suffix(".new").replace(end)
        if end.exists() and at >= int(end.read_text()):
            return
        time.sleep(max(0.0, begun_s + (at - first) / PER_SECOND - time.monotonic()))
        yield [{"k": n % KEYS, "n": n} for n in range(at, at + BATCH)], at + BATCH
        at += BATCH


def make_job() -> ms.Job:
    """Return the job: a keyed aggregate that is upserted, rows that are appended, parts."""
    settings = ms.CheckpointSettings(interval="200ms", retention=3, tolerable_failures=1000)
    job = ms.Job("soak", checkpoints=settings)
    records = job.source(numbers, uid="numbers")
    records.sink(ms.jsonl.sink(folder="parts", roll_every=2000), uid="parts")
    records.sink(ms.sqlite.sink("out.db", "appended"), uid="appended")
    totals = records.key_by("k").aggregate(total=ms.sum("n"), count=ms.count(), uid="totals")
    totals.sink(ms.sqlite.sink("out.db", "totals", key=["k"]), uid="totals_table")
    return job


class Disk:
    """Fails what it is asked for, at the planned moment, and says so."""

    def __init__(self, plan: str) -> None:
        name, _, rest = plan.partition(":")
        first, _, times = rest.partition(":")
        self._error = getattr(errno, name, 0)
        self._first = int(first or 0)
        self._end = self._first + int(times or 0)
        self._count = 0
        self._lock = threading.Lock()

    def step(self, kind: type[Exception]) -> None:
        """Note that something is asked of the disk; raise the planned error, if it is time."""
        if not threading.current_thread().name.startswith(DISK_THREADS):
            return
        with self._lock:
            self._count += 1
            fails = self._first <= self._count < self._end
        if fails:
            text = f"{os.strerror(self._error)}, {INJECTED}"
            print(text, file=sys.stderr, flush=True)
            raise OSError(self._error, text) if kind is OSError else kind(text)

    def fail_calls(self) -> None:
        """Let all that sinks and checkpoints ask of the disk go through ``step``."""

        def checked(call: Callable[..., Any]) -> Callable[..., Any]:
            def run(*arguments: Any, **options: Any) -> Any:
                self.step(OSError)
                return call(*arguments, **options)

            return run

        for name in CALLS:
            setattr(os, name, checked(getattr(os, name)))
        factory = partial(Connection, self)
        sqlite3.connect = partial(sqlite3.connect, factory=factory)  # type: ignore[assignment]


class Connection(sqlite3.Connection):
    """A connection of a SQLite sink."""

    def __init__(self, disk: Disk, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._disk = disk

    def execute(self, *arguments: Any) -> sqlite3.Cursor:
        """Execute a statement, if the disk takes it; a rollback needs none."""
        if arguments[0] != "ROLLBACK":
            self._disk.step(sqlite3.OperationalError)
        return super().execute(*arguments)


class FirstCheckpoint:
    """Says how long after the start of the process the first checkpoint was complete."""

    def __init__(self) -> None:
        self._told = False

    def reach(self, point: str) -> None:
        """Note a fault point."""
        if point == "completed" and not self._told:
            self._told = True
            print(f"recovered {time.time() - float(os.environ['SOAK_STARTED']):.3f}", flush=True)


def main() -> None:
    """Run the job to its end, in this folder."""
    Disk(os.environ.get("SOAK_ERROR", "")).fail_calls()
    execution = prepare_durable(make_job(), RunOptions("job", faults=FirstCheckpoint()))
    result = execution.wait()
    if result.error is not None:
        raise result.error


if __name__ == "__main__":
    main()
