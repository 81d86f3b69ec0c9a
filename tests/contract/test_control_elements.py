"""Barriers, watermarks, idleness and the end of input, where streams meet and where they part."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millstream.core.element import Barrier, Control, EndOfInput, Idle, Watermark
from millstream.engine.chain import Chain, OutputKey
from millstream.engine.task import Task
from millstream.operators.split import Split
from tests.contract.operators import in_one_loop
from tests.contract.stage import Stage
from tests.support.probe import MAX_DEMAND, ManualPublisher, Probe
from tests.support.rules import rule

MAIN: OutputKey = ("op", None)


class Union(Stage):
    """A task with several inputs under the test's hand; ``trace`` is what came out so far."""

    def __init__(self, inputs: int = 2, request: int = MAX_DEMAND) -> None:
        super().__init__()
        self.task = Task(
            self.dispatcher,
            Chain("union", [], "op"),
            inputs=inputs,
            outputs={MAIN: 1},
            on_failure=self.failures.append,
        )
        self.probe = Probe(request=request)
        self.task.emitter.outputs[MAIN].outlets[0].subscribe(self.probe)
        self.inputs = [ManualPublisher() for _ in range(inputs)]
        for publisher, inlet in zip(self.inputs, self.task.inlets, strict=True):
            publisher.subscribe(inlet)
        self.settle()

    def give(self, number: int, *items: object) -> None:
        for item in items:
            if isinstance(item, Control):
                self.inputs[number].control(item)
            else:
                self.inputs[number].next(item)
        self.settle()

    @property
    def trace(self) -> list[object]:
        return self.probe.trace


# -- barriers -----------------------------------------------------------------------------------


def test_a_barrier_waits_until_every_input_has_brought_it() -> None:
    union = Union()
    union.give(0, "a", Barrier(1))
    assert union.trace == ["a"]
    union.give(1, "b", Barrier(1))
    assert union.trace == ["a", "b", Barrier(1)]


def test_what_is_behind_a_barrier_waits_while_the_other_input_goes_on() -> None:
    union = Union()
    union.give(0, Barrier(1), "late", Watermark(9))
    union.give(1, "b1", "b2")
    assert union.trace == ["b1", "b2"]
    union.give(1, Barrier(1), "b3")
    assert union.trace[2] == Barrier(1)
    assert sorted(map(str, union.trace[3:])) == ["b3", "late"]


def test_a_blocked_input_is_not_asked_for_more_than_it_was() -> None:
    union = Union(request=8)
    union.give(0, Barrier(1), *range(4))
    requested = sum(union.inputs[0].requests)
    union.give(1, *range(100, 104))
    assert sum(union.inputs[0].requests) == requested


def test_barriers_follow_each_other_in_order() -> None:
    union = Union()
    union.give(0, Barrier(1), "a", Barrier(2))
    union.give(1, "b", Barrier(1), Barrier(2))
    assert union.trace == ["b", Barrier(1), "a", Barrier(2)]


def test_three_inputs_are_aligned() -> None:
    union = Union(inputs=3)
    union.give(2, Barrier(1), "c")
    union.give(0, Barrier(1), "a")
    assert union.trace == []
    union.give(1, "b", Barrier(1))
    assert union.trace[:2] == ["b", Barrier(1)]
    assert sorted(map(str, union.trace[2:])) == ["a", "c"]


@pytest.mark.parametrize("first", ["end", "barrier"])
def test_an_input_that_ended_counts_as_aligned(first: str) -> None:
    union = Union()
    if first == "end":
        union.inputs[0].complete()
        union.give(1, Barrier(1))
    else:
        union.give(1, Barrier(1))
        assert union.trace == []
        union.inputs[0].complete()
        union.settle()
    assert Barrier(1) in union.trace
    union.give(1, "b", Barrier(2))
    assert union.trace[-2:] == ["b", Barrier(2)]


@rule("1.5")
def test_the_end_comes_when_every_input_has_ended() -> None:
    union = Union()
    union.give(0, "a")
    union.inputs[0].complete()
    union.settle()
    assert EndOfInput() not in union.trace
    assert not union.probe.completed
    union.give(1, "b")
    union.inputs[1].complete()
    union.settle()
    assert union.trace.count(EndOfInput()) == 1
    assert union.trace[-1] == EndOfInput()
    assert union.probe.completed


@settings(max_examples=60, derandomize=True)
@given(data=st.data())
def test_no_record_crosses_a_barrier(data: st.DataObject) -> None:
    """Whatever the interleaving, between two barriers come the records that inputs had there."""
    union = Union(inputs=3, request=1)
    scripts: list[list[str | Barrier]] = [[], [], []]
    expected: dict[int, list[str]] = {}
    for epoch in range(1, data.draw(st.integers(1, 4)) + 1):
        expected[epoch] = []
        for number, script in enumerate(scripts):
            records = [f"{number}, {epoch}"] * data.draw(st.integers(0, 3))
            script += [*records, Barrier(epoch)]
            expected[epoch] += records
    while any(scripts):
        number = data.draw(st.sampled_from([n for n in range(3) if scripts[n]]))
        union.give(number, scripts[number].pop(0))
        if data.draw(st.booleans()):
            union.probe.request(data.draw(st.integers(1, 3)))
    union.probe.request(100)
    union.settle()
    seen: dict[int, list[object]] = {}
    between: list[object] = []
    for each in union.trace:
        if isinstance(each, Barrier):
            seen[each.checkpoint_id], between = sorted(between, key=str), []
        else:
            between.append(each)
    assert seen == expected
    assert between == []


# -- watermarks ---------------------------------------------------------------------------------


def test_the_watermark_is_the_lowest_of_the_inputs() -> None:
    union = Union()
    union.give(0, Watermark(10))
    assert union.trace == []
    union.give(1, Watermark(5))
    assert union.trace == [Watermark(5)]
    union.give(1, Watermark(20))
    assert union.trace == [Watermark(5), Watermark(10)]


def test_the_watermark_never_goes_back_and_is_not_repeated() -> None:
    union = Union(inputs=1)
    union.give(0, Watermark(10), Watermark(7), Watermark(10), Watermark(11))
    assert union.trace == [Watermark(10), Watermark(11)]


def test_an_idle_input_holds_no_watermark_back() -> None:
    union = Union()
    union.give(0, Watermark(5))
    union.give(1, Watermark(10))
    union.give(0, Idle())
    assert union.trace == [Watermark(5), Watermark(10)]
    union.give(1, Watermark(12))
    assert union.trace[-1] == Watermark(12)


def test_an_input_that_speaks_again_does_not_take_the_watermark_back() -> None:
    union = Union()
    union.give(0, Idle())
    union.give(1, Watermark(10))
    union.give(0, Watermark(3))
    union.give(1, Watermark(20))
    assert union.trace == [Watermark(10)]
    union.give(0, Watermark(15))
    assert union.trace == [Watermark(10), Watermark(15)]


def test_all_inputs_idle_is_idle_once_and_moves_no_watermark() -> None:
    union = Union()
    union.give(0, Watermark(5))
    union.give(1, Idle())
    union.give(0, Idle(), Idle())
    union.give(1, Idle())
    assert union.trace == [Watermark(5), Idle()]
    union.give(1, Watermark(7))
    union.give(1, Idle())
    assert union.trace == [Watermark(5), Idle(), Watermark(7), Idle()]


def test_an_input_that_ended_holds_no_watermark_back() -> None:
    union = Union()
    union.give(0, Watermark(5))
    union.give(1, Watermark(10))
    union.inputs[0].complete()
    union.settle()
    assert union.trace == [Watermark(5), Watermark(10)]


def test_the_rest_idle_beside_an_input_that_ended_is_idle() -> None:
    union = Union()
    union.give(0, Idle())
    union.inputs[1].complete()
    union.settle()
    assert union.trace == [Idle()]


# -- several inputs, little demand --------------------------------------------------------------


def test_inputs_are_served_in_turn() -> None:
    union = Union(request=1000)
    for publisher in union.inputs:
        for _ in range(20):
            publisher.next(publisher)
    union.settle()
    assert set(union.trace[:4]) == set(union.inputs), "one input starves beside the other"
    assert [each is union.trace[0] for each in union.trace] == [True, False] * 20


@rule("1.1")
def test_a_control_element_does_not_wait_behind_the_records_of_another_input() -> None:
    union = Union(request=1)
    union.give(0, "a1", Watermark(6), "a2", Watermark(8))
    union.give(1, Watermark(5), Watermark(7))
    assert union.trace == ["a1", Watermark(5), Watermark(6)]
    union.probe.request(1)
    union.settle()
    assert union.trace[3:] == ["a2", Watermark(7)]


# -- several outputs ----------------------------------------------------------------------------


def split_task(stage: Stage, probes: dict[str, Probe]) -> ManualPublisher:
    names = tuple(probes)
    task = Task(
        stage.dispatcher,
        Chain("split", in_one_loop(Split(lambda record: record, names)), "op"),
        inputs=1,
        outputs={("op", name): 1 for name in names},
        on_failure=stage.failures.append,
    )
    for name, probe in probes.items():
        task.emitter.outputs["op", name].outlets[0].subscribe(probe)
    publisher = ManualPublisher()
    publisher.subscribe(task.inlets[0])
    stage.settle()
    return publisher


def fan_out(stage: Stage, probes: list[Probe]) -> ManualPublisher:
    outputs = {MAIN: len(probes)}
    task = Task(
        stage.dispatcher, Chain("fan-out", [], "op"), inputs=1, outputs=outputs,
        on_failure=stage.failures.append,
    )  # fmt: skip
    for outlet, probe in zip(task.emitter.outputs[MAIN].outlets, probes, strict=True):
        outlet.subscribe(probe)
    publisher = ManualPublisher()
    publisher.subscribe(task.inlets[0])
    stage.settle()
    return publisher


def test_every_output_gets_every_control_element_in_its_place() -> None:
    stage, probes = Stage(), {"a": Probe(request=10), "b": Probe(request=10)}
    publisher = split_task(stage, probes)
    publisher.next("a", "b", "a")
    publisher.control(Barrier(1))
    publisher.next("b")
    publisher.complete()
    stage.settle()
    assert probes["a"].trace == ["a", "a", Barrier(1), EndOfInput()]
    assert probes["b"].trace == ["b", Barrier(1), "b", EndOfInput()]
    assert all(probe.completed for probe in probes.values())


@rule("1.1")
def test_the_slower_of_two_subscribers_sets_the_pace() -> None:
    stage, fast, slow = Stage(), Probe(request=10), Probe(request=1)
    publisher = fan_out(stage, [fast, slow])
    publisher.next(1, 2, 3)
    publisher.control(Barrier(1))
    stage.settle()
    assert fast.trace == slow.trace == [1]
    slow.request(5)
    stage.settle()
    assert fast.trace == slow.trace == [1, 2, 3, Barrier(1)]


@rule("1.8", "3.12")
def test_one_subscriber_that_cancels_leaves_the_stream_to_the_others() -> None:
    stage, leaves, stays = Stage(), Probe(request=1), Probe(request=4)
    publisher = fan_out(stage, [leaves, stays])
    publisher.next(1, 2)
    stage.settle()
    assert stays.records == [1]
    leaves.cancel()
    stage.settle()
    assert stays.records == [1, 2], "it waits for the demand of one that is gone"
    assert publisher.cancels == 0
    stays.cancel()
    assert publisher.cancels == 1
