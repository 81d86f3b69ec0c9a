"""Timers of a process function: when they fire, in which order, and what becomes of the rest."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import millstream as ms
from millstream.core.errors import OperatorError
from millstream.engine.timer_alarm import LOOK_AGAIN_MS
from tests.unit.engine.timed import (
    START_MS,
    Context,
    Obeys,
    Record,
    Restless,
    TimedRun,
    delete,
    emit,
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
