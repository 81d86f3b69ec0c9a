"""1,000,000 keys of state, with checkpoints back to back; the bare loop; and the restore.

Keys are texts of 8 characters in random order. Each is there before the clock starts. One process
runs: the bare loop, the job without checkpoints, the job with ten of them, and a restore of the
last one.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import millstream as ms
from bench.cycled import warm_up_in_folder
from millstream.control.durable_run import prepare_durable
from millstream.control.run_options import RunOptions
from millstream.engine.segment import Segment
from millstream.runtime.state.memory import MemoryStateBackend

KEYS = 1_000_000
CHECKPOINTS = 10
UPDATES = 3_000_000  # by the bare loop, and by the job without checkpoints
BATCH = 1024
LOOK = 64  # batches between two looks at the folder
Counter = tuple[int, float]
Build = Callable[[ms.KeyedStream[str]], ms.Stream[Any]]


def add(counter: Counter, _: str) -> Counter:
    """Count one record."""
    return counter[0] + 1, counter[1] + 0.5


class CountInMap(ms.KeyedProcessFunction[str, int]):
    counts = ms.MapStateDescriptor(str, int)

    def process_element(self, value: str, ctx: ms.ProcessContext[int]) -> None:
        number = self.counts.get("n", 0) + 1
        self.counts.put("n", number)
        ctx.collect(number)


class KeepLastInList(ms.KeyedProcessFunction[str, int]):
    last = ms.ListStateDescriptor(int)

    def process_element(self, value: str, ctx: ms.ProcessContext[int]) -> None:
        number, *_ = self.last.get() or (0,)
        self.last.update((number + 1, number))
        ctx.collect(number)


BUILDS: dict[str, Build] = {
    "reduce": lambda keyed: keyed.reduce(add, initial=(0, 0.0), uid="state"),
    "map": lambda keyed: keyed.process(CountInMap(), uid="state"),
    "list": lambda keyed: keyed.process(KeepLastInList(), uid="state"),
}


class EnoughError(Exception):
    """Ends a run as a kill would, so that another can go on from its last checkpoint."""


class Updates:
    """The keys: each once, then a million of them at random."""

    def __init__(self, keys: int) -> None:
        draw = random.Random(7)
        self.keys = [f"{number:08}" for number in range(keys)]
        shuffled = draw.choices(self.keys, k=1_000_000)
        self.first = [self.keys[at : at + BATCH] for at in range(0, keys, BATCH)]
        self.batches = [shuffled[at : at + BATCH] for at in range(0, len(shuffled), BATCH)]


class UpdateSource(ms.BatchSource[str]):
    """Emits every key, then random ones until it is told to stop."""

    def __init__(self, updates: Updates, enough: Callable[[int], bool]) -> None:
        self.updates = updates
        self.enough = enough

    def read(self, position: Any) -> Iterator[tuple[Sequence[str], int]]:
        for number, batch in enumerate(self.updates.first):
            yield batch, number
        number, batches = 0, self.updates.batches
        while not self.enough(number * BATCH):
            yield list(batches[number % len(batches)]), number  # a chunk is used up
            number += 1
        raise EnoughError


class Watch:
    """Notes when each chunk begins, and how long a barrier holds up the stream."""

    def __init__(self, warm_up: int) -> None:
        self.begun: list[float] = []
        self.pauses: list[float] = []
        self._run, self._begin = Segment.run, MemoryStateBackend.begin_snapshot
        self._warm_up = warm_up

    def __enter__(self) -> Watch:
        begun, pauses, run, begin = self.begun, self.pauses, self._run, self._begin
        clock = time.perf_counter

        def watched_run(segment: Segment, values: Sequence[Any]) -> list[Any]:
            begun.append(clock())
            return run(segment, values)

        def watched_begin(states: MemoryStateBackend, uids: Any = None) -> Any:
            before = clock()
            try:
                return begin(states, uids)
            finally:
                pauses.append(clock() - before)

        _put(Segment, "run", watched_run)
        _put(MemoryStateBackend, "begin_snapshot", watched_begin)
        return self

    def __exit__(self, *_: object) -> None:
        _put(Segment, "run", self._run)
        _put(MemoryStateBackend, "begin_snapshot", self._begin)

    def chunks_s(self) -> list[float]:
        """Return from the beginning of each chunk behind the first keys to that of the next."""
        begun = self.begun[self._warm_up :]
        return [after - before for before, after in pairwise(begun)]


def run_job(
    build: Build, updates: Updates, enough: Callable[[int], bool], folder: Path, **options: Any
) -> Watch:
    """Run the job until its source has had enough."""
    job = ms.Job("large-state", **options)
    keyed = job.source(UpdateSource(updates, enough), uid="source").key_by(ms.it)
    build(keyed).sink(ms.blackhole.sink(), uid="sink")
    with Watch(len(updates.first)) as watch:
        try:
            ms.run(job, folder=folder)
        except ms.errors.SourceError as error:
            if not isinstance(error.__cause__, EnoughError):
                raise
    return watch


def completed(folder: Path) -> int:
    """Return the number of the last complete checkpoint."""
    return max((int(each.name[4:]) for each in folder.glob("checkpoints/*/chk-*")), default=0)


def bare_per_s(updates: Updates) -> float:
    """Return updates per second of the bare loop."""
    table: dict[str, Counter] = dict.fromkeys(updates.keys, (0, 0.0))
    get, initial, function = table.get, (0, 0.0), add
    before, done, total = time.perf_counter(), 0, 0
    while done < UPDATES:
        for key in updates.batches[done // BATCH % len(updates.batches)]:
            table[key] = value = function(get(key, initial), key)
            total += value[0]
        done += BATCH
    return done / (time.perf_counter() - before)


def measure(kind: str, keys: int) -> dict[str, float]:
    """Run everything for one kind of state."""
    updates, build = Updates(keys), BUILDS[kind]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plain = run_job(build, updates, lambda done: done >= UPDATES, folder / "plain")
        busy = run_job(
            build,
            updates,
            lambda done: not done // BATCH % LOOK and completed(folder / "busy") > CHECKPOINTS,
            folder / "busy",
            checkpoints=ms.CheckpointSettings(interval="1ms"),
        )
        last = completed(folder / "busy")
        restore_s = time_restore(build, updates, folder / "busy")
    chunks = sorted(busy.chunks_s())
    return {
        "bare_per_s": bare_per_s(updates) if kind == "reduce" else 0.0,
        "plain_per_s": BATCH / _mean(plain.chunks_s()),
        "checkpointed_per_s": BATCH / _mean(chunks),
        "checkpoints": last,
        "pause_ms": max(busy.pauses) * 1e3,
        "p999_ms": chunks[int(len(chunks) * 0.999)] * 1e3,
        "slowest_ms": chunks[-1] * 1e3,
        "restore_s": restore_s,
    }


def time_restore(build: Build, updates: Updates, folder: Path) -> float:
    """Return how long a run takes, from its start, to go on from the last checkpoint."""
    job = ms.Job("large-state")
    keyed = job.source(UpdateSource(updates, lambda _: True), uid="source").key_by(ms.it)
    build(keyed).sink(ms.blackhole.sink(), uid="sink")
    before = time.perf_counter()
    execution = prepare_durable(job, RunOptions(folder, resume=True))
    elapsed_s = time.perf_counter() - before
    execution.close()
    return elapsed_s


def _put(owner: type, name: str, method: Any) -> None:
    setattr(owner, name, method)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def reduce(keys: int) -> Callable[[], dict[str, float]]:
    warm_up_in_folder()
    return lambda: measure("reduce", keys)


def map(keys: int) -> Callable[[], dict[str, float]]:
    warm_up_in_folder()
    return lambda: measure("map", keys)


def list_(keys: int) -> Callable[[], dict[str, float]]:
    warm_up_in_folder()
    return lambda: measure("list", keys)
