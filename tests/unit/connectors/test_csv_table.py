"""CSV rows as typed records."""

import datetime as dt
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from millstream.connectors import csv
from millstream.core.codec import DecodeError
from millstream.core.errors import ConfigError, InternalError
from tests.unit.connectors.driving import one_by_one, records, write


class Flight(msgspec.Struct):
    carrier: str
    delay: float | None
    distance: int


class Colour(Enum):
    RED = "red"


@dataclass
class Everything:
    number: int
    share: float
    flag: bool
    day: dt.date
    at: dt.datetime
    price: Decimal
    colour: Colour
    name: str | None = None


class Renamed(msgspec.Struct, rename="camel", kw_only=True):
    unit_price: float
    order_id: int = 0


@dataclass
class Defaults:
    a: int = 1
    b: int = 2
    tags: list[str] = field(default_factory=list)


class Checked(msgspec.Struct):
    n: Annotated[int, msgspec.Meta(ge=0)]

    def __post_init__(self) -> None:
        if self.n == 13:
            raise ValueError("thirteen is not served")


def a_file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "data.csv"
    path.write_text(text)
    return path


def test_only_the_columns_of_the_type_are_read_and_converted(tmp_path: Path) -> None:
    path = a_file(tmp_path, "x,distance,carrier,delay\n?,12,AA,1.5\n?,7,UA,NA\n")
    source = csv.source(path, type=Flight, null_values=("NA", ""))
    expected = [Flight("AA", 1.5, 12), Flight("UA", None, 7)]
    assert records(source) == expected
    assert one_by_one(source) == expected
    assert source.decoder.type is Flight


def test_every_scalar_comes_back_as_it_was_written(tmp_path: Path) -> None:
    at = dt.datetime(2024, 2, 29, 12, 30, tzinfo=dt.UTC)
    one = Everything(
        -5, 0.1, True, dt.date(2024, 2, 29), at, Decimal("1.10"), Colour.RED, "Null, and void"
    )
    other = Everything(0, 1e300, False, dt.date(1, 1, 1), at, Decimal(0), Colour.RED)
    path = tmp_path / "data.csv"
    write(csv.sink(path), [[one, other]])
    assert records(csv.source(path, type=Everything)) == [one, other]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.builds(
            Flight,
            st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
            st.none() | st.floats(allow_nan=False, allow_infinity=False),
            st.integers(-(2**63), 2**63 - 1),
        ),
        max_size=5,
    )
)
def test_structs_come_back_as_they_were_written(tmp_path: Path, flights: list[Flight]) -> None:
    path = tmp_path / "data.csv"
    write(csv.sink(path, ["carrier", "delay", "distance"]), [flights])
    assert records(csv.source(path, type=Flight)) == flights


def test_numbers_are_read_as_people_write_them(tmp_path: Path) -> None:
    path = a_file(tmp_path, "carrier,delay,distance\n07,.5,007\nx,+5, 12 \nnull,1e3,3.0\n")
    assert records(csv.source(path, type=Flight)) == [
        Flight("07", 0.5, 7),
        Flight("x", 5.0, 12),
        Flight("null", 1000.0, 3),
    ]


def test_renamed_fields_are_columns_by_their_outer_name(tmp_path: Path) -> None:
    path = a_file(tmp_path, "orderId,unitPrice\n1,2.5\n")
    assert records(csv.source(path, type=Renamed)) == [Renamed(unit_price=2.5, order_id=1)]
    write(csv.sink(tmp_path / "out.csv"), [[Renamed(unit_price=2.5, order_id=1)]])
    assert (tmp_path / "out.csv").read_text().startswith("unitPrice,orderId\n")


def test_a_field_with_a_default_may_be_missing(tmp_path: Path) -> None:
    path = a_file(tmp_path, "b\n5\n")
    assert records(csv.source(path, type=Defaults)) == [Defaults(1, 5)]
    assert records(csv.source(a_file(tmp_path, "z\n5\n"), type=Defaults)) == [Defaults()]


def test_a_missing_column_is_named_before_anything_is_read(tmp_path: Path) -> None:
    source = csv.source(a_file(tmp_path, "carrier,delays,distance\n"), type=Flight)
    message = (
        "data.csv: CSV: Flight has the field 'delay', but the header has no such column; "
        "did you mean 'delays'"
    )
    with pytest.raises(ConfigError, match=message):
        source.validate()
    with pytest.raises(ConfigError, match="The header is carrier, delays, distance"):
        source.validate()


def test_a_column_twice_is_refused_only_where_it_is_read(tmp_path: Path) -> None:
    path = a_file(tmp_path, "n,x,x\n5,1,2\n")
    assert records(csv.source(path, type=Checked)) == [Checked(5)]
    with pytest.raises(ConfigError, match="the header has the column 'x' 2 times"):
        csv.source(path).validate()
    path = a_file(tmp_path, "n,n\n5,1\n")
    with pytest.raises(ConfigError, match="the header has the column 'n' 2 times"):
        csv.source(path, type=Checked).validate()


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("AA,x,1", r"data.csv, line 3, column 'delay': expected float \| None, got 'x' \(Expected"),
        ("AA,1,", r"column 'distance': '' is null, which int does not allow; write int \| None"),
        ("AA,1,1_000", "column 'distance': expected int, got '1_000'"),
        ("AA,1,1.5", "column 'distance': expected int, got '1.5'"),
        ("AA,1", "data.csv, line 3 has 2 cells, but the header has 3"),
    ],
)
def test_a_wrong_value_is_named_with_line_and_column(
    tmp_path: Path, row: str, message: str
) -> None:
    path = a_file(tmp_path, f"carrier,delay,distance\nUA,1,1\n{row}\n")
    with pytest.raises(DecodeError, match=message):
        records(csv.source(path, type=Flight))


@pytest.mark.parametrize(
    ("cell", "message"),
    [("-1", "Expected `int` >= 0"), ("13", "data.csv, line 2: thirteen is not served; got b'13'")],
)
def test_the_types_own_rules_hold(tmp_path: Path, cell: str, message: str) -> None:
    with pytest.raises(DecodeError, match=message):
        records(csv.source(a_file(tmp_path, f"n\n{cell}\n"), type=Checked))


def test_the_decoder_takes_rows_only(tmp_path: Path) -> None:
    decoder: Any = csv.source("x.csv", type=Flight).decoder
    with pytest.raises(InternalError, match="takes a CsvRow; got bytes"):
        decoder.decode(b"1,2")
