"""A failing callback: the user's own line, the operator's uid, the record and its position."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import pytest

import millstream as ms
from millstream.core.element import Position
from millstream.core.errors import OperatorError
from tests.unit.engine.driving import dicts, drop, failure, numbers, threads, traceback_of

AT = Position(500, 30)  # of record 530: sources here yield a hundred at a time
THE_LINE = "1 // (n - 530)"
Build = Callable[["ms.Stream[Any]"], "ms.Stream[Any]"]


def divide(n: int) -> int:
    return 1 // (n - 530)


async def divide_async(n: int) -> int:
    return 1 // (n - 530)


def divide_in_the_middle(n: int) -> Iterator[int]:
    yield n
    yield n
    if n == 530:
        yield 1 // (n - 530)
    yield n


def divide_each(batch: Sequence[int]) -> Iterable[int]:
    return [1 // (n - 530) for n in batch]


class DivideByKey(ms.KeyedProcessFunction[int, int]):
    def process_element(self, value: int, ctx: ms.ProcessContext[int]) -> None:
        n = value
        ctx.collect(1 // (n - 530))


class DivideByKeyLazily(ms.KeyedProcessFunction[int, int]):
    def process_element(self, value: int, ctx: ms.ProcessContext[int]) -> Iterator[int]:
        yield value
        n = value
        yield 1 // (n - 530)


def by_parity(n: int) -> int:
    return n % 2


ROUTES = {0: "even", 1: "odd"}


def split(stream: ms.Stream[int]) -> ms.Stream[int]:
    parts = stream.split(lambda n: ROUTES[1 // (n - 530) % 2], "even", "odd", uid="op")
    parts["odd"].sink(drop, uid="odd")
    return parts["even"]


PER_RECORD: dict[str, Build] = {
    "map, lambda": lambda s: s.map(lambda n: 1 // (n - 530), uid="op"),
    "map, def": lambda s: s.map(divide, uid="op"),
    "map, behind a filter": lambda s: s.filter(lambda n: n % 2 == 0).map(divide, uid="op"),
    "filter, lambda": lambda s: s.filter(lambda n: 1 // (n - 530), uid="op"),
    "filter, def": lambda s: s.filter(divide, uid="op"),
    "flat_map, at once": lambda s: s.flat_map(lambda n: [1 // (n - 530)], uid="op"),
    "flat_map, generator": lambda s: s.flat_map(divide_in_the_middle, uid="op"),
    "map, behind a flat_map": lambda s: s.flat_map(lambda n: [n, n]).map(divide, uid="op"),
    "reduce": lambda s: s.key_by(by_parity).reduce(lambda _, n: 1 // (n - 530), uid="op"),
    "process": lambda s: s.key_by(by_parity).process(DivideByKey(), uid="op"),
    "process, generator": lambda s: s.key_by(by_parity).process(DivideByKeyLazily(), uid="op"),
    "map_async": lambda s: s.map_async(divide_async, uid="op"),
    "map, async": lambda s: s.map(divide_async, uid="op"),
    "filter, async": lambda s: s.filter(divide_async, uid="op"),
    "split": split,
}


INEXACT = {"map, behind a filter", "map, behind a flat_map"}
"""Where unchained: what stands before the operator drops or makes records."""


@pytest.mark.parametrize("chaining", [True, False], ids=["chained", "unchained"])
@pytest.mark.parametrize("case", PER_RECORD)
def test_a_failing_function_is_named_with_its_record_and_position(
    case: str, chaining: bool
) -> None:
    job = ms.Job("job", chaining=chaining)
    PER_RECORD[case](job.source(numbers(1000), uid="in")).sink(drop, uid="out")
    error = failure(job)
    assert isinstance(error, OperatorError)
    assert error.operator_uid == "op"
    assert error.record == 530
    assert isinstance(error.__cause__, ZeroDivisionError)
    assert THE_LINE in traceback_of(error)
    for part in ("'op'", "record 530", "'in'", "ZeroDivisionError"):
        assert part in str(error)
    if chaining or case not in INEXACT:
        assert error.position == AT
        assert "record 530 at 500 + 30 records" in str(error)
    else:
        assert isinstance(error.position, Position)
        assert Position(500, 0) <= error.position <= AT
        assert f"record 530 made of what begins at {error.position}" in str(error)


def test_a_failing_key_function_is_named() -> None:
    job = ms.Job("job")
    keyed = job.source(numbers(1000), uid="in").key_by(lambda n: 1 // (n - 530), uid="op")
    keyed.reduce(lambda a, b: b, uid="last").sink(drop, uid="out")
    error = failure(job)
    assert isinstance(error, OperatorError)
    assert error.operator_uid == "op"
    assert (error.record, error.position) == (530, AT)
    assert THE_LINE in traceback_of(error)


EXPRESSIONS: dict[str, Build] = {
    "map": lambda s: s.map(1 // (ms.col("n") - 530), uid="op"),
    "map, a field that is not there": lambda s: s.map(ms.col("amount") + 1, uid="op"),
    "filter": lambda s: s.filter(ms.col("amount") > 10, uid="op"),
    "key_by": lambda s: s.key_by(ms.col("amount"), uid="op").aggregate(ms.count(), uid="n"),
    "key_by, a field's name": lambda s: s.key_by("amount", uid="op").aggregate(ms.count(), uid="n"),
    "aggregate": lambda s: s.key_by("n").aggregate(total=ms.sum("amount"), uid="op"),
}


def with_amount(record: dict[str, Any]) -> dict[str, Any]:
    return record if record["n"] == 530 else {**record, "amount": 7}


@pytest.mark.parametrize("build", EXPRESSIONS.values(), ids=EXPRESSIONS)
def test_a_failing_expression_names_the_field(build: Build) -> None:
    job = ms.Job("job")
    build(job.source(dicts(1000), uid="in").map(with_amount)).sink(drop, uid="out")
    error = failure(job)
    assert isinstance(error, OperatorError)
    assert error.operator_uid == "op"
    assert error.record == {"n": 530}
    assert error.position == AT
    assert "amount" in str(error) or "'n'" in str(error)


def test_a_failing_final_result_names_its_operator() -> None:
    class Addable:
        """Can be added up, but not divided."""

        def __radd__(self, other: object) -> Addable:
            return self

        __add__ = __radd__

    job = ms.Job("job")
    stream = job.source(dicts(10), uid="in").map(lambda record: {**record, "x": Addable()})
    keyed = stream.key_by("n").aggregate(x=ms.mean("x"), emit="final", uid="op")
    keyed.sink(drop, uid="out")
    error = failure(job)
    assert error.operator_uid == "op"
    assert "failed on a final result: TypeError" in str(error)


@pytest.mark.parametrize("at", ["before", "behind", "in"])
def test_a_function_that_lets_stop_iteration_out_is_named(at: str) -> None:
    def first_of_none(n: Any) -> Any:
        return next(iter(())) if n == 530 else n

    def result_of_none(n: int) -> Iterator[int]:
        yield first_of_none(n)

    builds: dict[str, Build] = {
        "before": lambda s: s.map(first_of_none, uid="op").flat_map(lambda n: [n], uid="x"),
        "behind": lambda s: s.flat_map(lambda n: [n], uid="x").map(first_of_none, uid="op"),
        "in": lambda s: s.map(lambda n: n, uid="x").flat_map(result_of_none, uid="op"),
    }
    job = ms.Job("job")
    builds[at](job.source(numbers(1000), uid="in")).sink(drop, uid="out")
    error = failure(job)
    assert isinstance(error, OperatorError)
    assert (error.operator_uid, error.record, error.position) == ("op", 530, AT)
    assert "StopIteration" in str(error)


@pytest.mark.parametrize("failing", [1, 2, 3])
@pytest.mark.parametrize("chaining", [True, False], ids=["chained", "unchained"])
def test_of_three_maps_in_a_row_the_right_one_is_named(failing: int, chaining: bool) -> None:
    def same(n: int) -> int:
        return n

    job = ms.Job("job", chaining=chaining)
    stream = job.source(numbers(1000), uid="in")
    for number in (1, 2, 3):
        stream = stream.map(divide if number == failing else same, uid=f"map {number}")
    stream.sink(drop, uid="out")
    error = failure(job)
    assert error.operator_uid == f"map {failing}"
    assert THE_LINE in traceback_of(error)


def test_a_failing_map_batches_is_named_with_where_its_records_begin() -> None:
    job = ms.Job("job")
    job.source(numbers(1000), uid="in").map_batches(divide_each, uid="op").sink(drop, uid="out")
    error = failure(job)
    assert isinstance(error, OperatorError)
    assert error.operator_uid == "op"
    assert isinstance(error.record, list)
    assert 530 in error.record
    assert isinstance(error.position, Position)
    assert error.position.base <= 500
    assert THE_LINE in traceback_of(error)


def test_the_first_record_fails_at_the_beginning() -> None:
    job = ms.Job("job")
    job.source(numbers(10), uid="in").map(lambda n: 1 // n, uid="op").sink(drop, uid="out")
    error = failure(job)
    assert "record 0 at the beginning" in str(error)


def test_what_is_no_exception_fails_the_run_as_well() -> None:
    def leave(n: int) -> int:
        if n == 530:
            raise SystemExit(3)
        return n

    async def leave_async(n: int) -> int:
        return leave(n)

    def leave_each(batch: Sequence[int]) -> list[int]:
        return [leave(n) for n in batch]

    builds: list[Build] = [
        lambda s: s.map(leave, uid="op"),
        lambda s: s.flat_map(lambda n: [leave(n)], uid="op"),
        lambda s: s.map_batches(leave_each, uid="op"),
        lambda s: s.map_async(leave_async, uid="op"),
    ]
    for build in builds:
        job = ms.Job("job")
        build(job.source(numbers(1000), uid="in")).sink(drop, uid="out")
        error = failure(job)
        assert error.operator_uid == "op"
        assert isinstance(error.__cause__, SystemExit)
        assert not threads()


class SpeechlessError(Exception):
    """Cannot say what is wrong."""

    def __str__(self) -> str:
        raise RuntimeError("no")


def speechless(record: object) -> Any:
    raise SpeechlessError


async def speechless_async(record: object) -> Any:
    raise SpeechlessError


def speechless_source(position: Any) -> Iterator[tuple[list[int], int]]:
    yield [1], 1
    raise SpeechlessError


@pytest.mark.parametrize(
    ("at", "build"),
    [
        ("in", lambda job: job.source(speechless_source, uid="in")),
        ("op", lambda job: job.source(numbers(10), uid="in").map(speechless, uid="op")),
        ("op", lambda job: job.source(numbers(10), uid="in").map_async(speechless_async, uid="op")),
    ],
)
def test_an_error_that_cannot_say_what_it_is_does_not_hide_where(at: str, build: Any) -> None:
    job = ms.Job("job")
    build(job).sink(drop, uid="out")
    error = failure(job)
    assert error.operator_uid == at
    assert "SpeechlessError (its message fails with RuntimeError)" in str(error)
    assert not threads()


def test_a_record_that_cannot_be_shown_does_not_hide_the_failure() -> None:
    class Unspeakable:
        def __repr__(self) -> str:
            raise RuntimeError("no")

    def fail(record: object) -> None:
        raise ValueError("the user's own")

    job = ms.Job("job")
    (
        job.source(numbers(10), uid="in")
        .map(lambda n: Unspeakable())
        .map_batches(list)
        .map(fail, uid="op")
        .sink(drop, uid="out")
    )
    error = failure(job)
    assert error.operator_uid == "op"
    assert "Unspeakable" in str(error)
    assert "the user's own" in str(error)
