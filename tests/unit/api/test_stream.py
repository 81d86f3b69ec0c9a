"""What the stateless operators do with records."""

from __future__ import annotations

import itertools
import threading
import traceback
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

import millstream as ms
from millstream.core.errors import OperatorError
from tests.unit.api.jobs import Build, begun, collected, failure

CHUNK_SIZES = [1, 3, 1024]


@pytest.mark.parametrize("chunk_size", CHUNK_SIZES)
def test_map_replaces_and_filter_keeps_in_order(chunk_size: int) -> None:
    results = collected(
        lambda s: s.map(lambda n: n + 1).filter(lambda n: n % 3).map(str),
        range(10),
        chunk_size=chunk_size,
    )
    assert results == [str(n) for n in range(1, 11) if n % 3]


@pytest.mark.parametrize("falsy", [0, "", None, [], 0.0, False])
def test_a_filter_by_a_function_asks_for_truth_as_python_does(falsy: Any) -> None:
    assert collected(lambda s: s.filter(lambda record: record), [falsy, 1, falsy]) == [1]


def test_map_may_give_none_and_it_is_a_record() -> None:
    assert collected(lambda s: s.map(lambda n: None), [1, 2]) == [None, None]


def counted(n: int) -> Iterator[int]:
    yield from range(n)


@pytest.mark.parametrize("chunk_size", CHUNK_SIZES)
@pytest.mark.parametrize(
    "function", [counted, range, lambda n: list(range(n)), lambda n: iter(tuple(range(n)))]
)
def test_flat_map_replaces_a_record_by_any_number(function: Any, chunk_size: int) -> None:
    expected = [i for n in range(6) for i in range(n)]
    assert collected(lambda s: s.flat_map(function), range(6), chunk_size=chunk_size) == expected


def test_flat_map_of_nothing_gives_nothing() -> None:
    assert collected(lambda s: s.flat_map(lambda n: ()), [1, 2]) == []


def test_flat_map_resumes_a_generator_as_downstream_asks_and_never_runs_it_to_its_end() -> None:
    made = 0

    def endless(n: int) -> Iterator[int]:
        nonlocal made
        for i in itertools.count():
            made += 1
            yield i

    enough = threading.Event()

    def take(record: int) -> None:
        if record == 2000:
            enough.set()

    job, numbers = begun([1])
    numbers.flat_map(endless).sink(take, uid="out")
    execution = ms.start(job)
    assert enough.wait(5)
    execution.cancel()
    assert execution.wait().status is ms.JobStatus.CANCELLED
    assert made < 200_000


def test_flat_map_of_what_cannot_be_iterated_is_an_error_of_that_record() -> None:
    error = failure(lambda s: s.flat_map(lambda n: n, uid="exploded"), [7])
    assert "operator 'exploded' failed on record 7 at the beginning" in str(error)
    assert isinstance(error.__cause__, TypeError)


@pytest.mark.parametrize("chunk_size", CHUNK_SIZES)
def test_map_batches_gets_lists_of_at_most_max_size_in_order(chunk_size: int) -> None:
    sizes: list[int] = []

    def doubled(batch: Sequence[int]) -> list[int]:
        sizes.append(len(batch))
        return [n * 2 for n in batch]

    results = collected(
        lambda s: s.map_batches(doubled, max_size=4), range(50), chunk_size=chunk_size
    )
    assert results == [n * 2 for n in range(50)]
    assert sum(sizes) == 50
    assert 1 <= min(sizes) <= max(sizes) <= min(4, chunk_size)


def test_map_batches_may_return_any_number_of_records_or_yield_them() -> None:
    def dropping(batch: Sequence[int]) -> Iterator[int]:
        yield from (n for n in batch if n % 2)

    assert collected(lambda s: s.map_batches(dropping), range(6)) == [1, 3, 5]
    assert collected(lambda s: s.map_batches(lambda batch: ()), range(6)) == []
    doubled = collected(lambda s: s.map_batches(lambda batch: [*batch, *batch]), range(6))
    assert sorted(doubled) == sorted([*range(6), *range(6)])


def test_map_batches_between_other_operators_sees_their_records() -> None:
    results = collected(
        lambda s: s.filter(ms.it > 2).map_batches(lambda batch: [sum(batch)]).map(str), [1, 2, 3]
    )
    assert results == ["3"]


def test_an_error_in_map_batches_names_how_many_records_from_where() -> None:
    error = failure(lambda s: s.map_batches(lambda batch: 1 / 0, uid="batch"), [1])  # type: ignore[arg-type,return-value]
    assert "operator 'batch' failed on 1 records from the beginning" in str(error)
    assert isinstance(error.__cause__, ZeroDivisionError)


def fails_on_5(n: int) -> int:
    if n == 5:
        raise LookupError("no such thing")
    return n


def rejoined(parts: dict[str, ms.Stream[Any]]) -> ms.Stream[Any]:
    return parts["a"].union(parts["b"])


FAILING: dict[str, Build] = {
    "map": lambda s: s.map(fails_on_5, uid="op"),
    "map among maps": lambda s: s.map(int).map(int).map(fails_on_5, uid="op").map(int).map(int),
    "filter": lambda s: s.map(int).filter(fails_on_5, uid="op"),
    "flat_map": lambda s: s.flat_map(lambda n: [fails_on_5(n)], uid="op"),
    "generator": lambda s: s.flat_map(lambda n: (fails_on_5(n) for _ in "ab"), uid="op"),
    "key_by": lambda s: s.key_by(fails_on_5, uid="op").aggregate(ms.count(), uid="n"),
    "reduce": lambda s: s.key_by(bool).reduce(lambda _, n: fails_on_5(n), initial=0, uid="op"),
    "split": lambda s: rejoined(s.split(lambda n: "ab"[fails_on_5(n) % 2], "a", "b", uid="op")),
}


@pytest.mark.parametrize("build", FAILING.values(), ids=FAILING.keys())
@pytest.mark.parametrize("chunk_size", [2, 1024])
def test_a_failing_function_is_named_with_its_record_and_its_own_line(
    build: Build, chunk_size: int
) -> None:
    job, numbers = begun(range(9), engine=ms.EngineSettings(chunk_size=chunk_size))
    build(numbers).sink(ms.blackhole.sink(), uid="out")
    with pytest.raises(OperatorError) as failed:
        ms.run(job)
    assert (failed.value.operator_uid, failed.value.record) == ("op", 5)
    assert "operator 'op' failed on record 5 at" in str(failed.value)
    assert "LookupError: no such thing" in str(failed.value)
    cause = failed.value.__cause__
    assert isinstance(cause, LookupError)
    assert [frame.name for frame in traceback.extract_tb(cause.__traceback__)][-1] == "fails_on_5"


@pytest.mark.parametrize("chunk_size", CHUNK_SIZES)
def test_what_a_sink_got_of_a_failed_run_is_a_beginning_of_the_results(chunk_size: int) -> None:
    results: list[float] = []
    job, numbers = begun([4, 2, 0, 1], engine=ms.EngineSettings(chunk_size=chunk_size))
    numbers.map(lambda n: 8 / n, uid="op").sink(ms.collection.sink(results), uid="out")
    with pytest.raises(OperatorError, match=r"'op' failed on record 0 at .*ZeroDivisionError"):
        ms.run(job)
    assert results == [2.0, 4.0][: len(results)]
