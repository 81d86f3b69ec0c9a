"""``split``: send each record to one of several named streams."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from millstream.core.errors import RecordError
from millstream.core.expression import Expr
from millstream.core.job_graph import OperatorKind
from millstream.operators.definition import RowOperator, option_of
from millstream.operators.loop import Loop


@dataclass(frozen=True, slots=True, eq=False)
class Split(RowOperator):
    """Route each record to the side output that ``selector`` names."""

    selector: Callable[[Any], str] | Expr
    names: tuple[str, ...]
    kind = OperatorKind.SPLIT
    ends_segment = True

    def functions(self) -> tuple[Any, ...]:
        """Return the user's function, if it is one."""
        return () if isinstance(self.selector, Expr) else (self.selector,)

    def options(self) -> Mapping[str, Any]:
        """Return the selector and the names."""
        return {"selector": option_of(self.selector), "names": list(self.names)}

    def write(self, loop: Loop) -> None:
        """Write a look-up of the stream's append."""
        record = loop.value()
        loop.emits_main = False
        appends = ", ".join(f"{name!r}: {loop.side_output(name)}" for name in self.names)
        route = loop.fresh("route")
        loop.prologue(f"{route} = {{{appends}}}.get")
        loop.compute(self.selector, "s")
        loop.line(f"({route}(s) or {loop.bind(self._unknown)}(s))({record})")

    def _unknown(self, selected: object) -> Any:
        raise RecordError(
            f"split: the selector gave {selected!r}, which is none of {', '.join(self.names)}"
        )
