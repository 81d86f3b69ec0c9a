"""What records weigh, where memory is bounded."""

from __future__ import annotations

from collections import deque
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


class OldSlots:
    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


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
        {"n": 1, "document": {"body": ["x" * MB]}},
        OldSlots("x" * MB),
        deque(["x" * MB]),
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


def test_a_scale_looks_at_about_one_list_in_sixteen_out_of_step() -> None:
    scale = Scale()
    assert scale.weigh([1]) == 1
    weights = [scale.weigh(["x" * MB]) for _ in range(23)]
    assert weights[:8] == [1] * 8
    assert weights[-1] == 257
    scale = Scale()  # every 16th is small
    weights = [scale.weigh(["x" * MB] if n % 16 else [1]) for n in range(1600)]
    assert sum(weight > 1 for weight in weights) > 1200


class Answering:
    """Has a method for every name, as a stub of a remote object."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_: 1


class Lazy(dict[str, Any]):
    def values(self) -> Any:
        raise RuntimeError("deferred load failed")


class Refusing:
    def __sizeof__(self) -> int:
        raise RuntimeError("no")


@pytest.mark.parametrize("record", [Answering(), Lazy(a=1), Refusing()])
def test_a_look_at_a_record_runs_none_of_its_code_and_never_fails(record: Any) -> None:
    assert weight_of([record]) == 1
