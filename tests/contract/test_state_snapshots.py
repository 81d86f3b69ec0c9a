"""Snapshots beside the stream and what is restored from them, case by case, on each backend."""

from __future__ import annotations

from typing import Any

import pytest

from millstream.core.errors import ConfigError, InternalError
from millstream.core.state import (
    ListStateDescriptor,
    MapStateDescriptor,
    OperatorStateDescriptor,
    ValueStateDescriptor,
)
from millstream.runtime.state.base import StateDescription
from tests.contract.state_backends import (
    CELLS,
    Factory,
    Saved,
    clock_at,
    declared,
    every_kind,
    merge,
    on_each_backend,
    put,
    save,
    seen,
    take,
)

KEYS = ["a", "b", "c"]


def filled(make: Factory) -> tuple[Any, dict[str, Any]]:
    """Return a backend and its states, each with a number at each key."""
    backend = make(clock_at())
    states = {each.kind: backend.state("uid", each) for each in every_kind()}
    cells = backend.state_table("uid", CELLS).table
    for number, key in enumerate(KEYS):
        cells[key] = [number]
        for kind, state in states.items():
            if kind != "operator":
                state.key = key
            put(state, number)
    return backend, states


EXPECTED = {
    "value": {"a": 0, "b": 1, "c": 2},
    "list": {"a": [0], "b": [1], "c": [2]},
    "map": {"a": {"n": 0}, "b": {"n": 1}, "c": {"n": 2}},
    "reducing": {"a": 0, "b": 1, "c": 2},
    "aggregating": {"a": [0, 0], "b": [1, 1], "c": [2, 2]},
    "operator": {None: [0, 1, 2]},
    "cells": {"a": [0], "b": [1], "c": [2]},
}


def contents(saved: Saved) -> dict[str, Any]:
    return {description.name: entries for description, entries in saved.entries.items()}


@on_each_backend
def test_a_snapshot_has_every_state_of_every_operator_with_its_form(make: Factory) -> None:
    backend, _ = filled(make)
    backend.state("other", declared(ListStateDescriptor, str, name="words", version=3, ttl="1m"))
    saved = save(backend)
    assert contents(saved) == {**EXPECTED, "words": {}}
    assert list(saved.entries) == [
        *(StateDescription("uid", each.kind, each.kind, each.type) for each in every_kind()),
        StateDescription("uid", "cells", "aggregating", "[n: count]"),
        StateDescription("other", "words", "list", list[str], 3, ttl=True),
    ]


@on_each_backend
def test_what_is_written_since_is_not_in_it_and_is_there_after(make: Factory) -> None:
    backend, states = filled(make)
    snapshot = backend.begin_snapshot()
    for key in ["a", "d"]:
        for kind, state in states.items():
            if kind != "operator":
                state.key = key
            put(state, 7)
        cell = backend.state_table("uid", CELLS).table
        cell[key] = [*(cell.get(key) or []), 7]
    assert contents(take(snapshot)) == EXPECTED
    merge(snapshot)
    after = contents(save(backend))
    assert after["value"] == {"a": 7, "b": 1, "c": 2, "d": 7}
    assert after["list"] == {"a": [0, 7], "b": [1], "c": [2], "d": [7]}
    assert after["map"] == {"a": {"n": 7}, "b": {"n": 1}, "c": {"n": 2}, "d": {"n": 7}}
    assert after["reducing"] == {"a": 7, "b": 1, "c": 2, "d": 7}
    assert after["aggregating"] == {"a": [0, 7], "b": [1, 1], "c": [2, 2], "d": [7, 7]}
    assert after["operator"] == {None: [0, 1, 2, 7, 7]}
    assert after["cells"] == {"a": [0, 7], "b": [1], "c": [2], "d": [7]}


@on_each_backend
def test_a_cell_that_is_changed_in_place_is_not_changed_in_it(make: Factory) -> None:
    backend, _ = filled(make)
    table = backend.state_table("uid", CELLS)
    snapshot = backend.begin_snapshot()
    for step in range(3):  # before the slices, between them and the merge, and while merging
        for key in KEYS:
            table.table.get(key)[0] += 10
        if step == 0:
            assert contents(take(snapshot)) == EXPECTED
        else:
            snapshot.merge(1)
    merge(snapshot)
    assert save(backend).of("cells") == {"a": [30], "b": [31], "c": [32]}


@on_each_backend
def test_what_is_cleared_since_is_in_it_and_gone_after(make: Factory) -> None:
    backend, states = filled(make)
    snapshot = backend.begin_snapshot()
    for kind, state in states.items():
        if kind != "operator":
            state.key = "b"
        state.clear()
    backend.state_table("uid", CELLS).table.pop("b", None)
    for state in states.values():
        assert seen(state) in (0, (), {}, None)
    assert contents(take(snapshot)) == EXPECTED
    merge(snapshot)
    after = contents(save(backend))
    assert after.pop("operator") == {}
    assert all(entries.keys() == {"a", "c"} for entries in after.values())


@on_each_backend
def test_a_key_may_be_cleared_and_written_at_any_point(make: Factory) -> None:
    backend = make(clock_at())
    state = backend.state("uid", declared(ValueStateDescriptor, int, default=0))
    for round_ in range(3):
        snapshot = backend.begin_snapshot()
        steps: list[Any] = [take, lambda each: each.merge(1), merge]
        for number, step in enumerate(steps):
            state.key = number % 2
            state.update(round_)
            state.clear()
            state.update(number)
            step(snapshot)
            assert state.value() == number
            state.clear()
            assert state.value() == 0
    assert save(backend).of("value") == {}


@on_each_backend
def test_keys_stay_in_the_order_in_which_they_came(make: Factory) -> None:
    backend = make(clock_at())
    table = backend.state_table("uid", CELLS)

    def write(*keys: int) -> None:
        cells = table.table
        for key in keys:
            cells[key] = [key]

    write(1, 2, 3)
    snapshot = backend.begin_snapshot()
    write(2, 4)
    snapshot.merge(1)
    write(5, 1, 6)
    assert [key for key, _ in table.table.items()] == [1, 2, 3, 4, 5, 6]
    take(snapshot)
    snapshot.merge(1)
    write(7, 4, 8)
    assert [key for key, _ in table.table.items()] == [1, 2, 3, 4, 5, 6, 7, 8]
    merge(snapshot, 1)
    assert [key for key, _ in table.table.items()] == [1, 2, 3, 4, 5, 6, 7, 8]


@on_each_backend
def test_a_key_written_again_and_again_has_its_last_value(make: Factory) -> None:
    backend = make(clock_at())
    state = backend.state("uid", declared(ValueStateDescriptor, int, default=0))
    state.key = "k"
    snapshot = backend.begin_snapshot()
    for value in range(5):
        state.update(value)
        snapshot.merge(1)
        assert state.value() == value
    state.clear()
    snapshot.merge(1)
    assert state.value() == 0
    state.update(5)
    take(snapshot)
    for value in range(6, 9):
        assert state.value() == value - 1
        state.update(value)
        snapshot.merge(1)
    merge(snapshot)
    assert state.value() == 8
    assert save(backend).of("value") == {"k": 8}


@on_each_backend
def test_results_drained_while_it_is_merged_are_all_there(make: Factory) -> None:
    backend = make(clock_at())
    table = backend.state_table("uid", CELLS)
    for key in range(4):
        table.table[key] = [key]
    snapshot = backend.begin_snapshot()
    for key in range(2, 12):
        table.table[key] = [key, key]
    results = iter(table.table.items())
    drained = [next(results)]
    take(snapshot)
    while not snapshot.merge(1):
        drained.append(next(results))
    drained += results
    assert drained == [(0, [0]), (1, [1]), *((key, [key, key]) for key in range(2, 12))]


@on_each_backend
def test_a_merge_ends_though_more_is_written_than_it_was_asked_to_bring_in(make: Factory) -> None:
    backend = make(clock_at())
    state = backend.state("uid", declared(ValueStateDescriptor, int, default=0))
    snapshot = backend.begin_snapshot()
    written = 0

    def write(count: int) -> None:
        nonlocal written
        for _ in range(count):
            state.key = written
            state.update(written)
            written += 1

    write(500)
    take(snapshot)
    steps = 0
    while not snapshot.merge(1):
        write(20)
        steps += 1
        assert steps < 100
    assert save(backend).of("value") == {key: key for key in range(written)}


@on_each_backend
def test_another_is_refused_until_the_last_is_merged(make: Factory) -> None:
    backend, _ = filled(make)
    snapshot = backend.begin_snapshot()
    with pytest.raises(InternalError, match="begun before the last one was merged"):
        backend.begin_snapshot()
    assert not snapshot.merge(1_000)  # its slices have not been taken
    take(snapshot)
    with pytest.raises(InternalError, match="begun before the last one was merged"):
        backend.begin_snapshot()
    merge(snapshot)
    again = backend.begin_snapshot()
    assert contents(take(again)) == EXPECTED
    merge(again)


@on_each_backend
def test_one_that_is_given_up_leaves_the_state_as_it_is(make: Factory) -> None:
    backend, states = filled(make)
    snapshot = backend.begin_snapshot()
    snapshot.states[0].next_slice(1)
    states["value"].key = "a"
    states["value"].update(9)
    snapshot.discard()
    assert all(state.next_slice(1) is None for state in snapshot.states)
    merge(snapshot)
    assert contents(save(backend)) == {**EXPECTED, "value": {"a": 9, "b": 1, "c": 2}}


@on_each_backend
def test_slices_have_about_as_many_entries_as_asked_for(make: Factory) -> None:
    backend = make(clock_at())
    value = backend.state("uid", declared(ValueStateDescriptor, int, default=0))
    entries = backend.state("uid", declared(MapStateDescriptor, int, int))
    for key in range(10):
        value.key = entries.key = key
        value.update(key)
        entries.put_all((number, number) for number in range(key % 5 + 1))
    snapshot = backend.begin_snapshot()
    values, maps = snapshot.states
    sizes = []
    while (part := values.next_slice(4)) is not None:
        sizes.append(len(part[0]))
    assert sizes == [4, 4, 2]
    elements = []
    while (part := maps.next_slice(4)) is not None:
        elements.append(sum(map(len, part[1])))
    assert sum(elements) == 30
    assert max(elements) <= 4 + 4  # no more than asked for, but for the last entry


@on_each_backend
@pytest.mark.parametrize("keys", [0, 1, 2])
def test_saved_restored_and_saved_again_three_times_is_the_same(make: Factory, keys: int) -> None:
    backend = make(clock_at())
    states = [backend.state("uid", each) for each in every_kind()]
    for key in range(keys):
        for state, descriptor in zip(states, every_kind(), strict=True):
            if descriptor.keyed:
                state.key = key
            put(state, key)
    first = saved = save(backend)
    for _ in range(3):
        backend = make(clock_at())
        states = [backend.state("uid", each) for each in every_kind()]
        saved.restore_into(backend)
        saved = save(backend)
        assert saved.entries == first.entries
    for state, descriptor in zip(states, every_kind(), strict=True):
        if descriptor.keyed:
            state.key = keys
        put(state, 5)  # a restored state goes on
    assert save(backend).entries != first.entries


@on_each_backend
def test_an_operator_state_is_one_entry_without_a_key(make: Factory) -> None:
    backend = make(clock_at())
    state = backend.state("uid", declared(OperatorStateDescriptor, str))
    assert save(backend).of("operator") == {}
    state.add_all(["a", "b"])
    assert save(backend).of("operator") == {None: ["a", "b"]}


# -- versions -----------------------------------------------------------------------------------


def restore(make: Factory, old: Any, new: Any, *values: int) -> Any:
    """Save values under one declaration, at the keys 0, 1, …; return them under another."""
    backend = make(clock_at())
    state = backend.state("uid", old)
    for key, value in enumerate(values):
        if old.keyed:
            state.key = key
        put(state, value)
    again = make(clock_at())
    state = again.state("uid", new)
    save(backend).restore_into(again)
    return save(again).of(new.name)


@on_each_backend
def test_a_saved_value_of_a_lower_version_is_migrated(make: Factory) -> None:
    for old, new in zip(every_kind(), every_kind(version=3, migrate=lambda n: [n]), strict=True):
        assert (
            restore(make, old, new, 4, 5)
            == {
                "value": {0: [4], 1: [5]},
                "list": {0: [[4]], 1: [[5]]},
                "map": {0: {"n": [4]}, 1: {"n": [5]}},
                "reducing": {0: [4], 1: [5]},
                "aggregating": {0: [[4, 4]], 1: [[5, 5]]},
                "operator": {None: [[4], [5]]},
            }[old.kind]
        )


@on_each_backend
def test_a_value_that_expires_is_migrated_without_its_time(make: Factory) -> None:
    old = declared(ListStateDescriptor, int, ttl="1h")
    new = declared(ListStateDescriptor, str, ttl="1h", version=2, migrate=str)
    assert restore(make, old, new, 4) == {0: [("4", 1_000_000)]}


@on_each_backend
def test_steps_are_taken_one_after_the_other(make: Factory) -> None:
    steps = {1: lambda n: n + 1, 2: lambda n: n * 10, 3: str}
    for version, result in ((1, "50"), (2, "40"), (3, "4"), (4, 4)):
        old = declared(ValueStateDescriptor, int, default=0, version=version)
        new = declared(ValueStateDescriptor, str, default="", version=4, migrate=steps)
        assert restore(make, old, new, 4) == {0: result}


@on_each_backend
def test_a_lower_version_without_a_way_from_it_is_refused_with_both(make: Factory) -> None:
    old = declared(ValueStateDescriptor, int, default=0)
    new = declared(ValueStateDescriptor, int, default=0, version=2)
    with pytest.raises(ConfigError, match=r"'value' of operator 'uid': the snapshot has version 1, "
                       r"the job declares version 2: declare migrate=…, a function"):  # fmt: skip
        restore(make, old, new, 1)
    some = declared(ValueStateDescriptor, int, default=0, version=3, migrate={2: int})
    with pytest.raises(ConfigError, match="declares version 3: migrate has no step from version 1"):
        restore(make, old, some, 1)


@on_each_backend
def test_a_higher_version_is_refused_with_both(make: Factory) -> None:
    old = declared(ValueStateDescriptor, int, default=0, version=3)
    new = declared(ValueStateDescriptor, int, default=0, version=2, migrate=int)
    with pytest.raises(
        ConfigError, match="has version 3, the job declares version 2: run the vers"
    ):
        restore(make, old, new, 1)


@on_each_backend
def test_a_migration_that_fails_says_on_which_value(make: Factory) -> None:
    old = declared(ValueStateDescriptor, str, default="")
    new = declared(ValueStateDescriptor, int, default=0, version=2, migrate=lambda n: 1 // n)
    with pytest.raises(
        ConfigError,
        match="operator 'uid': migrate failed on the saved value 0: ZeroDivisionError",
    ):
        restore(make, old, new, 3, 0)


@on_each_backend
def test_a_state_that_is_not_declared_or_of_another_kind_is_refused(make: Factory) -> None:
    backend = make(clock_at())
    backend.state("uid", declared(ValueStateDescriptor, int, default=0, name="total"))
    other = StateDescription("uid", "gone", "value")
    with pytest.raises(ConfigError, match=r"state 'gone' of operator 'uid', which the job does not "
                       r"declare \(it declares total\)"):  # fmt: skip
        backend.restore(other, [])
    with pytest.raises(
        ConfigError, match=r"which the job does not declare \(it declares no state th"
    ):
        backend.restore(StateDescription("else", "total", "value"), [])
    with pytest.raises(ConfigError, match="has a list state, the job declares a value state"):
        backend.restore(StateDescription("uid", "total", "list"), [])


@on_each_backend
def test_a_state_that_is_in_use_is_not_restored_over(make: Factory) -> None:
    backend, _ = filled(make)
    saved = save(backend)
    with pytest.raises(InternalError, match="'value' of operator 'uid' is not empty"):
        saved.restore_into(backend)


@on_each_backend
def test_one_name_for_two_states_is_refused(make: Factory) -> None:
    backend = make(clock_at())
    backend.state("uid", declared(ValueStateDescriptor, int, default=0, name="s"))
    with pytest.raises(InternalError, match="is declared as"):
        backend.state("uid", declared(ListStateDescriptor, int, name="s"))
