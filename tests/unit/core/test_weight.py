"""What records weigh, where memory is bounded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from millstream.core.codec import Lines
from millstream.core.weight import MOST, Scale, weight_of

KB, MB = 1 << 10, 1 << 20


@dataclass
class Plain:
    text: str


@dataclass(slots=True)
class Slotted:
    text: str


class Typed(msgspec.Struct):
    text: str


@pytest.mark.parametrize(
    "records",
    [[], [1], range(10**12), ["x" * 3 * KB], [None], [{"a": 1, "b": "x" * 100}], [object()]],
)
def test_an_ordinary_record_counts_as_one(records: Sequence[Any]) -> None:
    assert weight_of(records) == 1


@pytest.mark.parametrize(
    "record",
    [
        b"x" * MB,
        "x" * MB,
        {"text": "x" * MB},
        ["x" * MB, 1],
        ("x" * MB,),
        Plain("x" * MB),
        Slotted("x" * MB),
        Typed("x" * MB),
        {"x" * MB},
        dict.fromkeys(range(1000), "x" * KB),
    ],
    ids=lambda record: type(record).__name__,
)
def test_a_record_of_a_megabyte_counts_for_256(record: Any) -> None:
    assert weight_of([record]) == pytest.approx(256, rel=0.1)
    assert weight_of([1, record]) == weight_of([record, 1]) == weight_of([record])


def test_lines_are_weighed_whole_cut_or_not() -> None:
    lines = Lines((b"x" * MB + b"\n") * 4, 4)
    assert weight_of(lines) == weight_of(lines[:2]) == 257


def test_no_record_weighs_more_than_a_source_has_credit_for() -> None:
    assert weight_of(["x" * (MB << 6)]) == MOST


def test_a_scale_looks_at_one_list_in_sixteen() -> None:
    scale = Scale()
    assert scale.weigh([1]) == 1
    assert [scale.weigh(["x" * MB]) for _ in range(16)] == [1] * 15 + [257]
