"""Keys: which types may be one, and the group each belongs to."""

from __future__ import annotations

import enum
import uuid
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millstream.core.errors import ConfigError
from millstream.core.key import (
    KeyTypeError,
    canonical_bytes,
    check_key,
    check_key_type,
    key_group,
    key_signature,
)


class Colour(enum.Enum):
    RED = 1
    CRIMSON = 1  # an alias
    BLUE = "1"


class Size(enum.IntEnum):
    SMALL = 1
    LARGE = 2


class Access(enum.Flag):
    READ = 1
    WRITE = 2


class Point(NamedTuple):
    x: int
    y: int


class Text(str):
    __slots__ = ()


ZONES = st.sampled_from([None, UTC, timezone(timedelta(hours=14)), timezone(timedelta(hours=-12))])
SIMPLE = (
    st.text()
    | st.binary()
    | st.integers()
    | st.booleans()
    | st.uuids()
    | st.dates()
    | st.datetimes(timezones=ZONES)
    | st.sampled_from([*Colour, *Size, *Access])
)
KEYS = st.recursive(SIMPLE, lambda parts: st.lists(parts, max_size=3).map(tuple), max_leaves=5)


@given(KEYS, KEYS)
def test_canonical_bytes_are_equal_exactly_for_equal_keys_of_one_type(one: Any, two: Any) -> None:
    if key_signature(one) == key_signature(two):
        assert (canonical_bytes(one) == canonical_bytes(two)) is (one == two)


@settings(max_examples=40)
@given(KEYS, KEYS)
def test_keys_of_different_types_never_share_their_bytes(one: Any, two: Any) -> None:
    if key_signature(one) != key_signature(two):
        assert canonical_bytes(one) != canonical_bytes(two)


@given(st.datetimes(timezones=ZONES), st.integers(-12, 14))
def test_an_instant_is_one_key_in_every_zone(moment: datetime, hours: int) -> None:
    if moment.tzinfo is None:
        return
    try:
        elsewhere = moment.astimezone(timezone(timedelta(hours=hours)))
    except OverflowError:  # the year 0 or 10,000 there
        return
    assert canonical_bytes(moment) == canonical_bytes(elsewhere)
    assert canonical_bytes((1, moment)) == canonical_bytes((1, elsewhere))


def test_an_instant_at_the_end_of_the_calendar_is_a_key_as_any() -> None:
    east, west = timezone(timedelta(hours=14)), timezone(timedelta(hours=-12))
    first, last = datetime.min.replace(tzinfo=east), datetime.max.replace(tzinfo=west)
    assert canonical_bytes(first) != canonical_bytes(datetime.min.replace(tzinfo=UTC))
    assert canonical_bytes(last) != canonical_bytes(datetime.max.replace(tzinfo=UTC))


class TurnedBack(tzinfo):
    """A zone that showed 02:00 to 03:00 twice on 2024-10-27."""

    def utcoffset(self, moment: datetime | None) -> timedelta:
        return timedelta(hours=1 if moment is not None and moment.fold else 2)

    def dst(self, moment: datetime | None) -> timedelta:
        return self.utcoffset(moment) - timedelta(hours=1)

    def tzname(self, moment: datetime | None) -> str:
        return "TURNED"


def test_the_two_moments_of_a_clock_turned_back_are_one_key_as_they_are_to_a_dict() -> None:
    zone = TurnedBack()
    one = datetime(2024, 10, 27, 2, 30, tzinfo=zone)
    two = one.replace(fold=1)
    assert {one: 1}[two] == 1
    assert canonical_bytes(one) == canonical_bytes(two)


def test_a_naive_time_is_no_instant() -> None:
    naive = datetime(2024, 1, 1)  # noqa: DTZ001  # the other kind
    assert canonical_bytes(naive) != canonical_bytes(naive.replace(tzinfo=UTC))
    assert canonical_bytes(naive) != canonical_bytes(naive.date())


GOLDEN: list[tuple[Any, int]] = [
    ("a", 4),
    ("", 11),
    ("ключ", 77),
    (b"a", 20),
    (0, 61),
    (1, 43),
    (-1, 104),
    (2**64, 5),
    (True, 61),
    (False, 93),
    (uuid.UUID(int=7), 97),
    (date(2024, 2, 29), 78),
    (datetime(2024, 2, 29, 12, tzinfo=UTC), 84),
    (datetime(2024, 2, 29, 14, tzinfo=timezone(timedelta(hours=2))), 84),
    (datetime(1969, 12, 31, 23, 59, 59, 1, tzinfo=UTC), 47),
    (Colour.RED, 127),
    (Size.SMALL, 64),
    ((), 119),
    (("a", 1), 4),
    ((("a",), 1), 55),
    (("a", ("b", (True, b"c"))), 17),
]


@pytest.mark.parametrize(("key", "group"), GOLDEN)
def test_groups_are_what_they_have_always_been(key: Any, group: int) -> None:
    """In every process, whatever its hash seed: or workers would disagree about a key's place."""
    assert key_group(key) == group


@settings(max_examples=40)
@given(KEYS, st.integers(1, 1000))
def test_a_group_is_one_of_those_there_are(key: Any, groups: int) -> None:
    assert 0 <= key_group(key, groups) < groups
    assert key_group(key, 1) == 0


def test_groups_are_spread_evenly() -> None:
    counts = [0] * 128
    for number in range(12_800):
        counts[key_group(f"user-{number}")] += 1
    assert min(counts) > 50
    assert max(counts) < 200


def test_a_long_integer_is_a_key_although_python_refuses_to_print_it() -> None:
    assert canonical_bytes(10**5000) != canonical_bytes(10**5000 + 1)


def test_an_alias_of_an_enum_is_the_same_key() -> None:
    assert canonical_bytes(Colour.CRIMSON) == canonical_bytes(Colour.RED)
    assert canonical_bytes(Access.READ | Access.WRITE) != canonical_bytes(Access.READ)


SIGNATURES: list[tuple[Any, Any]] = [
    ("a", str),
    (b"a", bytes),
    (1, int),
    (True, bool),
    (uuid.UUID(int=1), uuid.UUID),
    (date(2024, 1, 1), date),
    (datetime(2024, 1, 1, tzinfo=UTC), datetime),
    (Colour.RED, Colour),
    (Size.SMALL, Size),
    ((), ()),
    (("a", 1), (str, int)),
    (("a", (1, (True,))), (str, (int, (bool,)))),
]


@pytest.mark.parametrize(("key", "signature"), SIGNATURES)
def test_the_signature_of_a_key_is_its_type_and_for_a_tuple_those_of_its_parts(
    key: Any, signature: Any
) -> None:
    assert key_signature(key) == signature
    assert check_key(key, None) == check_key(key, signature) == signature


REFUSED: list[tuple[Any, str]] = [
    (1.0, "a float cannot be a key"),
    (float("nan"), "nan equals nothing"),
    (("a", 1.5), "key 1.5: a float cannot be a key"),
    (None, "the key is None; filter such records out before key_by"),
    (Decimal(1), "of type Decimal; a key is str, bytes, int, bool, UUID, date, datetime, an Enum"),
    (frozenset(), "of type frozenset"),
    (1j, "of type complex"),
    (timedelta(1), "of type timedelta"),
    (Point(1, 2), "of type Point"),
    (Text("a"), "of type Text"),
    (object(), "of type object"),
    (int, "of type type"),
]


@pytest.mark.parametrize(("key", "message"), REFUSED)
def test_a_key_of_another_type_is_refused(key: Any, message: str) -> None:
    with pytest.raises(KeyTypeError, match=message):
        key_signature(key)


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (True, int),
        (1, bool),
        ("a", bytes),
        (Size.SMALL, int),
        (datetime(2024, 1, 1, tzinfo=UTC), date),
        ((1,), int),
        ((1, "a"), (int,)),
        ((1, True), (int, int)),
    ],
)
def test_a_streams_keys_are_of_one_type(key: Any, expected: Any) -> None:
    with pytest.raises(KeyTypeError, match=r"a stream's key type is fixed: convert in key_by"):
        check_key(key, expected)


@pytest.mark.parametrize("kind", [str, bytes, int, bool, uuid.UUID, date, datetime, Colour, tuple])
def test_a_declared_type_that_may_be_a_key(kind: Any) -> None:
    check_key_type(kind, "key_by")


@pytest.mark.parametrize("kind", [list, dict, set, Decimal, type(None), object, timedelta, Point])
def test_a_declared_type_that_cannot_be_a_key(kind: Any) -> None:
    with pytest.raises(ConfigError, match=f"key_by: {kind.__name__} cannot be a key; a key is str"):
        check_key_type(kind, "key_by")


def test_a_declared_float_is_refused_with_the_reason() -> None:
    with pytest.raises(ConfigError, match=r"key_by: a float cannot be a key: 1, 1.0 and True are"):
        check_key_type(float, "key_by")
