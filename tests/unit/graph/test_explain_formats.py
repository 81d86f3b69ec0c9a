"""``explain``: all formats tell the same, of any graph."""

from dataclasses import replace

import pytest

from millstream.core.errors import ConfigError
from millstream.core.job_graph import Guarantee, JobMode
from millstream.graph.explain import explain
from millstream.graph.explain.formats import FORMATS
from millstream.graph.optimizer import optimize
from millstream.graph.stream_graph import StreamGraph
from tests.unit.graph.example_graphs import architecture_example, one_of_every_sort

ALL = pytest.mark.parametrize("format", ["text", "mermaid", "json", "svg"])


def test_there_are_four_formats() -> None:
    assert list(FORMATS) == ["text", "mermaid", "json", "svg"]


@pytest.mark.parametrize("format", ["", "png", "SVG"])
def test_unknown_format_is_refused_naming_the_four(format: str) -> None:
    graph = architecture_example()
    with pytest.raises(ConfigError) as refused:
        explain(graph, optimize(graph), format)
    for part in (repr(format), "'text', 'mermaid', 'json', 'svg'"):
        assert part in str(refused.value)


def test_text_is_the_default() -> None:
    graph = architecture_example()
    assert explain(graph, optimize(graph)) == explain(graph, optimize(graph), "text")


@ALL
def test_every_format_tells_fingerprints_and_guarantee(format: str) -> None:
    graph = architecture_example()
    reason = "replayable, transactional"
    job_graph = replace(optimize(graph), guarantee=Guarantee.EXACTLY_ONCE, guarantee_reason=reason)
    shown = explain(graph, job_graph, format)
    fingerprints = [
        job_graph.fingerprint,
        job_graph.state_fingerprint,
        job_graph.code_fingerprint,
    ]
    for part in ("exactly_once", reason, *fingerprints):
        assert part in shown.replace("<br/>", " ")


@ALL
def test_every_format_tells_operators_states_spread_and_reasons(format: str) -> None:
    graph = one_of_every_sort()
    shown = explain(graph, optimize(graph), format).replace("<br/>", " ")
    for node in graph.nodes():
        assert node.id in shown
        assert node.definition.kind in shown
    for part in ("total", "reducing", "datetime", "hash", "fused", "late"):
        assert part in shown
    for reason in ("union merges several inputs", "map_async waits beside the stream"):
        assert reason in shown


@ALL
def test_the_same_graph_is_shown_the_same(format: str) -> None:
    one, other = one_of_every_sort(), one_of_every_sort()
    assert explain(one, optimize(one), format) == explain(other, optimize(other), format)


@ALL
def test_graph_without_operators_can_be_shown(format: str) -> None:
    graph = StreamGraph("begun", JobMode.SQL_TASK)
    assert "begun" in explain(graph, optimize(graph), format)
