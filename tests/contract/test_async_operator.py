"""What ``map_async`` adds: calls in flight, in order or not, bounded, and none that is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from millstream.core.element import Barrier, EndOfInput, Idle, Watermark
from millstream.core.errors import OperatorError
from millstream.engine.async_task import AsyncTask
from millstream.operators.map_async import MapAsync
from tests.contract.stage import Stage
from tests.support.probe import MAX_DEMAND, Feed, Probe
from tests.support.rules import rule
from tests.support.stepping import SteppedLoop


class Calls(Stage):
    """An async operator whose calls end when the test says so."""

    def __init__(self, items: list[Any], *, ordered: bool = True, capacity: int = 4) -> None:
        super().__init__()
        self.in_flight: dict[Any, asyncio.Future[Any]] = {}
        self.most = 0
        self.loop = SteppedLoop()
        operator = MapAsync(self._call, "record", ordered, capacity, None, None)
        self.task = AsyncTask(self.dispatcher, "op", operator, self.loop, self.failures.append)
        self.feed = Feed(items)
        self.feed.subscribe(self.task.inlets[0])

    async def _call(self, record: Any) -> Any:
        future = self.in_flight[record] = asyncio.get_running_loop().create_future()
        self.most = max(self.most, len(self.in_flight))
        try:
            return await future
        finally:
            del self.in_flight[record]

    def subscribe(self, request: int) -> Probe:
        probe = Probe(request=request)
        self.task.outlet.subscribe(probe)
        self.settle()
        return probe

    def end(self, *records: Any) -> None:
        for record in records:
            self.in_flight[record].set_result(record)
            self.settle()

    def pump(self) -> bool:
        given = self.feed.pump()
        self.loop.step()
        return self.dispatcher.step() or given

    def close(self) -> None:
        self.task.close()
        self.loop.close()


@pytest.fixture
def close() -> Iterator[list[Calls]]:
    stages: list[Calls] = []
    yield stages
    for stage in stages:
        stage.close()


def test_results_leave_in_the_order_of_the_input(close: list[Calls]) -> None:
    close.append(calls := Calls([1, 2, 3]))
    probe = calls.subscribe(MAX_DEMAND)
    calls.end(3, 2)
    assert probe.records == []
    calls.end(1)
    assert probe.records == [1, 2, 3]
    assert probe.completed


def test_unordered_results_leave_as_they_come_but_never_across_a_watermark(
    close: list[Calls],
) -> None:
    close.append(calls := Calls([1, 2, Watermark(2), 3, Idle()], ordered=False))
    probe = calls.subscribe(MAX_DEMAND)
    calls.end(3, 2)
    assert probe.trace == [2]
    calls.end(1)
    assert probe.trace == [2, 1, Watermark(2), 3, Idle(), EndOfInput()]
    assert probe.completed


@rule("1.1")
def test_calls_in_flight_are_bounded(close: list[Calls]) -> None:
    close.append(calls := Calls(list(range(50)), capacity=4))
    probe = calls.subscribe(MAX_DEMAND)
    while not probe.completed:
        calls.end(max(calls.in_flight))
    assert calls.most == 4
    assert probe.records == list(range(50))


@rule("1.1", "2.2")
def test_results_that_wait_for_demand_count_as_in_flight(close: list[Calls]) -> None:
    close.append(calls := Calls(list(range(50)), capacity=4))
    calls.subscribe(0)
    for _ in range(20):
        calls.end(*list(calls.in_flight))
    assert sum(calls.feed.requests) == 4, "it goes on calling though nobody takes the results"


@rule("1.1")
def test_control_elements_with_nothing_before_them_keep_their_order(close: list[Calls]) -> None:
    close.append(calls := Calls([Watermark(1), Barrier(1), Idle(), Barrier(2), 1]))
    probe = calls.subscribe(0)
    assert probe.trace == [Watermark(1), Barrier(1), Idle(), Barrier(2)]


@rule("1.5")
def test_the_end_waits_for_the_calls_before_it(close: list[Calls]) -> None:
    close.append(calls := Calls([1]))
    probe = calls.subscribe(1)
    assert not probe.controls
    calls.end(1)
    assert probe.trace == [1, EndOfInput()]
    assert probe.completed


@rule("1.4")
def test_a_call_that_fails_fails_the_stream(close: list[Calls]) -> None:
    close.append(calls := Calls([1, 2]))
    probe = calls.subscribe(MAX_DEMAND)
    calls.in_flight[2].set_exception(ValueError("no"))
    calls.settle()
    assert isinstance(probe.error, OperatorError)
    assert "record 2" in str(probe.error)
    assert calls.feed.cancelled or calls.feed.ended


@rule("1.4")
def test_a_call_that_is_cancelled_from_within_fails_the_stream(close: list[Calls]) -> None:
    """It would never have a result, and whatever is behind it would wait for ever."""
    close.append(calls := Calls([1, 2]))
    probe = calls.subscribe(MAX_DEMAND)
    calls.in_flight[1].cancel()
    calls.settle()
    assert isinstance(probe.error, OperatorError)
    assert "record 1" in str(probe.error)


@rule("3.12", "3.5")
def test_a_cancel_asks_for_nothing_more(close: list[Calls]) -> None:
    close.append(calls := Calls(list(range(50))))
    probe = calls.subscribe(MAX_DEMAND)
    calls.end(0)
    probe.cancel()
    calls.end(*list(calls.in_flight))
    assert probe.records == [0]
    assert calls.feed.cancelled
    assert not calls.in_flight, "and starts none of what it holds"
