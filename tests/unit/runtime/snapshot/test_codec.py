"""Values come back from bytes equal, type included; what would not is refused, with its place."""

from __future__ import annotations

import sys
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, tzinfo
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.runtime.snapshot.codec import MAX_DEPTH, Codec
from millstream.runtime.snapshot.columns import SliceDecoder, encode_slice
from millstream.runtime.snapshot.errors import StateDecodeError, StateEncodeError
from millstream.runtime.snapshot.write_check import WriteCheck
from tests.support.snapshot_values import (
    BERLIN,
    VALUES,
    Colour,
    Counted,
    Order,
    Point,
    Right,
    Visit,
    same,
)

CODEC = Codec()

# Deferred: a strategy's repr, which hypothesis makes, would be tens of kilobytes otherwise.
scalars: st.SearchStrategy[Any] = st.deferred(
    lambda: (
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text(st.characters(), max_size=5)  # with lone surrogates
        | st.binary(max_size=5)
        | st.decimals(allow_nan=False)  # a signalling nan has no hash
        | st.dates()
        | st.datetimes(timezones=st.none() | st.sampled_from([UTC, BERLIN]))
        | st.timedeltas()
        | st.uuids()
        | st.sampled_from([*Colour, Right.READ | Right.WRITE])
    )
)
hashable: st.SearchStrategy[Any] = st.deferred(
    lambda: scalars | st.tuples(scalars, scalars) | st.frozensets(scalars, max_size=3)
)
anything: st.SearchStrategy[Any] = st.deferred(
    lambda: st.recursive(
        hashable,
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.tuples(inner, inner)
            | st.dictionaries(hashable, inner, max_size=3)
            | st.builds(Order, st.integers(), inner, st.lists(inner, max_size=2))
            | st.builds(Point, inner, inner)
            | st.builds(Visit, st.text(max_size=3), st.none(), st.sets(hashable, max_size=2))
        ),
        max_leaves=8,
    )
)


def through_a_slice(values: list[Any]) -> list[Any]:
    data = encode_slice(CODEC, values, values)
    keys, back = SliceDecoder(CODEC).decode(data)
    assert same(list(keys), list(back))
    return list(back)


@pytest.mark.parametrize("name", VALUES)
def test_a_value_comes_back_equal_type_included(name: str) -> None:
    value = VALUES[name]
    assert same(CODEC.decode(CODEC.encode(value)), value)


@pytest.mark.parametrize("name", VALUES)
def test_a_slice_of_one_kind_comes_back_equal_type_included(name: str) -> None:
    value = VALUES[name]
    for values in ([value] * 3, [(value, 1), (value, 2)], [[value], [], [value, value]]):
        assert same(through_a_slice(values), values)
    if isinstance(value, list):
        assert same(through_a_slice(value), value)


def test_a_slice_of_all_kinds_comes_back_equal_type_included() -> None:
    values = list(VALUES.values())
    assert same(through_a_slice(values), values)


@given(st.lists(anything))
def test_any_slice_comes_back_equal_type_included(values: list[Any]) -> None:
    assert same(through_a_slice(values), values)


@given(st.lists(st.tuples(st.integers(), st.floats() | st.integers(), scalars)))
def test_any_slice_of_small_tuples_comes_back_equal_type_included(values: list[Any]) -> None:
    assert same(through_a_slice(values), values)


@given(st.lists(st.builds(Order, scalars, hashable, st.lists(st.tuples(scalars, scalars)))))
def test_any_slice_of_objects_comes_back_equal_type_included(values: list[Any]) -> None:
    assert same(through_a_slice(values), values)


def test_an_object_is_set_as_it_was_without_running_what_would_change_it() -> None:
    values = [Counted(1), Counted(5), Counted(7)]
    assert [each.n for each in through_a_slice(values)] == [2, 6, 8]


class Stranger:
    def __repr__(self) -> str:
        return "Stranger()"


class OtherZone(tzinfo):
    def utcoffset(self, moment: datetime | None) -> timedelta:
        return timedelta()

    dst = utcoffset

    def tzname(self, moment: datetime | None) -> str:
        return "other"


@dataclass
class Loaded(dict[str, int]):
    n: int = 0


half_set = Order(1)
del half_set.price


@pytest.mark.parametrize(
    ("value", "path", "type_name"),
    [
        (1j, "value", "complex"),
        (Stranger(), "value", f"{__name__}.Stranger"),
        ([1, {"user": (2, Stranger())}], "value[1]['user'][1]", f"{__name__}.Stranger"),
        ({Fraction(1, 2): 1}, "value key Fraction(1, 2)", "fractions.Fraction"),
        ({(1, 1j): 1}, "value key (1, 1j)[1]", "complex"),
        ({1j}, "value member 1j", "complex"),
        (Order(1, [Stranger()]), "value.price[0]", f"{__name__}.Stranger"),
        (half_set, "value", "tests.support.snapshot_values.Order"),
        (datetime(2026, 1, 1, tzinfo=OtherZone()), "value", "datetime.datetime"),
        (time(1, tzinfo=OtherZone()), "value", "datetime.time"),
        (OrderedDict(a=1), "value", "collections.OrderedDict"),
        (defaultdict(int), "value", "collections.defaultdict"),
        (Counter("a"), "value", "collections.Counter"),
        (deque([1]), "value", "collections.deque"),
        (Loaded(), "value", f"{__name__}.Loaded"),
        (memoryview(b""), "value", "memoryview"),
        (range(3), "value", "range"),
        (len, "value", "builtin_function_or_method"),
    ],
)
def test_what_would_not_come_back_is_refused_with_its_type_and_place(
    value: Any, path: str, type_name: str
) -> None:
    for attempt in (
        CODEC.encode,
        CODEC.check,
        WriteCheck(CODEC, "seen"),
        lambda v: through_a_slice([v]),
    ):
        with pytest.raises(StateEncodeError, match="cannot be kept in state") as caught:
            attempt(value)
        assert (caught.value.path, caught.value.type_name) == (path, type_name)
        assert str(caught.value).removeprefix("state 'seen': ").startswith(f"{path} is ")


def test_subclasses_of_numbers_and_texts_are_refused() -> None:
    class Text(str):
        __slots__ = ()

    class Number(float):
        pass

    for value in (Text("a"), Number(1.5), [Text()], (1, Number(2.0))):
        with pytest.raises(StateEncodeError, match="no subclasses"):
            through_a_slice([value])


def test_a_value_that_holds_itself_is_refused() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(StateEncodeError, match="nested deeper than 64 levels, or holds itself"):
        CODEC.encode(value)
    with pytest.raises(StateEncodeError, match="holds itself"):
        through_a_slice([value, value])


@pytest.mark.parametrize("wrap", [lambda v: [v], lambda v: (v,), lambda v: {1: v}, Point])
def test_what_is_nested_as_deep_as_allowed_comes_back(wrap: Any) -> None:
    value: Any = 1
    for _ in range(MAX_DEPTH):
        value = wrap(value)
    assert same(CODEC.decode(CODEC.encode(value)), value)
    assert same(through_a_slice([value, value]), [value, value])
    with pytest.raises(StateEncodeError, match="nested deeper"):
        CODEC.encode(wrap(value))


# -- classes ------------------------------------------------------------------------------------


def local_class() -> Any:
    class Local(msgspec.Struct):
        n: int

    return Local


def test_a_class_that_would_not_be_found_again_is_refused_unless_it_is_declared() -> None:
    local = local_class()
    for attempt in (CODEC.encode, lambda v: encode_slice(CODEC, [v], [v])):
        with pytest.raises(StateEncodeError, match="declare it as the type of the state"):
            attempt(local(1))
    codec = Codec([local])
    assert codec.decode(codec.encode(local(1))) == local(1)


def test_a_declared_class_is_found_when_it_has_moved_to_another_module() -> None:
    old, new = local_class(), local_class()
    old.__module__ = "an.old.module"
    data = Codec([old]).encode(old(3))
    assert Codec([new]).decode(data) == new(3)


def test_classes_of_the_main_module_are_found_when_it_is_imported_under_its_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    main = ModuleType("__main__")
    main.__file__ = str(Path("somewhere") / "the_job.py")
    exec("import msgspec\nclass Kept(msgspec.Struct):\n    n: int", vars(main))  # noqa: S102
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "__main__", main)
        codec = Codec()
        data = codec.encode([main.Kept(1)])
        assert codec.decode(data) == [main.Kept(1)]
    main.Kept.__module__ = "the_job"
    monkeypatch.setitem(sys.modules, "the_job", main)
    assert Codec().decode(data) == [main.Kept(1)]


def test_nothing_is_imported_because_a_snapshot_names_it() -> None:
    data = msgspec.msgpack.encode(
        msgspec.msgpack.Ext(14, msgspec.msgpack.encode(("antigravity:Colour", "RED")))
    )
    with pytest.raises(StateDecodeError, match="class antigravity:Colour, which is not there"):
        CODEC.decode(data)
    assert "antigravity" not in sys.modules


def test_only_records_and_enums_are_made() -> None:
    payload = msgspec.msgpack.encode(("subprocess:Popen", {"args": ["true"]}))
    with pytest.raises(StateDecodeError, match="not there"):
        CODEC.decode(msgspec.msgpack.encode(msgspec.msgpack.Ext(15, payload)))


def versions(kind: str) -> tuple[Any, Any, Any]:
    """Return a class, the same with a new field, and without one of its fields."""
    if kind == "struct":
        old = msgspec.defstruct("Thing", [("a", int), ("b", int)])
        new = msgspec.defstruct("Thing", [("b", int), ("a", int), ("c", list[int], [])])
        less = msgspec.defstruct("Thing", [("b", int)])
    else:
        make: Any = namedtuple  # three of one name, made by a function
        old, less = make("Thing", "a b"), make("Thing", "b")
        new = make("Thing", "b a c", defaults=[[]])
    return old, new, less


@pytest.mark.parametrize("kind", ["struct", "named tuple"])
def test_a_new_field_with_a_default_loads_and_a_field_that_is_gone_does_not(kind: str) -> None:
    old, new, less = versions(kind)
    one, slice_ = Codec([old]).encode(old(1, 2)), encode_slice(Codec([old]), [1], [old(1, 2)])
    assert Codec([new]).decode(one) == new(2, 1, [])
    assert list(SliceDecoder(Codec([new])).decode(slice_)[1]) == [new(2, 1, [])]
    with pytest.raises(StateDecodeError, match="has a field 'a', which the class has not"):
        Codec([less]).decode(one)
    with pytest.raises(StateDecodeError, match="has a field 'a', which the class has not"):
        SliceDecoder(Codec([less])).decode(slice_)
    with pytest.raises(StateDecodeError, match="the field 'a' is new and has no default"):
        Codec([old]).decode(Codec([less]).encode(less(2)))


def test_a_dataclass_with_a_new_field_gets_its_default() -> None:
    @dataclass
    class Old:
        a: int

    @dataclass
    class New:
        a: int
        b: int = 7

    Old.__qualname__ = New.__qualname__ = "Thing"
    assert Codec([New]).decode(Codec([Old]).encode(Old(1))) == New(1, 7)
    with pytest.raises(StateDecodeError, match="'b'"):
        Codec([Old]).decode(Codec([New]).encode(New(1)))


def test_an_enum_member_that_is_gone_is_named() -> None:
    make: Any = Enum
    old, new = make("Mood", ["GOOD", "BAD"]), make("Mood", ["GOOD"])
    data = Codec([old]).encode(old["BAD"])
    with pytest.raises(StateDecodeError, match=r"member 'BAD' of .*Mood, which is not there"):
        Codec([new]).decode(data)


def test_without_classes_objects_are_dicts_and_members_are_names() -> None:
    plain = Codec(plain=True)
    values = [Order(1, Colour.RED), Order(2, (3, Point(4)))]
    expected = [
        {"id": 1, "price": "RED", "lines": []},
        {"id": 2, "price": (3, {"x": 4, "y": 0.0}), "lines": []},
    ]
    assert plain.decode(CODEC.encode(values)) == expected
    assert list(SliceDecoder(plain).decode(encode_slice(CODEC, values, values))[1]) == expected


def test_an_unknown_tag_says_that_a_newer_version_wrote_it() -> None:
    data = msgspec.msgpack.encode(msgspec.msgpack.Ext(99, msgspec.msgpack.encode(1)))
    with pytest.raises(StateDecodeError, match=r"tag 99.*newer"):
        CODEC.decode(data)
    slice_ = msgspec.msgpack.encode((["strange"], "any", [1], [1]))
    with pytest.raises(StateDecodeError, match=r"shape \['strange'\].*newer"):
        SliceDecoder(CODEC).decode(slice_)


def test_foreign_bytes_are_an_error_of_saved_state() -> None:
    for data in (b"", b"\xc1", CODEC.encode(1) + b"x"):
        with pytest.raises(StateDecodeError, match="cannot be read"):
            CODEC.decode(data)


# -- the check at a write -----------------------------------------------------------------------


@pytest.mark.parametrize("name", VALUES)
def test_what_can_be_encoded_passes_the_check_each_time(name: str) -> None:
    check = WriteCheck(CODEC, "seen")
    check(VALUES[name])
    check(VALUES[name])


@pytest.mark.parametrize(
    ("fine", "bad"),
    [
        ((1, 2), (1, 1j)),
        ([1], [1, 1j]),
        ({"a": 1}, {"a": 1j}),
        ({"a": 1}, {1j: 1}),
        (Point(1), Point(1j)),  # type: ignore[arg-type]
        (Order(1), Order(1, 1j)),
        (Order(1), half_set),
        (Visit("a"), Visit(1j)),  # type: ignore[arg-type]
        ((1, [2]), (1, [1j])),
        (Decimal(1), 1j),
        (Colour.RED, 1j),
        (datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=OtherZone())),
    ],
)
def test_the_check_refuses_a_bad_value_after_fine_ones_of_its_type(fine: Any, bad: Any) -> None:
    check = WriteCheck(CODEC, "seen")
    check(fine)
    check(fine)
    with pytest.raises(StateEncodeError):
        check(bad)
