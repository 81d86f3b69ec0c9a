"""A task: takes chunks from its inputs, runs its chain on them, and emits as far as demand goes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from millstream.core.accounting import TaskTimes
from millstream.core.element import Chunk, Control, EndOfInput, Position
from millstream.core.errors import OperatorError
from millstream.core.wording import said, shown
from millstream.engine.alignment import Alignment
from millstream.engine.chain import Chain, Emission, OutputKey
from millstream.engine.channel import Inlet, Outlet
from millstream.engine.dispatcher import Dispatcher
from millstream.engine.segment import RecordFailed, Segment

_LEAST_AMPLIFICATION = 1 / 64  # what a chain that emits nothing may take per record asked for
_NOWHERE = Chunk((), "", Position(None, 0), Position(None, 0), 0)


class Task:
    """A processor in Reactive Streams' sense: a subscriber per input, a publisher per output.

    It takes no more records than its outputs have asked for. What its chain emits beyond that
    stays where it is made, in a suspended generator or a list, and is sent in slices as demand
    comes; until then the task takes no input. Control elements need no demand.

    Args:
        dispatcher: the engine thread.
        chain: the operators.
        inputs: how many streams it takes.
        outputs: how many subscribers each output has.
        on_failure: told of a failing callback; nothing more is asked of the task then.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        chain: Chain,
        *,
        inputs: int,
        outputs: Mapping[OutputKey, int],
        on_failure: Callable[[BaseException], None],
    ) -> None:
        self.name = chain.name
        self.chain = chain
        self.scheduled = False
        self.done = False
        self._dispatcher = dispatcher
        self._on_failure = on_failure
        self.inlets = [Inlet(self._schedule, self._upstream_failed) for _ in range(inputs)]
        self.outlets: dict[OutputKey, list[Outlet]] = {
            key: [Outlet(self._schedule, self._on_cancel) for _ in range(count)]
            for key, count in outputs.items()
        }
        self._all_outlets = [each for group in self.outlets.values() for each in group]
        self._alignment = Alignment(self.inlets)
        self._turn = 0
        self._origin = _NOWHERE  # the chunk that what is being emitted came from
        self._emissions: Iterator[Emission] | None = None
        self._parked: deque[Emission] = deque()
        self._then: Control | None = None  # goes out behind what is being emitted
        self._eager = chain.eager
        self._direct: tuple[Inlet, Outlet, Segment | None] | None = None
        if chain.direct and inputs == 1 and len(self._all_outlets) == 1:
            self._direct = (
                self.inlets[0], self._all_outlets[0], next(chain.segments, None)
            )  # fmt: skip
        self.taken = 0  # records, from all inputs
        self._emitted = 0  # records, from the chunk in hand
        self._amplification = 1.0  # records out per record in, measured
        self._times_ns = {"busy": 0, "backpressured": 0, "idle": 0}
        self._waiting = "idle"
        self._now_ns = dispatcher.clock.monotonic_ns
        self._since_ns = self._now_ns()

    # -- lifecycle ------------------------------------------------------------------------------

    def open(self) -> None:
        """Open the user's process functions."""
        for segment in self.chain.segments:
            for operator, live in segment.processes():
                try:
                    live.function.open(live.ctx)
                except Exception as error:
                    raise OperatorError(
                        f"operator {operator!r}: open() failed: {said(error)}",
                        operator_uid=operator,
                    ) from error

    def close(self) -> None:
        """Close the user's functions and forget the generated ones; called once, always.

        Raises:
            OperatorError: a ``close`` failed; the others were called all the same.
        """
        self.done = True
        self._emissions = None
        failure: OperatorError | None = None
        for segment in self.chain.segments:
            for operator, live in segment.processes():
                try:
                    live.function.close()
                except Exception as error:  # noqa: BLE001  # raised below, after the others
                    failure = OperatorError(
                        f"operator {operator!r}: close() failed: {said(error)}",
                        operator_uid=operator,
                    )
                    failure.__cause__ = error
        self.chain.close()
        if failure is not None:
            raise failure

    def times(self) -> TaskTimes:
        """Return how the task has spent its life so far."""
        spent = {state: ns / 1e9 for state, ns in self._times_ns.items()}
        return TaskTimes(self.name, spent["busy"], spent["backpressured"], spent["idle"])

    # -- a slice --------------------------------------------------------------------------------

    def run_slice(self) -> None:
        """Emit what is parked, or else take one element; a chunk is one slice."""
        if self.done:
            return
        start_ns = self._now_ns()
        self._times_ns[self._waiting] += start_ns - self._since_ns
        try:
            if self._emissions is not None:
                self._advance(self._room())
            elif self._direct is None or not self._run_direct(*self._direct):
                self._take(self._room())
        except RecordFailed as failed:
            self._fail(self._named(failed))
        self._since_ns = self._now_ns()
        self._times_ns["busy"] += self._since_ns - start_ns
        self._look_ahead()

    def _run_direct(self, inlet: Inlet, outlet: Outlet, segment: Segment | None) -> bool:
        """Run whole chunks from the one input to the one output, as far as demand goes.

        What most tasks do most of the time, written out: the general way costs 5 us a chunk more.

        Returns:
            Whether it did anything.
        """
        queue, ran = inlet.queue, False
        while queue:
            chunk = queue[0]
            if not isinstance(chunk, Chunk):
                break
            records = len(chunk.values)
            if records * self._amplification > outlet.demand:
                break
            queue.popleft()
            inlet.queued -= records
            self.taken += records
            self._origin = chunk
            ran = True
            if segment is not None:
                chunk.values = segment.run(chunk.values)  # the chunk is ours alone
                self._amplify(len(chunk.values) / records)
                if len(chunk.values) > outlet.demand:
                    self._park(chunk.values)
                    break
                if not chunk.values:
                    continue
            outlet.emit(chunk)
        return ran

    def _amplify(self, ratio: float) -> None:
        """Note how many records one becomes; down it goes slowly, for it may go up at any time."""
        before = self._amplification
        after = ratio if ratio > before else before + (ratio - before) / 8
        self._amplification = max(after, _LEAST_AMPLIFICATION)

    def _park(self, values: Sequence[Any]) -> None:
        """Keep what the one output has no demand for."""
        self._parked.append((next(iter(self.outlets)), values))
        self._emissions = iter(())
        self._send_parked()

    def _take(self, room: int) -> None:
        number = self._next_inlet()
        if number is None:
            return
        inlet = self.inlets[number]
        if not isinstance(inlet.queue[0], Chunk):
            element = inlet.take(0)
            assert isinstance(element, Control)
            self._on_control(number, element)
        elif room > 0:
            chunk = inlet.take(max(1, int(room / self._amplification)))
            assert isinstance(chunk, Chunk)
            self._origin = chunk
            self.taken += len(chunk.values)
            self._emitted = 0
            self._emissions = self.chain.process(chunk.values)
            self._advance(room)

    def _on_control(self, number: int, element: Control) -> None:
        for merged in self._alignment.merge(number, element):
            if isinstance(merged, EndOfInput):
                self._emissions = self.chain.finish()
                self._then = merged
            else:
                self._send_control(merged)

    def _advance(self, room: int) -> None:
        """Emit until demand is used up, all is sent, or the inbox must have its turn."""
        if self._parked:
            self._send_parked()
            room = self._room()
            if self._parked or room <= 0:
                return
        self.chain.limit[0] = room
        assert self._emissions is not None
        for emission in self._emissions:
            records = len(emission[1])
            if not records:
                return
            self._emitted += records
            self._parked.append(emission)
            self._send_parked()
            # What is eager has nothing more to make: let it end, or a barrier behind it would wait.
            if not self._eager:
                room = self._room()
                if self._parked or room <= 0:
                    return
                self.chain.limit[0] = room
        if self._parked:
            self._emissions = iter(())
            return
        self._emissions = None
        ratio = self._emitted / (len(self._origin.values) or 1)
        self._amplify(ratio)
        if self._then is not None:
            self._send_control(self._then)
            self._then = None

    def _send_parked(self) -> None:
        parked = self._parked
        while parked:
            key, values = parked[0]
            outlets = self.outlets[key]
            room = min(
                [outlet.demand for outlet in outlets if not outlet.done], default=len(values)
            )
            if room <= 0:
                return
            if len(values) <= room:
                parked.popleft()
            else:
                parked[0] = (key, values[room:])
                values = values[:room]
            origin = self._origin
            for outlet in outlets:
                outlet.emit(
                    Chunk(values, origin.split, origin.start, origin.end, origin.ingested_ms)
                )

    def _send_control(self, element: Control) -> None:
        for outlet in self._all_outlets:
            outlet.control(element)

    def _look_ahead(self) -> None:
        """Ask upstream for what there is room for, and come back if there is work."""
        room = self._room()
        if self._emissions is not None:
            self._waiting = "backpressured"
            if room > 0:
                self._schedule()
            return
        number = self._next_inlet()
        if number is not None:
            self._waiting = "backpressured"
            if room > 0 or not isinstance(self.inlets[number].queue[0], Chunk):
                self._schedule()
        else:
            self._waiting = "idle"
            if self._completed():
                self._complete()
                return
        if room > 0:
            share = self._share(room)
            for inlet in self.inlets:
                inlet.top_up(share)

    def _completed(self) -> bool:
        return all(inlet.completed and not inlet.queue for inlet in self.inlets)

    def _share(self, room: int) -> int:
        """Return what one input may bring: what becomes of it must fit into ``room``."""
        return max(1, int(room / self._amplification) // len(self.inlets))

    def _room(self) -> int:
        """Return the records every output can take; all cancelled: none ever."""
        if self._direct is not None:
            return self._direct[1].demand
        return min([outlet.demand for outlet in self._all_outlets if not outlet.done], default=0)

    def _next_inlet(self) -> int | None:
        """Return an input with something to take, each in its turn."""
        inlets = self.inlets
        if len(inlets) == 1:
            return 0 if inlets[0].queue and not inlets[0].blocked else None
        for step in range(len(inlets)):
            number = (self._turn + step) % len(inlets)
            if inlets[number].queue and not inlets[number].blocked:
                self._turn = number + 1
                return number
        return None

    # -- ending ---------------------------------------------------------------------------------

    def _complete(self) -> None:
        self.done = True
        for outlet in self._all_outlets:
            outlet.complete()

    def _on_cancel(self) -> None:
        if all(outlet.done for outlet in self._all_outlets):
            self.done = True
            self._emissions = None
            self._parked.clear()
            for inlet in self.inlets:
                inlet.cancel()

    def _upstream_failed(self, error: BaseException) -> None:
        self._fail(error)

    def _fail(self, error: BaseException) -> None:
        """Pass a failure on at once (rule 4.2) and be done."""
        if not self.done:
            self.done = True
            for outlet in self._all_outlets:
                outlet.error(error)
            for inlet in self.inlets:
                inlet.cancel()
            self._on_failure(error)

    def _named(self, failed: RecordFailed) -> OperatorError:
        cause = failed.__cause__ or failed
        chunk = self._origin
        position = chunk.start.plus(max(0, failed.index))
        what = (
            f"record {shown(failed.record)} at {position}"
            if failed.index >= 0
            else f"{len(failed.record or ())} records from {position}"
        )
        error = OperatorError(
            f"operator {failed.operator!r} failed on {what} of source split {chunk.split!r}: "
            f"{said(cause)}",
            operator_uid=failed.operator,
            record=failed.record,
            position=position,
        )
        error.__cause__ = cause
        return error

    def _schedule(self) -> None:
        if not self.scheduled and not self.done:
            self._dispatcher.schedule(self)
