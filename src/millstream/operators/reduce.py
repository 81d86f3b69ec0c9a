"""``reduce``: fold the records of a key into one value, emitting it each time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from millstream.core.job_graph import OperatorKind, StateSpec
from millstream.core.stable_repr import stable_repr
from millstream.operators.definition import RowOperator, option_of
from millstream.operators.key_by import KeyBy
from millstream.operators.loop import MISSING, Loop


@dataclass(frozen=True, slots=True, eq=False)
class Reduce(RowOperator):
    """Keep one value per key: ``function(value so far, record)``, emitted after each record.

    Attributes:
        function: returns the new value; it must not change the old one in place.
        initial: the value before the first record; without one the first record is it.
        key_by: how to find a record's key where the key_by is not in the same loop.
    """

    function: Callable[[Any, Any], Any]
    initial: Any
    key_by: KeyBy
    kind = OperatorKind.REDUCE
    stateful = True

    def functions(self) -> tuple[Any, ...]:
        """Return the user's function."""
        return (self.function,)

    def states(self) -> tuple[StateSpec, ...]:
        """Return the one state: the value so far."""
        kind = "any" if self.initial is MISSING else type(self.initial).__qualname__
        return (StateSpec("value", "reducing", kind),)

    def options(self) -> Mapping[str, Any]:
        """Return the function's name and the initial value."""
        named = {"function": option_of(self.function)}
        return named if self.initial is MISSING else {**named, "initial": stable_repr(self.initial)}

    def write(self, loop: Loop) -> None:
        """Write ``table[k] = v = function(table.get(k), v)``."""
        key, record = self.key_by.write_key(loop), loop.value()
        state = loop.states.state_table(str(loop.uid), self.states()[0])
        table, get = loop.fresh("table"), loop.fresh("get")
        loop.prologue(f"{table} = {loop.bind(state)}.table")
        loop.prologue(f"{get} = {table}.get")
        function = loop.bind(self.function)
        if self.initial is MISSING:
            missing = loop.bind(MISSING)
            loop.line(f"a = {get}({key}, {missing})")
            loop.line(f"if a is not {missing}: {record} = {function}(a, {record})")
        else:
            initial = loop.bind(self.initial)
            loop.line(f"{record} = {function}({get}({key}, {initial}), {record})")
        loop.check_write(state, record)
        loop.line(f"{table}[{key}] = {record}")
