"""Generated code reads as one would write it."""

from __future__ import annotations

import math
from typing import Any

import pytest

from millstream.core.expression import Expr, col, it, lit, when
from millstream.core.expression_code import (
    AccessKind,
    NameSpace,
    render,
    render_condition,
)


def code(expr: Expr, access: AccessKind = "attribute") -> str:
    return render(expr, "v", access, NameSpace()).code


def condition(expr: Expr, access: AccessKind = "attribute") -> str:
    return render_condition(expr, "v", access, NameSpace()).code


@pytest.mark.parametrize(
    ("expr", "text"),
    [
        (it % 2 == 0, "v % 2 == 0"),
        (it * 3, "v * 3"),
        (col("amount") > 10, "v.amount > 10"),
        ((col("a") + 1) * 2 - col("b"), "(v.a + 1) * 2 - v.b"),
        (col("a") - (col("b") - 1), "v.a - (v.b - 1)"),
        (2 ** -(it**2), "2 ** (-v ** 2)"),
        ((-it) ** 2, "(-v) ** 2"),
        ((-3) ** it, "(-3) ** v"),
        (it - -3, "v - -3"),
        ((it > 1) == (it > 2), "(v > 1) == (v > 2)"),
        ((it > 1) & (it < 5) | (it > 9), "v > 1 and v < 5 or v > 9"),
        (~(it > 1) & (it < 5), "not v > 1 and v < 5"),
        (col("a").between(1, 5), "1 <= v.a <= 5"),
        (col("a").is_null(), "v.a is None"),
        ((col("a") + 1).is_not_null(), "v.a + 1 is not None"),
        (col("a").str.lower().str.starts_with("x"), "v.a.lower().startswith('x')"),
        (col("a").str.contains("x"), "'x' in v.a"),
        (col("a").str.slice(1, 2), "v.a[1:3]"),
        (col("a").str.length() > 3, "len(v.a) > 3"),
        (col("a").cast(int) + 1, "int(v.a) + 1"),
        (when(it > 1).then("a").otherwise("b"), "('a' if v > 1 else 'b')"),
        (col("a").field("b"), "v.a.b"),
        # where Python would take null for a value
        (it == 1, "(None if v is None else v == 1)"),
        (col("a") == 1, "(None if (t0 := v.a) is None else t0 == 1)"),
        (1 + it == 1, "1 + v == 1"),
        (
            col("a") != col("b"),
            "(None if ((t0 := v.a) is None) | ((t1 := v.b) is None) else t0 != t1)",
        ),
        (col("a").is_in([1, 2]), "(None if (t0 := v.a) is None else t0 in k0)"),
        ((col("a") % 7).is_in([1, 2]), "v.a % 7 in k0"),
        (col("a").fill_null(0) + 1, "(0 if (t0 := v.a) is None else t0) + 1"),
        ((col("a") + 1).fill_null(0), "v.a + 1"),
        (col("a").cast(str), "(None if (t0 := v.a) is None else str(t0))"),
        (lit("%s") % col("a"), "(None if (t0 := v.a) is None else '%s' % t0)"),
        (5 % col("a"), "5 % v.a"),
        (~col("a"), "k0(v.a)"),
        (col("a") & (col("b") > 1), "k0(False, (v.a, v.b > 1))"),
        ((col("b") > 1) & col("a"), "v.b > 1 and k0(v.a)"),
        # names that are methods, or no names
        (col("items"), "(v.items if type(v) in k0 else k1(v))"),
        (col("a").field("count"), "(t0.count if type((t0 := v.a)) in k0 else k1(t0))"),
        (col("dep delay"), "k0(v, 'dep delay')"),
        (col("class"), "k0(v, 'class')"),
        (col("café"), "k0(v, 'café')"),
    ],
    ids=repr,
)
def test_code_of_typed_records(expr: Expr, text: str) -> None:
    assert code(expr) == text


@pytest.mark.parametrize(
    ("expr", "text"),
    [
        (col("amount") > 10, "v['amount'] > 10"),
        (col("items"), "v['items']"),
        (col("a").field("b"), "v['a']['b']"),
        (col("it's"), 'v["it\'s"]'),
    ],
    ids=repr,
)
def test_code_of_mappings(expr: Expr, text: str) -> None:
    assert code(expr, "item") == text


@pytest.mark.parametrize(
    ("expr", "text"),
    [
        (it % 2 == 0, "v % 2 == 0"),
        (col("kind") == "click", "v.kind == 'click'"),
        ((col("a") == 1) & (col("b") == 2), "v.a == 1 and v.b == 2"),
        (col("a") != 1, "(t0 := v.a) != 1 and t0 is not None"),
        (col("a") == col("b"), "(t0 := v.a) == v.b and t0 is not None"),
        (~(col("a") == 1), "not (t0 := v.a) == 1 and t0 is not None"),
        (~(col("a") != 1), "not v.a != 1"),
        (~((col("a") > 1) | (col("b") > 1)), "not v.a > 1 and not v.b > 1"),
        (col("a").is_in([1]), "v.a in k0"),
        (~col("a").is_in([1]), "(t0 := v.a) not in k0 and t0 is not None"),
        (lit(True), "True"),
        (
            col("flag"),
            "(t0 := v.flag) is True or t0 is not False and t0 is not None and k0(t0) is True",
        ),
    ],
    ids=repr,
)
def test_code_of_conditions_needs_not_tell_null_from_false(expr: Expr, text: str) -> None:
    assert condition(expr) == text


@pytest.mark.parametrize(
    ("constant", "text"),
    [
        (1, "1"),
        (-1, "-1"),
        (1.5, "1.5"),
        (1e100, "1e+100"),
        (-0.0, "-0.0"),
        ("it's", '"it\'s"'),
        (b"x", "b'x'"),
        (True, "True"),
        (None, "None"),
        (math.inf, "k0"),
        (math.nan, "k0"),
        (2**70, "k0"),
        ("x" * 1000, "k0"),
        ((1, 2), "k0"),
    ],
    ids=lambda value: repr(value)[:10],
)
def test_small_plain_constants_are_written_out_and_others_bound(constant: Any, text: str) -> None:
    names = NameSpace()
    assert render(lit(constant), "v", "item", names).code == text
    assert list(names.objects.values()) == ([constant] if text == "k0" else [])


def test_a_name_space_gives_an_object_one_name() -> None:
    names, value = NameSpace(), object()
    assert [names.bind(value), names.bind(object()), names.bind(value)] == ["k0", "k1", "k0"]
    assert [names.temporary(), names.temporary()] == ["t0", "t1"]
    assert names.objects["k0"] is value


def test_what_is_known_of_a_value() -> None:
    known = [render(e, "v", "item", NameSpace()) for e in (it, it % 2, it > 1, it == 1, lit(None))]
    assert [each.nullable for each in known] == [True, False, False, True, True]
    assert [each.kind for each in known] == [None, None, bool, bool, type(None)]
