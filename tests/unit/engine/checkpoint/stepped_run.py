"""A job's parts with a coordinator, in one thread that moves only when a test says so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import millstream as ms
from millstream.control.wiring import plan
from millstream.core.element import Chunk, Position
from millstream.core.settings import CheckpointSettings
from millstream.engine.assembly import Assembly
from millstream.engine.checkpoint.coordinator import Coordinator
from millstream.engine.checkpoint.journal import Checkpointing, Made, Purpose, Summary
from millstream.engine.checkpoint.recovery import equip
from millstream.engine.dispatcher import Dispatcher
from millstream.engine.sink_driver import SinkDriver
from millstream.engine.source_head import QueuedHead
from millstream.engine.two_phase_driver import TwoPhaseDriver
from millstream.operators.program import Program
from millstream.runtime.state.memory import MemoryStateBackend
from millstream.storage.checkpoints.base import CheckpointMetadata, PendingCheckpoint
from millstream.storage.checkpoints.local import LocalCheckpointStorage
from tests.support.stepping import ManualClock


class MemoryJournal:
    """A journal that writes down what it is asked for, and fails when told to.

    Attributes:
        said: such as ``begin 1``, ``complete 1``, ``fail 2: …``.
        broken: raised by the next calls of ``begin``.
    """

    epoch, first_id = 7, 1

    def __init__(self, storage: LocalCheckpointStorage) -> None:
        self.said: list[str] = []
        self.summaries: dict[int, Summary] = {}
        self.broken: Exception | None = None
        self._storage = storage

    def begin(self, checkpoint_id: int, purpose: Purpose) -> PendingCheckpoint:
        words = [word for word in ("savepoint", "stop", "final") if getattr(purpose, word)]
        self.said.append(" ".join([f"begin {checkpoint_id}", *words]))
        if self.broken is not None:
            raise self.broken
        return self._storage.begin(
            CheckpointMetadata(
                checkpoint_id=checkpoint_id, job="stepped", execution_id="e", lease_epoch=7,
                created_ms=0, structure_fingerprint="", state_fingerprint="", code_fingerprint="",
            )
        )  # fmt: skip

    def complete(self, checkpoint_id: int, pending: PendingCheckpoint, summary: Summary) -> Made:
        completed = pending.complete({})
        self.summaries[checkpoint_id] = summary
        self.said.append(f"complete {checkpoint_id}")
        return Made(checkpoint_id, completed.location, 0, summary.duration_ms)

    def fail(self, checkpoint_id: int, reason: str) -> None:
        self.said.append(f"fail {checkpoint_id}: {reason}")

    def retain(self) -> None:
        pass


class SteppedRun:
    """The parts; ``settle`` lets everything happen that can, but for the sinks in ``stuck``."""

    def __init__(
        self,
        job: ms.Job,
        storage: LocalCheckpointStorage,
        settings: CheckpointSettings,
        restored: str = "",
    ) -> None:
        self.clock = ManualClock()
        self.dispatcher = Dispatcher(self.clock)
        self.journal = MemoryJournal(storage)
        self.failures: list[BaseException] = []
        self.stuck: set[str] = set()
        self.writer_stuck = False
        self.states = MemoryStateBackend(self.clock)
        program = Program(plan(job), job.stream_graph.definitions())
        self.assembly = Assembly(
            program, job.engine, self.dispatcher, self.states, self.failures.append
        )
        stored = storage.open(restored) if restored else None
        checkpointing = Checkpointing(settings, self.journal, stored)
        forms = equip(self.assembly, checkpointing, self.states)
        self.coordinator = Coordinator(
            self.assembly, checkpointing, self.dispatcher, self.states, forms
        )
        self.coordinator.on_fatal = self.failures.append
        self.sinks = {each.uid: each for each in self.assembly.sink_drivers()}
        for sink in self.sinks.values():
            assert isinstance(sink, SinkDriver)
            sink.on_flushed = self.coordinator.on_flushed
            if isinstance(sink, TwoPhaseDriver):
                sink.on_opened = lambda _: None
            sink._open()
        for task in self.assembly.tasks():
            task.open()
        self.heads = {each.name: each for each in self.assembly.heads()}
        self.coordinator.start()

    def give(self, uid: str, values: Sequence[Any], after: int) -> None:
        """Let a source give records; ``after`` is the position behind them."""
        head = self.heads[uid]
        assert isinstance(head, QueuedHead)
        begin = head.position
        head.on_chunk(Chunk(list(values), uid, begin, Position(after, 0), 0))

    def end(self, uid: str) -> None:
        self.heads[uid].on_end()

    def settle(self) -> None:
        moving = True
        while moving:
            self.dispatcher.run_until_idle()
            moving = not self.writer_stuck and self.coordinator.thread.step()
            for uid, sink in self.sinks.items():
                assert isinstance(sink, SinkDriver)
                moving |= uid not in self.stuck and sink.step()

    def pass_time(self, ms: int) -> None:
        """Let so much time go by, a millisecond at a time."""
        for _ in range(ms):
            self.clock.advance(1)
            self.settle()
