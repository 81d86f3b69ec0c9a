"""Copies what could be changed in place, so that a frozen state keeps what it had."""

from __future__ import annotations

import copy
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any  # state is of any type
from uuid import UUID

UNCHANGING = frozenset(
    {type(None), bool, int, float, complex, str, bytes, Decimal, date, datetime, time, timedelta}
    | {UUID}
)
"""Types of which no value can change."""


def is_unchanging(value: Any) -> bool:
    """Return whether nothing in a value can change; False where only a closer look would tell."""
    kind = type(value)
    if kind in UNCHANGING:
        return True
    if kind is not tuple and kind is not frozenset:
        return False
    return UNCHANGING.issuperset(map(type, value)) or all(map(is_unchanging, value))


def private_copy(value: Any) -> Any:
    """Return a value that shares nothing that can change with the one given.

    That is the value itself where nothing in it can change. Lists and dicts of such values are
    copied as a whole, all else goes through ``copy.deepcopy``, which keeps what is in it twice
    one object.
    """
    if is_unchanging(value):
        return value
    kind = type(value)
    if kind is list and _all_unchanging(value):
        return value.copy()
    if kind is dict and _all_unchanging(value) and _all_unchanging(value.values()):
        return value.copy()
    return copy.deepcopy(value)


def _all_unchanging(values: Any) -> bool:
    return UNCHANGING.issuperset(map(type, values)) or all(map(is_unchanging, values))
