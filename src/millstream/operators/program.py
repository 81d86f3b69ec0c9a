"""What a runner is given: a JobGraph, and the live operators it describes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from millstream.core.job_graph import JobGraph
from millstream.operators.definition import OperatorDefinition


@dataclass(frozen=True, slots=True)
class Program:
    """A job, ready to run in the process that built it.

    Attributes:
        graph: the description.
        definitions: the live operators by id, with the user's functions.
    """

    graph: JobGraph
    definitions: Mapping[str, OperatorDefinition]
