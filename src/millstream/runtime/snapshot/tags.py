"""The msgpack extensions for plain Python types that msgpack does not keep, and their bytes."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any  # a serialisation edge: values are of any type
from uuid import UUID
from zoneinfo import ZoneInfo

# The codes are part of the format: never change one, never use one again for something else.
TUPLE = 1
SET = 2
FROZENSET = 3
DICT = 4
INT = 5
DECIMAL = 6
DATE = 7
TIME = 8
DATETIME = 9
TIMEDELTA = 10
UUID_ = 11
BYTEARRAY = 12
STR = 13
ENUM = 14
RECORD = 15

_MICROSECOND = datetime.timedelta(microseconds=1)
_ZONE = re.compile(r"[\w./+-]+", re.ASCII)


class NotKeptError(Exception):
    """A value would not come back as it is; the message says why, and what to do instead."""


class TooDeepError(NotKeptError):
    """A value is nested too deep; no part of it is more at fault than another."""


def _int(value: int) -> bytes:
    return value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True)


def _from_int(data: memoryview) -> int:
    return int.from_bytes(data, "big", signed=True)


def _moment(value: datetime.datetime | datetime.time) -> bytes:
    """Return ISO 8601 text with the offset, ``[zone]`` if it has a named one, ``#1`` if folded."""
    zone, text = value.tzinfo, value.isoformat()
    if zone is not None and type(zone) is not datetime.timezone:
        if type(zone) is not ZoneInfo or not _ZONE.fullmatch(zone.key or ""):
            raise NotKeptError(
                f"its time zone is a {type(zone).__module__}.{type(zone).__qualname__}, {zone!r}; "
                "use a datetime.timezone or a zoneinfo.ZoneInfo with a name"
            )
        text += f"[{zone.key}]"
    return (text + "#1" if value.fold else text).encode("ascii")


def _from_moment(kind: Any) -> Callable[[memoryview], Any]:
    def from_bytes(data: memoryview) -> Any:
        text, _, fold = str(data, "ascii").partition("#")
        text, _, zone = text.partition("[")
        value = kind.fromisoformat(text)
        if zone:
            value = value.replace(tzinfo=ZoneInfo(zone[:-1]))
        return value.replace(fold=1) if fold else value

    return from_bytes


def _text(value: object) -> bytes:
    return str(value).encode("ascii")


# By exact type; an int or a str only where msgpack cannot take it.
TO_BYTES: dict[type, tuple[int, Callable[[Any], bytes]]] = {
    int: (INT, _int),
    str: (STR, lambda value: value.encode("utf-8", "surrogatepass")),
    Decimal: (DECIMAL, _text),
    datetime.date: (DATE, _text),
    datetime.time: (TIME, _moment),
    datetime.datetime: (DATETIME, _moment),
    datetime.timedelta: (TIMEDELTA, lambda value: _int(value // _MICROSECOND)),
    UUID: (UUID_, lambda value: value.bytes),
    bytearray: (BYTEARRAY, bytes),
}
FROM_BYTES: dict[int, Callable[[memoryview], Any]] = {
    INT: _from_int,
    STR: lambda data: str(data, "utf-8", "surrogatepass"),
    DECIMAL: lambda data: Decimal(str(data, "ascii")),
    DATE: lambda data: datetime.date.fromisoformat(str(data, "ascii")),
    TIME: _from_moment(datetime.time),
    DATETIME: _from_moment(datetime.datetime),
    TIMEDELTA: lambda data: datetime.timedelta(microseconds=_from_int(data)),
    UUID_: lambda data: UUID(bytes=bytes(data)),
    BYTEARRAY: bytearray,
}
NATIVE = frozenset({type(None), bool, int, float, str, bytes})  # what msgpack keeps by itself
ALWAYS_KEPT = NATIVE | TO_BYTES.keys() - {datetime.time, datetime.datetime}  # whatever their value
