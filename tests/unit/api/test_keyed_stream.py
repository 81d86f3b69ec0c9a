"""What reduce and aggregate keep per key."""

from __future__ import annotations

import enum
import operator
import uuid
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

import millstream as ms
from tests.unit.api.jobs import begun, collected, failure

CHUNK_SIZES = [1, 3, 1024]
SALES = [
    {"shop": "a", "day": 1, "amount": 5},
    {"shop": "b", "day": 1, "amount": None},
    {"shop": "a", "day": 2, "amount": -2},
    {"shop": "b", "day": 1, "amount": 7},
    {"shop": "a", "day": 1, "amount": None},
]


@pytest.mark.parametrize("chunk_size", CHUNK_SIZES)
def test_reduce_folds_each_key_and_emits_after_every_record(chunk_size: int) -> None:
    results = collected(
        lambda s: s.key_by(lambda n: n % 2).reduce(operator.add, uid="sums"),
        range(6),
        chunk_size=chunk_size,
    )
    assert results == [0, 1, 2, 4, 6, 9]


def test_reduce_with_an_initial_value_folds_into_another_type() -> None:
    results = collected(
        lambda s: s.key_by(len).reduce(lambda seen, w: (*seen, w), initial=(), uid="r"),
        ["a", "bb", "c"],
    )
    assert results == [("a",), ("bb",), ("a", "c")]


@pytest.mark.parametrize("initial", [None, 0, "", ()])
def test_an_initial_value_may_be_false_or_none(initial: Any) -> None:
    results = collected(
        lambda s: s.key_by(ms.it).reduce(lambda old, n: (old, n), initial=initial, uid="r"), [1]
    )
    assert results == [(initial, 1)]


def test_reduce_may_give_none_and_keeps_it() -> None:
    results = collected(
        lambda s: s.key_by(lambda n: 0).reduce(
            lambda old, n: None if n == 2 else (old, n), uid="r"
        ),
        [1, 2, 3],
    )
    assert results == [1, None, (None, 3)]


def test_a_nameless_aggregate_emits_its_bare_value() -> None:
    def each(aggregate: Any) -> list[Any]:
        return collected(lambda s: s.key_by("shop").aggregate(aggregate, uid="a"), SALES)

    assert each(ms.count()) == [1, 1, 2, 2, 3]
    assert each(ms.count("amount")) == [1, 0, 2, 1, 2]
    assert each(ms.sum("amount")) == [5, 0, 3, 7, 3]
    assert each(ms.mean("amount")) == [5, None, 1.5, 7, 1.5]
    assert each(ms.min("amount")) == [5, None, -2, 7, -2]
    assert each(ms.max("amount")) == [5, None, 5, 7, 5]
    assert each(ms.sum(ms.col("amount") * 10)) == [50, 0, 30, 70, 30]


@pytest.mark.parametrize("chunk_size", CHUNK_SIZES)
def test_named_aggregates_emit_a_dict_with_the_key(chunk_size: int) -> None:
    results = collected(
        lambda s: s.key_by("shop").aggregate(
            n=ms.count(),
            known=ms.count("amount"),
            total=ms.sum("amount"),
            average=ms.mean("amount"),
            least=ms.min("amount"),
            most=ms.max("amount"),
            uid="a",
        ),
        SALES,
        chunk_size=chunk_size,
    )
    assert results[-1] == {
        "shop": "a", "n": 3, "known": 2, "total": 3, "average": 1.5, "least": -2, "most": 5,
    }  # fmt: skip
    assert list(results[0]) == ["shop", "n", "known", "total", "average", "least", "most"]
    assert results[1] == {
        "shop": "b", "n": 1, "known": 0, "total": 0, "average": None, "least": None, "most": None,
    }  # fmt: skip


def test_results_of_several_key_fields_have_each_of_them() -> None:
    results = collected(
        lambda s: s.key_by("shop", "day").aggregate(n=ms.count(), emit="final", uid="a"), SALES
    )
    assert results == [
        {"shop": "a", "day": 1, "n": 2},
        {"shop": "b", "day": 1, "n": 2},
        {"shop": "a", "day": 2, "n": 1},
    ]


def test_the_key_of_a_function_or_an_expression_is_called_key() -> None:
    for key in (lambda sale: sale["shop"], ms.col("shop")):
        job, sales = begun(SALES[:1])
        results: list[Any] = []
        named = sales.key_by(key).aggregate(n=ms.count(), uid="a")
        named.sink(ms.collection.sink(results), uid="out")
        ms.run(job)
        assert results == [{"key": "a", "n": 1}]


def test_odd_field_names_are_fine() -> None:
    name = 'a "b"\n{c}'
    aggregates: Any = {"x'y": ms.count(), "{0}": ms.sum(name)}
    results = collected(lambda s: s.key_by(name).aggregate(uid="a", **aggregates), [{name: 2}])
    assert results == [{name: 2, "x'y": 1, "{0}": 2}]


@pytest.mark.parametrize("chunk_size", CHUNK_SIZES)
def test_final_results_come_once_per_key_in_order_of_first_appearance(chunk_size: int) -> None:
    def final(records: list[Any]) -> list[Any]:
        return collected(
            lambda s: s.key_by("shop").aggregate(ms.sum("amount"), emit="final", uid="a"),
            records,
            chunk_size=chunk_size,
        )

    assert final(SALES) == [3, 7]
    assert final(SALES[::-1]) == [3, 7]
    assert final(SALES[1::2]) == [7]
    assert final([]) == []


def test_final_results_go_through_the_operators_behind() -> None:
    results = collected(
        lambda s: s.key_by("shop").aggregate(n=ms.count(), emit="final", uid="a")
        .filter(ms.col("n") > 2).map(ms.col("shop")).flat_map(lambda shop: shop * 2),
        SALES,
    )  # fmt: skip
    assert results == ["a", "a"]


def test_final_results_of_many_keys_all_come() -> None:
    results = collected(
        lambda s: s.key_by(ms.it).aggregate(ms.count(), emit="final", uid="a"), range(5000)
    )
    assert results == [1] * 5000


def test_aggregates_take_what_python_can_add_and_compare() -> None:
    def final(aggregate: Any, values: list[Any]) -> Any:
        records = [{"k": 1, "x": value} for value in values]
        return collected(
            lambda s: s.key_by("k").aggregate(aggregate, emit="final", uid="a"), records
        )[0]

    assert final(ms.sum("x"), [Decimal("0.1"), Decimal("0.2")]) == Decimal("0.3")
    assert final(ms.max("x"), ["b", "c", "a"]) == "c"
    assert final(ms.min("x"), [date(2024, 2, 1), date(2024, 1, 1)]) == date(2024, 1, 1)
    assert final(ms.sum("x"), [10**400, 1]) == 10**400 + 1
    assert final(ms.mean("x"), [True, False]) == 0.5


def test_what_cannot_be_added_is_an_error_of_that_record() -> None:
    error = failure(
        lambda s: s.key_by("k").aggregate(ms.sum("x"), uid="totals"), [{"k": 1, "x": "1"}]
    )
    assert "operator 'totals' failed on record {'k': 1, 'x': '1'}" in str(error)
    assert "TypeError" in str(error)


@pytest.mark.parametrize("chaining", [True, False])
def test_each_key_by_of_a_chain_has_its_own_key(chaining: bool) -> None:
    """They run in one generated loop, and the second once took the first one's key."""
    results = collected(
        lambda s: (
            s.key_by("shop")
            .reduce(lambda old, new: {**new, "n": old.get("n", 1) + 1}, uid="per_shop")
            .key_by("day")
            .aggregate(n=ms.count(), uid="per_day")
        ),
        SALES,
        chaining=chaining,
    )
    assert [result["day"] for result in results] == [1, 1, 2, 1, 1]
    assert [result["n"] for result in results] == [1, 2, 1, 3, 4]


def test_several_operators_on_one_keyed_stream_each_see_all_of_it() -> None:
    counts, last = list[Any](), list[Any]()
    job, sales = begun(SALES)
    by_shop = sales.key_by("shop")
    by_shop.aggregate(ms.count(), uid="n").sink(ms.collection.sink(counts), uid="counts")
    by_shop.reduce(lambda old, new: new, uid="r").sink(ms.collection.sink(last), uid="last")
    ms.run(job)
    assert counts == [1, 1, 2, 2, 3]
    assert last == SALES


def test_two_aggregates_in_one_job_do_not_share_state() -> None:
    results = collected(
        lambda s: s.key_by(ms.it).aggregate(ms.count(), uid="one")
        .key_by(ms.it).aggregate(ms.count(), uid="two"),
        ["x", "x", "x", "y"],
    )  # fmt: skip
    assert results == [1, 1, 1, 2]


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


GOOD_KEYS: list[list[Any]] = [
    ["a", "", "é", "\ud800"],
    [b"a", b""],
    [1, -1, 0, 10**5000],
    [True, False],
    [uuid.UUID(int=1), uuid.UUID(int=2)],
    [date(2024, 1, 1), date(2024, 1, 2)],
    [datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 2, tzinfo=UTC)],
    [Colour.RED, Colour.BLUE],
    [("a", (1, b"x")), ("b", (1, b"x"))],
    [()],
]


@pytest.mark.parametrize("keys", GOOD_KEYS, ids=lambda keys: type(keys[0]).__name__)
def test_keys_may_be(keys: list[Any]) -> None:
    counts = collected(lambda s: s.key_by(ms.it).aggregate(ms.count(), uid="n"), keys * 2)
    assert counts == [1] * len(keys) + [2] * len(keys)


BAD_KEYS: list[tuple[list[Any], str]] = [
    ([1.0], "a float cannot be a key: 1, 1.0 and True are one key to a dict"),
    ([float("nan")], "round it to an int or format it to a str"),
    ([("a", 1.0)], "a float cannot be a key"),
    ([None], "the key is None; filter such records out before key_by, or give them a key"),
    ([("a", None)], "the key is None"),
    ([[1]], r"key \[1\] is of type list; a key is str, bytes, int, bool"),
    ([Decimal(1)], "is of type Decimal; a key is"),
    ([frozenset()], "is of type frozenset"),
    ([1, True], "key True is of type bool, but this stream's keys are int; .* convert in key_by"),
    ([True, 1], "key 1 is of type int, but this stream's keys are bool"),
    ([1, 1.0], "key 1.0: a float cannot be a key"),
    ([1, "1"], "of type str, but this stream's keys are int"),
    ([(1, "a"), (1, b"a")], r"of type \(int, bytes\), but this stream's keys are \(int, str\)"),
    ([(1,), (True,)], r"is of type \(bool\), but this stream's keys are \(int\)"),
    ([(1,), 1], r"is of type int, but this stream's keys are \(int\)"),
    ([date(2024, 1, 1), datetime(2024, 1, 1, tzinfo=UTC)], "of type datetime, but .* are date"),
]


@pytest.mark.parametrize(
    ("keys", "message", "by", "chunk_size"),
    [
        *((*case, "function", 1024) for case in BAD_KEYS),
        *((*case, by, 1) for case in BAD_KEYS[::5] for by in ("field", "expression")),
    ],
)
def test_keys_that_are_refused_at_run_time(
    keys: list[Any], message: str, by: str, chunk_size: int
) -> None:
    selectors: dict[str, Any] = {
        "field": "k",
        "expression": ms.col("k"),
        "function": lambda r: r["k"],
    }
    records = [{"k": key} for key in keys]
    job, numbers = begun(records, engine=ms.EngineSettings(chunk_size=chunk_size))
    counts = numbers.key_by(selectors[by], uid="by_k").aggregate(ms.count(), uid="n")
    counts.sink(ms.blackhole.sink(), uid="out")
    with pytest.raises(ms.errors.OperatorError, match=message) as failed:
        ms.run(job)
    assert failed.value.operator_uid == "by_k"
    assert repr(failed.value.record) == repr(records[-1])
