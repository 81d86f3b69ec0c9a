"""Unions, splits and several sinks."""

from __future__ import annotations

from typing import Any

import pytest

import millstream as ms
from tests.unit.api.jobs import begun

CHUNK_SIZES = [2, 1024]


def settings(chunk_size: int) -> ms.EngineSettings:
    return ms.EngineSettings(chunk_size=chunk_size)


@pytest.mark.parametrize("chunk_size", CHUNK_SIZES)
@pytest.mark.parametrize("chaining", [True, False])
def test_a_union_has_all_records_and_each_stream_keeps_its_order(
    chunk_size: int, chaining: bool
) -> None:
    results: list[int] = []
    job = ms.Job("job", chaining=chaining, engine=settings(chunk_size))
    one = job.source(ms.sequence.source(20), uid="one")
    two = job.source(ms.sequence.source(120, start=100), uid="two")
    three = job.source(ms.sequence.source(0), uid="three")
    one.union(two, three).map(ms.it + 0).sink(ms.collection.sink(results), uid="out")
    ms.run(job)
    assert [n for n in results if n < 100] == list(range(20))
    assert [n for n in results if n >= 100] == list(range(100, 120))


def test_a_union_of_a_stream_with_what_was_made_of_it_has_both() -> None:
    results: list[int] = []
    job, numbers = begun([1, 2, 3])
    numbers.union(numbers.map(ms.it * 10), numbers.filter(ms.it > 2)).sink(
        ms.collection.sink(results), uid="out"
    )
    ms.run(job)
    assert sorted(results) == [1, 2, 3, 3, 10, 20, 30]


def test_a_union_can_be_keyed_and_its_state_sees_all_inputs() -> None:
    results: list[Any] = []
    job, numbers = begun([1, 2])
    both = numbers.union(numbers.map(ms.it + 0), uid="both")
    both.key_by(ms.it).aggregate(n=ms.count(), emit="final", uid="n").sink(
        ms.collection.sink(results), uid="out"
    )
    ms.run(job)
    assert sorted(result["n"] for result in results) == [2, 2]


@pytest.mark.parametrize("chunk_size", CHUNK_SIZES)
@pytest.mark.parametrize("chaining", [True, False])
@pytest.mark.parametrize(
    "selector",
    [
        lambda n: "even" if n % 2 == 0 else "odd",
        ms.when(ms.it % 2 == 0).then("even").otherwise("odd"),
    ],
    ids=["function", "expression"],
)
def test_a_split_sends_each_record_to_one_stream_in_order(
    chunk_size: int, chaining: bool, selector: Any
) -> None:
    even, odd = list[int](), list[str]()
    job, numbers = begun(range(10), chaining=chaining, engine=settings(chunk_size))
    parts = numbers.split(selector, "even", "odd", "none")
    assert list(parts) == ["even", "odd", "none"]
    parts["even"].sink(ms.collection.sink(even), uid="even")
    parts["odd"].map(str).sink(ms.collection.sink(odd), uid="odd")
    parts["none"].sink(ms.blackhole.sink(), uid="none")
    result = ms.run(job)
    assert even == [0, 2, 4, 6, 8]
    assert odd == ["1", "3", "5", "7", "9"]
    assert result.account.operator("none").records_in == 0


def test_parts_of_a_split_can_be_split_keyed_and_joined_again() -> None:
    results: list[Any] = []
    job, numbers = begun(range(8))
    halves = numbers.split(lambda n: "low" if n < 4 else "high", "low", "high")
    quarters = halves["high"].split(lambda n: "even" if n % 2 == 0 else "odd", "even", "odd")
    counts = halves["low"].key_by(lambda n: 0).aggregate(ms.count(), emit="final", uid="n")
    counts.union(quarters["even"], quarters["odd"].map(ms.it * -1)).sink(
        ms.collection.sink(results), uid="out"
    )
    ms.run(job)
    assert sorted(results) == [-7, -5, 4, 4, 6]


@pytest.mark.parametrize("chunk_size", CHUNK_SIZES)
def test_several_sinks_of_one_stream_each_get_all_of_it(chunk_size: int) -> None:
    first, second, third = list[int](), list[int](), list[int]()
    job, numbers = begun(range(50), engine=settings(chunk_size))
    doubled = numbers.map(ms.it * 2)
    for name, results in (("first", first), ("second", second), ("third", third)):
        doubled.sink(ms.collection.sink(results), uid=name)
    result = ms.run(job)
    assert first == second == third == [n * 2 for n in range(50)]
    assert result.account.operator("third").records_out == 50


def test_one_sink_object_may_end_several_streams() -> None:
    results: list[int] = []
    sink = ms.collection.sink(results)
    job, numbers = begun([1, 2])
    numbers.sink(sink, uid="one")
    numbers.map(ms.it * 10).sink(sink, uid="two")
    ms.run(job)
    assert sorted(results) == [1, 2, 10, 20]


def test_one_source_object_may_begin_several_streams() -> None:
    results: list[int] = []
    source = ms.sequence.source(3)
    job = ms.Job("job")
    both = job.source(source, uid="one").union(job.source(source, uid="two"))
    both.sink(ms.collection.sink(results), uid="out")
    ms.run(job)
    assert sorted(results) == [0, 0, 1, 1, 2, 2]


def test_streams_that_have_nothing_to_do_with_each_other_may_share_a_job() -> None:
    letters, numbers = list[str](), list[int]()
    job = ms.Job("job")
    job.source(ms.collection.source(["a", "b"]), uid="letters").sink(letters.append, uid="l")
    job.source(ms.sequence.source(2), uid="numbers").sink(numbers.append, uid="n")
    ms.run(job)
    assert (letters, numbers) == (["a", "b"], [0, 1])


def test_disable_chaining_gives_that_operator_a_task_of_its_own() -> None:
    def tasks(*, alone: bool) -> list[str]:
        job, numbers = begun([1])
        mapped = numbers.map(str, uid="a").map(str, uid="b")
        if alone:
            assert mapped.disable_chaining() is mapped
        mapped.map(str, uid="c").sink(ms.blackhole.sink(), uid="out")
        return [task.task for task in ms.run(job).account.tasks]

    assert tasks(alone=False) == ["in+a+b+c+out"]
    assert tasks(alone=True) == ["in+a", "b", "c+out"]


def test_disable_chaining_of_a_key_by_keeps_it_a_task_of_its_own() -> None:
    def tasks(*, alone: bool) -> list[str]:
        job, numbers = begun([1])
        keyed = numbers.key_by(ms.it, uid="k")
        if alone:
            assert keyed.disable_chaining() is keyed
        keyed.aggregate(ms.count(), uid="n").sink(ms.blackhole.sink(), uid="out")
        return [task.task for task in ms.run(job).account.tasks]

    assert tasks(alone=False) == ["in+k+n+out"]
    assert tasks(alone=True) == ["in", "k", "n+out"]
