"""Graphs to explain and to chain: the architecture's example, one of every sort, random ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hypothesis import strategies as st

from millstream.core.expression import col
from millstream.core.job_graph import Access, JobMode, OperatorKind, StateSpec
from millstream.core.sink import as_sink
from millstream.core.source import as_source
from millstream.graph.stream_graph import StreamEdge, StreamGraph
from millstream.operators.definition import OperatorDefinition
from millstream.operators.endpoints import SinkOperator, SourceOperator, Union
from millstream.operators.filter import Filter
from millstream.operators.key_by import KeyBy
from millstream.operators.map import Map
from millstream.operators.map_batches import MapBatches
from millstream.operators.split import Split

TOTAL = StateSpec("total", "reducing", "int")


class Example(OperatorDefinition):
    """An operator that only describes itself."""

    def __init__(
        self,
        *,
        states: tuple[StateSpec, ...] = (),
        functions: tuple[Any, ...] = (),
        options: Mapping[str, Any] | None = None,
        access: Access = Access.FUNCTION,
    ) -> None:
        self._states = states
        self._functions = functions
        self._options = options or {}
        self._access = access

    def access(self) -> Access:
        return self._access

    def functions(self) -> tuple[Any, ...]:
        return self._functions

    def states(self) -> tuple[StateSpec, ...]:
        return self._states

    def options(self) -> Mapping[str, Any]:
        return self._options


class Window(Example):
    kind = OperatorKind.WINDOW
    stateful = True


class MapAsync(Example):
    kind = OperatorKind.MAP_ASYNC


class Process(Example):
    kind = OperatorKind.PROCESS
    stateful = True


class PlainMap(Example):
    kind = OperatorKind.MAP


class PlainSource(Example):
    kind = OperatorKind.SOURCE


class PlainSink(Example):
    kind = OperatorKind.SINK


def read_orders(position: Any) -> Iterator[tuple[Sequence[Any], Any]]:
    yield [], position


def price(order: Any) -> Any:
    return order


def send(record: Any) -> None:
    pass


def source(function: Any = read_orders) -> OperatorDefinition:
    return SourceOperator(as_source(function))


def sink(function: Any = send) -> OperatorDefinition:
    return SinkOperator(as_sink(function))


def after(*inputs: str | tuple[str, str]) -> tuple[StreamEdge, ...]:
    """Return streams to take: the main output of a node, or (node, side output)."""
    return tuple(
        StreamEdge(each) if isinstance(each, str) else StreamEdge(*each) for each in inputs
    )


def architecture_example(mode: JobMode = JobMode.STREAMING) -> StreamGraph:
    """Source → Map → Filter → KeyBy → Window → Sink."""
    graph = StreamGraph("revenue", mode)
    graph.add(source(), uid="source", defined_at="revenue.py:10")
    graph.add(Map(price), after("source"), uid="map", defined_at="revenue.py:11")
    paid = Filter(col("amount") > 0)
    graph.add(paid, after("map"), uid="filter", defined_at="revenue.py:12")
    by_user = KeyBy(("user",), ("user",))
    graph.add(by_user, after("filter"), uid="key_by", defined_at="revenue.py:13")
    window = Window(states=(TOTAL,), options={"size_ms": 60_000}, access=Access.EXPRESSION)
    graph.add(window, after("key_by"), uid="window", defined_at="revenue.py:14")
    graph.add(sink(), after("window"), uid="sink", defined_at="revenue.py:15")
    return graph


def one_of_every_sort() -> StreamGraph:
    """Two sources, a union, a split, a side output, an async call, several sinks, a lone line."""
    graph = StreamGraph("every sort", JobMode.STREAMING)
    graph.add(source(), uid="web", defined_at="job.py:1")
    graph.add(source(), uid="shop", defined_at="job.py:2")
    parsed = graph.add(Map(lambda order: order), after("web"), defined_at="job.py:3")
    graph.add(Union(), after(parsed, "shop"), uid="orders", defined_at="job.py:4")
    split = Split(lambda order: "big", ("big", "small"))
    sides = ("big", "small")
    graph.add(split, after("orders"), uid="by_size", side_outputs=sides, defined_at="job.py:5")
    look_up = MapAsync(functions=(price,), access=Access.EDGE, options={"capacity": 100})
    graph.add(look_up, after(("by_size", "big")), uid="look_up", defined_at="job.py:6")
    graph.add(sink(), after("look_up"), uid="big_orders", defined_at="job.py:7")
    batches = graph.add(MapBatches(sorted, 512), after(("by_size", "small")), defined_at="job.py:8")
    keyed = KeyBy(lambda order: order.user, ("key",))
    by_user = graph.add(keyed, after(batches), defined_at="job.py:9")
    totals = Process(functions=(Process,), states=(TOTAL, StateSpec("seen", "value", "datetime")))
    graph.add(totals, after(by_user), uid="totals", side_outputs=("late",), defined_at="job.py:10")
    graph.add(sink(), after("totals"), uid="results", defined_at="job.py:11")
    graph.add(sink(), after(("totals", "late")), uid="late_results", defined_at="job.py:12")
    graph.add(source(), uid="alone", defined_at="job.py:13")
    graph.add(sink(), after("alone"), uid="alone_sink", defined_at="job.py:14")
    return graph


NASTY = st.text(st.characters(), min_size=1, max_size=12).filter(lambda text: bool(text.strip()))
PLAIN = st.integers(0, 999).map("op{}".format)
MIDDLE = (PlainMap, Window, MapAsync, Process)


@st.composite
def stream_graphs(draw: st.DrawFn, names: st.SearchStrategy[str] = PLAIN) -> StreamGraph:
    """Draw a graph: any DAG of sources, operators, unions, splits, key_bys and sinks."""
    graph = StreamGraph(draw(names), JobMode.STREAMING)
    outputs: list[str | tuple[str, str]] = []
    uids = draw(st.lists(names, min_size=1, max_size=14, unique=True))
    for number, uid in enumerate(uids):
        shape = draw(st.sampled_from(("source", "one", "key_by", "union", "split", "sink")))
        if number == 0 or shape == "source":
            outputs.append(graph.add(PlainSource(access=Access.EDGE), uid=uid))
            continue
        some = st.lists(st.sampled_from(outputs), min_size=1, max_size=3, unique=True)
        inputs = after(*draw(some)) if shape == "union" else after(draw(st.sampled_from(outputs)))
        if shape == "split":
            graph.add(Split(str, ("a", "b")), inputs, uid=uid, side_outputs=("a", "b"))
            outputs += [(uid, "a"), (uid, "b")]
        elif shape == "sink":
            graph.add(PlainSink(access=Access.EDGE), inputs, uid=uid)
        else:
            outputs.append(graph.add(_operator(draw, shape), inputs, uid=uid))
            if draw(st.booleans()):
                graph.disable_chaining(uid)
    return graph


def _operator(draw: st.DrawFn, shape: str) -> OperatorDefinition:
    if shape == "union":
        return Union()
    if shape == "key_by":
        return KeyBy(("user",), ("user",))
    states = draw(st.sampled_from(((), (TOTAL,))))
    return draw(st.sampled_from(MIDDLE))(states=states, functions=(price,))
