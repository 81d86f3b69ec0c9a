"""Timers as a process function sees them. The names are Flink's."""

from __future__ import annotations

from typing import Final, Protocol

PROCESSING_TIME_TIMERS: Final = "processing-time timers"
"""The name of the state that they are kept in; ``find_states`` refuses it to users' states."""


class TimerService(Protocol):
    """Time, and the timers of the current key (Flink's ``TimerService``): ``ctx.timer_service``.

    A timer has a key and a time. When the time comes, ``on_timer`` is called once with both.
    Timers are state: they are in checkpoints, and one whose time has come while the job was down
    fires when it is resumed. When the input has ended those that are not due are dropped.

    All times are in epoch milliseconds.
    """

    def current_processing_time(self) -> int:
        """Return the wall clock, read once per chunk of records."""

    def register_processing_time_timer(self, time_ms: int) -> None:
        """Have ``on_timer`` called for the current key when the wall clock reads this or more.

        The same time twice is one timer. A time that has passed is due at once: it fires behind
        the chunk in hand.

        Raises:
            RecordError: the function has no ``on_timer``; or there is no key, as in ``open``; or
                it is not a time.
        """

    def delete_processing_time_timer(self, time_ms: int) -> None:
        """Forget a timer of the current key; if there is none at that time, do nothing.

        Raises:
            RecordError: as of ``register_processing_time_timer``.
        """
