"""What a job guarantees end to end: the least that any of its sources and sinks gives."""

from __future__ import annotations

from millstream.core.job_graph import Guarantee
from millstream.graph.stream_graph import StreamGraph

_ALL = "every source goes on from its position, every sink shows only what a checkpoint names"


def end_to_end(graph: StreamGraph) -> tuple[Guarantee, str]:
    """Return the guarantee of a job that runs in a folder, and what it is that gives no more."""
    ends = [
        (f"{node.definition.kind} {node.id!r}", delivery)
        for node in graph.nodes()
        if (delivery := node.definition.delivery()) is not None
    ]
    order = list(Guarantee)
    least = min((each.guarantee for _, each in ends), key=order.index, default=order[-1])
    if least is Guarantee.EXACTLY_ONCE:
        return least, _ALL
    return least, "; ".join(f"{end} {each.reason}" for end, each in ends if each.guarantee is least)
