"""Records on the screen."""

from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from millstream.connectors import console
from millstream.core.errors import ConfigError
from tests.unit.connectors.driving import write


class Fruit(msgspec.Struct):
    name: str
    price: float


@dataclass
class Shop:
    town: str
    size: int | None


def shown(capsys: pytest.CaptureFixture[str], sink: Any, *records: Any) -> str:
    write(sink, [records[:2], records[2:]])
    return capsys.readouterr().out


def test_lines_show_each_kind_of_record(capsys: pytest.CaptureFixture[str]) -> None:
    records = [{"a": 1, "b": "x y"}, Fruit("fig", 0.5), Shop("", None), "text", 3, (1, "a")]
    assert shown(capsys, console.sink(), *records) == (
        "a=1 b='x y'\nname=fig price=0.5\ntown='' size=None\ntext\n3\n(1, 'a')\n"
    )


def test_lines_stop_at_the_limit_and_say_so(capsys: pytest.CaptureFixture[str]) -> None:
    sink = console.sink(limit=3, title="Numbers")
    assert shown(capsys, sink, *range(12_348)) == "Numbers\n0\n1\n2\n… and 12,345 more\n"
    assert shown(capsys, sink, 1, 2, 3) == "Numbers\n1\n2\n3\n"


def test_nothing_is_printed_before_the_end_of_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    write(console.sink("table"), [[{"a": 1}]], finish=False)
    assert capsys.readouterr().out == ""


def test_a_table_has_a_column_per_field(capsys: pytest.CaptureFixture[str]) -> None:
    sink = console.sink("table", title="All [of] them")
    text = shown(capsys, sink, {"a": 1, "b": 2.0}, {"a": 10, "c": "[red]x"}, Fruit("fig", 7.25), 9)
    lines = [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines()]
    assert "All [of] them" in text
    assert ["1", "2.000", "", "", "", ""] in lines
    assert ["10", "", "[red]x", "", "", ""] in lines
    assert ["", "", "", "fig", "7.250", ""] in lines
    assert ["", "", "", "", "", "9"] in lines


def test_small_numbers_are_not_rounded_away(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, console.sink("table"), {"a": 1e-7}, {"a": 0.0})
    assert "1e-07" in text


def test_a_table_says_how_many_more_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    sink = console.sink("table", limit=2)
    text = shown(capsys, sink, *({"n": n} for n in range(700, 800)))
    assert "701" in text
    assert "702" not in text
    assert text.endswith("… and 98 more\n")
    assert "more" not in shown(capsys, sink, {"n": 1}, {"n": 2})


def test_an_empty_table_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, console.sink("table", title="Fruit")) == "Fruit\n(no records)\n"
    assert shown(capsys, console.sink("table")) == "(no records)\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "csv"}, "format= takes 'lines' or 'table'; got 'csv'"),
        ({"limit": 0}, "limit= takes an integer from 1 on; got 0"),
        ({"title": 5}, "title= takes a str; got 5"),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        console.CONNECTOR.make_sink(options)
