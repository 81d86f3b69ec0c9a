"""Both ends of a stream in a test's hand: a subscriber that looks, and a publisher that may lie."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from millstream.core.element import Chunk, Control, EndOfInput, Position
from millstream.core.reactive import Subscriber, Subscription

MAX_DEMAND = 2**63 - 1  # the most that the specification can express (rule 3.17)


class Probe:
    """Keeps every signal, and fails at once at what no subscriber may see.

    Args:
        request: how many records to ask for within ``on_subscribe``.
        on_next: called within ``on_next``, with the probe.

    Attributes:
        trace: records and control elements, in order.
        chunks: the lengths of the chunks.
        requested: records asked for so far.
        completed: ``on_complete`` came.
        error: what ``on_error`` brought.
        deepest: how many signals were ever nested within each other.
    """

    def __init__(
        self, *, request: int = 0, on_next: Callable[[Probe], object] | None = None
    ) -> None:
        self.trace: list[Any] = []
        self.chunks: list[int] = []
        self.received = 0
        self.requested = 0
        self.completed = False
        self.error: BaseException | None = None
        self.deepest = 0
        self.subscription: Subscription | None = None
        self._first = request
        self._on_next = on_next
        self._signal_in_hand = threading.RLock()
        self._depth = 0

    @property
    def records(self) -> list[Any]:
        return [each for each in self.trace if not isinstance(each, Control)]

    @property
    def controls(self) -> list[Control]:
        return [each for each in self.trace if isinstance(each, Control)]

    @property
    def ended(self) -> bool:
        return self.completed or self.error is not None

    # -- subscriber -----------------------------------------------------------------------------

    def on_subscribe(self, subscription: Subscription) -> None:
        with self._signal():
            assert subscription is not None
            assert self.subscription is None, "on_subscribe came twice (rule 2.12)"
            self.subscription = subscription
            if self._first:
                self.request(self._first)

    def on_next(self, chunk: Chunk) -> None:
        with self._signal():
            self._check("on_next")
            self.received += len(chunk.values)
            assert len(chunk.values), "an empty chunk"
            assert self.received <= self.requested, (
                f"{self.received} records, {self.requested} requested (rule 1.1)"
            )
            self.chunks.append(len(chunk.values))
            self.trace += chunk.values
            if self._on_next is not None:
                self._on_next(self)

    def on_control(self, element: Control) -> None:
        with self._signal():
            self._check("on_control")
            self.trace.append(element)

    def on_error(self, error: BaseException) -> None:
        with self._signal():
            self._check("on_error")
            assert isinstance(error, BaseException)
            self.error = error

    def on_complete(self) -> None:
        with self._signal():
            self._check("on_complete")
            self.completed = True

    # -- the test's side ------------------------------------------------------------------------

    def request(self, n: int) -> None:
        assert self.subscription is not None
        self.requested += max(n, 0)
        self.subscription.request(n)

    def cancel(self) -> None:
        assert self.subscription is not None
        self.subscription.cancel()

    @contextmanager
    def _signal(self) -> Iterator[None]:
        assert self._signal_in_hand.acquire(blocking=False), "signals overlap (rule 1.3)"
        self._depth += 1
        self.deepest = max(self.deepest, self._depth)
        try:
            yield
        finally:
            self._depth -= 1
            self._signal_in_hand.release()

    def _check(self, signal: str) -> None:
        assert self.subscription is not None, f"{signal} before on_subscribe (rule 1.9)"
        assert not self.ended, f"{signal} behind the end (rule 1.7)"


class ManualPublisher:
    """Gives what the test says, also what no publisher may give; it is its own subscription.

    Attributes:
        demand: records asked for and not yet given.
        requests: each ``request``.
        cancels: how often ``cancel`` came.
        threads: which threads called these two.
        upcalls_allowed: False while a signal is given in which none may be called.
    """

    def __init__(self) -> None:
        self.demand = 0
        self.requests: list[int] = []
        self.cancels = 0
        self.threads: set[int] = set()
        self.upcalls_allowed = True
        self.subscriber: Subscriber | None = None
        self._call_in_hand = threading.Lock()
        self._given = 0

    def subscribe(self, subscriber: Subscriber) -> None:
        self.subscriber = subscriber
        subscriber.on_subscribe(self)

    @property
    def cancelled(self) -> bool:
        return self.cancels > 0

    # -- subscription ---------------------------------------------------------------------------

    def request(self, n: int) -> None:
        with self._call():
            assert n >= 1, f"request({n}) (rule 3.9)"
            self.requests.append(n)
            self.demand += n

    def cancel(self) -> None:
        with self._call():
            self.cancels += 1

    @contextmanager
    def _call(self) -> Iterator[None]:
        assert self._call_in_hand.acquire(blocking=False), "calls overlap (rule 2.7)"
        try:
            assert self.upcalls_allowed, "an upcall within a terminal signal (rule 2.3)"
            self.threads.add(threading.get_ident())
            yield
        finally:
            self._call_in_hand.release()

    # -- the test's side ------------------------------------------------------------------------

    def next(self, *values: Any) -> None:
        """Give a chunk, asked for or not."""
        assert self.subscriber is not None
        start = Position("manual", self._given)
        self._given += len(values)
        self.demand -= len(values)
        self.subscriber.on_next(
            Chunk(list(values), "manual", start, Position("manual", self._given), 0)
        )

    def control(self, element: Control) -> None:
        assert self.subscriber is not None
        self.subscriber.on_control(element)

    def complete(self) -> None:
        """End the stream as every publisher of the engine does: ``EndOfInput`` comes first."""
        assert self.subscriber is not None
        self.control(EndOfInput())
        self.upcalls_allowed = False
        self.subscriber.on_complete()
        self.upcalls_allowed = True

    def error(self, error: BaseException) -> None:
        assert self.subscriber is not None
        self.upcalls_allowed = False
        self.subscriber.on_error(error)
        self.upcalls_allowed = True


class Feed(ManualPublisher):
    """Gives records and control elements in order, as far as demand goes, and ends.

    Args:
        items: records; a ``Control`` among them is given in its place.
        chunk: most records in a chunk.
    """

    def __init__(self, items: Iterable[Any], *, chunk: int = 3) -> None:
        super().__init__()
        self.ended = False
        self._items = deque(items)
        self._chunk = chunk

    def pump(self) -> bool:
        """Give what may be given; return whether there was anything."""
        given = False
        while not self.ended and not self.cancelled:
            if not self._items:
                self.ended = True
                self.complete()
            elif isinstance(self._items[0], Control):
                self.control(self._items.popleft())
            elif values := self._affordable():
                self.next(*values)
            else:
                break
            given = True
        return given

    def error(self, error: BaseException) -> None:
        self.ended = True
        super().error(error)

    def _affordable(self) -> Sequence[Any]:
        values: list[Any] = []
        while (
            self._items
            and len(values) < min(self._chunk, self.demand)
            and not isinstance(self._items[0], Control)
        ):
            values.append(self._items.popleft())
        return values
