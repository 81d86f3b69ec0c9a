"""Any interleaving of state operations, snapshots, merges and restores, against a plain model."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from millstream.core.state import (
    AggregatingStateDescriptor,
    ListStateDescriptor,
    MapStateDescriptor,
    OperatorStateDescriptor,
    ReducingStateDescriptor,
    ValueStateDescriptor,
)
from millstream.core.state_descriptor import StateDescriptor
from millstream.core.state_ttl import StateTtlConfig
from millstream.core.timers import PROCESSING_TIME_TIMERS as TIMERS
from millstream.runtime.state.base import BackendSnapshot, StateBackend
from tests.contract.state_backends import (
    CELLS,
    Factory,
    Saved,
    Spread,
    add_slice,
    declared,
    on_each_backend,
)
from tests.support.stepping import ManualClock

TTL_MS = 3
ON_READ = StateTtlConfig("3ms", "on_read_and_write")
KEYS = st.sampled_from(["a", "b", "c"])
NUMBERS = st.integers(0, 9)


def descriptors() -> list[StateDescriptor[Any]]:
    return [
        declared(ValueStateDescriptor, int, default=0, name="value"),
        declared(ValueStateDescriptor, int, default=0, name="expiring value", ttl="3ms"),
        declared(ValueStateDescriptor, int, default=0, name="read value", ttl=ON_READ),
        declared(ListStateDescriptor, int, name="list"),
        declared(ListStateDescriptor, int, name="expiring list", ttl="3ms"),
        declared(ListStateDescriptor, int, name="read list", ttl=ON_READ),
        declared(MapStateDescriptor, int, list, name="map"),
        declared(MapStateDescriptor, int, list, name="expiring map", ttl="3ms"),
        declared(MapStateDescriptor, int, list, name="read map", ttl=ON_READ),
        declared(ReducingStateDescriptor, int, max, name="reducing"),
        declared(ReducingStateDescriptor, int, max, name="expiring reducing", ttl="3ms"),
        declared(AggregatingStateDescriptor, Spread(), name="aggregating"),
        declared(AggregatingStateDescriptor, Spread(), name="expiring aggregating", ttl="3ms"),
        declared(OperatorStateDescriptor, int, name="operator"),
    ]


def names(kind: str) -> st.SearchStrategy[str]:
    return st.sampled_from([each.name or "" for each in descriptors() if each.kind == kind])


class Model:
    """What every state holds: ``(value, updated ms)`` by entry of an entry's key.

    A value, and a reduced one, is at the entry None; the elements of a list at 0, 1, 2 …
    """

    def __init__(self) -> None:
        names = [*(str(each.name) for each in descriptors()), "cells"]
        self.states: dict[str, dict[Any, dict[Any, tuple[Any, int]]]] = {name: {} for name in names}
        self.timers: dict[tuple[int, str], None] = {}  # in the order in which they were registered
        self.now_ms = 0

    def read(self, name: str, key: Any, entry: Any = ...) -> dict[Any, Any]:
        """Return what is there; reading one entry, or all, is an update where it is said to be."""
        found = self.states[name].get(key, {})
        if name.startswith(("expiring", "read")):
            for each in [e for e, (_, ms) in found.items() if ms <= self.now_ms - TTL_MS]:
                del found[each]
        if not found:
            self.states[name].pop(key, None)
        if name.startswith("read"):
            for each in found if entry is ... else found.keys() & {entry}:
                found[each] = (found[each][0], self.now_ms)
        return {each: value for each, (value, _) in found.items()}

    def write(self, name: str, key: Any, entry: Any, value: Any) -> None:
        self.states[name].setdefault(key, {})[entry] = (value, self.now_ms)

    def add(self, name: str, key: Any, value: Any) -> None:
        entries = self.states[name].get(key, {})
        self.write(name, key, max(entries, default=-1) + 1, value)

    def clear(self, name: str, key: Any) -> None:
        self.states[name].pop(key, None)

    def saved(self) -> dict[str, dict[Any, Any]]:
        """Return what a snapshot has that begins now."""
        result = {}
        for name, keys in self.states.items():
            expires = name.startswith(("expiring", "read"))
            entries: dict[Any, Any] = {}
            for key, found in keys.items():
                kept = {
                    entry: (value, ms) if expires else value
                    for entry, (value, ms) in found.items()
                    if not expires or ms > self.now_ms - TTL_MS
                }
                if not kept:
                    continue
                if None in kept:
                    entries[key] = kept[None]
                elif name.endswith("map"):
                    entries[key] = kept
                else:
                    entries[key] = [kept[entry] for entry in sorted(kept)]
            result[name] = entries
        result[TIMERS] = dict(self.timers)
        return copy.deepcopy(result)

    def restored(self, saved: dict[str, dict[Any, Any]]) -> None:
        """Hold what a snapshot has."""
        states = copy.deepcopy(saved)
        self.timers = states.pop(TIMERS)
        for name, entries in states.items():
            expires = name.startswith(("expiring", "read"))
            self.states[name] = {}
            for key, value in entries.items():
                parts: dict[Any, Any] = {None: value}
                if name.endswith("map"):
                    parts = value
                elif name.endswith("list") or name == "operator":
                    parts = dict(enumerate(value))
                self.states[name][key] = {
                    entry: part if expires else (part, self.now_ms) for entry, part in parts.items()
                }


class States(RuleBasedStateMachine):
    """Each rule is a chunk, or what the engine does between two; ``slice`` also comes within."""

    make: Factory

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock(1_000)
        self.model = Model()
        self.snapshot: BackendSnapshot | None = None
        self.slices: list[tuple[str, Any]] = []  # to be encoded before the next merge
        self.taken: dict[str, dict[Any, Any]] = {}
        self.open: list[Any] = []
        self.expected: dict[str, dict[Any, Any]] = {}
        self.complete = Saved()
        self.begin_backend()

    def begin_backend(self) -> None:
        self.backend: StateBackend = self.make(self.clock)
        self.live = {str(each.name): self.backend.state("uid", each) for each in descriptors()}
        self.cells = self.backend.state_table("uid", CELLS)
        self.timers = self.backend.timers("uid", TIMERS)
        self.model.now_ms = self.clock.now_ms()

    def state(self, name: str, key: Any) -> Any:
        self.live[name].key = key
        return self.live[name]

    @initialize(now=st.integers(0, 5))
    def start(self, now: int) -> None:
        self.pass_time(now)

    # -- operations -----------------------------------------------------------------------------

    @rule(name=names("value"), key=KEYS, number=NUMBERS)
    def update_value(self, name: str, key: str, number: int) -> None:
        self.state(name, key).update(number)
        self.model.write(name, key, None, number)

    @rule(name=names("value"), key=KEYS)
    def read_value(self, name: str, key: str) -> None:
        assert self.state(name, key).value() == self.model.read(name, key).get(None, 0)

    @rule(name=names("list"), key=KEYS, numbers=st.lists(NUMBERS, max_size=3))
    def add_to_list(self, name: str, key: str, numbers: list[int]) -> None:
        state = self.state(name, key)
        state.add_all(numbers)
        state.add(5)
        for number in [*numbers, 5]:
            self.model.add(name, key, number)

    @rule(name=names("list"), key=KEYS, numbers=st.lists(NUMBERS, max_size=3))
    def update_list(self, name: str, key: str, numbers: list[int]) -> None:
        self.state(name, key).update(numbers)
        self.model.clear(name, key)
        for number in numbers:
            self.model.add(name, key, number)

    @rule(name=names("list"), key=KEYS)
    def read_list(self, name: str, key: str) -> None:
        found = self.model.read(name, key)
        assert list(self.state(name, key).get()) == [found[entry] for entry in sorted(found)]

    @rule(name=names("map"), key=KEYS, entry=NUMBERS, number=NUMBERS)
    def put_into_map(self, name: str, key: str, entry: int, number: int) -> None:
        self.state(name, key).put(entry, [number])
        self.model.write(name, key, entry, [number])

    @rule(name=names("map"), key=KEYS, entry=NUMBERS, put=NUMBERS)
    def read_map(self, name: str, key: str, entry: int, put: int) -> None:
        state = self.state(name, key)
        found = self.model.read(name, key, entry)
        assert state.contains(entry) is (entry in found)
        assert state.get(entry, "none") == found.get(entry, "none")
        assert state.is_empty() is (not found)

    @rule(name=names("map"), key=KEYS, remove=NUMBERS)
    def loop_over_map(self, name: str, key: str, remove: int) -> None:
        state = self.state(name, key)
        found = self.model.read(name, key)
        assert dict(state.items()) == found
        assert set(state.keys()) == found.keys()
        assert sorted(state.values()) == sorted(found.values())
        state.remove(remove)
        entries = self.model.states[name].get(key, {})
        entries.pop(remove, None)
        if not entries:
            self.model.clear(name, key)

    @rule(name=names("reducing"), key=KEYS, number=NUMBERS)
    def reduce(self, name: str, key: str, number: int) -> None:
        state = self.state(name, key)
        before = self.model.read(name, key).get(None)
        assert state.get() == before
        state.add(number)
        self.model.write(name, key, None, number if before is None else max(before, number))

    @rule(name=names("aggregating"), key=KEYS, number=NUMBERS)
    def aggregate(self, name: str, key: str, number: int) -> None:
        state = self.state(name, key)
        before = self.model.read(name, key).get(None, [])
        assert state.get() == (before[1] - before[0] if before else None)
        state.add(number)
        self.model.write(name, key, None, [min([number, *before]), max([number, *before])])

    @rule(number=NUMBERS)
    def add_to_operator(self, number: int) -> None:
        self.live["operator"].add(number)
        self.model.add("operator", None, number)
        found = self.model.read("operator", None)
        assert list(self.live["operator"].get()) == [found[entry] for entry in sorted(found)]

    @rule(name=st.sampled_from([str(each.name) for each in descriptors()]), key=KEYS)
    def clear(self, name: str, key: str) -> None:
        if name == "operator":
            self.live[name].clear()
            self.model.clear(name, None)
        else:
            self.state(name, key).clear()
            self.model.clear(name, key)

    @rule(keys=st.lists(KEYS, min_size=1, max_size=4), number=NUMBERS, slice_at=st.integers(0, 6))
    def loop_with_cells(self, keys: list[str], number: int, slice_at: int) -> None:
        """As a generated loop does: the table is taken once per chunk, cells change in place."""
        table = self.cells.table
        get = table.get
        for at, key in enumerate(keys):
            if at == slice_at:
                self.take_slice(slice_at, 1)
            cell = get(key)
            if cell is None:
                table[key] = cell = [0]
            cell[0] += number
            before = self.model.read("cells", key).get(None, [0])
            self.model.write("cells", key, None, [before[0] + number])
            assert cell == [before[0] + number]

    @rule(key=KEYS)
    def forget_cell(self, key: str) -> None:
        self.cells.table.pop(key, None)
        self.model.clear("cells", key)

    @rule()
    def loop_over_cells(self) -> None:
        found = dict(self.cells.table.items())
        assert found == {key: entry[None][0] for key, entry in self.model.states["cells"].items()}
        assert len(self.cells.table) == len(found)
        assert set(self.cells.table) == found.keys()
        assert all(key in self.cells.table for key in found)

    @rule(key=KEYS, times=st.lists(st.integers(0, 12), min_size=1, max_size=3))
    def register_timers(self, key: str, times: list[int]) -> None:
        self.timers.key = key
        for time_ms in times:
            self.timers.register(1_000 + time_ms)
            self.model.timers.setdefault((1_000 + time_ms, key))

    @rule(key=KEYS, times=st.lists(st.integers(0, 12), min_size=1, max_size=3))
    def delete_timers(self, key: str, times: list[int]) -> None:
        self.timers.key = key
        for time_ms in times:
            self.timers.delete(1_000 + time_ms)
            self.model.timers.pop((1_000 + time_ms, key), None)

    @rule(most=st.integers(1, 3))
    def fire_timers(self, most: int) -> None:
        in_order = sorted(self.model.timers, key=lambda timer: timer[0])
        assert self.timers.next_ms() == (in_order[0][0] if in_order else None)
        for expected in [each for each in in_order if each[0] <= self.model.now_ms][:most]:
            assert self.timers.pop_due(self.model.now_ms) == expected
            del self.model.timers[expected]
        if not any(time_ms <= self.model.now_ms for time_ms, _ in self.model.timers):
            assert self.timers.pop_due(self.model.now_ms) is None

    @rule(ms=st.integers(0, 4))
    def pass_time(self, ms: int) -> None:
        self.clock.advance(ms)
        self.backend.tick()
        self.model.now_ms = self.clock.now_ms()

    # -- what the engine does -------------------------------------------------------------------

    @precondition(lambda self: self.snapshot is None)
    @rule()
    def begin_snapshot(self) -> None:
        self.snapshot = self.backend.begin_snapshot()
        self.expected = self.model.saved()
        self.open = list(self.snapshot.states)
        self.taken = {state.description.name: {} for state in self.open}

    @rule(which=NUMBERS, max_entries=st.integers(1, 4))
    def take_slice(self, which: int, max_entries: int) -> None:
        if not self.open or self.snapshot is None:
            return
        state = self.open[which % len(self.open)]
        part = state.next_slice(max_entries)
        if part is not None:
            self.slices.append((state.description.name, part))
            return
        self.open.remove(state)
        self.encode()
        name = state.description.name
        assert self.taken[name] == self.expected[name]
        if not self.open:
            descriptions = {state.description: state for state in self.snapshot.states}
            self.complete = Saved({each: self.taken[each.name] for each in descriptions})

    def encode(self) -> None:
        for name, part in self.slices:
            add_slice(self.taken[name], part)
        self.slices = []

    @precondition(lambda self: self.open)
    @rule(max_entries=st.integers(1, 9))
    def take_all(self, max_entries: int) -> None:
        while self.open:
            self.take_slice(0, max_entries)

    @precondition(lambda self: self.open)
    @rule()
    def discard(self) -> None:
        if self.snapshot is not None:
            self.snapshot.discard()
        self.open = []

    @precondition(lambda self: self.snapshot is not None)
    @rule(max_entries=st.integers(0, 5))
    def merge(self, max_entries: int) -> None:
        assert self.snapshot is not None
        self.encode()
        if self.snapshot.merge(max_entries):
            assert not self.open
            self.snapshot = None

    @precondition(lambda self: self.complete.entries)
    @rule()
    def crash_and_restore(self) -> None:
        self.snapshot, self.open, self.slices = None, [], []
        self.begin_backend()
        self.complete.restore_into(self.backend)
        self.model.restored({each.name: of for each, of in self.complete.entries.items()})

    def teardown(self) -> None:
        """Whatever happened, all that was written is there."""
        self.take_all(3)
        while self.snapshot is not None:
            self.merge(2)
        self.begin_snapshot()
        self.take_all(3)


@pytest.mark.timeout(120)
@on_each_backend
def test_any_interleaving_gives_what_a_plain_model_gives(make: Factory) -> None:
    machine: Any = type("States", (States,), {"make": staticmethod(make)})
    case = machine.TestCase
    case.settings = settings(
        max_examples=80, stateful_step_count=60, deadline=None, print_blob=True
    )
    case("runTest").debug()
