"""The timer service of a running process function, which takes nothing for a time that is none."""

from __future__ import annotations

from typing import Any, Final  # Any: what users pass for a time

from millstream.core.errors import RecordError
from millstream.core.wording import shown
from millstream.runtime.state.base import StateBackend, Timers

LATEST_MS: Final = 253_402_300_799_999  # the end of the year 9999: any later, it is a mistake


class LiveTimerService:
    """See ``TimerService``.

    Args:
        states: whose clock it goes by.
        processing: where timers of processing time go; None where nothing would fire them.
    """

    __slots__ = ("_processing", "_states")

    def __init__(self, states: StateBackend, processing: Timers | None) -> None:
        self._states = states
        self._processing = processing

    def current_processing_time(self) -> int:
        """Return the wall clock, read once per chunk of records."""
        return self._states.now_ms

    def register_processing_time_timer(self, time_ms: int) -> None:
        """Have ``on_timer`` called for the current key when the wall clock reads this or more."""
        if self._processing is None or type(time_ms) is not int or not 0 <= time_ms <= LATEST_MS:
            raise self._refusal("register", time_ms)
        self._processing.register(time_ms)

    def delete_processing_time_timer(self, time_ms: int) -> None:
        """Forget a timer of the current key; if there is none at that time, do nothing."""
        if self._processing is None or type(time_ms) is not int or not 0 <= time_ms <= LATEST_MS:
            raise self._refusal("delete", time_ms)
        self._processing.delete(time_ms)

    def _refusal(self, what: str, time_ms: Any) -> RecordError:
        call = f"{what}_processing_time_timer({shown(time_ms)})"
        if self._processing is None:
            return RecordError(
                f"{call}: the function has no on_timer, so nothing would come of it; add "
                "on_timer(self, timestamp, ctx) to its class"
            )
        expected = f"{call}: expected an int, in epoch milliseconds; "
        if hasattr(time_ms, "timestamp"):
            return RecordError(f"{expected}of a datetime that is int(at.timestamp() * 1000)")
        if type(time_ms) is not int:
            return RecordError(f"{expected}got a {type(time_ms).__name__}")
        if time_ms < 0:
            return RecordError(
                f"{expected}this is before 1970; a time from now on is "
                "ctx.timer_service.current_processing_time() + …"
            )
        return RecordError(f"{expected}this is past the year 9999; is it in micro- or nanoseconds?")
