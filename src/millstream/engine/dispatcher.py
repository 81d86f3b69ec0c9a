"""The engine thread's one wait point: its inbox, and the tasks and timers it serves in turn.

Everything that happens to a running job reaches the engine as a message here: data ready, demand
returned, an async result, a timer, a cancel. So no task needs a lock, and nothing that must be
heard can be stuck behind a blocked channel.
"""

from __future__ import annotations

import heapq
import queue
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from millstream.core.ports import Clock

Message = tuple[Callable[[Any], None], Any]
"""What to call in the engine thread, and with what."""


class Runnable(Protocol):
    """Something with work to do, in slices short enough for a cancel to wait behind."""

    scheduled: bool

    def run_slice(self) -> None:
        """Do a little; schedule again if there is more."""


class Dispatcher:
    """Serves messages, timers and ready tasks, one at a time, in the thread that calls ``run``."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.slices = 0  # grows while work is done; the watchdog reads it from its thread
        self.busy_since_ns = 0  # 0 while waiting
        self._inbox: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self.post_message = self._inbox.put  # bound once: it is called for every chunk
        self._ready: deque[Runnable] = deque()
        self._timers: list[tuple[int, int, Callable[[], None]]] = []
        self._timers_made = 0
        self._stopped = False

    def post(self, call: Callable[[Any], None], argument: Any = None) -> None:
        """Have the engine thread call ``call(argument)``. From any thread; never blocks."""
        self.post_message((call, argument))

    def schedule(self, runnable: Runnable) -> None:
        """Let ``runnable`` have a slice soon. Only in the engine thread."""
        if not runnable.scheduled:
            runnable.scheduled = True
            self._ready.append(runnable)

    def call_at(self, due_ns: int, call: Callable[[], None]) -> None:
        """Call at a time of the monotonic clock, or soon after. Only in the engine thread."""
        self._timers_made += 1
        heapq.heappush(self._timers, (due_ns, self._timers_made, call))

    def stop(self) -> None:
        """Make ``run`` return after the message in hand. Only in the engine thread."""
        self._stopped = True

    def run(self) -> None:
        """Serve until ``stop``. Raises what a message, a timer or a task raises."""
        inbox_empty, get = self._inbox.empty, self._inbox.get
        ready = self._ready
        while not self._stopped:
            if ready:
                self._run_slice(ready.popleft())
            else:
                self._serve_one_waiting()
            while not inbox_empty():
                call, argument = get()
                call(argument)
            if self._timers:
                self._fire_timers()

    def step(self) -> bool:
        """Serve one message or slice without waiting, for tests; return whether there was one."""
        if not self._inbox.empty():
            call, argument = self._inbox.get()
            call(argument)
        elif self._ready:
            self._run_slice(self._ready.popleft())
        elif not self._fire_timers():
            return False
        return True

    def run_until_idle(self) -> None:
        """Serve without waiting until there is nothing to do, for tests."""
        while self.step():
            pass

    def _run_slice(self, runnable: Runnable) -> None:
        runnable.scheduled = False
        if not self.busy_since_ns:
            self.busy_since_ns = self.clock.monotonic_ns()
        self.slices += 1
        runnable.run_slice()

    def _serve_one_waiting(self) -> None:
        self.busy_since_ns = 0
        if not self._timers:
            call, argument = self._inbox.get()
        else:
            wait_s = (self._timers[0][0] - self.clock.monotonic_ns()) / 1e9
            try:
                call, argument = self._inbox.get(timeout=max(0.0, wait_s))
            except queue.Empty:
                return
        self.busy_since_ns = self.clock.monotonic_ns()
        call(argument)

    def _fire_timers(self) -> bool:
        fired = False
        while self._timers and self._timers[0][0] <= self.clock.monotonic_ns():
            _, _, call = heapq.heappop(self._timers)
            call()
            fired = True
        return fired
