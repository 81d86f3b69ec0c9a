"""``map_async``: calls that wait, many in flight at once, beside the stream."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from millstream.core.job_graph import Access, OperatorKind
from millstream.core.retry import Retry
from millstream.operators.definition import OperatorDefinition, option_of


@dataclass(frozen=True, slots=True, eq=False)
class MapAsync(OperatorDefinition):
    """Await a function of each record on the event loop.

    Attributes:
        function: an ``async def`` of one record.
        result: what its result is: the record to emit, whether to keep the record, or an
            iterable of records.
        ordered: emit in the order of the input; else as results arrive, never across a control
            element.
        capacity: most records in flight.
        timeout_ms: the longest time for one record, all attempts included; None: no limit.
        retry: how a failing call is tried again; None: it fails the job.
    """

    function: Callable[[Any], Awaitable[Any]]
    result: Literal["record", "keep", "records"]
    ordered: bool = True
    capacity: int = 100  # as Flink's AsyncDataStream examples
    timeout_ms: int | None = None
    retry: Retry | None = None
    kind = OperatorKind.MAP_ASYNC
    stateful = True  # what is in flight belongs to a checkpoint

    def access(self) -> Access:
        """Return that it works beside the engine's loop."""
        return Access.EDGE

    def functions(self) -> tuple[Any, ...]:
        """Return the user's function."""
        return (self.function,)

    def options(self) -> Mapping[str, Any]:
        """Return everything else that was said."""
        return {
            "function": option_of(self.function),
            "result": self.result,
            "ordered": self.ordered,
            "capacity": self.capacity,
            "timeout_ms": self.timeout_ms,
            "attempts": self.retry.attempts if self.retry else 1,
        }
