"""What is under test, with what it needs around it, in one thread that moves only by ``settle``."""

from __future__ import annotations

import gc
import threading
import weakref
from collections import Counter
from typing import Any

from millstream.core.element import Control
from millstream.core.reactive import Publisher, Subscriber
from millstream.engine.dispatcher import Dispatcher
from tests.support.probe import ManualPublisher, Probe
from tests.support.stepping import ManualClock


class UserCode:
    """Counts the calls of a callback, by thread, and fails where it is told to."""

    def __init__(self) -> None:
        self.calls: Counter[int] = Counter()
        self.fail_on: object = None

    def __call__(self, record: Any) -> Any:
        """Stand for whatever a callback does with a record."""
        self.calls[threading.get_ident()] += 1
        if record == self.fail_on:
            raise ValueError(f"no {record}")
        return record

    @property
    def calls_here(self) -> int:
        return self.calls[threading.get_ident()]


class Stage:
    """The surroundings that publishers and subscribers share.

    Attributes:
        user_code: what every callback of the stage calls for each record.
        failures: what was reported to the run.
    """

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.dispatcher = Dispatcher(self.clock)
        self.user_code = UserCode()
        self.failures: list[BaseException] = []

    def settle(self) -> None:
        """Let everything happen that can."""
        moving = True
        while moving:
            self.dispatcher.run_until_idle()
            moving = self.pump()

    def pump(self) -> bool:
        """Let what is outside the engine move; return whether the engine may have work again."""
        return False

    def close(self) -> None:
        """Let go of threads and loops."""


class PublisherStage(Stage):
    """A publisher, and where its records come from."""

    publisher: Publisher

    def subscribe(self, probe: Probe | None = None) -> Probe:
        probe = probe or Probe()
        self.publisher.subscribe(probe)
        return probe

    def control(self, element: Control) -> None:
        """Put a control element behind the records that the origin has given so far."""
        raise NotImplementedError

    def cancel_reached_origin(self) -> bool:
        """Return whether a cancel comes to where records are from, if nobody else wants any."""
        raise NotImplementedError


class SubscriberStage(Stage):
    """A subscriber, and where its records go."""

    subscriber: Subscriber

    def subscribe(self) -> ManualPublisher:
        publisher = ManualPublisher()
        publisher.subscribe(self.subscriber)
        return publisher

    @property
    def taken(self) -> list[Any]:
        """The records that have come out at the other end."""
        raise NotImplementedError

    def stop(self) -> None:
        """Need no more records."""
        raise NotImplementedError


def is_gone(reference: weakref.ref[Any]) -> bool:
    """Return whether nothing refers to it any more, cycles aside."""
    if reference() is not None:
        gc.collect()
    return reference() is None
