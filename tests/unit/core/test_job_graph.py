"""The JobGraph: look-up, fingerprints, plain values."""

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
    assert GRAPH.vertex("sum").operators == (SUM,)
    assert list(GRAPH.operators()) == [SOURCE, MAP, SUM]


def test_a_graph_promises_nothing_until_someone_says_so() -> None:
    assert GRAPH.guarantee is Guarantee.NONE
    assert "restart begins again" in GRAPH.guarantee_reason


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


def test_order_of_options_changes_nothing() -> None:
    one = with_operator(1, replace(MAP, options={"a": 1, "b": 2}))
    other = with_operator(1, replace(MAP, options={"b": 2, "a": 1}))
    assert one.code_fingerprint == other.code_fingerprint


def test_to_dict_is_json_and_tells_all() -> None:
    described = json.loads(json.dumps(GRAPH.to_dict()))
    assert described == GRAPH.to_dict()
    assert described["fingerprint"] == GRAPH.fingerprint
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
