"""The tree of an expression: how it prints, compares and describes itself as data."""

from __future__ import annotations

import json
from collections import namedtuple
from dataclasses import dataclass
from decimal import Decimal

import msgspec
import pytest

from millstream.core.expression import (
    col,
    fields,
    it,
    lit,
    reads_whole_record,
    when,
)


class Order(msgspec.Struct):
    user: str | None = None
    amount: float | None = None


@dataclass
class Line:
    order: Order
    count: int = 0


Point = namedtuple("Point", "x y")

NAMES = {"col": col, "it": it, "lit": lit, "when": when}


# -- printing, comparing, inspecting ------------------------------------------------------------

PRINTED = [
    'col("amount") > 10',
    'col("a").field("b c")',
    "it * 3",
    "3 * it",
    "it % 2 == 0",
    "(it + 1) * 2",
    "it + it * 2",
    "it - (it - 1)",
    "it - it - 1",
    "(it ** 2) ** 3",
    "it ** it ** 3",
    "(-it) ** 2",
    "-it ** 2",
    "it ** (-2)",
    "(-2) ** it",
    "it - -2",
    "~(it > 1)",
    "~it & it",
    "(it > 1) & (it < 5) & (it != 3)",
    "it & (it | it)",
    "it & it | it",
    "lit(True) & it",
    "lit(1) < it",
    "it == lit(None)",
    "lit(1) + 2",
    "lit('%s') % it",
    "abs(it)",
    "(it + 1).is_null()",
    "it.is_not_null()",
    "it.fill_null(0)",
    "it.is_in([1, 2])",
    "it.is_in([])",
    "it.between(1, it + 1)",
    "it.cast(int)",
    "when(it > 1).then('a').when(it.is_null()).then(it).otherwise(None)",
    "it.str.lower().str.slice(0, None)",
    "it.str.replace('a', \"'\")",
    "it.dt.truncate(3600000)",
    "it.dt.year() == 2024",
    "(it == 1) == (it == 2)",
]


@pytest.mark.parametrize("text", PRINTED)
def test_an_expression_prints_the_python_that_builds_it(text: str) -> None:
    built = eval(text, NAMES)  # noqa: S307  # the texts above
    assert built.describe() == repr(built) == text


def test_same_as_compares_structure_and_types() -> None:
    assert (col("a") > 1).same_as(col("a") > 1)
    assert not (col("a") > 1).same_as(col("a") > True)
    assert not (col("a") > 1).same_as(col("a") > 1.0)
    assert not (col("a") > 1).same_as(col("b") > 1)
    assert not (it & it).same_as(it | it)
    assert lit(float("nan")).same_as(lit(float("nan")))
    assert not lit([1]).same_as(lit((1,)))
    assert it.is_in(["a", "b"]).same_as(it.is_in({"b", "a"}))


def test_an_expression_is_hashed_by_identity() -> None:
    one = col("a")
    assert {one: 1}[one] == 1
    assert hash(one) == object.__hash__(one)


def test_to_dict_is_plain_json_and_tells_types_apart() -> None:
    assert (col("a") > 10).to_dict() == {
        "node": "Binary",
        "operator": ">",
        "left": {"node": "Field", "base": {"node": "Record"}, "name": "a"},
        "right": {"node": "Constant", "value": 10},
    }
    constants = [Decimal("1.5"), b"x", (1, 2), {"a": [1]}, float("inf"), 2**70, object(), len]
    for constant in constants:
        data = when(it == 1).then(lit(constant)).otherwise(it.cast(int)).to_dict()
        assert json.loads(json.dumps(data)) == data
    assert lit(Decimal("1.5")).to_dict()["value"] == {
        "type": "decimal.Decimal",
        "value": "Decimal('1.5')",
    }


def test_to_dict_has_no_addresses() -> None:
    assert lit(object()).to_dict() == lit(object()).to_dict()


def test_fields_are_those_of_the_record_itself() -> None:
    expr = when(col("a") > 1).then(col("b").field("c")).otherwise(it.field("d").is_in([1]))
    assert fields(expr) == {"a", "b", "d"}
    assert not reads_whole_record(expr)
    assert reads_whole_record(expr == it)
    assert fields(it % 2 == 0) == frozenset()
