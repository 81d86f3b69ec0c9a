"""Timers in memory: when they are due, in which order, and what deleted ones leave behind."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from millstream.core.errors import RecordError
from millstream.engine.checkpoint.state_files import described
from millstream.runtime.snapshot.codec import Codec
from millstream.runtime.snapshot.state_file import StateFileReader
from millstream.runtime.state.memory import MemoryStateBackend
from millstream.runtime.state.timer_queue import TimerQueue

FIXTURES = Path(__file__).parents[3] / "fixtures" / "snapshots" / "v1"


def queue(key: str | None = "k") -> TimerQueue:
    timers = MemoryStateBackend().timers("uid", "timers")
    if key is not None:
        timers.key = key
    return timers


def due(timers: TimerQueue, now_ms: int = 10**15, newest: int | None = None) -> list[Any]:
    return list(iter(lambda: timers.pop_due(now_ms, newest), None))


def test_a_timer_is_due_from_its_time_on_and_once() -> None:
    timers = queue()
    timers.register(5)
    assert (timers.next_ms(), due(timers, 4)) == (5, [])
    assert due(timers, 5) == [(5, "k")]
    assert (timers.next_ms(), due(timers)) == (None, [])


def test_timers_are_due_by_time_and_then_by_registering() -> None:
    timers = queue()
    for time_ms, key in [(7, "z"), (5, "y"), (7, "a"), (6, "y"), (5, "x")]:
        timers.key = key
        timers.register(time_ms)
    assert due(timers, 6) == [(5, "y"), (5, "x"), (6, "y")]
    assert due(timers, 7) == [(7, "z"), (7, "a")]


def test_one_that_is_registered_twice_is_one() -> None:
    timers = queue()
    for _ in range(3):
        timers.register(5)
    assert due(timers) == [(5, "k")]
    timers.register(5)  # it has fired, so it is another
    assert due(timers) == [(5, "k")]


def test_one_that_is_deleted_is_not_due_and_one_that_is_not_there_is_no_matter() -> None:
    timers = queue()
    timers.delete(5)
    timers.register(5)
    timers.key = "other"
    timers.delete(5)
    timers.register(6)
    timers.delete(6)
    assert due(timers) == [(5, "k")]


def test_one_that_is_deleted_and_registered_again_is_the_newest() -> None:
    timers = queue()
    for key in "ab":
        timers.key = key
        timers.register(5)
    timers.key = "a"
    timers.delete(5)
    timers.register(5)
    assert due(timers) == [(5, "b"), (5, "a")]


def test_newer_ones_than_asked_for_are_passed_over() -> None:
    timers = queue()
    timers.register(5)
    newest = timers.registered
    timers.register(4)
    timers.register(6)
    assert due(timers, 5, newest) == [(5, "k")]


def test_without_a_key_nothing_is_registered() -> None:
    with pytest.raises(RecordError, match="a timer belongs to the key of a record, and there is n"):
        queue(None).register(5)
    with pytest.raises(RecordError, match="a timer belongs to the key of a record"):
        queue(None).delete(5)


@pytest.mark.parametrize("pending", [0, 10, 5_000])
def test_deleting_and_registering_without_end_takes_no_more_memory(pending: int) -> None:
    timers = queue()
    for time_ms in range(pending):
        timers.register(10**12 + time_ms)
    timers.key = "session"
    for step in range(50_000):  # as a session does: each record puts its end off
        timers.delete(10**13 + step)
        timers.register(10**13 + step + 1)
    assert len(timers._heap) + len(timers._old) <= 3 * pending + 2_000
    assert len(timers._table) == pending + 1
    assert len(due(timers)) == pending + 1


def test_the_same_time_over_and_over_takes_no_more_memory() -> None:
    timers = queue()
    for _ in range(10_000):
        timers.register(5)
        timers.delete(5)
    assert len(timers._heap) + len(timers._old) <= 2_000
    assert due(timers) == []


def test_timers_are_in_order_at_any_moment_of_a_sweep() -> None:
    timers = queue()
    chance = random.Random(1)
    model: dict[tuple[int, str], None] = {}
    sweeps = 0
    for step in range(20_000):
        time_ms = step + chance.randrange(5_000)
        timers.register(time_ms)
        model[time_ms, "k"] = None
        if chance.random() < 0.9:
            gone = chance.choice(list(model)) if step % 50 == 0 else (time_ms, "k")
            timers.delete(gone[0])
            del model[gone]
        sweeps += bool(timers._old)
        if step % 100 == 0:
            first = min(model, default=None)
            assert timers.next_ms() == (first and first[0])
            while model and min(model)[0] <= step:
                assert timers.pop_due(step) == min(model)
                del model[min(model)]
            assert timers.pop_due(step) is None
    assert due(timers) == sorted(model)
    assert sweeps > 1_000


def test_timers_of_the_kept_file_of_version_1_are_restored() -> None:
    backend = MemoryStateBackend()
    timers = backend.timers("the-timers", "timers state")
    with (FIXTURES / "timers.state").open("rb") as file:
        reader = StateFileReader(file, "timers.state")
        backend.restore(described(reader.header), reader.slices(Codec()))
    assert due(timers) == [(1_795_521_600_000, "ann")]
