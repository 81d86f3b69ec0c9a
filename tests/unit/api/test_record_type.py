"""Fields and keys are checked against a record type that is known before the run."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple, TypedDict

import msgspec
import pytest

import millstream as ms
from millstream.core.codec import Decoder
from millstream.core.errors import ConfigError


class Struct(msgspec.Struct):
    user: str
    amount: float
    visits: int = 0

    @property
    def doubled(self) -> float:
        return self.amount * 2


@dataclass
class Data:
    user: str
    amount: float
    visits: int = 0


class Named(NamedTuple):
    user: str
    amount: float
    visits: int = 0


class Typed(TypedDict):
    user: str
    amount: float
    visits: int


Plain = namedtuple("Plain", ["user", "amount", "visits"])  # without types on purpose

TYPES: list[Any] = [Struct, Data, Named, Typed, Plain]


class Raw(ms.BatchSource[bytes]):
    """Emits what a decoder would make records of, and never is asked to."""

    def __init__(self, record_type: Any) -> None:
        self.decoder = Decoding(record_type)

    def read(self, position: Any) -> Iterator[tuple[list[bytes], Any]]:
        yield [], None


class Decoding(Decoder[Any]):
    def __init__(self, record_type: Any) -> None:
        self.type = record_type

    def decode(self, raw: bytes) -> Any:
        raise NotImplementedError


def typed(record_type: Any) -> ms.Stream[Any]:
    return ms.Job("job").source(Raw(record_type), uid="in")


PLACES: dict[str, Callable[[ms.Stream[Any], str], object]] = {
    "map": lambda s, name: s.map(ms.col(name)),
    "map of part of it": lambda s, name: s.map((ms.col("user") == "a") & (ms.col(name) > 1)),
    "filter": lambda s, name: s.filter(ms.col(name) > 1),
    "filter behind a filter": lambda s, name: s.filter(bool).filter(ms.col(name) > 1),
    "split": lambda s, name: s.split(ms.col(name), "a", "b"),
    "filter behind a split": lambda s, name: s.split(str, "a", "b")["a"].filter(ms.col(name) > 1),
    "filter behind a union": lambda s, name: s.union(s.filter(bool)).filter(ms.col(name) > 1),
    "key_by an expression": lambda s, name: s.key_by(ms.col(name)),
    "key_by a field": lambda s, name: s.key_by(name),
    "key_by fields": lambda s, name: s.key_by("user", name),
    "aggregate": lambda s, name: s.key_by("user").aggregate(n=ms.sum(name), uid="n"),
    "aggregate of an expression": lambda s, name: s.key_by("user").aggregate(
        n=ms.max(ms.col(name) * 2), uid="n"
    ),
}


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES.keys())
def test_a_field_that_the_type_does_not_have_is_refused_with_the_nearest(
    place: Callable[[ms.Stream[Any], str], object],
) -> None:
    for record_type in TYPES:
        place(typed(record_type), "visits")
        with pytest.raises(ConfigError) as refused:
            place(typed(record_type), "vistis")
        message = str(refused.value)
        assert f"{record_type.__name__} has no field 'vistis'; did you mean 'visits'?" in message
        assert "it has: user, amount, visits" in message
        assert " at test_record_type.py:" in message
        assert "(job 'job')" in message


def test_a_property_counts_as_a_field() -> None:
    typed(Struct).map(ms.col("doubled"))


def test_a_method_of_dict_is_no_field_of_a_typed_dict() -> None:
    with pytest.raises(ConfigError, match="Typed has no field 'items'"):
        typed(Typed).map(ms.col("items"))


@pytest.mark.parametrize(
    "record_type", [None, dict, dict[str, int], str, int, Any, list[Struct], Struct | Data, object]
)
def test_where_fields_are_not_known_any_name_will_do(record_type: Any) -> None:
    typed(record_type).filter(ms.col("anything") > 1).key_by("whatever")


def test_a_type_whose_annotations_cannot_be_read_is_left_to_the_records() -> None:
    @dataclass
    class Local:
        user: Hidden  # type: ignore[name-defined]  # noqa: F821  # a type only a checker can see

    typed(Local).key_by("user")


@pytest.mark.parametrize("method", ["map", "flat_map"])
def test_a_function_makes_the_type_unknown(method: str) -> None:
    getattr(typed(Struct), method)(str).filter(ms.col("anything") > 1)


def test_a_union_of_different_types_has_none() -> None:
    job = ms.Job("job")
    one, two = job.source(Raw(Struct), uid="one"), job.source(Raw(Data), uid="two")
    one.union(two).filter(ms.col("anything") > 1)


class Keys(msgspec.Struct):
    text: str
    number: float
    maybe: float | None
    weighed: Annotated[float, msgspec.Meta(gt=0)]
    many: list[str]
    by_name: dict[str, int]
    different: set[str] | None
    open: Any
    either: str | int


@pytest.mark.parametrize("name", ["number", "maybe", "weighed"])
def test_a_float_field_is_no_key(name: str) -> None:
    for names in ((name,), ("text", name)):
        with pytest.raises(ConfigError, match=f"field '{name}' of Keys: a float cannot be a key"):
            typed(Keys).key_by(*names)


@pytest.mark.parametrize(
    ("name", "kind"), [("many", "list"), ("by_name", "dict"), ("different", "set")]
)
def test_a_field_that_holds_many_is_no_key(name: str, kind: str) -> None:
    with pytest.raises(ConfigError, match=f"field '{name}' of Keys: {kind} cannot be a key; a key"):
        typed(Keys).key_by(name)


@pytest.mark.parametrize("name", ["text", "open", "either"])
def test_a_field_that_may_be_a_key_is_left_to_the_records(name: str) -> None:
    typed(Keys).key_by(name)


def whole(record: Any) -> float:
    return 1.0


def optional(record: Any) -> float | None:
    return None


def several(record: Any) -> list[str]:
    return []


def text(record: Any) -> str:
    return ""


class Weighing:
    def __call__(self, record: Any) -> float:
        return 1.0


@pytest.mark.parametrize("function", [whole, optional])
def test_a_key_function_that_says_it_returns_a_float_is_refused(function: Any) -> None:
    with pytest.raises(ConfigError, match=rf"the result of {function.__name__}: a float cannot be"):
        typed(None).key_by(function)


def test_a_key_function_that_says_it_returns_a_list_is_refused() -> None:
    with pytest.raises(ConfigError, match="the result of several: list cannot be a key"):
        typed(None).key_by(several)  # type: ignore[arg-type]  # a checker refuses it as well


@pytest.mark.parametrize("function", [text, lambda record: 1.0, Weighing(), str])
def test_any_other_key_function_is_left_to_the_records(function: Any) -> None:
    typed(None).key_by(function)
