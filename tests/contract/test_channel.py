"""The two ends of a stream inside the engine: what an owner may emit, and when it asks for more."""

from __future__ import annotations

import weakref
from contextlib import closing

import pytest

from millstream.core.element import Barrier, Chunk, Position
from millstream.core.errors import InternalError
from millstream.engine.channel import Inlet, Outlet
from tests.contract.operators import TASKS
from tests.contract.processors import ProcessorAsPublisher, ProcessorAsSubscriber
from tests.contract.stage import is_gone
from tests.support.probe import ManualPublisher, Probe
from tests.support.rules import rule


class Record:
    """Something that can be referred to weakly."""


def chunk(records: int) -> Chunk:
    return Chunk([*range(records)], "split", Position(None, 0), Position(None, records), 0)


def nothing() -> None:
    """Stand for an owner that does not care."""


def inlet_of(publisher: ManualPublisher) -> Inlet:
    def fail(error: BaseException) -> None:
        raise error

    inlet = Inlet(nothing, fail)
    publisher.subscribe(inlet)
    return inlet


@rule("1.1")
def test_an_outlet_refuses_to_emit_more_than_was_asked_for() -> None:
    outlet, probe = Outlet(nothing), Probe(request=3)
    outlet.subscribe(probe)
    with pytest.raises(InternalError, match=r"4 records emitted, 3 asked for \(rule 1\.1\)"):
        outlet.emit(chunk(4))
    outlet.emit(chunk(3))
    assert probe.received == 3
    assert outlet.demand == 0


@rule("1.8")
def test_an_outlet_counts_what_nobody_takes_any_more() -> None:
    outlet, probe = Outlet(nothing), Probe(request=3)
    outlet.subscribe(probe)
    outlet.emit(chunk(2))
    probe.cancel()
    outlet.emit(chunk(5))
    outlet.control(Barrier(1))
    assert probe.received == 2
    assert outlet.sent == 7


@rule("2.1")
def test_an_inlet_asks_again_when_a_quarter_of_its_room_is_free() -> None:
    publisher = ManualPublisher()
    inlet = inlet_of(publisher)
    inlet.top_up(8)
    assert publisher.requests == [8]
    publisher.next(*range(8))
    inlet.top_up(8)
    assert publisher.requests == [8], "it holds as much as there is room for"
    inlet.take(1)
    inlet.top_up(8)
    assert publisher.requests == [8], "one record is not worth a request"
    inlet.take(1)
    inlet.top_up(8)
    assert publisher.requests == [8, 2]
    inlet.take(5)
    inlet.top_up(8)
    assert publisher.requests == [8, 2, 5]


@rule("2.1", "no demand loss")
def test_an_inlet_that_holds_nothing_asks_for_the_smallest_room() -> None:
    publisher = ManualPublisher()
    inlet = inlet_of(publisher)
    for room in (1, 3):
        inlet.top_up(room)
        publisher.next(*range(room))
        inlet.take(room)
    assert publisher.requests == [1, 3]
    inlet.top_up(0)
    inlet.top_up(-1)
    assert publisher.requests == [1, 3]


def test_an_inlet_cuts_a_chunk_and_keeps_its_positions() -> None:
    publisher = ManualPublisher()
    inlet = inlet_of(publisher)
    publisher.next(1, 2, 3)
    publisher.control(Barrier(1))
    first, rest, barrier = inlet.take(2), inlet.take(2), inlet.take(2)
    assert isinstance(first, Chunk)
    assert isinstance(rest, Chunk)
    assert (first.values, first.start, first.end) == (
        [1, 2],
        Position("manual", 0),
        Position("manual", 2),
    )
    assert (rest.values, rest.start, rest.end) == ([3], first.end, Position("manual", 3))
    assert barrier == Barrier(1)
    assert inlet.queued == 0


@rule("1.1", "2.1")
def test_a_task_asks_for_exactly_what_it_was_asked_for() -> None:
    (through,) = (task for task in TASKS if task.name == "pass-through")
    with closing(ProcessorAsPublisher(through, range(100))) as stage:
        probe = stage.subscribe()
        for records in (1, 7, 20, 1):
            probe.request(records)
            stage.settle()
            assert sum(stage.feeds[0].requests) == probe.requested


@rule("3.13")
def test_a_cancelled_task_forgets_what_was_waiting_in_it() -> None:
    (through,) = (task for task in TASKS if task.name == "pass-through")
    with closing(ProcessorAsSubscriber(through)) as stage:
        publisher = stage.subscribe()
        record = Record()
        forgotten = weakref.ref(record)
        publisher.next(record)
        stage.stop()
        stage.settle()
        del record
        assert is_gone(forgotten)
