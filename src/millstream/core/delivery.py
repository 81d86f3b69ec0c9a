"""How often a record takes effect, as far as one source or one sink goes."""

from __future__ import annotations

from dataclasses import dataclass

from millstream.core.job_graph import Guarantee
from millstream.core.sink import AsyncSink, Sink
from millstream.core.source import LOSSY, AnySource, OverflowStrategy, Source
from millstream.core.two_phase import AnySinkForm


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a source or a sink gives in a job that makes checkpoints.

    Attributes:
        guarantee: how often each record takes effect.
        reason: why, to be read behind its name.
    """

    guarantee: Guarantee
    reason: str


def source_delivery(source: AnySource, overflow: OverflowStrategy | None) -> Delivery:
    """Return what a source gives: whether it can go on from where a checkpoint has it."""
    if overflow in LOSSY:
        return Delivery(Guarantee.NONE, f"drops what comes too fast (overflow={overflow.value!r})")
    if not isinstance(source, Source) or type(source).snapshot_state is not Source.snapshot_state:
        return Delivery(Guarantee.EXACTLY_ONCE, "goes on from its position")
    if source.can_be_slowed:
        return Delivery(
            Guarantee.AT_LEAST_ONCE, "has no snapshot_state, so it begins at its start each time"
        )
    return Delivery(
        Guarantee.NONE,
        "has no snapshot_state, so what is pushed to it while the job is down is lost",
    )


def sink_delivery(sink: AnySinkForm) -> Delivery:
    """Return what a sink gives: whether what it shows can be repeated by a restart."""
    if sink.guarantee is Guarantee.EXACTLY_ONCE:
        return Delivery(sink.guarantee, "shows only what a completed checkpoint names")
    if isinstance(sink, Sink | AsyncSink):
        why = "shows records as they come, and again those behind the last checkpoint"
    else:
        why = "says that it cannot be fenced"
    return Delivery(sink.guarantee, why)
