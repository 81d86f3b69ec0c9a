"""The JobGraph: fingerprints, what a snapshot holds, plain values."""

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from millstream.core.job_graph import (
    Access,
    FunctionRef,
    Guarantee,
    JobEdge,
    JobGraph,
    JobMode,
    JobVertex,
    OperatorKind,
    OperatorSpec,
    Partitioning,
    StateSpec,
)

SOURCE = OperatorSpec("numbers", OperatorKind.SOURCE, "numbers", Access.EDGE)
MAP = OperatorSpec("map-1", OperatorKind.MAP, None, functions=(FunctionRef("job:f", "abc"),))
SUM = OperatorSpec(
    "sum", OperatorKind.REDUCE, "sum", states=(StateSpec("value", "reducing", "int"),)
)
GRAPH = JobGraph(
    "job",
    JobMode.STREAMING,
    (JobVertex("numbers", (SOURCE, MAP)), JobVertex("sum", (SUM,))),
    (JobEdge("numbers", "map-1", "sum", "sum", "because", partitioning=Partitioning.HASH),),
    Guarantee.NONE,
    "so it is",
)


def with_operator(number: int, operator: OperatorSpec) -> JobGraph:
    """Return GRAPH with another first, second or third operator."""
    operators = [SOURCE, MAP, SUM]
    operators[number] = operator
    vertices = JobVertex("numbers", tuple(operators[:2])), JobVertex("sum", (operators[2],))
    return replace(GRAPH, vertices=vertices)


def with_edge(**changes: object) -> JobGraph:
    return replace(GRAPH, edges=(replace(GRAPH.edges[0], **changes),))  # type: ignore[arg-type]  # some field's value


def unchained() -> JobGraph:
    return replace(
        GRAPH,
        vertices=tuple(JobVertex(spec.id, (spec,)) for spec in (SOURCE, MAP, SUM)),
        edges=(
            JobEdge("numbers", "numbers", "map-1", "map-1", "chaining is disabled"),
            replace(GRAPH.edges[0], source="map-1"),
        ),
    )


def test_vertex_is_named_by_its_chain() -> None:
    assert [vertex.name for vertex in GRAPH.vertices] == ["[numbers+map-1]", "[sum]"]
    assert list(GRAPH.operators()) == [SOURCE, MAP, SUM]


@pytest.mark.parametrize(
    "change",
    [
        lambda: replace(GRAPH, mode=JobMode.SQL_TASK),
        lambda: with_operator(0, replace(SOURCE, id="other", uid="other")),
        lambda: with_operator(1, replace(MAP, uid="map-1")),
        lambda: with_operator(1, replace(MAP, kind=OperatorKind.FILTER)),
        lambda: with_operator(2, replace(SUM, states=())),
        lambda: with_operator(2, replace(SUM, states=(StateSpec("value", "reducing", "str"),))),
        lambda: with_operator(2, replace(SUM, states=(StateSpec("value", "value", "int"),))),
        lambda: with_operator(2, replace(SUM, states=(StateSpec("total", "reducing", "int"),))),
        lambda: with_edge(tag="late"),
        lambda: with_edge(partitioning=Partitioning.FORWARD),
        lambda: with_edge(source_operator="numbers"),
        lambda: replace(GRAPH, edges=()),
        lambda: keyed_by('col("a")'),
    ],
)
def test_another_structure_has_another_fingerprint(change: Callable[[], JobGraph]) -> None:
    assert change().fingerprint != GRAPH.fingerprint


@pytest.mark.parametrize(
    "change",
    [
        unchained,
        lambda: replace(GRAPH, job="renamed"),
        lambda: replace(GRAPH, guarantee=Guarantee.EXACTLY_ONCE, guarantee_reason="so it is"),
        lambda: with_edge(fused=True, reason="another"),
        lambda: with_operator(1, replace(MAP, access=Access.EXPRESSION)),
        lambda: with_operator(1, replace(MAP, defined_at="job.py:7")),
    ],
)
def test_what_is_no_structure_and_no_code_changes_no_fingerprint(
    change: Callable[[], JobGraph],
) -> None:
    assert change().fingerprint == GRAPH.fingerprint
    assert change().code_fingerprint == GRAPH.code_fingerprint


@pytest.mark.parametrize(
    "operator",
    [
        replace(MAP, functions=(FunctionRef("job:f", "def"),)),
        replace(MAP, functions=(FunctionRef("job:g", "abc"),)),
        replace(MAP, functions=()),
        replace(MAP, options={"size": 1}),
    ],
)
def test_another_code_changes_only_the_code_fingerprint(operator: OperatorSpec) -> None:
    changed = with_operator(1, operator)
    assert changed.code_fingerprint != GRAPH.code_fingerprint
    assert changed.fingerprint == GRAPH.fingerprint


def test_an_operator_without_uid_counts_by_what_it_is_not_by_its_number() -> None:
    renumbered = with_operator(1, replace(MAP, id="map-7"))
    renumbered = replace(renumbered, edges=(replace(GRAPH.edges[0], source_operator="map-7"),))
    assert renumbered.fingerprint == GRAPH.fingerprint
    assert renumbered.code_fingerprint == GRAPH.code_fingerprint


def branches(left: str, right: str) -> JobGraph:
    """Return two maps of one source, each with a sink."""
    other = replace(MAP, id="map-2", functions=(FunctionRef("job:g", "def"),))
    sinks = [OperatorSpec(uid, OperatorKind.SINK, uid) for uid in (left, right)]
    specs = (SOURCE, MAP, other, *sinks)
    return JobGraph(
        "job",
        JobMode.STREAMING,
        tuple(JobVertex(spec.id, (spec,)) for spec in specs),
        (
            JobEdge("numbers", "numbers", "map-1", "map-1", ""),
            JobEdge("numbers", "numbers", "map-2", "map-2", ""),
            JobEdge("map-1", "map-1", left, left, ""),
            JobEdge("map-2", "map-2", right, right, ""),
        ),
        Guarantee.NONE,
        "so it is",
    )


def test_other_functions_on_the_way_to_a_sink_are_other_code() -> None:
    assert branches("a", "b").code_fingerprint != branches("b", "a").code_fingerprint


def test_order_of_options_changes_nothing() -> None:
    one = with_operator(1, replace(MAP, options={"a": 1, "b": 2}))
    other = with_operator(1, replace(MAP, options={"b": 2, "a": 1}))
    assert one.code_fingerprint == other.code_fingerprint


def keyed_by(key: str) -> JobGraph:
    """Return GRAPH with a key_by in the place of the map."""
    return with_operator(1, replace(MAP, kind=OperatorKind.KEY_BY, key=key))


def test_a_snapshot_holds_positions_and_states_with_their_keys() -> None:
    in_flight = replace(MAP, kind=OperatorKind.MAP_ASYNC, uid="map-1")
    assert with_operator(1, in_flight).state_layout() == {
        "numbers": {"kind": "source", "key": None, "states": {}},
        "map-1": {"kind": "map_async", "key": None, "states": {}},
        "sum": {"kind": "reduce", "key": None, "states": {"value": ["reducing", "int"]}},
    }
    layout = keyed_by('col("a")').state_layout()
    assert list(layout) == ["numbers", "sum"]
    assert layout["sum"]["key"] == 'col("a")'


@pytest.mark.parametrize(
    "change",
    [
        unchained,
        lambda: replace(GRAPH, mode=JobMode.SQL_TASK),
        lambda: with_operator(1, replace(MAP, uid="map-1")),
        lambda: with_operator(1, replace(MAP, kind=OperatorKind.FILTER)),
        lambda: with_operator(1, replace(MAP, functions=())),
        lambda: with_edge(partitioning=Partitioning.FORWARD),
    ],
)
def test_saved_state_fits_whatever_stateless_operators_do(change: Callable[[], JobGraph]) -> None:
    assert change().state_fingerprint == GRAPH.state_fingerprint


@pytest.mark.parametrize(
    "change",
    [
        lambda: with_operator(0, replace(SOURCE, id="other", uid="other")),
        lambda: with_operator(2, replace(SUM, kind=OperatorKind.PROCESS)),
        lambda: with_operator(2, replace(SUM, states=())),
        lambda: with_operator(2, replace(SUM, states=(StateSpec("value", "reducing", "str"),))),
        lambda: with_operator(2, replace(SUM, states=(StateSpec("value", "value", "int"),))),
        lambda: with_operator(2, replace(SUM, states=(StateSpec("total", "reducing", "int"),))),
        lambda: keyed_by('col("a")'),
    ],
)
def test_saved_state_does_not_fit_other_uids_kinds_keys_and_states(
    change: Callable[[], JobGraph],
) -> None:
    assert change().state_fingerprint != GRAPH.state_fingerprint
    assert keyed_by('col("a")').state_fingerprint != keyed_by('col("b")').state_fingerprint


def test_to_dict_is_json_and_tells_all() -> None:
    described = json.loads(json.dumps(GRAPH.to_dict()))
    assert described == GRAPH.to_dict()
    assert described["fingerprint"] == GRAPH.fingerprint
    assert described["state_fingerprint"] == GRAPH.state_fingerprint
    assert described["guarantee"] == {"result": "none", "reason": GRAPH.guarantee_reason}
    assert [task["name"] for task in described["tasks"]] == ["[numbers+map-1]", "[sum]"]
    assert described["tasks"][1]["operators"][0]["states"] == [
        {"name": "value", "kind": "reducing", "type": "int"}
    ]
    assert described["edges"] == [
        {
            "from": "map-1",
            "to": "sum",
            "side_output": None,
            "partitioning": "hash",
            "fused": False,
            "reason": "because",
        }
    ]
