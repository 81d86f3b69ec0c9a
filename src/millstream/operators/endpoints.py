"""Sources and sinks as operators of the graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from millstream.core.delivery import Delivery, sink_delivery, source_delivery
from millstream.core.job_graph import Access, OperatorKind
from millstream.core.source import AnySource, OverflowStrategy
from millstream.core.two_phase import AnySinkForm
from millstream.operators.definition import OperatorDefinition


@dataclass(frozen=True, slots=True, eq=False)
class SourceOperator(OperatorDefinition):
    """Where a stream begins.

    Attributes:
        source: the source; each run works on a shallow copy.
        overflow: what a source that cannot be slowed does when nobody asks.
        buffer_size: records held for such a source.
    """

    source: AnySource
    overflow: OverflowStrategy | None = None
    buffer_size: int = 0
    kind = OperatorKind.SOURCE

    def access(self) -> Access:
        """Return that it works at the edge of the engine."""
        return Access.EDGE

    def functions(self) -> tuple[Any, ...]:
        """Return the source's class or its generator function."""
        return (getattr(self.source, "function", type(self.source)),)

    def options(self) -> Mapping[str, Any]:
        """Return the source's own description."""
        push = (
            {"overflow": self.overflow.value, "buffer_size": self.buffer_size}
            if (self.overflow)
            else {}
        )
        return {
            **self.source.describe(),
            "boundedness": self.source.boundedness.value,
            **push,
        }

    def delivery(self) -> Delivery:
        """Return whether the source can go on from a position."""
        return source_delivery(self.source, self.overflow)


@dataclass(frozen=True, slots=True, eq=False)
class SinkOperator(OperatorDefinition):
    """Where a stream ends; each run works on a shallow copy of the sink."""

    sink: AnySinkForm
    kind = OperatorKind.SINK

    def access(self) -> Access:
        """Return that it works at the edge of the engine."""
        return Access.EDGE

    def functions(self) -> tuple[Any, ...]:
        """Return the sink's class or its function."""
        return (getattr(self.sink, "function", type(self.sink)),)

    def options(self) -> Mapping[str, Any]:
        """Return the sink's own description."""
        return dict(self.sink.describe())

    def delivery(self) -> Delivery:
        """Return whether the sink shows a record once."""
        return sink_delivery(self.sink)


@dataclass(frozen=True, slots=True, eq=False)
class Union(OperatorDefinition):
    """Merge several streams into one; the records of each keep their order."""

    kind = OperatorKind.UNION

    def access(self) -> Access:
        """Return that it costs no call."""
        return Access.BATCH
