"""The engine's end of a sink: asks for about as much as the sink takes in half a second.

What is in flight before a sink is bounded by time as well as by count, or a barrier could not pass
a slow one: deliveries start at one record and grow with the measured rate.
"""

from __future__ import annotations

from collections.abc import Callable

from millstream.core.element import CHUNK_SIZE, Chunk, Control
from millstream.core.reactive import Subscription

MAX_IN_FLIGHT = 16 * CHUNK_SIZE  # records; hides a hand-off's latency, bounds memory
IN_FLIGHT_S = 0.5  # worth of records in flight: twice that still passes within a second


class SinkEdge:
    """A subscriber that hands chunks to a sink's thread, and asks for more as they are taken.

    Args:
        uid: the sink's uid.
        hand_over: puts something into the sink's queue: a chunk, or a control element.
        on_failure: told of an upstream failure.
    """

    def __init__(
        self,
        uid: str,
        hand_over: Callable[[Chunk | Control], None],
        on_failure: Callable[[BaseException], None],
    ) -> None:
        self.uid = uid
        self.window = 1
        self.sent = 0
        self._hand_over = hand_over
        self._on_failure = on_failure
        self._subscription: Subscription | None = None
        self._held = 0  # records asked for, or handed over and not yet taken
        self._rate = 0.0  # records per second, measured
        self._most = MAX_IN_FLIGHT  # records, of their weight
        self._done = False

    # -- subscriber -----------------------------------------------------------------------------

    def on_subscribe(self, subscription: Subscription) -> None:
        """Take the subscription and ask for the first record."""
        if subscription is None:
            raise TypeError("subscription must not be None (rule 2.13)")
        if self._subscription is not None or self._done:
            subscription.cancel()
            return
        self._subscription = subscription
        self._request(1)

    def on_next(self, chunk: Chunk) -> None:
        """Hand records over."""
        if chunk is None:
            raise TypeError("chunk must not be None (rule 2.13)")
        if not self._done:
            self.sent += len(chunk.values)
            self._most = MAX_IN_FLIGHT // chunk.weight
            self._hand_over(chunk)

    def on_control(self, element: Control) -> None:
        """Hand a control element over, behind what is there."""
        if element is None:
            raise TypeError("element must not be None (rule 2.13)")
        if not self._done:
            self._hand_over(element)

    def on_error(self, error: BaseException) -> None:
        """Report the failure."""
        if error is None:
            raise TypeError("error must not be None (rule 2.13)")
        if not self._done:
            self._done = True
            self._subscription = None
            self._on_failure(error)

    def on_complete(self) -> None:
        """Take nothing more; whoever runs the job lets the sink finish."""
        self._done = True
        self._subscription = None

    # -- the sink's side, by message ------------------------------------------------------------

    def on_taken(self, taken: tuple[int, int]) -> None:
        """Note that the sink has taken records, and how long it took.

        Args:
            taken: ``(records, nanoseconds)``.
        """
        records, elapsed_ns = taken
        self._held -= records
        rate = records * 1e9 / max(elapsed_ns, 1)
        self._rate = rate if not self._rate else (self._rate + rate) / 2
        window = min(self.window * 2, int(self._rate * IN_FLIGHT_S), self._most)
        self.window = window = window if window > 1 else 1
        free = window - self._held
        if free > 0 and (free >= window >> 2 or not self._held):
            self._request(free)

    def cancel(self) -> None:
        """Take nothing more."""
        self._done = True
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            subscription.cancel()

    def _request(self, records: int) -> None:
        if self._subscription is not None:
            self._held += records
            self._subscription.request(records)
