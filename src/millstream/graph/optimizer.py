"""The optimizer: chains the operators of a StreamGraph into the tasks of a JobGraph."""

from __future__ import annotations

from millstream.core.job_graph import (
    JobEdge,
    JobGraph,
    JobVertex,
    OperatorKind,
    Partitioning,
)
from millstream.graph.delivery import end_to_end
from millstream.graph.stream_graph import StreamEdge, StreamGraph, StreamNode


def optimize(graph: StreamGraph) -> JobGraph:
    """Return the physical graph: one vertex per chain, one edge per stream between chains.

    An operator joins the chain of its input unless one of the reasons of ``chain_break`` holds.
    At parallelism 1 a ``key_by`` moves no record, so the engine may run the tasks around it as
    one loop: those edges are marked fused.
    """
    heads: dict[str, str] = {}  # operator -> the first operator of its chain
    chains: dict[str, list[StreamNode]] = {}
    reasons: dict[tuple[str, StreamEdge], str] = {}
    for node in graph.nodes():
        broken = {edge: chain_break(graph, node, edge) for edge in node.inputs}
        joined = [edge for edge, reason in broken.items() if reason is None]
        if joined:
            heads[node.id] = heads[joined[0].source]
        else:
            heads[node.id] = node.id
        chains.setdefault(heads[node.id], []).append(node)
        reasons.update({(node.id, edge): reason for edge, reason in broken.items() if reason})
    vertices = tuple(
        JobVertex(head, tuple(node.spec for node in chain)) for head, chain in chains.items()
    )
    edges = tuple(
        JobEdge(
            source=heads[edge.source],
            source_operator=edge.source,
            target=heads[node.id],
            target_operator=node.id,
            reason=reasons[node.id, edge],
            tag=edge.tag,
            partitioning=(
                Partitioning.HASH
                if graph.node(edge.source).definition.kind is OperatorKind.KEY_BY
                else Partitioning.FORWARD
            ),
            fused=_is_fused(graph, node, edge),
        )
        for node in graph.nodes()
        for edge in node.inputs
        if (node.id, edge) in reasons
    )
    return JobGraph(graph.job, graph.mode, vertices, edges, *end_to_end(graph))


def chain_break(graph: StreamGraph, node: StreamNode, edge: StreamEdge) -> str | None:
    """Return why ``node`` cannot join the chain of its input, or None if it can."""
    source = graph.node(edge.source)
    kind = node.definition.kind
    if kind is OperatorKind.KEY_BY:
        return "key_by repartitions: records of one key must meet in one place"
    if source.definition.kind is OperatorKind.KEY_BY:
        return "behind a key_by a new partition begins"
    if kind is OperatorKind.UNION or len(node.inputs) > 1:
        return f"{kind} merges several inputs"
    if kind is OperatorKind.WINDOW:
        return "a window begins: it emits by time, not by record"
    if kind is OperatorKind.MAP_ASYNC:
        return "map_async waits beside the stream"
    if edge.tag is not None:
        return f"side output {edge.tag!r} leaves the chain"
    if not node.chaining:
        return f"chaining is disabled on {node.id!r}"
    if not source.chaining:
        return f"chaining is disabled on {source.id!r}"
    if len(graph.consumers(source.id)) > 1:
        return f"{source.id!r} feeds {len(graph.consumers(source.id))} operators"
    return None


def _is_fused(graph: StreamGraph, node: StreamNode, edge: StreamEdge) -> bool:
    """Return whether an edge into or out of a key_by can be run within one loop."""
    source = graph.node(edge.source)
    around_key_by = OperatorKind.KEY_BY in (node.definition.kind, source.definition.kind)
    return (
        around_key_by
        and edge.tag is None
        and len(node.inputs) == 1
        and node.chaining
        and source.chaining
        and node.definition.kind not in (OperatorKind.UNION, OperatorKind.MAP_ASYNC)
        and len(graph.consumers(source.id)) == 1
    )
