"""The generated loop: what operators write into it, and what it does when it is run."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

import millstream as ms
from millstream.core.errors import RecordError
from millstream.core.expression_value import FieldError
from millstream.core.key import KeyTypeError
from millstream.operators.aggregate import AggregateBy
from millstream.operators.definition import RowOperator
from millstream.operators.filter import Filter
from millstream.operators.flat_map import FlatMap
from millstream.operators.key_by import KeyBy
from millstream.operators.loop import MISSING, AccessKind, Fallback, Loop
from millstream.operators.map import Map
from millstream.operators.reduce import Reduce
from millstream.operators.split import Split
from millstream.runtime.state.memory import MemoryStateBackend


@dataclass
class Written:
    """A loop, and the function it became."""

    loop: Loop
    source: str
    owners: list[str]
    function: Any

    def __call__(self, records: Any, limit: int = 1000) -> list[list[Any]]:
        """Run it to its end; return its output lists."""
        outs: list[list[Any]] = [[] for _ in range(1 + len(self.loop.side_outputs))]
        self.counts = [0] * len(self.loop.counters)
        running = self.function(iter(records), outs, [limit], self.counts)
        if self.loop.lazy:
            for _ in running:
                pass
        return outs

    def lines_of(self, operator: str) -> str:
        lines = zip(self.source.splitlines(), self.owners, strict=True)
        return "\n".join(line.strip() for line, owner in lines if owner == operator)


def write(*operators: RowOperator, access: AccessKind = "item") -> Written:
    """Write operators called ``op0``, ``op1`` … into one loop."""
    loop = Loop(MemoryStateBackend(), access, {})
    for number, operator in enumerate(operators):
        loop.operator = loop.uid = f"op{number}"
        operator.write(loop)
    loop.emit()
    source, owners = loop.text("chain")
    space: dict[str, Any] = dict(loop.names.objects)
    exec(source, space)  # noqa: S102  # the text under test
    return Written(loop, source, owners, space["chain"])


def test_maps_that_follow_each_other_are_nested_calls_on_a_line_each() -> None:
    loop = write(Map(lambda n: n + 1), Map(lambda n: n * 2), Map(str))
    assert loop([1, 2]) == [["4", "6"]]
    assert "v = " not in loop.source
    assert [loop.lines_of(f"op{n}").count("(") for n in range(3)] == [1, 1, 2]  # str's has append


def test_every_line_between_the_braces_belongs_to_the_operator_that_wrote_it() -> None:
    loop = write(Filter(ms.col("n") > 1), Map(ms.col("n")))
    assert "continue" in loop.lines_of("op0")
    assert "append(v)" in loop.lines_of("op1")
    assert loop.owners[0] == ""
    assert set(loop.owners) == {"", "op0", "op1"}


def test_what_a_filter_leaves_out_is_counted() -> None:
    loop = write(Filter(lambda n: n % 2), Filter(ms.it > 2), Map(str))
    assert loop(range(6)) == [["3", "5"]]
    assert list(loop.loop.counters) == [("op0", "filtered"), ("op1", "filtered")]
    assert loop.counts == [3, 1]


def test_counts_are_kept_when_a_record_fails() -> None:
    loop = write(Filter(lambda n: n), Map(lambda n: 1 / (n - 3)))
    counts = [0]
    outs: list[list[float]] = [[]]
    records = iter([0, 1, 0, 3, 0, 5])
    with pytest.raises(ZeroDivisionError):
        loop.function(records, outs, None, counts)
    assert (counts, len(outs[0])) == ([2], 1)
    loop.function(records, outs, None, counts)  # the same call goes on behind the failing record
    assert (counts, len(outs[0])) == ([3], 2)


def test_a_key_is_computed_once_for_all_who_need_it() -> None:
    calls: list[int] = []

    def key(n: int) -> int:
        calls.append(n)
        return n % 2

    by = KeyBy(key, ("key",))
    loop = write(by, Reduce(lambda old, n: old + n, MISSING, by))
    assert loop(range(4)) == [[0, 1, 2, 4]]
    assert calls == [0, 1, 2, 3]


def test_a_second_key_by_computes_a_key_of_its_own() -> None:
    parity, tens = KeyBy(lambda n: n % 2, ("key",)), KeyBy(lambda n: n // 10, ("key",))
    loop = write(
        parity,
        Reduce(lambda old, n: old + n, MISSING, parity),
        tens,
        AggregateBy({"": ms.count()}, "each", tens),
    )
    # running sums by parity: 1, 2, 4, 6, 9; their tens: all 0
    assert loop([1, 2, 3, 4, 5]) == [[1, 2, 3, 4, 5]]
    assert loop([10]) == [[1]]  # 6 + 10: the first of the tens


def test_the_type_of_a_key_is_looked_at_unless_the_record_type_promises_it() -> None:
    checked, promised = KeyBy(("k",), ("k",)), KeyBy(("k",), ("k",), typed=True)
    assert "type(" in write(checked).source
    assert "type(" not in write(promised).source
    with pytest.raises(KeyTypeError):
        write(checked)([{"k": 1}, {"k": "a"}])


def test_a_mean_needs_two_numbers_and_the_others_one() -> None:
    by = KeyBy(("k",), ("k",))
    aggregates = {"m": ms.mean("n"), "s": ms.sum("n"), "m2": ms.mean("n"), "c": ms.count()}
    loop = write(by, AggregateBy(aggregates, "each", by))
    results = loop([{"k": 1, "n": 3}, {"k": 1, "n": None}, {"k": 1, "n": 5}])[0]
    assert results[-1] == {"k": 1, "m": 4.0, "s": 8, "m2": 4.0, "c": 3}
    assert loop.source.count("= v['n']") == 1  # an operand that several share is read once


def test_a_split_appends_to_the_output_that_is_named() -> None:
    loop = write(Map(lambda n: n * 10), Split(lambda n: "ab"[n > 20], ("a", "b")))
    assert loop([1, 3, 2]) == [[], [10, 20], [30]]
    assert loop.loop.side_outputs == [("op1", "a"), ("op1", "b")]
    with pytest.raises(RecordError, match="gave 'c', which is none of a, b"):
        write(Split(lambda n: "c", ("a", "b")))([1])


def test_a_flat_map_makes_the_loop_a_generator_that_stops_when_its_output_is_full() -> None:
    made: list[int] = []

    def many(n: int) -> Iterator[int]:
        for i in range(n):
            made.append(i)
            yield i

    loop = write(FlatMap(many), Map(ms.it * 2))
    assert loop.loop.lazy
    outs: list[list[int]] = [[]]
    running = loop.function(iter([100]), outs, [7], [0])
    next(running)
    assert outs == [[0, 2, 4, 6, 8, 10, 12]]
    assert len(made) == 7
    running.close()


def test_a_flat_map_that_emits_nothing_still_gives_others_their_turn() -> None:
    loop = write(FlatMap(lambda n: itertools.count()), Filter(lambda n: False))
    running = loop.function(iter([1]), [[]], [10], [0, 0])
    next(running)  # it comes back although nothing came out
    running.close()


@pytest.mark.parametrize("access", ["item", "attribute"])
def test_a_loop_written_for_one_kind_of_record_is_right_for_the_other(access: AccessKind) -> None:
    @dataclass
    class Data:
        n: int

    loop = write(Filter(ms.col("n") > 1), Map(ms.col("n") * 2), access=access)
    assert loop([{"n": 1}, Data(2), {"n": 3}, Data(0)]) == [[4, 6]]
    mismatches = sum(fallback.mismatches for fallback in loop.loop.fallbacks)
    assert mismatches == 3


def test_a_fallback_raises_what_the_careful_way_raises_alone() -> None:
    fallback = Fallback(ms.col("n").evaluate, "item")
    record: dict[str, int] = {}
    try:
        _ = record["n"]  # what the fast code says
    except KeyError:
        with pytest.raises(FieldError) as failed:
            fallback({"m": 1})
    assert failed.value.__suppress_context__


def test_an_object_is_bound_once_and_a_fresh_name_is_new() -> None:
    loop = Loop(MemoryStateBackend(), "item", {})
    function = object()
    assert loop.bind(function) == loop.bind(function)
    assert loop.bind(function) != loop.bind(object())
    assert len({loop.fresh("x") for _ in range(5)}) == 5


def test_an_object_that_is_kept_outlives_the_loop() -> None:
    kept: dict[str, Any] = {}
    states = MemoryStateBackend()
    loops = [Loop(states, "item", kept) for _ in range(2)]
    for loop in loops:
        loop.operator = "op"
    first = loops[0].keep("live", object)
    assert loops[1].keep("live", object) is first
    loops[1].operator = "other"
    assert loops[1].keep("live", object) is not first
