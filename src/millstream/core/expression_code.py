"""Renders an expression as Python source, for loops and functions that are generated.

The contract: the code gives exactly what `Expr.evaluate` gives, or raises. So it need not be right
about null, missing fields or the other kind of record as long as Python raises there; its caller
writes `try: x = <code>` / `except Exception: x = evaluate(record)`. What Python does *not* raise
on although the answer differs (`None == 1`, `"%s" % None`, `str(None)`, `.items` of a dict) is
guarded in the code.
"""

from __future__ import annotations

import hashlib
import linecache
from collections.abc import Callable
from typing import Any  # a record and an expression's value have any type

from millstream.core.expression import Expr
from millstream.core.expression_node import Field
from millstream.core.expression_writer import AccessKind, ExpressionWriter, NameSpace, Rendered

__all__ = [
    "AccessKind",
    "NameSpace",
    "Rendered",
    "compile_condition",
    "compile_function",
    "render",
    "render_condition",
]

_MAX_COMMENT = 200  # characters of an expression shown above its generated function


def render(expression: Expr, record: str, access: AccessKind, names: NameSpace) -> Rendered:
    """Return code that computes `expression` over the variable `record`, or raises.

    Args:
        expression: what to compute.
        record: the variable that holds the record; it is read any number of times.
        access: "item" if records are mappings (`is_mapping`), "attribute" if not. For records of
            the other kind the code raises, unless a class of the user's own answers both `x["a"]`
            and `x.a`, and differently.
        names: takes constants and helpers; its temporaries become local variables.
    """
    return ExpressionWriter(record, access, names).value(expression.node)


def render_condition(
    expression: Expr, record: str, access: AccessKind, names: NameSpace
) -> Rendered:
    """Return code that is truthy exactly where `Expr.holds` is true, or raises.

    It may yield None for false, so it belongs into an `if`, with `Expr.holds` as the slow path. A
    filter need not tell null from false, so this is shorter than `render`: `v["kind"] == "click"`.
    """
    return ExpressionWriter(record, access, names).truth(expression.node)


def compile_function(expression: Expr) -> Callable[[Any], Any]:
    """Return a function that equals `expression.evaluate` for any record, and is faster."""
    names = NameSpace()
    item = render(expression, "v", "item", names).code
    attribute = render(expression, "v", "attribute", names).code
    return _define(expression, item, attribute, expression.evaluate, names)


def compile_condition(expression: Expr) -> Callable[[Any], bool]:
    """Return a function that equals `expression.holds` for any record, and is faster."""
    names = NameSpace()
    item = f"True if {render_condition(expression, 'v', 'item', names).code} else False"
    attribute = f"True if {render_condition(expression, 'v', 'attribute', names).code} else False"
    return _define(expression, item, attribute, expression.holds, names)


def _define(
    expression: Expr,
    item: str,
    attribute: str,
    slow: Callable[[Any], Any],
    names: NameSpace,
) -> Callable[[Any], Any]:
    fast = [f"        return {attribute}"]
    if any(isinstance(node, Field) for node in expression.node.walk()):
        fast = ["        if isinstance(v, dict):", f"            return {item}", *fast]
    lines = [
        f"# {expression.describe()[:_MAX_COMMENT]!a}",
        "def expression(v):",
        "    try:",
        *fast,
        "    except Exception:",
        "        pass",  # and on outside of the handler, or the fast code's error would be chained
        f"    return {names.bind(slow)}(v)",
    ]
    source = "\n".join(lines) + "\n"
    # Named by its content, so that compiling an expression again takes no second place.
    filename = f"<millstream expression {hashlib.sha256(source.encode()).hexdigest()[:12]}>"
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    space = dict(names.objects)
    exec(compile(source, filename, "exec"), space)  # noqa: S102  # source of our own making
    function: Callable[[Any], Any] = space["expression"]  # type: ignore[assignment]  # just defined
    return function
