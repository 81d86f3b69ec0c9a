"""Jobs that run in a folder, in a thread of the test, and are reached over their socket."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import millstream as ms
from millstream.control.durable_run import DurableExecution, prepare_durable
from millstream.control.job_socket import ask
from millstream.control.run_options import RunOptions
from millstream.core.job_result import JobResult
from tests.support.stepping import wait_until

Batches = Iterator[tuple[Sequence[int], int]]
PAUSE_S = 0.001  # between two batches of a source that does not end by itself
ENDLESS = 10**9


def generator(until: int) -> Any:
    """Return a source of numbers as a generator."""

    def read(position: Any) -> Batches:
        for at in range(position or 0, until, 3):
            yield range(at, min(at + 3, until)), min(at + 3, until)
            time.sleep(PAUSE_S)

    return read


class Blocking(ms.BatchSource[int]):
    """Waits for what never comes, behind the first numbers, until it is cancelled."""

    def __init__(self, until: int) -> None:
        self.until, self.cancelled = until, threading.Event()

    def open(self) -> None:
        self.cancelled = threading.Event()

    def read(self, position: Any) -> Batches:
        yield from generator(min(self.until, 300))(position)
        if self.until > 300:
            self.cancelled.wait()

    def cancel(self) -> None:
        self.cancelled.set()


class Collecting(ms.Source[int]):
    """The architecture's form: it reports its own state."""

    def __init__(self, until: int) -> None:
        self.until, self.next = until, 0

    def run(self, ctx: ms.SourceContext[int]) -> None:
        while self.next < self.until:
            with ctx.checkpoint_lock:
                ctx.collect(self.next)
                self.next += 1
            if self.next % 3 == 0:
                time.sleep(PAUSE_S)

    def snapshot_state(self) -> int:
        return self.next

    def restore_state(self, state: int) -> None:
        self.next = state


def asynchronous(until: int) -> Any:
    """Return a source of numbers as an async generator."""

    async def read(position: Any) -> AsyncIterator[tuple[Sequence[int], int]]:
        for at in range(position or 0, until, 3):
            yield range(at, min(at + 3, until)), min(at + 3, until)
            await asyncio.sleep(PAUSE_S)

    return read


SOURCES: dict[str, Callable[[int], Any]] = {
    "generator": generator,
    "blocking": Blocking,
    "collecting": Collecting,
    "async": asynchronous,
}


async def same(record: Any) -> Any:
    """Take a moment, and pass the record on."""
    await asyncio.sleep(0.001)
    return record


def make_job(folder: Path, source: Any, interval: str | None = None, name: str = "job") -> ms.Job:
    """Return a job with state, calls in flight and both exact sinks, which write into a folder."""
    folder.mkdir(exist_ok=True)
    job = ms.Job(name, checkpoints=ms.CheckpointSettings(interval=interval, timeout="20s"))
    stream = job.source(source, uid="in").map_async(same, capacity=10, uid="calls")
    records = stream.map(lambda n: {"n": n, "k": n % 3})
    records.sink(ms.jsonl.sink(folder=folder / "parts"), uid="parts")
    totals = records.key_by("k").aggregate(
        emit="final", uid="totals", n=ms.count(), sum=ms.sum("n")
    )
    totals.sink(ms.jsonl.sink(folder / "totals.jsonl"), uid="totals_out")
    return job


def written(folder: Path) -> Counter[int]:
    """Return the numbers that have appeared in the folder of parts."""
    lines = [
        line for each in (folder / "parts").glob("*.jsonl") for line in each.read_text().split()
    ]
    return Counter(json.loads(line)["n"] for line in lines)


def totals(folder: Path) -> list[tuple[int, int]]:
    """Return what the other sink has: count and sum of each key."""
    lines = [json.loads(line) for line in (folder / "totals.jsonl").read_text().splitlines()]
    return [(each["n"], each["sum"]) for each in sorted(lines, key=lambda each: int(each["k"]))]


def expected_totals(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """Return what ``totals`` is to be."""
    of = [[n for n in numbers if n % 3 == key] for key in range(3)]
    return [(len(each), sum(each)) for each in of if each]


class Running:
    """A job in a thread; leaving the block stops it, if nobody has."""

    def __init__(self, job: ms.Job, folder: Path, **options: Any) -> None:
        self.job, self.folder = job.name, folder
        self.execution: DurableExecution = prepare_durable(job, RunOptions(folder, **options))
        self.results: list[JobResult | BaseException] = []
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        try:
            self.results.append(self.execution.wait())
        except BaseException as error:  # noqa: BLE001  # the test sees it in the result
            self.results.append(error)

    def __enter__(self) -> Running:
        self._thread.start()
        wait_until(lambda: (self.folder / "control.sock").exists() or bool(self.results), "start")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.execution.cancel()
        self._thread.join(30)

    def ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        return ask(self.folder, self.job, {"command": command, **arguments}, timeout_s=30)

    def let_pass(self, records: int) -> None:
        """Wait until checkpoints have let so many more records appear."""
        taken = self.taken()
        wait_until(lambda: self.taken() >= taken + records, f"{records} records")

    def taken(self) -> int:
        run = self.execution._execution._run
        return sum(each.taken for each in run.assembly.sink_drivers() if each.uid == "parts")

    def result(self) -> JobResult:
        self._thread.join(30)
        [result] = self.results
        assert isinstance(result, JobResult), result
        return result
