"""What the formats of ``explain`` say alike: counts, chains, and an operator in a few words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any  # an option's value is whatever JSON can hold

from millstream.core.job_graph import Access, JobEdge, JobGraph, JobVertex, OperatorSpec

RUNS: dict[Access, str] = {
    Access.FUNCTION: "call",
    Access.EXPRESSION: "expression",
    Access.BATCH: "chunk",
    Access.EDGE: "edge",
}
"""How an operator meets its records, in a word."""

RUNS_MEANING: dict[Access, str] = {
    Access.FUNCTION: "a Python call per record",
    Access.EXPRESSION: "per record, written into the loop: no call",
    Access.BATCH: "per chunk of records",
    Access.EDGE: "beside the engine's loop",
}

NO_UID = "no uid: a display name, which may change with the job"
_MAIN_OPTIONS = ("function", "condition", "selector", "key", "aggregates")


def counts(job_graph: JobGraph) -> str:
    """Return the number of operators and tasks: ``6 operators, 3 tasks``."""
    operators = sum(len(vertex.operators) for vertex in job_graph.vertices)
    return f"{_count(operators, 'operator')}, {_count(len(job_graph.vertices), 'task')}"


def fingerprints(job_graph: JobGraph) -> list[tuple[str, str, str]]:
    """Return each fingerprint's name, digest and meaning."""
    return [
        ("structure", job_graph.fingerprint, "operators, edges, keys, states"),
        ("state", job_graph.state_fingerprint, "what saved state must fit"),
        ("code", job_graph.code_fingerprint, "shown, but no bar to a resume"),
    ]


def task_name(vertex: JobVertex) -> str:
    """Return a chain as ``[source+map]``, and an operator alone as ``key_by``."""
    return printable(vertex.name if len(vertex.operators) > 1 else vertex.operators[0].id)


def task_lines(job_graph: JobGraph) -> list[str]:
    """Return the tasks as the architecture writes them: ``[source+map] → key_by → [window+sink]``.

    A graph that is not a line takes several, which together show every edge once.
    """
    leaving: dict[str, list[JobEdge]] = {vertex.id: [] for vertex in job_graph.vertices}
    for edge in job_graph.edges:
        leaving[edge.source].append(edge)
    entered = {edge.target for edge in job_graph.edges}
    names = {vertex.id: task_name(vertex) for vertex in job_graph.vertices}
    lines = []
    for vertex in job_graph.vertices:
        if not leaving[vertex.id] and vertex.id not in entered:
            lines.append(names[vertex.id])
        while leaving[vertex.id]:
            line, at = names[vertex.id], vertex.id
            while leaving[at]:
                edge = leaving[at].pop(0)
                at = edge.target
                line += f"{f' ({printable(edge.tag)})' if edge.tag else ''} → {names[at]}"
            lines.append(line)
    return lines


def loops(job_graph: JobGraph) -> list[list[JobVertex]]:
    """Return the groups of tasks that run as one loop at parallelism 1."""
    group = {vertex.id: [vertex] for vertex in job_graph.vertices}
    for edge in job_graph.edges:
        source, target = group[edge.source], group[edge.target]
        if edge.fused and source is not target:
            source += target
            group.update(dict.fromkeys((vertex.id for vertex in target), source))
    first = [vertices for vertex_id, vertices in group.items() if vertices[0].id == vertex_id]
    return [vertices for vertices in first if len(vertices) > 1]


def output(operator_id: str, tag: str | None) -> str:
    """Return an operator's output in words: its id, and the side output's tag if it is one."""
    return printable(operator_id if tag is None else f"{operator_id} ({tag})")


def spread(edge: JobEdge) -> str:
    """Return how an edge spreads records, and whether it is fused away."""
    return edge.partitioning.value + (", fused" if edge.fused else "")


def what(spec: OperatorSpec) -> str:
    """Return what an operator does: its function or expression first, then its other options."""
    options = dict(spec.options)
    names = [ref.name for ref in spec.functions]
    called = {name.partition(":")[2] for name in names}  # so connectors may describe themselves
    main = next((key for key in _MAIN_OPTIONS if key in options), None)
    words = []
    if main is not None and str(options[main]) not in called:
        words.append(_value(options.pop(main), names))
    elif names:
        words.append(function_name(names[0]))
    for key, value in options.items():
        if value is not None and str(value) not in called:
            words.append(f"{key}={_value(value, names)}")
    return printable(" ".join(words))


def function_name(name: str) -> str:
    """Return a function's name as its author knows it, without the module and what is around it.

    >>> function_name("jobs.revenue:parse"), function_name("__main__:build.<locals>.<lambda>")
    ('parse', 'lambda')
    """
    local = name.partition(":")[2].rpartition("<locals>.")[2]
    return "lambda" if local == "<lambda>" else local


def printable(text: str) -> str:
    r"""Return text in which every character can be shown, the others escaped.

    >>> print(printable("a\nb"))
    a\nb
    """
    if text.isprintable():
        return text
    return "".join(_escaped(character) for character in text)


def _escaped(character: str) -> str:
    if character.isprintable():
        return character
    return character.encode("unicode_escape").decode("ascii")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _value(value: Any, names: list[str]) -> str:
    if isinstance(value, str):
        return function_name(value) if value in names else value
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={each}" if key else str(each) for key, each in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return str(value)
