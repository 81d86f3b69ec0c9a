"""``map_batches``: a function of a list of records, for work that is cheaper by the list."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from millstream.core.job_graph import Access, OperatorKind
from millstream.operators.definition import OperatorDefinition, option_of


@dataclass(frozen=True, slots=True, eq=False)
class MapBatches(OperatorDefinition):
    """Replace what is ready, at most ``max_size`` records at a time, by an iterable.

    It never waits for a list to fill, so lists may be short: with a slow sink, one record.
    """

    function: Callable[[Sequence[Any]], Iterable[Any]]
    max_size: int
    kind = OperatorKind.MAP_BATCHES

    def access(self) -> Access:
        """Return that it is called per chunk."""
        return Access.BATCH

    def functions(self) -> tuple[Any, ...]:
        """Return the user's function."""
        return (self.function,)

    def options(self) -> Mapping[str, Any]:
        """Return the function's name and the largest list."""
        return {"function": option_of(self.function), "max_size": self.max_size}
