"""What the graph and the engine need to know of any operator."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from millstream.core.delivery import Delivery
from millstream.core.expression import Expr
from millstream.core.function_ref import function_ref
from millstream.core.job_graph import Access, FunctionRef, OperatorKind, OperatorSpec, StateSpec
from millstream.operators.loop import Loop


class OperatorDefinition(ABC):
    """An operator as the user wrote it, with its live functions; frozen, so any run may use it."""

    kind: ClassVar[OperatorKind]
    stateful: ClassVar[bool] = False

    def access(self) -> Access:
        """Return how it meets its records."""
        return Access.EXPRESSION if not self.functions() else Access.FUNCTION

    def functions(self) -> tuple[Any, ...]:
        """Return the user's functions in it."""
        return ()

    def states(self) -> tuple[StateSpec, ...]:
        """Return the states it declares."""
        return ()

    def keyed_by(self) -> str | None:
        """Return what it partitions its stream by, if it does."""
        return None

    def options(self) -> Mapping[str, Any]:
        """Return what else was said, as plain values."""
        return {}

    def delivery(self) -> Delivery | None:
        """Return how often records take effect, if it is an end of the stream."""
        return None

    def spec(self, operator_id: str, uid: str | None, defined_at: str) -> OperatorSpec:
        """Return the description that goes into a JobGraph."""
        refs: tuple[FunctionRef, ...] = tuple(function_ref(each) for each in self.functions())
        return OperatorSpec(
            id=operator_id,
            kind=self.kind,
            uid=uid,
            access=self.access(),
            functions=refs,
            key=self.keyed_by(),
            states=self.states(),
            options=self.options(),
            defined_at=defined_at,
        )


class RowOperator(OperatorDefinition):
    """An operator that is written into the loop over a chunk's records."""

    ends_segment: ClassVar[bool] = False
    """True if what it emits must be a list of its own: it may also emit without a record."""

    @abstractmethod
    def write(self, loop: Loop) -> None:
        """Add this operator's lines to the loop."""

    def clause(self, loop: Loop) -> str | None:
        """Return the operator as a clause of a list comprehension over ``v``, if it can be one.

        It then has no effect but its result, and raises where the loop would have to look closer.
        """
        return None


def option_of(value: Any) -> Any:
    """Return a function or an expression as a plain value for ``options``."""
    return value.describe() if isinstance(value, Expr) else function_ref(value).name
