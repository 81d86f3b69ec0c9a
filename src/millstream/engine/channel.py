"""The two ends of a stream inside the engine thread: an outlet that obeys demand, and an inlet."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from millstream.core.element import Chunk, Control
from millstream.core.errors import InternalError
from millstream.core.reactive import Subscriber, Subscription


class Outlet:
    """A publisher with one subscriber, and the subscription between them.

    Emitting is its owner's doing, as far as ``demand`` goes; asking for more only schedules the
    owner, so a subscriber may ask from within ``on_next`` without recursion (rules 3.2, 3.3).

    Attributes:
        demand: records asked for and not yet emitted.
        sent: records emitted.
        done: nothing may be emitted any more.
    """

    __slots__ = ("_on_cancel", "_on_demand", "_subscriber", "demand", "done", "sent")

    def __init__(
        self, on_demand: Callable[[], None], on_cancel: Callable[[], None] | None = None
    ) -> None:
        self._on_demand = on_demand
        self._on_cancel = on_cancel
        self._subscriber: Subscriber | None = None
        self.demand = 0
        self.sent = 0
        self.done = False

    # -- publisher ------------------------------------------------------------------------------

    def subscribe(self, subscriber: Subscriber) -> None:
        """Begin to serve ``subscriber``; a second one is refused by ``on_error`` (rule 1.9)."""
        if subscriber is None:
            raise TypeError("subscriber must not be None (rule 1.9)")
        if subscriber is self._subscriber:
            self._refuse(InternalError("this subscriber subscribed before (rule 1.10)"))
            return
        if self._subscriber is not None or self.done:
            subscriber.on_subscribe(_Refused())
            subscriber.on_error(InternalError("this stream has a subscriber already"))
            return
        self._subscriber = subscriber
        subscriber.on_subscribe(self)

    # -- subscription ---------------------------------------------------------------------------

    def request(self, n: int) -> None:
        """Ask for ``n`` more records."""
        if self.done:
            return
        if n < 1:
            self._refuse(ValueError(f"request({n}): demand must be 1 or more (rule 3.9)"))
            return
        self.demand += n  # an int has no overflow (rule 3.17)
        self._on_demand()

    def cancel(self) -> None:
        """Ask for no more; the subscriber is forgotten (rule 3.13)."""
        if not self.done:
            self.done = True
            self.demand = 0
            self._subscriber = None
            if self._on_cancel is not None:
                self._on_cancel()
            self._on_demand()  # the owner may have waited for this one's demand alone

    def _refuse(self, error: BaseException) -> None:
        """End the stream for what its subscriber did; to the owner it is a cancel."""
        subscriber = self._subscriber
        self.cancel()
        if subscriber is not None:
            subscriber.on_error(error)

    # -- the owner's side -----------------------------------------------------------------------

    def emit(self, chunk: Chunk) -> None:
        """Give records, at most ``demand`` of them."""
        records = len(chunk.values)
        if self._subscriber is None:
            self.sent += records
            return
        if records > self.demand:
            raise InternalError(f"{records} records emitted, {self.demand} asked for (rule 1.1)")
        self.demand -= records
        self.sent += records
        self._subscriber.on_next(chunk)

    def control(self, element: Control) -> None:
        """Give a control element, whatever the demand."""
        if self._subscriber is not None:
            self._subscriber.on_control(element)

    def complete(self) -> None:
        """End the stream (rules 1.5 to 1.7)."""
        if not self.done:
            self.done = True
            subscriber, self._subscriber = self._subscriber, None
            if subscriber is not None:
                subscriber.on_complete()

    def error(self, error: BaseException) -> None:
        """End the stream with a failure (rules 1.4, 1.6, 1.7)."""
        if not self.done:
            self.done = True
            subscriber, self._subscriber = self._subscriber, None
            if subscriber is not None:
                subscriber.on_error(error)


class _Refused:
    """The subscription of a subscriber that is not served."""

    def request(self, n: int) -> None:
        """Do nothing: the stream has ended for this subscriber (rule 3.6)."""

    def cancel(self) -> None:
        """Do nothing (rule 3.7)."""


class Inlet:
    """A subscriber that queues what it asked for, until its owner takes it.

    Attributes:
        queue: elements received and not yet taken.
        queued: records among them.
        outstanding: records asked for and not yet received.
        received: records received.
        blocked: the owner takes nothing from here for now (barrier alignment).
        completed: nothing follows what is queued.
        ended: EndOfInput was taken from it.
    """

    __slots__ = (
        "_on_error",
        "_on_ready",
        "_subscription",
        "blocked",
        "completed",
        "ended",
        "outstanding",
        "queue",
        "queued",
        "received",
    )

    def __init__(
        self, on_ready: Callable[[], None], on_error: Callable[[BaseException], None]
    ) -> None:
        self._on_ready = on_ready
        self._on_error = on_error
        self._subscription: Subscription | None = None
        self.queue: deque[Chunk | Control] = deque()
        self.queued = 0
        self.outstanding = 0
        self.received = 0
        self.blocked = False
        self.completed = False
        self.ended = False

    # -- subscriber -----------------------------------------------------------------------------

    def on_subscribe(self, subscription: Subscription) -> None:
        """Take the subscription; a second one is cancelled (rule 2.5)."""
        if subscription is None:
            raise TypeError("subscription must not be None (rule 2.13)")
        if self._subscription is not None or self.completed:
            subscription.cancel()
            return
        self._subscription = subscription
        self._on_ready()

    def on_next(self, chunk: Chunk) -> None:
        """Queue records."""
        if chunk is None:
            raise TypeError("chunk must not be None (rule 2.13)")
        if self.completed:
            return  # rule 2.8: a publisher may not have heard of the cancel yet
        records = len(chunk.values)
        self.received += records
        self.outstanding -= records
        self.queued += records
        self.queue.append(chunk)
        self._on_ready()

    def on_control(self, element: Control) -> None:
        """Queue a control element."""
        if element is None:
            raise TypeError("element must not be None (rule 2.13)")
        if not self.completed:
            self.queue.append(element)
            self._on_ready()

    def on_error(self, error: BaseException) -> None:
        """Pass the failure on at once (rule 4.2)."""
        if error is None:
            raise TypeError("error must not be None (rule 2.13)")
        if not self.completed:
            self.completed = True
            self._subscription = None
            self._on_error(error)

    def on_complete(self) -> None:
        """Note the end; what is queued is still taken."""
        self.completed = True
        self._subscription = None
        self._on_ready()

    # -- the owner's side -----------------------------------------------------------------------

    def request(self, n: int) -> None:
        """Ask upstream for ``n`` more records."""
        if self._subscription is not None:
            self.outstanding += n
            self._subscription.request(n)

    def top_up(self, room: int) -> None:
        """Ask for as many records as fit into ``room``, in batches of a quarter of it or more."""
        held = self.outstanding + self.queued
        missing = room - held
        if missing > 0 and (not held or missing >= room >> 2):
            self.request(missing)

    def take(self, limit: int) -> Chunk | Control:
        """Take the next element; of a longer chunk, the first ``limit`` records."""
        element = self.queue[0]
        if not isinstance(element, Chunk):
            return self.queue.popleft()
        records = len(element.values)
        if records > limit:
            element, self.queue[0] = element.split_at(limit)
            records = limit
        else:
            self.queue.popleft()
        self.queued -= records
        return element

    def overtake(self, element: Control) -> Chunk | None:
        """Put a control element before the records that are queued; return the first of them.

        With none queued nothing is done.
        """
        for place, queued in enumerate(self.queue):
            if isinstance(queued, Chunk):
                self.queue.insert(place, element)
                self._on_ready()
                return queued
        return None

    def cancel(self) -> None:
        """Cancel upstream and forget what is queued; return nothing more."""
        subscription, self._subscription = self._subscription, None
        self.completed = True
        self.queue.clear()
        self.queued = 0
        if subscription is not None:
            subscription.cancel()
