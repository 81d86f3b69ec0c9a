"""The tasks of a JobGraph as boxes and its edges as arrows, in SVG."""

from __future__ import annotations

from html import escape
from itertools import pairwise

from millstream.core.job_graph import (
    Access,
    JobEdge,
    JobGraph,
    JobVertex,
    OperatorSpec,
    Partitioning,
)
from millstream.graph.explain.layout import (
    Layout,
    LayoutEdge,
    LayoutNode,
    PlacedNode,
    Point,
    Route,
)
from millstream.graph.explain.svg_text import NAME, SMALL, number, text_element, text_width
from millstream.graph.explain.wording import (
    NO_UID,
    RUNS,
    RUNS_MEANING,
    output,
    printable,
    spread,
    what,
)

# All in px.
BOX_WIDTHS = (200.0, 340.0)  # least and most
HEAD = 26.0  # the strip of a box that says which task it is
INSET = 16.0  # from a box's side to its text
LINE = 17.0
ROW_PADDING = 9.0
PORT_DISTANCE = 18.0  # between two arrows that enter one box
LABEL_HEIGHT, LABEL_PADDING = 18.0, 8.0

STYLES: dict[Access, str] = {
    Access.FUNCTION: "call",
    Access.EXPRESSION: "expression",
    Access.BATCH: "chunk",
    Access.EDGE: "outside",
}


def boxes_and_arrows(job_graph: JobGraph) -> tuple[list[LayoutNode], list[LayoutEdge]]:
    """Return what is to be laid out: a box per task, an arrow per edge, both in their order."""
    width = max([_width(spec) for spec in job_graph.operators()], default=BOX_WIDTHS[0])
    width = min(max(width, BOX_WIDTHS[0]), BOX_WIDTHS[1])
    entering: dict[str, int] = {}
    for edge in job_graph.edges:
        entering[edge.target] = entering.get(edge.target, 0) + 1
    boxes = [
        LayoutNode(
            vertex.id,
            width,
            max(_row_tops(vertex)[-1], PORT_DISTANCE * (1 + entering.get(vertex.id, 0))),
        )
        for vertex in job_graph.vertices
    ]
    vertices = {vertex.id: vertex for vertex in job_graph.vertices}
    arrows = [
        LayoutEdge(
            edge.source,
            edge.target,
            source_port=_port(vertices[edge.source], edge.source_operator),
            target_port=(
                _port(vertices[edge.target], edge.target_operator)
                if entering[edge.target] == 1
                else None
            ),
            label_width=_label_width(_label(edge)),
        )
        for edge in job_graph.edges
    ]
    return boxes, arrows


def draw(job_graph: JobGraph, placed: Layout) -> list[str]:
    """Return the elements of the drawing, arrows below boxes, labels on top."""
    routes = list(zip(job_graph.edges, placed.routes, strict=True))
    lines = [_arrow(edge, route) for edge, route in routes]
    for index, vertex in enumerate(job_graph.vertices):
        lines += _box(index + 1, vertex, placed.nodes[index])
    return lines + [_label_element(edge, route) for edge, route in routes if _label(edge)]


def path(points: tuple[Point, ...]) -> str:
    """Return a route as the data of an SVG path: straight along a row, curved between rows."""
    commands = [f"M{number(points[0].x)} {number(points[0].y)}"]
    for before, after in pairwise(points):
        if before.y == after.y:
            commands.append(f"H{number(after.x)}")
        else:
            middle = number((before.x + after.x) / 2)
            commands.append(
                f"C{middle} {number(before.y)} {middle} {number(after.y)} "
                f"{number(after.x)} {number(after.y)}"
            )
    return "".join(commands)


# -- boxes --------------------------------------------------------------------------------------


def _details(spec: OperatorSpec) -> list[str]:
    states = [f"state {each.name}: {each.kind} {each.type}" for each in spec.states]
    return [each for each in (what(spec), *states) if each]


def _kind(spec: OperatorSpec) -> str:
    return f"{spec.kind.value} · {RUNS[spec.access]}"


def _width(spec: OperatorSpec) -> float:
    """Return how wide a box the operator would like."""
    first = text_width(printable(spec.id), NAME) + 12 + text_width(_kind(spec), SMALL)
    rest = [text_width(printable(each), SMALL, code=True) for each in _details(spec)]
    return max(first, *rest) + 2 * INSET if rest else first + 2 * INSET


def _row_tops(vertex: JobVertex) -> list[float]:
    """Return where each operator's row begins below the box's top; last, where the box ends."""
    tops = [HEAD]
    for spec in vertex.operators:
        tops.append(tops[-1] + 2 * ROW_PADDING + LINE * (1 + len(_details(spec))))
    return tops


def _port(vertex: JobVertex, operator_id: str) -> float:
    """Return the middle of an operator's row below the box's top."""
    tops = _row_tops(vertex)
    at = [spec.id for spec in vertex.operators].index(operator_id)
    return (tops[at] + tops[at + 1]) / 2


def _box(index: int, vertex: JobVertex, place: PlacedNode) -> list[str]:
    chained = f"{len(vertex.operators)} operators chained" if len(vertex.operators) > 1 else ""
    size = f'width="{number(place.width)}" height="{number(place.height)}"'
    room = place.width - 2 * INSET
    lines = [
        f'<g transform="translate({number(place.x)} {number(place.y)})">',
        f'<rect class="ms-box" {size} rx="10"/>',
        text_element("small", (INSET, 18), f"task {index}", room),
        text_element("small", (place.width - INSET, 18), chained, room, at_end=True),
    ]
    for spec, top, bottom in zip(vertex.operators, *_spans(vertex), strict=True):
        lines += _row(spec, top, bottom, place.width)
    return [*lines, "</g>"]


def _spans(vertex: JobVertex) -> tuple[list[float], list[float]]:
    tops = _row_tops(vertex)
    return tops[:-1], tops[1:]


def _row(spec: OperatorSpec, top: float, bottom: float, width: float) -> list[str]:
    room = width - 2 * INSET
    kind = _kind(spec)
    base = top + ROW_PADDING + 13
    facts = [
        f"{spec.id}: {kind}",
        *([] if spec.uid else [NO_UID]),
        RUNS_MEANING[spec.access],
        *_details(spec),
        *([f"at {spec.defined_at}"] if spec.defined_at else []),
    ]
    tip = "\n".join(escape(printable(each)) for each in facts)
    lines = [
        f"<g><title>{tip}</title>",
        f'<path class="ms-line" d="M0 {number(top)}H{number(width)}"/>',
        f'<rect class="ms-{STYLES[spec.access]}" x="6" y="{number(top + ROW_PADDING)}" width="3" '
        f'height="{number(bottom - top - 2 * ROW_PADDING)}" rx="1.5"/>',
        text_element(
            "name" if spec.uid else "generated",
            (INSET, base),
            spec.id,
            room - text_width(kind, SMALL) - 12,
        ),
        text_element("small", (width - INSET, base), kind, room, at_end=True),
    ]
    for line, detail in enumerate(_details(spec), 1):
        lines.append(text_element("code", (INSET, base + line * LINE), detail, room))
    return [*lines, "</g>"]


# -- arrows -------------------------------------------------------------------------------------


def _label(edge: JobEdge) -> str:
    words = [] if edge.tag is None else [edge.tag]
    if edge.partitioning is not Partitioning.FORWARD:
        words.append(edge.partitioning.value)
    return printable(" · ".join(words))


def _label_width(label: str) -> float:
    return min(text_width(label, SMALL) + 2 * LABEL_PADDING, BOX_WIDTHS[0]) if label else 0.0


def _arrow(edge: JobEdge, route: Route) -> str:
    fused = " ms-fused" if edge.fused else ""
    return (
        f'<path class="ms-edge{fused}" d="{path(route.points)}" marker-end="url(#ms-arrow)">'
        f"<title>{_tip(edge)}</title></path>"
    )


def _tip(edge: JobEdge) -> str:
    ends = f"{output(edge.source_operator, edge.tag)} → {printable(edge.target_operator)}"
    return escape(f"{ends}: {spread(edge)}; {printable(edge.reason)}")


def _label_element(edge: JobEdge, route: Route) -> str:
    width, middle = _label_width(_label(edge)), route.label
    x, y = number(middle.x - width / 2), number(middle.y - LABEL_HEIGHT / 2)
    room = width - 2 * LABEL_PADDING + 1  # a pixel, as the widths are rounded sums
    return (
        f'<g transform="translate({x} {y})"><title>{_tip(edge)}</title>'
        f'<rect class="ms-label" width="{number(width)}" height="{number(LABEL_HEIGHT)}" rx="9"/>'
        f"{text_element('small', (LABEL_PADDING, 12.5), _label(edge), room)}</g>"
    )
