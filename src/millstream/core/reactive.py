"""Reactive Streams' four roles, as the engine's tasks and edges speak them.

The rules are numbered as in the Reactive Streams specification 1.0.4. Demand counts records; a
chunk counts as its length; control elements count as nothing (they keep their place in the
stream, and no amount of backpressure may hold them up).
"""

from __future__ import annotations

from typing import Protocol

from millstream.core.element import Chunk, Control


class Subscription(Protocol):
    """One subscriber's hold on one publisher."""

    def request(self, n: int) -> None:
        """Ask for ``n`` more records (rules 3.8, 3.9: n below 1 ends in ``on_error``)."""

    def cancel(self) -> None:
        """Ask for no more; idempotent (rules 3.5 to 3.7, 3.12)."""


class Subscriber(Protocol):
    """Who takes a stream. The publisher calls these one at a time (rule 1.3)."""

    def on_subscribe(self, subscription: Subscription) -> None:
        """Take the subscription; called first and once (rules 1.9, 2.5, 2.12)."""

    def on_next(self, chunk: Chunk) -> None:
        """Take records, at most as many as were requested in total (rule 1.1)."""

    def on_control(self, element: Control) -> None:
        """Take a control element, whatever the demand."""

    def on_error(self, error: BaseException) -> None:
        """Hear that the stream failed; nothing follows (rules 1.4, 1.7)."""

    def on_complete(self) -> None:
        """Hear that the stream ended; nothing follows (rules 1.5, 1.7)."""


class Publisher(Protocol):
    """Who gives a stream."""

    def subscribe(self, subscriber: Subscriber) -> None:
        """Begin to serve ``subscriber``: ``on_subscribe`` comes first (rule 1.9)."""
