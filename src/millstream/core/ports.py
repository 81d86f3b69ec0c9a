"""The outside world as the engine sees it: clocks and threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol


class Clock(Protocol):
    """Where time comes from; nothing below ``control`` asks the system itself."""

    def now_ms(self) -> int:
        """Return the wall clock, epoch ms, UTC."""

    def monotonic_ns(self) -> int:
        """Return a clock that never goes back, in ns from an arbitrary start."""


class SystemClock:
    """The machine's clocks."""

    @staticmethod
    def now_ms() -> int:
        """Return the wall clock, epoch ms, UTC."""
        return time.time_ns() // 1_000_000

    monotonic_ns = staticmethod(time.monotonic_ns)


FAULT_POINTS = (
    # a run is prepared
    "leased", "cleaned_up", "created", "restoring", "prepared",
    # a two-phase sink deals with what earlier runs have left
    "open", "recover_and_commit", "recover_committed", "recover_and_abort", "recovered",
    # it stages records
    "begin_transaction", "staged",
    # a checkpoint, from its trigger to the last sink that has committed; then old ones are removed
    "trigger", "begin", "begun", "barrier", "task", "pre_commit", "pre_committed", "complete",
    "durable", "row", "completed", "commit", "committed", "retain", "retained",
    # the end of the input
    "publish", "ended",
)  # fmt: skip
"""The names that a run gives to ``FaultPoints``: each may come any number of times."""


class FaultPoints(Protocol):
    """Where a test makes a run fail; see ``NO_FAULTS``."""

    def reach(self, point: str) -> None:
        """Note that the run has come to one of ``FAULT_POINTS``. From any thread.

        What it raises, the step at that point has raised.
        """


class _NoFaults:
    def reach(self, point: str) -> None:
        """Do nothing."""


NO_FAULTS: FaultPoints = _NoFaults()
"""What every run but a test's is given."""


class Joinable(Protocol):
    """A started thread, as its owner sees it."""

    @property
    def name(self) -> str:
        """Return what it was named."""

    @property
    def ident(self) -> int | None:
        """Return the thread's identifier, once it has begun."""

    def is_alive(self) -> bool:
        """Return whether it has begun and not ended."""

    def join(self, timeout: float | None = None) -> None:
        """Wait for its end, at most ``timeout`` seconds."""


class Spawner(Protocol):
    """Who starts threads, so that a simulation can step them instead."""

    def spawn(self, name: str, target: Callable[[], None]) -> Joinable:
        """Run ``target`` on a thread of its own, named ``name``."""


class ThreadSpawner:
    """Real threads. Daemons, so that one stuck in a user's call cannot keep the process alive."""

    def spawn(self, name: str, target: Callable[[], None]) -> Joinable:
        """Run ``target`` on a thread of its own, named ``name``."""
        thread = threading.Thread(target=target, name=name, daemon=True)
        thread.start()
        return thread
