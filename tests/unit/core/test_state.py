"""How keyed state is declared."""

from __future__ import annotations

import copy
from datetime import timedelta
from typing import Any

import pytest

from millstream.core.errors import ConfigError, InternalError
from millstream.core.state import (
    AggregatingStateDescriptor,
    ListStateDescriptor,
    MapStateDescriptor,
    OperatorStateDescriptor,
    ReducingStateDescriptor,
    ValueStateDescriptor,
    find_states,
    take_states,
)
from millstream.core.state_descriptor import UnboundState
from millstream.core.state_kinds import AggregateFunction
from millstream.core.state_ttl import StateTtlConfig


class Total(AggregateFunction[int, int, int]):
    """A sum."""

    def create_accumulator(self) -> int:
        return 0

    def add(self, value: int, accumulator: int) -> int:
        return accumulator + value

    def get_result(self, accumulator: int) -> int:
        return accumulator


async def waiting(*_: Any) -> Any:
    """Wait for nothing."""


class Base:
    first = ValueStateDescriptor(int, default=0)
    second = ValueStateDescriptor(str, default="", name="renamed")
    no_state = 3


class Derived(Base):
    second = ValueStateDescriptor(str, default="replaced")
    third = ValueStateDescriptor(int, default=1)


def test_a_state_is_named_by_its_attribute_unless_it_has_a_name_of_its_own() -> None:
    found = find_states(Base)
    assert {attribute: each.name for attribute, each in found.items()} == {
        "first": "first",
        "second": "renamed",
    }
    assert find_states(object) == {}


def test_a_derived_class_has_the_states_of_its_bases_and_may_replace_them() -> None:
    found = find_states(Derived)
    assert list(found) == ["first", "second", "third"]
    second, third = found["second"], found["third"]
    assert isinstance(second, ValueStateDescriptor)
    assert isinstance(third, ValueStateDescriptor)
    assert (second.name, second.default) == ("second", "replaced")
    assert (third.kind, third.default) == ("value", 1)


def test_two_states_of_one_name_are_refused() -> None:
    class Twice(Base):
        third = ValueStateDescriptor(int, default=0, name="renamed")

    with pytest.raises(ConfigError, match="Twice declares two states named 'renamed'; give each"):
        find_states(Twice)


@pytest.mark.parametrize("default", [[], {}, set(), bytearray(), [1]])
def test_a_default_that_keys_would_share_is_refused(default: Any) -> None:
    with pytest.raises(ConfigError, match="is shared between keys and must be immutable; got"):
        ValueStateDescriptor(list, default=default)


@pytest.mark.parametrize("default", [None, 0, "", (), frozenset()])
def test_a_default_may_be_anything_immutable(default: Any) -> None:
    assert ValueStateDescriptor(object, default=default).default == default


def test_states_can_be_taken_out_of_a_class_and_are_found_all_the_same() -> None:
    class Taken(Base):
        third = ValueStateDescriptor(int, default=1)

    take_states(Taken)
    assert "third" not in vars(Taken)
    assert list(find_states(Taken)) == ["first", "second", "third"]
    again = type("Taken", Taken.__bases__, dict(vars(Taken)))  # as a dataclass with slots does
    take_states(again)
    assert list(find_states(again)) == ["first", "second", "third"]


def test_a_state_of_an_instance_that_no_engine_runs_says_so() -> None:
    state: Any = Base().second
    assert isinstance(state, UnboundState)
    uses: list[Any] = [state.value, state.clear, lambda: state.update("a")]
    for use in uses:
        with pytest.raises(ConfigError, match="state 'renamed' of Base was used outside a running"):
            use()


def test_the_class_itself_gives_the_declaration() -> None:
    assert Base.first is find_states(Base)["first"]


class EveryKind:
    """Declares one of each."""

    value = ValueStateDescriptor(int, default=0)
    list_ = ListStateDescriptor(int)
    map_ = MapStateDescriptor(str, int)
    reducing = ReducingStateDescriptor(int, max)
    aggregating = AggregatingStateDescriptor(Total(), int)
    operator = OperatorStateDescriptor(str)


def test_each_kind_says_what_it_keeps_for_one_key() -> None:
    found = find_states(EveryKind)
    assert {each.kind: (each.type, each.keyed) for each in found.values()} == {
        "value": (int, True),
        "list": (list[int], True),
        "map": (dict[str, int], True),
        "reducing": (int, True),
        "aggregating": (int, True),
        "operator": (list[str], False),
    }
    assert [each.name for each in found.values()] == list(found)


@pytest.mark.parametrize("use", ["add", "get", "put", "keys", "is_empty", "update", "clear"])
def test_a_state_of_any_kind_refuses_to_be_used_outside_a_job(use: str) -> None:
    for attribute in ("list_", "map_", "reducing", "aggregating", "operator"):
        with pytest.raises(ConfigError, match=f"state '{attribute}' of EveryKind was used outside"):
            getattr(getattr(EveryKind(), attribute), use)(1)


def test_what_stands_for_a_state_can_be_copied_with_its_function() -> None:
    state: Any = copy.deepcopy(copy.copy(EveryKind().list_))
    with pytest.raises(ConfigError, match="state 'list_' of EveryKind was used outside"):
        state.add(1)


def test_a_time_to_live_is_a_duration_or_a_config() -> None:
    for ttl in ("5m", timedelta(minutes=5), StateTtlConfig("5m")):
        declared = ListStateDescriptor(int, ttl=ttl)
        assert declared.ttl is not None
        assert (declared.ttl.ttl_ms, declared.ttl.on_read) == (300_000, False)
    assert StateTtlConfig("1s", "on_read_and_write").on_read
    assert ListStateDescriptor(int).ttl is None


# Not all callers are typed.
List: Any = ListStateDescriptor
Ttl: Any = StateTtlConfig
Reducing: Any = ReducingStateDescriptor
Aggregating: Any = AggregatingStateDescriptor


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: StateTtlConfig("0s"), "ttl: expected at least '1ms'; got '0s'"),
        (lambda: List(int, ttl=5), "ttl: expected a duration such as '10s'"),
        (
            lambda: Ttl("1s", "OnReadAndWrite"),
            "update_type: expected one of on_create_and_write, on_read_and_write; got 'OnReadAn",
        ),
        (lambda: OperatorStateDescriptor(int, ttl="1s"), "an operator's own state has no ttl"),
        (lambda: List(int, version=0), "version of a state: expected 1 or more"),
        (lambda: List(int, version=True), "version of a state: expected 1 or more"),
        (lambda: List(int, version="2"), "version of a state: expected 1 or more"),
        (lambda: List(int, migrate=int), "there is nothing before version 1; say"),
        (lambda: List(int, version=2, migrate=5), "migrate: expected a function"),
        (
            lambda: List(int, version=2, migrate=lambda a, b: a),
            "migrate: .*does not take that",
        ),
        (lambda: List(int, version=2, migrate=waiting), "waiting is 'async def'"),
        (lambda: List(int, version=2, migrate={}), "the last one from 1; got .* .."),
        (lambda: List(int, version=3, migrate={1: int}), "the last one from 2; got"),
        (
            lambda: List(int, version=4, migrate={1: int, 3: int}),
            r"expected a step from each version to the next, .* got steps from \[1, 3\]",
        ),
        (lambda: List(int, version=2, migrate={2: int}), "got steps from .2."),
        (lambda: List(int, version=2, migrate={"1": int}), "got steps from .'1'."),
        (lambda: List(int, version=2, migrate={1: 5}), "version 1: expected a func"),
        (lambda: Reducing(int, 5), "ReducingStateDescriptor: expected a function"),
        (lambda: Reducing(int, lambda a: a), "does not take that"),
        (lambda: Reducing(int, waiting), "waiting is 'async def'; state waits for"),
        (lambda: Aggregating(Total), "expected an instance of an AggregateFunction"),
        (lambda: Aggregating(max), "expected an instance of an AggregateFunction"),
    ],
)
def test_a_declaration_that_cannot_work_is_refused(make: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()


def test_migrations_may_begin_at_any_version() -> None:
    steps = {2: int, 3: int}
    assert ListStateDescriptor(int, version=4, migrate=steps).migrate == steps


def test_an_aggregate_function_needs_merge_only_where_something_merges() -> None:
    with pytest.raises(InternalError, match=r"Total has no merge\(one, other\)"):
        Total().merge(1, 2)
