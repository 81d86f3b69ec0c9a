"""What every subscriber keeps: rules 2.x of Reactive Streams."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import pytest

from millstream.core.element import Barrier, Watermark
from tests.contract.stage import SubscriberStage, is_gone
from tests.support.probe import ManualPublisher
from tests.support.rules import rule

RECORDS = range(1, 31)


class SubscriberSubject(Protocol):
    """What the suite needs to know of a subscriber."""

    @property
    def ordered(self) -> bool:
        """Whether records come out in the model's order."""

    def stand(self) -> SubscriberStage:
        """Return the subscriber; it takes whatever it is given as fast as it settles."""

    def model(self, records: Sequence[int]) -> list[Any]:
        """Return what arrives behind it, at the latest with the end."""


Stand = Callable[[], SubscriberStage]


class SubscriberContract:
    """The suite; whoever derives from it parametrises the fixture ``subscriber``."""

    @pytest.fixture
    def stand(self, subscriber: SubscriberSubject) -> Iterator[Stand]:
        stages: list[SubscriberStage] = []

        def stand() -> SubscriberStage:
            stages.append(subscriber.stand())
            return stages[-1]

        yield stand
        for stage in stages:
            stage.close()

    # -- demand ---------------------------------------------------------------------------------

    @rule("2.1")
    def test_demand_is_signalled_until_everything_is_there(
        self, stand: Stand, subscriber: SubscriberSubject
    ) -> None:
        stage = stand()
        publisher = stage.subscribe()
        records = list(RECORDS)
        while records:
            stage.settle()
            assert publisher.demand > 0, "it asks for nothing, and gets nothing"
            publisher.next(*[records.pop(0) for _ in range(min(2, publisher.demand, len(records)))])
        publisher.complete()
        stage.settle()
        assert_same(subscriber, stage.taken, subscriber.model(RECORDS))
        assert stage.failures == []

    @rule("2.1", "no demand loss")
    def test_demand_comes_again_for_a_record_at_a_time(
        self, stand: Stand, subscriber: SubscriberSubject
    ) -> None:
        stage = stand()
        publisher = stage.subscribe()
        for record in RECORDS:
            stage.settle()
            assert publisher.demand >= 1
            publisher.next(record)
        publisher.complete()
        stage.settle()
        assert_same(subscriber, stage.taken, subscriber.model(RECORDS))

    @rule("2.7", "3.1")
    def test_requests_come_one_at_a_time_in_the_engines_thread(self, stand: Stand) -> None:
        stage = stand()
        publisher = stage.subscribe()  # it asserts that they do not overlap
        for record in RECORDS:
            stage.settle()
            publisher.next(record)
        stage.settle()
        stage.stop()
        stage.settle()
        assert len(publisher.requests) >= 1
        assert publisher.threads == {threading.get_ident()}

    @rule("2.2")
    def test_on_next_runs_no_user_code(self, stand: Stand) -> None:
        stage = stand()
        publisher = stage.subscribe()
        stage.settle()
        calls = stage.user_code.calls_here
        publisher.next(1)
        publisher.control(Barrier(1))
        assert stage.user_code.calls_here == calls

    # -- the end --------------------------------------------------------------------------------

    @rule("2.3")
    @pytest.mark.parametrize("failure", [None, ValueError("upstream")])
    def test_a_terminal_signal_makes_no_upcall(
        self, stand: Stand, failure: Exception | None
    ) -> None:
        stage = stand()
        publisher = stage.subscribe()
        stage.settle()
        publisher.next(1)
        if failure is None:
            publisher.complete()  # the publisher fails if it is called within this signal
        else:
            publisher.error(failure)
        stage.settle()
        assert publisher.cancels == 0

    @rule("2.4", "2.9")
    def test_a_completed_subscription_is_left_alone(
        self, stand: Stand, subscriber: SubscriberSubject
    ) -> None:
        stage = stand()
        publisher = stage.subscribe()
        stage.settle()
        publisher.next(1)
        publisher.complete()
        requests = list(publisher.requests)
        stage.settle()
        stage.stop()
        stage.settle()
        assert publisher.requests == requests
        assert publisher.cancels == 0
        assert_same(subscriber, stage.taken, subscriber.model([1]))

    @rule("2.4", "2.10")
    def test_a_failed_subscription_is_left_alone(self, stand: Stand) -> None:
        stage = stand()
        publisher = stage.subscribe()
        stage.settle()
        publisher.error(ValueError("upstream"))
        requests = list(publisher.requests)
        stage.settle()
        stage.stop()
        stage.settle()
        assert publisher.requests == requests
        assert publisher.cancels == 0

    @rule("2.9")
    def test_a_stream_may_end_at_once(self, stand: Stand) -> None:
        stage = stand()
        publisher = stage.subscribe()
        publisher.complete()
        stage.settle()
        assert stage.taken == []
        assert stage.failures == []

    @rule("2.10")
    def test_a_stream_may_fail_at_once(self, stand: Stand) -> None:
        stage = stand()
        publisher = stage.subscribe()
        failure = ValueError("upstream")
        publisher.error(failure)
        assert stage.failures == [failure]
        stage.settle()
        assert stage.taken == []
        assert stage.failures == [failure]

    # -- subscriptions --------------------------------------------------------------------------

    @rule("2.5", "2.12")
    def test_a_second_subscription_is_cancelled(
        self, stand: Stand, subscriber: SubscriberSubject
    ) -> None:
        stage = stand()
        first, second = stage.subscribe(), stage.subscribe()
        assert second.cancels == 1
        assert second.requests == []
        stage.settle()
        first.next(1)
        first.complete()
        stage.settle()
        assert first.cancels == 0
        assert second.requests == []
        assert_same(subscriber, stage.taken, subscriber.model([1]))

    @rule("2.5", "2.4", "2.12")
    @pytest.mark.parametrize("end", ["complete", "error", "cancel"])
    def test_a_subscription_behind_the_end_is_cancelled(self, stand: Stand, end: str) -> None:
        stage = stand()
        publisher = stage.subscribe()
        if end == "complete":
            publisher.complete()
        elif end == "error":
            publisher.error(ValueError("upstream"))
        else:
            stage.stop()
        stage.settle()
        late = stage.subscribe()
        stage.settle()
        assert late.cancels == 1
        assert late.requests == []

    @rule("2.6", "3.12")
    def test_a_subscription_is_cancelled_when_it_is_not_needed(self, stand: Stand) -> None:
        stage = stand()
        publisher = stage.subscribe()
        stage.settle()
        publisher.next(1)
        stage.settle()
        stage.stop()
        stage.stop()
        stage.settle()
        assert publisher.cancels == 1

    @rule("2.8")
    def test_signals_behind_a_cancel_are_tolerated(self, stand: Stand) -> None:
        stage = stand()
        publisher = stage.subscribe()
        stage.settle()
        publisher.next(1)
        stage.settle()
        stage.stop()
        stage.settle()
        taken, requests = list(stage.taken), list(publisher.requests)
        publisher.next(2, 3)
        publisher.control(Watermark(1))
        stage.settle()
        publisher.complete()
        publisher.error(ValueError("upstream"))
        stage.settle()
        assert stage.taken == taken
        assert stage.failures == []
        assert publisher.requests == requests

    @rule("2.8")
    def test_more_than_was_requested_is_taken_all_the_same(
        self, stand: Stand, subscriber: SubscriberSubject
    ) -> None:
        stage = stand()
        publisher = stage.subscribe()
        publisher.next(*RECORDS)
        publisher.complete()
        stage.settle()
        assert_same(subscriber, stage.taken, subscriber.model(RECORDS))

    @rule("2.13")
    def test_signals_return_normally(self, stand: Stand) -> None:
        stage = stand()
        publisher = ManualPublisher()
        subscriber: Any = stage.subscriber
        assert subscriber.on_subscribe(publisher) is None
        publisher.subscriber = subscriber
        publisher.next(1)
        assert subscriber.on_control(Barrier(1)) is None
        assert subscriber.on_complete() is None
        assert subscriber.on_error(ValueError("behind the end")) is None
        stage.settle()

    @rule("2.13")
    @pytest.mark.parametrize("signal", ["on_subscribe", "on_next", "on_control", "on_error"])
    def test_none_is_refused(self, stand: Stand, signal: str) -> None:
        stage = stand()
        if signal != "on_subscribe":
            stage.subscribe()
        with pytest.raises(TypeError, match=r"2\.13"):
            getattr(stage.subscriber, signal)(None)
        stage.settle()
        assert stage.taken == []

    @rule("2.6")
    @pytest.mark.parametrize("end", ["complete", "error", "cancel"])
    def test_a_subscription_that_ended_is_forgotten(self, stand: Stand, end: str) -> None:
        stage = stand()
        publisher = stage.subscribe()
        stage.settle()
        if end == "complete":
            publisher.complete()
        elif end == "error":
            publisher.error(ValueError("upstream"))
            stage.failures.clear()  # its traceback holds the frames, and these the publisher
        else:
            stage.stop()
        stage.settle()
        forgotten = weakref.ref(publisher)
        del publisher
        assert is_gone(forgotten)


def assert_same(subscriber: SubscriberSubject, taken: list[Any], expected: list[Any]) -> None:
    """Check the records, in their order if the subscriber keeps one."""
    if subscriber.ordered:
        assert taken == expected
    else:
        assert sorted(taken) == sorted(expected)
