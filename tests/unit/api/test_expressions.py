"""Expressions and functions in every place, on every kind of record."""

from __future__ import annotations

from collections import UserDict, namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

import millstream as ms
from millstream.core.errors import OperatorError
from millstream.core.expression_value import FieldError
from tests.unit.api.jobs import Build, begun, collected, failure


class Struct(msgspec.Struct):
    user: Any
    amount: Any


@dataclass
class Data:
    user: Any
    amount: Any


Named = namedtuple("Named", ["user", "amount"])

MAKERS: list[Callable[..., Any]] = [
    dict,
    UserDict,
    Struct,
    Data,
    Named,
]
VALUES: list[dict[str, Any]] = [
    {"user": "ann", "amount": 5},
    {"user": "bob", "amount": None},
    {"user": "ann", "amount": 20},
    {"user": "cat", "amount": 0},
    {"user": "bob", "amount": 11},
]


def users(record: Any) -> Any:
    return record["user"] if hasattr(record, "keys") else record.user


def amount(record: Any) -> Any:
    return record["amount"] if hasattr(record, "keys") else record.amount


def is_large(record: Any) -> bool:
    found = amount(record)
    return found is not None and found > 4


def size(record: Any) -> str:
    return "large" if is_large(record) else "small"


def sizes(records: ms.Stream[Any], selector: Any) -> ms.Stream[Any]:
    parts = records.split(selector, "large", "small")
    return parts["large"].map(users).map(str.upper).union(parts["small"].map(users))


class Keys(ms.KeyedProcessFunction[Any, Any]):
    def process_element(self, value: Any, ctx: ms.ProcessContext[Any]) -> None:
        ctx.collect(ctx.current_key)


AMOUNT, USER = ms.col("amount"), ms.col("user")
SIZE = ms.when(AMOUNT > 4).then("large").otherwise("small")

# Each place with an expression, and the same with a function.
PLACES: dict[str, tuple[Build, Build]] = {
    "map": (lambda s: s.map(AMOUNT.fill_null(-1)), lambda s: s.map(amount).map(unknown)),
    "map to the record": (lambda s: s.map(ms.it).map(USER), lambda s: s.map(users)),
    "filter": (lambda s: s.filter(AMOUNT > 4).map(USER), lambda s: s.filter(is_large).map(users)),
    "key_by": (
        lambda s: s.key_by(USER).process(Keys(), uid="p"),
        lambda s: s.key_by(users).process(Keys(), uid="p"),
    ),
    "key_by a field": (
        lambda s: s.key_by("user").process(Keys(), uid="p"),
        lambda s: s.key_by(users).process(Keys(), uid="p"),
    ),
    "split": (lambda s: sizes(s, SIZE), lambda s: sizes(s, size)),
    "aggregate": (
        lambda s: s.key_by("user").aggregate(ms.sum("amount"), uid="a"),
        lambda s: s.key_by(users).reduce(
            lambda old, new: old + (amount(new) or 0), initial=0, uid="a"
        ),
    ),
    "aggregate of an expression": (
        lambda s: s.key_by("user").aggregate(ms.max(AMOUNT * 2), uid="a"),
        lambda s: s.key_by(users).reduce(larger, initial=None, uid="a"),
    ),
}


def unknown(value: Any) -> Any:
    return -1 if value is None else value


def larger(old: Any, record: Any) -> Any:
    found = amount(record)
    if found is None:
        return old
    return found * 2 if old is None else max(old, found * 2)


@pytest.mark.parametrize(("expression", "function"), PLACES.values(), ids=PLACES.keys())
@pytest.mark.parametrize("make", MAKERS)
def test_an_expression_and_a_function_give_the_same_on_every_kind_of_record(
    make: Callable[..., Any], expression: Build, function: Build
) -> None:
    records = [make(**values) for values in VALUES]
    results = collected(expression, records)
    assert sorted(map(str, results)) == sorted(map(str, collected(function, records)))
    assert len(results) > 1


@pytest.mark.parametrize("chunk_size", [2, 1024])
@pytest.mark.parametrize(("expression", "function"), PLACES.values(), ids=PLACES.keys())
def test_kinds_may_be_mixed_in_one_stream(
    expression: Build, function: Build, chunk_size: int
) -> None:
    records = [make(**values) for values in VALUES for make in MAKERS] * 3
    results = collected(expression, records, chunk_size=chunk_size)
    expected = collected(function, records, chunk_size=chunk_size)
    assert sorted(map(str, results)) == sorted(map(str, expected))


BAD: dict[str, Build] = {
    "map": lambda s: s.map(ms.col("amuont") + 1),
    "filter": lambda s: s.filter(ms.col("amuont") > 1),
    "key_by": lambda s: s.key_by("amuont").aggregate(ms.count(), uid="n"),
    "key_by fields": lambda s: s.key_by("user", "amuont").aggregate(ms.count(), uid="n"),
    "key_by an expression": lambda s: s.key_by(ms.col("amuont")).aggregate(ms.count(), uid="n"),
    "aggregate": lambda s: s.key_by("user").aggregate(ms.mean("amuont"), uid="n"),
    "named aggregate": lambda s: s.key_by("user").aggregate(x=ms.mean("amuont"), uid="n"),
    "count": lambda s: s.key_by("user").aggregate(ms.count("amuont"), uid="n"),
    "split": lambda s: sizes(s, ms.col("amuont")),
}


@pytest.mark.parametrize(
    ("make", "build"),
    [*((dict, build) for build in BAD.values()), *((make, BAD["filter"]) for make in MAKERS)],
)
def test_a_missing_field_is_named_with_the_nearest_and_the_record(
    make: Callable[..., Any], build: Build
) -> None:
    error = failure(build, [make(user="ann", amount=3)])
    assert isinstance(error, OperatorError)
    assert isinstance(error.__cause__, FieldError)
    assert error.__cause__.field == "amuont"
    message = str(error)
    kind = make.__name__
    assert f"field 'amuont' is not in the record ({kind})" in message
    assert "did you mean 'amount'?" in message
    assert "at the beginning of source split 'in'" in message
    assert repr(error.record) == repr(make(user="ann", amount=3))


def test_the_error_names_the_operator_and_the_place_of_the_record() -> None:
    records = [{"n": number} for number in range(10)] + [{}]
    for chunk_size in (1, 3, 1024):
        job, numbers = begun(records, engine=ms.EngineSettings(chunk_size=chunk_size))
        numbers.map(ms.it).filter(ms.col("n") >= 0, uid="positive").sink(
            ms.blackhole.sink(), uid="out"
        )
        with pytest.raises(
            OperatorError, match=r"operator 'positive' failed on record \{\}"
        ) as failed:
            ms.run(job)
        assert failed.value.operator_uid == "positive"
        assert "+ 10 records of source split 'in'" in str(failed.value)
        assert failed.value.record == {}


def test_a_condition_that_is_neither_true_nor_false_is_an_error_not_a_guess() -> None:
    message = str(failure(lambda s: s.filter(ms.col("n")), [{"n": 2}]))
    assert "must be true, false or null, not int; compare it with something" in message
    assert 'in col("n")' in message


@pytest.mark.parametrize("condition", [ms.col("n") > 1, ms.col("n").is_in([2]), ~(ms.col("n") < 2)])
def test_a_filter_takes_null_for_false(condition: Any) -> None:
    records = [{"n": None}, {"n": 1}, {"n": 2}]
    assert collected(lambda s: s.filter(condition), records) == [{"n": 2}]
    assert collected(lambda s: s.filter(~condition), records) == [{"n": 1}]


def test_a_selector_that_gives_no_name_of_the_split_is_an_error() -> None:
    error = failure(lambda s: sizes(s, ms.col("user")), VALUES)
    assert "the selector gave 'ann', which is none of large, small" in str(error)
