"""The formats a graph can be shown in, by name."""

from __future__ import annotations

from collections.abc import Callable

from millstream.core.errors import ConfigError
from millstream.core.job_graph import JobGraph
from millstream.graph.explain.data import to_json
from millstream.graph.explain.mermaid import to_mermaid
from millstream.graph.explain.svg import to_svg
from millstream.graph.explain.text import to_text
from millstream.graph.stream_graph import StreamGraph

FORMATS: dict[str, Callable[[StreamGraph, JobGraph], str]] = {
    "text": to_text,
    "mermaid": to_mermaid,
    "json": to_json,
    "svg": to_svg,
}


def explain(stream_graph: StreamGraph, job_graph: JobGraph, format: str = "text") -> str:
    """Return what the user wrote, what will run, and why it differs; nothing is run for it.

    Each format tells the same: the operators with their functions, inputs and states; the tasks
    they are chained into and why each chain ends; how every edge spreads records, and which are
    fused; both fingerprints; the delivery guarantee with its reason.

    Args:
        stream_graph: what the user wrote.
        job_graph: what ``optimize`` made of it.
        format: ``text`` for a terminal of 100 columns, ``mermaid``, ``json`` or ``svg``.

    Raises:
        ConfigError: the format is none of these.
    """
    if format not in FORMATS:
        allowed = ", ".join(map(repr, FORMATS))
        raise ConfigError(f"explain: unknown format {format!r}; choose one of {allowed}")
    return FORMATS[format](stream_graph, job_graph)
