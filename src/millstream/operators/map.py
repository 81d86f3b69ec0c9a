"""``map``: one record in, one out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from millstream.core.expression import Expr
from millstream.core.expression_code import render
from millstream.core.job_graph import OperatorKind
from millstream.operators.definition import RowOperator, option_of
from millstream.operators.loop import Loop


@dataclass(frozen=True, slots=True, eq=False)
class Map(RowOperator):
    """Replace each record by a function or an expression of it."""

    function: Callable[[Any], Any] | Expr
    kind = OperatorKind.MAP

    def functions(self) -> tuple[Any, ...]:
        """Return the user's function, if it is one."""
        return () if isinstance(self.function, Expr) else (self.function,)

    def options(self) -> Mapping[str, Any]:
        """Return the function's name or the expression."""
        return {"function": option_of(self.function)}

    def write(self, loop: Loop) -> None:
        """Write ``v = function(v)``."""
        if isinstance(self.function, Expr):
            loop.expression(self.function, "v")
        else:
            loop.call(self.function)

    def clause(self, loop: Loop) -> str | None:
        """Return ``for v in [expression]``, which CPython compiles to an assignment."""
        if not isinstance(self.function, Expr):
            return None
        code = render(self.function, "v", loop.access, loop.names).code
        return None if ":=" in code else f"for v in [{code}]"  # Python allows no names there
