"""What a restore refuses: parts of a checkpoint that the job as it is would lose or repeat."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import millstream as ms
from millstream.core.errors import ConfigError
from millstream.engine.source_head import CollectHead
from millstream.storage.checkpoints.local import LocalCheckpointStorage
from tests.unit.engine.checkpoint.stepped_run import SteppedRun
from tests.unit.engine.checkpoint.test_coordinator import LiveState, Shown, never

SETTINGS = ms.CheckpointSettings(interval="10ms")


@pytest.fixture
def storage(tmp_path: Path) -> LocalCheckpointStorage:
    return LocalCheckpointStorage(tmp_path, "stepped")


class Pushed(ms.Source[int]):
    can_be_slowed = False

    def __init__(self) -> None:
        self.next: Any = 0

    def run(self, ctx: ms.SourceContext[int]) -> None:
        raise NotImplementedError

    def snapshot_state(self) -> Any:
        return self.next

    def restore_state(self, state: Any) -> None:
        self.next = state


class Refusing(ms.Source[int]):
    """Fails the test if it is told a state."""

    def run(self, ctx: ms.SourceContext[int]) -> None:
        raise NotImplementedError

    def restore_state(self, state: Any) -> None:
        pytest.fail("it was told")


def taken(value: Any) -> None:
    pass


def one(source: Any, sink: Any, **options: Any) -> ms.Job:
    job = ms.Job("stepped")
    job.source(source, uid="in", **options).sink(sink, uid="out")
    return job


def save(job: ms.Job, storage: LocalCheckpointStorage, give: Callable[[SteppedRun], None]) -> None:
    run = SteppedRun(job, storage, SETTINGS)
    give(run)
    run.settle()
    run.pass_time(10)
    assert run.journal.said == ["begin 1", "complete 1"]


def refusal(job: ms.Job, storage: LocalCheckpointStorage) -> str:
    with pytest.raises(ConfigError) as refused:
        SteppedRun(job, storage, SETTINGS, restored="chk-1")
    return str(refused.value)


def give_two(run: SteppedRun) -> None:
    run.give("in", ["x", "y"], 2)


def collect_unasked(run: SteppedRun) -> None:
    head = run.heads["in"]
    assert isinstance(head, CollectHead)
    run.stuck.add("out")
    head.collect_batch(range(10_000))
    run.pass_time(10)
    run.stuck.clear()


def test_a_batch_source_that_became_a_source_would_repeat_a_part_of_a_batch(
    storage: LocalCheckpointStorage,
) -> None:
    run = SteppedRun(one(never, taken), storage, SETTINGS)
    run.stuck.add("out")
    run.give("in", list(range(10_000)), 10_000)
    run.pass_time(10)
    run.stuck.clear()
    run.settle()
    assert "complete 1" in run.journal.said
    said = refusal(one(Refusing(), taken), storage)
    assert "source 'in': checkpoint chk-1 of job 'stepped' is " in said
    assert "records into a batch of it, and it is a Source now, which would bring them" in said
    assert "begin anew with --fresh" in said


def test_a_batch_source_that_stood_between_batches_may_become_a_source(
    storage: LocalCheckpointStorage,
) -> None:
    save(one(never, taken), storage, give_two)
    run = SteppedRun(one(Pushed(), taken, overflow="buffer"), storage, SETTINGS, restored="chk-1")
    head = run.heads["in"]
    assert isinstance(head, CollectHead)
    assert head.source_state() == 2


def test_a_source_that_became_a_batch_source_would_lose_what_it_had_collected(
    storage: LocalCheckpointStorage,
) -> None:
    job = one(Pushed(), taken, overflow="buffer", buffer_size=100_000)
    run = SteppedRun(job, storage, SETTINGS)
    collect_unasked(run)
    run.settle()
    assert "complete 1" in run.journal.said
    said = refusal(one(never, taken), storage)
    assert "records that it had collected and nobody had asked for, and it is no Source" in said
    assert "begin anew with --fresh" in said


OTHERS: dict[str, Callable[[], Any]] = {
    "a function": lambda: taken,
    "a two-phase sink": lambda: Shown([], []),
}


@pytest.mark.parametrize("sink", OTHERS.values(), ids=OTHERS)
def test_a_sink_that_is_no_stateful_sink_any_more_would_lose_its_result(
    sink: Callable[[], Any], storage: LocalCheckpointStorage
) -> None:
    save(one(never, LiveState()), storage, give_two)
    said = refusal(one(never, sink()), storage)
    assert "sink 'out': checkpoint chk-1 of job 'stepped' has a result of it that is still" in said
    assert "it is no StatefulSink any more: what it holds would be lost" in said


def two_sinks(*sinks: Any) -> ms.Job:
    job = ms.Job("stepped")
    stream = job.source(never, uid="in")
    stream.sink(taken, uid="out")
    for number, sink in enumerate(sinks):
        stream.sink(sink, uid=f"more-{number}")
    return job


@pytest.mark.parametrize("given", [0, 2])
def test_a_two_phase_sink_may_be_taken_out_if_it_holds_nothing(
    given: int, storage: LocalCheckpointStorage
) -> None:
    save(two_sinks(Shown([], [])), storage, lambda run: run.give("in", ["x"] * given, given))
    if given:
        assert "has a sink 'more-0', which the job no longer has" in refusal(two_sinks(), storage)
    else:
        SteppedRun(two_sinks(), storage, SETTINGS, restored="chk-1")


class Timed(ms.KeyedProcessFunction[Any, Any]):
    def process_element(self, value: Any, ctx: ms.ProcessContext[Any]) -> None:
        ctx.timer_service.register_processing_time_timer(0)

    def on_timer(self, time_ms: int, ctx: ms.ProcessContext[Any]) -> None:
        pass


KEEPING: dict[str, Callable[[Any], Any]] = {
    "final counts": lambda keyed: keyed.aggregate(ms.count(), emit="final", uid="kept"),
    "timers": lambda keyed: keyed.process(Timed(), uid="kept"),
    "counts on the way": lambda keyed: keyed.aggregate(ms.count(), uid="kept"),
}


def kept(keep: Callable[[Any], Any], *sources: str) -> ms.Job:
    """Return a job with some sources into one operator, and one beside it that goes on."""
    job = ms.Job("stepped")
    job.source(never, uid="beside").sink(taken, uid="other")
    first, *more = [job.source(never, uid=uid) for uid in sources]
    for each in more:
        first = first.union(each.map(str.upper))
    keep(first.map(str.lower).key_by(ms.it)).sink(taken, uid="out")
    return job


@pytest.mark.parametrize("keep", KEEPING.values(), ids=KEEPING)
def test_a_new_source_must_not_lead_into_what_has_emitted_all_it_will(
    keep: Callable[[Any], Any], storage: LocalCheckpointStorage
) -> None:
    def give(run: SteppedRun) -> None:
        run.give("in", ["x"], 1)
        run.end("in")

    save(kept(keep, "in"), storage, give)
    SteppedRun(kept(keep, "in"), storage, SETTINGS, restored="chk-1")
    again = kept(keep, "in", "new")
    if keep is KEEPING["counts on the way"]:
        SteppedRun(again, storage, SETTINGS, restored="chk-1")
    else:
        assert refusal(again, storage) == (
            "source 'new' leads into operator 'kept', whose input had ended in checkpoint chk-1 of "
            "job 'stepped': what it brings would be kept there and never appear; lead it "
            "elsewhere, or begin anew with --fresh"
        )
