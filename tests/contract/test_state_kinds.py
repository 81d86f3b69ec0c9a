"""What each kind of state does, on each backend; whose it is, and where it is kept apart."""

from __future__ import annotations

from typing import Any

import pytest

from millstream.core.errors import RecordError
from millstream.core.state import (
    AggregatingStateDescriptor,
    ListStateDescriptor,
    MapStateDescriptor,
    OperatorStateDescriptor,
    ReducingStateDescriptor,
    ValueStateDescriptor,
)
from millstream.core.state_kinds import AggregateFunction
from tests.contract.state_backends import (
    CELLS,
    Factory,
    Spread,
    clock_at,
    declared,
    every_kind,
    of_each_kind,
    on_each_backend,
    put,
    save,
    seen,
)


def live(make: Factory, descriptor: Any, key: Any = "k") -> Any:
    state = make(clock_at()).state("uid", descriptor)
    state.key = key
    return state


@on_each_backend
def test_a_value_is_set_and_forgotten_and_else_the_default(make: Factory) -> None:
    state = live(make, declared(ValueStateDescriptor, int, default=7))
    assert state.value() == 7
    state.update(1)
    state.update(2)
    assert state.value() == 2
    state.clear()
    state.clear()  # once more changes nothing
    assert state.value() == 7


@on_each_backend
def test_a_value_may_be_none_and_is_not_the_default_then(make: Factory) -> None:
    state = live(make, declared(ValueStateDescriptor, str, default="default"))
    state.update(None)
    assert state.value() is None


@on_each_backend
def test_a_list_is_appended_to_replaced_and_forgotten(make: Factory) -> None:
    state = live(make, declared(ListStateDescriptor, str))
    assert list(state.get()) == []
    state.add("a")
    state.add_all(["b", "a"])
    assert list(state.get()) == ["a", "b", "a"]
    state.update(each for each in "xy")
    assert list(state.get()) == ["x", "y"]
    state.add_all([])
    state.add(None)
    assert list(state.get()) == ["x", "y", None]
    state.update([])
    assert list(state.get()) == []
    state.add_all(iter("z"))
    state.clear()
    state.add("q")
    assert list(state.get()) == ["q"]


@on_each_backend
def test_what_a_list_has_given_out_stays_as_it_was(make: Factory) -> None:
    state = live(make, declared(ListStateDescriptor, int))
    state.update(given := [1])
    before = state.get()
    given.append(3)  # nor is the caller's list kept
    state.add(2)
    assert (list(before), list(state.get())) == ([1], [1, 2])
    assert not hasattr(before, "append")


@on_each_backend
def test_a_map_has_entries(make: Factory) -> None:
    state = live(make, declared(MapStateDescriptor, str, int))
    assert state.is_empty()
    assert (state.get("a"), state.get("a", 5), state.contains("a")) == (None, 5, False)
    state.put("a", 1)
    state.put_all({"b": 2, "c": 3}.items())
    state.put("a", 4)
    assert (state.get("a"), state.get("a", 5), state.contains("a")) == (4, 4, True)
    assert sorted(state.keys()) == ["a", "b", "c"]
    assert sorted(state.values()) == [2, 3, 4]
    assert sorted(state.items()) == [("a", 4), ("b", 2), ("c", 3)]
    state.remove("b")
    state.remove("b")  # once more changes nothing
    assert sorted(state.items()) == [("a", 4), ("c", 3)]
    assert not state.is_empty()
    state.clear()
    assert state.is_empty()
    assert list(state.items()) == []
    state.remove("a")


@on_each_backend
def test_a_map_may_be_changed_while_it_is_looped_over(make: Factory) -> None:
    state = live(make, declared(MapStateDescriptor, int, int))
    state.put_all((number, number) for number in range(5))
    for key in state.keys():  # noqa: SIM118  # a state is no mapping
        state.remove(key)
        state.put(key + 10, key)
    for key, value in state.items():
        state.put(key, value + 1)
    for value in state.values():
        state.put(-value, 0)
    assert dict(state.items()) == {n + 10: n + 1 for n in range(5)} | {-n - 1: 0 for n in range(5)}


@on_each_backend
def test_a_map_without_entries_is_not_kept(make: Factory) -> None:
    backend = make(clock_at())
    state = backend.state("uid", declared(MapStateDescriptor, str, int))
    state.key = "k"
    state.put("a", 1)
    state.remove("a")
    state.put_all([])
    assert save(backend).of("map") == {}
    assert state.is_empty()


@on_each_backend
def test_a_map_may_hold_none(make: Factory) -> None:
    state = live(make, declared(MapStateDescriptor, str, int))
    state.put("a", None)
    assert (state.contains("a"), state.get("a", 5), state.is_empty()) == (True, None, False)


@on_each_backend
def test_a_reducing_state_has_one_value(make: Factory) -> None:
    state = live(make, declared(ReducingStateDescriptor, str, lambda before, added: before + added))
    assert state.get() is None
    for word in ("a", "b", "c"):
        state.add(word)
    assert state.get() == "abc"
    state.clear()
    assert state.get() is None
    state.add("d")
    assert state.get() == "d"


@on_each_backend
def test_an_aggregating_state_has_a_result(make: Factory) -> None:
    state = live(make, declared(AggregatingStateDescriptor, Spread()))
    assert state.get() is None
    for value in (5, 3, 9):
        state.add(value)
    assert state.get() == 6
    state.clear()
    assert state.get() is None
    state.add(1)
    assert state.get() == 0


@on_each_backend
@pytest.mark.parametrize("options", [{}, {"ttl": "1h"}])
def test_an_accumulator_that_is_not_returned_is_an_error(
    make: Factory, options: dict[str, Any]
) -> None:
    class Forgetful(Spread):
        def add(self, value: int, accumulator: list[int]) -> Any:
            accumulator.append(value)

    state = live(make, declared(AggregatingStateDescriptor, Forgetful(), **options))
    with pytest.raises(RecordError, match=r"Forgetful\.add returned None; return the accumulator"):
        state.add(1)


@on_each_backend
def test_an_accumulator_may_be_immutable(make: Factory) -> None:
    class Count(AggregateFunction[Any, int, int]):
        def create_accumulator(self) -> int:
            return 0

        def add(self, value: Any, accumulator: int) -> int:
            return accumulator + 1

        def get_result(self, accumulator: int) -> int:
            return accumulator

    state = live(make, declared(AggregatingStateDescriptor, Count()))
    state.add("x")
    state.add("y")
    assert state.get() == 2


@on_each_backend
def test_an_operator_state_belongs_to_no_key(make: Factory) -> None:
    state = make(clock_at()).state("uid", declared(OperatorStateDescriptor, str))
    state.add("a")
    state.add("b")
    assert list(state.get()) == ["a", "b"]


@on_each_backend
@pytest.mark.parametrize("options", [{}, {"ttl": "1h"}])
def test_keys_states_and_operators_are_kept_apart(make: Factory, options: dict[str, Any]) -> None:
    backend = make(clock_at())
    descriptors = of_each_kind(**options)
    states = {
        (uid, each.kind): backend.state(uid, each) for uid in ("a", "b") for each in descriptors
    }
    keys = [1, "1", b"1", (1, "a"), (1, "b")]
    untouched = {kind: seen_at(states["b", kind], 1) for kind in (e.kind for e in descriptors)}
    for number, key in enumerate(keys):
        for descriptor in descriptors:
            state = states["a", descriptor.kind]
            state.key = key
            put(state, number)
    for kind, nothing in untouched.items():
        written = [seen_at(states["a", kind], key) for key in keys]
        assert len({str(each) for each in written}) == (1 if kind == "aggregating" else len(keys))
        assert all(seen_at(states["b", kind], key) == nothing for key in keys)
    assert seen_at(states["a", "list"], 1) == (0,)


def seen_at(state: Any, key: Any) -> Any:
    state.key = key
    return seen(state)


@on_each_backend
def test_two_live_states_of_one_declaration_are_one_state(make: Factory) -> None:
    backend = make(clock_at())
    for descriptor in every_kind():
        one, other = (backend.state("uid", descriptor) for _ in range(2))
        if descriptor.keyed:
            one.key = other.key = "k"
        put(one, 3)
        assert seen(one) == seen(other)


@on_each_backend
def test_before_the_first_record_there_is_no_key(make: Factory) -> None:
    backend = make(clock_at())
    for descriptor in of_each_kind():
        state = backend.state("uid", descriptor)
        for use in (seen, lambda state: put(state, 1)):
            with pytest.raises(
                RecordError, match="there is no record here: use it in process_elem"
            ):
                use(state)
    assert not any(save(backend).entries.values())


@on_each_backend
def test_a_table_is_what_a_loop_works_on(make: Factory) -> None:
    backend = make(clock_at())
    table = backend.state_table("uid", CELLS).table
    assert table.get("a") is None
    assert table.get("a", 5) == 5
    table["a"] = [1]
    table["b"] = [2]
    cell: Any = table.get("a")
    cell[0] += 1
    assert list(backend.state_table("uid", CELLS).table.items()) == [("a", [2]), ("b", [2])]
    assert backend.state_table("other", CELLS).table.get("a") is None
