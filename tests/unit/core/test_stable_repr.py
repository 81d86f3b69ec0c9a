"""A repr that is the same in every process."""

from __future__ import annotations

from typing import Any

import pytest

from millstream.core.stable_repr import stable_members, stable_repr, without_addresses


@pytest.mark.parametrize(
    "value",
    [
        5,
        "a",
        None,
        [],
        (),
        {},
        set(),
        frozenset(),
        [1, [2]],
        (1,),
        (1, (2, 3)),
        {"b": 1, "a": (None,)},
        {7},
        frozenset({"a"}),
    ],
)
def test_it_is_the_repr_where_that_has_an_order_of_its_own(value: Any) -> None:
    assert stable_repr(value) == repr(value)


def test_members_of_sets_stand_by_type_then_by_text_however_deep() -> None:
    assert stable_repr({"b", 10, 9, "a", None}) == "{None, 10, 9, 'a', 'b'}"
    assert stable_repr([{"k": frozenset("ba")}]) == "[{'k': frozenset({'a', 'b'})}]"
    assert stable_repr({("x", frozenset("ba")), ("a",)}) == "{('a',), ('x', frozenset({'a', 'b'}))}"
    assert stable_members({"b", 1}) == ["1", "'b'"]


def test_addresses_are_left_out() -> None:
    assert stable_repr(object()) == "<object object>"
    assert stable_repr({object(), object()}) == "{<object object>, <object object>}"
    assert without_addresses("<f at 0x7F00aB> and <g at 0x1>") == "<f> and <g>"


def test_what_has_no_truth_value_has_a_repr() -> None:
    class Undecided:
        def __bool__(self) -> bool:
            raise ValueError

        def __repr__(self) -> str:
            return "Undecided()"

    assert stable_repr((Undecided(),)) == "(Undecided(),)"
