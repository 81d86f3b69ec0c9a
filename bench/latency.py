"""How late records reach the sink of a running job, behind a source that keeps a rate.

A record is its own due time on the monotonic clock, in ns, so the latency includes whatever the
source, the engine and the sink's thread added, also when all of them fell behind together.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import millstream as ms
from bench.jobs import warm_up

TICK_S = 0.0005
WARM_UP_S = 1.0  # left out: threads start, the loop gets specialised
MEASURED_S = 3.0
LEAD_NS = 50_000_000  # the first record is due so long after the run began


class DueSource(ms.BatchSource[int]):
    """Emits what is due, every half millisecond."""

    def __init__(self, rate: int, seconds: float) -> None:
        self.interval_ns = 1_000_000_000 // rate
        self.records = int(rate * seconds)

    def read(self, position: Any) -> Iterator[tuple[Sequence[int], Any]]:
        interval, clock = self.interval_ns, time.monotonic_ns
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
        return {"records": len(latencies), **quantiles(latencies[int(rate * WARM_UP_S) :])}

    return timed


def quantiles(latencies_ns: Sequence[int]) -> dict[str, float]:
    """Return the median, the 99th percentile and the worst, in ms."""
    ordered = sorted(latencies_ns)

    def at(share: float) -> float:
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] / 1e6

    return {"p50_ms": at(0.50), "p99_ms": at(0.99), "max_ms": ordered[-1] / 1e6}
