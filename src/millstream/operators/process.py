"""``process``: a function of the user's own, with state and timers per key."""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from millstream.core.errors import RecordError
from millstream.core.function_kind import is_generator
from millstream.core.job_graph import OperatorKind, StateSpec
from millstream.core.operator import KeyedProcessFunction, ProcessContext
from millstream.core.state import find_states
from millstream.core.timers import PROCESSING_TIME_TIMERS
from millstream.core.wording import shown
from millstream.operators.definition import RowOperator
from millstream.operators.key_by import KeyBy
from millstream.operators.loop import Loop
from millstream.operators.timer_service import LiveTimerService
from millstream.runtime.state.base import StateBackend, Timers
from millstream.runtime.state.live_states import NoKey


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
        """Return the states its class declares, and its timers, if it has any."""
        declared = [
            StateSpec(str(each.name), each.kind, _type_name(each.type))
            for each in find_states(type(self.function)).values()
        ]
        if _has_timers(self.function):
            declared.append(StateSpec(PROCESSING_TIME_TIMERS, "timers", "(time, key)"))
        return tuple(declared)

    def options(self) -> Mapping[str, Any]:
        """Return the side outputs, if there are any."""
        return {"side_outputs": list(self.side_outputs)} if self.side_outputs else {}

    def write(self, loop: Loop) -> None:
        """Write the hand-over of the key to each state, and the call."""
        key, record = self.key_by.write_key(loop), loop.value()
        live = loop.keep("live", lambda: LiveProcess(self, str(loop.uid), loop.states))
        loop.prologue(f"{loop.bind(loop.states.tick)}()")
        for state in live.keyed:
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
            loop.line(f"if r is not None: {loop.bind(_returned)}('process_element', r)")


class LiveProcess:
    """A run's own copy of the user's function, with its context and its states.

    Attributes:
        function: the copy; the engine calls its ``open`` and ``close``.
        ctx: what it is given.
        made: what it has collected and the loop has not yet taken.
        no_outputs: what stands for its side outputs outside of ``process_element``.
        timers: its timers, if it has ``on_timer``.
        keyed: its live states by key, and its timers, whose ``key`` is to be set.
        firing: the timer in hand, or the last one.
    """

    def __init__(self, process: Process, uid: str, store: StateBackend) -> None:
        function = process.function
        self.function = copy.copy(function)
        self.no_outputs = dict.fromkeys(process.side_outputs, _refused)
        self.made: list[Any] = []  # one list for the whole run: `ctx.collect` may be kept
        self.timers: Timers | None = None
        self.keyed: list[Any] = []
        self.firing: tuple[int, Hashable] = (0, None)
        if _has_timers(function):
            self.timers = store.timers(uid, PROCESSING_TIME_TIMERS)
            self.keyed.append(self.timers)
        service = LiveTimerService(store, self.timers)
        self.ctx: ProcessContext[Any] = ProcessContext(uid, self.made.append, service)
        self.ctx.side_outputs = self.no_outputs
        self._side_outputs = process.side_outputs
        self._store = store
        self._yields = is_generator(self.function.on_timer)
        for attribute, descriptor in find_states(type(function)).items():
            state = store.state(uid, descriptor)
            object.__setattr__(self.function, attribute, state)  # it may be a frozen dataclass
            if descriptor.keyed:
                self.keyed.append(state)
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

    def fire(
        self, outs: Sequence[list[Any]], limit: list[int], in_time: Callable[[], bool], at_end: bool
    ) -> Iterator[None]:
        """Call ``on_timer`` for what is due, until an output is full or the time is up.

        Args:
            outs: the main output, then the side outputs; the caller empties them at each yield.
            limit: about how many records one of them may hold.
            in_time: returns whether another timer may be fired now.
            at_end: the input has ended: fire all that are due by now, and were registered before;
                yield where else it would end.
        """
        timers = self.timers
        assert timers is not None
        self._store.tick()
        now_ms, newest = self._store.now_ms, timers.registered if at_end else None
        self.ctx.side_outputs = {
            tag: out.append for tag, out in zip(self._side_outputs, outs[1:], strict=True)
        }
        try:
            while (timer := timers.pop_due(now_ms, newest)) is not None:
                self.firing = timer
                yield from self._fire_one(timer, outs[0], limit)
                if not in_time() or any(len(out) >= limit[0] for out in outs):
                    if not at_end:
                        return
                    yield
        finally:
            self.ctx.side_outputs = self.no_outputs

    def _fire_one(
        self, timer: tuple[int, Hashable], out: list[Any], limit: list[int]
    ) -> Iterator[None]:
        time_ms, key = timer
        self.ctx.current_key = key
        for each in self.keyed:
            each.key = key
        made = self.function.on_timer(time_ms, self.ctx)
        if not self._yields:
            if made is not None:
                _returned("on_timer", made)
            self._take(out)
            return
        for value in made or ():
            self._take(out)  # in order with what it yields
            out.append(value)
            if len(out) >= limit[0]:
                yield
        self._take(out)

    def _take(self, out: list[Any]) -> None:
        """Put out what was collected; another thread may be collecting, as in the loop."""
        if self.made:
            count = len(self.made)
            out.extend(self.made[:count])
            del self.made[:count]

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
        if self.timers is not None:
            self.timers.key = NoKey("timer")
        self.function.close()
        self._check("close()")

    def _check(self, where: str) -> None:
        if self.made:
            raise RecordError(
                f"collect({shown(self.made[0])}) in {where}: emit only in process_element and "
                "on_timer"
            )


def _has_timers(function: KeyedProcessFunction[Any, Any]) -> bool:
    """Return whether the user has written an ``on_timer``."""
    on_timer = function.on_timer
    return getattr(on_timer, "__func__", on_timer) is not KeyedProcessFunction.on_timer


def _refused(value: object) -> None:
    raise RecordError(
        f"output(…, {shown(value)}) in open(), close() or another thread: emit only in "
        "process_element and on_timer"
    )


def _type_name(kind: Any) -> str:
    # `dict[str, int]` answers for `dict` where it is asked for its name.
    return kind.__qualname__ if isinstance(kind, type) else str(kind)


def _returned(method: str, value: object) -> None:
    raise RecordError(
        f"{method} returned {value!r}, which would be lost; emit by ctx.collect(…), or make it a "
        "generator and yield"
    )
