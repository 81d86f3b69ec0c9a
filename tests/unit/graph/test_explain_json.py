"""``explain`` as JSON: its stable shape, and that it is JSON whatever is in it."""

import json
from decimal import Decimal
from typing import Any

from hypothesis import given

from millstream.core.job_graph import JobMode
from millstream.graph.explain import explain
from millstream.graph.optimizer import optimize
from millstream.graph.stream_graph import StreamGraph
from tests.unit.graph.example_graphs import (
    NASTY,
    PlainMap,
    after,
    architecture_example,
    one_of_every_sort,
    source,
    stream_graphs,
)


def refuse(constant: str) -> Any:
    raise AssertionError(f"{constant} is no JSON")


def data_of(graph: StreamGraph) -> Any:
    return json.loads(explain(graph, optimize(graph), "json"), parse_constant=refuse)


def test_the_architectures_example() -> None:
    graph = architecture_example()
    data = data_of(graph)
    assert list(data) == ["version", "summary", "stream_graph", "job_graph"]
    assert data["version"] == 1
    assert data["summary"] == {
        "job": "revenue",
        "mode": "STREAMING",
        "operators": 6,
        "tasks": 3,
        "lines": ["[source+map+filter] → key_by → [window+sink]"],
        "loops": [["source", "key_by", "window"]],
    }
    assert data["job_graph"] == optimize(graph).to_dict()
    assert data["stream_graph"]["edges"][1:3] == [
        {
            "from": "map",
            "to": "filter",
            "side_output": None,
            "partitioning": "forward",
            "chained": True,
            "fused": True,
            "reason": None,
        },
        {
            "from": "filter",
            "to": "key_by",
            "side_output": None,
            "partitioning": "forward",
            "chained": False,
            "fused": True,
            "reason": "key_by repartitions: records of one key must meet in one place",
        },
    ]


def test_an_operator_of_the_architectures_example() -> None:
    graph = architecture_example()
    operators = {each["id"]: each for each in data_of(graph)["stream_graph"]["operators"]}
    assert list(operators) == ["source", "map", "filter", "key_by", "window", "sink"]
    ref = graph.node("map").spec.functions[0]
    assert operators["map"] == {
        "id": "map",
        "kind": "map",
        "uid": "map",
        "what": "price",
        "access": "function",
        "functions": [{"name": ref.name, "code": ref.code}],
        "states": [],
        "options": {"function": ref.name},
        "inputs": [{"from": "source", "side_output": None}],
        "side_outputs": [],
        "chaining": True,
        "defined_at": "revenue.py:11",
    }
    assert operators["window"]["states"] == [{"name": "total", "kind": "reducing", "type": "int"}]


def test_side_outputs_and_missing_uids_are_told() -> None:
    data = data_of(one_of_every_sort())["stream_graph"]
    operators = {each["id"]: each for each in data["operators"]}
    assert operators["map-1"]["uid"] is None
    assert operators["totals"]["side_outputs"] == ["late"]
    assert operators["late_results"]["inputs"] == [{"from": "totals", "side_output": "late"}]


def test_options_that_json_does_not_know_become_text() -> None:
    graph = StreamGraph("odd", JobMode.STREAMING)
    graph.add(source(), uid="in")
    odd = {
        "nan": float("nan"),
        "set": {3, 1},
        "decimal": Decimal("1.5"),
        "mode": JobMode.SQL_TASK,
        "nested": {1: (None, True)},
    }
    graph.add(PlainMap(options=odd), after("in"), uid="map")
    assert data_of(graph)["stream_graph"]["operators"][1]["options"] == {
        "nan": "nan",
        "set": ["1", "3"],
        "decimal": "1.5",
        "mode": "SQL_TASK",
        "nested": {"1": [None, True]},
    }


@given(stream_graphs(NASTY))
def test_any_graph_is_json_with_each_operator_in_one_task(graph: StreamGraph) -> None:
    data = data_of(graph)
    ids = [node.id for node in graph.nodes()]
    assert [each["id"] for each in data["stream_graph"]["operators"]] == ids
    tasks = data["job_graph"]["tasks"]
    assert sorted(each["id"] for task in tasks for each in task["operators"]) == sorted(ids)
    streams = sum(len(node.inputs) for node in graph.nodes())
    assert len(data["stream_graph"]["edges"]) == streams
    chained = sum(edge["chained"] for edge in data["stream_graph"]["edges"])
    assert len(data["job_graph"]["edges"]) == streams - chained
