"""Chaining changes no result: chained, unchained and plain Python agree at any chunk size."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import millstream as ms
from tests.unit.api.jobs import Build, collected

Model = Callable[[Sequence[Any]], Iterable[Any]]


@dataclass(frozen=True)
class Step:
    """An operator, and what it does in plain Python. Records are dicts with ``k`` and ``n``.

    Attributes:
        build: adds the operator; the number makes its uid.
        model: the same for a whole list.
    """

    name: str
    build: Callable[[ms.Stream[Any], int], ms.Stream[Any]]
    model: Model

    def __repr__(self) -> str:
        return self.name


def record(k: int, n: int | None) -> dict[str, Any]:
    return {"k": k, "n": n}


def bumped(r: dict[str, Any]) -> dict[str, Any]:
    return record(r["k"], None if r["n"] is None else r["n"] + 1)


def copies(r: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for number in range(r["k"] % 3):
        yield record(r["k"] + number, r["n"])


async def later(r: dict[str, Any]) -> dict[str, Any]:
    await asyncio.sleep(0)
    return bumped(r)


async def later_even(r: dict[str, Any]) -> bool:
    await asyncio.sleep(0)
    return by_remainder(r)


def merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    return record(new["k"], (old["n"] or 0) + (new["n"] or 0))


def reduced(records: Sequence[Any], key: Callable[[Any], Any]) -> Iterator[Any]:
    state: dict[Any, Any] = {}
    for r in records:
        state[key(r)] = merged(state[key(r)], r) if key(r) in state else r
        yield state[key(r)]


def totals(records: Sequence[Any]) -> Iterator[dict[str, Any]]:
    sums: dict[Any, Any] = {}
    for r in records:
        sums[r["k"]] = sums.get(r["k"], 0) + (r["n"] or 0)
        yield record(r["k"], sums[r["k"]])


def largest(records: Sequence[Any]) -> list[dict[str, Any]]:
    found: dict[Any, Any] = {}
    for r in records:
        known = [n for n in (found.get(r["k"]), r["n"]) if n is not None]
        found[r["k"]] = max(known, default=None)
    return [record(k, n) for k, n in found.items()]


class Numbering(ms.KeyedProcessFunction[Any, Any]):
    seen = ms.ValueStateDescriptor(int, default=0)

    def process_element(self, value: Any, ctx: ms.ProcessContext[Any]) -> None:
        self.seen.update(self.seen.value() + 1)
        if self.seen.value() % 2:
            ctx.collect(record(value["k"], self.seen.value()))


class Repeating(ms.KeyedProcessFunction[Any, Any]):
    seen = ms.ValueStateDescriptor(int, default=0)

    def process_element(self, value: Any, ctx: ms.ProcessContext[Any]) -> Iterator[Any]:
        self.seen.update(self.seen.value() + 1)
        for _ in range(self.seen.value() % 3):
            yield record(value["k"], self.seen.value())


def numbered(records: Sequence[Any], times: Callable[[int], int]) -> Iterator[Any]:
    seen: dict[Any, int] = {}
    for r in records:
        seen[r["k"]] = seen.get(r["k"], 0) + 1
        for _ in range(times(seen[r["k"]])):
            yield record(r["k"], seen[r["k"]])


def by_k(r: dict[str, Any]) -> Any:
    return r["k"]


def by_remainder(r: dict[str, Any]) -> bool:
    return bool(r["k"] % 2 == 0)


def positive(r: dict[str, Any]) -> bool:
    return (r["n"] or 0) > 0


K, N = ms.col("k"), ms.col("n")
STEPS = [
    Step("map", lambda s, i: s.map(bumped), lambda rs: map(bumped, rs)),
    Step("filter", lambda s, i: s.filter(positive), lambda rs: filter(positive, rs)),
    Step("filter expression", lambda s, i: s.filter(N > 0), lambda rs: filter(positive, rs)),
    Step("flat_map", lambda s, i: s.flat_map(copies),
         lambda rs: [copy for r in rs for copy in copies(r)]),
    Step("map_batches", lambda s, i: s.map_batches(lambda b: [bumped(r) for r in b], max_size=2),
         lambda rs: map(bumped, rs)),
    Step("map async", lambda s, i: s.map(later, uid=f"a{i}"), lambda rs: map(bumped, rs)),
    Step("filter async", lambda s, i: s.filter(later_even, uid=f"a{i}"),
         lambda rs: filter(by_remainder, rs)),
    Step("reduce", lambda s, i: s.key_by(by_k).reduce(merged, uid=f"r{i}"),
         lambda rs: reduced(rs, by_k)),
    Step("reduce by an expression", lambda s, i: s.key_by(K % 2 == 0).reduce(merged, uid=f"r{i}"),
         lambda rs: reduced(rs, by_remainder)),
    Step("aggregate", lambda s, i: s.key_by("k").aggregate(n=ms.sum("n"), uid=f"s{i}"), totals),
    Step("final aggregate",
         lambda s, i: s.key_by("k").aggregate(n=ms.max("n"), emit="final", uid=f"s{i}"), largest),
    Step("process", lambda s, i: s.key_by("k").process(Numbering(), uid=f"p{i}"),
         lambda rs: numbered(rs, lambda seen: seen % 2)),
    Step("generator", lambda s, i: s.key_by("k").process(Repeating(), uid=f"p{i}"),
         lambda rs: numbered(rs, lambda seen: seen % 3)),
]  # fmt: skip


def built(steps: Sequence[Step]) -> Build:
    def build(records: ms.Stream[Any]) -> ms.Stream[Any]:
        for number, step in enumerate(steps):
            records = step.build(records, number)
        return records

    return build


def modelled(steps: Sequence[Step], records: Sequence[Any]) -> list[Any]:
    for step in steps:
        records = list(step.model(records))
    return list(records)


RECORDS = st.lists(
    st.builds(record, st.integers(0, 5), st.none() | st.integers(-3, 3)), max_size=25
)
CHUNK_SIZES = st.sampled_from([1, 2, 3, 7, 1024])


@settings(max_examples=30)
@given(st.lists(st.sampled_from(STEPS), max_size=5), RECORDS, CHUNK_SIZES, CHUNK_SIZES)
def test_chained_unchained_and_plain_python_agree(
    steps: list[Step], records: list[Any], chunk_size: int, other_size: int
) -> None:
    expected = modelled(steps, records)
    assert collected(built(steps), records, chunk_size=chunk_size) == expected
    assert collected(built(steps), records, chunk_size=other_size, chaining=False) == expected


@pytest.mark.parametrize("step", STEPS, ids=repr)
@pytest.mark.parametrize(("chunk_size", "chaining"), [(3, False), (1024, True)])
def test_each_operator_agrees_with_plain_python_over_many_chunks(
    step: Step, chunk_size: int, chaining: bool
) -> None:
    number_of_records = 1100 if chunk_size > 3 else 30
    records = [record(number % 7, number % 5 or None) for number in range(number_of_records)]
    results = collected(built([step]), records, chunk_size=chunk_size, chaining=chaining)
    assert results == modelled([step], records)


@pytest.mark.parametrize("first", STEPS, ids=repr)
def test_any_two_operators_in_a_chain_agree_with_plain_python(first: Step) -> None:
    records = [record(number % 7, number % 5 or None) for number in range(20)]
    for second in STEPS:
        results = collected(built([first, second]), records)
        assert results == modelled([first, second], records), second


@settings(max_examples=15)
@given(
    st.lists(st.sampled_from(STEPS), max_size=3),
    st.lists(st.sampled_from(STEPS), max_size=3),
    RECORDS,
    CHUNK_SIZES,
    st.booleans(),
)
def test_streams_that_meet_in_a_union_keep_what_each_has(
    one: list[Step], two: list[Step], records: list[Any], chunk_size: int, chaining: bool
) -> None:
    def build(s: ms.Stream[Any]) -> ms.Stream[Any]:
        left, right = s.map(dict), s.filter(lambda r: r["k"] != 1)
        for number, step in enumerate(one):
            left = step.build(left, number)
        for number, step in enumerate(two):
            right = step.build(right, 100 + number)
        return left.union(right)

    expected = modelled(one, records) + modelled(two, [r for r in records if r["k"] != 1])
    results = collected(build, records, chunk_size=chunk_size, chaining=chaining)
    assert sorted(map(str, results)) == sorted(map(str, expected))


def test_a_chain_may_be_longer_than_python_can_nest() -> None:
    def build(numbers: ms.Stream[Any]) -> ms.Stream[Any]:
        for _ in range(250):  # calls within calls: CPython's parser gives up at 200 brackets
            numbers = numbers.map(lambda n: n + 1)
        for _ in range(25):  # loops within loops: it gives up at 20
            numbers = numbers.flat_map(lambda n: [n])
        for number in range(25):
            numbers = numbers.key_by(ms.it).reduce(lambda old, new: new, uid=f"r{number}")
        return numbers

    assert collected(build, [1, 2]) == [251, 252]
