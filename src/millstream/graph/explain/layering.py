"""The first three steps of the layered layout: columns, the order in each, and heights.

A long edge is cut into one cell per column it passes, so that it has a place of its own between
the boxes there, and every step sees edges between neighbouring columns only.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise

from millstream.core.errors import GraphError

MAX_SWEEPS = 16  # orderings stop improving after about ten; a linear graph needs one
SWEEP_BUDGET = 60_000  # cells visited in all, so that a graph full of long edges stays fast
STRAIGHT = 8.0  # how much more a long edge wants to be straight than a short one (Gansner 1993)
PORT_SPAN = 0.9  # the ports of a box count as places between it and the next in the order
SMALL_PULL = 0.01  # keeps a cell without neighbours in place unless somebody needs the room


@dataclass(frozen=True, slots=True)
class LayoutNode:
    """A box to place."""

    id: str
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class LayoutEdge:
    """An arrow between two boxes; several may join the same two.

    Attributes:
        source: the id of the box it leaves, on the right.
        target: the id of the box it enters, on the left.
        source_port: how far below the box's top it leaves; None: spread over the side.
        target_port: how far below the box's top it enters; None: spread over the side.
        label_width: room to keep for its label; 0 if there is none.
    """

    source: str
    target: str
    source_port: float | None = None
    target_port: float | None = None
    label_width: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Link:
    """An edge, or a piece of one, between cells of neighbouring columns.

    Attributes:
        before: the cell it leaves, ``leaves`` below its middle.
        after: the cell it enters, ``enters`` below its middle.
        weight: how much it wants to be level.
    """

    before: Cell
    after: Cell
    leaves: float
    enters: float
    weight: float

    @property
    def place(self) -> float:
        """Return where it leaves, among the places of the column before."""
        share = self.leaves / self.before.height if self.leaves else 0.0
        return self.before.order + PORT_SPAN * share


@dataclass(slots=True, eq=False)
class Cell:
    """A box, or the piece of a long edge that passes one column.

    Attributes:
        layer: its column.
        width: as drawn; 0 for a piece of an edge.
        height: likewise.
        is_box: False for a piece of an edge.
        left: its links to the column before.
        right: its links to the next column.
        order: its place in its column.
        y: the height of its middle.
    """

    layer: int
    width: float = 0.0
    height: float = 0.0
    is_box: bool = False
    left: list[Link] = field(default_factory=list)
    right: list[Link] = field(default_factory=list)
    order: int = 0
    y: float = 0.0

    @property
    def top(self) -> float:
        """Return the height of its upper side."""
        return self.y - self.height / 2

    @property
    def bottom(self) -> float:
        """Return the height of its lower side."""
        return self.y + self.height / 2


def layer(
    nodes: Sequence[LayoutNode], edges: Sequence[LayoutEdge]
) -> tuple[list[list[Cell]], list[Cell], list[list[Cell]]]:
    """Put a connected graph into columns, ordered so that few edges cross.

    Returns:
        The cells of each column in order; the cell of each node; the cells of each edge.

    Raises:
        GraphError: the edges form a cycle.
    """
    depth = _depths(nodes, edges)
    boxes = {node.id: Cell(depth[node.id], node.width, node.height, True) for node in nodes}
    layers: list[list[Cell]] = [[] for _ in range(1 + max(depth.values()))]
    chains = []
    for edge in edges:
        source, target = boxes[edge.source], boxes[edge.target]
        pieces = [Cell(number) for number in range(source.layer + 1, target.layer)]
        chain = [source, *pieces, target]
        for before, after in pairwise(chain):
            link = _link(edge, before, after)
            before.right.append(link)
            after.left.append(link)
        chains.append(chain)
    _fill(layers, list(boxes.values()))
    _untangle(layers)
    return layers, list(boxes.values()), chains


def _link(edge: LayoutEdge, before: Cell, after: Cell) -> Link:
    leaves, enters = edge.source_port, edge.target_port
    return Link(
        before,
        after,
        leaves - before.height / 2 if before.is_box and leaves is not None else 0.0,
        enters - after.height / 2 if after.is_box and enters is not None else 0.0,
        1.0 if before.is_box or after.is_box else STRAIGHT,
    )


def _depths(nodes: Sequence[LayoutNode], edges: Sequence[LayoutEdge]) -> dict[str, int]:
    """Return for each node the length of the longest path that leads to it."""
    depth = {node.id: 0 for node in nodes}
    waiting = dict.fromkeys(depth, 0)
    targets: dict[str, list[str]] = {node.id: [] for node in nodes}
    for edge in edges:
        waiting[edge.target] += 1
        targets[edge.source].append(edge.target)
    ready = [node_id for node_id, count in waiting.items() if count == 0]
    for node_id in ready:  # grows while it is walked
        for target in targets[node_id]:
            depth[target] = max(depth[target], depth[node_id] + 1)
            waiting[target] -= 1
            if waiting[target] == 0:
                ready.append(target)
    if len(ready) < len(depth):
        stuck = next(node_id for node_id, count in waiting.items() if count)
        raise GraphError(f"the graph has a cycle, at or before {stuck!r}; only a DAG has layers")
    return depth


def _fill(layers: list[list[Cell]], boxes: list[Cell]) -> None:
    """Begin with the order of a depth-first walk, which is without crossings for a tree."""
    seen: set[int] = set()
    waiting = [cell for cell in reversed(boxes) if cell.layer == 0]
    while waiting:
        cell = waiting.pop()
        if id(cell) in seen:
            continue
        seen.add(id(cell))
        layers[cell.layer].append(cell)
        waiting.extend(link.after for link in reversed(cell.right))
    for cells in layers:
        _number(cells)


def _untangle(layers: list[list[Cell]]) -> None:
    """Sweep over the columns, moving each cell to the mean place of its neighbours."""
    best, fewest = [list(cells) for cells in layers], _crossings(layers)
    size = sum(map(len, layers))
    for sweep in range(min(MAX_SWEEPS, max(2, SWEEP_BUDGET // size))):
        if fewest == 0:
            break
        forward = sweep % 2 == 0
        for cells in layers[1:] if forward else layers[-2::-1]:
            cells.sort(key=_mean_left if forward else _mean_right)
            _number(cells)
        crossings = _crossings(layers)
        if crossings < fewest:
            best, fewest = [list(cells) for cells in layers], crossings
    for cells, ordered in zip(layers, best, strict=True):
        cells[:] = ordered
        _number(cells)


def _number(cells: list[Cell]) -> None:
    for number, cell in enumerate(cells):
        cell.order = number


def _mean_left(cell: Cell) -> float:
    if not cell.left:
        return cell.order
    return sum(link.place for link in cell.left) / len(cell.left)


def _mean_right(cell: Cell) -> float:
    if not cell.right:
        return cell.order
    return sum(link.after.order for link in cell.right) / len(cell.right)


def _crossings(layers: list[list[Cell]]) -> int:
    """Count the pairs of edges between neighbouring columns that cross."""
    total = 0
    for cells in layers[1:]:
        ends = sorted((link.place, cell.order) for cell in cells for link in cell.left)
        passed: list[int] = []
        for _, order in ends:
            total += len(passed) - bisect_right(passed, order)
            insort(passed, order)
    return total


def align(layers: list[list[Cell]], node_gap: float, edge_gap: float) -> None:
    """Set the heights: each cell near the mean of its neighbours, in order and never too close."""
    distances = [
        [
            (upper.height + lower.height) / 2
            + (node_gap if upper.is_box and lower.is_box else edge_gap)
            for upper, lower in pairwise(cells)
        ]
        for cells in layers
    ]
    for cells, between in zip(layers, distances, strict=True):
        for cell, y in zip(cells, accumulate(between, initial=-sum(between) / 2), strict=True):
            cell.y = y
    numbers = range(len(layers))
    for sides in ("left", "right", "left", "right", "both", "both", "both", "both"):
        for number in numbers if sides != "right" else reversed(numbers):
            pulls = [_pull(cell, sides) for cell in layers[number]]
            wanted, weights = [pull[0] for pull in pulls], [pull[1] for pull in pulls]
            ys = separate(wanted, weights, distances[number])
            for cell, y in zip(layers[number], ys, strict=True):
                cell.y = y


def _pull(cell: Cell, sides: str) -> tuple[float, float]:
    """Return where a cell's links would be level, and how strongly they pull it there."""
    pull = total = 0.0
    if sides != "right":
        for link in cell.left:
            pull += link.weight * (link.before.y + link.leaves - link.enters)
            total += link.weight
    if sides != "left":
        for link in cell.right:
            pull += link.weight * (link.after.y + link.enters - link.leaves)
            total += link.weight
    return (pull / total, total) if total else (cell.y, SMALL_PULL)


def separate(
    wanted: Sequence[float], weights: Sequence[float], distances: Sequence[float]
) -> list[float]:
    """Return the places nearest to ``wanted`` that keep the order and the distances between.

    Nearest means least weighted squares. Taking the distances off makes it an isotonic regression,
    which the pool-adjacent-violators algorithm solves exactly (Barlow et al. 1972).

    >>> separate([0, 0, 9], [1, 1, 1], [4, 4])
    [-2.0, 2.0, 9.0]
    """
    offsets = list(accumulate(distances, initial=0.0))
    pools: list[tuple[float, float, int]] = []  # mean, weight, how many
    for want, weight, offset in zip(wanted, weights, offsets, strict=True):
        mean, total, count = want - offset, weight, 1
        while pools and pools[-1][0] > mean:
            before, before_total, before_count = pools.pop()
            mean = (mean * total + before * before_total) / (total + before_total)
            total += before_total
            count += before_count
        pools.append((mean, total, count))
    means = [mean for mean, _, count in pools for _ in range(count)]
    return [mean + offset for mean, offset in zip(means, offsets, strict=True)]
