"""A task: takes chunks from its inputs, runs its chain on them, and emits as far as demand goes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from millstream.core.accounting import TaskTimes
from millstream.core.element import CHUNK_SIZE, Chunk, Control, EndOfInput, Position
from millstream.core.errors import OperatorError
from millstream.core.wording import MADE_OF, said, shown
from millstream.engine.alignment import Alignment
from millstream.engine.chain import Chain, Emission, OutputKey
from millstream.engine.channel import Inlet, Outlet
from millstream.engine.dispatcher import Dispatcher
from millstream.engine.pace import SLICE_NS, Pace
from millstream.engine.segment import RecordFailed, Segment

_LEAST_AMPLIFICATION = 1 / 64  # what a chain that emits nothing may take per record asked for
_NOWHERE = Chunk((), "", Position(None, 0), Position(None, 0), 0)


class Task:
    """A processor in Reactive Streams' sense: a subscriber per input, a publisher per output.

    It takes as many records as make what its outputs have asked for, as measured: at most 64 for
    each, where most are left out. What its chain emits beyond that stays where it is made, in a
    suspended generator or a list, and is sent in slices as demand comes; until then the task takes
    no input. Control elements need no demand.

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
        self._begin = _NOWHERE.start  # of what is sent next
        self._exact = False  # what is sent next stands for the records of the origin, one for one
        self._then: Control | None = None  # goes out behind what is being emitted
        self._eager = chain.eager
        self._direct: tuple[Inlet, Outlet, Segment | None] | None = None
        self._in_place = chain.direct
        self._by_record = chain.by_record
        if chain.one_loop and inputs == 1 and len(self._all_outlets) == 1:
            self._direct = (
                self.inlets[0], self._all_outlets[0], next(chain.segments, None)
            )  # fmt: skip
        self.taken = 0  # records, from all inputs
        self._emitted = 0  # records, from the chunk in hand
        self._amplification = 1.0  # records out per record in, measured
        self._pace = Pace()  # of records taken
        self._paced = 0  # how many of them are in it
        self._spent_ns = 0  # on those that are not, so far
        self._results_pace = Pace()  # of records made one after the other, by flat_map
        self._made = 0
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
                except BaseException as error:
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
                except BaseException as error:  # noqa: BLE001  # raised below, after the others
                    failure = OperatorError(
                        f"operator {operator!r}: close() failed: {said(error)}",
                        operator_uid=operator,
                    )
                    failure.__cause__ = error
        self.chain.close()
        if failure is not None:
            raise failure

    def emitted(self, output: OutputKey) -> int:
        """Return how many records were made for an output, counted before they are sent."""
        return self.chain.emitted(output) if self.chain.has_steps else self.taken

    def times(self) -> TaskTimes:
        """Return how the task has spent its life so far."""
        spent = {state: ns / 1e9 for state, ns in self._times_ns.items()}
        return TaskTimes(self.name, spent["busy"], spent["backpressured"], spent["idle"])

    # -- a slice --------------------------------------------------------------------------------

    def run_slice(self) -> None:
        """Emit what is parked, or else take one element; a chunk is one slice."""
        if self.done:
            return
        start_ns, made = self._now_ns(), self._made
        self._times_ns[self._waiting] += start_ns - self._since_ns
        try:
            if self._emissions is not None:
                self._advance(self._room())
            elif self._direct is None or not self._run_direct(*self._direct):
                self._take(self._room())
        except RecordFailed as failed:
            self._fail(self._named(failed))
        self._since_ns = self._now_ns()
        elapsed_ns = self._since_ns - start_ns
        self._times_ns["busy"] += elapsed_ns
        self._measure(self._made - made, elapsed_ns)
        self._look_ahead()

    def _measure(self, made: int, elapsed_ns: int) -> None:
        self._spent_ns += elapsed_ns
        if self._emissions is None:
            if self.taken > self._paced:
                self._pace.note(self.taken - self._paced, self._spent_ns)
                self._paced = self.taken
            self._spent_ns = 0
        if made and not self._eager:
            self._results_pace.note(made, elapsed_ns)

    def _run_direct(self, inlet: Inlet, outlet: Outlet, segment: Segment | None) -> bool:
        """Run whole chunks from the one input to the one output, as far as demand goes.

        What most tasks do most of the time, written out: the general way costs 5 us a chunk more.

        Returns:
            Whether it did anything.
        """
        queue, ran, until_ns = inlet.queue, False, self._now_ns() + SLICE_NS
        while queue and not (ran and self._now_ns() > until_ns):
            chunk = queue[0]
            if not isinstance(chunk, Chunk):
                break
            records = len(chunk.values)
            if records * self._amplification > outlet.demand or records > self._pace.slice:
                break
            queue.popleft()
            inlet.queued -= records
            self.taken += records
            self._origin = chunk
            ran = True
            if segment is not None:
                chunk.values = segment.run(chunk.values)  # the chunk is ours alone
                in_place = self._in_place and len(chunk.values) == records
                chunk.exact = chunk.exact and in_place
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
        self._begin, self._exact = self._origin.start, self._origin.exact
        self._emissions = iter(())
        self._send_parked()

    def _take(self, room: int) -> None:
        number = self._next_inlet(room)
        if number is None:
            return
        self._turn = number + 1
        inlet = self.inlets[number]
        if not isinstance(inlet.queue[0], Chunk):
            element = inlet.take(0)
            assert isinstance(element, Control)
            self._on_control(number, element)
        else:
            limit = max(1, int(room / self._amplification))
            if self._by_record:
                limit = min(limit, self._pace.slice)
            chunk = inlet.take(limit)
            assert isinstance(chunk, Chunk)
            self._origin = chunk
            self._begin, self._exact = chunk.start, chunk.exact and self.chain.direct
            self.taken += len(chunk.values)
            self._emitted = 0
            self._emissions = self.chain.process(chunk.values)
            self._advance(room)

    def _on_control(self, number: int, element: Control) -> None:
        for merged in self._alignment.merge(number, element):
            if isinstance(merged, EndOfInput):
                self._emissions = self.chain.finish()
                self._exact = False
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
        self.chain.limit[0] = min(room, CHUNK_SIZE, self._results_pace.slice)
        assert self._emissions is not None
        before = self._emitted
        for emission in self._emissions:
            records = len(emission[1])
            if not records:
                return
            self._emitted += records
            self._made += records
            self._exact = self._exact and records == len(self._origin.values)
            self._parked.append(emission)
            self._send_parked()
            # What is eager has nothing more to make: let it end, or a barrier behind it would wait.
            # Results at the end of the input are never eager.
            if not self._eager or self._then is not None:
                room = self._room()
                if self._parked or room <= 0 or self._emitted - before >= CHUNK_SIZE:
                    return
                self.chain.limit[0] = min(room, CHUNK_SIZE, self._results_pace.slice)
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
            origin, begin, exact = self._origin, self._begin, self._exact
            if exact:
                self._begin = begin.plus(len(values))
            for outlet in outlets:
                outlet.emit(
                    Chunk(values, origin.split, begin, origin.end, origin.ingested_ms, exact=exact)
                )

    def _send_control(self, element: Control) -> None:
        for outlet in self._all_outlets:
            outlet.control(element)

    def _look_ahead(self) -> None:
        """Ask upstream for what there is room for, and come back if there is work."""
        room = self._room()
        if self._emissions is not None:
            self._waiting = "backpressured"
            if room > 0 or (not self._parked and self._control_waits()):
                self._schedule()
            return
        if self._next_inlet(room) is not None:
            self._waiting = "backpressured"
            self._schedule()
        elif room <= 0 and any(inlet.queue for inlet in self.inlets):
            self._waiting = "backpressured"
        else:
            self._waiting = "idle"
            if self._completed():
                self._complete()
                return
        if room > 0:
            share = self._share(room)
            for inlet in self.inlets:
                inlet.top_up(share)

    def _control_waits(self) -> bool:
        """Return whether a control element waits for what is being emitted to be all sent.

        It may be, where demand is used up: only a further step of the chain tells.
        """
        return self._then is not None or self._next_inlet(0) is not None

    def _completed(self) -> bool:
        return all(inlet.completed and not inlet.queue for inlet in self.inlets)

    def _share(self, room: int) -> int:
        """Return what one input may bring: what becomes of it must fit into ``room``."""
        return max(1, min(int(room / self._amplification), self._pace.ahead) // len(self.inlets))

    def _room(self) -> int:
        """Return the records every output can take; all cancelled: none ever."""
        if self._direct is not None:
            return self._direct[1].demand
        return min([outlet.demand for outlet in self._all_outlets if not outlet.done], default=0)

    def _next_inlet(self, room: int) -> int | None:
        """Return an input with something to take, each in its turn.

        Records need room. A control element needs none, so it does not wait behind the records of
        another input.
        """
        inlets = self.inlets
        for step in range(len(inlets)):
            number = (self._turn + step) % len(inlets)
            inlet = inlets[number]
            if not inlet.queue or inlet.blocked:
                continue
            if room > 0 or not isinstance(inlet.queue[0], Chunk):
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
        exact = failed.index >= 0 and chunk.exact and self.chain.begins_with(failed.operator)
        position = chunk.start.plus(failed.index) if exact else chunk.start
        if failed.batch:
            what = f"{len(failed.record)} records from {position}"
        else:
            what = f"record {shown(failed.record)} {'at' if exact else MADE_OF} {position}"
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
