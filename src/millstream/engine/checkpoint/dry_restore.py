"""Proves that a savepoint can be restored, before a run ends with it."""

from __future__ import annotations

from millstream.core.log import warning
from millstream.core.ports import Clock
from millstream.core.settings import EngineSettings
from millstream.core.wording import said
from millstream.engine.assembly import Assembly
from millstream.engine.async_task import AsyncTask
from millstream.engine.checkpoint.recovery import check_restore
from millstream.engine.dispatcher import Dispatcher
from millstream.operators.program import Program
from millstream.runtime.state.memory import MemoryStateBackend
from millstream.storage.checkpoints.base import StoredCheckpoint


class DryRestore:
    """Restores a fresh set of a job's parts, which never run, beside those that do.

    All state is in memory twice for that moment.

    Args:
        program: the job.
        settings: how it runs.
        clock: where time comes from.
    """

    def __init__(self, program: Program, settings: EngineSettings, clock: Clock) -> None:
        self._program = program
        self._settings = settings
        self._clock = clock

    def check(self, stored: StoredCheckpoint) -> None:
        """Read a checkpoint back. On any thread.

        Raises:
            ConfigError, CheckpointDamagedError: a run could not go on from it.
        """
        states = MemoryStateBackend(self._clock)
        dispatcher = Dispatcher(self._clock)
        assembly = Assembly(self._program, self._settings, dispatcher, states, _tell)
        try:
            check_restore(assembly, stored, states)
        finally:
            for task in assembly.tasks():
                if not isinstance(task, AsyncTask):
                    task.chain.close()  # not the user's functions: they were never opened


def _tell(error: BaseException) -> None:
    warning("dry_restore.failed", error=said(error))
