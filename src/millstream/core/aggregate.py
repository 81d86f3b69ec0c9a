"""Aggregates that the engine knows by name, so that it can compute them without a call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from millstream.core.errors import ConfigError
from millstream.core.expression import Expr, col

AggregateKind = Literal["count", "sum", "mean", "min", "max"]


@dataclass(frozen=True, slots=True, eq=False)
class Aggregate:
    """One aggregate over the records of a key.

    As in SQL, null operands are left out: ``count(field)``, ``sum`` and ``mean`` see only the
    others, and over none at all ``sum`` is 0 and ``mean``, ``min`` and ``max`` are null.

    Attributes:
        kind: which one.
        operand: what is aggregated; None only for ``count()``, which counts records.
    """

    kind: AggregateKind
    operand: Expr | None

    def describe(self) -> str:
        """Return it as a user would write it."""
        return f"{self.kind}({'' if self.operand is None else self.operand.describe()})"


def _operand(kind: AggregateKind, value: str | Expr) -> Aggregate:
    if isinstance(value, str):
        value = col(value)
    if not isinstance(value, Expr):
        raise ConfigError(
            f"{kind}(): expected a field's name or an expression such as col('amount') * 2; "
            f"got {value!r}; for a function of your own use reduce(function, initial=…)"
        )
    return Aggregate(kind, value)


def count(field: str | Expr | None = None) -> Aggregate:
    """Count records, or the records in which ``field`` is not null."""
    return Aggregate("count", None) if field is None else _operand("count", field)


def sum(field: str | Expr) -> Aggregate:  # read as millstream.sum
    """Add up; 0 where there is nothing to add."""
    return _operand("sum", field)


def mean(field: str | Expr) -> Aggregate:
    """Average; null where there is nothing to average."""
    return _operand("mean", field)


def min(field: str | Expr) -> Aggregate:  # read as millstream.min
    """Keep the smallest."""
    return _operand("min", field)


def max(field: str | Expr) -> Aggregate:  # read as millstream.max
    """Keep the largest."""
    return _operand("max", field)
