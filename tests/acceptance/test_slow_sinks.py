"""Behind a sink of 10 records/s: how long barriers, timers and a cancel take to pass."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import millstream as ms
from tests.unit.engine.driving import Begun, drop, never_ending

RATE = 10.0  # records/s
BARRIER_S = 5.0  # what the issue allows; measured 0.5
CANCEL_S = 1.0
WATCH_S = 5.0
FANNED_OUT = 100  # results of one record, in the case where a barrier has to wait for all of them


class Slow(ms.Sink[Any]):
    """Takes ``RATE`` records/s; ``slow_after`` records at 8 times that."""

    def __init__(self, slow_after: int = 0) -> None:
        self.taken = 0
        self.slow_after = slow_after
        self.first = threading.Event()

    def invoke(self, value: Any, ctx: ms.SinkContext) -> None:
        self.taken += 1
        self.first.set()
        time.sleep(1 / RATE if self.taken > self.slow_after else 1 / (8 * RATE))


class SlowBatches(Slow):
    def invoke_batch(self, values: Sequence[Any], ctx: ms.SinkContext) -> None:
        self.taken += len(values)
        self.first.set()
        time.sleep(len(values) / RATE)


class SlowAsync(ms.AsyncSink[Any]):
    def __init__(self) -> None:
        self.taken = 0
        self.first = threading.Event()

    async def invoke(self, value: Any, ctx: ms.SinkContext) -> None:
        self.taken += 1
        self.first.set()
        await asyncio.sleep(1 / RATE)


class SlowAsyncBatches(SlowAsync):
    async def invoke_batch(self, values: Sequence[Any], ctx: ms.SinkContext) -> None:
        self.taken += len(values)
        self.first.set()
        await asyncio.sleep(len(values) / RATE)


class Collecting(ms.Source[int]):
    def run(self, ctx: ms.SourceContext[int]) -> None:
        while True:
            ctx.collect(1)


async def same(n: int) -> int:
    return n


def keyed(stream: ms.Stream[int]) -> ms.Stream[int]:
    return stream.key_by(lambda n: n % 7).reduce(lambda _, n: n, uid="last")


def to_one_of_two(stream: ms.Stream[int]) -> ms.Stream[int]:
    parts = stream.split(lambda n: "a" if n % 2 else "b", "a", "b", uid="split")
    parts["b"].sink(drop, uid="other out")
    return parts["a"]


def with_a_fast_sink(stream: ms.Stream[int]) -> ms.Stream[int]:
    stream = stream.map(lambda n: n)
    stream.sink(drop, uid="other out")
    return stream


Build = Callable[["ms.Stream[int]"], "ms.Stream[Any]"]


@dataclass(frozen=True)
class Case:
    """A job before a slow sink."""

    build: Build = lambda stream: stream
    sink: Callable[[], Any] = Slow
    source: Any = never_ending
    chaining: bool = True


CASES = {
    "a sink": Case(),
    "a batch sink": Case(sink=SlowBatches),
    "an async sink": Case(sink=SlowAsync),
    "an async batch sink": Case(sink=SlowAsyncBatches),
    "map": Case(lambda s: s.map(lambda n: n)),
    "map, unchained": Case(lambda s: s.map(lambda n: n), chaining=False),
    "map_batches": Case(lambda s: s.map_batches(list)),
    "map_async": Case(lambda s: s.map_async(same, uid="async")),
    "map_async, unordered": Case(lambda s: s.map_async(same, uid="async", ordered=False)),
    "keyed": Case(keyed),
    "keyed, unchained": Case(keyed, chaining=False),
    "a collecting source": Case(source=Collecting()),
    "a second, fast sink": Case(with_a_fast_sink),
    "split": Case(to_one_of_two),
    "nearly all filtered out": Case(lambda s: s.filter(lambda n: n % 1000 == 0)),
    "all filtered out, then none": Case(lambda s: s.filter(lambda n: n > 100_000)),
    "flat_map x 10": Case(lambda s: s.flat_map(lambda n: [n] * 10)),
    "flat_map x 10, unchained": Case(lambda s: s.flat_map(lambda n: [n] * 10), chaining=False),
    f"flat_map x {FANNED_OUT}": Case(lambda s: s.flat_map(lambda n: [n] * FANNED_OUT)),
    "first 8 times as fast": Case(sink=lambda: Slow(slow_after=100)),
}


@dataclass(frozen=True)
class Seen:
    """What was measured of one case, in seconds."""

    barriers: list[float]
    timer: float
    cancel: float


def watch(name: str, folder: Path) -> Seen:
    """Make one checkpoint after the other from the first delivery on, then a timer, then cancel."""
    case = CASES[name]
    job = ms.Job(name, chaining=case.chaining)
    sink = case.sink()
    first: threading.Event = sink.first  # of the instance that the job copies for its run
    case.build(job.source(case.source, uid="in")).sink(sink, uid="out")
    begun = Begun(job, folder)
    assert first.wait(30)
    until_s = time.monotonic() + WATCH_S
    barriers: list[float] = []
    while time.monotonic() < until_s:
        began_s = time.monotonic()
        begun.checkpoint()
        barriers.append(time.monotonic() - began_s)
    fired = threading.Event()
    began_s = time.monotonic()
    begun.run.dispatcher.post(
        lambda _: begun.run.dispatcher.call_at(time.monotonic_ns(), fired.set)
    )
    assert fired.wait(30)
    timer = time.monotonic() - began_s
    began_s = time.monotonic()
    begun.end()
    return Seen(barriers, timer, time.monotonic() - began_s)


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Seen]:
    """Watch all at once: each mostly sleeps."""
    folders = [tmp_path_factory.mktemp("checkpoints") for _ in CASES]
    with ThreadPoolExecutor(len(CASES)) as pool:
        watched = dict(zip(CASES, pool.map(watch, CASES, folders), strict=True))
    for name, each in watched.items():
        slowest = max(each.barriers)
        print(f"{name}: barrier {slowest:.2f} s, timer {each.timer:.3f}, cancel {each.cancel:.2f}")
    return watched


@pytest.mark.parametrize("name", CASES)
def test_a_barrier_passes_a_slow_sink_in_time(name: str, seen: dict[str, Seen]) -> None:
    # A barrier stands behind what has been made of the records before it. Of a flat_map that is
    # all results of the record in hand, and of no other.
    fanned_out = FANNED_OUT / RATE if name == f"flat_map x {FANNED_OUT}" else 0
    assert max(seen[name].barriers) < BARRIER_S + fanned_out
    assert len(seen[name].barriers) >= 2 or fanned_out


@pytest.mark.parametrize("name", CASES)
def test_timers_and_a_cancel_do_not_wait_for_it(name: str, seen: dict[str, Seen]) -> None:
    assert seen[name].timer < 1.0
    assert seen[name].cancel < CANCEL_S


def test_the_faster_of_two_sinks_keeps_the_slower_ones_pace() -> None:
    fast: list[int] = []
    slow = Slow()
    job = ms.Job("two sinks")
    stream = job.source(never_ending, uid="in").map(lambda n: n)
    stream.sink(fast.append, uid="fast")
    stream.sink(slow, uid="slow")
    begun = Begun(job)
    time.sleep(3)
    begun.end()
    assert 10 <= len(fast) <= 3 * RATE + RATE  # what the slow one takes, and about a second's worth
