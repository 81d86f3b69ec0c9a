"""The StreamGraph: the operators exactly as the user wrote them, one node each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from millstream.core.errors import GraphError
from millstream.core.job_graph import JobMode, OperatorKind, OperatorSpec
from millstream.operators.definition import OperatorDefinition

NEEDS_UID = "state, positions and counters are kept under it, so it must not depend on the order"


@dataclass(frozen=True, slots=True)
class StreamEdge:
    """A stream that a node takes: the main output of another, or one of its side outputs."""

    source: str
    tag: str | None = None


@dataclass(frozen=True, slots=True)
class StreamNode:
    """One operator.

    Attributes:
        id: the uid, or the generated display name of a stateless operator without one.
        definition: the operator, with the user's live functions.
        inputs: the streams it takes; empty for a source.
        uid: the user's name for it.
        chaining: False where the user asked for a task of its own.
        defined_at: ``file:line`` of the user's call.
        side_outputs: the tags it may emit to.
    """

    id: str
    definition: OperatorDefinition
    inputs: tuple[StreamEdge, ...]
    uid: str | None
    chaining: bool
    defined_at: str
    side_outputs: tuple[str, ...] = ()

    @property
    def spec(self) -> OperatorSpec:
        """Return its description."""
        return self.definition.spec(self.id, self.uid, self.defined_at)


class StreamGraph:
    """Operators in the order they were written, which is topological."""

    def __init__(self, job: str, mode: JobMode) -> None:
        self.job = job
        self.mode = mode
        self._nodes: dict[str, StreamNode] = {}

    def add(
        self,
        definition: OperatorDefinition,
        inputs: tuple[StreamEdge, ...] = (),
        *,
        uid: str | None = None,
        defined_at: str = "",
        side_outputs: tuple[str, ...] = (),
    ) -> str:
        """Add an operator and return its id.

        Raises:
            GraphError: the uid is missing where it is needed, or taken.
        """
        kind = definition.kind
        where = f"{kind} at {defined_at or 'unknown place'}"
        at_the_edge = kind in (OperatorKind.SOURCE, OperatorKind.SINK)
        if uid is None and (definition.stateful or at_the_edge):
            raise GraphError(f"{where} needs uid=…: {NEEDS_UID} of the code")
        is_text = isinstance(uid, str)  # whatever the annotation says: not all callers are typed
        if uid is not None and not (is_text and uid.strip()):
            raise GraphError(f"{where}: uid must be a non-empty string; got {uid!r}")
        node_id = uid or self._display_name(kind)
        if node_id in self._nodes:
            raise GraphError(_taken(node_id, self._nodes[node_id], where))
        self._nodes[node_id] = StreamNode(
            node_id, definition, inputs, uid, True, defined_at, side_outputs
        )
        return node_id

    def disable_chaining(self, node_id: str) -> None:
        """Let the operator have a task of its own."""
        self._nodes[node_id] = replace(self._nodes[node_id], chaining=False)

    def node(self, node_id: str) -> StreamNode:
        """Return the node of that id."""
        return self._nodes[node_id]

    def nodes(self) -> Iterator[StreamNode]:
        """Yield the nodes, each after its inputs."""
        yield from self._nodes.values()

    def consumers(self, node_id: str, tag: str | None = None) -> list[StreamNode]:
        """Return the nodes that take an output of ``node_id``."""
        edge = StreamEdge(node_id, tag)
        return [node for node in self._nodes.values() if edge in node.inputs]

    def definitions(self) -> Mapping[str, OperatorDefinition]:
        """Return the live operators by id, for whoever executes the graph."""
        return {node.id: node.definition for node in self._nodes.values()}

    def validate(self) -> None:
        """Refuse a graph that cannot run.

        Raises:
            GraphError: no source, no sink, or a stream that leads nowhere.
        """
        kinds = [node.definition.kind for node in self._nodes.values()]
        if OperatorKind.SOURCE not in kinds:
            raise GraphError(f"job {self.job!r} has no source: begin with job.source(…, uid=…)")
        if OperatorKind.SINK not in kinds:
            raise GraphError(
                f"job {self.job!r} has no sink, so its results would go nowhere: "
                "end a stream with .sink(…, uid=…)"
            )
        for node in self._nodes.values():
            self._check_consumed(node)

    def _check_consumed(self, node: StreamNode) -> None:
        kind = node.definition.kind
        outputs: tuple[str | None, ...] = node.side_outputs
        if kind not in (OperatorKind.SINK, OperatorKind.SPLIT):
            outputs = (None, *outputs)
        for tag in outputs:
            if not self.consumers(node.id, tag):
                which = "its stream" if tag is None else f"its side output {tag!r}"
                raise GraphError(
                    f"{kind} {node.id!r} at {node.defined_at}: {which} leads nowhere; give it a "
                    ".sink(…, uid=…) (millstream.blackhole.sink() drops records and counts them)"
                )

    def _display_name(self, kind: OperatorKind) -> str:
        number = 1 + sum(node.definition.kind is kind for node in self._nodes.values())
        while f"{kind}-{number}" in self._nodes:
            number += 1
        return f"{kind}-{number}"


def _taken(uid: str, first: StreamNode, where: str) -> str:
    """Return what to say of a uid that another operator has, or is shown by."""
    owner = f"{first.definition.kind} at {first.defined_at or 'unknown place'}"
    if first.uid is None:
        return (
            f"uid {uid!r} of {where} is the display name of {owner}, which has no uid; choose "
            "another, or give that operator a uid of its own"
        )
    return (
        f"uid {uid!r} is used twice: by {owner} and by {where}; give each operator a uid of its own"
    )
