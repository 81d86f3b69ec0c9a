"""What is copied where it could be changed in place, and what is not."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import pytest

from millstream.runtime.state.private_copy import private_copy


class Colour(Enum):
    RED = 1


@dataclass
class Point:
    parts: list[int]


SAME = [
    None,
    True,
    1,
    1.5,
    "a",
    b"a",
    Decimal("1.10"),
    datetime(2026, 1, 1, tzinfo=UTC),
    UUID(int=1),
    (),
    (1, "a", (2, None)),
    frozenset({1, (2, 3)}),
    Colour.RED,
]


@pytest.mark.parametrize("value", SAME, ids=repr)
def test_what_cannot_change_is_not_copied(value: Any) -> None:
    assert private_copy(value) is value


MUTABLE = [
    [1, 2],
    [(1, 2)],
    [[1], [2]],
    {"a": 1},
    {"a": [1]},
    {"a": (1, [2])},
    {1, 2},
    bytearray(b"a"),
    ([1], 2),
    (1, (2, [3])),
    Point([1]),
    [Point([1])],
]


@pytest.mark.parametrize("value", MUTABLE, ids=repr)
def test_what_can_change_is_copied_with_all_in_it_that_can(value: Any) -> None:
    copied = private_copy(value)
    assert copied == value
    assert type(copied) is type(value)
    assert not _changeable(copied) & _changeable(value)


def _changeable(value: Any) -> set[int]:
    """Return the ids of a value and of all in it that can change."""
    if isinstance(value, Point):
        return {id(value), *_changeable(value.parts)}
    inside = value.values() if isinstance(value, dict) else value
    ids = set() if isinstance(value, tuple) else {id(value)}
    if isinstance(value, list | tuple | dict):
        for each in inside:
            if isinstance(each, list | tuple | dict | Point):
                ids |= _changeable(each)
    return ids


def test_what_is_in_it_twice_stays_one_object() -> None:
    part = [1]
    one, other = private_copy([part, part])
    assert one is other
    assert one is not part
