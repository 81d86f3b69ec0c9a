"""Timers in memory: a state's table of them, and a heap of the order in which they are due."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from heapq import heapify, heappop, heappush
from typing import Any

from millstream.runtime.state.live_states import NoKey

_SPARE = 1_000  # deleted timers that the heap may always hold; more, as long as most are pending
_SWEPT = 4  # timers looked at for each that is deleted, while the heap is swept: 5 us

_Heap = list[tuple[int, int, Hashable]]


class TimerQueue:
    """The timers of one operator in one time domain; see ``Timers`` for its methods.

    The table has ``(time, key)`` with a number that grows: the order of registering. A deleted
    timer stays in the heap until it comes up there; it is known by its number, which the table
    does not have any more. When most of the heap is deleted ones it is swept: a few timers with
    each that is deleted then, for all at once would take half a second for a million.

    Attributes:
        key: whose timers are registered and deleted at the moment.
        registered: how many have been; the number of the newest.
    """

    __slots__ = ("_heap", "_old", "_pending", "_table", "key", "registered")

    def __init__(self) -> None:
        self._table: dict[tuple[int, Hashable], int]  # set by the StateTable, see its `attach`
        self.key: Hashable = NoKey("timer")
        self.registered = 0
        self._heap: _Heap = []
        self._old: _Heap = []  # what is left to be swept
        self._pending = 0

    def register(self, time_ms: int) -> None:
        """Add a timer of the current key, if it is not there."""
        key = self.key
        timer = (time_ms, key)
        if timer not in self._table:
            self.registered = number = self.registered + 1
            self._table[timer] = number
            self._pending += 1
            heappush(self._heap, (time_ms, number, key))

    def delete(self, time_ms: int) -> None:
        """Remove a timer of the current key, if it is there."""
        timer = (time_ms, self.key)
        if timer in self._table:  # this looks at the key also where the table is empty
            self._table.pop(timer, None)
            self._pending -= 1
            if self._old:
                self._sweep()
            elif len(self._heap) > 2 * self._pending + _SPARE:
                self._old, self._heap = self._heap, []

    def next_ms(self) -> int | None:
        """Return when the first timer is due; None if there is none."""
        while heap := self._first_heap():
            time_ms, number, key = heap[0]
            if self._table.get((time_ms, key)) == number:
                return time_ms
            heappop(heap)
        return None

    def pop_due(self, now_ms: int, newest: int | None = None) -> tuple[int, Hashable] | None:
        """Take out the first timer that is due, and return its time and key."""
        while (heap := self._first_heap()) and heap[0][0] <= now_ms:
            time_ms, number, key = heappop(heap)
            timer = (time_ms, key)
            if self._table.get(timer) == number and (newest is None or number <= newest):
                self._table.pop(timer, None)
                self._pending -= 1
                return timer
        return None

    def restored(self, slices: Iterable[Sequence[Any]]) -> None:
        """Take over the timers of a snapshot, each ``(time, key)``, in the order they are in."""
        for timers in slices:
            for time_ms, key in timers:
                self.registered += 1
                self._table[time_ms, key] = self.registered
                self._heap.append((time_ms, self.registered, key))
        self._pending = len(self._heap)
        heapify(self._heap)

    def _first_heap(self) -> _Heap:
        """Return the heap that has the first timer, or an empty one."""
        if self._old and (not self._heap or self._old[0] < self._heap[0]):
            return self._old
        return self._heap

    def _sweep(self) -> None:
        """Bring a few timers into the new heap, or drop them; the old one stays one without them.

        An entry taken off the end of a heap leaves a heap.
        """
        for time_ms, number, key in self._old[-_SWEPT:]:
            if self._table.get((time_ms, key)) == number:
                heappush(self._heap, (time_ms, number, key))
        del self._old[-_SWEPT:]
