"""State of a checkpoint as JSON, by key and as a whole, from a shell."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

import millstream as ms
from millstream.cli import app
from millstream.cli.exit_codes import EXIT_CONFIG


class Visit(msgspec.Struct):
    page: str
    at: datetime


class Visits(ms.KeyedProcessFunction[Any, Any]):
    last = ms.ValueStateDescriptor(Visit, default=Visit("", datetime(1970, 1, 1, tzinfo=UTC)))
    pages = ms.MapStateDescriptor(tuple[str, int], Decimal)

    def process_element(self, value: Any, ctx: ms.ProcessContext[Any]) -> Iterator[Any] | None:
        self.last.update(Visit(value["page"], datetime(2026, 1, 2, tzinfo=UTC)))
        self.pages.put((value["page"], 1), Decimal("1.50"))
        return None


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    records = [{"user": "ada", "page": "/"}, {"user": "bob", "page": "/x"}]
    job = ms.Job("visits")
    stream = job.source(ms.collection.source(records), uid="in")
    stream.key_by("user").process(Visits(), uid="visits").sink(ms.blackhole.sink(), uid="out")
    numbers = job.source(ms.sequence.source(5), uid="numbers").key_by(ms.it % 2)
    numbers.aggregate(n=ms.count(), uid="counts").sink(ms.blackhole.sink(), uid="counted")
    ms.run(job, folder=tmp_path)
    return tmp_path


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, list[Any], str]:
    """Run ``millstream state …``; return its exit code, what it printed and its errors."""
    before, sys.argv = sys.argv, ["millstream", "state", *arguments]
    try:
        with pytest.raises(SystemExit) as ended:
            app.command()
    finally:
        sys.argv = before
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), [json.loads(line) for line in out.splitlines()], err


def test_a_scan_has_every_entry_as_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, lines, _ = shown(capsys, "scan", "visits", "chk-1", "--folder", str(folder))
    assert code == 0
    found = {(each["operator"], each["state"], str(each["key"])): each["value"] for each in lines}
    assert found == {
        ("visits", "last", "ada"): {"page": "/", "at": "2026-01-02T00:00:00Z"},
        ("visits", "last", "bob"): {"page": "/x", "at": "2026-01-02T00:00:00Z"},
        ("visits", "pages", "ada"): "{('/', 1): Decimal('1.50')}",  # JSON has no such keys
        ("visits", "pages", "bob"): "{('/x', 1): Decimal('1.50')}",
        ("counts", "aggregates", "0"): [3],
        ("counts", "aggregates", "1"): [2],
    }


def test_a_scan_may_be_of_one_operator_one_state_and_so_many(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ("visits", "chk-1", "--folder", str(folder))
    _, lines, _ = shown(capsys, "scan", *where, "--operator", "counts")
    assert [each["operator"] for each in lines] == ["counts", "counts"]
    _, lines, _ = shown(capsys, "scan", *where, "--state", "last", "--limit", "1")
    assert [each["state"] for each in lines] == ["last"]
    assert shown(capsys, "scan", *where, "--limit", "0")[1] == []


@pytest.mark.parametrize("key", ["ada", '"ada"'])
def test_a_key_is_given_as_it_is_shown(
    key: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, lines, _ = shown(capsys, "get", "visits", "chk-1", key, "--folder", str(folder))
    assert [(each["state"], each["key"]) for each in lines] == [("last", "ada"), ("pages", "ada")]


def test_a_number_is_no_text(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ("visits", "chk-1", "1", "--folder", str(folder))
    assert [each["value"] for each in shown(capsys, "get", *where)[1]] == [[2]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("get", "visits", "chk-1", "eve"), "chk-1 has the key eve"),
        (("get", "visits", "chk-9", "ada"), "has no checkpoint 'chk-9'; there are: chk-1"),
        (
            ("scan", "visits", "chk-1", "--operator", "x"),
            "has no such state; there are (operator/state): counts/aggregates, visits/last, "
            "visits/pages",
        ),
        (("scan", "other", "chk-1"), "no checkpoints of job 'other'"),
    ],
)
def test_what_is_not_there_is_said(
    arguments: tuple[str, ...], message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, lines, err = shown(capsys, *arguments, "--folder", str(folder))
    assert (code, lines) == (EXIT_CONFIG, [])
    assert message in err
