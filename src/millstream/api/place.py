"""Where in a job's graph a stream stands: what its methods add their operators to."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from millstream.api.definition_site import definition_site
from millstream.api.record_type import check_fields
from millstream.core.errors import ConfigError, GraphError
from millstream.core.expression import Expr, fields
from millstream.graph.stream_graph import StreamEdge, StreamGraph
from millstream.operators.definition import OperatorDefinition
from millstream.operators.function_check import check_function

# Controls, halves of surrogate pairs, line and paragraph separators: they break or forge a line of
# a log, a plan or a report.
_UNSHOWABLE = frozenset({"Cc", "Cs", "Zl", "Zp"})


@contextmanager
def located(where: str) -> Iterator[None]:
    """Let errors from below, which know no job, begin with where in the user's code they arose."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error.__cause__


def name_fault(name: str) -> str:
    """Return what is wrong with a job's name or a uid; empty if nothing is, or it is blank."""
    if name.strip() not in ("", name):
        return f"must not begin or end with white space; got {name!r}, write {name.strip()!r}"
    if any(unicodedata.category(each) in _UNSHOWABLE for each in name):
        return f"must be one line without control characters; got {name!r}"
    return ""


@dataclass(frozen=True, slots=True)
class Place:
    """An output of one operator.

    Attributes:
        graph: the job's graph.
        chaining: False where every operator of the job gets a task of its own.
        node: the operator's id.
        tag: the side output; None for the main one.
        record_type: the type of the records, where it is known.
    """

    graph: StreamGraph
    chaining: bool
    node: str = ""
    tag: str | None = None
    record_type: Any = None

    @property
    def edge(self) -> StreamEdge:
        """Return the stream as an input of another operator."""
        return StreamEdge(self.node, self.tag)

    def where(self, method: str, uid: str | None) -> str:
        """Return what an error about a method's call begins with."""
        name = f" {uid!r}" if uid else ""
        return f"{method}{name} at {definition_site()} (job {self.graph.job!r})"

    def check(
        self,
        where: str,
        function: Any,
        *,
        arguments: int = 1,
        generator: str = "",
        asynchronous: str = "",
    ) -> None:
        """Refuse a function that cannot be called so, or an expression of a field there is not."""
        if isinstance(function, Expr):
            check_fields(where, self.record_type, fields(function))
        else:
            check_function(
                where,
                function,
                arguments=arguments,
                generator=generator,
                asynchronous=asynchronous,
            )

    def add(
        self,
        definition: OperatorDefinition,
        uid: str | None,
        *,
        record_type: Any = None,
        side_outputs: tuple[str, ...] = (),
        inputs: tuple[StreamEdge, ...] | None = None,
    ) -> Place:
        """Add an operator behind this place, and return the place behind it.

        Raises:
            GraphError: the uid is missing where it is needed, taken, or cannot be shown.
        """
        if isinstance(uid, str) and (fault := name_fault(uid)):
            raise GraphError(f"{self.where(definition.kind, None)}: uid {fault}")
        node = self.graph.add(
            definition,
            (self.edge,) if inputs is None else inputs,
            uid=uid,
            defined_at=definition_site(),
            side_outputs=side_outputs,
        )
        if not self.chaining:
            self.graph.disable_chaining(node)
        return Place(self.graph, self.chaining, node, record_type=record_type)

    def side(self, tag: str, record_type: Any = None) -> Place:
        """Return the place of one of the operator's side outputs."""
        return Place(self.graph, self.chaining, self.node, tag, record_type)
