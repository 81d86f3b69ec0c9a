"""One run of a job: its threads, from the first record to the last, and how it ends."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

from millstream.core.element import EndOfInput
from millstream.core.errors import (
    InconsistentError,
    StuckError,
)
from millstream.core.job_result import JobResult
from millstream.core.job_status import JobStatus
from millstream.core.log import warning
from millstream.core.ports import NO_FAULTS, Clock, Joinable, Spawner
from millstream.core.settings import EngineSettings
from millstream.core.wording import said
from millstream.engine.account import account_of
from millstream.engine.assembly import Assembly
from millstream.engine.checkpoint.coordinator import Coordinator
from millstream.engine.checkpoint.journal import Checkpointing
from millstream.engine.checkpoint.recovery import equip
from millstream.engine.checkpoint.requests import NotMadeError, Request
from millstream.engine.dispatcher import Dispatcher
from millstream.engine.drain import Drain, Driver, named
from millstream.engine.event_loop import EventLoop
from millstream.engine.gc_policy import uncollected
from millstream.engine.run_phase import RunPhase, moved
from millstream.engine.sink_driver import AsyncSinkDriver, Flushed, SinkDriver
from millstream.engine.source_driver import AsyncDriver
from millstream.engine.two_phase_driver import TwoPhaseDriver
from millstream.operators.program import Program
from millstream.runtime.state.base import StateBackend

CHECKPOINTS = "checkpoints"  # the thread that writes them


class JobRun:
    """Runs a job: one engine thread, a thread per blocking source and sink, one event loop.

    The engine thread owns the run. A failure anywhere reaches it as a message; it then ends every
    part and stops when the last one has ended. Nothing here waits: ``Supervisor`` does.

    Args:
        program: what to run.
        settings: how.
        clock: where time comes from.
        spawner: starts the threads.
        states: where keyed state lives.
        checkpointing: how it makes checkpoints; None: it makes none.

    Attributes:
        coordinator: who makes its checkpoints.
        finished: set when the engine thread has nothing left to do; see ``wait``.
        ending_since_ns: when the grace began in which the run has to end; 0 before.
        drain: ends its sources before their input does.
        threads: every thread of the run, by what runs on it.
    """

    def __init__(  # noqa: PLR0913  # what a run is made of
        self,
        program: Program,
        settings: EngineSettings,
        *,
        clock: Clock,
        spawner: Spawner,
        states: StateBackend,
        checkpointing: Checkpointing | None = None,
    ) -> None:
        self.graph = program.graph
        self.finished = threading.Event()
        self.ending_since_ns = 0
        self.threads: dict[str, Joinable] = {}
        self._thread_ends: dict[str, threading.Event] = {}
        self.dispatcher = Dispatcher(clock)
        self.assembly = Assembly(program, settings, self.dispatcher, states, self._fail)
        self.coordinator: Coordinator | None = None
        self._faults = NO_FAULTS
        self.drain = Drain(self.assembly, self._log)
        if checkpointing is not None:
            with uncollected(settings.manage_gc):
                forms = equip(self.assembly, checkpointing, states)
            self.coordinator = Coordinator(
                self.assembly, checkpointing, self.dispatcher, states, forms
            )
            self.coordinator.on_fatal = self._fail
            self.coordinator.on_stopped = self._leave
            self._faults = checkpointing.faults
        self._unopened = {
            driver.uid
            for driver in self.assembly.sink_drivers()
            if isinstance(driver, TwoPhaseDriver)
        }
        self._clock = clock
        self._spawner = spawner
        self._started_ns = 0
        self._result: JobResult | None = None
        self._alive: set[Driver] = set()
        self._unflushed = {driver.uid for driver in self.assembly.sink_drivers()}
        self._error: BaseException | None = None
        self._noted: BaseException | None = None  # the same, before the engine thread hears of it
        self._cancelled = False
        self._told_to_end = False  # early: by a cancel or a failure
        self._phase = RunPhase.RUNNING

    # -- from any thread ------------------------------------------------------------------------

    @property
    def started(self) -> bool:
        """Return whether ``start`` was called."""
        return bool(self._started_ns)

    def start(self) -> None:
        """Start the engine thread, which starts the rest.

        Raises:
            RuntimeError: it was started before; a run cannot be repeated.
        """
        if self.started:
            raise RuntimeError(
                f"this run of job {self.graph.job!r} was started before; prepare another one"
            )
        self._started_ns = self._clock.monotonic_ns()
        self._spawn("engine", "engine", self._run_engine)

    def cancel(self) -> None:
        """Ask the run to end; ``wait`` tells when it has."""
        self._note_ending()
        self.dispatcher.post(self._on_cancel)

    def save(self, request: Request) -> None:
        """Ask for a checkpoint or a savepoint, also to stop or to drain with; it answers."""
        self.dispatcher.post(self._on_drain if request.purpose.final else self._on_save, request)

    def wait(self, timeout_s: float) -> bool:
        """Wait for the end of every thread, about so long; return whether it has come."""
        # Not by Thread.join: a signal's exception in it makes CPython 3.11 believe that the thread
        # has ended.
        if not self.finished.wait(timeout_s):
            return False
        if not all(end.wait(timeout_s) for end in tuple(self._thread_ends.values())):
            return False
        for thread in self.threads.values():
            thread.join()  # it has nothing left to do
        return True

    def living(self) -> list[str]:
        """Return the names of the threads that have not ended, but for one that waits for work."""
        names = [name for name, end in tuple(self._thread_ends.items()) if not end.is_set()]
        if self.coordinator is not None and not self.coordinator.thread.busy:
            names = [name for name in names if name != CHECKPOINTS]
        return names

    def abandon(self) -> None:
        """End what does not end because it waits for a part that is stuck."""
        if self._phase is not RunPhase.ENDING:
            stuck = StuckError(f"job {self.graph.job!r} did not end within its grace")
            self.dispatcher.post(self._fail, stuck)
        self.dispatcher.post(lambda _: self.dispatcher.stop())
        if self._phase is not RunPhase.ENDING:
            # The engine thread is stuck, and has not told the others. On a thread: a source's
            # cancel() is the user's code, and may block as well.
            self._spawn("end", "end", self._end_drivers)

    def fail(self, error: BaseException) -> None:
        """End the run with a failure. From any thread."""
        self._note_failure(error)

    def result(self) -> JobResult:
        """Return how the run ended.

        Raises:
            RuntimeError: it has not ended.
        """
        if self._result is None:
            raise RuntimeError(f"this run of job {self.graph.job!r} has not ended; call wait()")
        return self._result

    def _make_result(self) -> JobResult:
        status = JobStatus.COMPLETED
        if self._error is not None:
            status = JobStatus.FAILED
        elif self._cancelled:
            status = JobStatus.CANCELLED
        inconsistent = isinstance(self._error, InconsistentError)
        cut_short = status is not JobStatus.COMPLETED and not inconsistent
        duration_s = (self._clock.monotonic_ns() - self._started_ns) / 1e9
        account = account_of(self.assembly, cut_short=cut_short)
        counts = savepoint = None
        if self.coordinator is not None:
            counts, stopped_with = self.coordinator.counts, self.coordinator.stopped_with
            savepoint = None if stopped_with is None else stopped_with.location
        return JobResult(
            self.graph.job, status, duration_s, account, self._error, counts, savepoint
        )

    @property
    def error(self) -> BaseException | None:
        """Return why the run fails, as far as is known."""
        return self._error or self._noted

    # -- the engine thread ----------------------------------------------------------------------

    def _run_engine(self) -> None:
        try:
            self._serve(self._open)
            self._serve(self.dispatcher.run)
        finally:
            for task in self.assembly.tasks():
                self._serve(task.close)
            if self.assembly.loop is not None:
                self.assembly.loop.cancel_all()
            if self.coordinator is not None:
                self.coordinator.close()
            try:
                self._result = self._make_result()
            finally:
                self.finished.set()

    def _serve(self, call: Callable[[], None]) -> None:
        """Call, and turn whatever it raises into the run's failure; serve until the end.

        Also what is no ``Exception``: a callback may say ``sys.exit()``, and the run must not look
        as if it had completed.
        """
        while True:
            self.dispatcher.busy_since_ns = self._clock.monotonic_ns()
            try:
                call()
            except BaseException as error:  # noqa: BLE001  # the run ends with it
                self._fail(error)
                if call == self.dispatcher.run:
                    continue
            self.dispatcher.busy_since_ns = 0
            return

    def _open(self) -> None:
        loop = self.assembly.loop
        if loop is not None:
            self._spawn("event loop", "loop", lambda: self._run_loop(loop))
        if self.coordinator is not None:
            self._spawn(CHECKPOINTS, CHECKPOINTS, self.coordinator.thread.run)
        for sink in self.assembly.sink_drivers():
            sink.on_flushed = self._on_flushed
            if isinstance(sink, TwoPhaseDriver):
                sink.on_opened = self._on_opened
            self._start_driver("sink", sink, loop)
        for task in self.assembly.tasks():
            task.open()
        for head in self.assembly.heads():
            head.open()
            if head.name in self.assembly.finished_sources:
                head.on_end()
        self._begin()

    def _begin(self) -> None:
        """Let the sources begin, once no sink has anything left to do for an earlier run."""
        if self._unopened or self._phase is RunPhase.ENDING:
            return
        for source in self.assembly.source_drivers():
            if source.uid not in self.assembly.finished_sources and not self.drain.begun:
                self._start_driver("source", source, self.assembly.loop)
        if self.coordinator is not None:
            self.coordinator.start()

    def _on_opened(self, uid: str) -> None:
        self._unopened.discard(uid)
        self._begin()

    def _start_driver(self, kind: str, driver: Driver, loop: EventLoop | None) -> None:
        if isinstance(driver, AsyncDriver | AsyncSinkDriver):
            assert loop is not None
            done = self.dispatcher.post
            loop.call_soon(
                lambda: loop.start(
                    self._run_async(kind, driver),
                    lambda: done(self._on_driver_done, driver),
                    driver.uid,
                )
            )
        else:
            name = f"{kind} {driver.uid}"
            self._spawn(name, name, lambda: self._run_driver(kind, driver))
        self._alive.add(driver)  # only now: one that could not be started never ends

    def _spawn(self, name: str, shown: str, target: Callable[[], None]) -> None:
        end = threading.Event()

        def run() -> None:
            try:
                target()
            finally:
                end.set()

        self.threads[name] = self._spawner.spawn(f"millstream-{shown}", run)
        self._thread_ends[name] = end

    def _run_loop(self, loop: EventLoop) -> None:
        try:
            loop.run(self._note_failure)
        except BaseException as error:  # noqa: BLE001  # a thread's last words: the engine hears them
            self._note_failure(error)
        finally:
            self.dispatcher.post(self._on_loop_ended)

    def _run_driver(self, kind: str, driver: Any) -> None:
        try:
            driver.run()
        except BaseException as error:  # noqa: BLE001  # as above
            failure = named(kind, driver.uid, error)
            if not self.drain.takes(kind, failure):
                self._note_failure(failure)
        finally:
            self.dispatcher.post(self._on_driver_done, driver)

    async def _run_async(self, kind: str, driver: AsyncDriver | AsyncSinkDriver) -> None:
        try:
            await driver.run()
        except BaseException as error:  # noqa: BLE001  # the engine hears it
            # Also what is no Exception: SystemExit would end the loop, and a CancelledError that
            # nobody here asked for would look like an end of input.
            failure = named(kind, driver.uid, error)
            if self._told_to_end:
                if not isinstance(error, asyncio.CancelledError):
                    self.dispatcher.post(self._fail, failure)
            elif not self.drain.takes(kind, failure):
                self._note_failure(failure)

    def _on_flushed(self, flushed: Flushed) -> None:
        uid, element, _ = flushed
        if self.coordinator is not None:
            self.coordinator.on_flushed(flushed)
        if isinstance(element, EndOfInput):
            self._unflushed.discard(uid)
            self._finish_if_ended()

    def _finish_if_ended(self) -> None:
        """Let the results appear, if nothing can fail any more but that, and everything adds up."""
        if self._unflushed or self._phase is not RunPhase.RUNNING:
            return
        if not self._alive.isdisjoint(self.assembly.source_drivers()):
            self._begin_grace()  # only a source's close() is left
            return
        self.ending_since_ns = 0  # to let them appear may take as long as it likes
        violations = list(account_of(self.assembly, cut_short=False).violations())
        if violations:
            self._fail(InconsistentError("INCONSISTENT: " + "; ".join(violations)))
            return
        self._phase = moved(self._phase, RunPhase.FINISHING)
        if self.coordinator is None:
            self._publish()
        else:
            self.coordinator.finish(self._publish)

    def _publish(self) -> None:
        """Let the results appear: they add up, and a checkpoint has what they come from."""
        self._phase = moved(self._phase, RunPhase.PUBLISHING)
        self._faults.reach("publish")
        for sink in self.assembly.sink_drivers():
            sink.finish()

    def _on_driver_done(self, driver: Driver) -> None:
        self._alive.discard(driver)
        if self.drain.begun:
            self._end_drained()
        if self._phase is RunPhase.LEAVING:  # first: what ends with a savepoint has not completed
            self._end_if_left()
        if not self._alive:
            self.dispatcher.stop()
        else:
            self._finish_if_ended()

    def _on_loop_ended(self, _: object) -> None:
        """Note the end of what ran on the event loop, also if it could not say so itself."""
        for driver in tuple(self._alive):
            if isinstance(driver, AsyncDriver | AsyncSinkDriver):
                self._on_driver_done(driver)

    # -- savepoints -----------------------------------------------------------------------------

    def _on_save(self, request: Request) -> None:
        assert self.coordinator is not None
        if self.drain.begun:
            request.answer(NotMadeError("the job is being drained, and ends"))
        else:
            self.coordinator.request(request)

    def _on_drain(self, request: Request) -> None:
        """End every source, and the run as at the end of all input."""
        assert self.coordinator is not None
        if self.drain.begun or self.coordinator.ending:
            request.answer(NotMadeError("the job has come to its end, or is being drained"))
            return
        self.coordinator.at_end = (request.purpose, [request.answer])
        self._begin_grace()  # for the sources
        self.drain.begin(self._alive)
        self._end_drained()

    def _end_drained(self) -> None:
        if self.drain.end(self._alive) and self._phase is not RunPhase.ENDING:
            self.ending_since_ns = 0  # what is left may take as long as at any end of the input

    def _leave(self) -> None:
        """End the run with its savepoint, once every sink has committed what that names."""
        self._phase = moved(self._phase, RunPhase.LEAVING)
        for sink in self.assembly.sink_drivers():
            if isinstance(sink, SinkDriver):
                sink.leave()
        self._end_if_left()

    def _end_if_left(self) -> None:
        if not any(isinstance(driver, SinkDriver) for driver in self._alive):
            self._cancelled = self._error is None
            self._end()

    # -- ending early ---------------------------------------------------------------------------

    def _note_ending(self) -> None:
        """Note that the run is to end early, whether or not the engine thread hears of it."""
        self._told_to_end = True
        self._begin_grace()

    def _begin_grace(self) -> None:
        """Let the time begin in which the run has to end. From any thread."""
        if not self.ending_since_ns:
            self.ending_since_ns = self._clock.monotonic_ns()

    def _note_failure(self, error: BaseException) -> None:
        """Report a failure to the engine thread, which may be stuck. From any other."""
        if not self._told_to_end:
            self._noted = error
        self._note_ending()
        self.dispatcher.post(self._fail, error)

    def _on_cancel(self, _: object) -> None:
        if self._phase is RunPhase.PUBLISHING:
            self._begin_grace()
        elif self._phase is not RunPhase.ENDING:
            self._cancelled = True
            self._end()

    def _fail(self, error: BaseException) -> None:
        if self._error is None and not self._cancelled:
            self._error = error
        elif error is not self._error:  # it also comes down the stream, to every sink
            self._log(error)
        self._end()

    def _log(self, error: BaseException) -> None:
        """Tell of a failure that is not the run's result: it came while the run was ending."""
        warning("end.failed", job=self.graph.job, error=said(error))

    def _end(self) -> None:
        """End every part, the sinks without finishing; each says when it has ended."""
        if self._phase is RunPhase.ENDING:
            return
        self._phase = moved(self._phase, RunPhase.ENDING)
        self._note_ending()
        if self.coordinator is not None:
            self.coordinator.stop()
        for task in self.assembly.tasks():
            task.done = True  # all of them first: a cancel stops at a task that is done
        for group in self.assembly.groups:
            if group.edge is not None:
                group.edge.cancel()
        self._end_drivers()
        if not self._alive:
            self.dispatcher.stop()

    def _end_drivers(self) -> None:
        # Sinks first: a source's cancel() is the user's code, and may block.
        if self.assembly.loop is not None:
            self.assembly.loop.cancel_all()
        alive = tuple(self._alive)  # at once: the engine thread may change it
        for driver in sorted(alive, key=lambda each: not isinstance(each, SinkDriver)):
            if not isinstance(driver, AsyncDriver | AsyncSinkDriver):
                try:
                    driver.cancel()
                except BaseException as error:  # noqa: BLE001  # the others must still be told
                    self._log(named("source", driver.uid, error))
