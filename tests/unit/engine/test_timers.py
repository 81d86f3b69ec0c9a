"""Timers of a process function: when they fire, in which order, and what becomes of the rest."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import millstream as ms
from millstream.core.errors import OperatorError
from millstream.engine.intake import SLICE_NS
from millstream.engine.task import Task
from millstream.engine.timer_alarm import LOOK_AGAIN_MS
from millstream.storage.checkpoints.local import LocalCheckpointStorage
from tests.unit.engine.checkpoint.stepped_run import SteppedRun
from tests.unit.engine.timed import (
    START_MS,
    Context,
    Obeys,
    Record,
    TimedRun,
    delete,
    emit,
    first,
    nothing,
    register,
)


def test_an_idle_job_wakes_exactly_when_a_timer_is_due_and_fires_it_once(tmp_path: Path) -> None:
    run = TimedRun(Obeys(), tmp_path)
    run.give(("a", register(50)), ("b", register(30)))
    run.pass_time(29)
    assert run.out == []
    run.pass_time(1)
    assert run.out == [("b", 30, 1)]
    run.pass_time(19)
    assert len(run.out) == 1
    run.pass_time(1)
    assert run.out == [("b", 30, 1), ("a", 50, 1)]
    run.pass_time(100)
    assert len(run.out) == 2


def test_an_earlier_timer_is_not_kept_waiting_for_a_later_one(tmp_path: Path) -> None:
    run = TimedRun(Obeys(), tmp_path)
    run.give(("a", register(50)))
    run.pass_time(10)
    run.give(("a", register(20)))
    run.pass_time(10)
    assert run.out == [("a", 20, 2)]


def test_timers_fire_by_time_and_then_by_registering(tmp_path: Path) -> None:
    run = TimedRun(Obeys(), tmp_path)
    run.give(*[("z", register(7)), ("y", register(5)), ("a", register(7, 6)), ("y", register(7))])
    run.clock.advance(7)
    run.run.settle()
    assert [timer[:2] for timer in run.out] == [("y", 5), ("a", 6), ("z", 7), ("a", 7), ("y", 7)]


def test_a_timer_is_one_for_its_key_and_time_and_may_be_deleted(tmp_path: Path) -> None:
    run = TimedRun(Obeys(), tmp_path)
    run.give(("a", register(5, 5, 6)), ("a", register(5)), ("b", register(5)))
    run.give(("b", delete(6)), ("a", delete(6)), ("b", delete(5)), ("b", delete(5)))
    run.pass_time(10)
    assert run.out == [("a", 5, 3)]


def test_a_time_that_has_passed_is_due_behind_the_chunk_in_hand(tmp_path: Path) -> None:
    run = TimedRun(Obeys(), tmp_path)
    run.warm_up()
    in_seconds = START_MS // 1000 - START_MS
    run.give(("a", register(0, in_seconds)), ("a", emit("a record")))
    assert run.out == ["a record", ("a", in_seconds, 2), ("a", 0, 2)]


def test_what_is_due_fires_before_the_records_that_come_later(tmp_path: Path) -> None:
    run = TimedRun(Obeys(), tmp_path)
    run.give(("a", register(5)))
    run.clock.advance(5)
    run.give(("a", emit("a record")))
    assert run.out == [("a", 5, 1), "a record"]


class Periodic(ms.KeyedProcessFunction[Record, Any]):
    """A generator, which registers its next timer, and emits to a side output and by collect."""

    def process_element(self, value: Record, ctx: Context) -> Iterator[Any]:
        value[1](ctx)
        yield "element"

    def on_timer(self, timestamp: int, ctx: Context) -> Iterator[Any]:
        ctx.collect("before")
        yield ctx.current_key
        ctx.output("aside", timestamp - START_MS)
        ctx.collect("after")
        ctx.timer_service.register_processing_time_timer(timestamp + 10)


def test_on_timer_may_be_a_generator_and_emit_wherever_and_register_more(tmp_path: Path) -> None:
    run = TimedRun(Periodic(), tmp_path, side="aside")
    run.give(("a", register(10)))
    run.pass_time(29)
    assert run.out == ["element", "before", "a", "after", "before", "a", "after"]
    assert run.aside == [10, 20]
    account = run.end()
    assert account.operator("p").records_in == 1
    assert account.operator("p").records_out == 9  # two timers' three and one, and one record's
    assert account.operator("p").created == 8


def test_a_clock_that_is_put_back_makes_timers_wait_and_none_fire_twice(tmp_path: Path) -> None:
    run = TimedRun(Obeys(), tmp_path)
    run.give(("a", register(10, 20)))
    run.pass_time(12)
    run.clock.jump(-12)
    run.pass_time(19)
    assert [timer[1] for timer in run.out] == [10]
    run.pass_time(1)
    assert [timer[1] for timer in run.out] == [10, 20]


def test_a_clock_that_is_put_forward_is_noticed_within_a_minute(tmp_path: Path) -> None:
    run = TimedRun(Obeys(), tmp_path)
    run.give(("a", register(10 * LOOK_AGAIN_MS)))
    run.clock.jump(10 * LOOK_AGAIN_MS)
    run.clock.advance(LOOK_AGAIN_MS)
    run.run.settle()
    assert len(run.out) == 1


def test_timers_that_are_put_off_again_and_again_set_one_alarm(tmp_path: Path) -> None:
    run = TimedRun(Obeys(), tmp_path)
    for step in range(100):
        run.give(("a", register(1_000 + step)), ("a", delete(1_000 + step - 1)))
    assert len(run.run.dispatcher._timers) == 1
    run.pass_time(1_098)
    assert run.out == []
    run.pass_time(1)
    assert run.out == [("a", 1_099, 200)]


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


def test_a_side_output_after_timers_have_fired_fails_the_job(tmp_path: Path) -> None:
    class Late(Periodic):
        def on_timer(self, timestamp: int, ctx: Context) -> Iterator[Any]:
            self.ctx = ctx
            yield "fired"

        def close(self) -> None:
            self.ctx.output("aside", 1)

    run = TimedRun(Late(), tmp_path, side="aside")
    run.give(("a", register(5)))
    run.pass_time(5)
    run.run.end("in")
    assert "output(…, 1) in open(), close() or another thread: emit only" in str(run.failure())


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


class Restless(ms.KeyedProcessFunction[Record, Any]):
    """Each timer registers the next one, which is due at once."""

    def __init__(self, fired: list[int]) -> None:
        self.fired = fired

    def process_element(self, value: Record, ctx: Context) -> None:
        value[1](ctx)

    def on_timer(self, timestamp: int, ctx: Context) -> None:
        self.fired[0] += 1
        ctx.timer_service.register_processing_time_timer(timestamp + 1)


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


class Ticking:
    """A clock that moves each time that somebody looks."""

    def __init__(self, real: Any) -> None:
        self._real, self._more = real, 0

    def __call__(self) -> int:
        self._more += SLICE_NS // 50
        return int(self._real()) + self._more


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


def test_a_failure_names_operator_time_key_and_the_users_line(tmp_path: Path) -> None:
    class Fails(Obeys):
        def on_timer(self, timestamp: int, ctx: Context) -> None:
            raise LookupError("nobody")  # the user's line

    run = TimedRun(Fails(), tmp_path)
    run.give(("ann", register(5)))
    run.clock.advance(5)
    error = run.failure()
    assert isinstance(error, OperatorError)
    assert error.operator_uid == "p"
    assert str(error) == (
        "operator 'p' failed in on_timer, on the timer of key 'ann' at 1700000000005 (2023-11-14 "
        "22:13:20.005+00:00): LookupError: nobody"
    )
    trace = error.__cause__.__traceback__ if error.__cause__ else None
    while trace and trace.tb_next:
        trace = trace.tb_next
    assert trace
    assert trace.tb_frame.f_code.co_name == "on_timer"


def test_what_on_timer_returns_is_an_error_and_no_loss(tmp_path: Path) -> None:
    class Returns(Obeys):
        def on_timer(self, timestamp: int, ctx: Context) -> Any:
            return [1]

    run = TimedRun(Returns(), tmp_path)
    run.give(("ann", register(5)))
    run.clock.advance(5)
    assert "RecordError: on_timer returned [1], which would be lost" in str(run.failure())


def test_a_failure_behind_a_timer_names_the_operator_there(tmp_path: Path) -> None:
    run = TimedRun(Obeys(), tmp_path, build=lambda stream: stream.map(lambda _: 1 // 0, uid="m"))
    run.give(("ann", register(5)))
    run.clock.advance(5)
    run.run.settle()
    error = run.run.failures[0]
    assert "operator 'm' failed on record ('ann', 5, 1)" in str(error)


def test_at_the_end_of_the_input_what_is_due_fires_and_the_rest_is_dropped(tmp_path: Path) -> None:
    def act(ctx: Context) -> None:
        register(0, 100, -5, 1)(ctx)
        ctx.collect("all that is asked for")

    run = TimedRun(Obeys(), tmp_path)
    run.run.stuck.add("out")
    run.give(("a", act))
    run.run.end("in")
    run.run.settle()
    run.run.stuck.clear()
    account = run.end()
    assert run.out == ["all that is asked for", ("a", -5, 1), ("a", 0, 1)]
    assert account.operator("p").created == 2
    run.pass_time(200)
    assert len(run.out) == 3


def test_at_the_end_a_timer_that_on_timer_registers_is_dropped(tmp_path: Path) -> None:
    fired = [0]
    run = TimedRun(Restless(fired), tmp_path)
    run.run.stuck.add("out")
    run.run.give("in", [("a", register(-1))], 1)
    run.run.end("in")
    for _ in range(100):
        run.run.dispatcher.step()
    (task,) = run.run.assembly.tasks()
    assert task.ended
    assert fired[0] <= 2  # one in turn with the end, and one of those that were there before it


def test_results_of_timers_take_the_way_of_records(tmp_path: Path) -> None:
    """Through a function of lists, into an aggregate that emits at the end."""

    def build(stream: ms.Stream[Any]) -> ms.Stream[Any]:
        lists = stream.map_batches(lambda batch: [{"k": key} for key, _, _ in batch])
        return lists.key_by("k").aggregate(n=ms.count(), emit="final", uid="n")

    run = TimedRun(Obeys(), tmp_path, build=build)
    run.give(("a", register(5, 6)), ("b", register(5)))
    run.pass_time(10)
    run.run.give("in", [("b", register(9))], 4)
    account = run.end()
    assert run.out == [{"k": "a", "n": 2}, {"k": "b", "n": 2}]
    assert account.operator("n").records_in == 4


def second(timer: tuple[Any, ...]) -> Any:
    return timer[1]


def test_a_second_process_function_has_timers_of_its_own(tmp_path: Path) -> None:
    class Delays(ms.KeyedProcessFunction[Any, Any]):
        def process_element(self, value: Any, ctx: Context) -> None:
            now_ms = ctx.timer_service.current_processing_time()
            ctx.timer_service.register_processing_time_timer(now_ms + 7)

        def on_timer(self, timestamp: int, ctx: Context) -> None:
            ctx.collect((ctx.current_key, timestamp - START_MS))

    run = TimedRun(
        Obeys(), tmp_path, build=lambda timers: timers.key_by(second).process(Delays(), uid="d")
    )
    run.give(("a", register(5, 8)), ("b", register(5)))
    run.pass_time(11)
    assert run.out == []
    run.pass_time(1)
    assert run.out == [(5, 12)]
    run.pass_time(3)
    assert run.out == [(5, 12), (8, 15)]
    run.end()


def test_the_time_is_read_once_per_chunk_and_for_timers(tmp_path: Path) -> None:
    class Tells(ms.KeyedProcessFunction[Record, Any]):
        brief = ms.ValueStateDescriptor(int, default=0, ttl="10ms")

        def process_element(self, value: Record, ctx: Context) -> None:
            self.brief.update(1)
            value[1](ctx)
            run.clock.advance(3)
            ctx.collect(ctx.timer_service.current_processing_time() - START_MS)

        def on_timer(self, timestamp: int, ctx: Context) -> None:
            now_ms = ctx.timer_service.current_processing_time() - START_MS
            ctx.collect((now_ms, self.brief.value()))

    run = TimedRun(Tells(), tmp_path)
    run.warm_up()
    now_ms = run.clock.now_ms() - START_MS
    run.give(("a", register(now_ms + 15, now_ms + 9)), ("b", emit("b")))
    assert run.out == [now_ms, "b", now_ms]  # 3 ms between the two
    run.pass_time(3)
    assert run.out[3:] == [(now_ms + 9, 1)]
    run.pass_time(10)
    assert run.out[4:] == [(now_ms + 15, 0)]  # the state has expired meanwhile


def test_a_function_without_on_timer_can_tell_the_time(tmp_path: Path) -> None:
    class Tells(ms.KeyedProcessFunction[Record, Any]):
        def process_element(self, value: Record, ctx: Context) -> None:
            ctx.collect(ctx.timer_service.current_processing_time() - START_MS)

    run = TimedRun(Tells(), tmp_path)
    run.pass_time(5)
    run.give(("a", emit(1)))
    assert run.out == [5]
    assert run.run.dispatcher._timers == []


# -- checkpoints ----------------------------------------------------------------------------------

EVERY_10_MS = ms.CheckpointSettings(interval="10ms", timeout="1s")


def entries(run: TimedRun, checkpoint: int) -> int:
    """Return how many entries of the operator's state a checkpoint has: counts, and timers."""
    return run.run.journal.summaries[checkpoint].entries["p"]


def test_a_due_timer_is_before_the_barrier_or_in_the_snapshot_though_nobody_asks_for_records(
    tmp_path: Path,
) -> None:
    run = TimedRun(Obeys(), tmp_path, checkpoints=EVERY_10_MS)
    run.give(*[(f"k{n}", register(5)) for n in range(20)], ("k0", register(99)))
    run.run.stuck.add("out")
    run.pass_time(10)  # the barrier waits in the sink; it has passed the task
    run.run.stuck.clear()
    run.pass_time(1)
    assert run.run.journal.said == ["begin 1", "complete 1"]
    in_snapshot = entries(run, 1) - 20
    restored = TimedRun(Obeys(), tmp_path, restored="chk-1")
    restored.pass_time(200)
    fired = [key for key, _, _ in restored.out]
    assert fired == [f"k{n}" for n in range(21 - in_snapshot, 20)] + ["k0"]
    assert 15 < in_snapshot < 21


def test_restored_timers_fire_when_due_and_at_once_if_they_were_meanwhile(tmp_path: Path) -> None:
    run = TimedRun(Obeys(), tmp_path, checkpoints=EVERY_10_MS)
    run.give(("a", register(15, 40)), ("b", register(12)), ("a", register(11)))
    run.pass_time(10)
    restored = TimedRun(Obeys(), tmp_path, restored="chk-1")
    restored.clock.advance(20)
    restored.run.settle()
    assert restored.out == [("a", 11, 2), ("b", 12, 1), ("a", 15, 2)]
    restored.give(("a", register(11)))
    assert len(restored.out) == 4
    restored.pass_time(20)
    assert restored.out[4:] == [("a", 40, 3)]


class Holds(ms.KeyedProcessFunction[Any, Any]):
    """Passes on what it is given, and has a timer of its own."""

    def process_element(self, value: Any, ctx: Context) -> None:
        ctx.timer_service.register_processing_time_timer(START_MS + 5)
        if value != "not this":
            ctx.collect(value)

    def on_timer(self, timestamp: int, ctx: Context) -> None:
        ctx.collect("held")


def test_with_no_demand_left_a_second_functions_timers_let_a_barrier_pass(tmp_path: Path) -> None:
    def act(ctx: Context) -> None:
        register(5)(ctx)
        ctx.collect("not this")

    def build(stream: ms.Stream[Any]) -> ms.Stream[Any]:
        return stream.key_by(lambda _: "one").process(Holds(), uid="q")

    run = TimedRun(Obeys(), tmp_path, build=build, checkpoints=EVERY_10_MS)
    run.run.stuck.add("out")
    run.give(("a", act))
    run.pass_time(9)  # the first one's timer takes the only record that is asked for
    assert len(run.run.states.timers("q", "processing-time timers")._table) == 1
    run.pass_time(1)
    pending = run.run.coordinator._pending
    assert pending
    assert pending.waiting == {"out"}  # the sink, not the task
    run.run.stuck.clear()
    run.pass_time(1)
    assert run.out == [("a", 5, 1), "held"]


def test_timers_of_an_input_that_has_ended_stay_dropped_after_a_restore(tmp_path: Path) -> None:
    def make(restored: str = "") -> tuple[SteppedRun, list[Any]]:
        job, out = ms.Job("stepped"), list[Any]()
        for uid in ("a", "b"):
            keyed = job.source(nothing, uid=uid).key_by(first)
            keyed.process(Obeys(), uid=f"p{uid}").sink(out.append, uid=f"out{uid}")
        storage = LocalCheckpointStorage(tmp_path, "stepped")
        return SteppedRun(job, storage, EVERY_10_MS, restored), out

    run, _ = make()
    run.give("a", [("x", register(50))], 1)
    run.give("b", [("y", register(50))], 1)
    run.end("a")
    run.pass_time(10)
    assert run.journal.said == ["begin 1", "complete 1"]
    restored, out = make("chk-1")
    restored.heads["a"].on_end()  # as a run does
    restored.clock.advance(100)
    restored.settle()
    assert out == [("y", 50, 1)]


def test_timers_without_end_do_not_keep_checkpoints_from_completing(tmp_path: Path) -> None:
    fired = [0]
    run = TimedRun(Restless(fired), tmp_path, checkpoints=EVERY_10_MS)
    (task,) = run.run.assembly.tasks()
    task._now_ns = Ticking(run.clock.monotonic_ns)  # type: ignore[union-attr]
    run.run.give("in", [("a", register(-(10**9)))], 1)
    for _ in range(300):
        run.clock.advance(1)
        run.run.dispatcher.step()
        run.run.dispatcher._fire_timers()  # a step comes to that only when there is no task to run
        run.run.coordinator.thread.step()
        run.run.sinks["out"].step()  # type: ignore[union-attr]
    assert "complete 3" in run.run.journal.said
    assert fired[0] > 1_000


def test_a_function_that_has_lost_its_on_timer_is_not_restored(tmp_path: Path) -> None:
    class Other(ms.KeyedProcessFunction[Record, Any]):
        records = ms.ValueStateDescriptor(int, default=0)

        def process_element(self, value: Record, ctx: Context) -> None:
            pass

    run = TimedRun(Obeys(), tmp_path, checkpoints=EVERY_10_MS)
    run.give(("a", register(15)))
    run.pass_time(20)  # the timer is in the first checkpoint, and not in the second
    with pytest.raises(ms.errors.ConfigError, match=r"has processing-time timers of operator 'p' "
                       r"that are still to fire \(1\), and the job has no on_timer"):  # fmt: skip
        TimedRun(Other(), tmp_path, restored="chk-1")
    TimedRun(Other(), tmp_path, restored="chk-2")
    TimedRun(Obeys(), tmp_path, restored="chk-2")  # and back again
