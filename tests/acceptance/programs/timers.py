"""A job with a timer per key, which is killed while they are pending: see ``test_timers.py``.

Each of KEYS keys has three records and one timer: of an even key it is due soon, of an odd one an
hour after its first record. The source ends when all have fired. What each timer emits appears in
``out`` exactly once; ``fired`` has a line for each call of ``on_timer``.

``SHIFT_MS`` puts the clock forward; ``KILL_AT`` is a fault point, as ``row:2``.
"""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import millstream as ms
from millstream.control.durable_run import prepare_durable
from millstream.control.run_options import RunOptions
from millstream.core.ports import SystemClock

KEYS, SOON_MS, HOUR_MS = 40, 300, 3_600_000
RECORDS = 3 * KEYS
FIRED = Path("fired")

Record = dict[str, Any]


def records(position: Any) -> Iterator[tuple[Sequence[Record], Any]]:
    """Give all records, then wait for all timers."""
    for start in range(position or 0, RECORDS, 10):
        stop = min(start + 10, RECORDS)
        yield [{"k": n % KEYS, "n": n} for n in range(start, stop)], stop
    print("all read", flush=True)
    while len(set(FIRED.read_text().split())) < KEYS:
        time.sleep(0.01)


class Session(ms.KeyedProcessFunction[Record, Record]):
    """Sum up a key's records when its timer fires."""

    total = ms.ValueStateDescriptor(int, default=0)
    due_ms = ms.ValueStateDescriptor(int, default=0)

    def process_element(self, value: Record, ctx: ms.ProcessContext[Record]) -> None:
        self.total.update(self.total.value() + value["n"])
        if not self.due_ms.value():
            wait_ms = HOUR_MS if value["k"] % 2 else SOON_MS
            self.due_ms.update(ctx.timer_service.current_processing_time() + wait_ms)
            ctx.timer_service.register_processing_time_timer(self.due_ms.value())

    def on_timer(self, timestamp: int, ctx: ms.ProcessContext[Record]) -> None:
        time.sleep(0.01)  # so that checkpoints fall between them
        with FIRED.open("a") as file:
            file.write(f"{ctx.current_key}\n")
        early_ms = timestamp - SystemClock.now_ms()
        as_registered = timestamp == self.due_ms.value()
        ctx.collect(
            {
                "k": ctx.current_key,
                "total": self.total.value(),
                "fine": as_registered and early_ms <= 0,
            }
        )


class Points:
    """Tells which fault points are reached, and kills this process at one of them."""

    def __init__(self, where: str) -> None:
        self._point, _, occurrence = where.partition(":")
        self._occurrence = int(occurrence or 0)
        self._reached: Counter[str] = Counter()

    def reach(self, point: str) -> None:
        self._reached[point] += 1
        print(f"{point}:{self._reached[point]}", flush=True)
        if point == self._point and self._reached[point] == self._occurrence:
            os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    real, shift_ms = SystemClock.now_ms, int(os.environ.get("SHIFT_MS", "0"))
    SystemClock.now_ms = staticmethod(lambda: real() + shift_ms)  # type: ignore[method-assign]
    FIRED.touch()
    job = ms.Job("timers", checkpoints=ms.CheckpointSettings(interval="40ms"))
    sessions = job.source(records, uid="records").key_by("k").process(Session(), uid="sessions")
    sessions.sink(ms.jsonl.sink(folder="out"), uid="out")
    options = RunOptions("job", faults=Points(os.environ.get("KILL_AT", "")))
    execution = prepare_durable(job, options)
    print("resumed from", execution.resumed_from, flush=True)
    result = execution.wait()
    if result.error is not None:
        raise result.error
    print(result.report())


if __name__ == "__main__":
    main()
