"""The layered layout: boxes and arrows with sizes in, coordinates out; it draws nothing.

``explain`` and the live graph of a web UI share it. It is a pure function, and the same input
gives the same output in every process. The method is that of Sugiyama, Tagawa and Toda, "Methods
for Visual Understanding of Hierarchical System Structures" (1981); ``layering`` has its first
three steps, this file turns the ordered layers into points.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from operator import attrgetter

from millstream.graph.explain.layering import (
    Cell,
    LayoutEdge,
    LayoutNode,
    align,
    layer,
    separate,
)

__all__ = [
    "Layout",
    "LayoutEdge",
    "LayoutNode",
    "PlacedNode",
    "Point",
    "Route",
    "Spacing",
    "layout",
]


@dataclass(frozen=True, slots=True)
class Spacing:
    """Distances, all in the caller's unit.

    Attributes:
        layer_gap: least width between two columns of boxes; labels and steep arrows widen it.
        node_gap: least height between two boxes of a column.
        edge_gap: least height between a long arrow and whatever it passes.
        label_height: height of a label.
        label_margin: room before and behind a label, an arrow's head included.
    """

    layer_gap: float = 64.0
    node_gap: float = 28.0
    edge_gap: float = 18.0
    label_height: float = 18.0
    label_margin: float = 22.0


@dataclass(frozen=True, slots=True)
class Point:
    """A place; x grows to the right, y downwards."""

    x: float
    y: float


@dataclass(frozen=True, slots=True)
class PlacedNode:
    """Where a box is: its upper left corner, and the column it stands in, from 0."""

    id: str
    x: float
    y: float
    width: float
    height: float
    layer: int


@dataclass(frozen=True, slots=True)
class Route:
    """Where an arrow runs.

    Attributes:
        edge: the arrow.
        points: from box to box, x growing. Two points of one y are joined by a straight line; two
            of different y, always at both sides of a gap between columns, by a curve that is
            horizontal at its ends and stays between them. So drawn, no arrow touches another box.
        label: the middle of its label; no two labels overlap.
    """

    edge: LayoutEdge
    points: tuple[Point, ...]
    label: Point


@dataclass(frozen=True, slots=True)
class Layout:
    """Everything placed; nodes and routes are in the order they were given, and start at (0, 0)."""

    nodes: tuple[PlacedNode, ...]
    routes: tuple[Route, ...]
    width: float
    height: float


@dataclass(slots=True)
class _Column:
    x: float
    width: float
    gap: float = 0.0  # to the next column

    @property
    def right(self) -> float:
        return self.x + self.width


@dataclass(slots=True)
class _Wire:
    """An edge on its way to a route: the cells it passes, and where it leaves and enters."""

    number: int  # of the edge, as it was given
    edge: LayoutEdge
    cells: list[Cell]
    start_y: float = 0.0
    end_y: float = 0.0
    label_y: float = 0.0

    def segments(self) -> Iterator[tuple[int, float, float]]:
        """Yield for each gap it crosses: the column before the gap, and y at its two sides."""
        ys = [self.start_y, *(cell.y for cell in self.cells[1:-1]), self.end_y]
        first = self.cells[0].layer
        yield from ((first + i, *pair) for i, pair in enumerate(pairwise(ys)))


@dataclass(slots=True)
class _Part:
    """A connected component, laid out by itself; edges with their numbers."""

    nodes: list[LayoutNode] = field(default_factory=list)
    edges: list[tuple[int, LayoutEdge]] = field(default_factory=list)
    cells: list[Cell] = field(default_factory=list)
    wires: list[_Wire] = field(default_factory=list)
    columns: list[_Column] = field(default_factory=list)
    top: float = 0.0
    bottom: float = 0.0


def layout(
    nodes: Sequence[LayoutNode], edges: Sequence[LayoutEdge], spacing: Spacing | None = None
) -> Layout:
    """Place boxes in columns from left to right, and route the arrows between them.

    Every arrow goes to a later column. Parts that no arrow connects are stacked, in the order of
    their first boxes.

    Raises:
        GraphError: the arrows form a cycle.
    """
    spacing = spacing or Spacing()
    placed: dict[str, PlacedNode] = {}
    routes: dict[int, Route] = {}
    width = height = 0.0
    for part in _parts(nodes, edges):
        _arrange(part, spacing)
        down = height + (spacing.node_gap if placed else 0.0) - part.top
        placed |= {node.id: node for node in _placed(part, down)}
        routes |= {wire.number: _route(wire, part.columns, down) for wire in part.wires}
        width = max(width, part.columns[-1].right)
        height = part.bottom + down
    return Layout(
        tuple(placed[node.id] for node in nodes),
        tuple(routes[number] for number in range(len(edges))),
        width,
        height,
    )


def _parts(nodes: Sequence[LayoutNode], edges: Sequence[LayoutEdge]) -> list[_Part]:
    root = {node.id: node.id for node in nodes}

    def find(node_id: str) -> str:
        while root[node_id] != node_id:
            root[node_id] = root[root[node_id]]
            node_id = root[node_id]
        return node_id

    for edge in edges:
        root[find(edge.target)] = find(edge.source)
    parts: dict[str, _Part] = {}
    for node in nodes:
        parts.setdefault(find(node.id), _Part()).nodes.append(node)
    for number, edge in enumerate(edges):
        parts[find(edge.source)].edges.append((number, edge))
    return list(parts.values())


def _arrange(part: _Part, spacing: Spacing) -> None:
    """Set where everything of a part is; its heights begin anywhere."""
    edges = [edge for _, edge in part.edges]
    layers, part.cells, chains = layer(part.nodes, edges)
    align(layers, spacing.node_gap, spacing.edge_gap)
    part.wires = [
        _Wire(number, edge, chain) for (number, edge), chain in zip(part.edges, chains, strict=True)
    ]
    _set_ports(part.wires)
    labelled = _set_labels(part.wires, spacing)
    part.columns = _columns(layers, part.wires, spacing)
    above = below = spacing.label_height / 2
    cells = [cell for column in layers for cell in column]
    part.top = min([cell.top for cell in cells] + [wire.label_y - above for wire in labelled])
    part.bottom = max([cell.bottom for cell in cells] + [wire.label_y + below for wire in labelled])


def _placed(part: _Part, down: float) -> Iterator[PlacedNode]:
    for node, cell in zip(part.nodes, part.cells, strict=True):
        x, y = part.columns[cell.layer].x, cell.top + down
        yield PlacedNode(node.id, x, y, node.width, node.height, cell.layer)


def _route(wire: _Wire, columns: list[_Column], down: float) -> Route:
    source = wire.cells[0]
    points = [_point(columns[source.layer].x + source.width, wire.start_y + down)]
    for column, start_y, end_y in wire.segments():
        points.append(_point(columns[column].right, start_y + down))
        points.append(_point(columns[column + 1].x, end_y + down))
    kept = [points[0]]
    for point, after in zip(points[1:], [*points[2:], None], strict=True):
        on_the_way = after is not None and kept[-1].y == point.y == after.y
        if not on_the_way and point != kept[-1]:
            kept.append(point)
    gap = columns[source.layer]
    return Route(wire.edge, tuple(kept), _point(gap.right + gap.gap / 2, wire.label_y + down))


def _point(x: float, y: float) -> Point:
    return Point(x, round(y, 3))  # so that what is level but for rounding is level


def _set_ports(wires: list[_Wire]) -> None:
    """Give each edge its ends: where it was told, else spread over the side without crossing."""
    leaving: dict[int, list[_Wire]] = {}
    entering: dict[int, list[_Wire]] = {}
    for wire in wires:
        leaving.setdefault(id(wire.cells[0]), []).append(wire)
        entering.setdefault(id(wire.cells[-1]), []).append(wire)
    for group in leaving.values():
        group.sort(key=lambda wire: wire.cells[1].y)
        for wire, share in zip(group, _shares(len(group)), strict=True):
            box, port = wire.cells[0], wire.edge.source_port
            wire.start_y = box.top + (share * box.height if port is None else port)
    for group in entering.values():
        # Two that come from one box are told apart by where they leave it.
        group.sort(key=lambda w: (w.cells[-2].y if len(w.cells) > 2 else w.start_y, w.start_y))  # noqa: PLR2004
        for wire, share in zip(group, _shares(len(group)), strict=True):
            box, port = wire.cells[-1], wire.edge.target_port
            wire.end_y = box.top + (share * box.height if port is None else port)


def _shares(count: int) -> list[float]:
    return [(number + 1) / (count + 1) for number in range(count)]


def _set_labels(wires: list[_Wire], spacing: Spacing) -> list[_Wire]:
    """Put each label into the first gap its edge crosses, on the line if there is room."""
    gaps: dict[int, list[_Wire]] = {}
    for wire in wires:
        column, start_y, end_y = next(wire.segments())
        wire.label_y = (start_y + end_y) / 2
        if wire.edge.label_width:
            gaps.setdefault(column, []).append(wire)
    for group in gaps.values():
        group.sort(key=attrgetter("label_y"))
        wanted = [wire.label_y for wire in group]
        distances = [spacing.label_height] * (len(group) - 1)
        for wire, y in zip(group, separate(wanted, [1.0] * len(group), distances), strict=True):
            wire.label_y = y
    return [wire for group in gaps.values() for wire in group]


def _columns(layers: list[list[Cell]], wires: list[_Wire], spacing: Spacing) -> list[_Column]:
    columns = [
        _Column(0.0, max(cell.width for cell in cells), spacing.layer_gap) for cells in layers
    ]
    for wire in wires:
        first = columns[wire.cells[0].layer]
        if wire.edge.label_width:
            first.gap = max(first.gap, wire.edge.label_width + 2 * spacing.label_margin)
        for column, start_y, end_y in wire.segments():
            # A steep curve in a narrow gap looks like a wall, so give it a quarter of its height.
            steep = min(abs(end_y - start_y) / 4, 2 * spacing.layer_gap)
            columns[column].gap = max(columns[column].gap, steep)
    for before, after in pairwise(columns):
        after.x = before.right + before.gap
    return columns
