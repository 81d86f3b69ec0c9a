"""Timers in checkpoints: before the barrier or in the snapshot, and what is restored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import millstream as ms
from millstream.engine.checkpoint.journal import Purpose
from millstream.engine.checkpoint.requests import CheckpointFailedError, Request
from millstream.storage.checkpoints.local import LocalCheckpointStorage
from tests.unit.engine.checkpoint.stepped_run import SteppedRun
from tests.unit.engine.timed import (
    START_MS,
    Context,
    Obeys,
    Record,
    Restless,
    Ticking,
    TimedRun,
    first,
    nothing,
    register,
)

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


def test_a_task_that_is_held_fires_no_timer_until_it_is_released(tmp_path: Path) -> None:
    run = TimedRun(Obeys(), tmp_path, checkpoints=ms.CheckpointSettings(timeout="100ms"))
    run.give(("a", register(20)))
    run.run.stuck.add("out")  # the savepoint of the stop waits for it; it asks for one more record
    answers: list[Any] = []
    run.run.coordinator.request(Request(Purpose(savepoint=True, stop=True), answers.append))
    run.run.settle()
    (task,) = run.run.assembly.tasks()
    pending = run.run.states.timers("p", "processing-time timers")._table
    run.pass_time(99)
    assert task.held
    assert [time_ms - START_MS for time_ms, _ in pending] == [20], "due, and not fired"
    run.pass_time(1)
    assert isinstance(answers[0], CheckpointFailedError)
    assert not pending, "fired behind the release"
    run.run.stuck.clear()
    run.run.settle()
    assert run.out == [("a", 20, 1)]


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
