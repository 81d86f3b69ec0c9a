"""Integers in order, for trying things out and for measuring."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from typing import Any

from millstream.connectors.options import bad_option, check_integer, check_rate
from millstream.connectors.pace import Pace
from millstream.core.connector import Connector
from millstream.core.errors import ConfigError
from millstream.core.source import BatchSource, Boundedness, SourceBatch

BATCH_SIZE = 8192  # records; a range costs the same at any length, and the engine cuts it


class SequenceSource(BatchSource[int]):
    """Emits the integers of ``range(start, stop, step)``; its position is the next integer."""

    def __init__(self, start: int, stop: int | None, step: int, rate: float | None) -> None:
        self.start = start
        self.stop = stop
        self.step = step
        self.rate = rate
        self.boundedness = Boundedness.UNBOUNDED if stop is None else Boundedness.BOUNDED
        self._cancelled = threading.Event()

    def __copy__(self) -> SequenceSource:
        """Return a copy that is cancelled by itself: a run may be cancelled before it opens."""
        return SequenceSource(self.start, self.stop, self.step, self.rate)

    def validate_position(self, position: Any) -> None:
        """Check that the number is in this sequence.

        Raises:
            ConfigError: it was saved with other options.
        """
        self._checked(position)

    def read(self, position: Any) -> Iterator[SourceBatch[int]]:
        """Yield ranges; with a rate, what is due about every millisecond.

        Raises:
            ConfigError: ``position`` is not in this sequence: it was saved with other options.
        """
        following = self.start if position is None else self._checked(position)
        pace = Pace(self.rate, self._cancelled)
        while True:
            most = BATCH_SIZE
            if self.stop is not None:
                left = -((following - self.stop) // self.step)  # the ceiling of the division
                if left <= 0:
                    return
                most = min(left, BATCH_SIZE)
            count = pace.take(most)
            if not count:
                return
            batch = range(following, following + count * self.step, self.step)
            following += count * self.step
            yield batch, following

    def cancel(self) -> None:
        """End a wait for the next record."""
        self._cancelled.set()

    def describe(self) -> Mapping[str, Any]:
        """Return the options."""
        return {"start": self.start, "stop": self.stop, "step": self.step, "rate": self.rate}

    def _checked(self, position: Any) -> int:
        if isinstance(position, int) and not isinstance(position, bool):
            steps, rest = divmod(position - self.start, self.step)
            if not rest and steps >= 0:
                return position
        raise ConfigError(
            f"sequence source: the saved position {position!r} is not in the sequence that starts "
            f"at {self.start} with step {self.step}; set the options back to what they were, or "
            "start without the saved state"
        )


def source(
    stop: int | None, start: int = 0, step: int = 1, rate: float | None = None
) -> SequenceSource:
    """Make a source of the integers from ``start`` up to, and without, ``stop``.

    Args:
        stop: where to end; None never ends, and makes the source unbounded.
        start: the first integer.
        step: the difference from one to the next; below zero it counts down.
        rate: records per second; None for as fast as they are taken. A source that was held back
            catches up.

    Raises:
        ConfigError: an option is of the wrong type or out of range.
    """
    who = "sequence source"
    if stop is not None:
        check_integer(who, "stop", stop)
    check_integer(who, "start", start)
    if check_integer(who, "step", step) == 0:
        raise bad_option(who, "step", "an integer other than 0", step)
    return SequenceSource(start, stop, step, check_rate(who, rate))


CONNECTOR = Connector("sequence", source=source)
