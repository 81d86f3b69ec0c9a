"""Keeps a source to so many records per second."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

TICK_NS = 1_000_000  # at most 1,000 batches per second: smaller ones cost more than their records
LONGEST_WAIT_NS = 60_000_000_000  # a lock's time-out overflows somewhere above


class Pace:
    """Says how many records are due, and waits until one is.

    What could not be sent in time stays due, so a source that was held back catches up and the
    rate holds over the whole run.

    Args:
        rate: records per second; None for no limit.
        cancelled: ends a wait when set.
        clock: a clock that never goes back, in ns.
    """

    def __init__(
        self,
        rate: float | None,
        cancelled: threading.Event,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._rate = rate
        self._cancelled = cancelled
        self._clock = clock
        self._started = self._last = clock()
        self._taken = 0

    def take(self, most: int) -> int:
        """Wait until a record is due; return how many are, up to ``most``; 0: cancelled."""
        if self._rate is None:
            return 0 if self._cancelled.is_set() else most
        while not self._cancelled.is_set():
            now = self._clock()
            due = int((now - self._started) * self._rate / 1e9) - self._taken
            next_due = self._started + int((self._taken + 1) * 1e9 / self._rate)
            wait_ns = max(next_due, self._last + TICK_NS) - now
            if due >= most or (due > 0 and wait_ns <= 0):
                self._last = now
                self._taken += min(due, most)
                return min(due, most)
            self._cancelled.wait(min(max(wait_ns, TICK_NS // 10), LONGEST_WAIT_NS) / 1e9)
        return 0
