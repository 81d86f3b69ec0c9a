"""Bytewax, a call per record, one worker, no recovery store."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import bytewax.operators as op  # type: ignore[import-not-found]  # only in its own environment
from bytewax.connectors.files import FileSource  # type: ignore[import-not-found]  # same
from bytewax.dataflow import Dataflow  # type: ignore[import-not-found]  # same
from bytewax.inputs import (  # type: ignore[import-not-found]  # same
    FixedPartitionedSource,
    StatefulSourcePartition,
)
from bytewax.outputs import (  # type: ignore[import-not-found]  # same
    DynamicSink,
    StatelessSinkPartition,
)
from bytewax.testing import run_main  # type: ignore[import-not-found]  # same

from bench import data
from bench import functions as f
from bench.data import Answer

BATCH = 1000


class _Numbers(StatefulSourcePartition):  # type: ignore[misc]  # Any here
    def __init__(self, records: int) -> None:
        self.records = records
        self.following = 0

    def next_batch(self) -> Iterable[int]:
        if self.following >= self.records:
            raise StopIteration
        batch = range(self.following, min(self.following + BATCH, self.records))
        self.following = batch.stop
        return batch

    def snapshot(self) -> int:
        return self.following


class _Sequence(FixedPartitionedSource):  # type: ignore[misc]  # Any here
    def __init__(self, records: int) -> None:
        self.records = records

    def list_parts(self) -> list[str]:
        return ["all"]

    def build_part(self, step_id: str, for_part: str, resume_state: Any) -> _Numbers:
        return _Numbers(self.records)


class _Part(StatelessSinkPartition):  # type: ignore[misc]  # Any here
    def __init__(self, answer: Answer, keyed: bool) -> None:
        self.answer = answer
        self.keyed = keyed

    def write_batch(self, items: list[Any]) -> None:
        self.answer[0] += len(items)
        self.answer[1] += sum([value for _, value in items] if self.keyed else items)


class _CountAndSum(DynamicSink):  # type: ignore[misc]  # Any here
    def __init__(self, answer: Answer, keyed: bool) -> None:
        self.answer = answer
        self.keyed = keyed

    def build(self, step_id: str, worker_index: int, worker_count: int) -> _Part:
        return _Part(self.answer, self.keyed)


def _finished(flow: Any, last: Any, keyed: bool) -> Callable[[], Answer]:
    answer: Answer = [0, 0]
    op.output("sink", last, _CountAndSum(answer, keyed))

    def run() -> Answer:
        run_main(flow)
        return answer

    return run


def w1(records: int) -> Callable[[], Answer]:
    flow = Dataflow("w1")
    stream = op.input("source", flow, _Sequence(records))
    stream = op.map("add", stream, f.add_one)
    stream = op.filter("even", stream, f.is_even)
    return _finished(flow, op.map("triple", stream, f.triple), keyed=False)


def w2(records: int) -> Callable[[], Answer]:
    def running(total: float | None, event: f.Event) -> tuple[float, float]:
        total = f.add_amount(total or 0.0, event)
        return total, total

    flow = Dataflow("w2")
    stream = op.input("source", flow, FileSource(data.events_file(records), batch_size=BATCH))
    stream = op.map("decode", stream, f.decode)
    stream = op.filter("large", stream, f.is_large)
    stream = op.key_on("user", stream, f.user_of)
    return _finished(flow, op.stateful_map("sums", stream, running), keyed=True)
