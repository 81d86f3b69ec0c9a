"""Timers and what holds them up: a slow sink, no demand, slow functions, each other."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import millstream as ms
from millstream.engine.task import Task
from tests.unit.engine.timed import (
    Context,
    Obeys,
    Record,
    Restless,
    Ticking,
    TimedRun,
    emit,
    register,
)


class Much(ms.KeyedProcessFunction[Record, Any]):
    """Each timer yields a million numbers; counts what it has made."""

    def __init__(self, made: list[int]) -> None:
        self.made = made

    def process_element(self, value: Record, ctx: Context) -> None:
        value[1](ctx)

    def on_timer(self, timestamp: int, ctx: Context) -> Iterator[Any]:
        for number in range(1_000_000):
            self.made[0] += 1
            yield number


def test_a_timer_makes_no_more_than_is_asked_for_and_goes_on_where_it_was(tmp_path: Path) -> None:
    made = [0]
    run = TimedRun(Much(made), tmp_path)
    run.run.stuck.add("out")
    run.give(("b", register(20)))
    run.give(("a", register(5)))
    run.pass_time(50)
    assert made == [1]  # for the first record that a sink asks for
    run.run.sinks["out"].step()  # type: ignore[union-attr]
    run.run.dispatcher.run_until_idle()
    assert 1 < made[0] < 100
    assert run.out == [0]


def test_with_no_demand_timers_stay_and_then_fire_as_it_comes(tmp_path: Path) -> None:
    run = TimedRun(Obeys(), tmp_path)
    run.run.stuck.add("out")
    run.give(*[(f"k{n}", register(5)) for n in range(1_000)])
    run.pass_time(50)
    timers = run.run.states.timers("p", "processing-time timers")
    assert len(timers._table) == 999
    run.run.stuck.clear()
    run.run.settle()
    assert [key for key, _, _ in run.out] == [f"k{n}" for n in range(1_000)]


def test_results_of_timers_are_not_taken_for_results_of_records(tmp_path: Path) -> None:
    run = TimedRun(Obeys(), tmp_path)
    run.give(*[(f"k{n}", register(5)) for n in range(100)])
    run.pass_time(5)
    assert len(run.out) == 100
    (task,) = run.run.assembly.tasks()
    assert isinstance(task, Task)
    assert task.emitter.ratio.made == 0  # or it would take one record for a hundred asked for
    run.give(("a", emit("a")))
    assert task.emitter.ratio.value <= 1


def test_where_records_have_taken_all_that_is_asked_for_no_timer_fires(tmp_path: Path) -> None:
    def act(ctx: Context) -> None:
        register(5)(ctx)
        ctx.collect("all")

    run = TimedRun(Obeys(), tmp_path)
    run.run.stuck.add("out")
    run.give(("a", act))
    run.pass_time(10)
    assert len(run.run.states.timers("p", "processing-time timers")._table) == 1
    run.run.stuck.clear()
    run.pass_time(1)
    assert run.out == ["all", ("a", 5, 1)]


def test_what_a_timer_collects_beyond_demand_is_parked_and_nothing_more_fires(
    tmp_path: Path,
) -> None:
    class Collects(Obeys):
        def on_timer(self, timestamp: int, ctx: Context) -> None:
            for number in range(10):
                ctx.collect((ctx.current_key, number))

    run = TimedRun(Collects(), tmp_path)
    run.run.stuck.add("out")
    run.give(("a", register(5)), ("b", register(5)))
    run.pass_time(50)
    assert len(run.run.states.timers("p", "processing-time timers")._table) == 1
    run.run.stuck.clear()
    run.run.settle()
    assert run.out == [(key, number) for key in "ab" for number in range(10)]


def test_timers_without_end_keep_neither_records_nor_the_end_from_passing(tmp_path: Path) -> None:
    fired = [0]
    run = TimedRun(Restless(fired), tmp_path)
    clock, dispatcher = run.clock, run.run.dispatcher

    def step() -> None:
        for _ in range(20):
            clock.advance(1)
            dispatcher.step()

    real = run.run.assembly.tasks()
    (task,) = real
    task._now_ns = Ticking(clock.monotonic_ns)  # type: ignore[union-attr]
    run.run.give("in", [("a", register(-(10**9)))], 1)
    step()
    assert fired[0] > 10
    run.run.give("in", [("b", emit("b"))], 2)
    step()
    assert fired[0] > 100
    run.run.sinks["out"].step()  # type: ignore[union-attr]
    assert run.out == ["b"]
    run.run.end("in")
    step()
    assert task.ended


def test_a_slow_on_timer_gives_the_inbox_its_turn(tmp_path: Path) -> None:
    class Slow(Obeys):
        def on_timer(self, timestamp: int, ctx: Context) -> None:
            fired.append(ctx.current_key)
            run.clock.advance(20)

    fired: list[Any] = []
    run = TimedRun(Slow(), tmp_path)
    run.run.give("in", [(f"k{n}", register(0)) for n in range(100)], 100)
    seen = []
    while run.run.dispatcher.step():
        seen.append(len(fired))
    assert max(later - now for now, later in pairwise(seen)) == 3
    assert len(fired) == 100


def test_a_slow_generator_gives_the_inbox_its_turn(tmp_path: Path) -> None:
    class Slow(Obeys):
        def on_timer(self, timestamp: int, ctx: Context) -> Iterator[Any]:
            for number in range(2_000):
                made.append(number)
                run.clock.advance(20)
                yield number

    made: list[Any] = []
    run = TimedRun(Slow(), tmp_path)
    run.warm_up()
    run.give(("a", register(0)))
    run.run.give("in", [("a", register(1))], 100)
    seen = []
    while run.run.dispatcher.step() or run.run.sinks["out"].step():  # type: ignore[union-attr]
        seen.append(len(made))
    assert max(later - now for now, later in pairwise(seen)) <= 3
    assert len(made) == 4_000
