"""What an expression means, how it prints, and what its errors say."""

from __future__ import annotations

from collections import namedtuple
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Any, cast

import msgspec
import pytest

from millstream.core.errors import ConfigError
from millstream.core.expression import (
    EvaluationError,
    Expr,
    FieldError,
    col,
    it,
    lit,
    when,
)
from millstream.core.expression_value import COMPARISONS


class Order(msgspec.Struct):
    user: str | None = None
    amount: float | None = None


@dataclass
class Line:
    order: Order
    count: int = 0


Point = namedtuple("Point", "x y")

NAMES = {"col": col, "it": it, "lit": lit, "when": when}


# -- arithmetic, comparison ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expr", "record", "value"),
    [
        (it + 1, 2, 3),
        (1 + it, 2, 3),
        (it - 1, 2, 1),
        (10 - it, 2, 8),
        (it * 3, 2, 6),
        (3 * it, 2, 6),
        (it / 2, 3, 1.5),
        (3 / it, 2, 1.5),
        (it // 2, -3, -2),
        (7 // it, 2, 3),
        (it % 3, -1, 2),
        (7 % it, 4, 3),
        (it**2, 3, 9),
        (2**it, 3, 8),
        (-it, 3, -3),
        (abs(it), -3, 3),
        (it == 3, 3, True),
        (it != 3, 3, False),
        (it < 3, 3, False),
        (it <= 3, 3, True),
        (it > 3, 4, True),
        (it >= 3, 2, False),
        (lit(2) + 3, None, 5),
        (it * 2, "ab", "abab"),
        (it % 7, "%d pieces", "7 pieces"),
        (it == 1, True, True),
    ],
)
def test_python_operators_decide(expr: Expr, record: Any, value: Any) -> None:
    result = expr.evaluate(record)
    assert (result, type(result)) == (value, type(value))


@pytest.mark.parametrize(
    "expr",
    [
        it + 1,
        1 - it,
        it % 2,
        -it,
        abs(it),
        it == 1,
        it != 1,
        it < 1,
        lit(None) == it,
        ~it,
        it.is_in([1]),
        it.between(1, 2),
        it.str.lower(),
        it.str.contains("a"),
        it.dt.year(),
        it.cast(str),
        it.cast(bool),
        lit("%s") % it,
    ],
    ids=repr,
)
def test_null_gives_null(expr: Expr) -> None:
    assert expr.evaluate(None) is None
    assert expr.holds(None) is False


# -- conditions ---------------------------------------------------------------------------------

T, F, N = True, False, None


@pytest.mark.parametrize(
    ("left", "right", "both", "either"),
    [
        (T, T, T, T),
        (T, F, F, T),
        (T, N, N, T),
        (F, T, F, T),
        (F, F, F, F),
        (F, N, F, N),
        (N, T, N, T),
        (N, F, F, N),
        (N, N, N, N),
    ],
)
def test_and_and_or_follow_kleene(left: Any, right: Any, both: Any, either: Any) -> None:
    record = {"l": left, "r": right}
    assert (col("l") & col("r")).evaluate(record) is both
    assert (col("l") | col("r")).evaluate(record) is either
    assert (col("l") & col("r")).holds(record) is (both is True)
    assert (col("l") | col("r")).holds(record) is (either is True)
    assert (~(col("l") & col("r"))).holds(record) is (both is False)
    assert (~(col("l") | col("r"))).holds(record) is (either is False)


def test_not_negates_and_keeps_null() -> None:
    assert [(~it).evaluate(value) for value in (True, False, None)] == [False, True, None]


def test_and_stops_at_a_false_and_or_at_a_true() -> None:
    unsafe = lit(1) / it == 1
    assert ((it != 0) & unsafe).evaluate(0) is False
    assert ((it == 0) | unsafe).evaluate(0) is True


def test_and_computes_what_follows_a_null_unless_only_truth_is_asked() -> None:
    condition = (col("a") == 1) & (col("missing") == 1)
    with pytest.raises(FieldError):
        condition.evaluate({"a": None})
    assert condition.holds({"a": None}) is False


def test_a_condition_that_is_no_truth_value_is_an_error() -> None:
    for expr in (it & True, False | ~it, ~it, when(it).then(1).otherwise(2)):
        with pytest.raises(EvaluationError, match="must be true, false or null, not int"):
            expr.evaluate(1)
    with pytest.raises(EvaluationError, match=r"not str; compare it .* in col\(\"a\"\)"):
        col("a").holds({"a": "yes"})


def test_long_conditions_stay_flat() -> None:
    condition = reduce(or_, [col("a") == number for number in range(5000)])
    assert condition.evaluate({"a": 4999}) is True
    assert condition.holds({"a": None}) is False
    assert condition.describe().startswith('(col("a") == 0) | (col("a") == 1) | ')


# -- null, membership, choice -------------------------------------------------------------------


def test_is_null_and_is_not_null_are_never_null() -> None:
    assert [it.is_null().evaluate(value) for value in (None, 0)] == [True, False]
    assert [it.is_not_null().evaluate(value) for value in (None, 0)] == [False, True]


def test_fill_null_computes_the_other_value_only_where_needed() -> None:
    filled = col("a").fill_null(col("b") + 1)
    assert filled.evaluate({"a": None, "b": 1}) == 2
    assert filled.evaluate({"a": 5}) == 5
    assert (it + 1).fill_null(0).evaluate(None) == 0


def test_is_in_looks_up_by_hash_and_equality() -> None:
    assert it.is_in(["a", 1]).evaluate("a") is True
    assert it.is_in(n for n in (1, 2)).evaluate(3) is False
    assert it.is_in([]).evaluate(3) is False
    assert it.is_in([1]).evaluate(True) is True
    with pytest.raises(EvaluationError, match=r"TypeError: unhashable .* in it\.is_in"):
        it.is_in([1]).evaluate([1])


def test_between_includes_both_ends_and_is_an_and() -> None:
    assert [it.between(1, 3).evaluate(n) for n in (0, 1, 3, 4)] == [False, True, True, False]
    assert it.between(5, None).evaluate(3) is False
    assert it.between(1, None).evaluate(3) is None
    assert it.between(None, 1).evaluate(3) is False
    assert it.between(5, lit(1) / 0).evaluate(3) is False


def test_when_takes_the_first_true_condition_and_null_for_false() -> None:
    size = when(it > 100).then("large").when(it > 10).then("medium").otherwise("small")
    assert [size.evaluate(n) for n in (1000, 50, 1, None)] == ["large", "medium", "small", "small"]
    assert when(it == 0).then(None).otherwise(lit(6) / it).evaluate(0) is None


def test_cast_converts_as_python_does_but_takes_no_text_for_a_truth_value() -> None:
    assert it.cast(int).evaluate("12") == 12
    assert it.cast(int).evaluate(1.9) == 1
    assert it.cast(float).evaluate("1.5") == 1.5
    assert it.cast(str).evaluate(1) == "1"
    assert [it.cast(bool).evaluate(n) for n in (0, 2, 0.0)] == [False, True, False]
    with pytest.raises(EvaluationError, match=r'cast\(bool\) takes a number, not str .*"false"'):
        it.cast(bool).evaluate("false")


# -- what is refused when it is built -----------------------------------------------------------


def test_python_cannot_ask_an_expression_for_its_truth() -> None:
    advice = "use & | ~ instead of and or not, between"
    with pytest.raises(ConfigError, match=advice):
        bool(col("a") == 1)
    with pytest.raises(ConfigError, match=advice):
        _ = col("a") == 1 and col("b") == 2
    with pytest.raises(ConfigError, match=advice):
        _ = 1 < col("a") < 2
    with pytest.raises(ConfigError, match=advice):
        _ = not col("a")


def test_an_expression_cannot_be_searched_or_iterated() -> None:
    with pytest.raises(ConfigError, match=r"use \.is_in\(\[…\]\) for a member"):
        _ = 1 in col("a")
    with pytest.raises(ConfigError, match=r'col\("a"\) cannot be iterated'):
        list(col("a"))


@pytest.mark.parametrize("symbol", COMPARISONS)
def test_comparing_with_none_is_refused_with_the_alternative(symbol: str) -> None:
    with pytest.raises(ConfigError, match=r"is null for every record; use is_null\(\)"):
        COMPARISONS[symbol](it, None)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: it.is_in("abc"), "did you mean == or .str.contains"),
        (lambda: it.is_in(it), "is_in takes a collection of constants; got it"),
        (lambda: it.is_in([[1]]), "hashable constants: unhashable type: 'list'"),
        (lambda: it.is_in(cast(Any, 5)), "hashable constants: 'int' object is not iterable"),
        (lambda: it.is_in([1, None]), "never finds None"),
        (
            lambda: it.cast(cast(Any, list)),
            "cast takes int, float, str or bool; got <class 'list'>",
        ),
        (lambda: it.str.contains(cast(Any, it)), "str.contains takes a constant text; got it"),
        (lambda: it.str.slice(0, -1), "slice takes a length of 0 or more; got -1"),
        (lambda: it.dt.truncate("fast"), "truncate: 'fast' is not a duration"),
        (lambda: it.dt.truncate("0s"), "at least 1 ms; got '0s'"),
        (lambda: col(cast(Any, 1)), "col takes a field's name; got 1"),
        (lambda: it.field(cast(Any, None)), "field takes a field's name; got None"),
        (lambda: it + when(it > 1), r"when\(…\) is not finished: add .then\(…\).otherwise"),
        (lambda: it + when(it > 1).then(2), r"not finished: add .otherwise\(…\)"),
    ],
)
def test_a_mistake_is_refused_when_built(build: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build()
