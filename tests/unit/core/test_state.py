"""How keyed state is declared."""

from __future__ import annotations

from typing import Any

import pytest

from millstream.core.errors import ConfigError
from millstream.core.state import UnboundState, ValueStateDescriptor, find_states, take_states


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
    assert (found["second"].name, found["second"].default) == ("second", "replaced")
    assert (found["third"].kind, found["third"].default) == ("value", 1)


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
    for use in (state.value, state.clear, lambda: state.update("a")):
        with pytest.raises(ConfigError, match="state 'renamed' of Base was used outside a running"):
            use()


def test_the_class_itself_gives_the_declaration() -> None:
    assert Base.first is find_states(Base)["first"]
