"""Text, time and fields: what expressions read from values, and what their errors say."""

from __future__ import annotations

import sqlite3
from collections import ChainMap, OrderedDict, namedtuple
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from types import MappingProxyType, SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

from millstream.core.errors import RecordError
from millstream.core.expression import (
    EvaluationError,
    Expr,
    FieldError,
    col,
    it,
)


class Order(msgspec.Struct):
    user: str | None = None
    amount: float | None = None


@dataclass
class Line:
    order: Order
    count: int = 0


Point = namedtuple("Point", "x y")
Row = namedtuple("Row", "amount")

# -- text and time ------------------------------------------------------------------------------


def test_text_functions() -> None:
    def of(expr: Expr) -> Any:
        return expr.evaluate({"s": " Ab.c "})

    text = col("s").str
    assert of(text.lower()) == " ab.c "
    assert of(text.upper()) == " AB.C "
    assert of(text.strip()) == "Ab.c"
    assert of(text.length()) == 6
    assert of(text.starts_with(" A")) is True
    assert of(text.ends_with("x")) is False
    assert of(text.contains("b.")) is True
    assert of(text.contains("..")) is False
    assert of(text.replace(".", "-")) == " Ab-c "


@pytest.mark.parametrize(
    ("start", "length", "result"),
    [
        (0, 2, "ab"),
        (2, None, "cdef"),
        (4, 9, "ef"),
        (9, 1, ""),
        (0, 0, ""),
        (-3, 2, "de"),
        (-3, 5, "def"),
        (-2, 2, "ef"),
        (-3, None, "def"),
        (-3, 0, ""),
        (-7, 2, "a"),
    ],
)
def test_slice_counts_from_either_end(start: int, length: int | None, result: str) -> None:
    assert it.str.slice(start, length).evaluate("abcdef") == result


def test_time_functions_read_epoch_milliseconds_as_utc() -> None:
    record = 1_700_000_000_123  # 2023-11-14 22:13:20.123 UTC, a Tuesday
    parts = [it.dt.year(), it.dt.month(), it.dt.day(), it.dt.hour(), it.dt.minute()]
    assert [part.evaluate(record) for part in parts] == [2023, 11, 14, 22, 13]
    assert it.dt.second().evaluate(record) == 20
    assert it.dt.weekday().evaluate(record) == 1
    assert it.dt.date().evaluate(record) == date(2023, 11, 14)
    before = [it.dt.year(), it.dt.hour(), it.dt.minute(), it.dt.second(), it.dt.weekday()]
    assert [part.evaluate(-1) for part in before] == [1969, 23, 59, 59, 2]


def test_time_functions_read_a_datetime_in_its_own_zone() -> None:
    moment = datetime(2023, 12, 31, 23, 30, tzinfo=UTC).astimezone(timezone(timedelta(hours=2)))
    assert it.dt.year().evaluate(moment) == 2024
    assert it.dt.hour().evaluate(moment) == 1
    assert it.dt.date().evaluate(moment) == date(2024, 1, 1)


@pytest.mark.parametrize("every", ["1h", timedelta(hours=1), 3_600_000])
def test_truncate_rounds_down_and_keeps_the_type(every: Any) -> None:
    hour = it.dt.truncate(every)
    assert hour.evaluate(7_300_000) == 7_200_000
    assert hour.evaluate(-1) == -3_600_000
    moment = datetime(2024, 5, 6, 7, 8, 9, 10, tzinfo=UTC)
    assert hour.evaluate(moment) == datetime(2024, 5, 6, 7, tzinfo=UTC)


def test_truncate_uses_the_wall_clock_and_survives_a_clock_change() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    noon = datetime(2024, 7, 1, 12, tzinfo=berlin)
    assert it.dt.truncate("1d").evaluate(noon) == datetime(2024, 7, 1, tzinfo=berlin)
    second_half_past_two = datetime(2024, 10, 27, 2, 30, tzinfo=berlin, fold=1)
    floor = it.dt.truncate("1h").evaluate(second_half_past_two)
    assert floor.astimezone(UTC) == datetime(2024, 10, 27, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (datetime(2024, 1, 1), "needs a time zone here; got a naive one"),  # noqa: DTZ001
        (1.5, "an int of epoch milliseconds, not float"),
        (True, "an int of epoch milliseconds, not bool"),
        (10**18, "OverflowError"),
    ],
)
def test_what_is_no_moment_is_an_error(value: Any, message: str) -> None:
    with pytest.raises(EvaluationError, match=message):
        it.dt.year().evaluate(value)


# -- fields -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "record",
    [
        {"amount": 1},
        OrderedDict(amount=1),
        MappingProxyType({"amount": 1}),
        ChainMap({"amount": 1}),
        Order(amount=1),
        SimpleNamespace(amount=1),
        Row(1),
    ],
    ids=lambda record: type(record).__name__,
)
def test_a_field_is_an_item_of_a_mapping_and_an_attribute_of_anything_else(record: Any) -> None:
    assert col("amount").evaluate(record) == 1
    with pytest.raises(FieldError, match=r"field 'amout' is not in the record .*'amount'"):
        col("amout").evaluate(record)


def test_a_database_row_counts_as_a_mapping() -> None:
    connection = sqlite3.connect(":memory:")
    connection.row_factory = sqlite3.Row
    (row,) = connection.execute("select 1 as amount, 2 as keys")
    connection.close()
    assert (col("amount") + col("keys")).evaluate(row) == 3
    with pytest.raises(FieldError, match=r"not in the record \(Row\); it has: amount, keys"):
        col("nothing").evaluate(row)


def test_a_field_named_like_a_method_is_a_field() -> None:
    names = ["items", "keys", "values", "get", "pop", "copy", "update", "index", "count", "title"]
    record = {name: number for number, name in enumerate(names)}
    assert [col(name).evaluate(record) for name in names] == list(range(len(names)))
    records: list[Any] = [{}, Point(1, 2), "text", [1], b"bytes"]
    for empty in records:
        with pytest.raises(FieldError):
            col("count").evaluate(empty)
    assert col("count").evaluate(Line(Order(), 3)) == 3


def test_fields_of_fields_are_read_through_either_kind_and_null() -> None:
    name = col("order").field("user").str.upper()
    assert name.evaluate(Line(Order(user="ann"))) == "ANN"
    assert name.evaluate({"order": {"user": "ann"}}) == "ANN"
    assert name.evaluate({"order": None}) is None
    with pytest.raises(FieldError, match=r"field 'user' is not in col\(\"order\"\) \(dict\)"):
        name.evaluate({"order": {"usr": 1}})


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (
            {"user": 1, "ts": 2, "amout": 3},
            "field 'amount' is not in the record (dict); it has: user, ts, amout; "
            "did you mean 'amout'?",
        ),
        ({"user": 1, "ts": 2}, "field 'amount' is not in the record (dict); it has: user, ts"),
        (Point(1, 2), "field 'amount' is not in the record (Point); it has: x, y"),
        (
            Line(Order()),
            "field 'amount' is not in the record (Line); it has: order, count; "
            "did you mean 'count'?",
        ),
        (SimpleNamespace(a=1), "field 'amount' is not in the record (SimpleNamespace); it has: a"),
        (7, "field 'amount' is not in the record (int); it has no fields"),
        (None, "field 'amount' is not in the record (NoneType); it has no fields"),
    ],
)
def test_a_missing_field_is_named_with_what_there_is(record: Any, message: str) -> None:
    with pytest.raises(FieldError) as caught:
        (col("amount") + 1).evaluate(record)
    assert str(caught.value) == message
    assert caught.value.field == "amount"
    assert caught.value.record_type == type(record).__name__
    assert isinstance(caught.value, RecordError)


def test_a_missing_field_in_a_wide_record_lists_the_first_twenty() -> None:
    with pytest.raises(FieldError, match=r"c0, c1, .*c19 … 80 more$"):
        col("zzz").evaluate({f"c{number}": 0 for number in range(100)})


def test_an_error_names_the_part_that_failed_and_its_cause() -> None:
    with pytest.raises(EvaluationError) as caught:
        ((col("amount") > 10) & (col("user") == "a")).evaluate({"amount": "7", "user": "a"})
    assert str(caught.value) == (
        "TypeError: '>' not supported between instances of 'str' and 'int' in col(\"amount\") > 10"
    )
    assert caught.value.expression == 'col("amount") > 10'
    assert isinstance(caught.value.__cause__, TypeError)
    with pytest.raises(EvaluationError, match=r"^ZeroDivisionError: division by zero in 1 / it$"):
        (1 / it).evaluate(0)
    with pytest.raises(EvaluationError, match="AttributeError: 'int' object has no attribute 'low"):
        it.str.lower().evaluate(1)
