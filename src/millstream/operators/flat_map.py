"""``flat_map``: one record in, any number out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from millstream.core.job_graph import OperatorKind
from millstream.operators.definition import RowOperator, option_of
from millstream.operators.loop import Loop


@dataclass(frozen=True, slots=True, eq=False)
class FlatMap(RowOperator):
    """Replace each record by the items of an iterable; one made lazily is taken lazily.

    A generator is resumed as downstream asks for more, never run to its end first.
    """

    function: Callable[[Any], Iterable[Any]]
    kind = OperatorKind.FLAT_MAP

    def functions(self) -> tuple[Any, ...]:
        """Return the user's function."""
        return (self.function,)

    def options(self) -> Mapping[str, Any]:
        """Return the function's name."""
        return {"function": option_of(self.function)}

    def write(self, loop: Loop) -> None:
        """Write ``for v in function(v):`` around the rest of the chain."""
        record = loop.value()
        loop.for_each(f"{loop.bind(self.function)}({record})")
