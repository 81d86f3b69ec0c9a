"""``aggregate``: sums, counts, means, minima and maxima of a key, without a call per record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from millstream.core.aggregate import Aggregate
from millstream.core.job_graph import OperatorKind, StateSpec
from millstream.operators.definition import RowOperator
from millstream.operators.key_by import KeyBy
from millstream.operators.loop import Loop
from millstream.runtime.state.base import Table

Emit = Literal["each", "final"]

_START = {"count": "0", "sum": "0", "mean": "0, 0", "min": "None", "max": "None"}
_RESULT = {
    "count": "{cell}[{at}]",
    "sum": "{cell}[{at}]",
    "mean": "({cell}[{at}] / {cell}[{at} + 1] if {cell}[{at} + 1] else None)",
    "min": "{cell}[{at}]",
    "max": "{cell}[{at}]",
}
_UPDATE = {
    "count": "{cell}[{at}] += 1",
    "sum": "{cell}[{at}] += {x}",
    "mean": "{cell}[{at}] += {x}; {cell}[{at} + 1] += 1",
    "min": "if {cell}[{at}] is None or {x} < {cell}[{at}]: {cell}[{at}] = {x}",
    "max": "if {cell}[{at}] is None or {x} > {cell}[{at}]: {cell}[{at}] = {x}",
}


@dataclass(frozen=True, slots=True, eq=False)
class AggregateBy(RowOperator):
    """Keep aggregates per key.

    The state is one list per key with the aggregates' running values, changed in place; of a
    lone unnamed count or sum that is emitted each time it is the number itself.

    Attributes:
        aggregates: by result field; the single unnamed one is under ``""``.
        emit: ``each``: the new result after every record; ``final``: one per key at the end.
        key_by: how to find a record's key, and what to call it in results.
    """

    aggregates: Mapping[str, Aggregate]
    emit: Emit
    key_by: KeyBy
    kind = OperatorKind.AGGREGATE
    stateful = True

    @property
    def ends_segment(self) -> bool:  # type: ignore[override]  # a constant on other operators
        """Return True where results come at the end of the input, not from a record."""
        return self.emit == "final"

    def states(self) -> tuple[StateSpec, ...]:
        """Return the one state, its type the layout of the list: ``[total: sum, n: count]``.

        What is aggregated is code, as a function would be: another operand may resume.
        """
        if self._is_bare:
            return (StateSpec("aggregates", "aggregating", self.aggregates[""].kind),)
        cells = ", ".join(
            f"{name if name.isidentifier() else repr(name)}: {each.kind}" if name else each.kind
            for name, each in self.aggregates.items()
        )
        return (StateSpec("aggregates", "aggregating", f"[{cells}]"),)

    def options(self) -> Mapping[str, Any]:
        """Return the aggregates and when they are emitted."""
        described = {name: each.describe() for name, each in self.aggregates.items()}
        return {"aggregates": described, "emit": self.emit}

    def write(self, loop: Loop) -> None:
        """Write the look-up of the key's running values, their update, and the result."""
        key, record = self.key_by.write_key(loop), loop.value()
        state = loop.states.state_table(str(loop.uid), self.states()[0])
        table, get = loop.fresh("table"), loop.fresh("get")
        loop.prologue(f"{table} = {loop.bind(state)}.table")
        loop.prologue(f"{get} = {table}.get")
        operands = self._write_operands(loop, state)
        if self._is_bare:
            self._write_bare(loop, operands[0], f"{table}[{key}]", f"{get}({key}, 0)")
            return
        start = ", ".join(_START[each.kind] for each in self.aggregates.values())
        loop.line(f"cell = {get}({key})")
        loop.line(f"if cell is None: {table}[{key}] = cell = [{start}]")
        for (at, each), operand in zip(self._places(), operands, strict=True):
            update = _UPDATE[each.kind].format(cell="cell", at=at, x=operand)
            if operand is None:
                loop.line(update)
            else:
                with loop.block(f"if {operand} is not None:"):
                    loop.line(update)
        if self.emit == "each":
            loop.line(f"{record} = {self._result(key, 'cell')}")
        else:
            loop.emits_main = False
            loop.drains.append((loop.operator, lambda: self._drain(state)))

    def _write_bare(self, loop: Loop, operand: str | None, cell: str, or_0: str) -> None:
        """Write the update of a lone number; the record becomes its new value.

        A key's first record costs an exception, 0.4 us. All later ones save the call of ``get``:
        5 % of a short chain.
        """
        (only,) = self.aggregates.values()
        record, x = loop.value(), "1" if only.kind == "count" else operand

        def add() -> None:
            loop.line(f"try: {record} = {cell} + {x}")
            loop.line(f"except KeyError: {record} = {or_0} + {x}")

        if operand is None:
            add()
        else:
            with loop.block(f"if {operand} is None:"):
                loop.line(f"{record} = {or_0}")
            with loop.block("else:"):
                add()
        loop.line(f"{cell} = {record}")

    @property
    def _is_bare(self) -> bool:
        """Return whether the state is one number, which needs no list."""
        lone = self.aggregates.get("")
        return lone is not None and self.emit == "each" and lone.kind in ("count", "sum")

    def _write_operands(self, loop: Loop, state: Table) -> list[str | None]:
        """Compute each different operand once; return the variable of each aggregate's."""
        variables: dict[str, str] = {}
        operands: list[str | None] = []
        for each in self.aggregates.values():
            if each.operand is None:
                operands.append(None)
                continue
            text = each.operand.describe()
            if text not in variables:
                variables[text] = loop.fresh("x")
                loop.expression(each.operand, variables[text])
                loop.check_write(state, variables[text])
            operands.append(variables[text])
        return operands

    def _places(self) -> Iterator[tuple[int, Aggregate]]:
        """Yield where in the list each aggregate begins."""
        at = 0
        for each in self.aggregates.values():
            yield at, each
            at += 2 if each.kind == "mean" else 1

    def _result(self, key: str, cell: str) -> str:
        """Return the code of a result: the lone unnamed value, or a dict with the key's parts."""
        values = [_RESULT[each.kind].format(cell=cell, at=at) for at, each in self._places()]
        if list(self.aggregates) == [""]:
            return values[0]
        names = self.key_by.names
        keys = [key] if len(names) == 1 else [f"{key}[{i}]" for i in range(len(names))]
        items = zip([*names, *self.aggregates], [*keys, *values], strict=True)
        return "{" + ", ".join(f"{name!r}: {code}" for name, code in items) + "}"

    def _drain(self, state: Table) -> Iterator[Any]:
        result = eval(f"lambda key, cell: {self._result('key', 'cell')}")  # noqa: S307  # our text
        for key, cell in state.table.items():
            yield result(key, cell)
