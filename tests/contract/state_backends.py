"""The state backends, and what the suites do with any of them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest

from millstream.core.job_graph import StateSpec
from millstream.core.ports import Clock
from millstream.core.state import (
    AggregatingStateDescriptor,
    ListStateDescriptor,
    MapStateDescriptor,
    OperatorStateDescriptor,
    ReducingStateDescriptor,
    ValueStateDescriptor,
)
from millstream.core.state_descriptor import StateDescriptor
from millstream.core.state_kinds import AggregateFunction
from millstream.runtime.state.base import BackendSnapshot, StateBackend, StateDescription
from millstream.runtime.state.memory import MemoryStateBackend
from tests.support.stepping import ManualClock

Factory = Callable[[Clock], StateBackend]
FACTORIES: dict[str, Factory] = {
    "memory": MemoryStateBackend,
    "memory, many overlays": partial(MemoryStateBackend, large_overlay=0),
}
on_each_backend = pytest.mark.parametrize("make", FACTORIES.values(), ids=FACTORIES)

Entries = dict[Any, Any]
CELLS = StateSpec("cells", "aggregating", "[n: count]")


class Spread(AggregateFunction[int, list[int], int]):
    """Largest less smallest; its accumulator is changed in place."""

    def create_accumulator(self) -> list[int]:
        return []

    def add(self, value: int, accumulator: list[int]) -> list[int]:
        accumulator[:] = [min([value, *accumulator]), max([value, *accumulator])]
        return accumulator

    def get_result(self, accumulator: list[int]) -> int:
        return accumulator[1] - accumulator[0]


def declared(make: Callable[..., Any], *args: Any, **options: Any) -> StateDescriptor[Any]:
    """Return a descriptor as if it stood in a class, under its kind's name."""
    descriptor: StateDescriptor[Any] = make(*args, **options)
    descriptor.name = descriptor.name or descriptor.kind
    return descriptor


def of_each_kind(**options: Any) -> list[StateDescriptor[Any]]:
    """Return a keyed descriptor of each kind."""
    return [
        declared(ValueStateDescriptor, int, default=0, **options),
        declared(ListStateDescriptor, int, **options),
        declared(MapStateDescriptor, str, int, **options),
        declared(ReducingStateDescriptor, int, max, **options),
        declared(AggregatingStateDescriptor, Spread(), **options),
    ]


def every_kind(**options: Any) -> list[StateDescriptor[Any]]:
    """Return a descriptor of each kind."""
    return [*of_each_kind(**options), declared(OperatorStateDescriptor, int, **options)]


def put(state: Any, value: int) -> None:
    """Write a number into a state of any kind; of a map to the entry ``"n"``."""
    if hasattr(state, "put"):
        state.put("n", value)
    elif hasattr(state, "value"):
        state.update(value)
    else:
        state.add(value)


def seen(state: Any) -> Any:
    """Return all that a state of any kind gives out."""
    if hasattr(state, "items"):
        return dict(state.items())
    return state.value() if hasattr(state, "value") else state.get()


@dataclass
class Saved:
    """What a snapshot has handed out.

    Attributes:
        entries: by state.
        slices: how many of each.
    """

    entries: dict[StateDescription, Entries] = field(default_factory=dict)
    slices: dict[StateDescription, int] = field(default_factory=dict)

    def of(self, name: str) -> Entries:
        ((_, entries),) = [each for each in self.entries.items() if each[0].name == name]
        return entries

    def restore_into(self, backend: StateBackend) -> None:
        for description, entries in self.entries.items():
            kept = copy.deepcopy(entries)
            backend.restore(description, [([key], [value]) for key, value in kept.items()])


def take(snapshot: BackendSnapshot, max_entries: int = 2) -> Saved:
    """Take all slices, as an encoder does."""
    saved = Saved()
    for state in snapshot.states:
        entries = saved.entries[state.description] = {}
        saved.slices[state.description] = 0
        while (part := state.next_slice(max_entries)) is not None:
            add_slice(entries, part)
            saved.slices[state.description] += 1
    return saved


def add_slice(entries: Entries, part: Any) -> None:
    keys, values = part
    assert len(keys) == len(values)
    assert not entries.keys() & set(keys)
    entries.update(copy.deepcopy(list(zip(keys, values, strict=True))))


def save(backend: StateBackend) -> Saved:
    """Take a whole snapshot at once."""
    snapshot = backend.begin_snapshot()
    saved = take(snapshot)
    merge(snapshot)
    return saved


def merge(snapshot: BackendSnapshot, max_entries: int = 2) -> int:
    """Merge to the end; return in how many steps."""
    for step in range(1, 10_000):
        if snapshot.merge(max_entries):
            return step
    raise AssertionError("the merge does not end")


def clock_at(now_ms: int = 1_000_000) -> ManualClock:
    return ManualClock(now_ms)
