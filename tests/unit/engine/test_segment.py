"""A segment of expressions: the comprehension does what the loop does, and gives way where not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import millstream as ms
from millstream.engine.segment import ChainOperator, RecordFailed, Segment
from millstream.operators.aggregate import AggregateBy
from millstream.operators.definition import RowOperator
from millstream.operators.filter import Filter
from millstream.operators.key_by import KeyBy
from millstream.operators.map import Map
from millstream.runtime.state.memory import MemoryStateBackend

AMOUNT = ms.col("amount")
MAP_FILTER_MAP = (Map(AMOUNT + 1), Filter(ms.it % 2 == 0), Map(ms.it * 3))
RERUNS = 16  # lists that fail before a comprehension is given up


@dataclass
class Order:
    amount: Any


def segment(*operators: RowOperator) -> Segment:
    """Return operators called ``op0``, ``op1`` … as one segment."""
    chained = [ChainOperator(f"op{at}", f"op{at}", each) for at, each in enumerate(operators)]
    return Segment(chained, MemoryStateBackend())


def has_comprehension(*operators: RowOperator) -> bool:
    return "comprehension" in segment(*operators).source


def orders(*amounts: Any) -> list[Any]:
    return [{"amount": amount} for amount in amounts]


def test_only_expressions_with_at_most_one_filter_become_a_comprehension() -> None:
    key_by = KeyBy(("amount",), ("amount",))
    assert has_comprehension(Map(AMOUNT + 1))
    assert has_comprehension(*MAP_FILTER_MAP)
    assert not has_comprehension(Filter(AMOUNT > 1), Filter(AMOUNT < 9))
    assert not has_comprehension(Map(AMOUNT + 1), Map(lambda n: n))
    assert not has_comprehension(Filter(lambda n: n))
    assert not has_comprehension(AggregateBy({"": ms.count()}, "each", key_by))
    assert not has_comprehension(Map(ms.when(ms.col("n") == AMOUNT).then(1).otherwise(2)))


def test_each_operators_counts_are_kept() -> None:
    found = segment(*MAP_FILTER_MAP)
    assert found.run(orders(1, 2, 3)) == [6, 12]
    assert found.run(orders(4)) == []
    assert (found.received, found.emitted, found.term("op1", "filtered")) == (4, [2], 2)
    assert found.run(orders(None, 5)) == [18]  # by the loop
    assert (found.received, found.emitted, found.term("op1", "filtered")) == (6, [3], 3)


@given(
    lists=st.lists(
        st.lists(st.one_of(st.none(), st.integers(), st.floats(allow_nan=False)), max_size=5),
        max_size=2 * RERUNS,
    ),
    condition=st.sampled_from([AMOUNT > 1, AMOUNT.is_null(), ~(AMOUNT == 3), AMOUNT.is_in([1, 2])]),
)
def test_it_gives_what_the_expressions_give(lists: list[list[Any]], condition: Any) -> None:
    found = segment(Filter(condition), Map(AMOUNT * 2))
    for at, amounts in enumerate(lists):
        records = orders(*amounts) if at % 3 else [Order(amount) for amount in amounts]
        expected = [(AMOUNT * 2).evaluate(each) for each in records if condition.holds(each)]
        assert found.run(records) == expected


def test_a_failing_record_is_named_as_by_the_loop() -> None:
    found = segment(*MAP_FILTER_MAP)
    found.run(orders(1))
    with pytest.raises(RecordFailed) as caught:
        found.run([*orders(1, None), {"n": 1}, *orders(2)])
    assert (caught.value.operator, caught.value.index) == ("op0", 2)
    assert caught.value.record == {"n": 1}
    with pytest.raises(RecordFailed) as caught:
        segment(*MAP_FILTER_MAP).run(orders(1, "x"))
    assert (caught.value.operator, caught.value.index) == ("op0", 1)


def test_an_operand_that_says_exit_is_a_failing_record() -> None:
    class Exits:
        def __add__(self, other: object) -> int:
            raise SystemExit(3)

    found = segment(*MAP_FILTER_MAP)
    with pytest.raises(RecordFailed) as caught:
        found.run(orders(1, Exits()))
    assert caught.value.operator == "op0"
    assert isinstance(caught.value.cause, SystemExit)


def test_a_comprehension_that_nulls_keep_failing_is_given_up() -> None:
    calls = 0

    class Counted(int):
        def __add__(self, other: Any) -> int:
            nonlocal calls
            calls += 1
            return int(self) + int(other)

    found = segment(Map(AMOUNT + 1))
    for _ in range(RERUNS):
        assert found.run(orders(Counted(1), None)) == [2, None]
    assert calls == 2 * RERUNS
    assert found.run(orders(Counted(1), None)) == [2, None]
    assert calls == 2 * RERUNS + 1
    for _ in range(3):  # written anew for objects, it stays given up
        found.run([Order(Counted(1))] * 20)
    assert "comprehension" not in found.source


def test_each_line_of_it_has_an_owner() -> None:
    found = segment(*MAP_FILTER_MAP)
    lines = found.source.splitlines()
    owners = [found.owner_at(found._filename, number + 1) for number in range(len(lines))]
    begin = lines.index("def comprehension(records): return [v for v in records")
    assert owners[begin:] == ["", "op0", "op1", "op2", ""]
    assert len(owners) == len(lines)
