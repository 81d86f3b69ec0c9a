"""Small jobs for the tests of the running engine, and ways to reach into a run."""

from __future__ import annotations

import queue
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import millstream as ms
from millstream.control.wiring import plan
from millstream.core.errors import FatalError
from millstream.core.ports import SystemClock, ThreadSpawner
from millstream.engine.checkpoint.journal import Checkpointing, Made, Purpose
from millstream.engine.checkpoint.requests import Request
from millstream.engine.run import JobRun
from millstream.engine.supervisor import Supervisor
from millstream.operators.program import Program
from millstream.runtime.state.memory import MemoryStateBackend
from millstream.storage.checkpoints.local import LocalCheckpointStorage
from tests.support.memory_journal import MemoryJournal

BRISK = ms.EngineSettings(grace="200ms", blocked_after="500ms")
"""For runs that are to end badly: what a test waits for."""

Batches = Iterator[tuple[Sequence[Any], Any]]


def numbers(count: int, batch: int = 100) -> Callable[[Any], Batches]:
    """Return a source of 0, 1, 2 …; a position is the number that comes next."""

    def read(position: Any) -> Batches:
        for start in range(position or 0, count, batch):
            stop = min(start + batch, count)
            yield list(range(start, stop)), stop

    return read


def dicts(count: int, batch: int = 100) -> Callable[[Any], Batches]:
    """Return a source of ``{"n": 0}``, ``{"n": 1}`` …"""

    def read(position: Any) -> Batches:
        for records, after in numbers(count, batch)(position):
            yield [{"n": number} for number in records], after

    return read


def never_ending(position: Any) -> Batches:
    """Yield numbers without end."""
    number = position or 0
    while True:
        yield list(range(number, number + 100)), number + 100
        number += 100


def drop(record: object) -> None:
    """Take a record and forget it."""


class Begun:
    """A started job whose inside is open to a test.

    Args:
        folder: where it makes checkpoints; None: it makes none.

    Attributes:
        run: the run.
        supervisor: who waits for it.
    """

    def __init__(self, job: ms.Job, folder: Path | None = None, *, start: bool = True) -> None:
        checkpointing = None
        if folder is not None:
            self.journal = MemoryJournal(LocalCheckpointStorage(folder, job.name), job.name)
            checkpointing = Checkpointing(job.checkpoints, self.journal)
        program = Program(plan(job), job.stream_graph.definitions())
        self.run = JobRun(
            program,
            job.engine,
            clock=SystemClock(),
            spawner=ThreadSpawner(),
            states=MemoryStateBackend(),
            checkpointing=checkpointing,
        )
        self.supervisor = Supervisor(self.run, job.engine, SystemClock())
        if start:
            self.run.start()

    def checkpoint(self) -> Made:
        """Make one, and wait for it."""
        answers: queue.SimpleQueue[Made | Exception] = queue.SimpleQueue()
        self.run.save(Request(Purpose(), answers.put))
        made = answers.get(timeout=60)
        assert isinstance(made, Made), made
        return made

    def wait(self) -> ms.JobResult:
        return self.supervisor.wait()

    def end(self) -> ms.JobResult:
        """Cancel, and wait for the end."""
        self.run.cancel()
        return self.wait()


def failure(job: ms.Job) -> FatalError:
    """Run a job that fails, and return with what."""
    with pytest.raises(FatalError) as caught:
        ms.run(job)
    return caught.value


def traceback_of(error: BaseException) -> str:
    """Return what the command line prints of a failure."""
    assert error.__cause__ is not None, f"{error!r} has no cause"
    return "".join(traceback.format_exception(error.__cause__))


def threads() -> list[str]:
    """Return the names of the engine's threads that live in this process."""
    return sorted(t.name for t in threading.enumerate() if t.name.startswith("millstream-"))
