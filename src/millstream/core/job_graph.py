"""The JobGraph: a description of what runs, made of names and plain values only.

Whoever executes it imports the job again and compares fingerprints; functions are named and
hashed, never carried. ``graph`` makes it, ``engine`` runs it, and both know only this file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise
from typing import Any

from millstream.core.stable_repr import stable_repr, without_addresses


class JobMode(StrEnum):
    """The architecture's three kinds of job."""

    STREAMING = "STREAMING"
    BATCH_ROLLER = "BATCH_ROLLER"
    SQL_TASK = "SQL_TASK"


class Guarantee(StrEnum):
    """How often each record takes effect in the sinks when a run is killed and started again.

    The least comes first.
    """

    NONE = "none"
    AT_LEAST_ONCE = "at_least_once"
    EXACTLY_ONCE = "exactly_once"


class OperatorKind(StrEnum):
    """What an operator does; the architecture's words."""

    SOURCE = "source"
    MAP = "map"
    FILTER = "filter"
    FLAT_MAP = "flat_map"
    MAP_BATCHES = "map_batches"
    MAP_ASYNC = "map_async"
    KEY_BY = "key_by"
    REDUCE = "reduce"
    AGGREGATE = "aggregate"
    PROCESS = "process"
    WINDOW = "window"
    UNION = "union"
    SPLIT = "split"
    SINK = "sink"


_KEEP_PLACE = (OperatorKind.SOURCE, OperatorKind.MAP_ASYNC, OperatorKind.SINK)
"""Kinds that a snapshot holds something of besides states: a position, records in flight,
transactions."""


class Partitioning(StrEnum):
    """How an edge spreads records over the tasks behind it."""

    FORWARD = "forward"
    HASH = "hash"


class Access(StrEnum):
    """How an operator meets its records."""

    FUNCTION = "function"  # a Python call per record
    EXPRESSION = "expression"  # written into the loop, no call
    BATCH = "batch"  # a Python call per chunk
    EDGE = "edge"  # outside the engine's loop: a source, a sink, an async call


@dataclass(frozen=True, slots=True)
class FunctionRef:
    """A user's function, by name and by the hash of its code."""

    name: str  # module:qualname
    code: str  # hex digest


@dataclass(frozen=True, slots=True)
class StateSpec:
    """A state that an operator declares.

    Attributes:
        name: under which it is kept, within the operator's uid.
        kind: ``value``, ``reducing``, ``aggregating``, ``timers`` …
        type: of its values; of aggregates the layout of their list, as ``[total: sum, n: count]``;
            of timers what one is.
    """

    name: str
    kind: str
    type: str


@dataclass(frozen=True, slots=True)
class OperatorSpec:
    """One operator, as the user wrote it.

    Attributes:
        id: unique in the job: the uid, or the display name of a stateless operator without one.
        kind: what it does.
        uid: the user's name for it, which owns its state; None if there is none.
        access: how it meets records.
        functions: the user's functions in it.
        key: what a ``key_by`` partitions by, as an expression; of a function only that it is one.
        states: the states it declares.
        options: what else was said, as plain values.
        defined_at: ``file:line`` of the user's call, for errors; not part of any fingerprint.
    """

    id: str
    kind: OperatorKind
    uid: str | None = None
    access: Access = Access.FUNCTION
    functions: tuple[FunctionRef, ...] = ()
    key: str | None = None
    states: tuple[StateSpec, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    defined_at: str = ""


@dataclass(frozen=True, slots=True)
class JobVertex:
    """A task: operators chained so that a record passes them in one go."""

    id: str
    operators: tuple[OperatorSpec, ...]

    @property
    def name(self) -> str:
        """Return the chain as the architecture writes it: ``[Source+Map+Filter]``."""
        return "[" + "+".join(operator.id for operator in self.operators) + "]"


@dataclass(frozen=True, slots=True)
class JobEdge:
    """A stream from one task to another.

    Attributes:
        source: the id of the vertex it leaves, and ``source_operator`` of the operator in it.
        target: the id of the vertex it enters, at its first operator.
        tag: the side output it carries; None for the main output.
        partitioning: how records are spread.
        reason: why the chain ends here.
        fused: the engine runs both tasks as one loop; the edge exists only in the counters.
    """

    source: str
    source_operator: str
    target: str
    target_operator: str
    reason: str
    tag: str | None = None
    partitioning: Partitioning = Partitioning.FORWARD
    fused: bool = False


@dataclass(frozen=True, slots=True)
class JobGraph:
    """Tasks and the edges between them; vertices stand in topological order."""

    job: str
    mode: JobMode
    vertices: tuple[JobVertex, ...]
    edges: tuple[JobEdge, ...]
    guarantee: Guarantee
    guarantee_reason: str

    def operators(self) -> Iterator[OperatorSpec]:
        """Yield every operator, task by task."""
        for vertex in self.vertices:
            yield from vertex.operators

    def before(self, operator_id: str) -> set[str]:
        """Return the operators whose records come to an operator, sources included."""
        inputs = self._inputs()
        found: set[str] = set()
        ahead = [operator_id]
        while ahead:
            sources = {edge.source_operator for edge in inputs[ahead.pop()]} - found
            found |= sources
            ahead.extend(sources)
        return found

    @property
    def fingerprint(self) -> str:
        """Return a digest of the structure: what whoever imports the job again must find.

        It covers uids, kinds, edges, partitioning, keys and states with their types; not names
        of functions, options or how operators were chained. An operator without a uid counts by
        its kind and its inputs, not by its display name, which depends on the others.
        """
        shapes = self._shapes(lambda spec: [spec.kind, spec.key, _states(spec)])
        return _digest([self.mode, shapes])

    @property
    def code_fingerprint(self) -> str:
        """Return a digest of the code: functions, options and what each operator reads.

        Shown, but no bar to a resume.
        """
        return _digest(
            self._shapes(
                lambda spec: [[(ref.name, ref.code) for ref in spec.functions], dict(spec.options)]
            )
        )

    @property
    def state_fingerprint(self) -> str:
        """Return a digest of ``state_layout``: what saved state must fit."""
        return _digest(self.state_layout())

    def state_layout(self) -> dict[str, dict[str, Any]]:
        """Return, by uid, what a snapshot holds: to be compared when one is restored.

        Sources, sinks, asynchronous calls and operators with states, each with its kind, its key
        and its states. Not in it: edges, stateless operators, functions and options. So a filter
        may come or go, and records already counted stay counted.
        """
        inputs = self._inputs()
        keys = {spec.id: spec.key for spec in self.operators()}
        layout = {}
        for spec in self.operators():
            if spec.states or spec.kind in _KEEP_PLACE:
                key = next((keys[edge.source_operator] for edge in inputs[spec.id]), None)
                layout[spec.id] = {"kind": spec.kind.value, "key": key, "states": _states(spec)}
        return layout

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values, for JSON."""
        return {
            "job": self.job,
            "mode": self.mode.value,
            "fingerprint": self.fingerprint,
            "state_fingerprint": self.state_fingerprint,
            "code_fingerprint": self.code_fingerprint,
            "guarantee": {"result": self.guarantee.value, "reason": self.guarantee_reason},
            "tasks": [
                {
                    "id": vertex.id,
                    "name": vertex.name,
                    "operators": [
                        {
                            "id": spec.id,
                            "kind": spec.kind.value,
                            "uid": spec.uid,
                            "access": spec.access.value,
                            "functions": [ref.name for ref in spec.functions],
                            "key": spec.key,
                            "states": [
                                {"name": s.name, "kind": s.kind, "type": s.type}
                                for s in spec.states
                            ],
                            "options": dict(spec.options),
                        }
                        for spec in vertex.operators
                    ],
                }
                for vertex in self.vertices
            ],
            "edges": [
                {
                    "from": edge.source_operator,
                    "to": edge.target_operator,
                    "side_output": edge.tag,
                    "partitioning": edge.partitioning.value,
                    "fused": edge.fused,
                    "reason": edge.reason,
                }
                for edge in self.edges
            ],
        }

    def _shapes(self, describe: Callable[[OperatorSpec], list[Any]]) -> list[list[Any]]:
        """Return each operator as its uid, its description and the streams it takes, sorted.

        An operator without a uid is named by all that, so that it need not be numbered.
        """
        inputs = self._inputs()
        names: dict[str, str] = {}
        shapes = []
        for spec in self.operators():
            streams = [
                [names[edge.source_operator], edge.tag, edge.partitioning]
                for edge in inputs[spec.id]
            ]
            shape = [spec.uid, *describe(spec), sorted(streams, key=str)]
            names[spec.id] = spec.uid or _digest(shape)
            shapes.append(shape)
        return sorted(shapes, key=_digest)

    def _inputs(self) -> dict[str, list[JobEdge]]:
        """Return the streams that enter each operator, those within a task too."""
        inputs: dict[str, list[JobEdge]] = {spec.id: [] for spec in self.operators()}
        for edge in self.edges:
            inputs[edge.target_operator].append(edge)
        for vertex in self.vertices:
            for before, after in pairwise(vertex.operators):
                inputs[after.id].append(JobEdge(vertex.id, before.id, vertex.id, after.id, ""))
        return inputs


def _states(spec: OperatorSpec) -> dict[str, list[str]]:
    return {state.name: [state.kind, state.type] for state in spec.states}


def _digest(value: object) -> str:
    text = json.dumps(value, sort_keys=True, default=stable_repr, separators=(",", ":"))
    text = without_addresses(text)  # a source's description may be a repr of a user's object
    return hashlib.sha256(text.encode()).hexdigest()[:16]
