"""The StreamGraph: what may be added to it, and which graphs cannot run."""

from collections.abc import Callable
from typing import Any

import pytest

from millstream.core.errors import GraphError
from millstream.core.job_graph import JobMode
from millstream.graph.stream_graph import StreamEdge, StreamGraph
from millstream.operators.endpoints import Union
from millstream.operators.filter import Filter
from millstream.operators.map import Map
from millstream.operators.split import Split
from tests.unit.graph.example_graphs import (
    Window,
    after,
    architecture_example,
    one_of_every_sort,
    price,
    sink,
    source,
)


def empty() -> StreamGraph:
    return StreamGraph("job", JobMode.STREAMING)


def begun() -> StreamGraph:
    graph = empty()
    graph.add(source(), uid="in", defined_at="job.py:1")
    return graph


def test_maps_one_to_one_to_what_was_written() -> None:
    graph = architecture_example()
    assert [node.id for node in graph.nodes()] == [
        *("source", "map", "filter", "key_by", "window", "sink")
    ]
    assert graph.node("map").inputs == (StreamEdge("source"),)
    assert [node.id for node in graph.consumers("map")] == ["filter"]
    assert list(graph.definitions()) == [node.id for node in graph.nodes()]
    spec = graph.node("filter").spec
    assert (spec.uid, spec.defined_at) == ("filter", "revenue.py:12")


def test_stateless_operator_without_uid_has_a_display_name() -> None:
    graph = begun()
    assert graph.add(Map(price), after("in")) == "map-1"
    assert graph.add(Map(price), after("map-1")) == "map-2"
    assert graph.add(Filter(bool), after("map-2")) == "filter-1"
    assert graph.node("map-2").uid is None


def test_display_name_evades_a_uid_of_the_same_text() -> None:
    graph = begun()
    graph.add(Filter(bool), after("in"), uid="map-1")
    assert graph.add(Map(price), after("map-1")) == "map-2"


def test_uid_that_is_a_display_name_is_told_from_one_that_is_taken() -> None:
    graph = begun()
    graph.add(Map(price), after("in"), defined_at="job.py:2")
    with pytest.raises(GraphError, match=r"the display name of map at job\.py:2, which has no uid"):
        graph.add(Filter(bool), after("map-1"), uid="map-1", defined_at="job.py:3")


def test_uid_is_used_once() -> None:
    graph = begun()
    with pytest.raises(GraphError) as refused:
        graph.add(source(), uid="in", defined_at="job.py:9")
    for part in ("'in' is used twice", "source at job.py:1", "source at job.py:9"):
        assert part in str(refused.value)


@pytest.mark.parametrize(
    "add",
    [
        lambda graph: graph.add(source()),
        lambda graph: graph.add(sink(), after("in")),
        lambda graph: graph.add(Window(), after("in"), defined_at="job.py:7"),
    ],
)
def test_source_sink_and_stateful_operator_need_a_uid(add: Callable[[StreamGraph], str]) -> None:
    with pytest.raises(GraphError, match=r"(unknown place|job\.py:7) needs uid="):
        add(begun())


@pytest.mark.parametrize("uid", ["", "  ", 3, ("a", "b")])
def test_uid_is_a_text(uid: Any) -> None:
    with pytest.raises(GraphError, match="uid must be a non-empty string"):
        begun().add(Map(price), after("in"), uid=uid)


def test_disabling_chaining_changes_that_node_alone() -> None:
    graph = architecture_example()
    graph.disable_chaining("map")
    assert [node.id for node in graph.nodes() if not node.chaining] == ["map"]


def test_consumers_are_told_apart_by_output() -> None:
    graph = one_of_every_sort()
    assert [node.id for node in graph.consumers("totals")] == ["results"]
    assert [node.id for node in graph.consumers("totals", "late")] == ["late_results"]
    assert graph.consumers("by_size") == []


def test_whole_graphs_are_valid() -> None:
    architecture_example().validate()
    one_of_every_sort().validate()


def test_graph_without_source_or_sink_is_refused() -> None:
    with pytest.raises(GraphError, match=r"'job' has no source: begin with job\.source"):
        empty().validate()
    with pytest.raises(GraphError, match="'job' has no sink"):
        begun().validate()


def test_stream_that_leads_nowhere_is_refused() -> None:
    graph = architecture_example()
    graph.add(Map(price), after("source"), defined_at="revenue.py:20")
    with pytest.raises(
        GraphError, match=r"map 'map-2' at revenue\.py:20: its stream leads nowhere"
    ):
        graph.validate()


def test_side_output_that_leads_nowhere_is_refused() -> None:
    graph = begun()
    graph.add(Split(str, ("a", "b")), after("in"), uid="split", side_outputs=("a", "b"))
    graph.add(sink(), after(("split", "a")), uid="out")
    with pytest.raises(GraphError, match="split 'split' at : its side output 'b' leads nowhere"):
        graph.validate()


def test_split_has_no_main_output_that_could_lead_nowhere() -> None:
    graph = begun()
    graph.add(Split(str, ("a", "b")), after("in"), uid="split", side_outputs=("a", "b"))
    graph.add(Union(), after(("split", "a"), ("split", "b")), uid="all")
    graph.add(sink(), after("all"), uid="out")
    graph.validate()
