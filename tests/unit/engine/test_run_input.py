"""Odd input and odd shapes of jobs: what is wrong is refused by name, what is right works."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

import msgspec
import pytest

import millstream as ms
from millstream.core.errors import SourceError
from tests.unit.engine.driving import Begun, drop, failure, never_ending, numbers

Stream = ms.Stream[Any]


# -- what sources yield ----------------------------------------------------------------------------


WRONG: dict[str, Any] = {
    "None": None,
    "a str": "ab",
    "a dict": {"records": [1], "position": 1},
    "a number": 7,
    "a list": [1, 2],
    "a 1-tuple": ([1],),
    "a 3-tuple": ([1], 1, 1),
    "records that are None": (None, 1),
    "records that are a str": ("ab", 1),
    "records that are bytes": (b"ab", 1),
    "records that are a dict": ({"a": 1}, 1),
    "records that are a number": (1, 1),
}


def wrong_source(batch: Any) -> Any:
    def source(position: Any) -> Iterator[Any]:
        yield [1, 2], 2
        yield batch

    return source


def wrong_async_source(batch: Any) -> Any:
    async def source(position: Any) -> AsyncIterator[Any]:
        yield [1, 2], 2
        yield batch

    return source


@pytest.mark.parametrize("kind", [wrong_source, wrong_async_source], ids=["sync", "async"])
@pytest.mark.parametrize("batch", WRONG.values(), ids=WRONG)
def test_a_batch_of_the_wrong_shape_is_refused_with_the_right_one(kind: Any, batch: Any) -> None:
    job = ms.Job("job")
    job.source(kind(batch), uid="in").sink(drop, uid="out")
    error = failure(job)
    assert isinstance(error, SourceError)
    assert error.operator_uid == "in"
    assert "must yield (records, position)" in str(error)
    assert type(
        batch[0] if isinstance(batch, tuple) and len(batch) == 2 else batch
    ).__name__ in str(error)


RIGHT: dict[str, Callable[[], Any]] = {
    "a list": lambda: [1, 2, 3],
    "a tuple": lambda: (1, 2, 3),
    "a range": lambda: range(1, 4),
    "a generator": lambda: (n for n in (1, 2, 3)),
    "a dict's keys": lambda: {1: 0, 2: 0, 3: 0}.keys(),  # noqa: PLW0108  # a new one each time
}


@pytest.mark.parametrize("records", RIGHT.values(), ids=RIGHT)
def test_any_other_iterable_of_records_is_fine(records: Callable[[], Any]) -> None:
    def source(position: Any) -> Iterator[tuple[Any, int]]:
        yield records(), 1

    results: list[int] = []
    job = ms.Job("job")
    job.source(source, uid="in").sink(results.append, uid="out")
    ms.run(job)
    assert results == [1, 2, 3]


def test_an_empty_batch_only_moves_the_position() -> None:
    def source(position: Any) -> Iterator[tuple[Sequence[int], int]]:
        for n in range(50):
            yield [], n * 10
            yield ([n] if n % 2 else ()), n * 10 + 5

    def check(n: int) -> None:
        if n == 49:
            raise ValueError("the last")

    job = ms.Job("job")
    job.source(source, uid="in").sink(check, uid="out")
    assert "record 49 at 490" in str(failure(job))


@pytest.mark.parametrize("chaining", [True, False])
def test_an_empty_source_completes(chaining: bool) -> None:
    class Finishes(ms.Sink[Any]):
        def __init__(self) -> None:
            self.calls: list[str] = []

        def invoke(self, value: Any, ctx: ms.SinkContext) -> None:
            self.calls.append("invoke")

        def finish(self) -> None:
            self.calls.append("finish")

    def source(position: Any) -> Iterator[tuple[list[int], int]]:
        yield from ()

    sink = Finishes()
    job = ms.Job("job", chaining=chaining)
    stream = job.source(source, uid="in").map(lambda n: n).flat_map(lambda n: [n])
    stream.key_by(lambda n: n).aggregate(ms.count(), emit="final", uid="n").sink(sink, uid="out")
    result = ms.run(job)
    assert result.status is ms.JobStatus.COMPLETED
    assert sink.calls == ["finish"]


@pytest.mark.parametrize("change", ["clear", "append"])
def test_a_list_that_its_source_changes_afterwards_is_refused(change: str) -> None:
    def source(position: Any) -> Iterator[tuple[list[int], int]]:
        batch: list[int] = []
        for n in range(1000):
            batch.append(n)
            if len(batch) == 100 or change == "append":
                yield batch, n
                if change == "clear":
                    batch.clear()

    job = ms.Job("job")
    job.source(source, uid="in").sink(drop, uid="out")
    error = failure(job)
    assert error.operator_uid == "in"
    assert "yield a new list each time" in str(error)


# -- records ---------------------------------------------------------------------------------------


class Order(msgspec.Struct):
    n: int
    amount: int | None = None


def mixed(count: int, run: int) -> Any:
    """Return a source whose records change from dict to Struct and back, ``run`` at a time."""

    def source(position: Any) -> Iterator[tuple[list[Any], int]]:
        for start in range(0, count, 100):
            yield (
                [
                    {"n": n, "amount": n} if n // run % 2 else Order(n, n)
                    for n in range(start, start + 100)
                ],
                start + 100,
            )

    return source


@pytest.mark.parametrize("run", [1, 7, 250, 1500])
def test_expressions_take_records_of_mixed_kinds(run: int) -> None:
    results: list[int] = []
    job = ms.Job("job")
    (
        job.source(mixed(5000, run), uid="in")
        .filter(ms.col("amount") % 3 == 0)
        .key_by("n")
        .aggregate(total=ms.sum(ms.col("amount") + 1), uid="totals")
        .map(ms.col("total"))
        .sink(results.append, uid="out")
    )
    ms.run(job)
    assert results == [n + 1 for n in range(0, 5000, 3)]


def test_records_may_be_huge() -> None:
    size = 20_000_000
    lengths: list[int] = []
    job = ms.Job("job")
    (
        job.source(lambda_source([bytes(size) for _ in range(3)]), uid="in")
        .map(lambda blob: blob + b"!")
        .sink(lambda blob: lengths.append(len(blob)), uid="out")
    )
    ms.run(job)
    assert lengths == [size + 1] * 3


def test_an_error_shows_only_the_beginning_of_a_huge_record() -> None:
    job = ms.Job("job")
    (
        job.source(lambda_source(["x" * 1_000_000]), uid="in")
        .map(lambda text: text[10_000_000], uid="op")
        .sink(drop, uid="out")
    )
    error = failure(job)
    assert len(str(error)) < 1000
    assert "xxx" in str(error)


def lambda_source(records: list[Any]) -> Callable[[Any], Iterator[tuple[list[Any], int]]]:
    def source(position: Any) -> Iterator[tuple[list[Any], int]]:
        yield records, 1

    return source


# -- the shape of jobs -----------------------------------------------------------------------------


CHAINS: dict[str, Callable[[Stream], Stream]] = {
    "map, lambda": lambda s: s.map(lambda n: n + 1),
    "map, expression": lambda s: s.map(ms.it + 1),
    "filter": lambda s: s.filter(lambda n: True),
    "flat_map": lambda s: s.flat_map(lambda n: (n,)),
    "map_batches": lambda s: s.map_batches(list),
    "map_batches, then flat_map": lambda s: s.map_batches(list).flat_map(lambda n: [n]),
}


@pytest.mark.parametrize("chaining", [True, False], ids=["chained", "unchained"])
@pytest.mark.parametrize("name", CHAINS)
def test_a_job_may_have_a_thousand_operators(name: str, chaining: bool) -> None:
    times = (1000 if chaining else 200) // (1 + name.count(", then "))
    results: list[int] = []
    job = ms.Job("job", chaining=chaining)
    stream: Stream = job.source(numbers(200), uid="in")
    for _ in range(times):
        stream = CHAINS[name](stream)
    stream.sink(results.append, uid="out")
    ms.run(job)
    assert len(results) == 200
    assert results == sorted(results)


@pytest.mark.parametrize("ends", ["a failure at its end", "a failure in it", "a cancel"])
def test_a_chain_of_a_thousand_tasks_ends_early(ends: str) -> None:
    def fail(n: int) -> int:
        raise ValueError(n)

    job = ms.Job("job", chaining=False)
    stream: Stream = job.source(never_ending, uid="in")
    for number in range(1000):
        failing = number == {"a failure at its end": 999, "a failure in it": 500}.get(ends)
        stream = stream.map(fail if failing else lambda n: n, uid=f"map {number}")
    taken = threading.Event()
    stream.sink(lambda n: taken.set(), uid="out")
    if ends != "a cancel":
        assert failure(job).operator_uid in ("map 999", "map 500")
        return
    begun = Begun(job)
    assert taken.wait(20)
    assert begun.end().status is ms.JobStatus.CANCELLED


def test_a_failure_deep_in_a_long_chain_is_named() -> None:
    def fail_at_150(n: int) -> int:
        if n == 150:
            raise ValueError(n)
        return n

    for failing in (0, 99, 100, 101, 499):
        job = ms.Job("job")
        stream: Stream = job.source(numbers(200), uid="in")
        for number in range(500):
            function = fail_at_150 if number == failing else lambda n: n
            stream = stream.map(function, uid=f"map {number}")
        stream.sink(drop, uid="out")
        assert failure(job).operator_uid == f"map {failing}"


def test_a_keyed_operator_behind_a_full_loop_finds_its_key() -> None:
    for before in (98, 99, 100, 101):
        results: list[int] = []
        job = ms.Job("job")
        stream: Stream = job.source(numbers(20), uid="in")
        for _ in range(before):
            stream = stream.map(lambda n: n)
        stream = stream.key_by(lambda n: n % 2).reduce(lambda a, b: a + b, uid="sum")
        stream.sink(results.append, uid="out")
        ms.run(job)
        assert sorted(results)[-2:] == [90, 100]


def test_a_stream_may_have_200_branches() -> None:
    counts = [0] * 200
    job = ms.Job("job")
    stream = job.source(numbers(300), uid="in").map(lambda n: n)

    def count_in(number: int) -> Callable[[int], None]:
        def add(n: int) -> None:
            counts[number] += 1

        return add

    for number in range(200):
        stream.map(lambda n: n).sink(count_in(number), uid=f"out {number}")
    result = ms.run(job)
    assert counts == [300] * 200
    assert result.account.operator("map-1").records_out == 300


def test_split_and_union_make_a_diamond() -> None:
    results: list[int] = []
    job = ms.Job("job")
    parts = job.source(numbers(1000), uid="in").split(
        lambda n: "even" if n % 2 == 0 else "odd", "even", "odd", uid="split"
    )
    even, odd = parts["even"].map(lambda n: n * 10), parts["odd"].filter(lambda n: n > 500)
    even.union(odd, uid="both").sink(results.append, uid="out")
    ms.run(job)
    assert sorted(results) == sorted(
        [n * 10 for n in range(0, 1000, 2)] + list(range(501, 1000, 2))
    )
    for part in (0, 1):  # each keeps its order
        one = [n for n in results if n % 2 == part]
        assert one == sorted(one)


def test_diamonds_may_follow_each_other() -> None:
    results: list[int] = []
    job = ms.Job("job")
    stream: Stream = job.source(numbers(3), uid="in")
    for number in range(6):
        left, right = stream.map(lambda n: n), stream.map(lambda n: n)
        stream = left.union(right, uid=f"union {number}")
    keyed = stream.key_by(lambda n: n).aggregate(ms.count(), emit="final", uid="n")
    keyed.sink(results.append, uid="out")
    ms.run(job)
    assert results == [64, 64, 64]


def test_forty_diamonds_in_a_row_are_built_and_run_in_no_time() -> None:
    results: list[int] = []
    job = ms.Job("job")
    stream: Stream = job.source(numbers(100), uid="in")
    for number in range(40):
        parts = stream.split(
            lambda n: "even" if n % 2 == 0 else "odd", "even", "odd", uid=f"split {number}"
        )
        stream = parts["even"].union(parts["odd"], uid=f"union {number}")
    stream.key_by(lambda n: n % 2).aggregate(ms.count(), emit="final", uid="n").sink(
        results.append, uid="out"
    )
    ms.run(job)
    assert results == [50, 50]


def test_a_union_may_have_50_sources() -> None:
    results: list[int] = []
    job = ms.Job("job")
    streams = [job.source(numbers(100, batch=7), uid=f"in {number}") for number in range(50)]
    streams[0].union(*streams[1:], uid="all").sink(results.append, uid="out")
    before = threading.active_count()
    result = ms.run(job)
    assert sorted(results) == sorted(list(range(100)) * 50)
    assert result.account.operator("all").records_in == 5000
    assert threading.active_count() == before


def test_a_job_may_have_several_parts_that_do_not_meet() -> None:
    first: list[int] = []
    second: list[int] = []
    job = ms.Job("job")
    job.source(numbers(100), uid="in 1").sink(first.append, uid="out 1")
    job.source(numbers(5000), uid="in 2").sink(second.append, uid="out 2")
    ms.run(job)
    assert first == list(range(100))
    assert second == list(range(5000))
