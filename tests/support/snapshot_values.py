"""Values of every type that state keeps, and a comparison that looks at types as well."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields, is_dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, Flag, IntEnum, StrEnum, auto
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec


class Colour(Enum):
    RED = 1
    GREEN = "g"


class Size(IntEnum):
    SMALL = 1
    LARGE = 2


class Word(StrEnum):
    YES = auto()


class Right(Flag):
    READ = auto()
    WRITE = auto()


class Point(NamedTuple):
    x: int
    y: float = 0.0


class Order(msgspec.Struct):
    id: int
    price: Any = None
    lines: list[Any] = []


class Renamed(msgspec.Struct, rename="camel", tag="r", array_like=True, frozen=True, gc=False):
    order_id: int
    note: str = ""


class ByName(msgspec.Struct, kw_only=True, omit_defaults=True):
    one: int
    two: int = 2


class Counted(msgspec.Struct):
    """Its ``__post_init__`` changes it, so it must not be called on what was saved."""

    n: int

    def __post_init__(self) -> None:
        self.n += 1


class Empty(msgspec.Struct):
    pass


@dataclass(frozen=True, slots=True)
class Visit:
    user: str
    at: datetime | None = None
    tags: set[str] = field(default_factory=set)


@dataclass
class Doubled:
    n: int
    twice: int = field(init=False)

    def __post_init__(self) -> None:
        self.n, self.twice = self.n + 1, self.n * 2


BERLIN = ZoneInfo("Europe/Berlin")
VALUES: dict[str, Any] = {
    "None": None,
    "bools": [True, False, 1, 0],
    "ints": [0, -1, 2**63 - 1, -(2**63), 2**64 - 1],
    "big ints": [2**64, -(2**63) - 1, 10**5000, -(10**40), 2**127, -(2**127)],
    "floats": [0.0, -0.0, math.inf, -math.inf, math.nan, 5e-324, 1e308, 1.0],
    "texts": ["", "a", "é€😀", "\x00", "\ud800 alone", "\udcff"],
    "bytes": [b"", b"\x00\xff", bytearray(), bytearray(b"x")],
    "tuple": (1, 2.5, "x", None, True, b"y"),
    "no tuple": (),
    "one": (1,),
    "nested": [({1: (2, [3])}, (), [[]]), {}],
    "dicts": [{"a": 1, 2: "b", (3, "c"): {4}, None: 5, True: 6, 2.5: 7, b"z": 8}],
    "odd keys": {2**70: 1, "\ud800": 2, frozenset({1}): 3, Colour.RED: 4, date(2026, 1, 1): 5},
    "sets": [set(), {1, "a", (2, 3)}, frozenset(), frozenset({frozenset({1})})],
    "decimals": [Decimal(x) for x in ("1.10", "-0", "1E+400", "NaN", "-Infinity", "sNaN7")],
    "dates": [date.min, date(2026, 11, 24), date.max],
    "times": [time(), time(1, 2, 3, 4, fold=1), time(5, tzinfo=UTC), time(6, tzinfo=BERLIN)],
    "datetimes": [
        datetime.min,  # noqa: DTZ901  # naive ones are kept as they are
        datetime(2026, 11, 24, 12, 0, 0, 1),  # noqa: DTZ001
        datetime(2026, 11, 24, 12, fold=1),  # noqa: DTZ001
        datetime.max.replace(tzinfo=UTC),
        datetime(1890, 1, 1, tzinfo=timezone(timedelta(minutes=53, seconds=28, microseconds=7))),
        datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN),
        datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=BERLIN),
        datetime(2026, 1, 1, tzinfo=ZoneInfo("UTC")),
    ],
    "timedeltas": [timedelta(), timedelta.min, timedelta.max, timedelta(microseconds=-1)],
    "uuid": UUID(int=2**128 - 2),
    "enums": [Colour.RED, Colour.GREEN, Size.LARGE, Word.YES, Right.READ, Right.READ | Right.WRITE],
    "named tuples": [Point(1, 2.0), Point(2**80, -0.0)],
    "structs": [
        Order(1, Decimal("9.50"), [Order(2, (1, 2)), Point(3)]),
        Renamed(1, "n"),
        ByName(one=1, two=3),
        Counted(1),
        Empty(),
    ],
    "dataclasses": [
        Visit("ann", datetime(2026, 1, 1, tzinfo=UTC), {"a"}),
        Visit("bob"),
        Doubled(3),
    ],
}


def same(one: Any, two: Any) -> bool:
    """Return whether two values are equal, type included, in all of their parts."""
    if type(one) is not type(two):
        return False
    if isinstance(one, float):
        both_nan = math.isnan(one) and math.isnan(two)
        return both_nan or (one == two and math.copysign(1, one) == math.copysign(1, two))
    if isinstance(one, Decimal):
        return str(one) == str(two)
    if isinstance(one, datetime | time):
        return (one.replace(tzinfo=None), one.fold, one.tzinfo) == (
            two.replace(tzinfo=None),
            two.fold,
            two.tzinfo,
        )
    if isinstance(one, dict):
        return same(list(one), list(two)) and same(list(one.values()), list(two.values()))
    if isinstance(one, set | frozenset):
        return same(sorted(one, key=repr), sorted(two, key=repr))
    if isinstance(one, list | tuple):
        return len(one) == len(two) and all(map(same, one, two))
    if isinstance(one, msgspec.Struct):
        return same(msgspec.structs.astuple(one), msgspec.structs.astuple(two))
    if is_dataclass(one):
        names = [each.name for each in fields(one)]
        return same([getattr(one, n) for n in names], [getattr(two, n) for n in names])
    return bool(one == two)
