"""Shows a job's two graphs, as text, Mermaid, JSON and SVG."""

from millstream.graph.explain.formats import explain

__all__ = ["explain"]
