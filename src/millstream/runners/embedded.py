"""The embedded runner: the whole job inside this process."""

from __future__ import annotations

import atexit
from collections.abc import Callable
from dataclasses import dataclass
from weakref import WeakSet

from millstream.core.job_result import CheckpointCounts, JobResult
from millstream.core.log import warning
from millstream.core.ports import Clock, Spawner, SystemClock, ThreadSpawner
from millstream.core.settings import EngineSettings
from millstream.core.validation import validate
from millstream.engine.checkpoint.journal import Checkpointing
from millstream.engine.checkpoint.requests import Request
from millstream.engine.run import JobRun
from millstream.engine.supervisor import Supervisor
from millstream.operators.endpoints import SinkOperator, SourceOperator
from millstream.operators.program import Program
from millstream.runtime.state.memory import MemoryStateBackend


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a running job stands.

    Attributes:
        checkpointing: a checkpoint or savepoint is in flight.
        draining: its sources were told to end.
        checkpoints: how they went; None if it makes none.
    """

    checkpointing: bool
    draining: bool
    checkpoints: CheckpointCounts | None


class Execution:
    """A job that is ready to run. Call ``wait`` soon after ``start``: it supervises the run.

    The run's threads do not keep the process alive. One that ends without having waited ends the
    run with it, and says so in the log.
    """

    def __init__(self, run: JobRun, supervisor: Supervisor) -> None:
        self._run = run
        self._supervisor = supervisor

    def start(self) -> None:
        """Start the job; without it, ``wait`` does.

        Raises:
            RuntimeError: it was started before; ``ms.start`` makes another execution.
        """
        self._run.start()
        _unwaited.add(self._run)

    def fail(self, error: BaseException) -> None:
        """End the job with a failure. From any thread."""
        self._run.fail(error)

    @property
    def ending(self) -> bool:
        """Return whether the job was told to end: it has its grace for that. From any thread."""
        return bool(self._run.ending_since_ns)

    def cancel(self) -> None:
        """Ask the job to end: sources stop, sinks close without finishing. From any thread."""
        self._run.cancel()

    def save(self, request: Request) -> None:
        """Ask for a checkpoint or a savepoint, also to end the job with. From any thread."""
        self._run.save(request)

    def ask(self, answer: Callable[[Progress], None]) -> None:
        """Have the engine thread say where the job stands. From any thread."""
        self._run.dispatcher.post(lambda _: answer(self._progress()))

    def _progress(self) -> Progress:
        coordinator = self._run.coordinator
        draining = self._run.drain.begun
        if coordinator is None:
            return Progress(checkpointing=False, draining=draining, checkpoints=None)
        return Progress(coordinator.in_flight, draining, coordinator.counts)

    @property
    def started(self) -> bool:
        """Return whether the job has been started."""
        return self._run.started

    @property
    def ended(self) -> bool:
        """Return whether the job has ended, and every thread of it."""
        return self._run.wait(0)

    def result(self) -> JobResult:
        """Return how the job ended.

        Raises:
            RuntimeError: it has not ended.
        """
        return self._run.result()

    def wait(self) -> JobResult:
        """Wait for the end; start the job, if nobody has.

        Raises:
            StuckError: something did not end within its grace time.
            KeyboardInterrupt: the process was asked to stop; the job has been cancelled.
        """
        try:
            return self._supervisor.wait()
        finally:
            _unwaited.discard(self._run)


class EmbeddedRunner:
    """Runs jobs in threads of this process.

    Args:
        clock: where time comes from.
        spawner: what starts threads.
    """

    def __init__(self, clock: Clock | None = None, spawner: Spawner | None = None) -> None:
        self._clock = clock or SystemClock()
        self._spawner = spawner or ThreadSpawner()

    def prepare(
        self,
        program: Program,
        settings: EngineSettings,
        checkpointing: Checkpointing | None = None,
    ) -> Execution:
        """Return a job that is ready to run, restored if it goes on from a checkpoint.

        Raises:
            ConfigError: a source or a sink finds that it cannot run; nothing was started.
        """
        for uid, definition in program.definitions.items():
            if isinstance(definition, SourceOperator):
                validate(f"source {uid!r}", definition.source.validate)
            elif isinstance(definition, SinkOperator):
                validate(f"sink {uid!r}", definition.sink.validate)
        run = JobRun(
            program,
            settings,
            clock=self._clock,
            spawner=self._spawner,
            states=MemoryStateBackend(self._clock, kept=checkpointing is not None),
            checkpointing=checkpointing,
        )
        return Execution(run, Supervisor(run, settings, self._clock))


_unwaited: WeakSet[JobRun] = WeakSet()  # a run that has ended, and that nobody holds, drops out


@atexit.register
def _tell_unfinished() -> None:
    """Say which jobs end with the process: their threads are daemons, and would end unheard."""
    for run in tuple(_unwaited):
        if not run.wait(0):
            warning(
                "job.abandoned",
                job=run.graph.job,
                reason="the process ended before the job; call wait() on what ms.start() returns",
            )
