"""``explain`` as JSON, for tools; the shape is stable, and ``version`` grows when it changes.

version       1
summary       job, mode, operators (how many), tasks (how many),
              lines: the tasks as text, [source+map] → key_by → [window+sink],
              loops: lists of task ids that run as one loop at parallelism 1
stream_graph  operators: as written, in order, each with
                  id, kind, uid, what (in words), access, functions (name, code),
                  states (name, kind, type), options, inputs (from, side_output),
                  side_outputs, chaining, defined_at
              edges: from, to, side_output, partitioning,
                  chained (within one task), fused (within one loop),
                  reason (why the chain ends; null within one)
job_graph     JobGraph.to_dict(): job, mode, fingerprint, state_fingerprint,
              code_fingerprint, guarantee (result, reason), tasks (id, name, operators), and
              edges (from, to, side_output, partitioning, fused, reason) by operator ids
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from enum import Enum
from typing import Any  # plain values of any kind, as JSON has them

from millstream.core.job_graph import JobGraph, Partitioning
from millstream.graph.explain.wording import loops, task_lines, what
from millstream.graph.stream_graph import StreamGraph, StreamNode

VERSION = 1


def to_json(stream_graph: StreamGraph, job_graph: JobGraph) -> str:
    """Return both graphs as JSON, indented."""
    return json.dumps(to_data(stream_graph, job_graph), indent=2, allow_nan=False)


def to_data(stream_graph: StreamGraph, job_graph: JobGraph) -> dict[str, Any]:
    """Return both graphs as plain values; the file's docstring has the shape."""
    nodes = list(stream_graph.nodes())
    shown = {
        "version": VERSION,
        "summary": {
            "job": job_graph.job,
            "mode": job_graph.mode.value,
            "operators": len(nodes),
            "tasks": len(job_graph.vertices),
            "lines": task_lines(job_graph),
            "loops": [[vertex.id for vertex in loop] for loop in loops(job_graph)],
        },
        "stream_graph": {
            "operators": [_operator(node) for node in nodes],
            "edges": _edges(nodes, job_graph),
        },
        "job_graph": job_graph.to_dict(),
    }
    plain: dict[str, Any] = _plain(shown)
    return plain


def _operator(node: StreamNode) -> dict[str, Any]:
    spec = node.spec
    return {
        "id": spec.id,
        "kind": spec.kind.value,
        "uid": spec.uid,
        "what": what(spec),
        "access": spec.access.value,
        "functions": [{"name": ref.name, "code": ref.code} for ref in spec.functions],
        "states": [{"name": s.name, "kind": s.kind, "type": s.type} for s in spec.states],
        "options": spec.options,
        "inputs": [{"from": edge.source, "side_output": edge.tag} for edge in node.inputs],
        "side_outputs": node.side_outputs,
        "chaining": node.chaining,
        "defined_at": spec.defined_at,
    }


def _edges(nodes: list[StreamNode], job_graph: JobGraph) -> list[dict[str, Any]]:
    between = {
        (edge.source_operator, edge.target_operator, edge.tag): edge for edge in job_graph.edges
    }
    edges = []
    for node in nodes:
        for stream in node.inputs:
            edge = between.get((stream.source, node.id, stream.tag))
            spread = edge.partitioning if edge else Partitioning.FORWARD
            edges.append(
                {
                    "from": stream.source,
                    "to": node.id,
                    "side_output": stream.tag,
                    "partitioning": spread.value,
                    "chained": edge is None,
                    "fused": edge is None or edge.fused,
                    "reason": edge.reason if edge else None,
                }
            )
    return edges


def _plain(value: Any) -> Any:
    """Return ``value`` as JSON can hold it; what is no plain value by its text."""
    if isinstance(value, Enum):
        return _plain(value.value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, set | frozenset):
        return sorted(map(str, value))
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return str(value)
