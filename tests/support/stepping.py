"""Time, event loop and threads that move only when a test says so."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

from millstream.engine.event_loop import EventLoop

PATIENCE_S = 10.0  # a busy machine may take long; only a test that fails waits for it
_TURNS = 8  # of the loop in one step: more than any chain of callbacks in these tests is long


class ManualClock:
    """Stands still until it is moved."""

    def __init__(self, now_ms: int = 1_700_000_000_000) -> None:
        self._now_ms = now_ms
        self._monotonic_ns = 1

    def now_ms(self) -> int:
        return self._now_ms

    def monotonic_ns(self) -> int:
        return self._monotonic_ns

    def jump(self, ms: int) -> None:
        """Set the wall clock by so much, as an administrator does."""
        self._now_ms += ms

    def advance(self, ms: int) -> None:
        self._now_ms += ms
        self._monotonic_ns += ms * 1_000_000


class SteppedLoop(EventLoop):
    """The engine's event loop, run in the thread of the test, some turns at a time."""

    def __init__(self) -> None:
        super().__init__(ManualClock())
        self._asyncio = asyncio.new_event_loop()
        self._running = self._asyncio.create_task(self._main())
        self.step()

    def step(self) -> None:
        for _ in range(_TURNS):
            self._asyncio.call_soon(self._asyncio.stop)
            self._asyncio.run_forever()

    def close(self) -> None:
        """Cancel what runs, as the engine does at the end of a job."""
        self.cancel_all()
        self._asyncio.run_until_complete(self._running)
        self._asyncio.run_until_complete(self._asyncio.shutdown_asyncgens())
        self._asyncio.close()


class WatchedCondition(threading.Condition):
    """A condition that tells whether somebody waits for it, so that a test can let it come to that.

    It takes the place of ``CollectHead.checkpoint_lock``: one thread collects, and the test's
    thread plays the engine.
    """

    def __init__(self) -> None:
        super().__init__(threading.RLock())
        self.waited_for = False

    def wait(self, timeout: float | None = None) -> bool:
        self.waited_for = True
        return super().wait(timeout)

    def notify_all(self) -> None:
        self.waited_for = False
        super().notify_all()


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Wait for another thread to make ``condition`` true."""
    deadline_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline_s, f"waited {PATIENCE_S:g} s for {what}"
        time.sleep(0.0002)
