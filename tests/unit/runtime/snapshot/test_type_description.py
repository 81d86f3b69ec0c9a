"""A declared type is described the same everywhere, and what changed in it is told."""

from __future__ import annotations

import sys
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, make_dataclass
from datetime import datetime
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from typing import Annotated, Any, Literal, NamedTuple, NewType, NotRequired, Optional, TypedDict
from uuid import UUID, uuid4

import msgspec
import pytest

from millstream.core.errors import ConfigError
from millstream.runtime.snapshot.type_description import (
    TypeDescription,
    declared_classes,
    describe,
    type_changes,
)


class Colour(Enum):
    RED = 1
    GREEN = 2


class Line(msgspec.Struct):
    item: str
    price: Decimal = Decimal(0)


class Order(msgspec.Struct):
    id: int
    lines: list[Line]
    colour: Colour | None = None


class Node(msgspec.Struct):
    value: int
    children: "list[Node]" = []  # noqa: UP037  # a class within itself


@dataclass
class Visit:
    user: str
    id: UUID = field(default_factory=uuid4)


class Point(NamedTuple):
    x: int
    y: float = 0.0


class Row(TypedDict):
    a: int
    b: NotRequired[str]


UserId = NewType("UserId", int)


@pytest.mark.parametrize(
    ("declared", "text"),
    [
        (int, "int"),
        (None, "None"),
        (Any, "any"),
        (object, "any"),
        (list, "list"),
        (tuple[int, float, int], "tuple[int, float, int]"),
        (tuple[int, ...], "tuple[int, ...]"),
        (dict[str, list[Decimal]], "dict[str, list[Decimal]]"),
        (frozenset[UUID], "frozenset[UUID]"),
        (int | None, "int | None"),
        (Optional[int], "int | None"),  # noqa: UP045  # people write it
        (Annotated[int, "unit"], "int"),
        (Literal["a", 1], "Literal['a', 1]"),
        (Mapping[str, int], "Mapping[str, int]"),
        (UserId, "int"),
        (datetime, "datetime"),
        (Colour, "Colour(RED | GREEN)"),
        (Line, "Line(item: str, price: Decimal = Decimal('0'))"),
        (
            Order,
            "Order(id: int, lines: list[Line(item: str, price: Decimal = Decimal('0'))], "
            "colour: Colour(RED | GREEN) | None = None)",
        ),
        (Node, "Node(value: int, children: list[Node] = list())"),
        (Visit, "Visit(user: str, id: UUID = uuid4())"),
        (Point, "Point(x: int, y: float = 0.0)"),
        (Row, "Row(a: int, b: str = absent)"),
    ],
)
def test_a_type_is_described_as_text(declared: Any, text: str) -> None:
    assert str(describe(declared)) == text


def test_a_description_survives_its_bytes() -> None:
    data = msgspec.msgpack.encode(describe(Order))
    assert msgspec.msgpack.decode(data, type=TypeDescription) == describe(Order)


def test_the_classes_of_a_type_are_those_named_anywhere_in_it() -> None:
    assert declared_classes(dict[str, Order | list[Node]]) == [Order, Line, Colour, Node]


class Plain:
    pass


@pytest.mark.parametrize("declared", [Plain, list[Plain], Fraction, complex, 7])
def test_a_type_that_state_cannot_keep_is_refused(declared: Any) -> None:
    with pytest.raises(ConfigError, match=r"state cannot keep objects|is no type"):
        describe(declared)


def struct(*fields: Any) -> Any:
    return msgspec.defstruct("Thing", fields)


OLD = struct(("a", int), ("b", list[Line]))


@pytest.mark.parametrize(
    ("old", "new", "changes"),
    [
        (int, int, []),
        (Order, Order, []),
        (int, str, ["the type was int, is str"]),
        (int, float, ["the type was int, is float"]),
        (tuple[int, int], tuple[int, str], ["the type[1] was int, is str"]),
        (tuple[int, int], tuple[int], ["the type was tuple[int, int], is tuple[int]"]),
        (OLD, struct(("b", list[Line]), ("a", int)), []),
        (OLD, struct(("a", int), ("b", list[Line]), ("c", str, "")), []),
        (
            OLD,
            struct(("a", int), ("b", list[Line]), ("c", str)),
            ["Thing.c (str) is new and has no default"],
        ),
        (OLD, struct(("b", list[Line])), ["Thing.a (int) is gone"]),
        (
            OLD,
            struct(("a", str), ("c", int)),
            [
                "Thing.a was int, is str",
                f"Thing.b ({describe(list[Line])}) is gone",
                "Thing.c (int) is new and has no default",
            ],
        ),
        (
            list.__class_getitem__(OLD),
            list.__class_getitem__(struct(("a", int), ("b", list[Line]), ("c", int, 1))),
            [],
        ),
        (Enum("E", ["A", "B"]), Enum("E", ["B", "C"]), ["the type: the member E.A is gone"]),
        (Enum("E", ["A"]), Enum("E", ["A", "B"]), []),
        (Line, Point, [f"the type was {describe(Line)}, is {describe(Point)}"]),
        (int | None, None | int, []),
    ],
)
def test_what_keeps_old_state_from_being_read_is_told(
    old: Any, new: Any, changes: list[str]
) -> None:
    assert type_changes(describe(old), describe(new)) == changes


def test_a_class_that_is_used_twice_is_described_twice() -> None:
    one = make_dataclass("Pair", [("x", Line), ("y", Line)])
    two = make_dataclass("Pair", [("y", Line), ("x", Line)])
    assert type_changes(describe(one), describe(two)) == []


def test_a_name_that_only_a_type_checker_sees_counts_as_any() -> None:
    hidden = make_dataclass("Hidden", [("a", "Nowhere")])
    hidden.__module__ = __name__
    assert str(describe(hidden)) == "Hidden(a: any)"
    assert "Nowhere" not in vars(sys.modules[__name__])
    assert typing.TYPE_CHECKING is False
