"""Renders an expression as Python source, for generated loops.

The contract: the code gives exactly what `Expr.evaluate` gives, or raises. So it need not be right
about null, missing fields or the other kind of record as long as Python raises there; its caller
writes `try: x = <code>` / `except Exception: x = evaluate(record)`. What Python does *not* raise
on although the answer differs (`None == 1`, `"%s" % None`, `str(None)`, `.items` of a dict) is
guarded in the code.
"""

from __future__ import annotations

from millstream.core.expression import Expr
from millstream.core.expression_writer import AccessKind, ExpressionWriter, NameSpace, Rendered

__all__ = [
    "AccessKind",
    "NameSpace",
    "Rendered",
    "render",
    "render_condition",
]


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
