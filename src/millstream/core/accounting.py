"""The conservation law: what each operator and edge counted, and whether it adds up.

For each operator ``in + created = out + filtered + absorbed``; for each edge what one end sent is
what the other received, counted independently, but for what was dropped by a declared overflow
strategy or thrown away by a cancel.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OperatorCounts:
    """What one operator did with its records.

    Attributes:
        id: the operator's id.
        records_in: taken from upstream.
        records_out: handed on (for a sink: to the outside).
        filtered: left out on purpose.
        created: emitted beyond one per record (flat_map, final results).
        absorbed: kept without emitting (an aggregate that emits at the end).
    """

    id: str
    records_in: int = 0
    records_out: int = 0
    filtered: int = 0
    created: int = 0
    absorbed: int = 0

    @property
    def difference(self) -> int:
        """Return how many records came in and are not accounted for."""
        return self.records_in + self.created - self.records_out - self.filtered - self.absorbed


@dataclass(frozen=True, slots=True)
class EdgeCounts:
    """What the two ends of an edge counted, each for itself.

    Attributes:
        name: ``from -> to``.
        sent: counted where records enter the edge.
        received: counted where they leave it.
        dropped: given up by an overflow strategy.
        discarded: thrown away because the run was cancelled, was drained, or failed.
    """

    name: str
    sent: int = 0
    received: int = 0
    dropped: int = 0
    discarded: int = 0

    @property
    def difference(self) -> int:
        """Return how many records went in and are not accounted for."""
        return self.sent - self.received - self.dropped - self.discarded


@dataclass(frozen=True, slots=True)
class TaskTimes:
    """How a task spent its life, in seconds; busy + backpressured + idle is its lifetime."""

    task: str
    busy_s: float
    backpressured_s: float
    idle_s: float


@dataclass(frozen=True, slots=True)
class Account:
    """All counts of a run."""

    operators: tuple[OperatorCounts, ...] = ()
    edges: tuple[EdgeCounts, ...] = ()
    tasks: tuple[TaskTimes, ...] = ()

    def violations(self) -> Iterator[str]:
        """Yield a sentence for each count that does not add up."""
        for operator in self.operators:
            if operator.difference:
                yield (
                    f"operator {operator.id!r}: {operator.records_in:,} in + "
                    f"{operator.created:,} created is not {operator.records_out:,} out + "
                    f"{operator.filtered:,} filtered + {operator.absorbed:,} absorbed "
                    f"({_difference(operator.difference)})"
                )
        for edge in self.edges:
            if edge.difference:
                yield (
                    f"edge {edge.name}: {edge.sent:,} sent is not {edge.received:,} received + "
                    f"{edge.dropped:,} dropped + {edge.discarded:,} discarded "
                    f"({_difference(edge.difference)})"
                )

    def operator(self, operator_id: str) -> OperatorCounts:
        """Return the counts of one operator.

        Raises:
            KeyError: there is none of that id.
        """
        return {counts.id: counts for counts in self.operators}[operator_id]

    def edge(self, name: str) -> EdgeCounts:
        """Return the counts of one edge, named ``from -> to``.

        Raises:
            KeyError: there is none of that name.
        """
        return {counts.name: counts for counts in self.edges}[name]


def _difference(records: int) -> str:
    return f"{records:,} missing" if records > 0 else f"{-records:,} too many"
