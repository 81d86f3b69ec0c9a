"""The rules that are about threads, with real ones."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import millstream as ms
from millstream.core.errors import CancelledError, SourceOverflowError
from millstream.core.ports import SystemClock
from millstream.core.source import OverflowStrategy, SourceBatch
from millstream.engine.dispatcher import Dispatcher
from millstream.engine.source_head import CollectHead
from tests.support.probe import Probe
from tests.support.rules import rule
from tests.support.stepping import PATIENCE_S, wait_until

THREADS = 4
EACH = 2_000  # records that each thread collects


class Running:
    """A collect head in an engine thread of its own, and threads that collect."""

    def __init__(self, strategy: OverflowStrategy | None, capacity: int = 0) -> None:
        self.dispatcher = Dispatcher(SystemClock())
        self.head = CollectHead(self.dispatcher, "source", strategy, capacity)
        self.failures: list[BaseException] = []
        self.threads: list[threading.Thread] = []
        self._engine = self.start(self.dispatcher.run)

    def start(self, target: Callable[[], object]) -> threading.Thread:
        def run() -> None:
            try:
                target()
            except (CancelledError, SourceOverflowError):
                pass
            except BaseException as failure:  # noqa: BLE001  # the test raises it
                self.failures.append(failure)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        return thread

    def collect(self) -> list[threading.Thread]:
        """Let every thread collect ``(thread, number)``, one by one and by the list."""

        def collect(thread: int) -> None:
            for number in range(0, EACH, 4):
                self.head.collect((thread, number))
                self.head.collect_batch([(thread, number + i) for i in (1, 2, 3)])

        return [self.start(lambda thread=thread: collect(thread)) for thread in range(THREADS)]  # type: ignore[misc]

    def stop(self) -> None:
        self.dispatcher.post(lambda _: self.dispatcher.stop())
        self._engine.join(PATIENCE_S)
        assert not self._engine.is_alive()
        if self.failures:
            raise self.failures[0]


def subscribe(running: Running, probe: Probe) -> None:
    running.dispatcher.post(running.head.outlet.subscribe, probe)


def per_thread(records: list[Any]) -> dict[int, list[int]]:
    numbers: dict[int, list[int]] = {}
    for thread, number in records:
        numbers.setdefault(thread, []).append(number)
    return numbers


@rule("1.3", "1.1")
def test_signals_stay_serial_while_several_threads_collect() -> None:
    running = Running(None)
    probe = Probe(request=100, on_next=lambda probe: probe.request(probe.chunks[-1]))
    subscribe(running, probe)  # the probe fails at signals that overlap
    for thread in running.collect():
        thread.join(PATIENCE_S)
    running.head.end()
    wait_until(lambda: probe.ended or bool(running.failures), "the end of the stream")
    running.stop()
    assert probe.completed
    assert per_thread(probe.records) == {n: list(range(EACH)) for n in range(THREADS)}


@rule("1.3", "1.1")
@pytest.mark.parametrize("strategy", [OverflowStrategy.DROP, OverflowStrategy.LATEST])
def test_what_several_threads_push_is_delivered_in_order_or_dropped(
    strategy: OverflowStrategy,
) -> None:
    running = Running(strategy)
    probe = Probe(request=10, on_next=lambda probe: probe.request(probe.chunks[-1]))
    subscribe(running, probe)
    for thread in running.collect():
        thread.join(PATIENCE_S)
    running.head.end()
    wait_until(lambda: probe.ended or bool(running.failures), "the end of the stream")
    running.stop()
    assert probe.completed
    assert running.head.offered == THREADS * EACH
    assert probe.received + running.head.dropped == THREADS * EACH
    for numbers in per_thread(probe.records).values():
        assert numbers == sorted(set(numbers))


@rule("3.5", "3.15", "1.8")
def test_cancel_is_thread_safe_and_returns_at_once() -> None:
    running = Running(None)
    probe = Probe(request=10)
    subscribe(running, probe)
    collecting = running.collect()
    wait_until(lambda: probe.received == 10, "the first records")
    begun = time.monotonic()
    cancelling = [running.start(running.head.cancel) for _ in range(8)]
    running.dispatcher.post(lambda _: probe.cancel())
    for thread in cancelling + collecting:
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
    assert time.monotonic() - begun < 5  # milliseconds, where nothing else runs
    running.stop()
    assert probe.received == 10
    assert not probe.ended


@rule("3.5", "3.7")
def test_a_job_may_be_cancelled_by_several_threads_at_once() -> None:
    def numbers(position: Any) -> Iterator[SourceBatch[int]]:
        while True:
            yield [1, 2, 3], None

    taken: list[int] = []
    job = ms.Job("endless")
    job.source(numbers, uid="numbers").map(lambda n: n).sink(taken.append, uid="out")
    execution = ms.start(job)
    wait_until(lambda: len(taken) > 1000, "the first records")
    threads = [threading.Thread(target=execution.cancel) for _ in range(8)]
    for thread in threads:
        thread.start()
    result = execution.wait()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert result.status is ms.JobStatus.CANCELLED
    execution.cancel()  # behind the end it does nothing


class Built(ms.Source[dict[str, int]]):
    """Goes on changing each record until the moment it collects it."""

    def run(self, ctx: ms.SourceContext[dict[str, int]]) -> None:
        for number in range(EACH):
            record: dict[str, int] = {}
            record["number"] = number
            record["square"] = number * number
            ctx.collect(record)


@rule("2.11")
def test_what_was_done_before_a_record_was_handed_over_is_seen_on_the_other_side() -> None:
    """From the source's thread to the engine's, to the event loop's, back, and to the sink's."""

    async def cube(record: dict[str, int]) -> dict[str, int]:
        record["cube"] = record["square"] * record["number"]
        return record

    taken: list[dict[str, int]] = []
    job = ms.Job("handed over")
    stream = job.source(Built(), uid="built").map(lambda r: {**r, "next": r["number"] + 1})
    stream.map_async(cube, uid="cube").sink(lambda r: taken.append(dict(r)), uid="out")
    ms.run(job)
    assert taken == [
        {"number": n, "square": n**2, "next": n + 1, "cube": n**3} for n in range(EACH)
    ]
