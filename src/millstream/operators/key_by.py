"""``key_by``: which part of a record decides the state it meets."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any

from millstream.core.expression import Expr, col
from millstream.core.job_graph import OperatorKind
from millstream.operators.definition import RowOperator, option_of
from millstream.operators.loop import Loop


@dataclass(frozen=True, slots=True, eq=False)
class KeyBy(RowOperator):
    """Partition by key: all records of a key meet in one place, in order.

    Attributes:
        key: field names, an expression, or a function.
        names: what the key's parts are called in results.
        typed: the records' type promises the key's type, so that no record's need be looked at.
    """

    key: tuple[str, ...] | Expr | Callable[[Any], Hashable]
    names: tuple[str, ...]
    typed: bool = False
    kind = OperatorKind.KEY_BY

    def functions(self) -> tuple[Any, ...]:
        """Return the user's function, if it is one."""
        return (self.key,) if callable(self.key) and not isinstance(self.key, Expr) else ()

    def keyed_by(self) -> str:
        """Return the key as expressions; of a function only that it is one: its name is code."""
        if isinstance(self.key, Expr):
            return self.key.describe()
        if not isinstance(self.key, tuple):
            return "a function"
        parts = [col(name).describe() for name in self.key]
        return parts[0] if len(parts) == 1 else f"({', '.join(parts)})"

    def options(self) -> Mapping[str, Any]:
        """Return the fields, the expression or the function's name."""
        return {"key": list(self.key) if isinstance(self.key, tuple) else option_of(self.key)}

    def write(self, loop: Loop) -> None:
        """Write the key into its variable; the keyed operator behind finds it there."""
        self.write_key(loop)

    def write_key(self, loop: Loop) -> str:
        """Return the variable with the record's key, computing it if no operator has yet."""
        return loop.key(self, lambda variable: self._write(loop, variable), check=not self.typed)

    def _write(self, loop: Loop, variable: str) -> None:
        if not isinstance(self.key, tuple):
            loop.compute(self.key, variable)
        elif len(self.key) == 1:
            loop.expression(col(self.key[0]), variable)
        else:
            parts = [f"{variable}_{number}" for number in range(len(self.key))]
            for part, name in zip(parts, self.key, strict=True):
                loop.expression(col(name), part)
            loop.line(f"{variable} = ({', '.join(parts)})")
