"""``process``: a function of the user's own, with state per key."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from millstream.core.errors import RecordError
from millstream.core.function_kind import is_generator
from millstream.core.job_graph import OperatorKind, StateSpec
from millstream.core.operator import KeyedProcessFunction, ProcessContext
from millstream.core.state import find_states
from millstream.core.wording import shown
from millstream.operators.definition import RowOperator
from millstream.operators.key_by import KeyBy
from millstream.operators.loop import Loop, StateStore


@dataclass(frozen=True, slots=True, eq=False)
class Process(RowOperator):
    """Call a ``KeyedProcessFunction`` for each record.

    Attributes:
        function: the user's instance; each run works on a shallow copy.
        side_outputs: the tags that ``ctx.output`` may be given.
        key_by: how to find a record's key.
    """

    function: KeyedProcessFunction[Any, Any]
    side_outputs: tuple[str, ...]
    key_by: KeyBy
    kind = OperatorKind.PROCESS
    stateful = True
    ends_segment = True

    def functions(self) -> tuple[Any, ...]:
        """Return the user's class."""
        return (type(self.function),)

    def states(self) -> tuple[StateSpec, ...]:
        """Return the states its class declares."""
        return tuple(
            StateSpec(str(each.name), each.kind, _type_name(each.type))
            for each in find_states(type(self.function)).values()
        )

    def options(self) -> Mapping[str, Any]:
        """Return the side outputs, if there are any."""
        return {"side_outputs": list(self.side_outputs)} if self.side_outputs else {}

    def write(self, loop: Loop) -> None:
        """Write the hand-over of the key to each state, and the call."""
        key, record = self.key_by.write_key(loop), loop.value()
        live = loop.keep("live", lambda: LiveProcess(self, str(loop.uid), loop.states))
        for state in live.states:
            loop.line(f"{loop.bind(state)}.key = {key}")
        function, name = live.function, loop.bind(live.ctx)
        if self.side_outputs:
            sides = ", ".join(f"{tag!r}: {loop.side_output(tag)}" for tag in self.side_outputs)
            loop.prologue(f"{name}.side_outputs = {{{sides}}}")
            loop.epilogue(f"{name}.side_outputs = {loop.bind(live.no_outputs)}")
        loop.line(f"{name}.current_key = {key}")
        call = f"{loop.bind(function.process_element)}({record}, {name})"
        made = loop.bind(live.made)
        # Another thread may be collecting: nothing of what it adds in between may be lost.
        take = f"made = len({made}); out.extend({made}[:made]); del {made}[:made]"
        loop.epilogue(take)
        if is_generator(function.process_element):
            loop.line(f"if {made}: {take}")  # in order with what it yields
            loop.for_each(call)
            loop.line(f"if {made}: {take}")
        else:
            loop.emits_main = False  # it appends to the output itself
            loop.line(f"r = {call}")
            loop.line(f"if r is not None: {loop.bind(_returned)}(r)")


class LiveProcess:
    """A run's own copy of the user's function, with its context and its states.

    Attributes:
        function: the copy; the engine calls its ``open`` and ``close``.
        ctx: what it is given.
        made: what it has collected and the loop has not yet taken.
        no_outputs: what stands for its side outputs outside of ``process_element``.
        states: its live states, whose key the loop sets.
    """

    def __init__(self, process: Process, uid: str, store: StateStore) -> None:
        function = process.function
        self.function = copy.copy(function)
        self.no_outputs = dict.fromkeys(process.side_outputs, _refused)
        self.made: list[Any] = []  # one list for the whole run: `ctx.collect` may be kept
        self.ctx: ProcessContext[Any] = ProcessContext(uid, collect=self.made.append)
        self.ctx.side_outputs = self.no_outputs
        self.states = []
        for attribute, descriptor in find_states(type(function)).items():
            state = store.value_state(uid, str(descriptor.name), descriptor.default)
            object.__setattr__(self.function, attribute, state)  # it may be a frozen dataclass
            self.states.append(state)
        # The dict of a copied instance shares its keys with others of the class; CPython 3.11
        # reads `self.total` from such a dict in 25 ns, and from an ordinary one in 9.
        object.__setattr__(self.function, "__dict__", dict(vars(self.function)))

    def open(self) -> None:
        """Open the user's function.

        Raises:
            RecordError: it emitted something.
        """
        self.function.open(self.ctx)
        self._check("open()")

    def close(self, *, at_end: bool) -> None:
        """Close the user's function.

        Args:
            at_end: the input has ended; else a record failed, or the run was cancelled.

        Raises:
            RecordError: it emitted something, or somebody did since the last record.
        """
        if at_end:
            self._check("another thread")
        self.made.clear()  # of a record that failed
        self.function.close()
        self._check("close()")

    def _check(self, where: str) -> None:
        if self.made:
            raise RecordError(
                f"collect({shown(self.made[0])}) in {where}: emit only in process_element"
            )


def _refused(value: object) -> None:
    raise RecordError(
        f"output(…, {shown(value)}) in open(), close() or another thread: emit only in "
        "process_element"
    )


def _type_name(kind: Any) -> str:
    # `dict[str, int]` answers for `dict` where it is asked for its name.
    return kind.__qualname__ if isinstance(kind, type) else str(kind)


def _returned(value: object) -> None:
    raise RecordError(
        f"process_element returned {value!r}, which would be lost; emit by ctx.collect(…), or make "
        "it a generator and yield"
    )
