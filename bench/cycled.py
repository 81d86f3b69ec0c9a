"""W2 over one file again and again, in a folder: without checkpoints, and with one a second.

Long enough for checkpoints to be made in the middle: ten of them must have been in a full run.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import millstream as ms
from bench import data, jobs
from bench import functions as f
from bench.data import Answer
from bench.jobs import CountAndSum, Run

FULL_RECORDS = 34_000_000  # about 17 s at 2 M/s
LEAST_CHECKPOINTS = 10

Build = Callable[[ms.Stream[Any]], ms.Stream[float]]


class CycledSource(ms.BatchSource[Any]):
    """Emits the records of a JSON Lines file, so many times over."""

    def __init__(self, lines: int, cycles: int, type: Any) -> None:
        self.inner = ms.jsonl.source(data.events_file(lines), type=type)
        self.decoder = self.inner.decoder
        self.cycles = cycles

    def read(self, position: Any) -> Iterator[tuple[Any, Any]]:
        cycle, before = position or (0, None)
        while cycle < self.cycles:
            self.inner.open()
            for lines, after in self.inner.read(before):
                yield lines, (cycle, after)
            self.inner.close()
            cycle, before = cycle + 1, None


def prepared(build: Build, type: Any, records: int, interval: str | None) -> Run:
    """Return what runs the job in a folder of its own."""
    answer: Answer = []
    job = ms.Job("w2", checkpoint_interval=interval)
    source = job.source(CycledSource(*data.cycled(records), type), uid="source")
    build(source).sink(CountAndSum(answer), uid="sink")
    warm_up_in_folder()

    def timed() -> Answer:
        with tempfile.TemporaryDirectory() as folder:
            made = completed(ms.run(job, folder=folder))
        least = LEAST_CHECKPOINTS * records // FULL_RECORDS
        if interval is not None and made <= least:  # the final one does not count
            raise RuntimeError(f"only {made - 1} checkpoints within the run, not {least}")
        return answer

    return timed


def completed(result: ms.JobResult) -> int:
    """Return how many checkpoints a run has completed, the final one included."""
    return result.checkpoints.completed if result.checkpoints else 0


def warm_up_in_folder() -> None:
    """Run the smallest job in a folder, so that everything such a run imports is imported."""
    job = ms.Job("warm-up")
    job.source(ms.collection.source([1]), uid="source").sink(ms.blackhole.sink(), uid="sink")
    with tempfile.TemporaryDirectory() as folder:
        ms.run(job, folder=folder)


def functions(records: int) -> Run:
    return prepared(jobs.by_functions, bytes, records, None)


def functions_checkpointed(records: int) -> Run:
    return prepared(jobs.by_functions, bytes, records, "1s")


def source_decodes(records: int) -> Run:
    return prepared(jobs.by_functions_decoded, f.Event, records, None)


def source_decodes_checkpointed(records: int) -> Run:
    return prepared(jobs.by_functions_decoded, f.Event, records, "1s")


def value_state(records: int) -> Run:
    return prepared(jobs.by_value_state, bytes, records, None)


def value_state_checkpointed(records: int) -> Run:
    return prepared(jobs.by_value_state, bytes, records, "1s")


def expressions(records: int) -> Run:
    return prepared(jobs.by_expressions, f.Event, records, None)


def expressions_checkpointed(records: int) -> Run:
    return prepared(jobs.by_expressions, f.Event, records, "1s")
