"""``map_async`` in the engine: calls in flight on the event loop, their results back in order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from millstream.core.accounting import OperatorCounts, TaskTimes
from millstream.core.element import Barrier, Chunk, Control, Position
from millstream.core.errors import OperatorError
from millstream.core.wording import placed, said
from millstream.engine.alignment import Alignment
from millstream.engine.async_call import CallError, limited
from millstream.engine.channel import Inlet, Outlet
from millstream.engine.dispatcher import Dispatcher
from millstream.engine.event_loop import EventLoop
from millstream.operators.map_async import MapAsync

_DEAF_S = 1.0  # what a call gets to end in, once its timeout has cancelled it


class _Call:
    """One record in flight."""

    __slots__ = ("chunk", "done", "error", "given_up", "index", "result", "value")

    def __init__(self, value: Any, chunk: Chunk, index: int) -> None:
        self.value = value
        self.chunk = chunk
        self.index = index
        self.done = False
        self.given_up = False
        self.result: Any = None
        self.error: BaseException | None = None


class AsyncTask:
    """A processor whose work is done on the event loop, up to ``capacity`` records at a time.

    Results that wait for demand count as in flight. Watermarks and the end of the input wait for
    the calls before them; a barrier does not: what is in flight belongs to the snapshot.

    Attributes:
        ended: its input has ended, and all of its results are on their way.
        on_barrier: told of each barrier before it is sent on.
        on_ended: told when it has ended.
        held: it makes no calls and emits nothing for now; see ``hold``.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        name: str,
        operator: MapAsync,
        loop: EventLoop,
        on_failure: Callable[[BaseException], None],
    ) -> None:
        self.name = name
        self.scheduled = False
        self.done = False
        self.ended = False
        self.held = False
        self.on_barrier: Callable[[AsyncTask, int], None] | None = None
        self.on_ended: Callable[[AsyncTask], None] | None = None
        self.inlets = [Inlet(self._schedule, self._fail)]
        self.outlet = Outlet(self._schedule, self._on_cancel)
        self._dispatcher = dispatcher
        self._operator = operator
        self._loop = loop
        self._on_failure = on_failure
        self._alignment = Alignment(self.inlets)
        self._in_flight: deque[_Call | Control] = deque()
        self._calls = 0  # records among them
        self._finished: deque[_Call] = deque()  # filled on the loop, emptied in the engine
        self._announced = False
        self._result: list[Any] = []  # finished, in order, waiting for demand
        self._origin: _Call  # what the first of these came from
        self._alone = False  # and there is no other
        self._received = self._emitted = self._filtered = 0
        self._net = 0  # records that calls gave, over one for each call
        self._started_ns = 0
        self._call = limited(operator)
        self._restored: Sequence[Any] = ()  # inputs of calls that a checkpoint found in flight
        self._restored_results = 0

    # -- lifecycle ------------------------------------------------------------------------------

    def open(self) -> None:
        """Begin to count the time, and make the calls again that a checkpoint found in flight."""
        self._started_ns = self._dispatcher.clock.monotonic_ns()
        if self._restored:
            self._send_off(self._restored_chunk(self._restored))
        if self._result:
            self._origin = _Call(None, self._restored_chunk(()), 0)
            self._schedule()

    def in_flight(self) -> dict[str, Any]:
        """Return what the snapshot needs: inputs of calls under way, results not yet emitted."""
        inputs = [each.value for each in self._in_flight if isinstance(each, _Call)]
        return {"inputs": inputs, "results": list(self._result)}

    def restore(self, in_flight: dict[str, Any]) -> None:
        """Go on with what ``in_flight`` returned; before the run."""
        self._restored = in_flight["inputs"]
        self._result = in_flight["results"]
        self._restored_results = len(self._result)

    def _restored_chunk(self, values: Sequence[Any]) -> Chunk:
        nowhere = Position(None, 0)
        now_ms = self._dispatcher.clock.now_ms()
        return Chunk(values, f"in flight at {self.name}", nowhere, nowhere, now_ms, exact=False)

    def close(self) -> None:
        """Forget what is in flight; the loop's owner cancels it."""
        self.done = True

    def times(self) -> TaskTimes:
        """Return its lifetime as idle: it costs the engine next to nothing."""
        life_s = (self._dispatcher.clock.monotonic_ns() - self._started_ns) / 1e9
        return TaskTimes(self.name, 0.0, 0.0, life_s)

    def counts(self) -> OperatorCounts:
        """Return what it has counted."""
        return OperatorCounts(
            self.name,
            self._received,
            self._emitted,
            filtered=self._filtered,
            created=max(0, self._net) + self._restored_results,
            absorbed=max(0, -self._net),
        )

    def emitted(self) -> int:
        """Return how many records it has emitted."""
        return self._emitted

    def hold(self) -> None:
        """Do nothing behind the barrier in hand: the run may end with it."""
        self.held = True

    def release(self) -> None:
        """Go on, if it was held."""
        if self.held:
            self.held = False
            self._schedule()

    # -- a slice --------------------------------------------------------------------------------

    def run_slice(self) -> None:
        """Emit finished results, send off new records, ask for more."""
        if self.done or self.held:
            return
        self._emit()
        if self.done:
            return
        inlet = self.inlets[0]
        while inlet.queue:
            element = inlet.take(self._operator.capacity)
            if isinstance(element, Chunk):
                self._send_off(element)
            else:
                self._on_control(element)
                if self.held:
                    return
        self._emit()
        if inlet.completed and not self._in_flight and not self._result:
            self.done = True
            self._note_ended()
            self.outlet.complete()
        else:
            inlet.top_up(self._operator.capacity - self._calls - len(self._result))

    def _note_ended(self) -> None:
        self.ended = True
        if self.on_ended is not None:
            self.on_ended(self)

    def _send_off(self, chunk: Chunk) -> None:
        calls = [_Call(value, chunk, index) for index, value in enumerate(chunk.values)]
        self._received += len(calls)
        self._calls += len(calls)
        self._in_flight.extend(calls)
        self._loop.call_soon(self._start, calls)

    def _on_control(self, element: Control) -> None:
        for merged in self._alignment.merge(0, element):
            if isinstance(merged, Barrier):
                self._collect()  # a watermark with no call before it keeps its place
                if self.on_barrier is not None:
                    self.on_barrier(self, merged.checkpoint_id)
                self.outlet.control(merged)
            else:
                self._in_flight.append(merged)

    def _emit(self) -> None:
        while self._finished:
            call = self._finished.popleft()
            call.done = True
            if call.error is not None:
                self._fail(self._named(call, call.error))
                return
        while True:
            self._collect()
            room = self.outlet.demand
            if not self._result or room <= 0 or self.done:
                return
            values, self._result = self._result[:room], self._result[room:]
            self._emitted += len(values)
            chunk, start = self._origin.chunk, self._origin.chunk.position_of(self._origin.index)
            exact = chunk.exact and self._alone
            end = start.plus(1) if chunk.exact else chunk.end
            place = (chunk.split, start, end, chunk.ingested_ms)
            self.outlet.emit(Chunk(values, *place, exact=exact, weight=chunk.weight))

    def _collect(self) -> None:
        """Move what may leave now out of flight; control elements go in their place."""
        while not self._result and self._in_flight:
            head = self._in_flight[0]
            if isinstance(head, Control):
                self._in_flight.popleft()
                self.outlet.control(head)
                continue
            ready = self._ready()
            if not ready:
                return
            self._calls -= len(ready)
            self._origin = ready[0]
            self._alone = len(ready) == 1 and self._operator.result != "records"
            for call in ready:
                self._result += self._values(call)

    def _ready(self) -> list[_Call]:
        """Take the finished calls that may leave: a prefix, or any before the next control."""
        ready: list[_Call] = []
        waiting: list[_Call] = []
        while self._in_flight and isinstance(call := self._in_flight[0], _Call):
            if call.done:
                ready.append(call)
            elif self._operator.ordered:
                break
            else:
                waiting.append(call)
            self._in_flight.popleft()
        self._in_flight.extendleft(reversed(waiting))
        return ready

    def _values(self, call: _Call) -> Sequence[Any]:
        kind = self._operator.result
        if kind == "record":
            return (call.result,)
        if kind == "keep":
            if call.result:
                return (call.value,)
            self._filtered += 1
            return ()
        try:
            values = list(call.result)
        except BaseException as error:  # noqa: BLE001  # no iterable, or one that fails
            self._fail(self._named(call, error))
            return ()
        self._net += len(values) - 1
        return values

    # -- on the loop ----------------------------------------------------------------------------

    def _start(self, calls: list[_Call]) -> None:
        for call in calls:
            self._loop.start(self._run(call), operator=self.name)

    async def _run(self, call: _Call) -> None:
        watch: asyncio.TimerHandle | None = None
        timeout_ms = self._operator.timeout_ms
        if timeout_ms is not None:
            late_s = timeout_ms / 1000 + _DEAF_S
            watch = asyncio.get_running_loop().call_later(late_s, self._give_up, call)
        try:
            call.result = await self._call(call.value)
        except asyncio.CancelledError as error:
            if self._loop.stopping:
                raise  # the run ends
            call.error = error  # the call was cancelled from within: it will have no result
        except BaseException as error:  # noqa: BLE001  # the engine thread raises it, with the record
            call.error = error
        finally:
            if watch is not None:
                watch.cancel()
        if not call.given_up:
            self._note_finished(call)

    def _give_up(self, call: _Call) -> None:
        """Fail a call that goes on although its timeout has cancelled it."""
        call.given_up = True
        call.error = CallError(
            f"no result within {self._operator.timeout_ms} ms, and it goes on although it was "
            "cancelled: let CancelledError pass (a bare `except:` catches it)"
        )
        self._note_finished(call)

    def _note_finished(self, call: _Call) -> None:
        self._finished.append(call)
        if not self._announced:
            self._announced = True
            self._dispatcher.post(self._on_finished)

    def _on_finished(self, _: object) -> None:
        self._announced = False
        self._schedule()

    # -- ending ---------------------------------------------------------------------------------

    def _named(self, call: _Call, cause: BaseException) -> OperatorError:
        position: Position = call.chunk.position_of(call.index)
        record = placed(call.value, position, exact=call.chunk.exact)
        what = said(cause)
        if isinstance(cause, CallError):
            what, cause = str(cause), cause.__cause__ or cause
        error = OperatorError(
            f"operator {self.name!r} failed on {record} of source split {call.chunk.split!r}: "
            f"{what}",
            operator_uid=self.name,
            record=call.value,
            position=position,
        )
        error.__cause__ = cause
        return error

    def _fail(self, error: BaseException) -> None:
        if not self.done:
            self.done = True
            self._on_failure(error)  # first: what follows goes from task to task
            self.outlet.error(error)
            self.inlets[0].cancel()

    def _on_cancel(self) -> None:
        if not self.done:
            self.done = True
            self.inlets[0].cancel()

    def _schedule(self) -> None:
        if not self.done:
            self._dispatcher.schedule(self)
