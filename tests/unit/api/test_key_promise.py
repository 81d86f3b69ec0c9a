"""A key's type is looked at for each record unless a decoder that validates has made sure of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

import msgspec
import pytest

import millstream as ms
from millstream.core.errors import OperatorError
from millstream.operators.key_by import KeyBy


class Struct(msgspec.Struct):
    user: str
    number: int
    amount: Any
    either: str | int
    name: str = None  # type: ignore[assignment]  # as users write it; msgspec takes it as it is
    made: str = msgspec.field(default_factory=str)


@dataclass
class Data:
    user: str
    name: str = None  # type: ignore[assignment]
    made: str = field(default_factory=str)


class Named(NamedTuple):
    user: str
    name: str = None  # type: ignore[assignment]


class Typed(TypedDict):
    user: str
    name: str | None


class Changing(msgspec.Struct):
    user: str

    def __post_init__(self) -> None:
        self.user = None  # type: ignore[assignment]


def promised(stream: ms.Stream[Any], *key: Any) -> bool:
    keyed = stream.key_by(*key)
    definition = keyed._place.graph.node(keyed._place.node).definition
    assert isinstance(definition, KeyBy)
    return definition.typed


def typed(record_type: Any) -> ms.Stream[Any]:
    return ms.Job("job").source(ms.jsonl.source("x.jsonl", type=record_type), uid="in")


@pytest.mark.parametrize(
    ("record_type", "field", "expected"),
    [
        (Struct, "user", True),
        (Struct, "number", True),
        (Struct, "amount", False),
        (Struct, "either", False),
        (Struct, "name", False),
        (Struct, "made", False),
        (Data, "user", True),
        (Data, "name", False),
        (Data, "made", False),
        (Named, "user", True),
        (Named, "name", False),
        (Typed, "user", True),
        (Typed, "name", False),
        (Changing, "user", False),
        (dict, "user", False),
    ],
)
def test_a_required_field_of_an_exact_type_is_promised(
    record_type: Any, field: str, expected: bool
) -> None:
    assert promised(typed(record_type), field) is expected


def test_the_promise_holds_only_for_one_field_of_the_records_as_they_were_decoded() -> None:
    assert promised(typed(Struct).filter(lambda record: True), "user")
    assert promised(typed(Struct).split(str, "a", "b")["a"], "user")
    assert not promised(typed(Struct), "user", "number")
    assert not promised(typed(Struct), ms.col("user"))
    assert not promised(typed(Struct).map(lambda record: record), "user")


class Careless(ms.Decoder[Struct]):
    """Makes records of the type that it names, with fields of others: it validates nothing."""

    type = Struct

    def decode(self, raw: bytes) -> Struct:
        return Struct(user=float(raw), number=1, amount=1, either=1)  # type: ignore[arg-type]


class Raw(ms.BatchSource[Any]):
    decoder = Careless()

    def read(self, position: Any) -> Iterator[tuple[list[bytes], Any]]:
        yield [b"1.5"], 1


def failure(stream: ms.Stream[Any], job: ms.Job, name: str) -> str:
    stream.key_by(name).aggregate(ms.count(), uid="n").sink(ms.blackhole.sink(), uid="out")
    with pytest.raises(OperatorError) as failed:
        ms.run(job)
    return str(failed.value)


def test_a_decoder_of_ones_own_promises_nothing() -> None:
    job = ms.Job("job")
    assert "a float cannot be a key" in failure(job.source(Raw(), uid="in"), job, "user")


def test_a_default_that_is_no_key_is_found_at_run_time(tmp_path: Path) -> None:
    file = tmp_path / "orders.jsonl"
    file.write_text('{"user": "a", "number": 1, "amount": 1, "either": 1}\n')
    job = ms.Job("job")
    orders = job.source(ms.jsonl.source(file, type=Struct), uid="in")
    assert "the key is None" in failure(orders, job, "name")
