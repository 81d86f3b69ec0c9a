"""The functions that both sides of a pair call, one call per record and operator.

A job is given them as its operators; the bare loop calls them line by line. They are written with
``def`` where a user would write a lambda: Python makes the same object of both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

MIN_AMOUNT = 10.0
DICT_MIN_TOTAL = 5_000


class Event(msgspec.Struct):
    """One line of the W2 file."""

    user: str
    amount: float
    ts: int


decode: Callable[[bytes], Event] = msgspec.json.Decoder(Event).decode


# -- W1: three trivial operators on ints, the worst case for what an engine adds ------------------


def add_one(x: int) -> int:
    return x + 1


def is_even(x: int) -> bool:
    return x % 2 == 0


def triple(x: int) -> int:
    return x * 3


def is_negative(x: int) -> bool:
    return x < 0


# -- ten operators: eight maps, two filters -------------------------------------------------------


def minus_seven(x: int) -> int:
    return x - 7


def half(x: int) -> int:
    return x // 2


def plus_eleven(x: int) -> int:
    return x + 11


def double(x: int) -> int:
    return x * 2


def is_no_multiple_of_five(x: int) -> bool:
    return x % 5 != 0


def minus_five(x: int) -> int:
    return x - 5


def plus_two(x: int) -> int:
    return x + 2


TEN: tuple[tuple[str, Callable[[int], Any]], ...] = (
    ("map", add_one),
    ("map", triple),
    ("map", minus_seven),
    ("filter", is_even),
    ("map", half),
    ("map", plus_eleven),
    ("map", double),
    ("filter", is_no_multiple_of_five),
    ("map", minus_five),
    ("map", plus_two),
)


# -- dict records ---------------------------------------------------------------------------------


def with_total(order: dict[str, Any]) -> dict[str, Any]:
    return {**order, "total": order["price"] * order["quantity"]}


def is_large_order(order: dict[str, Any]) -> bool:
    return bool(order["total"] >= DICT_MIN_TOTAL)


def total_of(order: dict[str, Any]) -> int:
    total: int = order["total"]
    return total


# -- W2: keyed running sum over JSON lines --------------------------------------------------------


def is_large(event: Event) -> bool:
    return event.amount >= MIN_AMOUNT


def user_of(event: Event) -> str:
    return event.user


def add_amount(total: float, event: Event) -> float:
    return total + event.amount
