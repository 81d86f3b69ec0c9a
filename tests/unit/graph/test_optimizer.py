"""The optimizer: which operators become one task, why a chain ends, what is fused."""

from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given

from millstream.core.expression import col
from millstream.core.job_graph import JobEdge, JobGraph, JobMode, Partitioning
from millstream.graph.optimizer import optimize
from millstream.graph.stream_graph import StreamGraph
from millstream.operators.endpoints import Union
from millstream.operators.filter import Filter
from millstream.operators.key_by import KeyBy
from millstream.operators.map import Map
from millstream.operators.split import Split
from tests.unit.graph.example_graphs import (
    TOTAL,
    MapAsync,
    Process,
    Window,
    after,
    architecture_example,
    one_of_every_sort,
    price,
    sink,
    source,
    stream_graphs,
)


def begun() -> StreamGraph:
    graph = StreamGraph("job", JobMode.STREAMING)
    graph.add(source(), uid="in")
    return graph


def tasks(graph: JobGraph) -> list[str]:
    return [vertex.name for vertex in graph.vertices]


def edge(graph: JobGraph, source_id: str, target_id: str) -> JobEdge:
    return next(
        each
        for each in graph.edges
        if (each.source_operator, each.target_operator) == (source_id, target_id)
    )


def test_the_architectures_example_is_six_operators_and_three_tasks() -> None:
    graph = optimize(architecture_example())
    assert len(list(graph.operators())) == 6
    assert tasks(graph) == ["[source+map+filter]", "[key_by]", "[window+sink]"]
    assert [(each.partitioning, each.fused) for each in graph.edges] == [
        (Partitioning.FORWARD, True),
        (Partitioning.HASH, True),
    ]


def with_key_by() -> StreamGraph:
    graph = begun()
    graph.add(KeyBy(("user",), ("user",)), after("in"), uid="next")
    return graph


def behind_key_by() -> StreamGraph:
    graph = with_key_by()
    graph.add(Process(states=(TOTAL,)), after("next"), uid="behind")
    return graph


def with_union() -> StreamGraph:
    graph = begun()
    graph.add(source(), uid="other")
    graph.add(Union(), after("in", "other"), uid="next")
    return graph


def with_window() -> StreamGraph:
    graph = begun()
    graph.add(Window(), after("in"), uid="next")
    return graph


def with_map_async() -> StreamGraph:
    graph = begun()
    graph.add(MapAsync(), after("in"), uid="next")
    return graph


def with_side_output() -> StreamGraph:
    graph = StreamGraph("job", JobMode.STREAMING)
    graph.add(source(), uid="in", side_outputs=("bad",))
    graph.add(Map(price), after(("in", "bad")), uid="next")
    return graph


def with_own_task() -> StreamGraph:
    graph = begun()
    graph.add(Map(price), after("in"), uid="next")
    graph.disable_chaining("next")
    return graph


def behind_own_task() -> StreamGraph:
    graph = begun()
    graph.add(Map(price), after("in"), uid="next")
    graph.disable_chaining("in")
    return graph


def with_two_consumers() -> StreamGraph:
    graph = begun()
    graph.add(Map(price), after("in"), uid="next")
    graph.add(Map(price), after("in"), uid="other")
    return graph


def with_two_inputs() -> StreamGraph:
    graph = begun()
    graph.add(source(), uid="other")
    graph.add(Map(price), after("in", "other"), uid="next")
    return graph


@pytest.mark.parametrize(
    ("build", "source_id", "target_id", "reason"),
    [
        (with_key_by, "in", "next", "key_by repartitions: records of one key must meet"),
        (behind_key_by, "next", "behind", "behind a key_by a new partition begins"),
        (with_union, "in", "next", "union merges several inputs"),
        (with_two_inputs, "in", "next", "map merges several inputs"),
        (with_window, "in", "next", "a window begins: it emits by time"),
        (with_map_async, "in", "next", "map_async waits beside the stream"),
        (with_side_output, "in", "next", "side output 'bad' leaves the chain"),
        (with_own_task, "in", "next", "chaining is disabled on 'next'"),
        (behind_own_task, "in", "next", "chaining is disabled on 'in'"),
        (with_two_consumers, "in", "next", "'in' feeds 2 operators"),
    ],
)
def test_chain_ends_for_a_reason(
    build: Callable[[], StreamGraph], source_id: str, target_id: str, reason: str
) -> None:
    graph = optimize(build())
    assert edge(graph, source_id, target_id).reason.startswith(reason)
    assert f"[{target_id}]" in tasks(graph)


def test_side_output_does_not_end_the_chain_it_leaves() -> None:
    graph = begun()
    graph.add(Process(), after("in"), uid="process", side_outputs=("late",))
    graph.add(Map(price), after("process"), uid="map")
    graph.add(sink(), after(("process", "late")), uid="late_out")
    optimized = optimize(graph)
    assert tasks(optimized) == ["[in+process+map]", "[late_out]"]
    assert edge(optimized, "process", "late_out").source == "in"


def test_chain_goes_on_behind_map_async_union_window_and_split() -> None:
    graph = one_of_every_sort()
    assert tasks(optimize(graph)) == [
        "[web+map-1]",
        "[shop]",
        "[orders+by_size]",
        "[look_up+big_orders]",
        "[map_batches-1]",
        "[key_by-1]",
        "[totals+results]",
        "[late_results]",
        "[alone+alone_sink]",
    ]


def test_only_edges_around_a_key_by_are_fused() -> None:
    fused = [each for each in optimize(one_of_every_sort()).edges if each.fused]
    assert [(each.source_operator, each.target_operator) for each in fused] == [
        ("map_batches-1", "key_by-1"),
        ("key_by-1", "totals"),
    ]


def test_key_by_that_feeds_two_operators_is_fused_on_its_input_only() -> None:
    graph = behind_key_by()
    graph.add(Process(), after("next"), uid="also")
    optimized = optimize(graph)
    assert edge(optimized, "in", "next").fused
    assert not edge(optimized, "next", "behind").fused
    assert edge(optimized, "next", "behind").partitioning is Partitioning.HASH


@pytest.mark.parametrize("uid", ["in", "next"])
def test_operator_with_a_task_of_its_own_is_not_fused(uid: str) -> None:
    graph = with_key_by()
    graph.disable_chaining(uid)
    assert not edge(optimize(graph), "in", "next").fused


def test_side_output_into_a_key_by_is_not_fused() -> None:
    graph = begun()
    graph.add(Split(str, ("a", "b")), after("in"), uid="split", side_outputs=("a", "b"))
    graph.add(KeyBy(("user",), ("user",)), after(("split", "a")), uid="next")
    assert not edge(optimize(graph), "split", "next").fused


def test_map_async_behind_a_key_by_is_not_fused() -> None:
    graph = with_key_by()
    graph.add(MapAsync(), after("next"), uid="look_up")
    assert not edge(optimize(graph), "next", "look_up").fused


def test_chaining_changes_tasks_but_no_fingerprint() -> None:
    chained, unchained = architecture_example(), architecture_example()
    for node in list(unchained.nodes()):
        unchained.disable_chaining(node.id)
    one, other = optimize(chained), optimize(unchained)
    assert len(other.vertices) == 6
    assert not any(each.fused for each in other.edges)
    assert fingerprints(one) == fingerprints(other)


def fingerprints(graph: JobGraph) -> tuple[str, str, str]:
    return graph.fingerprint, graph.state_fingerprint, graph.code_fingerprint


def totals(*before: str, key: tuple[str, ...] = ("user",)) -> JobGraph:
    """Return totals by a key, with stateless operators in front of them."""
    graph = begun()
    last = "in"
    for name in before:
        operator = {"map": Map(price), "filter": Filter(col("paid"))}[name]
        last = graph.add(operator, after(last))
    keyed = graph.add(KeyBy(key, key), after(last))
    graph.add(Process(states=(TOTAL,)), after(keyed), uid="totals")
    return optimize(graph)


def test_saved_state_fits_a_job_with_another_stateless_operator() -> None:
    graphs = [totals(), totals("filter"), totals("map", "filter"), totals("filter", "map")]
    assert len({graph.state_fingerprint for graph in graphs}) == 1
    assert len({graph.fingerprint for graph in graphs}) == len(graphs)


def test_saved_state_does_not_fit_another_key() -> None:
    graphs = [totals(), totals(key=("day",)), totals(key=("user", "day"))]
    assert len({graph.state_fingerprint for graph in graphs}) == len(graphs)
    assert len({graph.fingerprint for graph in graphs}) == len(graphs)
    assert graphs[0].state_layout()["totals"]["key"] == 'col("user")'


def test_the_order_in_which_branches_are_written_changes_no_fingerprint() -> None:
    functions: dict[str, Callable[[Any], Any]] = {"a": price, "b": str}

    def branches(*uids: str) -> JobGraph:
        graph = begun()
        for uid in uids:
            mapped = graph.add(Map(functions[uid]), after("in"))
            graph.add(sink(), after(mapped), uid=uid)
        return optimize(graph)

    assert fingerprints(branches("a", "b")) == fingerprints(branches("b", "a"))


def mapped(function: object) -> JobGraph:
    graph = begun()
    graph.add(Map(function), after("in"), uid="map")  # type: ignore[arg-type]  # any function
    return optimize(graph)


def test_another_body_of_a_lambda_changes_only_the_code_fingerprint() -> None:
    one, other = mapped(lambda v: v + 1), mapped(lambda v: v + 2)
    assert one.fingerprint == other.fingerprint
    assert one.code_fingerprint != other.code_fingerprint
    assert mapped(lambda v: v + 1).code_fingerprint == one.code_fingerprint


def test_another_expression_changes_only_the_code_fingerprint() -> None:
    one, other = mapped(col("a") + 1), mapped(col("a") + 2)
    assert one.fingerprint == other.fingerprint
    assert one.code_fingerprint != other.code_fingerprint
    assert mapped(col("a") + 1).code_fingerprint == one.code_fingerprint


@given(stream_graphs())
def test_every_operator_is_in_exactly_one_task(graph: StreamGraph) -> None:
    optimized = optimize(graph)
    counted = Counter(spec.id for spec in optimized.operators())
    assert counted == Counter(node.id for node in graph.nodes())


@given(stream_graphs())
def test_every_stream_is_within_a_task_or_an_edge_and_edges_enter_at_the_head(
    graph: StreamGraph,
) -> None:
    optimized = optimize(graph)
    streams = Counter(
        (stream.source, node.id, stream.tag) for node in graph.nodes() for stream in node.inputs
    )
    found = Counter(
        (each.source_operator, each.target_operator, each.tag) for each in optimized.edges
    )
    ids = {vertex.id: [spec.id for spec in vertex.operators] for vertex in optimized.vertices}
    for vertex_id, chain in ids.items():
        assert vertex_id == chain[0]
        found.update((before, behind, None) for before, behind in pairwise(chain))
    assert found == streams
    for each in optimized.edges:
        assert each.target == each.target_operator
        assert each.source_operator in ids[each.source]


@given(stream_graphs())
def test_tasks_stand_in_topological_order(graph: StreamGraph) -> None:
    optimized = optimize(graph)
    places = {vertex.id: number for number, vertex in enumerate(optimized.vertices)}
    assert all(places[each.source] < places[each.target] for each in optimized.edges)


@given(stream_graphs())
def test_chaining_never_changes_a_fingerprint(graph: StreamGraph) -> None:
    before = optimize(graph)
    for node in list(graph.nodes()):
        graph.disable_chaining(node.id)
    behind = optimize(graph)
    assert len(behind.vertices) == len(list(graph.nodes()))
    assert fingerprints(before) == fingerprints(behind)
