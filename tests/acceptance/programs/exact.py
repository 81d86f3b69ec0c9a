"""A small job with the real sinks; it dies where ``KILL_AT`` says: ``row:2``.

Two sources, of which one ends early; calls in flight; a keyed aggregate; a folder of JSONL parts; a
SQLite table that is appended to, and one that is upserted. Points are those of the engine
(``FAULT_POINTS``), and ``step``: before each thing that a sink asks of the file system or of
SQLite. Each that is reached is a line of ``points``.

``exact.py serve`` starts that job again and again, each time in a process of its own that has
nothing left to import: a line of standard input is a folder and what ``KILL_AT`` would be.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import alembic.command  # noqa: F401  # here, and below, so that "serve" has it before it forks

import millstream as ms
from millstream.connectors import jsonl, sqlite  # noqa: F401  # as above
from millstream.control.durable_run import RunOptions, prepare_durable
from millstream.core.settings import CheckpointSettings
from millstream.storage.metadata import migration  # noqa: F401  # as above

KEYS, LONG, SHORT, BATCH = 4, 30, 10, 10
SINKS = ("parts", "appended", "upserted")
STEPS = ("open", "fsync", "rename", "unlink", "mkdir", "listdir")  # what a folder sink asks of os

Record = dict[str, Any]


class KillAt:
    """Kill this process at a fault point; write down each that is reached.

    Attributes:
        commits: how many transactions of each sink have appeared in this run, by its uid.
    """

    def __init__(self, where: str) -> None:
        self.commits: Counter[str] = Counter()
        self._point, _, occurrence = where.partition(":")
        self._occurrence = int(occurrence or 0)
        self._reached: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._points = os.open("points", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def reach(self, point: str) -> None:
        with self._lock:
            self._reached[point] += 1
            os.write(self._points, f"{point}\n".encode())
            if point == self._point and self._reached[point] == self._occurrence:
                os.kill(os.getpid(), signal.SIGKILL)
            if point == "committed":
                self.commits[threading.current_thread().name.rpartition(" ")[2]] += 1


class SteppedConnection(sqlite3.Connection):
    """A connection to the target: each statement is a step."""

    def __init__(self, step: Callable[[], None], *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._step = step

    def execute(self, *arguments: Any) -> sqlite3.Cursor:
        self._step()
        return super().execute(*arguments)

    def executemany(self, *arguments: Any) -> sqlite3.Cursor:
        self._step()
        return super().executemany(*arguments)


def note_steps(faults: KillAt) -> None:
    """Make a step of all that the threads of sinks ask of the file system and of SQLite."""

    def step() -> None:
        if threading.current_thread().name.startswith("millstream-sink"):
            faults.reach("step")

    def stepped(call: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **options: Any) -> Any:
            step()
            return call(*arguments, **options)

        return run

    for name in STEPS:
        setattr(os, name, stepped(getattr(os, name)))
    factory = partial(SteppedConnection, step)
    sqlite3.connect = partial(sqlite3.connect, factory=factory)  # type: ignore[assignment]


def numbers(faults: KillAt, begin: int, end: int) -> Any:
    """Return a source of numbered records; behind each batch it waits until every sink commits.

    So a run has at least as many checkpoints, and commits of each sink, as the longer one has
    batches.
    """

    def read(position: int | None) -> Iterator[tuple[Sequence[Record], int]]:
        for start in range(begin if position is None else position, end, BATCH):
            before = faults.commits.copy()
            yield (
                [{"k": f"k{n % KEYS}", "n": n} for n in range(start, start + BATCH)],
                start + BATCH,
            )
            while not all(faults.commits[uid] > before[uid] for uid in SINKS):
                time.sleep(0.001)

    return read


async def looked_up(record: Record) -> Record:
    """Take a moment, and pass the record on."""
    await asyncio.sleep(0.001)
    return record


def make_job(faults: KillAt) -> ms.Job:
    # Of a process function with timers, the place would be behind the key_by.
    job = ms.Job("exact", checkpoints=CheckpointSettings(interval="2ms", retention=2))
    long = job.source(numbers(faults, 0, LONG), uid="long")
    short = job.source(numbers(faults, 1000, 1000 + SHORT), uid="short")
    records = long.union(short).map_async(looked_up, capacity=7, uid="lookup")
    records.sink(ms.jsonl.sink(folder="parts", roll_every=3), uid="parts")
    totals = records.key_by("k").aggregate(total=ms.sum("n"), count=ms.count(), uid="totals")
    totals.sink(ms.sqlite.sink("out.db", "appended"), uid="appended")
    totals.sink(ms.sqlite.sink("out.db", "upserted", key=["k"]), uid="upserted")
    return job


def run(kill_at: str) -> None:
    faults = KillAt(kill_at)
    note_steps(faults)
    execution = prepare_durable(make_job(faults), RunOptions("job", faults=faults))
    print("resumed from", execution.resumed_from, flush=True)
    result = execution.wait()
    print(result.report())
    if result.error is not None:
        raise result.error


def serve() -> None:
    """Run the job for each line of standard input; print how each run ended."""
    for line in sys.stdin:
        folder, kill_at = json.loads(line)
        child = os.fork()
        if not child:
            code = 1
            try:
                os.chdir(folder)
                for name, number in (("stdout", 1), ("stderr", 2)):
                    os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
                run(kill_at)
                sys.stdout.flush()
                code = 0
            except BaseException:  # noqa: BLE001  # this process ends here, whatever happens
                sys.excepthook(*sys.exc_info())
                sys.stderr.flush()
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        serve()
    else:
        run(os.environ.get("KILL_AT", ""))
