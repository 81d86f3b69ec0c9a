"""``explain`` as SVG: well-formed whatever the names, complete, readable on light and dark."""

import xml.etree.ElementTree as ET

import pytest
from hypothesis import given

from millstream.core.job_graph import JobMode, StateSpec
from millstream.graph.explain import explain
from millstream.graph.explain.layout import Point
from millstream.graph.explain.svg_graph import path
from millstream.graph.explain.svg_text import shorten, text_width, wrap
from millstream.graph.optimizer import optimize
from millstream.graph.stream_graph import StreamGraph
from tests.unit.graph.example_graphs import (
    NASTY,
    Window,
    after,
    architecture_example,
    one_of_every_sort,
    source,
    stream_graphs,
)

SVG = "{http://www.w3.org/2000/svg}"


def svg_of(graph: StreamGraph) -> ET.Element:
    return ET.fromstring(explain(graph, optimize(graph), "svg"))  # noqa: S314  # our own text


def of_class(root: ET.Element, name: str) -> list[ET.Element]:
    return [each for each in root.iter() if name in each.get("class", "").split()]


def words(root: ET.Element, name: str) -> list[str]:
    """Return the texts of a class, as drawn: without tool tips."""
    return [
        "".join([each.text or "", *(tip.tail or "" for tip in each)])
        for each in of_class(root, name)
    ]


def test_the_architectures_example() -> None:
    root = svg_of(architecture_example())
    assert root.find(f"{SVG}title") is not None
    assert root.findtext(f"{SVG}title") == "Job revenue: 6 operators, 3 tasks"
    assert root.findtext(f"{SVG}desc") == "[source+map+filter] → key_by → [window+sink]"
    assert words(root, "ms-title") == ["revenue"]
    assert words(root, "ms-name") == ["source", "map", "filter", "key_by", "window", "sink"]
    assert 'col("amount") > 0' in words(root, "ms-code")
    assert "state total: reducing int" in words(root, "ms-code")
    assert len(of_class(root, "ms-box")) == 3
    assert len(of_class(root, "ms-fused")) == len(of_class(root, "ms-edge")) == 2
    assert "hash" in words(root, "ms-small")


def test_it_is_accessible_and_readable_on_light_and_dark() -> None:
    root = svg_of(architecture_example())
    assert root.get("role") == "img"
    ids = {each.get("id") for each in root.iter()}
    assert set(root.get("aria-labelledby", "").split()) <= ids
    style = root.findtext(f"{SVG}style", "")
    assert "prefers-color-scheme: dark" in style
    assert "system-ui" in style


def test_it_needs_nothing_from_outside() -> None:
    graph = architecture_example()
    text = explain(graph, optimize(graph), "svg").replace('xmlns="http://www.w3.org/2000/svg"', "")
    for part in ("http", "@import", "<image", "<script", "href"):
        assert part not in text


def test_side_outputs_are_labelled_and_only_fused_edges_are_dashed() -> None:
    root = svg_of(one_of_every_sort())
    small = words(root, "ms-small")
    assert {"big", "small", "late", "hash"} <= set(small)
    assert len(of_class(root, "ms-edge")) == 7
    assert len(of_class(root, "ms-fused")) == 2
    assert words(root, "ms-generated") == ["map-1", "map_batches-1", "key_by-1"]


def test_why_a_chain_ends_is_the_tool_tip_of_its_edge() -> None:
    tips = [
        each.findtext(f"{SVG}title") for each in of_class(svg_of(one_of_every_sort()), "ms-edge")
    ]
    assert "totals (late) → late_results: forward; side output 'late' leaves the chain" in tips
    assert "key_by-1 → totals: hash, fused; behind a key_by a new partition begins" in tips


def test_long_name_is_cut_with_the_whole_as_tool_tip() -> None:
    graph = StreamGraph("job", JobMode.STREAMING)
    long = "orders_" * 20
    graph.add(source(), uid=long)
    (name,) = of_class(svg_of(graph), "ms-name")
    assert name.findtext(f"{SVG}title") == long
    (shown,) = words(svg_of(graph), "ms-name")
    assert shown.endswith("…")
    assert long.startswith(shown[:-1])


def test_names_are_escaped() -> None:
    graph = StreamGraph('<b>&"', JobMode.STREAMING)
    graph.add(source(), uid="</svg>")
    states = (StateSpec("<s>", "value", "'A & B'"),)
    graph.add(Window(states=states), after("</svg>"), uid="\x00\ud800\ufffe")
    root = svg_of(graph)
    assert words(root, "ms-title") == ['<b>&"']
    assert words(root, "ms-name") == ["</svg>", "\\x00\\ud800\\ufffe"]
    assert "state <s>: value 'A & B'" in words(root, "ms-code")


@given(stream_graphs(NASTY))
def test_any_graph_is_well_formed_with_a_box_per_task_and_a_row_per_operator(
    graph: StreamGraph,
) -> None:
    root, job_graph = svg_of(graph), optimize(graph)
    assert len(of_class(root, "ms-box")) == len(job_graph.vertices)
    assert len(of_class(root, "ms-name")) == len(list(graph.nodes()))
    assert len(of_class(root, "ms-edge")) == len(job_graph.edges)


def test_path_is_straight_along_a_row_and_curved_between() -> None:
    points = (Point(0, 5), Point(10, 5), Point(30, 25))
    assert path(points) == "M0 5H10C20 5 20 25 30 25"


@pytest.mark.parametrize(
    "text", ["", "a", "a long text, in words", "订单订单订单订单", "WWWWWWWWWW"]
)
@pytest.mark.parametrize("room", [20.0, 60.0, 400.0])
def test_shortened_text_fits(text: str, room: float) -> None:
    short = shorten(text, 13, room)
    assert text_width(short, 13) <= room
    assert short == text or short.endswith("…")


def test_wrapped_text_keeps_its_words() -> None:
    text = "every sink commits with the checkpoint"
    lines = wrap(text, 13, 120)
    assert " ".join(lines) == text
    assert len(lines) > 1
    assert all(text_width(line, 13) <= 120 for line in lines)
