"""``filter``: keep the records for which a condition is true."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from millstream.core.expression import Expr
from millstream.core.expression_code import render_condition
from millstream.core.job_graph import OperatorKind
from millstream.operators.definition import RowOperator, option_of
from millstream.operators.loop import Loop


@dataclass(frozen=True, slots=True, eq=False)
class Filter(RowOperator):
    """Keep the records for which a function or an expression is true; null is not."""

    condition: Callable[[Any], Any] | Expr
    kind = OperatorKind.FILTER

    def functions(self) -> tuple[Any, ...]:
        """Return the user's function, if it is one."""
        return () if isinstance(self.condition, Expr) else (self.condition,)

    def options(self) -> Mapping[str, Any]:
        """Return the condition's name or the expression."""
        return {"condition": option_of(self.condition)}

    def write(self, loop: Loop) -> None:
        """Write ``if not condition(v): continue``, counting."""
        loop.keep_if(self.condition)

    def clause(self, loop: Loop) -> str | None:
        """Return ``if expression``."""
        if not isinstance(self.condition, Expr):
            return None
        return f"if ({render_condition(self.condition, 'v', loop.access, loop.names).code})"
