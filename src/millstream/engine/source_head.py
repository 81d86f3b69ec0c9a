"""The engine's end of a source: gives what has arrived as far as demand goes, and cuts barriers.

A barrier is put in here, at the head of the source's task, without the source's help: a source
that blocks or is idle delays no checkpoint. Records that have arrived but were not yet emitted
come after it; the position behind the last emitted record is what a checkpoint saves.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from millstream.core.element import CHUNK_SIZE, Barrier, Chunk, Control, EndOfInput, Position
from millstream.core.errors import CancelledError, SourceError, SourceOverflowError
from millstream.core.source import OverflowStrategy
from millstream.core.weight import Scale
from millstream.core.wording import shown
from millstream.engine.channel import Inlet, Outlet
from millstream.engine.dispatcher import Dispatcher
from millstream.engine.own_copy import own_copy
from millstream.engine.source_cut import SourceCut

PREFETCH = 8 * CHUNK_SIZE
"""Records a source may be ahead; larger ones count for several, so they are about 32 MB at most.

8 chunks hide a hand-off's latency. With 16 of raw lines what is decoded has left the core's cache:
that takes 8 % longer. 4 and 12 chunks measured as 8."""

_AT_ONCE = 2 * CHUNK_SIZE  # records cut from one list before they are used: they stay in the cache


class QueuedHead:
    """Serves a source that hands over lists, ahead of demand by a bounded prefetch; cuts them.

    Args:
        dispatcher: the engine thread.
        name: the source's uid.
        grant: gives the source credit for so many more records; called in the engine thread.
        start: the position the source begins at.
        chunk_size: most records in a chunk.

    Attributes:
        position: behind the last emitted record.
        discarded: records that a drain left out; the position is before them.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        name: str,
        grant: Callable[[int], None],
        start: Position,
        chunk_size: int = CHUNK_SIZE,
    ) -> None:
        self.name = name
        self.position = start
        self.scheduled = False
        self.outlet = Outlet(self._schedule, self._on_cancel)
        self._dispatcher = dispatcher
        self._grant = grant
        self._chunk_size = chunk_size
        self._queue: deque[Chunk] = deque()  # of any length
        self._begun = 0  # records of the first one that are emitted
        self._drained = False
        self.discarded = 0
        self._consumed = 0  # what was emitted since credit was last granted
        self._ended = False
        self._over = False  # the end of the input was emitted
        self._inlet: Inlet | None = None

    def feed(self, inlet: Inlet) -> None:
        """Give everything to the source's own task."""
        self._inlet = inlet
        self.outlet.subscribe(inlet)

    def open(self) -> None:
        """Let the source begin."""
        self._grant(PREFETCH)

    def on_chunk(self, chunk: Chunk) -> None:
        """Take a chunk from the source. An empty one only moves the position on."""
        if self.outlet.done:
            return  # the source has not heard of the cancel yet
        if self._drained:
            self.discarded += len(chunk.values)
            return  # … or of the drain
        self._queue.append(chunk)
        if not self.scheduled:
            self.run_slice()

    def on_end(self, _: object = None) -> None:
        """Note that the source has ended; what is queued is still emitted."""
        self._ended = True
        self._schedule()

    def drain(self) -> None:
        """Emit nothing more of what the source has given; ``on_end`` follows."""
        self._drained = True
        self.discarded = sum(len(chunk.values) for chunk in self._queue) - self._begun
        self._begun = 0
        self._queue.clear()

    def inject(self, element: Control) -> Position:
        """Put a control element into the stream here and now; return the position it cuts at.

        A barrier goes before all that the source's task has not begun, so it never waits for more
        than what is being done.
        """
        if self._inlet is not None and isinstance(element, Barrier):
            overtaken = self._inlet.overtake(element)
            if overtaken is not None:
                return overtaken.start
        self.outlet.control(element)
        return self.position

    def cut(self, barrier: Barrier) -> SourceCut:
        """Put a barrier into the stream; return what the source would go on from behind it."""
        position = self.inject(barrier)
        return SourceCut(position, self._over and position == self.position)

    def run_slice(self) -> None:
        """Emit what there is demand for."""
        queue, outlet, at_once = self._queue, self.outlet, _AT_ONCE
        while queue:
            chunk, begun = queue[0], self._begun
            records = len(chunk.values)
            left = records - begun
            most = self._chunk_size if chunk.weight == 1 else self._chunk_size // chunk.weight or 1
            demand = outlet.demand
            most = most if most < demand else demand  # `min` costs three times as much
            if left > most:
                if most <= 0:
                    break
                self._begun += most
                chunk = chunk.part(begun, begun + most)
            else:
                queue.popleft()
                if begun:
                    self._begun = 0
                    chunk = chunk.part(begun, records)
                most = left
            self._consumed += chunk.cost
            self.position = chunk.end
            if left:
                outlet.emit(chunk)
                at_once -= most
                if at_once <= 0 and self._begun:
                    self._schedule()
                    break
        if outlet.done:
            return
        if self._consumed >= PREFETCH >> 1:
            self._grant(self._consumed)
            self._consumed = 0
        if self._ended and not queue:
            self._over = True
            outlet.control(EndOfInput())
            outlet.complete()

    def _schedule(self) -> None:
        self._dispatcher.schedule(self)

    def _on_cancel(self) -> None:
        self._queue.clear()


class CollectHead:
    """Serves a source that calls ``collect``; it accepts only what there is demand for.

    So whatever ``collect`` has accepted goes out before a barrier, and the position that the
    source reports under the lock is exactly the cut. A batch is accepted whole: what there is no
    demand for waits, and is saved with the cut. A source that cannot be slowed has an
    overflow strategy for the rest, as Reactor's ``onBackpressure…`` operators.

    Args:
        dispatcher: the engine thread.
        uid: the source's uid.
        strategy: None: ``collect`` waits for demand.
        capacity: records that BUFFER holds beyond demand.
        chunk_size: most records in a chunk.

    Attributes:
        offered: records that the source gave to ``collect``.
        dropped: records among them that the overflow strategy gave up.
        source_state: returns the source's own state.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        uid: str,
        strategy: OverflowStrategy | None,
        capacity: int = 0,
        chunk_size: int = CHUNK_SIZE,
    ) -> None:
        self.uid = self.name = uid
        self.scheduled = False
        self.outlet = Outlet(self._on_demand, self._on_cancel)
        self.checkpoint_lock = threading.Condition(threading.RLock())
        self.offered = 0  # records given to collect
        self.dropped = 0
        self.cancelled = False
        self._dispatcher = dispatcher
        self._strategy = strategy
        self._capacity = capacity
        self._chunk_size = chunk_size
        self._accepted: list[Any] = []  # records there is demand for
        self._backlog: deque[Any] = deque()  # BUFFER, LATEST, or a batch: no demand yet
        self._room = 0  # demand not yet taken up by accepted records
        self._announced = False
        self._ended = False
        self._over = False  # the end of the input was emitted
        self._failure: SourceOverflowError | None = None
        self._scale = Scale()
        self.source_state: Callable[[], Any] = lambda: None

    @property
    def position(self) -> Position:
        """Return the number of records emitted; what the source says is asked for elsewhere."""
        return Position(None, self.outlet.sent)

    # -- the source's side, any thread ----------------------------------------------------------

    def collect(self, value: Any) -> None:
        """Accept one record; see ``SourceContext``."""
        with self.checkpoint_lock:
            self._wait_for_room()
            self._accept(value)
            self._announce()

    def collect_batch(self, values: Sequence[Any]) -> None:
        """Accept several records at once; see ``SourceContext``.

        A wait in the midst of them would let a barrier in, while the source's state is still that
        of before the first one.
        """
        with self.checkpoint_lock:
            if len(values):
                self._wait_for_room()
            for value in values:
                self._accept(value)
            self._announce()

    def cancel(self) -> None:
        """Wake and end whoever collects. From any thread."""
        with self.checkpoint_lock:
            self.cancelled = True
            self.checkpoint_lock.notify_all()

    def end(self) -> None:
        """Take nothing more: ``run`` has returned. What was accepted is still emitted."""
        with self.checkpoint_lock:
            self._ended = True
            state = self.source_state()  # the source is closed next
            self.source_state = lambda: state
            self.checkpoint_lock.notify_all()
        self._dispatcher.post(self._on_ready)

    def _wait_for_room(self) -> None:
        if self._strategy is None:
            while self._room <= 0 and not (self.cancelled or self._ended):
                self.checkpoint_lock.wait()

    def _accept(self, value: Any) -> None:
        if self.cancelled:
            raise CancelledError(f"source {self.uid!r} was cancelled")
        if self._ended:
            raise SourceError(
                f"source {self.uid!r} has ended: its run() has returned, and {shown(value)}, "
                "collected since, is not part of the stream; let run() wait for whoever collects",
                operator_uid=self.uid,
            )
        if self._failure is not None:
            raise self._failure  # nothing may follow the record that was lost
        self.offered += 1
        if self._room > 0:
            self._room -= 1
            self._accepted.append(value)
        elif self._strategy is None:
            self._backlog.append(value)  # of a batch that has begun
        else:
            self._overflow(value)

    def _overflow(self, value: Any) -> None:
        if self._strategy is OverflowStrategy.DROP:
            self.dropped += 1
        elif self._strategy is OverflowStrategy.LATEST:
            self.dropped += len(self._backlog)
            self._backlog.clear()
            self._backlog.append(value)
        elif self._strategy is OverflowStrategy.BUFFER and len(self._backlog) < self._capacity:
            self._backlog.append(value)
        else:
            self.dropped += 1
            held = f"a buffer of {self._capacity:,} records" if self._capacity else "no buffer"
            self._failure = SourceOverflowError(
                f"source {self.uid!r} produced more than the job takes, and has {held}; make the "
                "job faster, raise buffer_size, or choose overflow='drop' or 'latest'",
                operator_uid=self.uid,
            )
            self._announced = False
            self._announce()
            raise self._failure

    def _announce(self) -> None:
        if not self._announced and (self._accepted or self._failure):
            self._announced = True
            self._dispatcher.post(self._on_ready)

    # -- the engine's side ----------------------------------------------------------------------

    def feed(self, inlet: Inlet) -> None:
        """Give everything to the source's own task."""
        self.outlet.subscribe(inlet)

    def open(self) -> None:
        """Do nothing: the source begins when there is demand."""

    def drain(self) -> None:
        """Take nothing more; what was accepted is still emitted. ``on_end`` follows."""
        self.cancel()

    def on_end(self, _: object = None) -> None:
        """Note that the source has nothing more to give, or ended before the run was restored."""
        self._ended = True
        self._dispatcher.schedule(self)

    def restore(self, backlog: Sequence[Any]) -> None:
        """Emit these records first; before the run."""
        self.offered += len(backlog)
        self._backlog.extend(backlog)

    def cut(self, barrier: Barrier) -> SourceCut:
        """Emit what was accepted, then a barrier; return what the source would go on from.

        All under the lock, so the source's state is that of exactly these records. The barrier is
        on its way also if the source fails to tell its state.
        """
        with self.checkpoint_lock:
            self.inject(barrier)
            what = f"a record of source {self.uid!r}"  # which a map may change in place later
            backlog = tuple(own_copy(record, what) for record in self._backlog)
            state = None if self._over else self.source_state()
            return SourceCut(Position(state, 0), self._over, backlog)

    def inject(self, element: Control) -> Position:
        """Emit what was accepted, then a control element, under the lock."""
        with self.checkpoint_lock:
            self._drain()
            self.outlet.control(element)
            return self.position

    def run_slice(self) -> None:
        """Emit what was accepted."""
        with self.checkpoint_lock:
            self._drain()
            failure = self._failure
            over = self._ended and not self._accepted and not self._backlog
        if failure is not None:
            self.outlet.error(failure)
        elif over and not self.outlet.done:
            self._over = True
            self.outlet.control(EndOfInput())
            self.outlet.complete()

    def _drain(self) -> None:
        """Emit the accepted records; the caller holds the lock."""
        self._announced = False
        accepted = self._accepted
        now_ms = self._dispatcher.clock.now_ms()
        while accepted:  # what is still in it counts against demand that comes meanwhile
            values = accepted[: self._chunk_size]
            del accepted[: self._chunk_size]
            position = self.position
            end = position.plus(len(values))
            weight = self._scale.weigh(values)
            self.outlet.emit(Chunk(values, self.uid, position, end, now_ms, weight=weight))

    def _on_ready(self, _: object) -> None:
        self._dispatcher.schedule(self)

    def _on_demand(self) -> None:
        """Take up new demand: first what is held back, then what the source will collect."""
        with self.checkpoint_lock:
            self._room = self.outlet.demand - len(self._accepted)
            while self._backlog and self._room > 0:
                self._accepted.append(self._backlog.popleft())
                self._room -= 1
            self.checkpoint_lock.notify_all()
        self._dispatcher.schedule(self)

    def _on_cancel(self) -> None:
        self.cancel()
