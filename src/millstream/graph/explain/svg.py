"""``explain`` as a drawing: one self-contained SVG, readable on light and on dark."""

from __future__ import annotations

from html import escape

from millstream.core.job_graph import Access, JobGraph
from millstream.graph.explain.layout import layout
from millstream.graph.explain.svg_graph import STYLES, boxes_and_arrows, draw
from millstream.graph.explain.svg_text import (
    PLAIN,
    SMALL,
    STYLE,
    number,
    text_element,
    text_width,
    wrap,
)
from millstream.graph.explain.wording import (
    NO_UID,
    RUNS,
    RUNS_MEANING,
    counts,
    fingerprints,
    printable,
    task_lines,
)
from millstream.graph.stream_graph import StreamGraph

# All in px.
MARGIN = 28.0
LEAST_WIDTH = 620.0  # so that the words above and below a small graph fit
LINE = 20.0


def to_svg(stream_graph: StreamGraph, job_graph: JobGraph) -> str:
    """Return the tasks as boxes with their operators, the edges as arrows between them."""
    placed = layout(*boxes_and_arrows(job_graph))
    room = max(placed.width, LEAST_WIDTH)
    head, head_height = _head(job_graph, room)
    foot, foot_height = _foot(job_graph, room)
    graph_top = MARGIN + head_height + MARGIN
    foot_top = graph_top + placed.height + 1.5 * MARGIN
    width, height = number(room + 2 * MARGIN), number(foot_top + foot_height + MARGIN)
    title = escape(printable(f"Job {job_graph.job}: {counts(job_graph)}"))
    lines = [
        '<svg xmlns="http://www.w3.org/2000/svg" class="ms-graph" role="img" '
        f'aria-labelledby="ms-title ms-desc" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}">',
        f'<title id="ms-title">{title}</title>',
        f'<desc id="ms-desc">{escape("; ".join(task_lines(job_graph)))}</desc>',
        f"<style>{STYLE}</style>",
        '<defs><marker id="ms-arrow" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="6" '
        'markerHeight="6" orient="auto"><path class="ms-tip" d="M0 0.5 9.5 5 0 9.5z"/></marker>'
        "</defs>",
        f'<rect class="ms-page" width="{width}" height="{height}"/>',
        *_group(MARGIN, MARGIN, head),
        *_group(MARGIN, graph_top, draw(job_graph, placed)),
        *_group(MARGIN, foot_top, foot),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _group(x: float, y: float, lines: list[str]) -> list[str]:
    return [f'<g transform="translate({number(x)} {number(y)})">', *lines, "</g>"]


def _head(job_graph: JobGraph, room: float) -> tuple[list[str], float]:
    """Return the title, the size and the guarantee, and how high they are."""
    delivery = f"delivery {job_graph.guarantee}: {printable(job_graph.guarantee_reason)}"
    facts = [f"{job_graph.mode}, {counts(job_graph)}", *wrap(delivery, PLAIN, room)]
    lines = [text_element("title", (0, 18), job_graph.job, room)]
    for index, fact in enumerate(facts):
        lines.append(text_element("plain", (0, 42 + index * LINE), fact, room))
    return lines, 26 + len(facts) * LINE


def _foot(job_graph: JobGraph, room: float) -> tuple[list[str], float]:
    """Return the legend and the fingerprints, and how high they are."""
    used = {spec.access for spec in job_graph.operators()}
    x, y = 0.0, 0.0
    lines = []
    for access in [each for each in Access if each in used]:
        words = f"{RUNS[access]}: {RUNS_MEANING[access]}"
        width = 12 + text_width(words, SMALL) + 24
        if x and x + width > room:
            x, y = 0.0, y + LINE
        lines.append(
            f'<rect class="ms-{STYLES[access]}" x="{number(x)}" y="{number(y + 1)}" width="4" '
            'height="12" rx="2"/>'
        )
        lines.append(text_element("small", (x + 12, y + 11), words, room - x))
        x += width
    facts = [f"{name} {digest} ({text})" for name, digest, text in fingerprints(job_graph)]
    if any(edge.fused for edge in job_graph.edges):
        facts.insert(0, "dashed: fused, both tasks run as one loop at parallelism 1")
    if not all(spec.uid for spec in job_graph.operators()):
        facts.insert(0, f"italic: {NO_UID}")
    for fact in facts:
        y += LINE
        lines.append(text_element("small", (0, y + 11), fact, room))
    return lines, y + LINE
