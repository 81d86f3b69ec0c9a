"""A job that is told what to do from outside; once ``armed`` is there it dies at ``KILL_AT``.

It numbers the records of each key, and shows them checkpoint by checkpoint.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import millstream as ms
from millstream.control.durable_run import prepare_durable
from millstream.control.run_options import RunOptions

UNTIL = int(os.environ.get("UNTIL", "0"))  # 0: it does not end by itself
KEYS = 5

Record = dict[str, Any]


def numbers(position: Any) -> Iterator[tuple[Sequence[Record], Any]]:
    """Yield numbered records; a position is the number that comes next."""
    end = UNTIL or 10**9
    for start in range(position or 0, end, 7):
        stop = min(start + 7, end)
        yield [{"k": f"k{n % KEYS}", "n": n} for n in range(start, stop)], stop
        if not UNTIL:
            time.sleep(0.002)


class Seen(ms.KeyedProcessFunction[Record, Record]):
    """Number the records of each key."""

    seen = ms.ValueStateDescriptor(int, default=0)

    def process_element(self, value: Record, ctx: ms.ProcessContext[Record]) -> None:
        seen = self.seen.value() + 1
        self.seen.update(seen)
        ctx.collect({**value, "seen": seen})


class KillWhenArmed:
    """Kill this process at a fault point of the next checkpoint, once it is armed.

    The commit of the one before may come while that is made: it does not count.
    """

    def __init__(self) -> None:
        self._reached: set[str] = set()

    def reach(self, point: str) -> None:
        if point == "trigger" and Path("armed").exists():
            self._reached.add(point)
        elif "trigger" not in self._reached:
            return
        elif not point.startswith("commit") or "completed" in self._reached:
            self._reached.add(point)
        if os.environ.get("KILL_AT") in self._reached:
            os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    job = ms.Job("told")
    records = job.source(numbers, uid="numbers")
    seen = records.key_by("k").process(Seen(), uid="seen")
    seen.sink(ms.jsonl.sink(folder="parts"), uid="parts")
    counted = records.key_by("k").aggregate(emit="final", uid="totals", n=ms.count())
    counted.sink(ms.jsonl.sink("totals.jsonl"), uid="totals_out")
    savepoint = os.environ.get("FROM_SAVEPOINT")
    options = RunOptions("job", from_savepoint=savepoint, faults=KillWhenArmed())
    execution = prepare_durable(job, options)
    print("resumed from", execution.resumed_from, flush=True)
    result = execution.wait()
    print(result.report())
    if result.error is not None:
        sys.exit(str(result.error))


if __name__ == "__main__":
    main()
