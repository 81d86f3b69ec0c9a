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


def test_to_dict_is_equal_for_equal_trees_with_constants_of_the_same_types() -> None:
    above = (col("a") > 1).to_dict()
    assert (col("a") > 1).to_dict() == above
    for other in (col("a") > True, col("a") > 1.0, col("b") > 1):
        assert json.dumps(other.to_dict()) != json.dumps(above)  # to Python True and 1.0 equal 1
    assert (it & it).to_dict() != (it | it).to_dict()
    assert lit(float("nan")).to_dict() == lit(float("nan")).to_dict()
    assert lit([1]).to_dict() != lit((1,)).to_dict()
    assert it.is_in(["a", "b"]).to_dict() == it.is_in({"b", "a"}).to_dict()


def test_a_set_prints_its_members_in_order() -> None:
    assert lit({"b", 2, "a"}).describe() == "lit({2, 'a', 'b'})"
    assert (it == frozenset("ba")).describe() == "it == frozenset({'a', 'b'})"
    nested = it.is_in({("x", frozenset("dc")), "y"})
    assert nested.describe() == "it.is_in(['y', ('x', frozenset({'c', 'd'}))])"


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
    assert fields(it % 2 == 0) == frozenset()
