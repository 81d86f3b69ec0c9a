"""State that expires, by a clock that the test moves, on each backend."""

from __future__ import annotations

from typing import Any

import pytest

from millstream.core.state import (
    AggregatingStateDescriptor,
    ListStateDescriptor,
    MapStateDescriptor,
    ReducingStateDescriptor,
    ValueStateDescriptor,
)
from millstream.core.state_ttl import StateTtlConfig
from millstream.runtime.state.base import StateBackend
from tests.contract.state_backends import (
    Factory,
    Spread,
    declared,
    merge,
    of_each_kind,
    on_each_backend,
    put,
    save,
    seen,
    take,
)
from tests.support.stepping import ManualClock

TTL_MS = 10_000
ON_READ = StateTtlConfig("10s", "on_read_and_write")
NOTHING: dict[str, Any] = {
    "value": 0,
    "list": (),
    "map": {},
    "reducing": None,
    "aggregating": None,
}


class Expiring:
    """A backend on a clock that is moved, chunk by chunk."""

    def __init__(self, make: Factory) -> None:
        self.clock = ManualClock(1_000_000)
        self.backend: StateBackend = make(self.clock)

    def state(self, descriptor: Any, key: str = "k") -> Any:
        state = self.backend.state("uid", descriptor)
        state.key = key
        return state

    def after(self, ms: int) -> None:
        self.clock.advance(ms)
        self.backend.tick()


@on_each_backend
def test_what_was_not_updated_in_time_is_not_returned(make: Factory) -> None:
    run = Expiring(make)
    states = {each.kind: run.state(each) for each in of_each_kind(ttl="10s")}
    for state in states.values():
        put(state, 3)
    run.after(TTL_MS - 1)
    assert all(seen(state) != NOTHING[kind] for kind, state in states.items())
    run.after(1)
    assert {kind: seen(state) for kind, state in states.items()} == NOTHING


@on_each_backend
def test_a_write_begins_the_time_anew_and_a_read_does_not(make: Factory) -> None:
    run = Expiring(make)
    states = {each.kind: run.state(each) for each in of_each_kind(ttl="10s")}
    for write in (True, False):
        for state in states.values():
            put(state, 3) if write else seen(state)
        run.after(TTL_MS - 1)
    run.after(1)
    assert {kind: seen(state) for kind, state in states.items()} == NOTHING


@on_each_backend
def test_on_request_a_read_begins_the_time_anew(make: Factory) -> None:
    run = Expiring(make)
    states = {each.kind: run.state(each) for each in of_each_kind(ttl=ON_READ)}
    for state in states.values():
        put(state, 3)
    for _ in range(3):
        run.after(TTL_MS - 1)
        assert all(seen(state) != NOTHING[kind] for kind, state in states.items())
    run.after(TTL_MS)
    assert {kind: seen(state) for kind, state in states.items()} == NOTHING


@on_each_backend
def test_an_expired_value_is_the_start_of_nothing(make: Factory) -> None:
    run = Expiring(make)
    total = run.state(declared(ReducingStateDescriptor, int, int.__add__, ttl="10s"))
    spread = run.state(declared(AggregatingStateDescriptor, Spread(), ttl="10s"))
    for state in (total, spread):
        state.add(5)
    run.after(TTL_MS)
    for state in (total, spread):
        state.add(2)
    assert (total.get(), spread.get()) == (2, 0)


@on_each_backend
def test_each_element_of_a_list_has_a_time_of_its_own(make: Factory) -> None:
    run = Expiring(make)
    state = run.state(declared(ListStateDescriptor, str, ttl="10s"))
    state.add("a")
    run.after(4_000)
    state.add_all(["b", "c"])
    run.after(6_000)
    assert list(state.get()) == ["b", "c"]
    state.add("d")
    run.after(4_000)
    state.add("e")
    assert list(state.get()) == ["d", "e"]
    state.update(["x"])
    run.after(TTL_MS)
    state.update([])
    state.add("y")
    assert list(state.get()) == ["y"]


@on_each_backend
def test_each_entry_of_a_map_has_a_time_of_its_own(make: Factory) -> None:
    run = Expiring(make)
    state = run.state(declared(MapStateDescriptor, str, int, ttl="10s"))
    state.put_all([("a", 1), ("b", 2)])
    run.after(4_000)
    state.put("b", 3)
    state.put("c", 4)
    run.after(6_000)
    assert (state.get("a", 9), state.contains("a"), state.contains("b")) == (9, False, True)
    assert sorted(state.items()) == [("b", 3), ("c", 4)]
    assert (sorted(state.keys()), sorted(state.values())) == (["b", "c"], [3, 4])
    run.after(4_000)
    assert state.is_empty()
    assert list(state.keys()) == []
    state.put("a", 5)
    assert not state.is_empty()
    state.remove("a")
    assert state.is_empty()
    state.put("a", 6)
    state.clear()
    assert state.is_empty()


@on_each_backend
def test_a_clock_that_is_put_back_brings_nothing_back(make: Factory) -> None:
    run = Expiring(make)
    state = run.state(declared(ListStateDescriptor, str, ttl="10s"))
    state.add("late")
    run.after(-TTL_MS)
    state.add("early")
    run.after(TTL_MS)
    assert list(state.get()) == ["late"]


@on_each_backend
def test_time_stands_still_within_a_chunk(make: Factory) -> None:
    run = Expiring(make)
    state = run.state(declared(ValueStateDescriptor, int, default=0, ttl="10s"))
    state.update(1)
    run.clock.advance(TTL_MS)
    assert state.value() == 1
    run.backend.tick()
    assert state.value() == 0


@on_each_backend
def test_what_has_expired_is_not_in_a_snapshot_and_the_rest_is_with_its_time(make: Factory) -> None:
    run = Expiring(make)
    states = {each.kind: run.state(each) for each in of_each_kind(ttl="10s")}
    for number, key in enumerate(["a", "b"]):
        for state in states.values():
            state.key = key
            put(state, number)
        if key == "b":
            states["list"].add(7)
        run.after(5_000)
    for kind in ("list", "map"):
        states[kind].key = "b"
    states["map"].put("m", 5)
    saved = save(run.backend)
    assert all(description.ttl for description in saved.entries)
    assert saved.of("value") == {"b": (1, 1_005_000)}
    assert saved.of("reducing") == {"b": (1, 1_005_000)}
    assert saved.of("aggregating") == {"b": ([1, 1], 1_005_000)}
    assert saved.of("list") == {"b": [(1, 1_005_000), (7, 1_005_000)]}
    assert saved.of("map") == {"b": {"n": (1, 1_005_000), "m": (5, 1_010_000)}}


@on_each_backend
def test_a_list_and_a_map_are_saved_without_what_has_expired_in_them(make: Factory) -> None:
    run = Expiring(make)
    numbers = run.state(declared(ListStateDescriptor, int, ttl="10s"))
    entries = run.state(declared(MapStateDescriptor, str, int, ttl="10s"))
    numbers.add(1)
    entries.put("old", 1)
    run.after(5_000)
    numbers.add(2)
    entries.put("new", 2)
    run.after(5_000)
    snapshot = run.backend.begin_snapshot()
    saved = take(snapshot)
    numbers.add(3)
    entries.put("old", 3)
    merge(snapshot)
    assert saved.of("list") == {"k": [(2, 1_005_000)]}
    assert saved.of("map") == {"k": {"new": (2, 1_005_000)}}
    assert list(numbers.get()) == [2, 3]
    assert dict(entries.items()) == {"old": 3, "new": 2}


@on_each_backend
def test_what_is_written_to_a_list_that_has_partly_expired_stays(make: Factory) -> None:
    run = Expiring(make)
    state = run.state(declared(ListStateDescriptor, list, ttl="10s"))
    for key in ("before", "after"):
        state.key = key
        state.add([1])
    run.after(5_000)
    for key in ("before", "after"):
        state.key = key
        state.add([2])
    run.after(5_000)
    snapshot = run.backend.begin_snapshot()
    state.key = "before"
    state.add([3])
    (listed,) = snapshot.states
    part = listed.next_slice(10)
    state.key = "after"
    state.add([3])  # the slice has not been encoded yet
    assert part == (["before", "after"], [[([2], 1_005_000)]] * 2)
    assert listed.next_slice(10) is None
    merge(snapshot)
    for key in ("before", "after"):
        state.key = key
        assert list(state.get()) == [[2], [3]]


@on_each_backend
def test_a_value_written_again_while_its_old_one_is_dropped_stays(make: Factory) -> None:
    run = Expiring(make)
    state = run.state(declared(ValueStateDescriptor, int, default=0, ttl="10s"))
    for key in ("a", "b", "c"):
        state.key = key
        state.update(1)
    run.after(TTL_MS)
    snapshot = run.backend.begin_snapshot()
    state.key = "a"
    state.update(2)
    saved = take(snapshot)
    state.key = "b"
    state.update(3)
    merge(snapshot)
    assert saved.of("value") == {}
    assert save(run.backend).of("value").keys() == {"a", "b"}


@on_each_backend
@pytest.mark.parametrize("kind", NOTHING)
def test_a_restored_value_keeps_its_time(make: Factory, kind: str) -> None:
    run = Expiring(make)
    descriptor = {each.kind: each for each in of_each_kind(ttl="10s")}[kind]
    put(run.state(descriptor), 3)
    run.after(5_000)
    saved = save(run.backend)
    again = Expiring(make)
    state = again.state(descriptor)
    saved.restore_into(again.backend)
    again.after(TTL_MS - 1)
    assert seen(state) != NOTHING[kind]
    again.after(1)
    assert seen(state) == NOTHING[kind]


@on_each_backend
@pytest.mark.parametrize("kind", NOTHING)
def test_a_time_to_live_may_be_declared_later_or_taken_back(make: Factory, kind: str) -> None:
    before, after = ({e.kind: e for e in of_each_kind(ttl=ttl)}[kind] for ttl in (None, "10s"))
    for first, second in ((before, after), (after, before)):
        run = Expiring(make)
        put(run.state(first), 3)
        run.after(TTL_MS - 1)
        saved = save(run.backend)
        again = Expiring(make)
        again.after(TTL_MS - 1)
        state = again.state(second)
        saved.restore_into(again.backend)
        assert seen(state) != NOTHING[kind]
        again.after(TTL_MS)
        assert (seen(state) == NOTHING[kind]) is (second is after)
