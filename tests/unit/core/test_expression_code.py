"""Generated code gives what the reference interpreter gives."""

from __future__ import annotations

import dataclasses
import datetime as datetime_module
import json
import math
import operator
from collections import UserDict, namedtuple
from dataclasses import make_dataclass
from datetime import UTC, datetime
from functools import cache, reduce
from types import MappingProxyType
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from millstream.core.errors import RecordError
from millstream.core.expression import Expr, FieldError, col, it, lit, when
from millstream.core.expression_code import (
    AccessKind,
    NameSpace,
    render,
    render_condition,
)
from millstream.core.expression_node import Field, Node

# -- the contract -------------------------------------------------------------------------------

NUMBERS = [0, 1, -1, 2, 5, -3, 2**65, 0.0, -0.0, 1.5, -2.5, math.nan, math.inf, 1_700_000_000_000]
TEXTS = ["", "a", "Ab ", "10", "%s", "%d %s", "true", "x\n'\"y"]
TRUTHS = [True, False]
NAIVE = datetime(2024, 1, 1)  # noqa: DTZ001  # the error is part of the contract
OTHERS = [b"a", [1], {"count": 1, "items": None}, datetime(2024, 2, 29, 13, 14, tzinfo=UTC), NAIVE]
VALUES: list[Any] = [*NUMBERS, *TEXTS, *TRUTHS, *OTHERS, None]
FIELDS: dict[str, list[Any]] = {  # mostly of one type and sometimes null, as records are
    "a": [*NUMBERS, *NUMBERS, None],
    "count": [*NUMBERS, None],
    "café": NUMBERS,
    "b": [*TEXTS, None, None],
    "items": [*TEXTS, None],
    "c": [*TRUTHS, None],
    "class": [*TRUTHS, None],
    "data": VALUES,
    "__len__": VALUES,
    "dep delay": [*OTHERS, None],
}


def one(*values: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from(values)


def apply(function: Any, *arguments: Any) -> st.SearchStrategy[Expr]:
    return st.builds(lambda f, *values: f(*values), function, *arguments)


def method(group: str, names: str, target: Any, *arguments: Any) -> st.SearchStrategy[Expr]:
    def call(name: str, value: Expr, *values: Any) -> Any:
        return getattr(getattr(value, group), name)(*values)

    return st.builds(call, one(*names.split()), target, *arguments)


def leaf(kind: str) -> st.SearchStrategy[Expr]:
    names: dict[str, list[str]] = {
        "number": ["a", "count", "café"],
        "text": ["b", "items"],
        "truth": ["c", "class"],
    }
    constants: dict[str, list[Any]] = {"number": NUMBERS, "text": TEXTS, "truth": TRUTHS}
    leaves = [*map(col, names.get(kind, list(FIELDS))), *map(lit, constants.get(kind, VALUES)[:8])]
    return st.sampled_from([*leaves[:3] * 5, *leaves, lit(None)])


def below(kind: str, depth: int) -> st.SearchStrategy[Expr]:
    """An expression that is mostly of this kind, or else an error would hide everything."""
    wanted, other = expressions(kind, depth - 1), expressions("any", depth - 1)
    return st.integers(0, 29).flatmap(lambda dice: wanted if dice else other)


@cache
def expressions(kind: str, depth: int) -> st.SearchStrategy[Expr]:
    if depth == 0:
        return leaf(kind)
    if kind == "any":
        return st.one_of(leaf(kind), *(expressions(k, depth) for k in ("number", "text", "truth")))
    same, truth = below(kind, depth), below("truth", depth)
    number, text = below("number", depth), below("text", depth)
    every = [
        leaf(kind),
        apply(st.just(Expr.fill_null), same, same),
        st.builds(lambda c, a, b: when(c).then(a).otherwise(b), truth, same, same),
        st.builds(
            lambda c, a, d, b, e: when(c).then(a).when(d).then(b).otherwise(e),
            truth,
            same,
            truth,
            same,
            same,
        ),
        st.builds(Expr.field, one(col("data"), it), one("count", "items", "a")),
    ]
    if kind == "number":
        function = one(operator.add, operator.sub, operator.sub, operator.mul, operator.mod)
        every += [
            apply(function, number, number),
            apply(function, number, number),
            apply(one(operator.truediv, operator.floordiv), number, one(2, -2, 0)),
            apply(one(operator.floordiv, operator.mod), number, one(*NUMBERS)),
            apply(one(operator.mod, operator.add), text, text),
            apply(one(operator.mul, operator.mod), text, one(-1, 0, 2)),
            st.builds(lambda a, n: a**n, leaf(kind), one(-1, 0, 2)),
            apply(one(operator.neg, abs), number),
            apply(st.just(Expr.cast), below("any", depth), one(int, float)),
            method("str", "length", text),
            method("dt", "year month day hour minute second weekday", below("any", depth)),
            method("dt", "truncate", number, one("1h", "7d")),
        ]
    elif kind == "text":
        every += [
            method("str", "lower upper strip", text),
            method("str", "slice", text, one(-2, 0, 1), one(None, 0, 2)),
            method("str", "replace", text, one("a", "%"), one(*TEXTS)),
            apply(st.just(Expr.cast), below("any", depth), one(str)),
            apply(one(operator.mod, operator.add), text, below("any", depth)),
        ]
    else:
        equal, order = one(operator.eq, operator.ne), one(operator.lt, operator.ge)
        pairs = [(number, number), (text, text), (truth, truth), (number, one(*NUMBERS))]
        every += [apply(equal, left, right) for left, right in [*pairs, (text, one(*TEXTS))]]
        every += [apply(order, left, right) for left, right in pairs]
        every += [
            apply(one(operator.and_, operator.or_), truth, truth),
            apply(one(operator.and_, operator.or_), truth, truth),
            apply(one(operator.invert), truth),
            apply(one(Expr.is_null, Expr.is_not_null), below("any", depth)),
            apply(st.just(Expr.is_in), number, st.lists(one(*NUMBERS))),
            apply(st.just(Expr.is_in), text, st.lists(one(*TEXTS, *TRUTHS))),
            apply(st.just(Expr.between), number, number, number),
            apply(st.just(Expr.cast), number, one(bool)),
            method("str", "starts_with ends_with contains", text, one(*TEXTS)),
        ]
    return st.one_of(every)


any_expression = st.one_of([expressions("any", 2), expressions("any", 3), expressions("truth", 2)])
contents = st.fixed_dictionaries({name: st.sampled_from(FIELDS[name]) for name in FIELDS})
lacking = st.tuples(contents, st.sets(st.sampled_from(list(FIELDS)))).map(
    lambda both: {name: value for name, value in both[0].items() if name not in both[1]}
)


Counted = make_dataclass("Counted", ["count"])
Uncounted = namedtuple("Uncounted", "x")


class Anything:
    """A record of a class of one's own, with any field names."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.__dict__.update(values)


def typed(values: dict[str, Any]) -> list[Any]:
    plain = {k: v for k, v in values.items() if k.isidentifier() and k not in ("class", "__len__")}
    return [
        Anything(values),
        msgspec.defstruct("Struct", [(name, Any) for name in plain])(**plain),
        make_dataclass("Data", list(plain))(**plain),
        namedtuple("Named", list(plain))(**plain),
    ]


def outcome(function: Any, *arguments: Any) -> Any:
    try:
        result = function(*arguments)
    except RecordError as error:
        return (type(error), str(error))
    return (type(result), repr(result))  # nan and -0.0 included


def runner(expr: Expr, access: AccessKind) -> Any:
    """The code alone, as a chain would hold it."""
    names = NameSpace()
    rendered = render(expr, "v", access, names)
    space = dict(names.objects)
    exec(f"def run(v):\n    return {rendered.code}", space)  # noqa: S102  # what a chain does
    fast: Any = space["run"]

    def run(record: Any) -> Any:
        try:
            result = fast(record)
        except Exception:  # noqa: BLE001  # the contract: whatever it raises
            return expr.evaluate(record)
        assert rendered.nullable or result is not None
        if result is not None and rendered.kind is bool:
            assert type(result) is bool
        if result is not None and rendered.kind in (int, float):
            assert isinstance(result, int | float | complex)
        return result

    return run


def keeper(expr: Expr, access: AccessKind) -> Any:
    """The code of a condition, as a filter in a chain would hold it."""
    names = NameSpace()
    code = render_condition(expr, "v", access, names).code
    space = dict(names.objects)
    exec(f"def keeps(v):\n    return True if {code} else False", space)  # noqa: S102  # as above
    fast: Any = space["keeps"]

    def keeps(record: Any) -> Any:
        try:
            return fast(record)
        except Exception:  # noqa: BLE001  # the contract: whatever it raises
            return expr.holds(record)

    return keeps


def check(expr: Expr, records: list[Any]) -> None:
    kinds: list[AccessKind] = ["item", "attribute"]
    runs, keeps = [runner(expr, kind) for kind in kinds], [keeper(expr, kind) for kind in kinds]
    for record in records:
        expected, kept = outcome(expr.evaluate, record), outcome(expr.holds, record)
        assert [outcome(run, record) for run in runs] == [expected] * 2
        assert [outcome(keep, record) for keep in keeps] == [kept] * 2
        if expected[0] in (bool, type(None)):
            assert kept == (bool, repr(expected[1] == "True"))


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(any_expression, st.lists(contents, min_size=3, max_size=6), st.lists(lacking, max_size=2))
def test_the_code_gives_what_the_interpreter_gives(
    expr: Expr, whole: list[dict[str, Any]], lacking: list[dict[str, Any]]
) -> None:
    records: list[Any] = [None, 3, "text"]
    for values in whole + lacking:
        records += [values, MappingProxyType(values), UserDict(values), *typed(values)]
    check(expr, records)


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(["number", "text", "truth"]).flatmap(lambda kind: expressions(kind, 2)))
def test_the_code_gives_what_the_interpreter_gives_for_records_that_are_no_rows(
    expr: Expr,
) -> None:
    # The same expressions, over the record itself in the place of its fields.
    check(Expr(fields_as_record(expr.node)), [*VALUES, {"a": 1}])


def fields_as_record(part: Any) -> Any:
    if isinstance(part, Field):
        return part if isinstance(part.base, Field) else part.base
    if isinstance(part, tuple):
        return tuple(map(fields_as_record, part))
    if not isinstance(part, Node):
        return part
    parts = {each.name: getattr(part, each.name) for each in dataclasses.fields(part)}
    return type(part)(**{name: fields_as_record(each) for name, each in parts.items()})


@pytest.mark.parametrize(
    "expr",
    [
        col("a") == 1 / col("b"),
        col("a") != col("missing"),
        col("a") % col("missing"),
        (col("a") == 1) & (1 / col("b") == 1),
        (col("c") | (1 / col("b") == 1)).fill_null(False),
        col("text") % col("a"),
        lit("%s") % col("a"),
        col("a").between(0, 1 / col("b")),
    ],
    ids=repr,
)
@pytest.mark.parametrize("a", [None, 1, "%s"])
def test_null_on_one_side_hides_no_error_of_the_other(expr: Expr, a: Any) -> None:
    values = {"a": a, "b": 0, "c": None, "text": "%s"}
    check(expr, [values, Anything(values), {**values, "b": 1}, {**values, "text": None}])


@settings(max_examples=200, deadline=None)
@given(any_expression)
def test_any_expression_prints_the_python_that_builds_it(expr: Expr) -> None:
    space: dict[str, Any] = {
        "col": col,
        "it": it,
        "lit": lit,
        "when": when,
        "nan": math.nan,
        "inf": math.inf,
    }
    space["datetime"] = datetime_module
    again = eval(expr.describe(), space)  # noqa: S307  # our own text
    assert json.dumps(again.to_dict()) == json.dumps(expr.to_dict())


@pytest.mark.parametrize("access", ["item", "attribute"])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda e: (e == col("b")).fill_null(False),
        lambda e: -(e + 1),
        lambda e: e.field("count"),
        lambda e: when(it == 0).then(1).otherwise(e % col("b")),
        lambda e: ~((e == 1) & (it == 2)) | (it == 3),
        lambda e: it - (it - e),
    ],
)
def test_a_deep_expression_still_compiles(wrap: Any, access: AccessKind) -> None:
    expr = reduce(lambda inner, _: wrap(inner), range(90), col("a"))
    run, keeps = runner(expr, access), keeper(expr, access)
    for record in ({"a": 1, "b": 2}, Anything({"a": 1, "b": None}), 3):
        assert outcome(run, record) == outcome(expr.evaluate, record)
        assert outcome(keeps, record) == outcome(expr.holds, record)


@pytest.mark.parametrize(
    "constant",
    [
        lit(5).is_null(),
        (lit(1) + 2).is_null(),
        lit(5).field("a"),
        lit(5).str.slice(0, 1),
        (0 + lit(0).fill_null(it)).is_null(),
        lit("a") % it.is_null(),
    ],
    ids=repr,
)
def test_constants_alone_make_python_warn_of_nothing(constant: Expr) -> None:
    check(constant, [None, 1])  # warnings are errors
    check(when(constant).then(constant).otherwise(it), [None, 1])


@pytest.mark.parametrize("count", [100, 3000])
def test_a_wide_expression_still_compiles(count: int) -> None:
    choice = when(it == 0).then("0")
    for number in range(1, count):
        choice = choice.when(it == number).then(str(number))
    check(choice.otherwise("none"), [count - 1, count, None])
    check(reduce(operator.or_, [it == number for number in range(count)]), [count - 1, count, None])


def test_a_name_guarded_for_one_type_stays_guarded_for_another() -> None:
    counted = runner(col("count"), "attribute")
    assert counted(Counted(1)) == 1
    others: list[Any] = [Uncounted(1), [1], "text", UserDict()]
    for other in others:
        with pytest.raises(FieldError):
            counted(other)
