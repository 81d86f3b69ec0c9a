"""What only the memory backend does; all else is in tests/contract/test_state_*.py."""

from __future__ import annotations

import gc

import pytest

from millstream.core.errors import InternalError
from millstream.core.job_graph import StateSpec
from millstream.core.state import ListStateDescriptor, ValueStateDescriptor
from millstream.runtime.state.memory import MemoryStateBackend
from millstream.runtime.state.overlay import Overlay
from tests.contract.state_backends import declared, merge, take
from tests.support.stepping import ManualClock

SPEC = StateSpec("total", "reducing", "int")


def test_a_state_is_the_same_by_operator_and_name_and_no_other() -> None:
    backend = MemoryStateBackend()
    assert backend.state_table("a", SPEC) is backend.state_table("a", SPEC)
    tables = [
        backend.state_table(uid, StateSpec(name, "reducing", "int"))
        for uid in ("a", "b")
        for name in ("x", "y")
    ]
    assert len({id(table.table) for table in tables}) == 4
    assert MemoryStateBackend().state_table("a", SPEC).table == {}


def test_a_table_is_a_plain_dict_but_while_there_is_a_snapshot() -> None:
    backend = MemoryStateBackend()
    table = backend.state_table("uid", SPEC)
    plain = table.table
    snapshot = backend.begin_snapshot()
    assert type(table.table) is Overlay
    table.table["k"] = 1
    assert plain == {}
    take(snapshot)
    merge(snapshot)
    assert table.table is plain
    assert plain == {"k": 1}


def test_a_value_that_is_changed_in_place_though_it_should_not_be_is_whole_in_a_snapshot() -> None:
    backend = MemoryStateBackend()
    state = backend.state("uid", declared(ValueStateDescriptor, dict, default=None))
    state.key = "k"
    state.update({"a": [1]})
    snapshot = backend.begin_snapshot()
    state.value()["a"].append(2)
    assert take(snapshot).of("value") == {"k": {"a": [1]}}
    merge(snapshot)
    assert state.value() == {"a": [1, 2]}


def test_a_bound_method_stays_valid_when_a_snapshot_begins() -> None:
    backend = MemoryStateBackend()
    state = backend.state("uid", declared(ValueStateDescriptor, int, default=0))
    state.key, value, update = "k", state.value, state.update
    snapshot = backend.begin_snapshot()
    update(1)
    assert value() == 1
    take(snapshot)
    merge(snapshot)
    assert value() == 1


def test_what_has_expired_is_dropped_from_memory_by_a_snapshot() -> None:
    clock = ManualClock()
    backend = MemoryStateBackend(clock)
    value = backend.state("uid", declared(ValueStateDescriptor, int, default=0, ttl="1s"))
    numbers = backend.state("uid", declared(ListStateDescriptor, int, ttl="1s"))
    for key in range(5):
        value.key = numbers.key = key
        value.update(1)
        numbers.add(1)
        clock.advance(300)
        backend.tick()
    numbers.add(2)
    snapshot = backend.begin_snapshot()
    take(snapshot)
    merge(snapshot)
    held = {state.description.name: state.table.table for state in snapshot.states}
    assert held["value"].keys() == {2, 3, 4}
    assert held["list"].keys() == {2, 3, 4}
    assert [number for number, _ in held["list"][4]] == [1, 2]


def test_an_overlay_is_freed_without_the_collector() -> None:
    backend = MemoryStateBackend(large_overlay=0)
    table = backend.state_table("uid", SPEC)
    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            snapshot = backend.begin_snapshot()
            for key in range(3):
                table.table[key] = key
                snapshot.merge(1)
            take(snapshot)
            merge(snapshot)
        assert not [each for each in gc.get_objects() if type(each) is Overlay]
    finally:
        gc.enable()


@pytest.mark.parametrize("large_overlay", [0, 10, 1_000_000])
def test_no_overlay_grows_far_past_its_limit(large_overlay: int) -> None:
    backend = MemoryStateBackend(large_overlay=large_overlay)
    table = backend.state_table("uid", SPEC)
    snapshot = backend.begin_snapshot()
    for chunk in range(20):
        for key in range(5):
            table.table[chunk, key] = 0
        snapshot.merge(1)
        assert dict.__len__(table.table) <= large_overlay + 5
    assert len(table.table) == 100


def test_two_declarations_of_one_table_are_our_mistake() -> None:
    backend = MemoryStateBackend()
    backend.state_table("uid", SPEC)
    with pytest.raises(InternalError, match="is declared as"):
        backend.state_table("uid", StateSpec("total", "reducing", "str"))


def test_a_table_refuses_as_a_dict_does() -> None:
    backend = MemoryStateBackend()
    table = backend.state_table("uid", SPEC)
    table.table["a"] = 1
    backend.begin_snapshot()
    assert table.table["a"] == 1
    assert table.table.pop("b", 5) == 5
    assert table.table.pop("a", 5) == 1
    assert list(table.table.keys()) == []
    with pytest.raises(KeyError, match="a"):
        table.table["a"]
