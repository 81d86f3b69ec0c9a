"""``filter``: keep the records for which a condition is true."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from millstream.core.expression import Expr
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
        record = loop.value()
        if isinstance(self.condition, Expr):
            loop.condition(self.condition, "c")
            loop.keep_if("c")
        else:
            loop.keep_if(f"{loop.bind(self.condition)}({record})")
