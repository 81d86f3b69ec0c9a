"""Every operator as a processor, for the contract suite: what it is, and what it should give."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import millstream as ms
from millstream.core.operator import KeyedProcessFunction, ProcessContext
from millstream.engine.chain import BatchStep, Chain, OutputKey
from millstream.engine.segment import ChainOperator, Segment
from millstream.operators.aggregate import AggregateBy, Emit
from millstream.operators.definition import RowOperator
from millstream.operators.filter import Filter
from millstream.operators.flat_map import FlatMap
from millstream.operators.key_by import KeyBy
from millstream.operators.loop import MISSING
from millstream.operators.map import Map
from millstream.operators.map_async import MapAsync
from millstream.operators.process import Process
from millstream.operators.reduce import Reduce
from millstream.operators.split import Split
from millstream.runtime.state.memory import MemoryStateBackend
from tests.contract.stage import UserCode

Steps = list[Segment | BatchStep]
CAPACITY = 4  # records in flight in an async operator
KEYS = 3


@dataclass(frozen=True, slots=True)
class TaskSubject:
    """A chain of operators in a task.

    Attributes:
        name: of the subject.
        steps: makes the chain; its callbacks call the user code they are given.
        model: what comes out of the output that is looked at, for the records that go in.
        outputs: the task's outputs; the first one is looked at, the others are drained.
        inputs: how many streams it takes.
        ordered: records come out in the model's order.
    """

    name: str
    steps: Callable[[UserCode], Steps]
    model: Callable[[Sequence[int]], list[Any]]
    outputs: tuple[OutputKey, ...] = (("op", None),)
    inputs: int = 1
    ordered: bool = True

    def chain(self, user_code: UserCode) -> Chain:
        """Return the chain, new."""
        return Chain(self.name, self.steps(user_code), "op")

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class AsyncSubject:
    """A ``map_async`` in a task of its own; ``result`` as in ``MapAsync``."""

    name: str
    result: Literal["record", "keep", "records"]
    model: Callable[[Sequence[int]], list[Any]]
    make: Callable[[Any], Any]
    ordered: bool = True

    def operator(self, user_code: UserCode) -> MapAsync:
        """Return the operator, new."""

        async def call(record: Any) -> Any:
            return self.make(user_code(record))

        return MapAsync(call, self.result, self.ordered, CAPACITY, None, None)

    def __str__(self) -> str:
        return self.name


def in_one_loop(*operators: RowOperator) -> Steps:
    """Return operators as one loop; the last one is called ``op``."""
    last = len(operators) - 1
    chained = [
        ChainOperator("op" if number == last else f"op{number}", "op", operator)
        for number, operator in enumerate(operators)
    ]
    return [Segment(chained, MemoryStateBackend())]


def _key_by(user_code: UserCode, key: Callable[[int], Hashable] = lambda v: v % KEYS) -> KeyBy:
    return KeyBy(lambda record: key(user_code(record)), ("key",))


def _own_key(record: int) -> int:
    return record


# -- one record at a time ---------------------------------------------------------------------


def _map(user_code: UserCode) -> Steps:
    return in_one_loop(Map(lambda record: user_code(record) * 10))


def _filter(user_code: UserCode) -> Steps:
    return in_one_loop(Filter(lambda record: user_code(record) % 3 == 0))


def _expressions(user_code: UserCode) -> Steps:
    return in_one_loop(Filter(ms.it % 2 == 0), Map(user_code), Map(ms.it + 1))


def _flat_map_list(user_code: UserCode) -> Steps:
    return in_one_loop(FlatMap(lambda record: [user_code(record)] * 3))


def _flat_map_generator(user_code: UserCode) -> Steps:
    def repeat(record: int) -> Iterator[tuple[int, int]]:
        for number in range(user_code(record) % 4):
            yield record, number

    return in_one_loop(FlatMap(repeat))


def _repeated(records: Sequence[int]) -> list[Any]:
    return [(record, number) for record in records for number in range(record % 4)]


def _long_chain(user_code: UserCode) -> Steps:
    return [
        *in_one_loop(Map(user_code), Filter(ms.it % 2 == 0)),
        BatchStep("batches", lambda batch: [record * 10 for record in batch], 2),
        *in_one_loop(FlatMap(lambda record: (record, -record)), Map(ms.it + 1)),
    ]


def _map_batches(user_code: UserCode) -> Steps:
    def twice(batch: Sequence[int]) -> Iterator[int]:
        for record in batch:
            yield user_code(record)
            yield -record

    return [BatchStep("op", twice, 2)]


# -- by key -------------------------------------------------------------------------------------


def _reduce(user_code: UserCode) -> Steps:
    key_by = _key_by(user_code)
    return in_one_loop(key_by, Reduce(lambda a, b: a + b, MISSING, key_by))


def _sums(records: Sequence[int]) -> list[Any]:
    sums: Counter[int] = Counter()
    results = []
    for record in records:
        sums[record % KEYS] += record
        results.append(sums[record % KEYS])
    return results


def _aggregate(emit: Emit) -> Callable[[UserCode], Steps]:
    def steps(user_code: UserCode) -> Steps:
        key_by = _key_by(user_code, (lambda v: v % KEYS) if emit == "each" else _own_key)
        aggregates = {"total": ms.sum(ms.it), "n": ms.count()}
        return in_one_loop(key_by, AggregateBy(aggregates, emit, key_by))

    return steps


def _running_totals(records: Sequence[int]) -> list[Any]:
    counts: Counter[int] = Counter()
    results = []
    for record, total in zip(records, _sums(records), strict=True):
        counts[record % KEYS] += 1
        results.append({"key": record % KEYS, "total": total, "n": counts[record % KEYS]})
    return results


def _final_totals(records: Sequence[int]) -> list[Any]:
    return [{"key": record, "total": record, "n": 1} for record in records]


class _Collects(KeyedProcessFunction[int, Any]):
    def __init__(self, user_code: UserCode, tag: str | None = None) -> None:
        self.user_code = user_code
        self.tag = tag

    def process_element(self, value: int, ctx: ProcessContext[Any]) -> None:
        if self.tag is not None and value % 3 == 0:
            ctx.output(self.tag, self.user_code(value))
            return
        ctx.collect(self.user_code(value))
        ctx.collect(-value)


class _Yields(KeyedProcessFunction[int, Any]):
    def __init__(self, user_code: UserCode) -> None:
        self.user_code = user_code

    def process_element(self, value: int, ctx: ProcessContext[Any]) -> Iterator[Any]:
        for number in range(self.user_code(value) % 4):
            yield value, number


def _process(
    make: Callable[[UserCode], KeyedProcessFunction[int, Any]], *tags: str
) -> Callable[[UserCode], Steps]:
    def steps(user_code: UserCode) -> Steps:
        return in_one_loop(Process(make(user_code), tags, KeyBy(lambda v: v % KEYS, ("key",))))

    return steps


# -- several streams --------------------------------------------------------------------------


def _split(user_code: UserCode) -> Steps:
    return in_one_loop(
        Split(lambda r: "third" if user_code(r) % 3 == 0 else "rest", ("third", "rest"))
    )


def _with_negative(records: Sequence[int]) -> list[Any]:
    return [each for record in records for each in (record, -record)]


TASKS = (
    TaskSubject("pass-through", lambda _: [], list),
    TaskSubject("map", _map, lambda rs: [r * 10 for r in rs]),
    TaskSubject("filter", _filter, lambda rs: [r for r in rs if r % 3 == 0]),
    TaskSubject("expressions", _expressions, lambda rs: [r + 1 for r in rs if r % 2 == 0]),
    TaskSubject("flat_map, list", _flat_map_list, lambda rs: [r for r in rs for _ in range(3)]),
    TaskSubject("flat_map, generator", _flat_map_generator, _repeated),
    TaskSubject("map_batches", _map_batches, _with_negative),
    TaskSubject(
        "chain of three loops",
        _long_chain,
        lambda rs: [each for r in rs if r % 2 == 0 for each in (r * 10 + 1, r * -10 + 1)],
    ),
    TaskSubject("key_by, reduce", _reduce, _sums),
    TaskSubject("aggregate, each", _aggregate("each"), _running_totals),
    TaskSubject("aggregate, final", _aggregate("final"), _final_totals),
    TaskSubject("process, collect", _process(_Collects), _with_negative),
    TaskSubject("process, generator", _process(_Yields), _repeated),
    TaskSubject(
        "process, side output",
        _process(lambda user_code: _Collects(user_code, "third"), "third"),
        lambda rs: [r for r in rs if r % 3 == 0],
        outputs=(("op", "third"), ("op", None)),
    ),
    TaskSubject(
        "split",
        _split,
        lambda rs: [r for r in rs if r % 3 == 0],
        outputs=(("op", "third"), ("op", "rest")),
    ),
    TaskSubject("union", lambda _: [], list, inputs=2, ordered=False),
)

ASYNC = (
    AsyncSubject("map_async, ordered", "record", lambda rs: [r * 10 for r in rs], lambda r: r * 10),
    AsyncSubject(
        "map_async, unordered", "record", lambda rs: [r * 10 for r in rs], lambda r: r * 10,
        ordered=False,
    ),
    AsyncSubject("async filter", "keep", lambda rs: [r for r in rs if r % 2], lambda r: r % 2),
    AsyncSubject(
        "async flat_map", "records", lambda rs: [r for r in rs for _ in range(3)], lambda r: [r] * 3
    ),
)  # fmt: skip

OPERATORS: tuple[TaskSubject | AsyncSubject, ...] = (*TASKS, *ASYNC)
