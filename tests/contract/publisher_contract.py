"""What every publisher keeps: rules 1.x of Reactive Streams, and those of its subscription, 3.x."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import pytest

from millstream.core.element import Barrier, EndOfInput, Watermark
from millstream.core.reactive import Subscription
from tests.contract.stage import PublisherStage, is_gone
from tests.support.probe import MAX_DEMAND, Probe
from tests.support.rules import rule

RECORDS = range(1, 31)  # every task makes ten records of them or more, and some of the last


class PublisherSubject(Protocol):
    """What the suite needs to know of a publisher."""

    @property
    def ordered(self) -> bool:
        """Whether records come out in the model's order."""

    def start(self, records: Sequence[Any]) -> PublisherStage:
        """Return the publisher, with records to come and their end."""

    def model(self, records: Sequence[int]) -> list[Any]:
        """Return what should come out."""


Start = Callable[[Sequence[Any]], PublisherStage]


class PublisherContract:
    """The suite; whoever derives from it parametrises the fixture ``publisher``."""

    @pytest.fixture
    def start(self, publisher: PublisherSubject) -> Iterator[Start]:
        stages: list[PublisherStage] = []

        def start(records: Sequence[Any]) -> PublisherStage:
            stages.append(publisher.start(records))
            return stages[-1]

        yield start
        for stage in stages:
            stage.close()

    @pytest.fixture
    def expected(self, publisher: PublisherSubject) -> list[Any]:
        return publisher.model(RECORDS)

    # -- demand ---------------------------------------------------------------------------------

    @rule("1.1", "3.8")
    @pytest.mark.parametrize("step", [1, 2, 3, 7, 1000])
    def test_records_come_as_they_are_requested(
        self, start: Start, publisher: PublisherSubject, expected: list[Any], step: int
    ) -> None:
        stage = start(RECORDS)
        probe = stage.subscribe()
        stage.settle()
        assert probe.records == []
        while not probe.completed:
            probe.request(step)
            stage.settle()
            assert len(probe.records) == min(probe.requested, len(expected))
            assert probe.requested <= len(expected) + step, "the end did not come"
        assert_same(publisher, probe.records, expected)

    @rule("1.1", "3.8")
    def test_requests_add_up(self, start: Start, publisher: PublisherSubject) -> None:
        stage = start(RECORDS)
        probe = stage.subscribe()
        probe.request(2)
        probe.request(1)
        probe.request(3)
        stage.settle()
        assert len(probe.records) == 6

    @rule("1.2", "1.5")
    def test_a_stream_ends_before_all_demand_is_used(
        self, start: Start, publisher: PublisherSubject, expected: list[Any]
    ) -> None:
        stage = start(RECORDS)
        probe = stage.subscribe(Probe(request=len(expected) + 100))
        stage.settle()
        assert probe.completed
        assert_same(publisher, probe.records, expected)

    @rule("1.5")
    def test_a_stream_ends_without_demand_beyond_its_last_record(
        self, start: Start, expected: list[Any]
    ) -> None:
        stage = start(RECORDS)
        probe = stage.subscribe(Probe(request=len(expected)))
        stage.settle()
        assert probe.completed
        assert probe.trace[-1] == EndOfInput()

    @rule("1.5")
    def test_an_empty_stream_ends_without_demand(self, start: Start) -> None:
        stage = start([])
        probe = stage.subscribe()
        stage.settle()
        assert probe.trace == [EndOfInput()]
        assert probe.completed

    @rule("3.17")
    def test_demand_may_be_unbounded(
        self, start: Start, publisher: PublisherSubject, expected: list[Any]
    ) -> None:
        stage = start(RECORDS)
        probe = stage.subscribe(Probe(request=MAX_DEMAND))
        probe.request(MAX_DEMAND)
        probe.request(1)
        stage.settle()
        assert probe.completed
        assert_same(publisher, probe.records, expected)

    @rule("3.9")
    @pytest.mark.parametrize("n", [0, -1, -(2**63)])
    def test_a_request_of_less_than_one_is_an_error(self, start: Start, n: int) -> None:
        stage = start(RECORDS)
        probe = stage.subscribe(Probe(request=2))
        stage.settle()
        probe.request(n)
        assert isinstance(probe.error, ValueError)
        assert "3.9" in str(probe.error)
        probe.request(10)
        stage.settle()
        assert len(probe.records) == 2
        assert stage.cancel_reached_origin(), "the origin would wait for demand that cannot come"

    # -- signals --------------------------------------------------------------------------------

    @rule("1.9", "2.12")
    def test_on_subscribe_comes_first_and_once(self, start: Start) -> None:
        stage = start(RECORDS)  # the probe asserts it at each signal
        probe = Probe(request=MAX_DEMAND)
        stage.publisher.subscribe(probe)
        assert probe.subscription is not None
        assert probe.trace == []
        stage.settle()
        assert probe.completed

    @rule("1.9")
    def test_none_cannot_subscribe(self, start: Start) -> None:
        none: Any = None
        with pytest.raises(TypeError, match=r"1\.9"):
            start(RECORDS).publisher.subscribe(none)

    @rule("1.10")
    def test_the_same_subscriber_is_not_served_twice(self, start: Start) -> None:
        stage = start(RECORDS)
        probe = stage.subscribe(Probe(request=1))
        stage.publisher.subscribe(probe)
        assert probe.error is not None
        probe.request(5)
        stage.settle()
        assert probe.received <= 1
        assert stage.cancel_reached_origin()

    @rule("1.11", "1.9")
    def test_a_second_subscriber_is_refused(
        self, start: Start, publisher: PublisherSubject, expected: list[Any]
    ) -> None:
        stage = start(RECORDS)
        first = stage.subscribe(Probe(request=1))
        second = stage.subscribe(Probe(request=5))
        assert second.error is not None
        assert second.subscription is not None
        second.subscription.request(5)
        second.subscription.cancel()
        first.request(1000)
        stage.settle()
        assert_same(publisher, first.records, expected)
        assert second.received == 0

    @rule("1.3", "3.2", "3.3")
    def test_requests_within_signals_do_not_recurse(
        self, start: Start, publisher: PublisherSubject
    ) -> None:
        records = range(1, 2 * sys.getrecursionlimit())
        stage = start(records)
        probe = stage.subscribe(Probe(request=1, on_next=lambda probe: probe.request(1)))
        stage.settle()
        assert probe.completed
        assert probe.deepest == 1
        assert_same(publisher, probe.records, publisher.model(records))

    @rule("3.4", "3.10", "3.11", "3.16")
    def test_request_only_registers_demand(self, start: Start) -> None:
        stage = start(RECORDS)
        probe = stage.subscribe()
        stage.settle()
        calls, failures = stage.user_code.calls_here, list(stage.failures)
        probe.request(5)
        assert probe.trace == []
        assert stage.user_code.calls_here == calls
        assert stage.failures == failures

    @rule("1.7", "1.6")
    def test_nothing_follows_the_end(self, start: Start, expected: list[Any]) -> None:
        stage = start(RECORDS)
        probe = stage.subscribe(Probe(request=1000))
        stage.settle()
        assert probe.completed
        seen = list(probe.trace)
        probe.request(5)  # the probe fails at any signal behind the end
        probe.request(0)
        probe.cancel()
        stage.settle()
        assert probe.trace == seen
        assert probe.error is None

    # -- cancel ---------------------------------------------------------------------------------

    @rule("1.8", "3.5", "3.7", "3.12", "3.15")
    @pytest.mark.parametrize("before", [0, 1, 5])
    def test_a_cancelled_stream_falls_silent(self, start: Start, before: int) -> None:
        stage = start(RECORDS)
        probe = stage.subscribe()
        if before:
            probe.request(before)
            stage.settle()
        probe.cancel()
        probe.cancel()
        stage.settle()
        assert len(probe.records) == before
        assert not probe.ended
        assert stage.cancel_reached_origin()

    @rule("1.8", "3.6")
    def test_demand_behind_a_cancel_is_ignored(self, start: Start) -> None:
        stage = start(RECORDS)
        probe = stage.subscribe(Probe(request=2))
        stage.settle()
        probe.cancel()
        seen = list(probe.trace)
        probe.request(10)
        probe.request(0)
        stage.settle()
        assert probe.trace == seen
        assert not probe.ended

    @rule("1.8", "3.5")
    def test_a_cancel_within_a_signal_is_heard_at_once(self, start: Start) -> None:
        stage = start(RECORDS)
        probe = stage.subscribe(Probe(request=1000, on_next=Probe.cancel))
        stage.settle()
        assert len(probe.chunks) == 1
        assert not probe.ended
        assert stage.cancel_reached_origin()

    @rule("1.8", "3.5")
    def test_a_cancel_within_on_subscribe_is_heard(self, start: Start) -> None:
        class Uninterested(Probe):
            def on_subscribe(self, subscription: Subscription) -> None:
                super().on_subscribe(subscription)
                subscription.cancel()

        stage = start(RECORDS)
        probe = stage.subscribe(Uninterested(request=3))
        stage.settle()
        assert probe.trace == []
        assert stage.cancel_reached_origin()

    @rule("3.13")
    def test_a_cancelled_subscriber_is_forgotten(self, start: Start) -> None:
        stage = start(RECORDS)
        probe = stage.subscribe(Probe(request=3))
        stage.settle()
        probe.cancel()
        stage.settle()
        forgotten = weakref.ref(probe)
        del probe
        assert is_gone(forgotten)

    @rule("3.13", "1.6")
    def test_a_subscriber_that_saw_the_end_is_forgotten(self, start: Start) -> None:
        stage = start(RECORDS)
        probe = stage.subscribe(Probe(request=1000))
        stage.settle()
        assert probe.completed
        forgotten = weakref.ref(probe)
        del probe
        assert is_gone(forgotten)

    @rule("3.14")
    def test_a_cancelled_publisher_serves_nobody_else(self, start: Start) -> None:
        stage = start(RECORDS)
        stage.subscribe().cancel()
        late = stage.subscribe(Probe(request=5))
        stage.settle()
        assert late.error is not None
        assert late.trace == []

    # -- control elements -----------------------------------------------------------------------

    @rule("1.1")
    def test_control_elements_pass_without_demand(self, start: Start) -> None:
        stage = start(RECORDS)
        probe = stage.subscribe()
        stage.control(Watermark(5))
        stage.control(Barrier(1))
        stage.settle()
        assert probe.trace == [Watermark(5), Barrier(1)]

    @rule("1.1")
    def test_control_elements_use_up_no_demand(self, start: Start) -> None:
        stage = start(RECORDS)
        probe = stage.subscribe(Probe(request=4))
        for checkpoint in range(1, 10):
            stage.control(Barrier(checkpoint))
        stage.settle()
        assert len(probe.records) == 4
        assert [c for c in probe.controls if isinstance(c, Barrier)] == [
            *map(Barrier, range(1, 10))
        ]


def assert_same(publisher: PublisherSubject, records: list[Any], expected: list[Any]) -> None:
    """Check the records, in their order if the publisher keeps one."""
    if publisher.ordered:
        assert records == expected
    else:
        assert sorted(records) == sorted(expected)
