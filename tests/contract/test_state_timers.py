"""Timers in snapshots, and what is restored of them, on each backend."""

from __future__ import annotations

from typing import Any

import pytest

from millstream.core.errors import ConfigError
from millstream.core.timers import PROCESSING_TIME_TIMERS as TIMERS
from millstream.runtime.state.base import StateBackend, StateDescription
from tests.contract.state_backends import (
    Factory,
    Saved,
    clock_at,
    merge,
    on_each_backend,
    save,
    take,
)


def contents(saved: Saved) -> dict[str, Any]:
    return {description.name: entries for description, entries in saved.entries.items()}


def fire_all(backend: StateBackend, now_ms: int = 2_000_000) -> list[Any]:
    timers = backend.timers("uid", TIMERS)
    return list(iter(lambda: timers.pop_due(now_ms), None))


def with_timers(make: Factory, *timers: tuple[int, str]) -> StateBackend:
    """Return a backend with these timers registered, in this order."""
    backend = make(clock_at())
    for time_ms, key in timers:
        backend.timers("uid", TIMERS).key = key
        backend.timers("uid", TIMERS).register(time_ms)
    return backend


@on_each_backend
def test_timers_are_in_it_by_time_and_key(make: Factory) -> None:
    saved = save(with_timers(make, (7, "a"), (5, "b"), (7, "b"), (7, "a")))
    assert contents(saved) == {TIMERS: {(7, "a"): None, (5, "b"): None, (7, "b"): None}}
    assert list(saved.entries) == [StateDescription("uid", TIMERS, "timers", None)]


@on_each_backend
def test_restored_timers_are_due_by_time_and_then_in_the_order_they_were_in(make: Factory) -> None:
    timers = [(7, "b"), (7, "a"), (5, "b"), (7, "c")]
    saved = save(with_timers(make, *timers))
    for _ in range(3):
        backend = with_timers(make)
        backend.timers("uid", TIMERS)
        saved.restore_into(backend)
        saved = save(backend)
    assert backend.timers("uid", TIMERS).next_ms() == 5
    assert fire_all(backend, 6) == [(5, "b")]
    backend.timers("uid", TIMERS).key = "a"
    backend.timers("uid", TIMERS).register(7)  # it is there
    backend.timers("uid", TIMERS).register(6)
    assert fire_all(backend, 7) == [(6, "a"), (7, "b"), (7, "a"), (7, "c")]
    assert contents(save(backend)) == {TIMERS: {}}


@on_each_backend
def test_timers_that_fire_or_are_deleted_since_are_in_it_and_gone_after(make: Factory) -> None:
    backend = with_timers(make, (5, "a"), (6, "a"), (7, "a"))
    timers = backend.timers("uid", TIMERS)
    snapshot = backend.begin_snapshot()
    assert timers.pop_due(5) == (5, "a")
    timers.delete(6)
    timers.register(8)
    timers.register(9)
    timers.delete(9)
    assert timers.next_ms() == 7
    assert contents(take(snapshot)) == {TIMERS: {(5, "a"): None, (6, "a"): None, (7, "a"): None}}
    merge(snapshot)
    assert timers.pop_due(5) is None
    assert contents(save(backend)) == {TIMERS: {(7, "a"): None, (8, "a"): None}}
    assert fire_all(backend) == [(7, "a"), (8, "a")]


@on_each_backend
def test_timers_that_nothing_would_fire_are_refused(make: Factory) -> None:
    stored = StateDescription("uid", TIMERS, "timers", None)
    make(clock_at()).restore(stored, [])  # there are none
    with pytest.raises(ConfigError, match=r"processing-time timers of operator 'uid' that are st"
                       r"ill to fire \(3\), and the job has no on_timer there"):  # fmt: skip
        make(clock_at()).restore(stored, [([(5, "a"), (6, "a")], [None] * 2), ([(7, "a")], [None])])
