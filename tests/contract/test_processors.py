"""What an operator keeps because it has two sides: failures, demand that is not lost, order."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millstream.core.element import Barrier, Control, EndOfInput, Watermark
from millstream.core.errors import OperatorError
from tests.contract.operators import ASYNC, OPERATORS, TASKS, TaskSubject
from tests.contract.processors import ProcessorAsPublisher, Subject
from tests.support.probe import MAX_DEMAND, Probe
from tests.support.rules import rule

RECORDS = range(1, 25)


def over(operators: Sequence[Subject], *without: str) -> pytest.MarkDecorator:
    chosen = [each for each in operators if each.name not in without]
    return pytest.mark.parametrize("operator", chosen, ids=str)


# -- failures -----------------------------------------------------------------------------------


@rule("1.4", "1.7", "2.6")
@over(OPERATORS, "pass-through", "union")  # which have no callback
def test_a_failing_callback_is_signalled_by_on_error(operator: Subject) -> None:
    with closing(ProcessorAsPublisher(operator, RECORDS)) as stage:
        stage.user_code.fail_on = 8
        probe = stage.subscribe(Probe(request=MAX_DEMAND))
        stage.settle()
        assert isinstance(probe.error, OperatorError)
        assert isinstance(probe.error.__cause__, ValueError)
        assert stage.failures == [probe.error]
        assert stage.cancel_reached_origin()
        assert_begin(operator, probe.records, operator.model(range(1, 8)))


@rule("4.2")
@over(OPERATORS, "aggregate, final")  # its upstream has ended when the first record comes out
def test_a_failure_from_upstream_is_passed_on_at_once(operator: Subject) -> None:
    with closing(ProcessorAsPublisher(operator, RECORDS)) as stage:
        probe = stage.subscribe(Probe(request=1))
        stage.settle()
        failure = ValueError("upstream")
        stage.fail(failure)
        assert probe.error is failure, "before what is queued or parked, and without demand"
        assert all(other.error is failure for other in stage.rest)
        assert stage.failures == [failure]
        stage.settle()  # the probe fails at any signal behind the end
        assert stage.cancel_reached_origin()


# -- demand -------------------------------------------------------------------------------------


@rule("no demand loss", "3.8")
@over(OPERATORS, "aggregate, final")
def test_demand_of_long_ago_is_still_asked_for_upstream(operator: Subject) -> None:
    with closing(ProcessorAsPublisher(operator, ())) as stage:
        for feed in stage.feeds:
            feed.ended = True  # records come by the test's hand, one at a time, and no end
        probe = stage.subscribe(Probe(request=30))
        stage.settle()
        record = 0
        while probe.received < probe.requested:
            record += 1
            feed = stage.feeds[record % len(stage.feeds)]
            assert feed.demand >= 1, f"{30 - probe.received} of 30 not come, and not asked for"
            feed.next(record)
            stage.settle()
        assert_begin(operator, probe.records, operator.model(range(1, record + 1)))


@rule("1.1", "no demand loss", "4.1")
@over(OPERATORS)
@settings(max_examples=15, derandomize=True)
@given(data=st.data())
def test_no_interleaving_of_demand_and_work_changes_what_comes_out(
    operator: Subject, data: st.DataObject
) -> None:
    records = range(1, data.draw(st.integers(1, 40)))
    moves = data.draw(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 6)), max_size=30))
    with closing(ProcessorAsPublisher(operator, records)) as stage:
        probe = stage.subscribe()  # it fails at a record that was not requested
        for demand, steps in moves:
            probe.request(demand)
            for _ in range(steps):
                if not stage.dispatcher.step():
                    stage.pump()
        probe.request(1000)
        stage.settle()
        assert probe.completed
        assert sorted(probe.records, key=str) == sorted(operator.model(records), key=str)
        assert_begin(operator, probe.records, operator.model(records))


@rule("2.1")
@over(TASKS)
def test_nothing_is_asked_for_that_no_output_asked_for(operator: TaskSubject) -> None:
    with closing(ProcessorAsPublisher(operator, RECORDS)) as stage:
        stage.subscribe()
        stage.settle()
        assert [feed.requests for feed in stage.feeds] == [[]] * operator.inputs
        assert stage.user_code.calls_here == 0


# -- order --------------------------------------------------------------------------------------


@rule("1.1")
@over(OPERATORS, "aggregate, final", "union")  # see test_control_elements
@pytest.mark.parametrize("step", [1, 4, 1000])
def test_control_elements_keep_their_place(operator: Subject, step: int) -> None:
    """A watermark stays between what was made of the records before it and behind it."""
    items: list[Any] = []
    for record in RECORDS:
        items += [record, Watermark(record)] if record % 5 == 0 else [record]
    with closing(ProcessorAsPublisher(operator, items)) as stage:
        probe = stage.subscribe()
        while not probe.completed:
            probe.request(step)
            stage.settle()
            assert probe.requested < 1000 + step, "the end did not come"
        before: dict[int, int] = {}  # watermark -> records that came out before it
        for place, each in enumerate(probe.trace):
            if isinstance(each, Watermark):
                before[each.time_ms] = place - len(before)
        marks = range(5, 25, 5)
        assert before == {mark: len(operator.model(range(1, mark + 1))) for mark in marks}
        assert probe.trace[-1] == EndOfInput()


@rule("1.1")
@over(TASKS, "aggregate, final", "union")
def test_a_barrier_needs_no_demand_behind_the_records_that_did(operator: TaskSubject) -> None:
    """What is before it has gone out; nothing else may hold it up, a slow sink least of all."""
    before = range(1, 7)  # every operator makes something of the last of them
    items = [*before, Barrier(1), *range(7, 10)]
    with closing(ProcessorAsPublisher(operator, items)) as stage:
        probe = stage.subscribe(Probe(request=len(operator.model(before))))
        stage.settle()
        assert probe.received == probe.requested
        assert probe.controls == [Barrier(1)]
        assert isinstance(probe.trace[-1], Control)


@rule("1.1")
def test_a_barrier_overtakes_what_is_in_flight_in_an_async_operator() -> None:
    """It is part of the snapshot; a watermark waits for the calls before it."""
    with closing(ProcessorAsPublisher(ASYNC[0], [1, 2, 3, Watermark(3), Barrier(1), 4])) as stage:
        probe = stage.subscribe()
        stage.settle()
        assert probe.trace == [Barrier(1)]
        probe.request(10)
        stage.settle()
        assert probe.trace == [Barrier(1), 10, 20, 30, Watermark(3), 40, EndOfInput()]


def assert_begin(operator: Subject, records: list[Any], expected: list[Any]) -> None:
    """Check that records are the first of those expected, or just among them if unordered."""
    if operator.ordered:
        assert records == expected[: len(records)]
    else:
        for record in records:
            expected.remove(record)
