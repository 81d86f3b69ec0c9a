"""A job of everything that a checkpoint has to keep; it dies where ``KILL_AT`` says: ``row:2``.

Two sources, of which one ends early; calls in flight; a process function with state; aggregates;
a sink that repeats after a kill, and two exact ones. Every fault point that the run reaches is a
line of ``points``.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import millstream as ms
from millstream.control.durable_run import prepare_durable
from millstream.control.run_options import RunOptions
from millstream.core.settings import CheckpointSettings
from millstream.core.two_phase import (
    DataLossError,
    StatefulSink,
    TransactionId,
    TwoPhaseCommitSink,
)

KEYS, LONG, SHORT = 7, 1500, 200
SLOWED_S = float(os.environ.get("SLOWED_S", "0.02"))  # a batch of 30

Record = dict[str, Any]


def numbers(begin: int, end: int) -> Callable[[Any], Iterator[tuple[Sequence[Record], Any]]]:
    """Return a source of numbered records; a position is the number that comes next."""

    def read(position: Any) -> Iterator[tuple[Sequence[Record], Any]]:
        for start in range(begin if position is None else position, end, 30):
            stop = min(start + 30, end)
            time.sleep(SLOWED_S)
            yield [{"k": f"k{n % KEYS}", "n": n} for n in range(start, stop)], stop

    return read


async def looked_up(record: Record) -> Record:
    """Take a moment, and pass the record on."""
    await asyncio.sleep(0.003)
    return record


class Seen(ms.KeyedProcessFunction[Record, Record]):
    """Number the records of each key."""

    seen = ms.ValueStateDescriptor(int, default=0)

    def process_element(self, value: Record, ctx: ms.ProcessContext[Record]) -> None:
        seen = self.seen.value() + 1
        self.seen.update(seen)
        ctx.collect({**value, "seen": seen})


class Appending(ms.Sink[Record]):
    """Append lines; it remembers nothing."""

    def open(self, ctx: ms.SinkContext) -> None:
        self._file = Path("appended").open("a")  # noqa: SIM115  # closed by close

    def invoke(self, value: Record, ctx: ms.SinkContext) -> None:
        self._file.write(json.dumps(value) + "\n")

    def flush(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


class Result(StatefulSink[Record]):
    """Write one file, which appears at the end."""

    def __init__(self) -> None:
        self._begin = 0

    def open(self, ctx: ms.SinkContext) -> None:
        self._file = Path("result.part").open("a+")  # noqa: SIM115  # as above
        self._file.truncate(self._begin)

    def invoke(self, value: Record, ctx: ms.SinkContext) -> None:
        self._file.write(json.dumps(value) + "\n")

    def flush(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())

    def snapshot_state(self) -> int:
        return self._file.tell()

    def restore_state(self, state: int) -> None:
        if state and not Path("result.part").exists() and not Path("result").exists():
            raise DataLossError("result.part is gone")
        self._begin = state

    def finish(self) -> None:
        part = Path("result.part")
        if not Path("result").exists() or part.stat().st_size:
            part.replace("result")

    def close(self) -> None:
        self._file.close()


class Staged(TwoPhaseCommitSink[Record, Any]):
    """Write a file per transaction, which appears at the commit."""

    def open(self, ctx: ms.SinkContext) -> None:
        Path("staged").mkdir(exist_ok=True)
        Path("committed").mkdir(exist_ok=True)

    def begin_transaction(self, id: TransactionId) -> Any:
        return Path(f"staged/{id.epoch}-{id.checkpoint}").open("x")

    def invoke(self, transaction: Any, value: Record) -> None:
        transaction.write(json.dumps(value) + "\n")

    def pre_commit(self, transaction: Any) -> str:
        transaction.flush()
        os.fsync(transaction.fileno())
        transaction.close()
        return Path(transaction.name).name

    def commit(self, handle: str) -> None:
        staged, committed = Path("staged") / handle, Path("committed") / handle
        if staged.exists():
            staged.rename(committed)
        elif not committed.exists():
            raise DataLossError(f"{handle} is neither staged nor committed")

    def abort(self, transaction: Any) -> None:
        transaction.close()
        Path(transaction.name).unlink()

    def recover_and_abort(self, before_epoch: int) -> None:
        for each in Path("staged").iterdir():
            if int(each.name.split("-")[0]) < before_epoch:
                each.unlink()


class KillAt:
    """Kill this process at a fault point; write down each that is reached."""

    def __init__(self, where: str) -> None:
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


def make_job() -> ms.Job:
    settings = CheckpointSettings(interval=os.environ.get("INTERVAL", "40ms"), retention=3)
    job = ms.Job("durable", checkpoints=settings)
    long = job.source(numbers(0, LONG), uid="long")
    short = job.source(numbers(10_000, 10_000 + SHORT), uid="short")
    keyed = long.union(short).map_async(looked_up, capacity=50, uid="lookup").key_by("k")
    keyed.process(Seen(), uid="seen").sink(Staged(), uid="staged")
    totals: dict[str, Any] = {"total": ms.sum("n"), "count": ms.count()}
    keyed.aggregate(uid="running", **totals).sink(Appending(), uid="appended")
    keyed.aggregate(emit="final", uid="final", **totals).sink(Result(), uid="result")
    return job


def main() -> None:
    faults = KillAt(os.environ.get("KILL_AT", ""))
    execution = prepare_durable(make_job(), RunOptions("job", faults=faults))
    print("resumed from", execution.resumed_from, flush=True)
    result = execution.wait()
    print(result.report())
    if result.error is not None:
        raise result.error
    if result.checkpoints is None or result.checkpoints.failed:
        sys.exit(f"some checkpoints failed: {result.checkpoints}")


if __name__ == "__main__":
    main()
