"""Collects what every part of a run has counted into one account."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from millstream.core.accounting import Account, EdgeCounts, OperatorCounts
from millstream.core.job_graph import OperatorKind
from millstream.engine.assembly import Assembly, Group
from millstream.engine.source_head import CollectHead, QueuedHead


def account_of(assembly: Assembly, *, cut_short: bool) -> Account:
    """Return the counts of all operators and edges.

    Args:
        assembly: the parts; not running any more, or all of them quiet.
        cut_short: the run was cancelled or failed, so records may have been thrown away.
    """
    counts: dict[str, OperatorCounts] = {}
    for group in assembly.groups:
        counts.update(_operators(group))
    edges = [*_source_edges(assembly), *_wires(assembly), *_fused_edges(assembly, counts)]
    if cut_short:
        edges = [replace(each, discarded=each.discarded + each.difference) for each in edges]
    return Account(
        operators=tuple(counts[spec.id] for spec in assembly.graph.operators()),
        edges=tuple(edges),
        tasks=tuple(task.times() for task in assembly.tasks()),
    )


def _operators(group: Group) -> dict[str, OperatorCounts]:
    counted: dict[str, OperatorCounts] = {}
    if group.async_task is not None:
        counted[group.first.id] = group.async_task.counts()
    if group.task is not None:
        if group.first.kind in (OperatorKind.SOURCE, OperatorKind.UNION):
            received = sum(inlet.received for inlet in group.task.inlets)
            skipped = group.task.chain.skipped
            counted[group.first.id] = OperatorCounts(
                group.first.id, received, group.task.taken - skipped, filtered=skipped
            )
        counted.update(group.task.chain.counts())
    if group.edge is not None and group.sink_driver is not None:
        uid = group.last.id
        counted[uid] = OperatorCounts(uid, group.edge.sent, group.sink_driver.taken)
    counts: dict[str, OperatorCounts] = {}
    passed = group.task.taken if group.task else 0
    for spec in group.operators:
        # A key_by that no loop needs to compute costs nothing and loses nothing.
        counts[spec.id] = counted.get(spec.id) or OperatorCounts(spec.id, passed, passed)
        passed = counts[spec.id].records_out
    return counts


def _source_edges(assembly: Assembly) -> Iterator[EdgeCounts]:
    """Yield what left the sources' threads against what the tasks received."""
    for group in assembly.groups:
        if group.source_driver is not None and group.task is not None:
            head = group.head
            yield EdgeCounts(
                f"{group.first.id} -> engine",
                group.source_driver.sent,
                group.task.inlets[0].received,
                head.dropped if isinstance(head, CollectHead) else 0,
                head.discarded if isinstance(head, QueuedHead) else 0,
            )


def _wires(assembly: Assembly) -> Iterator[EdgeCounts]:
    for wire in assembly.wires:
        yield EdgeCounts(wire.name, wire.sent(), wire.received())


def _fused_edges(assembly: Assembly, counts: Mapping[str, OperatorCounts]) -> Iterator[EdgeCounts]:
    """Yield the edges that exist only in the counters of the two operators beside them."""
    aside = {
        spec.id: group.task.chain.aside(spec.id)
        for group in assembly.groups
        if group.task is not None
        for spec in group.operators
    }
    for edge in assembly.graph.edges:
        if edge.fused:
            yield EdgeCounts(
                f"{edge.source_operator} -> {edge.target_operator}",
                counts[edge.source_operator].records_out - aside[edge.source_operator],
                counts[edge.target_operator].records_in,
            )
