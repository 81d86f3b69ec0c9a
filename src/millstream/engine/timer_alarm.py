"""Knows when a task's next timer is due, and has the task woken then."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from millstream.engine.dispatcher import Dispatcher
from millstream.runtime.state.base import Timers

LOOK_AGAIN_MS = 60_000  # the wall clock may have been put forward, or the machine have slept


class TimerAlarm:
    """The one wake-up for all timers of a task.

    Timers are due by the wall clock, which may jump; waiting is by the monotonic one. So to be
    woken means to look, not to fire; and no wait is longer than a minute.

    Args:
        dispatcher: the engine thread.
        timers: of the task's operators.
        wake: called when one is due, about.
    """

    def __init__(
        self, dispatcher: Dispatcher, timers: Sequence[Timers], wake: Callable[[], None]
    ) -> None:
        self._dispatcher = dispatcher
        self._clock = dispatcher.clock
        self._timers = timers
        self._wake = wake
        self._set_ns: int | None = None  # when the next wake-up comes

    @property
    def due(self) -> bool:
        """Return whether a timer is due."""
        next_ms = self._next_ms()
        return next_ms is not None and next_ms <= self._clock.now_ms()

    def set(self) -> None:
        """Have the task woken when the next timer is due, if that is not so already."""
        next_ms = self._next_ms()
        if next_ms is None:
            return
        wait_ms = min(max(next_ms - self._clock.now_ms(), 0), LOOK_AGAIN_MS)
        due_ns = self._clock.monotonic_ns() + wait_ms * 1_000_000
        if self._set_ns is None or due_ns < self._set_ns:
            self._set_ns = due_ns
            self._dispatcher.call_at(due_ns, self._ring)

    def _next_ms(self) -> int | None:
        found = [each for timers in self._timers if (each := timers.next_ms()) is not None]
        return min(found, default=None)

    def _ring(self) -> None:
        self._set_ns = None
        self._wake()
