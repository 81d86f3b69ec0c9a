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
from millstream.engine.checkpoint.journal import Checkpointing
from millstream.engine.checkpoint.recovery import equip
from millstream.engine.dispatcher import Dispatcher
from millstream.engine.sink_driver import SinkDriver
from millstream.engine.source_head import QueuedHead
from millstream.engine.two_phase_driver import TwoPhaseDriver
from millstream.operators.program import Program
from millstream.runtime.state.memory import MemoryStateBackend
from millstream.storage.checkpoints.local import LocalCheckpointStorage
from tests.support.memory_journal import MemoryJournal
from tests.support.stepping import ManualClock

_begun: list[SteppedRun] = []


def close_all() -> None:
    """End what tests have left: a checkpoint under way has files open."""
    while _begun:
        coordinator = _begun.pop().coordinator
        coordinator.stop()
        while coordinator.thread.step():
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
        _begun.append(self)

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
