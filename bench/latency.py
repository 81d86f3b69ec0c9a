"""How late records reach the sink of a running job, behind a source that keeps a rate.

A record is its own due time on the monotonic clock, in ns, so the latency includes whatever the
source, the engine and the sink's thread added, also when all of them fell behind together.
"""

from __future__ import annotations

import tempfile
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import millstream as ms
from bench.cycled import completed, warm_up_in_folder
from bench.jobs import warm_up

TICK_S = 0.0005
CHUNK = 1024
WARM_UP_S = 1.0  # left out: threads start, the loop gets specialised
MEASURED_S = 3.0
LARGE_STATE_S = 10.0  # with 1,000,000 keys: time for several checkpoints
KEYS = 1_000_000
LEAD_NS = 50_000_000  # the first record is due so long after the run began


class DueSource(ms.BatchSource[int]):
    """Emits what is due, every half millisecond.

    Args:
        rate: records per second.
        seconds: for how long.
        before: so many records at first, at once: the first ``interval_ns``, ``2 * interval_ns`` ….
    """

    def __init__(self, rate: int, seconds: float, before: int = 0) -> None:
        self.interval_ns = 1_000_000_000 // rate
        self.records = int(rate * seconds)
        self.before = before

    def read(self, position: Any) -> Iterator[tuple[Sequence[int], Any]]:
        interval, clock = self.interval_ns, time.monotonic_ns
        for at in range(0, self.before * interval, CHUNK * interval):
            yield range(at, min(at + CHUNK * interval, self.before * interval), interval), at
        tick_ns = int(TICK_S * 1e9)
        start = clock() + LEAD_NS
        end = start + self.records * interval
        due = tick = start
        while due < end:
            tick += tick_ns
            wait_ns = tick - clock()
            if wait_ns > 0:
                time.sleep(wait_ns / 1e9)
            following = min(end, due + ((clock() - due) // interval + 1) * interval)
            if following > due:
                yield range(due, following, interval), following
                due = following


class LatencySink(ms.Sink[int]):
    """Notes how late each record is."""

    def __init__(self, latencies_ns: array[int]) -> None:
        self.latencies_ns = latencies_ns  # shared with the copy that runs

    def invoke(self, value: int, ctx: ms.SinkContext) -> None:
        self.invoke_batch([value], ctx)

    def invoke_batch(self, values: Sequence[int], ctx: ms.SinkContext) -> None:
        now = time.monotonic_ns()
        self.latencies_ns.extend([now - due for due in values])


def through_three_operators(rate: int) -> Callable[[], dict[str, float]]:
    """Prepare a run at ``rate`` records per second."""
    latencies: array[int] = array("q")
    job = ms.Job("latency")
    records = job.source(DueSource(rate, WARM_UP_S + MEASURED_S), uid="source")
    records = records.map(lambda due: due + 1).filter(lambda due: due > 0).map(lambda due: due - 1)
    records.sink(LatencySink(latencies), uid="sink")
    warm_up()
    run = ms.run

    def timed() -> dict[str, float]:
        run(job)
        del latencies[: int(rate * WARM_UP_S)]
        return {"records": len(latencies), **quantiles(latencies)}

    return timed


def through_large_state(rate: int) -> Callable[[], dict[str, float]]:
    """Prepare a run with 1,000,000 keys of state, and a checkpoint each second."""
    latencies: array[int] = array("q")
    interval_ns = 1_000_000_000 // rate
    job = ms.Job("latency", checkpoint_interval="1s")
    source = DueSource(rate, LARGE_STATE_S, before=KEYS)
    keyed = job.source(source, uid="source").key_by(lambda due: due // interval_ns * 7919 % KEYS)
    last = keyed.reduce(lambda before, due: (due, before[0]), initial=(0, 0), uid="state")
    last.map(lambda pair: pair[0]).sink(LatencySink(latencies), uid="sink")
    warm_up_in_folder()

    def timed() -> dict[str, float]:
        with tempfile.TemporaryDirectory() as folder:
            made = completed(ms.run(job, folder=folder))
        if made < LARGE_STATE_S // 2:
            raise RuntimeError(f"only {made} checkpoints")
        del latencies[: KEYS + int(rate * WARM_UP_S)]
        return {"records": len(latencies), **quantiles(latencies)}

    return timed


def quantiles(latencies_ns: Sequence[int]) -> dict[str, float]:
    """Return the median, the 99th percentile and the worst, in ms."""
    ordered = sorted(latencies_ns)

    def at(share: float) -> float:
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] / 1e6

    return {"p50_ms": at(0.50), "p99_ms": at(0.99), "max_ms": ordered[-1] / 1e6}
