"""An output that is given nothing holds nobody up: records still move by the hundred."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

import millstream as ms
from tests.unit.engine.driving import Begun, drop, numbers

RECORDS = 200_000


class Lengths(ms.Sink[Any]):
    """Notes how long the lists are that it is handed."""

    def __init__(self) -> None:
        self.lengths: list[int] = []

    def invoke(self, value: Any, ctx: ms.SinkContext) -> None:
        raise AssertionError("invoke_batch takes them")

    def invoke_batch(self, values: Sequence[Any], ctx: ms.SinkContext) -> None:
        self.lengths.append(len(values))


Build = Callable[["ms.Stream[int]", ms.Sink[Any]], object]


def rare(every: int) -> Build:
    def build(stream: ms.Stream[int], busy: ms.Sink[Any]) -> None:
        parts = stream.split(lambda n: "busy" if n % every else "rare", "busy", "rare")
        parts["busy"].sink(busy, uid="busy")
        parts["rare"].sink(drop, uid="rare")

    return build


def beside_a_filter(stream: ms.Stream[int], busy: ms.Sink[Any]) -> None:
    stream.sink(busy, uid="busy")
    stream.filter(lambda n: n < 0).sink(drop, uid="rare")


def behind_a_union(stream: ms.Stream[int], busy: ms.Sink[Any]) -> None:
    rare(10**9)(stream.union(stream.filter(lambda n: n < 0)), busy)


@pytest.mark.parametrize(
    "build",
    [
        pytest.param(rare(10**9), id="the first record alone"),
        pytest.param(rare(1_000), id="one in a thousand"),
        pytest.param(beside_a_filter, id="a filter that keeps nothing"),
        pytest.param(behind_a_union, id="behind a union"),
    ],
)
def test_the_other_output_is_handed_long_lists(build: Build) -> None:
    busy = Lengths()
    job = ms.Job("job")
    build(job.source(numbers(RECORDS, batch=1_000), uid="in"), busy)
    ms.run(job)
    assert sum(busy.lengths) >= RECORDS - RECORDS // 1_000
    assert len(busy.lengths) < RECORDS / 100  # in lists of 1, before anything is known, and of 32


@pytest.mark.parametrize("emits", ["nothing", "at the end"])
def test_a_loop_that_emits_nothing_is_called_with_whole_chunks(emits: str) -> None:
    job = ms.Job("job")
    stream = job.source(numbers(RECORDS, batch=1_000), uid="in")
    if emits == "nothing":
        made: Any = stream.filter(lambda n: n < 0)
    else:
        made = stream.key_by(lambda n: n % 7).aggregate(n=ms.count(), emit="final", uid="n")
    made.sink(drop, uid="out")
    begun = Begun(job)
    begun.wait()
    assert begun.run.dispatcher.slices < RECORDS / 200


@pytest.mark.parametrize("behind", ["a filter that keeps nothing", "an aggregate"])
def test_a_function_of_lists_gets_long_ones_though_nothing_comes_out(behind: str) -> None:
    lengths: list[int] = []

    def note(numbers: Sequence[int]) -> Sequence[int]:
        lengths.append(len(numbers))
        return numbers

    job = ms.Job("job")
    made: Any = job.source(numbers(RECORDS, batch=1_000), uid="in").map_batches(note)
    if behind == "an aggregate":
        made = made.key_by(lambda n: n % 7).aggregate(n=ms.count(), emit="final", uid="n")
    else:
        made = made.filter(lambda n: n < 0)
    made.sink(drop, uid="out")
    ms.run(job)
    assert sum(lengths) == RECORDS
    assert len(lengths) < RECORDS / (800 if behind == "an aggregate" else 100)
