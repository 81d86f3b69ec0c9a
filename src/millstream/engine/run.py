"""One run of a job: its threads, from the first record to the last, and how it ends."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from millstream.core.element import Barrier, Control, EndOfInput
from millstream.core.errors import InconsistentError, MillstreamError, SinkError, SourceError
from millstream.core.job_result import JobResult
from millstream.core.job_status import JobStatus
from millstream.core.ports import Clock, Joinable, Spawner
from millstream.core.settings import EngineSettings
from millstream.core.wording import said
from millstream.engine.account import account_of
from millstream.engine.assembly import AnySinkDriver, Assembly, SourceDriver
from millstream.engine.dispatcher import Dispatcher
from millstream.engine.event_loop import EventLoop
from millstream.engine.sink_driver import AsyncSinkDriver
from millstream.engine.source_driver import AsyncDriver
from millstream.operators.loop import StateStore
from millstream.operators.program import Program

Driver = SourceDriver | AnySinkDriver


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

    Attributes:
        finished: set when every part has ended.
        ending_since_ns: when the run began to end early; 0 before.
        threads: every thread of the run, by what runs on it.
    """

    def __init__(
        self,
        program: Program,
        settings: EngineSettings,
        *,
        clock: Clock,
        spawner: Spawner,
        states: StateStore,
    ) -> None:
        self.graph = program.graph
        self.finished = threading.Event()
        self.ending_since_ns = 0
        self.threads: dict[str, Joinable] = {}
        self.dispatcher = Dispatcher(clock)
        self.assembly = Assembly(program, settings, self.dispatcher, states, self._fail)
        self._clock = clock
        self._spawner = spawner
        self._started_ns = 0
        self._ended_ns = 0
        self._alive: set[Driver] = set()
        self._unflushed = {driver.uid for driver in self.assembly.sink_drivers()}
        self._error: BaseException | None = None
        self._cancelled = False
        self._barriers: dict[int, set[str]] = {}

    # -- from any thread ------------------------------------------------------------------------

    def start(self) -> None:
        """Start the engine thread, which starts the rest."""
        self._started_ns = self._clock.monotonic_ns()
        self.threads["engine"] = self._spawner.spawn("millstream-engine", self._run_engine)

    def cancel(self) -> None:
        """Ask the run to end; ``finished`` tells when it has."""
        self.dispatcher.post(self._on_cancel)

    def trigger(self, element: Control) -> None:
        """Put a control element into every source's stream, at its head."""
        self.dispatcher.post(self._inject, element)

    def barriers_passed(self, checkpoint_id: int) -> set[str]:
        """Return the sinks that have flushed behind a barrier."""
        return set(self._barriers.get(checkpoint_id, ()))

    def result(self) -> JobResult:
        """Return how the run ended; only once ``finished`` is set."""
        status = JobStatus.COMPLETED
        if self._error is not None:
            status = JobStatus.FAILED
        elif self._cancelled:
            status = JobStatus.CANCELLED
        inconsistent = isinstance(self._error, InconsistentError)
        cut_short = status is not JobStatus.COMPLETED and not inconsistent
        duration_s = (self._ended_ns - self._started_ns) / 1e9
        account = account_of(self.assembly, cut_short=cut_short)
        return JobResult(self.graph.job, status, duration_s, account, self._error)

    def alive(self) -> list[str]:
        """Return the names of the sources and sinks that have not ended."""
        return sorted(driver.uid for driver in tuple(self._alive))

    # -- the engine thread ----------------------------------------------------------------------

    def _run_engine(self) -> None:
        try:
            self._serve(self._open)
            self._serve(self.dispatcher.run)
        finally:
            for task in self.assembly.tasks():
                self._serve(task.close)
            loop = self.assembly.loop
            if loop is not None:
                loop.cancel_all()
                self.threads["event loop"].join()
            self._ended_ns = self._clock.monotonic_ns()
            self.finished.set()

    def _serve(self, call: Callable[[], None]) -> None:
        """Call, and turn whatever it raises into the run's failure; serve until the end."""
        while True:
            try:
                call()
            except Exception as error:  # noqa: BLE001  # the run ends with it
                self._fail(error)
                if call == self.dispatcher.run:
                    continue
            return

    def _open(self) -> None:
        loop = self.assembly.loop
        if loop is not None:
            self.threads["event loop"] = self._spawner.spawn("millstream-loop", loop.run)
        for sink in self.assembly.sink_drivers():
            sink.on_flushed = self._on_flushed
            self._start_driver("sink", sink, loop)
        for task in self.assembly.tasks():
            task.open()
        for source in self.assembly.source_drivers():
            self._start_driver("source", source, loop)
        for head in self.assembly.heads():
            head.open()

    def _start_driver(self, kind: str, driver: Driver, loop: EventLoop | None) -> None:
        self._alive.add(driver)
        if isinstance(driver, AsyncDriver | AsyncSinkDriver):
            assert loop is not None
            done = self.dispatcher.post
            loop.call_soon(
                lambda: loop.start(
                    self._run_async(kind, driver), lambda: done(self._on_driver_done, driver)
                )
            )
        else:
            name = f"{kind} {driver.uid}"
            self.threads[name] = self._spawner.spawn(
                f"millstream-{name}", lambda: self._run_driver(kind, driver)
            )

    def _run_driver(self, kind: str, driver: Any) -> None:
        try:
            driver.run()
        except BaseException as error:  # noqa: BLE001  # a thread's last words: the engine hears them
            self.dispatcher.post(self._fail, _named(kind, driver.uid, error))
        finally:
            self.dispatcher.post(self._on_driver_done, driver)

    async def _run_async(self, kind: str, driver: AsyncDriver | AsyncSinkDriver) -> None:
        try:
            await driver.run()
        except Exception as error:  # noqa: BLE001  # the engine hears it
            self.dispatcher.post(self._fail, _named(kind, driver.uid, error))

    def _on_flushed(self, flushed: tuple[str, Control]) -> None:
        uid, element = flushed
        if isinstance(element, Barrier):
            self._barriers.setdefault(element.checkpoint_id, set()).add(uid)
        elif isinstance(element, EndOfInput):
            self._unflushed.discard(uid)
            if not self._unflushed and not self.ending_since_ns:
                self._finish()

    def _finish(self) -> None:
        """Let the results appear, if everything adds up."""
        violations = list(account_of(self.assembly, cut_short=False).violations())
        if violations:
            self._fail(InconsistentError("INCONSISTENT: " + "; ".join(violations)))
            return
        for sink in self.assembly.sink_drivers():
            sink.finish()

    def _on_driver_done(self, driver: Driver) -> None:
        self._alive.discard(driver)
        if not self._alive:
            self.dispatcher.stop()

    def _inject(self, element: Control) -> None:
        for head in self.assembly.heads():
            if not head.outlet.done:
                head.inject(element)

    # -- ending early ---------------------------------------------------------------------------

    def _on_cancel(self, _: object) -> None:
        if not self.ending_since_ns:
            self._cancelled = True
            self._end()

    def _fail(self, error: BaseException) -> None:
        if self._error is None and not self._cancelled:
            self._error = error
        self._end()

    def _end(self) -> None:
        """End every part, the sinks without finishing; each says when it has ended."""
        if self.ending_since_ns:
            return
        self.ending_since_ns = self._clock.monotonic_ns()
        for group in self.assembly.groups:
            if group.edge is not None:
                group.edge.cancel()
            for task in (group.task, group.async_task):
                if task is not None:
                    task.done = True
        for driver in tuple(self._alive):
            if not isinstance(driver, AsyncDriver | AsyncSinkDriver):
                try:
                    driver.cancel()
                except Exception as error:  # noqa: BLE001  # the others must still be told
                    self._error = self._error or _named("source", driver.uid, error)
        if self.assembly.loop is not None:
            self.assembly.loop.cancel_all()
        if not self._alive:
            self.dispatcher.stop()


def _named(kind: str, uid: str, error: BaseException) -> BaseException:
    """Return the error with the source or sink it came from, if it does not say so itself."""
    if isinstance(error, MillstreamError) and getattr(error, "operator_uid", None):
        return error
    wrapper = SourceError if kind == "source" else SinkError
    named = wrapper(f"{kind} {uid!r} failed: {said(error)}", operator_uid=uid)
    named.__cause__ = error
    return named
