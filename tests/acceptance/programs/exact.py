"""A small job with the real sinks; things go wrong where ``FAULTS`` says: ``kill row:2``.

Two sources, of which one ends early; calls in flight; a timer per group of records; a keyed
aggregate; a folder of JSONL parts; a SQLite table that is appended to, and one that is upserted.

A fault is what to do, where, which occurrence, and how often from there on: ``kill commit:2``,
``EIO commit/step@parts:1x3``, ``hold commit@parts:1``; several are parted by ``;``. Where is

- one of ``FAULT_POINTS``;
- ``step``: before each thing that a sink asks of the file system or of SQLite;
- ``commit/step``: a step behind a point;
- ``@parts``: in that sink's thread; or, of a point in another thread, while that sink has something
  that is pre-committed and has not appeared.

``save`` and ``checkpoint`` ask for a savepoint and for a checkpoint, as the commands do; the folder
of each savepoint is a line of ``saved``, and that it is complete is the point ``saved``.

Each point that is reached is a line of ``points``, with the sink in whose thread it was.

``exact.py serve`` starts that job again and again, each time in a process of its own that has
nothing left to import: a line of standard input is a folder and the variables of its environment.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import re
import signal
import sqlite3
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import alembic.command  # noqa: F401  # here, and below, so that "serve" has it before it forks

import millstream as ms
from millstream.connectors import jsonl, sqlite  # noqa: F401  # as above
from millstream.control.durable_run import prepare_durable
from millstream.control.run_options import RunOptions
from millstream.core.settings import CheckpointSettings
from millstream.engine import two_phase_driver
from millstream.engine.checkpoint.journal import Made, Purpose
from millstream.engine.checkpoint.requests import Request
from millstream.runners.embedded import Execution
from millstream.storage.metadata import migration  # noqa: F401  # as above

KEYS, LONG, SHORT, BATCH = 4, 30, 10, 10
GROUP = 5  # records that have a timer together; a batch has whole groups
DELAY_MS = 3  # longer than a checkpoint takes, so that some have timers that are pending
PATIENCE_S = 25
SINKS = ("parts", "appended", "upserted")
STEPS = ("open", "fsync", "rename", "unlink", "mkdir", "listdir")  # what a folder sink asks of os

Record = dict[str, Any]


class Fault(NamedTuple):
    """What to do at a point, from one occurrence of it up to, and without, another."""

    do: str
    begin: int
    end: float

    @classmethod
    def parse(cls, text: str) -> tuple[str, Fault]:
        match = re.fullmatch(r"(\w+) ([\w/@]+):(\d+)(?:x(\d+))?", text.strip())
        assert match, text
        return match[2], cls(match[1], int(match[3]), int(match[3]) + int(match[4] or 1))


class Faults:
    """Does at fault points what is asked for; writes down each that is reached.

    Attributes:
        commits: how many transactions of each sink have appeared in this run, by its uid.
        execution: of the run, once there is one.
    """

    def __init__(self, text: str) -> None:
        self.commits: Counter[str] = Counter()
        self.execution: Execution | None = None
        self._faults: dict[str, list[Fault]] = defaultdict(list)
        for point, fault in map(Fault.parse, filter(None, text.split(";"))):
            self._faults[point].append(fault)
        self._reached: Counter[str] = Counter()
        self._last: dict[str, str] = {}  # the last point of each sink
        self._pending: set[str] = set()  # sinks that have something pre-committed
        self._held: set[str] = set()
        self._lock = threading.Lock()
        self._points = os.open("points", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def reach(self, point: str) -> None:
        uid = uid_of_thread()
        os.write(self._points, f"{point} {uid or '-'}\n".encode())
        with self._lock:
            if uid:
                self._last[uid] = point
            if point == "committed":
                self.commits[uid] += 1
                self._pending.discard(uid)
            of = [uid] if uid else sorted(self._pending)
            todo = self._reach(point, of)
        for do in todo:
            self._do(do, uid, OSError)

    def step(self, kind: type[Exception]) -> None:
        """Note a step of a sink, which fails by this kind of error, if at all."""
        uid = uid_of_thread()
        if not uid:
            return
        with self._lock:
            last = self._last[uid]
            if last == "pre_commit":
                self._pending.add(uid)
            todo = [*self._reach("step", [uid]), *self._reach(f"{last}/step", [uid])]
        for do in todo:
            self._do(do, uid, kind)

    def _reach(self, point: str, uids: list[str]) -> list[str]:
        """Count a point, and return what to do there."""
        todo: list[str] = []
        for each in (point, *(f"{point}@{uid}" for uid in uids)):
            self._reached[each] = count = self._reached[each] + 1
            faults = self._faults.get(each, ())
            todo += [fault.do for fault in faults if fault.begin <= count < fault.end]
        return todo

    def _do(self, do: str, uid: str, kind: type[Exception]) -> None:
        if do == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif do == "stop":
            self._wait_until_quiet()  # a process that is stopped keeps its locks on databases
            os.kill(os.getpid(), signal.SIGSTOP)
            time.sleep(0.3)  # another thread may be the one that is told first
        elif do in ("save", "checkpoint"):
            assert self.execution is not None
            self.execution.save(Request(Purpose(savepoint=do == "save"), self._on_made))
        elif do == "delay":
            time.sleep(0.5)
        elif do == "hold":
            self._held.add(uid)
            while self._held != {*SINKS} - {*self.commits}:
                time.sleep(0.001)
            os.kill(os.getpid(), signal.SIGKILL)  # all are held but those that have committed
        elif kind is OSError:
            number = getattr(errno, do)
            raise OSError(number, os.strerror(number))
        else:
            error = kind({"EBUSY": "database is locked"}.get(do, "database or disk is full"))
            code = sqlite3.SQLITE_BUSY if do == "EBUSY" else sqlite3.SQLITE_FULL
            error.sqlite_errorcode = code  # type: ignore[attr-defined]  # as SQLite's own have
            raise error

    def _on_made(self, outcome: Made | Exception) -> None:
        if isinstance(outcome, Exception):
            raise outcome
        if "savepoints" in outcome.location:
            with open("saved", "a") as file:
                file.write(f"{outcome.location}\n")
            self.reach("saved")

    def _wait_until_quiet(self) -> None:
        before = -1
        while before != (before := self._reached.total()):
            time.sleep(0.3)


def uid_of_thread() -> str:
    """Return whose sink's thread this is, if any's."""
    _, sink, uid = threading.current_thread().name.partition("millstream-sink ")
    return uid if sink else ""


class SteppedConnection(sqlite3.Connection):
    """A connection to the target: each statement is a step."""

    def __init__(self, faults: Faults, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._faults = faults

    def execute(self, *arguments: Any) -> sqlite3.Cursor:
        if arguments[0] != "ROLLBACK":
            self._faults.step(sqlite3.OperationalError)
        return super().execute(*arguments)

    def executemany(self, *arguments: Any) -> sqlite3.Cursor:
        self._faults.step(sqlite3.OperationalError)
        return super().executemany(*arguments)


def note_steps(faults: Faults) -> None:
    """Make a step of all that the threads of sinks ask of the file system and of SQLite."""

    def stepped(call: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **options: Any) -> Any:
            faults.step(OSError)
            return call(*arguments, **options)

        return run

    for name in STEPS:
        setattr(os, name, stepped(getattr(os, name)))
    factory = partial(SteppedConnection, faults)
    sqlite3.connect = partial(sqlite3.connect, factory=factory)  # type: ignore[assignment]


class Numbers(ms.BatchSource[Record]):
    """Numbered records; behind each batch it waits until every sink has committed something.

    So a run has at least as many checkpoints, and commits of each sink, as the longer one has
    batches. With ``PAUSE_S`` it waits for so long instead. At the end it waits for all timers of
    its records: the end of the input drops those that are not due.
    """

    def __init__(self, faults: Faults, begin: int, end: int) -> None:
        self._faults = faults
        self._range = begin, end
        self._cancelled = False

    def read(self, position: int | None) -> Iterator[tuple[Sequence[Record], int]]:
        begin, end = self._range
        pause_s = float(os.environ.get("PAUSE_S", "0"))
        for start in range(begin if position is None else position, end, BATCH):
            before = self._faults.commits.copy()
            yield (
                [
                    {"k": f"k{n % KEYS}", "group": n // GROUP, "n": n}
                    for n in range(start, start + BATCH)
                ],
                start + BATCH,
            )
            time.sleep(pause_s)
            while not pause_s and not self._cancelled and not self._all_have_committed(before):
                time.sleep(0.001)
        while not self._cancelled and not EMITTED.issuperset(range(begin // GROUP, end // GROUP)):
            time.sleep(0.001)

    def cancel(self) -> None:
        self._cancelled = True

    def _all_have_committed(self, before: Counter[str]) -> bool:
        return all(self._faults.commits[uid] > before[uid] for uid in SINKS)


EMITTED: set[int] = set()
"""The groups whose sums have been emitted, as the state of this run has it."""


class Summed(ms.KeyedProcessFunction[Record, Record]):
    """Passes records on, and emits the sum of each group, from a timer, once all of it is there."""

    numbers = ms.ListStateDescriptor(int)
    emitted = ms.OperatorStateDescriptor(int)

    def open(self, ctx: ms.ProcessContext[Record]) -> None:
        EMITTED.update(self.emitted.get())

    def process_element(self, value: Record, ctx: ms.ProcessContext[Record]) -> None:
        if not self.numbers.get():
            self._wait(ctx)
        self.numbers.add(value["n"])
        ctx.collect(value)

    def on_timer(self, timestamp: int, ctx: ms.ProcessContext[Record]) -> None:
        numbers = self.numbers.get()
        if len(numbers) < GROUP:  # the others are in flight: so what it emits is always the same
            self._wait(ctx)
            return
        group = numbers[0] // GROUP
        ctx.collect({"group": group, "sum": sum(numbers)})
        self.numbers.clear()
        self.emitted.add(group)
        EMITTED.add(group)

    def _wait(self, ctx: ms.ProcessContext[Record]) -> None:
        now_ms = ctx.timer_service.current_processing_time()
        ctx.timer_service.register_processing_time_timer(now_ms + DELAY_MS)


async def looked_up(record: Record) -> Record:
    """Take a moment, and pass the record on."""
    await asyncio.sleep(0.001)
    return record


def make_job(faults: Faults) -> ms.Job:
    interval = None if os.environ.get("INTERVAL") == "none" else "2ms"
    timeout = os.environ.get("TIMEOUT", "10m")
    settings = CheckpointSettings(interval=interval, timeout=timeout, retention=2)
    job = ms.Job("exact", checkpoints=settings)
    long = job.source(Numbers(faults, 0, LONG), uid="long")
    short = job.source(Numbers(faults, 1000, 1000 + SHORT), uid="short")
    records = long.union(short).map_async(looked_up, capacity=7, uid="lookup")
    summed = records.key_by("group").process(Summed(), uid="summed")
    summed.sink(ms.jsonl.sink(folder="parts", roll_every=3), uid="parts")
    totals = records.key_by("k").aggregate(total=ms.sum("n"), count=ms.count(), uid="totals")
    totals.sink(ms.sqlite.sink("out.db", "appended"), uid="appended")
    totals.sink(ms.sqlite.sink("out.db", "upserted", key=["k"]), uid="upserted")
    return job


def run() -> None:
    faults = Faults(os.environ.get("FAULTS", ""))
    note_steps(faults)
    two_phase_driver._FIRST_PAUSE_S, two_phase_driver._LONGEST_PAUSE_S = 0.001, 0.01
    fresh = False if os.environ.get("FRESH") else None
    savepoint = os.environ.get("FROM_SAVEPOINT")
    options = RunOptions("job", fresh, from_savepoint=savepoint, faults=faults)
    execution = prepare_durable(make_job(faults), options)
    faults.execution = execution._execution
    print("resumed from", execution.resumed_from, flush=True)
    result = execution.wait()
    print(result.report())
    if result.error is not None:
        raise result.error


def serve() -> None:
    """Run the job for each line of standard input; print how each run ended."""
    for line in sys.stdin:
        folder, variables = json.loads(line)
        child = os.fork()
        if not child:
            code = 1
            try:
                signal.alarm(PATIENCE_S)  # else one that hangs would keep the others from running
                os.chdir(folder)
                os.environ.update(variables)
                for name, number in (("stdout", 1), ("stderr", 2)):
                    os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
                run()
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
        run()
