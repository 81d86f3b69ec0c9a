"""The measured jobs: each function builds one and returns what runs it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import millstream as ms
from bench import data
from bench import functions as f
from bench.data import Answer

Run = Callable[[], Answer]


class CountAndSum(ms.Sink[float]):
    """Counts records and adds them up, a list at a time."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer  # shared with the copy that runs
        self.count = 0
        self.total: float = 0

    def invoke(self, value: float, ctx: ms.SinkContext) -> None:
        self.invoke_batch([value], ctx)

    def invoke_batch(self, values: Sequence[float], ctx: ms.SinkContext) -> None:
        self.count += len(values)
        self.total += sum(values)

    def finish(self) -> None:
        self.answer[:] = [self.count, self.total]


def warm_up() -> None:
    """Run the smallest job, so that everything a run imports is imported."""
    job = ms.Job("warm-up")
    job.source(ms.collection.source([1]), uid="source").sink(ms.blackhole.sink(), uid="sink")
    ms.run(job)


def finished(job: ms.Job, last: ms.Stream[Any]) -> Run:
    """End a job with the counting sink, and return what runs it."""
    answer: Answer = []
    last.sink(CountAndSum(answer), uid="sink")
    warm_up()
    run = ms.run

    def timed() -> Answer:
        run(job)
        return answer

    return timed


def _numbers(job: ms.Job, records: int) -> ms.Stream[int]:
    return job.source(ms.sequence.source(records), uid="source")


# -- W1 and longer chains -------------------------------------------------------------------------


def w1(records: int) -> Run:
    job = ms.Job("w1")
    last = _numbers(job, records).map(f.add_one).filter(f.is_even).map(f.triple)
    return finished(job, last)


def w1_expressions(records: int) -> Run:
    job = ms.Job("w1")
    last = _numbers(job, records).map(ms.it + 1).filter(ms.it % 2 == 0).map(ms.it * 3)
    return finished(job, last)


def dropping(records: int) -> Run:
    job = ms.Job("dropping")
    return finished(job, _numbers(job, records).map(f.add_one).filter(f.is_negative))


def ten(records: int) -> Run:
    return _ten(ms.Job("ten"), records)


def ten_unchained(records: int) -> Run:
    return _ten(ms.Job("ten", chaining=False), records)


def _ten(job: ms.Job, records: int) -> Run:
    stream = _numbers(job, records)
    for kind, function in f.TEN:
        stream = stream.map(function) if kind == "map" else stream.filter(function)
    return finished(job, stream)


def orders(records: int) -> Run:
    made = data.orders(records)
    job = ms.Job("orders")
    source = job.source(ms.collection.source(made), uid="source")
    return finished(job, source.map(f.with_total).filter(f.is_large_order).map(f.total_of))


# -- no operators at all --------------------------------------------------------------------------


def empty_small_chunks(records: int) -> Run:
    return _empty(records, 64)


def empty_large_chunks(records: int) -> Run:
    return _empty(records, 1024)


def _empty(records: int, chunk_size: int) -> Run:
    job = ms.Job("empty", engine=ms.EngineSettings(chunk_size=chunk_size))
    return finished(job, _numbers(job, records))


# -- W2 -------------------------------------------------------------------------------------------


class RunningSum(ms.KeyedProcessFunction[f.Event, float]):
    """The running sum as a user writes it with keyed state."""

    total = ms.ValueStateDescriptor(float, default=0.0)

    def process_element(self, value: f.Event, ctx: ms.ProcessContext[float]) -> None:
        total = self.total.value() + value.amount
        self.total.update(total)
        ctx.collect(total)


def _lines(job: ms.Job, records: int) -> ms.Stream[bytes]:
    return job.source(ms.jsonl.source(data.events_file(records), type=bytes), uid="source")


def _events(job: ms.Job, records: int) -> ms.Stream[f.Event]:
    return job.source(ms.jsonl.source(data.events_file(records), type=f.Event), uid="source")


def by_functions(lines: ms.Stream[bytes]) -> ms.Stream[float]:
    keyed = lines.map(f.decode).filter(f.is_large).key_by(f.user_of)
    return keyed.reduce(f.add_amount, initial=0.0, uid="sums")


def by_functions_decoded(events: ms.Stream[f.Event]) -> ms.Stream[float]:
    keyed = events.filter(f.is_large).key_by(f.user_of)
    return keyed.reduce(f.add_amount, initial=0.0, uid="sums")


def by_value_state(lines: ms.Stream[bytes]) -> ms.Stream[float]:
    keyed = lines.map(f.decode).filter(f.is_large).key_by(f.user_of)
    return keyed.process(RunningSum(), uid="sums")


def by_expressions(events: ms.Stream[f.Event]) -> ms.Stream[float]:
    keyed = events.filter(ms.col("amount") >= f.MIN_AMOUNT).key_by("user")
    return keyed.aggregate(ms.sum("amount"), uid="sums")


def w2(records: int) -> Run:
    job = ms.Job("w2")
    return finished(job, by_functions(_lines(job, records)))


def w2_unchained(records: int) -> Run:
    job = ms.Job("w2", chaining=False)
    return finished(job, by_functions(_lines(job, records)))


def w2_source_decodes(records: int) -> Run:
    job = ms.Job("w2")
    return finished(job, by_functions_decoded(_events(job, records)))


def w2_value_state(records: int) -> Run:
    job = ms.Job("w2")
    return finished(job, by_value_state(_lines(job, records)))


def w2_expressions(records: int) -> Run:
    job = ms.Job("w2")
    return finished(job, by_expressions(_events(job, records)))
