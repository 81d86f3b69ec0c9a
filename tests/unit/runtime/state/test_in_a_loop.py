"""All kinds of state in a generated loop, as a process function uses them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from millstream.core.aggregate import count
from millstream.core.aggregate import sum as sum_of
from millstream.core.expression import col
from millstream.core.operator import KeyedProcessFunction, ProcessContext
from millstream.core.state import (
    AggregatingStateDescriptor,
    ListStateDescriptor,
    MapStateDescriptor,
    OperatorStateDescriptor,
    ReducingStateDescriptor,
    ValueStateDescriptor,
)
from millstream.engine.segment import ChainOperator, Segment
from millstream.operators.aggregate import AggregateBy
from millstream.operators.key_by import KeyBy
from millstream.operators.process import Process
from millstream.operators.reduce import Reduce
from millstream.runtime.state.memory import MemoryStateBackend
from tests.contract.state_backends import Spread, merge, save, take
from tests.support.stepping import ManualClock

KEY_BY = KeyBy(lambda record: record[0], ("key",))
NUMBER = col("number")


class Record(NamedTuple):
    key: str
    number: int


class EveryKind(KeyedProcessFunction[Any, Any]):
    """Puts each record's number into a state of each kind."""

    last = ValueStateDescriptor(int, default=0, ttl="1s")
    numbers = ListStateDescriptor(int)
    counts = MapStateDescriptor(int, int)
    largest = ReducingStateDescriptor(int, max)
    spread = AggregatingStateDescriptor(Spread())
    records = OperatorStateDescriptor(int)

    def open(self, ctx: ProcessContext[Any]) -> None:
        self.records.get()  # it needs no key

    def process_element(self, value: Any, ctx: ProcessContext[Any]) -> Iterator[Any]:
        number = value[1]
        before = self.last.value()
        self.last.update(number)
        self.numbers.add(number)
        self.counts.put(number, self.counts.get(number, 0) + 1)
        self.largest.add(number)
        self.spread.add(number)
        self.records.add(number)
        yield (
            before,
            self.numbers.get(),
            dict(self.counts.items()),
            self.largest.get(),
            self.spread.get(),
            self.records.get(),
        )


def run(segment: Segment, *records: Any) -> list[Any]:
    return [result for outs in segment.outputs(records, [1024]) for result in outs[0]]


def process(backend: MemoryStateBackend) -> Segment:
    segment = Segment([ChainOperator("p", "p", Process(EveryKind(), (), KEY_BY))], backend)
    for _, live in segment.processes():
        live.open()
    return segment


def test_every_kind_of_state_is_there_of_the_key_of_the_record() -> None:
    clock = ManualClock()
    backend = MemoryStateBackend(clock)
    segment = process(backend)
    assert run(segment, ("a", 1), ("b", 5), ("a", 4)) == [
        (0, (1,), {1: 1}, 1, 0, (1,)),
        (0, (5,), {5: 1}, 5, 0, (1, 5)),
        (1, (1, 4), {1: 1, 4: 1}, 4, 3, (1, 5, 4)),
    ]
    clock.advance(999)
    assert run(segment, ("b", 5)) == [(5, (5, 5), {5: 2}, 5, 0, (1, 5, 4, 5))]
    clock.advance(1)  # a second since the last record of "a": the clock is read for each chunk
    assert run(segment, ("a", 1))[0][0] == 0
    assert run(segment, ("b", 1))[0][0] == 5


def test_a_loop_goes_on_where_a_snapshot_was_taken() -> None:
    def segments(backend: MemoryStateBackend) -> list[Segment]:
        fold = Reduce(lambda before, record: (record[0], before[1] + record[1]), ("", 0), KEY_BY)
        totals = AggregateBy({"n": count(), "total": sum_of(NUMBER)}, "each", KEY_BY)
        final = AggregateBy({"n": count()}, "final", KEY_BY)
        return [
            process(backend),
            *(
                Segment([ChainOperator(uid, uid, operator)], backend)
                for uid, operator in (("fold", fold), ("totals", totals), ("final", final))
            ),
        ]

    records = [[Record(key, number) for key in "abca"] for number in range(4)]
    plain = segments(MemoryStateBackend(ManualClock()))
    expected = [[run(each, *chunk) for each in plain] for chunk in records]

    backend = MemoryStateBackend(ManualClock(), large_overlay=0)
    live = segments(backend)
    results = [[run(each, *records[0]) for each in live]]
    snapshot = backend.begin_snapshot()
    results.append([run(each, *records[1]) for each in live])
    saved = take(snapshot)
    snapshot.merge(2)
    results.append([run(each, *records[2]) for each in live])
    merge(snapshot, 2)
    results.append([run(each, *records[3]) for each in live])
    assert results == expected
    drained = [list(results()) for _, results in live[3].drains]
    assert drained == [[{"key": "a", "n": 8}, {"key": "b", "n": 4}, {"key": "c", "n": 4}]]

    again = MemoryStateBackend(ManualClock())
    resumed = segments(again)
    saved.restore_into(again)
    assert [[run(each, *chunk) for each in resumed] for chunk in records[1:]] == expected[1:]
    assert save(again).entries == save(backend).entries
