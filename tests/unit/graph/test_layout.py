"""The layered layout: nothing overlaps, no arrow runs through a box, and it is fast."""

import time
from collections.abc import Iterator, Sequence
from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.core.errors import GraphError
from millstream.graph.explain.layout import (
    Layout,
    LayoutEdge,
    LayoutNode,
    PlacedNode,
    Point,
    Route,
    Spacing,
    layout,
)

SPACING = Spacing()
STEPS = 16  # points looked at on each curve
SLACK = 0.01  # coordinates are rounded sums


def boxes(*ids: str, width: float = 100, height: float = 40) -> list[LayoutNode]:
    return [LayoutNode(each, width, height) for each in ids]


def arrows(*pairs: str) -> list[LayoutEdge]:
    """Return edges between boxes named by one letter: ``ab`` is a → b."""
    return [LayoutEdge(pair[0], pair[1]) for pair in pairs]


def places(placed: Layout) -> dict[str, PlacedNode]:
    return {node.id: node for node in placed.nodes}


def drawn(route: Route) -> Iterator[Point]:
    """Yield points on the line as it is to be drawn: Bézier curves that are level at both ends."""
    for one, other in pairwise(route.points):
        for step in range(STEPS + 1):
            t = step / STEPS
            s = 1 - t
            middle = (one.x + other.x) / 2
            x = s**3 * one.x + 3 * s * t * middle + t**3 * other.x
            y = (s**3 + 3 * s**2 * t) * one.y + (3 * s * t**2 + t**3) * other.y
            yield Point(x, y)


def strictly_inside(point: Point, box: PlacedNode) -> bool:
    return (
        box.x + SLACK < point.x < box.x + box.width - SLACK
        and box.y + SLACK < point.y < box.y + box.height - SLACK
    )


def overlap(one: PlacedNode, other: PlacedNode) -> bool:
    return (
        one.x + SLACK < other.x + other.width
        and other.x + SLACK < one.x + one.width
        and one.y + SLACK < other.y + other.height
        and other.y + SLACK < one.y + one.height
    )


def check(placed: Layout, nodes: Sequence[LayoutNode], edges: Sequence[LayoutEdge]) -> None:
    """Check all that the layout promises."""
    found = places(placed)
    assert [node.id for node in placed.nodes] == [node.id for node in nodes]
    assert [(n.width, n.height) for n in placed.nodes] == [(n.width, n.height) for n in nodes]
    assert [route.edge for route in placed.routes] == list(edges)
    assert not [pair for pair in combinations(placed.nodes, 2) if overlap(*pair)]
    for node in placed.nodes:
        assert node.x >= -SLACK
        assert node.y >= -SLACK
        assert node.x + node.width <= placed.width + SLACK
        assert node.y + node.height <= placed.height + SLACK
    for route in placed.routes:
        source, target = found[route.edge.source], found[route.edge.target]
        assert source.layer < target.layer
        first, last = route.points[0], route.points[-1]
        assert first.x == source.x + source.width
        assert source.y - SLACK <= first.y <= source.y + source.height + SLACK
        assert last.x == target.x
        assert target.y - SLACK <= last.y <= target.y + target.height + SLACK
        assert all(one.x < other.x for one, other in pairwise(route.points))
        touched = [b.id for p in drawn(route) for b in placed.nodes if strictly_inside(p, b)]
        assert not touched
    check_labels(placed)


def check_labels(placed: Layout) -> None:
    height = SPACING.label_height
    labels = [
        PlacedNode(
            f"label {number}",
            route.label.x - route.edge.label_width / 2,
            route.label.y - height / 2,
            route.edge.label_width,
            height,
            0,
        )
        for number, route in enumerate(placed.routes)
        if route.edge.label_width
    ]
    assert not [pair for pair in combinations([*labels, *placed.nodes], 2) if overlap(*pair)]
    assert all(-SLACK <= each.y <= placed.height - height + SLACK for each in labels)


def test_nothing_takes_no_room() -> None:
    assert layout([], []) == Layout((), (), 0.0, 0.0)


def test_one_box_is_all_there_is() -> None:
    placed = layout(boxes("a"), [])
    assert placed == Layout((PlacedNode("a", 0, 0, 100, 40, 0),), (), 100, 40)


def test_two_boxes_are_joined_by_a_straight_line() -> None:
    placed = layout(boxes("a", "b"), arrows("ab"))
    (route,) = placed.routes
    assert route.points == (Point(100, 20), Point(100 + SPACING.layer_gap, 20))
    assert placed.height == 40


def test_a_line_is_straight_from_end_to_end() -> None:
    placed = layout(boxes(*"abcdef"), arrows("ab", "bc", "cd", "de", "ef"))
    assert {node.y for node in placed.nodes} == {0.0}
    assert [node.layer for node in placed.nodes] == [0, 1, 2, 3, 4, 5]


def test_ports_are_level_rather_than_boxes() -> None:
    nodes = [LayoutNode("a", 100, 200), LayoutNode("b", 100, 60)]
    edges = [LayoutEdge("a", "b", source_port=180, target_port=30)]
    placed = layout(nodes, edges)
    assert {point.y for point in placed.routes[0].points} == {180.0}
    assert places(placed)["b"].y == 150


def test_a_diamond_is_symmetric() -> None:
    nodes, edges = boxes(*"abcd"), arrows("ab", "ac", "bd", "cd")
    placed = layout(nodes, edges)
    check(placed, nodes, edges)
    at = places(placed)
    assert [at[each].layer for each in "abcd"] == [0, 1, 1, 2]
    assert at["a"].y == at["d"].y == pytest.approx((at["b"].y + at["c"].y) / 2)


def test_a_long_arrow_goes_around_the_boxes_between() -> None:
    nodes, edges = boxes(*"abcd"), arrows("ab", "bc", "cd", "ad")
    placed = layout(nodes, edges)
    check(placed, nodes, edges)
    assert len(placed.routes[3].points) > 2


def test_order_avoids_a_crossing_that_can_be_avoided() -> None:
    nodes = boxes(*"abcd")
    at = places(layout(nodes, arrows("ad", "bc")))  # as two parts, so nothing crosses
    assert at["a"].y == at["d"].y
    at = places(layout(boxes(*"sabcdt"), arrows("sa", "sb", "ad", "bc", "ct", "dt")))
    assert (at["a"].y < at["b"].y) == (at["d"].y < at["c"].y)


def test_side_outputs_leave_in_the_order_of_their_ports() -> None:
    nodes = boxes(*"abc", height=100)
    edges = [LayoutEdge("a", "b", source_port=90), LayoutEdge("a", "c", source_port=10)]
    at = places(layout(nodes, edges))
    assert at["c"].y < at["b"].y


def test_arrows_into_one_box_enter_side_by_side() -> None:
    placed = layout(boxes(*"abcd"), arrows("ad", "bd", "cd"))
    assert [route.points[-1].y - placed.nodes[3].y for route in placed.routes] == [10, 20, 30]


def test_two_arrows_between_the_same_boxes_are_two_lines() -> None:
    nodes, edges = boxes(*"ab"), arrows("ab", "ab")
    placed = layout(nodes, edges)
    check(placed, nodes, edges)
    one, other = placed.routes
    assert one.points != other.points


def test_the_very_same_edge_may_be_given_twice() -> None:
    edge = LayoutEdge("a", "b")
    assert len(layout(boxes("a", "b"), [edge, edge]).routes) == 2


def test_parts_without_an_arrow_between_are_stacked_in_order() -> None:
    nodes, edges = boxes(*"abcde"), arrows("ac", "bd")
    placed = layout(nodes, edges)
    check(placed, nodes, edges)
    at = places(placed)
    assert at["a"].y == at["c"].y < at["b"].y == at["d"].y < at["e"].y


def test_label_has_room_before_the_next_column() -> None:
    edges = [LayoutEdge("a", "b", label_width=200)]
    placed = layout(boxes("a", "b"), edges)
    at = places(placed)
    assert at["b"].x - at["a"].x - 100 == 200 + 2 * SPACING.label_margin
    assert placed.routes[0].label == Point(100 + 100 + SPACING.label_margin, 20)


def test_labels_of_parallel_arrows_are_moved_apart() -> None:
    nodes = boxes("a", "b", height=30)
    edges = [LayoutEdge("a", "b", label_width=30) for _ in range(6)]
    placed = layout(nodes, edges)
    check(placed, nodes, edges)
    assert placed.height == 6 * SPACING.label_height


def test_cycle_is_refused() -> None:
    with pytest.raises(GraphError, match="cycle, at or before 'b'"):
        layout(boxes(*"abc"), arrows("ab", "bc", "cb"))


def test_sizes_may_differ() -> None:
    nodes = [LayoutNode(each, 40 + 35 * at, 200 - 30 * at) for at, each in enumerate("abcde")]
    edges = arrows("ab", "ac", "bd", "ad", "ce")
    check(layout(nodes, edges), nodes, edges)


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[LayoutNode], list[LayoutEdge]]:
    size = st.floats(10, 300, allow_nan=False)
    count = draw(st.integers(1, 16))
    nodes = [LayoutNode(str(number), draw(size), draw(size)) for number in range(count)]
    edges = []
    for _ in range(draw(st.integers(0, 2 * count)) if count > 1 else 0):
        target = draw(st.integers(1, count - 1))
        source = draw(st.integers(0, target - 1))
        port = draw(st.none() | st.floats(0, nodes[source].height))
        label = draw(st.sampled_from((0.0, 25.0, 120.0)))
        edges.append(LayoutEdge(str(source), str(target), port, None, label))
    return draw(st.permutations(nodes)), edges


@given(graphs())
def test_any_graph_is_laid_out_without_overlaps(
    graph: tuple[list[LayoutNode], list[LayoutEdge]],
) -> None:
    nodes, edges = graph
    placed = layout(nodes, edges)
    check(placed, nodes, edges)
    assert layout(nodes, edges) == placed


def test_two_hundred_boxes_take_well_under_a_second() -> None:
    nodes = boxes(*map(str, range(200)))
    edges = [LayoutEdge(str(number // 3), str(number)) for number in range(1, 200)]
    edges += [LayoutEdge(str(number), str(number + 7)) for number in range(0, 190, 2)]
    start = time.perf_counter()
    placed = layout(nodes, edges)
    assert time.perf_counter() - start < 1
    check(placed, nodes, edges)
