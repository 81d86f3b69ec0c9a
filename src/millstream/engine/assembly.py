"""Puts the running parts of a job together from its JobGraph."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from millstream.core.codec import Decoder
from millstream.core.element import Position
from millstream.core.job_graph import JobEdge, JobGraph, OperatorKind, OperatorSpec
from millstream.core.settings import EngineSettings
from millstream.core.sink import AsyncSink, Sink, SinkContext
from millstream.core.source import AnySource, AsyncBatchSource, BatchSource, Source
from millstream.core.two_phase import TwoPhaseCommitSink
from millstream.engine.async_task import AsyncTask
from millstream.engine.chain import BatchStep, Chain, OutputKey
from millstream.engine.channel import Inlet, Outlet
from millstream.engine.dispatcher import Dispatcher
from millstream.engine.event_loop import EventLoop
from millstream.engine.segment import ChainOperator, Segment
from millstream.engine.sink_driver import AsyncSinkDriver, SinkDriver
from millstream.engine.sink_edge import SinkEdge
from millstream.engine.source_driver import AsyncDriver, BatchDriver, Packer, RunDriver
from millstream.engine.source_head import CollectHead, QueuedHead
from millstream.engine.task import Task
from millstream.engine.two_phase_driver import TwoPhaseDriver
from millstream.operators.definition import RowOperator
from millstream.operators.endpoints import SinkOperator, SourceOperator
from millstream.operators.map_async import MapAsync
from millstream.operators.map_batches import MapBatches
from millstream.operators.program import Program
from millstream.runtime.state.base import StateBackend

MAX_ROW = 100  # operators in one generated loop
MAX_LOOPS = 10  # flat_maps among them: each nests the loop one deeper

SourceDriver = BatchDriver | AsyncDriver | RunDriver
AnySinkDriver = SinkDriver | AsyncSinkDriver


@dataclass(slots=True)
class Group:
    """Tasks of the JobGraph that run as one: joined by edges that are fused away.

    Attributes:
        operators: of all its tasks, in order.
        head: the engine's end of the source, if the first operator is one.
        async_task: of the first operator, if it is a map_async.
        task: what runs the operators in the middle; None for a lone sink.
        edge: the engine's end of the sink, if the last operator is one.
    """

    operators: list[OperatorSpec]
    source_driver: SourceDriver | None = None
    head: QueuedHead | CollectHead | None = None
    async_task: AsyncTask | None = None
    task: Task | None = None
    edge: SinkEdge | None = None
    sink_driver: AnySinkDriver | None = None

    @property
    def first(self) -> OperatorSpec:
        """Return the operator that the group's inputs enter."""
        return self.operators[0]

    @property
    def last(self) -> OperatorSpec:
        """Return the operator at its end."""
        return self.operators[-1]


@dataclass(frozen=True, slots=True)
class Wire:
    """A stream inside the engine, with what counts at its two ends.

    Attributes:
        name: ``from -> to``.
        sent: returns how many have entered, as the operator before it has counted.
        received: returns how many have left at the other end.
    """

    name: str
    sent: Callable[[], int]
    received: Callable[[], int]


class Assembly:
    """The running parts of one job, connected, not yet started.

    Args:
        program: what to run.
        settings: how.
        dispatcher: the engine thread.
        states: where keyed state lives.
        on_failure: told of any failure, in the engine thread.

    Attributes:
        finished_sources: uids of those that had ended when the checkpoint was made that the run
            goes on from: they are not started.
    """

    def __init__(
        self,
        program: Program,
        settings: EngineSettings,
        dispatcher: Dispatcher,
        states: StateBackend,
        on_failure: Callable[[BaseException], None],
    ) -> None:
        self.graph = program.graph
        self._definitions = program.definitions
        self._settings = settings
        self._dispatcher = dispatcher
        self._states = states
        self._on_failure = on_failure
        self._loop: EventLoop | None = None
        self.groups = _groups(program.graph)
        self.wires: list[Wire] = []
        self.finished_sources: frozenset[str] = frozenset()
        self._of = {spec.id: group for group in self.groups for spec in group.operators}
        for group in self.groups:
            self._build(group)
        self._connect()

    @property
    def loop(self) -> EventLoop | None:
        """Return the event loop, if anything is async."""
        return self._loop

    def source_drivers(self) -> Iterator[SourceDriver]:
        """Yield the sources' own sides."""
        return (group.source_driver for group in self.groups if group.source_driver)

    def sink_drivers(self) -> Iterator[AnySinkDriver]:
        """Yield the sinks' own sides."""
        return (group.sink_driver for group in self.groups if group.sink_driver)

    def tasks(self) -> Iterator[Task | AsyncTask]:
        """Yield what runs in the engine thread."""
        for group in self.groups:
            if group.async_task is not None:
                yield group.async_task
            if group.task is not None:
                yield group.task

    def heads(self) -> Iterator[QueuedHead | CollectHead]:
        """Yield the engine's ends of the sources."""
        return (group.head for group in self.groups if group.head)

    # -- building -------------------------------------------------------------------------------

    def _build(self, group: Group) -> None:
        middle = list(group.operators)
        decoder: tuple[str, Decoder[Any]] | None = None
        main = group.first.id
        first = self._definitions[group.first.id]
        if isinstance(first, SourceOperator):
            source = copy.copy(first.source)
            self._build_source(group, first, source)
            if source.decoder is not None:
                decoder = (group.first.id, source.decoder)
            middle.pop(0)
        elif isinstance(first, MapAsync):
            group.async_task = AsyncTask(
                self._dispatcher, group.first.id, first, self._need_loop(), self._on_failure
            )
            middle.pop(0)
        elif group.first.kind is OperatorKind.UNION:
            middle.pop(0)
        last = self._definitions[group.last.id]
        if isinstance(last, SinkOperator):
            self._build_sink(group, last)
            middle.pop()
            if len(group.operators) == 1:
                return  # a lone sink takes its stream as it comes
        if middle:
            main = middle[-1].id
        name = "+".join(spec.id for spec in group.operators)
        group.task = Task(
            self._dispatcher,
            Chain(name, self._steps(middle, decoder), main),
            inputs=max(1, sum(edge.target_operator == group.first.id for edge in self._edges())),
            outputs=self._outputs(group, main),
            on_failure=self._on_failure,
            at_source=isinstance(group.head, QueuedHead),
        )

    def _build_source(self, group: Group, operator: SourceOperator, source: AnySource) -> None:
        uid, dispatcher = group.first.id, self._dispatcher
        if isinstance(source, Source):
            group.head = collect_head = CollectHead(
                dispatcher,
                uid,
                operator.overflow,
                operator.buffer_size,
                self._settings.chunk_size,
            )
            group.source_driver = RunDriver(source, collect_head)
            return
        packer = Packer(uid, None, dispatcher.clock)
        driver: BatchDriver | AsyncDriver
        if isinstance(source, BatchSource):
            driver = BatchDriver(source, uid, dispatcher, packer, None)
        else:
            assert isinstance(source, AsyncBatchSource)
            driver = AsyncDriver(source, uid, dispatcher, packer, None)
            driver.call_soon = self._need_loop().call_soon
        start, chunk_size = Position(None, 0), self._settings.chunk_size
        head = QueuedHead(dispatcher, uid, driver.grant, start, chunk_size)
        driver.head = group.head = head
        group.source_driver = driver

    def _build_sink(self, group: Group, operator: SinkOperator) -> None:
        sink, ctx = copy.copy(operator.sink), SinkContext(self.graph.job, group.last.id)
        driver: AnySinkDriver
        if isinstance(sink, TwoPhaseCommitSink):
            driver = TwoPhaseDriver(sink, ctx, self._dispatcher)
        elif isinstance(sink, Sink):
            driver = SinkDriver(sink, ctx, self._dispatcher)
        else:
            assert isinstance(sink, AsyncSink)
            driver = AsyncSinkDriver(sink, ctx, self._dispatcher)
            driver.call_soon = self._need_loop().call_soon
        group.edge = SinkEdge(group.last.id, driver.hand_over, self._on_failure)
        driver.edge = group.edge
        group.sink_driver = driver

    def _steps(
        self, specs: Sequence[OperatorSpec], decoder: tuple[str, Decoder[Any]] | None
    ) -> list[Segment | BatchStep]:
        """Return the operators as loops, and functions of lists between them."""
        steps: list[Segment | BatchStep] = []
        row: list[ChainOperator] = []

        def end_segment() -> None:
            nonlocal decoder
            if row or decoder is not None:
                steps.append(Segment(row, self._states, decoder))
            row.clear()
            decoder = None

        for number, spec in enumerate(specs):
            definition = self._definitions[spec.id]
            if isinstance(definition, MapBatches):
                end_segment()
                steps.append(BatchStep(spec.id, definition.function, definition.max_size))
                continue
            assert isinstance(definition, RowOperator)
            if _is_full(row):
                end_segment()
            if spec.kind is OperatorKind.KEY_BY and number + 1 == len(specs):
                continue  # nothing in this loop needs the key: who does computes it
            row.append(ChainOperator(spec.id, spec.uid, definition))
            if definition.ends_segment:
                end_segment()
        end_segment()
        return steps

    def _outputs(self, group: Group, main: str) -> dict[OutputKey, int]:
        """Return how many streams leave each output of a group."""
        outputs: Counter[OutputKey] = Counter()
        for edge in self._edges():
            if self._of[edge.source_operator] is group:
                key = main if edge.tag is None else edge.source_operator
                outputs[key, edge.tag] += 1
        if group.edge is not None:
            outputs[main, None] += 1
        return dict(outputs)

    def _edges(self) -> Iterator[JobEdge]:
        """Yield the edges that exist at run time."""
        return (edge for edge in self.graph.edges if not edge.fused)

    # -- connecting -----------------------------------------------------------------------------

    def _connect(self) -> None:
        free: dict[int, dict[OutputKey, list[Outlet]]] = {
            id(group): {
                key: list(output.outlets) for key, output in group.task.emitter.outputs.items()
            }
            for group in self.groups
            if group.task is not None
        }
        entered: Counter[int] = Counter()
        for group in self.groups:
            task = group.task
            if task is None:
                continue
            if group.head is not None:
                group.head.feed(task.inlets[0])
            if group.async_task is not None:
                results = group.async_task
                results.outlet.subscribe(task.inlets[0])
                name = f"{group.first.id} results -> engine"
                self._wire(name, results.emitted, task.inlets[0])
            if group.edge is not None and group.sink_driver is not None:
                (key,) = (key for key in free[id(group)] if key[1] is None)
                outlet = free[id(group)][key].pop()
                outlet.subscribe(group.edge)
                sent = partial(task.emitted, key)
                self._wire(f"{key[0]} -> {group.last.id}", sent, group.sink_driver)
        for edge in self._edges():
            source, target = self._of[edge.source_operator], self._of[edge.target_operator]
            outlets = free[id(source)]
            key = next(
                key
                for key in outlets
                if key[1] == edge.tag and (edge.tag is None or key[0] == edge.source_operator)
            )
            outlet = outlets[key].pop(0)
            assert source.task is not None
            sent = partial(source.task.emitted, key)
            tag = f"[{edge.tag}]" if edge.tag else ""
            name = f"{edge.source_operator}{tag} -> {edge.target_operator}"
            if target.async_task is not None:
                outlet.subscribe(target.async_task.inlets[0])
                self._wire(name, sent, target.async_task.inlets[0])
            elif target.task is not None:
                inlet = target.task.inlets[entered[id(target)]]
                entered[id(target)] += 1
                outlet.subscribe(inlet)
                self._wire(name, sent, inlet)
            else:
                assert target.edge is not None
                assert target.sink_driver is not None
                outlet.subscribe(target.edge)
                self._wire(name, sent, target.sink_driver)

    def _wire(self, name: str, sent: Callable[[], int], end: Inlet | AnySinkDriver) -> None:
        received = (lambda: end.received) if isinstance(end, Inlet) else (lambda: end.taken)
        self.wires.append(Wire(name, sent, received))

    def _need_loop(self) -> EventLoop:
        if self._loop is None:
            self._loop = EventLoop(self._dispatcher.clock)
        return self._loop


def _is_full(row: Sequence[ChainOperator]) -> bool:
    """Return whether a loop should end here, for what CPython allows of generated code.

    It takes 200 nested calls and 20 nested blocks. A key_by stays with the operator that needs
    its key.
    """
    if not row or row[-1].operator.kind is OperatorKind.KEY_BY:
        return False
    loops = sum(each.operator.kind is OperatorKind.FLAT_MAP for each in row)
    return len(row) >= MAX_ROW or loops >= MAX_LOOPS


def _groups(graph: JobGraph) -> list[Group]:
    """Join the tasks between which edges are fused."""
    of: dict[str, Group] = {}
    groups: list[Group] = []
    for vertex in graph.vertices:
        fused = next(
            (edge for edge in graph.edges if edge.fused and edge.target == vertex.id), None
        )
        if fused is None:
            group = Group(list(vertex.operators))
            groups.append(group)
        else:
            group = of[fused.source]
            group.operators.extend(vertex.operators)
        of[vertex.id] = group
    return groups
