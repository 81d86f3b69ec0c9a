"""A task: takes chunks from its inputs, runs its chain on them, and emits as far as demand goes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial

from millstream.core.accounting import TaskTimes
from millstream.core.element import CHUNK_SIZE, Barrier, Chunk, Control, EndOfInput
from millstream.core.errors import OperatorError
from millstream.core.wording import placed, said
from millstream.engine.alignment import Alignment
from millstream.engine.chain import Chain, Emission, OutputKey
from millstream.engine.channel import Inlet, Outlet
from millstream.engine.dispatcher import Dispatcher
from millstream.engine.emitter import Emitter
from millstream.engine.intake import NOTABLE_NS, SLICE_NS, Intake, Pace
from millstream.engine.segment import Outs, RecordFailed, Segment
from millstream.engine.timer_alarm import TimerAlarm

_AHEAD = 16 * CHUNK_SIZE  # ordinary records that may wait in front of a task


class Task:
    """A processor in Reactive Streams' sense: a subscriber per input, a publisher per output.

    It takes records until about as many have been made as its outputs have asked for. What its
    chain emits beyond demand stays where it is made, in a suspended generator or a list, and is
    sent in slices as demand comes; until then the task takes no input. Control elements need no
    demand.

    Args:
        dispatcher: the engine thread.
        chain: the operators.
        inputs: how many streams it takes.
        outputs: how many subscribers each output has.
        at_source: its input is a source: barriers are put in before what it has not begun.
        on_failure: told of a failing callback; nothing more is asked of the task then.

    Attributes:
        taken: records, from all inputs.
        ended: its input has ended, and all of its results are on their way.
        on_barrier: told of each barrier before it is sent on.
        on_ended: told before the end of the input is sent on.
        held: it processes nothing for now; see ``hold``.
    """

    def __init__(  # noqa: PLR0913  # what a task is made of
        self,
        dispatcher: Dispatcher,
        chain: Chain,
        *,
        inputs: int,
        outputs: Mapping[OutputKey, int],
        on_failure: Callable[[BaseException], None],
        at_source: bool = False,
    ) -> None:
        self.name = chain.name
        self.chain = chain
        self.scheduled = False
        self.done = False
        self.taken = 0
        self.ended = False
        self.held = False
        self.on_barrier: Callable[[Task, int], None] | None = None
        self.on_ended: Callable[[Task], None] | None = None
        self._schedule = partial(dispatcher.schedule, self)
        self.inlets = [Inlet(self._schedule, self._fail) for _ in range(inputs)]
        self.emitter = Emitter(outputs, self._schedule, self._on_cancel)
        self._on_failure = on_failure
        self._alignment = Alignment(self.inlets)
        self._turn = 0
        self._emissions: Iterator[Emission] | None = None  # what is being made, if anything
        self._then: Control | None = None  # goes out behind that
        self._at_source = at_source
        self._eager = chain.eager
        self._in_place = chain.in_place
        self._by_record = chain.by_record
        self._loop = chain.eager_loop
        self._outputs = chain.outputs
        self._silent = chain.silent
        self._dispatcher = dispatcher
        self._alarm: TimerAlarm | None = None
        self._firing = False  # what is being made is made of timers
        self._fired = False  # in the last slice, so it is the turn of what has come in
        self._direct: tuple[Inlet, Outlet, Segment | None] | None = None
        if inputs == 1 and self.emitter.only is not None and chain.one_list:
            self._direct = self.inlets[0], self.emitter.only, self._loop
        self._intake = Intake()
        self._results_pace = Pace()  # of records made one by one: by flat_map, on_timer
        self._made = 0  # records, of the chunk in hand
        self._closed = False  # the user's functions
        self._busy_ns = self._backpressured_ns = self._idle_ns = 0
        self._wanted = False  # an output asked for records when the last slice ended
        self._now_ns = dispatcher.clock.monotonic_ns
        self._since_ns = 0

    # -- lifecycle ------------------------------------------------------------------------------

    def open(self) -> None:
        """Begin to count the time, and open the user's process functions."""
        self._since_ns = self._now_ns()
        timers = self.chain.timers()
        if timers:
            self._alarm = TimerAlarm(self._dispatcher, timers, self._on_alarm)
        for segment in self.chain.segments:
            for operator, live in segment.processes():
                try:
                    live.open()
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
        try:
            self._close_functions(at_end=False)
        finally:
            self.chain.close()

    def _close_functions(self, *, at_end: bool) -> None:
        if self._closed:
            return
        self._closed = True
        failure: OperatorError | None = None
        for segment in self.chain.segments:
            for operator, live in segment.processes():
                try:
                    live.close(at_end=at_end)
                except BaseException as error:  # noqa: BLE001  # raised below, after the others
                    failure = OperatorError(
                        f"operator {operator!r}: close() failed: {said(error)}",
                        operator_uid=operator,
                    )
                    failure.__cause__ = error
        if failure is not None:
            raise failure

    @property
    def uids(self) -> frozenset[str]:
        """Return the uids of its operators, which own its state."""
        return self.chain.uids

    @property
    def between_chunks(self) -> bool:
        """Return whether no operator is in the middle of a chunk: its state may be merged then."""
        return self._emissions is None

    def emitted(self, output: OutputKey) -> int:
        """Return how many records were made for an output, counted before they are sent."""
        return self.chain.emitted(output) if self.chain.has_steps else self.taken

    def times(self) -> TaskTimes:
        """Return how the task has spent its life so far."""
        now_ns = self._now_ns()
        self._wait_until(now_ns)
        self._since_ns = now_ns
        return TaskTimes(
            self.name, self._busy_ns / 1e9, self._backpressured_ns / 1e9, self._idle_ns / 1e9
        )

    def _wait_until(self, now_ns: int) -> None:
        """Count the time since the last slice: nobody wanted anything, or nothing came."""
        if self._wanted:
            self._idle_ns += now_ns - self._since_ns
        else:
            self._backpressured_ns += now_ns - self._since_ns

    def hold(self) -> None:
        """Process nothing behind the barrier in hand: the run may end with it."""
        self.held = True

    def release(self) -> None:
        """Go on, if it was held."""
        if self.held:
            self.held = False
            self._schedule()

    # -- a slice --------------------------------------------------------------------------------

    def run_slice(self) -> None:
        """Go on with what is being made, or else take what comes next."""
        if self.done or self.held:
            return
        start_ns, taken = self._now_ns(), self.taken
        self._wait_until(start_ns)
        self._since_ns = start_ns
        try:
            if self._emissions is not None:
                self._advance()
            elif self._alarm is not None and self._fire(self._alarm):
                pass
            elif self._direct is None or not self._run_direct(*self._direct):
                self._take()
        except RecordFailed as failed:
            self._fail(self._named(failed))
        self._since_ns = self._now_ns()
        elapsed_ns = self._since_ns - start_ns
        self._busy_ns += elapsed_ns
        done, intake = self._emissions is None, self._intake
        if elapsed_ns > NOTABLE_NS or intake.watching or not done:
            intake.note_cost(self.taken - taken, elapsed_ns, done=done)
        self._look_ahead()
        if self._alarm is not None and self._emissions is None:
            self._look_at_clock(self._alarm)

    def _run_direct(self, inlet: Inlet, outlet: Outlet, segment: Segment | None) -> bool:
        """Run whole chunks from the one input to the one output, as far as demand goes.

        What most tasks do most of the time, written out: the general way costs 5 us a chunk more.

        Returns:
            Whether it did anything.
        """
        queue, ratio, ran = inlet.queue, self.emitter.ratio, False
        budget = self._intake.pace.slice
        while queue:
            chunk = queue[0]
            if not isinstance(chunk, Chunk):
                break
            records = len(chunk.values)
            if records > budget or records * ratio.most > outlet.demand:
                break
            queue.popleft()
            budget -= records
            inlet.queued -= records
            self.taken += records
            self.emitter.origin = chunk
            ran = True
            if segment is not None:
                values = segment.run(chunk.values)
                made = len(values)
                if made > outlet.demand:
                    self._send(chunk, [values])
                    break
                if made != records or ratio.value != 1.0:
                    ratio.made = made
                    ratio.note(records)
                exact = chunk.exact and self._in_place and made == records
                chunk.values, chunk.exact = values, exact  # the chunk is ours alone
                if not made:
                    continue
            outlet.emit(chunk)
        return ran

    def _fire(self, alarm: TimerAlarm) -> bool:
        """Fire timers that are due, in turn with what has come in; return whether it did."""
        room = self.emitter.room()
        turn = not self._fired or self._next_inlet(room) is None
        self._fired = turn and room > 0 and alarm.due
        if self._fired:
            self.emitter.begin(self.emitter.origin, exact=False)
            self._made = 0
            self._firing = True
            self._emissions = self.chain.fire(self._in_time)
            self._advance()
        return self._fired

    def _in_time(self) -> bool:
        """Return whether this slice may go on."""
        return self._now_ns() - self._since_ns < SLICE_NS

    def _look_at_clock(self, alarm: TimerAlarm) -> None:
        """Come back when the next timer is due; with no demand, when there is some."""
        if not alarm.due:
            alarm.set()
        elif self._wanted:
            self._schedule()

    def _on_alarm(self) -> None:
        if self._emissions is None:
            self._schedule()

    def _take(self) -> None:
        number = self._next_inlet(self.emitter.room())
        if number is None:
            return
        self._turn = number + 1
        inlet = self.inlets[number]
        if not isinstance(inlet.queue[0], Chunk):
            element = inlet.take(0)
            assert isinstance(element, Control)
            self._on_control(number, element)
            return
        if self._loop is not None:
            self._run_loop(inlet, self._loop)
            return
        if self._silent:
            limit = CHUNK_SIZE
        elif self._by_record:
            limit = self.emitter.at_once()
        else:  # a function of lists; what it costs to call it is paid for each
            limit = self.emitter.ahead(at_source=False) or 1
        if self._by_record:
            limit = min(limit, self._intake.pace.slice)
        chunk = inlet.take(limit)
        assert isinstance(chunk, Chunk)
        self.taken += len(chunk.values)
        self.emitter.begin(chunk, exact=chunk.exact and self._in_place)
        self._made = 0
        self._emissions = self.chain.process(chunk.values)
        self._advance()

    def _run_loop(self, inlet: Inlet, loop: Segment) -> None:
        """Run records until an output has what it asked for; the rest of the chunk stays queued."""
        chunk = inlet.queue[0]
        assert isinstance(chunk, Chunk)
        self.emitter.origin = chunk
        most = self._intake.pace.slice
        bite = most if self._silent else min(most, self.emitter.at_once())
        rooms = self.emitter.rooms(self._outputs)
        outs, taken = loop.run_until(chunk.values, rooms, bite, most)
        part = inlet.take(taken)
        assert isinstance(part, Chunk)
        self.taken += taken
        self._send(part, outs)
        self._advance()

    def _send(self, chunk: Chunk, outs: Outs) -> None:
        """Send what a loop has made of a chunk, all of it."""
        self.emitter.begin(chunk, exact=chunk.exact and self._in_place)
        for key, out in zip(self._outputs, outs, strict=True):
            if out:
                self.emitter.send((key, out))
        self._emissions = iter(())

    def _on_control(self, number: int, element: Control) -> None:
        for merged in self._alignment.merge(number, element):
            if isinstance(merged, EndOfInput):
                self.emitter.begin(self.emitter.origin, exact=False)
                self._made = 0
                self._alarm = None  # what is not due now is dropped
                self._emissions = self.chain.finish(self._in_time)
                self._then = merged
            else:
                if self.on_barrier is not None and isinstance(merged, Barrier):
                    self.on_barrier(self, merged.checkpoint_id)
                self.emitter.control(merged)

    def _advance(self) -> None:
        """Go on making and sending, until demand or this slice is used up, or all is sent."""
        emitter, before = self.emitter, self._made
        if emitter.parked:
            emitter.flush()
            if emitter.parked or emitter.room() <= 0:
                return
        start_ns, one_by_one = self._now_ns(), self._firing or not self._eager
        if self._make(emitter.room()) and not emitter.parked:
            self._emissions = None
            if self._then is not None:
                self._close_functions(at_end=True)  # before results appear: it may still fail
                self.ended = True
                if self.on_ended is not None:
                    self.on_ended(self)
                emitter.control(self._then)
                self._then = None
            elif self._firing:
                self._firing = False
                emitter.forget_made()
            else:
                emitter.note_taken(len(emitter.origin.values))
        if self._made > before and one_by_one:
            self._results_pace.note(self._made - before, self._now_ns() - start_ns)

    def _make(self, room: int) -> bool:
        """Make and send records; return whether there are no more to make."""
        limit, emitter, before = self.chain.limit, self.emitter, self._made
        most = min(CHUNK_SIZE, self._results_pace.slice)
        limit[0] = min(room, most)
        assert self._emissions is not None
        for emission in self._emissions:
            records = len(emission[1])
            if not records:
                return False  # it has run long for nothing: the inbox has its turn
            self._made += records
            emitter.send(emission)
            # What is eager has nothing more to make: let it end, or a barrier behind it would wait.
            # Results of timers and of the end of the input are never eager.
            if not self._eager or self._firing or self._then is not None:
                room = emitter.room()
                if emitter.parked or room <= 0 or self._made - before >= most:
                    return False
                limit[0] = min(room, most)
        self._emissions = iter(())
        return True

    # -- what comes next ------------------------------------------------------------------------

    def _look_ahead(self) -> None:
        """Ask upstream for what there is room for, and come back if there is work."""
        room = self.emitter.room()
        self._wanted = room > 0
        if self._emissions is not None:
            if room > 0 or (not self.emitter.parked and self._control_waits()):
                self._schedule()
            return
        if self._next_inlet(room) is not None:
            self._schedule()
        elif self._is_complete():
            self.done = True
            self.emitter.complete()
            return
        if room > 0:
            most = _AHEAD if self._silent else self.emitter.ahead(self._at_source)
            most = min(most, self._intake.pace.ahead, _AHEAD // self.emitter.origin.weight)
            share = most // len(self.inlets) or 1
            for inlet in self.inlets:
                inlet.top_up(share)

    def _control_waits(self) -> bool:
        """Return whether a control element waits for what is being emitted to be all sent.

        It may be, where demand is used up: only a further step of the chain tells.
        """
        return self._then is not None or self._next_inlet(0) is not None

    def _is_complete(self) -> bool:
        # A loop: `all` over a generator costs 0.3 us, for every chunk.
        for inlet in self.inlets:  # noqa: SIM110
            if not inlet.completed or inlet.queue:
                return False
        return True

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

    # -- ending early ---------------------------------------------------------------------------

    def _on_cancel(self) -> None:
        if not self.done and self.emitter.cancelled:
            self.done = True
            self._emissions = None
            self.emitter.parked.clear()
            for inlet in self.inlets:
                inlet.cancel()

    def _fail(self, error: BaseException) -> None:
        """Pass a failure on at once (rule 4.2) and be done."""
        if not self.done:
            self.done = True
            self._on_failure(error)  # first: what follows goes from task to task
            self.emitter.error(error)
            for inlet in self.inlets:
                inlet.cancel()

    def _named(self, failed: RecordFailed) -> OperatorError:
        cause = failed.cause
        chunk = self.emitter.origin
        exact = failed.index >= 0 and chunk.exact and self.chain.begins_with(failed.operator)
        position = chunk.start.plus(failed.index) if exact else chunk.start
        if failed.batch:
            what = f"{len(failed.record)} records from {position}"
        else:
            what = placed(failed.record, position, exact=exact)
        error = OperatorError(
            f"operator {failed.operator!r} failed on {what} of source split {chunk.split!r}: "
            f"{said(cause)}",
            operator_uid=failed.operator,
            record=failed.record,
            position=position,
        )
        error.__cause__ = cause
        return error
