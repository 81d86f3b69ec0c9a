"""Makes the checkpoints of a run: triggers, collects every part, has them written, lets commit.

Flink's ``CheckpointCoordinator`` in one thread: all of it runs in the engine's, moved by messages
and timers. One checkpoint is in flight at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any  # parts of a snapshot are of any type

from millstream.core.element import Barrier
from millstream.core.errors import FatalError
from millstream.core.job_result import CheckpointCounts
from millstream.core.log import info, warning
from millstream.core.wording import said
from millstream.engine.assembly import Assembly
from millstream.engine.async_task import AsyncTask
from millstream.engine.checkpoint.encoder import StateEncoder
from millstream.engine.checkpoint.journal import Checkpointing, Made, Purpose, Summary
from millstream.engine.checkpoint.requests import (
    Answer,
    CheckpointFailedError,
    NotMadeError,
    Request,
    Requests,
)
from millstream.engine.checkpoint.state_files import (
    FINISHED,
    IN_FLIGHT,
    POSITIONS,
    SINKS,
    StateForm,
    entries_file,
)
from millstream.engine.checkpoint.writer import SnapshotFiles, WriterThread
from millstream.engine.dispatcher import Dispatcher
from millstream.engine.sink_driver import Flushed, SinkPart
from millstream.engine.source_cut import SourceCut
from millstream.engine.task import Task
from millstream.runtime.state.base import StateBackend
from millstream.storage.metadata.errors import LeaseLostError

_RETRY_NS = 1_000_000_000  # before the final checkpoint is tried again


class _Pending:
    """The checkpoint in flight.

    Attributes:
        waiting: parts that have not answered: tasks, and sinks by uid.
        sealed: all parts are handed to the writer.
        answers: who is told how it went.
    """

    def __init__(
        self, purpose: Purpose, started_ns: int, files: SnapshotFiles, encoder: StateEncoder
    ) -> None:
        self.id = files.checkpoint_id
        self.purpose = purpose
        self.answers: Sequence[Answer] = ()
        self.started_ns = started_ns
        self.files = files
        self.encoder = encoder
        self.waiting: set[object] = set()
        self.sealed = False
        self.cuts: dict[str, SourceCut] = {}
        self.sinks: dict[str, SinkPart] = {}
        self.finished: dict[str, bool] = {}

    @property
    def holds(self) -> bool:
        """Return whether nothing behind its barrier may be processed, as the run ends with it."""
        return self.purpose.stop and not self.purpose.final

    def answer(self, outcome: Made | Exception) -> None:
        """Tell whoever asked for it."""
        for each in self.answers:
            each(outcome)


class Coordinator:
    """Triggers checkpoints and sees each of them through.

    A checkpoint that fails or takes too long is given up and counted; nothing is aborted, and
    what sinks have pre-committed waits for the next one.

    Args:
        assembly: the running parts.
        checkpointing: when, and who keeps them.
        dispatcher: the engine thread.
        states: where keyed state lives.
        forms: how each state is written.

    Attributes:
        thread: what writes; whoever runs the job starts it.
        counts: how checkpoints have gone so far.
        on_fatal: told why the run must end.
        on_stopped: told that the savepoint is complete which the run was to stop with.
        stopped_with: that savepoint.
        at_end: what the final checkpoint is for, and who is told of it.
    """

    def __init__(
        self,
        assembly: Assembly,
        checkpointing: Checkpointing,
        dispatcher: Dispatcher,
        states: StateBackend,
        forms: dict[tuple[str, str], StateForm],
    ) -> None:
        self.thread = WriterThread(partial(dispatcher.post, self._on_writer_failed))
        self.counts = CheckpointCounts()
        self.on_fatal: Callable[[BaseException], None]
        self.on_stopped: Callable[[], None]
        self.stopped_with: Made | None = None
        self.at_end: tuple[Purpose, Sequence[Answer]] = (Purpose(final=True), ())
        self._assembly = assembly
        self._settings = checkpointing.settings
        self._journal = checkpointing.journal
        self._faults = checkpointing.faults
        self._dispatcher = dispatcher
        self._states = states
        self._forms = forms
        self._job = assembly.graph.job
        self._next_id = self._journal.first_id
        self._pending: _Pending | None = None
        self._unmerged: StateEncoder | None = None  # of the last one
        self._started_ns = self._ended_ns = 0  # the last one
        self._failures = 0  # in a row
        self._ended_sinks: dict[str, SinkPart] = {}
        self._on_final: Callable[[], None] | None = None
        self._requests = Requests()
        self._started = False
        self._stopped = False
        self._timer = 0  # counts timers, so that an old one does nothing
        for task in assembly.tasks():
            task.on_barrier = self._on_task_barrier
            task.on_ended = self._on_task_ended

    # -- for the run ----------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to count the time to the first checkpoint."""
        self._started_ns = self._dispatcher.clock.monotonic_ns()
        self._ended_ns = self._started_ns - self._settings.min_pause_ns  # there was none before
        self._started = True
        self._rest()

    @property
    def in_flight(self) -> bool:
        """Return whether a checkpoint or savepoint is being made."""
        return self._pending is not None

    @property
    def ending(self) -> bool:
        """Return whether the run ends, or only its final checkpoint is still to be made."""
        return self._stopped or self._on_final is not None

    def request(self, request: Request) -> None:
        """Make a checkpoint or savepoint as soon as none is in flight."""
        if self.ending:
            reason = "the job has come to its end"
            request.answer(NotMadeError(f"no {request.purpose.noun} was made: {reason}"))
            return
        self._requests.add(request)
        self._rest()

    def finish(self, on_final: Callable[[], None]) -> None:
        """Make the final checkpoint, as all input has ended and all sinks have flushed.

        Args:
            on_final: called when it is complete.
        """
        self._on_final = on_final
        self._failures = 0  # of others; this one has all of its own attempts
        self._requests.refuse_all("all input has ended, and the final checkpoint follows")
        self._rest()

    def on_flushed(self, flushed: Flushed) -> None:
        """Take a sink's part: it has passed a barrier, or come to its end."""
        uid, element, part = flushed
        pending = self._pending
        if not isinstance(element, Barrier):
            self._ended_sinks[uid] = part
        elif pending is None or element.checkpoint_id != pending.id:
            return
        if pending is not None and uid in pending.waiting:
            pending.waiting.discard(uid)
            pending.sinks[uid] = part
            self._advance()

    def stop(self) -> None:
        """Trigger nothing more: the run ends early."""
        self._stopped = True
        self._requests.refuse_all("the run ended")
        pending, self._pending = self._pending, None
        unmade = [self.at_end]
        self.at_end = (self.at_end[0], ())
        if pending is not None:
            pending.encoder.discard()
            pending.files.give_up("the run ended")
            if not pending.purpose.final:  # that one has the answers of `at_end`
                unmade.append((pending.purpose, pending.answers))
        for purpose, answers in unmade:
            for answer in answers:
                answer(NotMadeError(f"no {purpose.noun} was made: the run ended"))

    def close(self) -> None:
        """Let the writer end, once all is written."""
        self.stop()
        self.thread.stop()

    # -- triggering -----------------------------------------------------------------------------

    def _rest(self) -> None:
        """See what comes next, if nothing is in flight and all state is whole again."""
        if self._pending is not None or self._stopped or not self._started:
            return
        if self._unmerged is not None and not self._unmerged.merged:
            return
        if self._on_final is not None:
            wait_ns = _RETRY_NS if self._failures else 0
            self._after(wait_ns, lambda: self._trigger(*self.at_end))
        elif self._requests:
            self._after(0, lambda: self._trigger(*self._requests.take()))
        elif self._settings.interval_ns is not None:
            now_ns = self._dispatcher.clock.monotonic_ns()
            due_ns = max(
                self._started_ns + self._settings.interval_ns,
                self._ended_ns + self._settings.min_pause_ns,
            )
            self._after(due_ns - now_ns, lambda: self._trigger(Purpose()))

    def _after(self, wait_ns: int, call: Callable[[], None]) -> None:
        self._timer += 1
        number = self._timer

        def fire() -> None:
            if number == self._timer and self._pending is None and not self._stopped:
                call()

        self._dispatcher.call_at(self._dispatcher.clock.monotonic_ns() + max(0, wait_ns), fire)

    def _trigger(self, purpose: Purpose, answers: Sequence[Answer] = ()) -> None:
        number, self._next_id = self._next_id, self._next_id + 1
        started_ns = self._dispatcher.clock.monotonic_ns()
        if not purpose.savepoint:  # one does not put the next checkpoint off
            self._started_ns = started_ns
        files = SnapshotFiles(self.thread, self._journal, self._dispatcher, number)
        encoder = StateEncoder(self._dispatcher, self.thread, files, self._forms)
        encoder.on_progress = self._on_progress
        encoder.on_failed = partial(self._fail, number)
        self._pending = pending = _Pending(purpose, started_ns, files, encoder)
        pending.answers = answers
        files.on_completed = partial(self._on_completed, pending)
        files.on_failed = self._on_files_failed
        self._unmerged = encoder
        self._faults.reach("trigger")
        files.begin(purpose)
        pending.waiting.update(self._assembly.tasks())
        pending.waiting.update(driver.uid for driver in self._assembly.sink_drivers())
        for uid in pending.waiting.intersection(self._ended_sinks):
            pending.sinks[str(uid)] = self._ended_sinks[str(uid)]
        pending.waiting.difference_update(self._ended_sinks)
        failure: Exception | None = None
        for head in self._assembly.heads():
            try:
                pending.cuts[head.name] = head.cut(Barrier(number))
            except Exception as error:  # noqa: BLE001  # of the user's snapshot_state
                failure = error
        self._faults.reach("barrier")
        for task in self._assembly.tasks():
            if task.ended:
                self._freeze(pending, task)
        timeout_ns = self._settings.timeout_ns
        self._dispatcher.call_at(started_ns + timeout_ns, partial(self._on_timeout, number))
        if failure is not None:
            self._fail(number, failure)
        self._advance()

    # -- parts ----------------------------------------------------------------------------------

    def _on_task_barrier(self, task: Task | AsyncTask, checkpoint_id: int) -> None:
        pending = self._pending
        if pending is not None and pending.id == checkpoint_id and task in pending.waiting:
            self._faults.reach("task")
            if pending.holds:
                task.hold()
            self._freeze(pending, task)
            self._advance()

    def _on_task_ended(self, task: Task | AsyncTask) -> None:
        pending = self._pending
        if pending is not None and task in pending.waiting:
            self._freeze(pending, task)
            self._advance()

    def _freeze(self, pending: _Pending, task: Task | AsyncTask) -> None:
        """Take a task's part: its state as it is now."""
        pending.waiting.discard(task)
        if isinstance(task, AsyncTask):
            in_flight = task.in_flight()
            if in_flight["inputs"] or in_flight["results"]:
                try:  # at once: the calls may change what they were given
                    data = entries_file(self._job, IN_FLIGHT, {task.name: in_flight})
                except Exception as error:  # noqa: BLE001  # the checkpoint fails, not the job
                    self._fail(pending.id, error)
                    return
                self._write(pending, f"{IN_FLIGHT}/{task.name}", data)
            return
        if task.ended:
            pending.finished.update(dict.fromkeys(task.uids, True))
        if task.uids:
            snapshot = self._states.begin_snapshot(task.uids)
            pending.encoder.add(snapshot, lambda: task.between_chunks)

    def _on_progress(self) -> None:
        self._advance()
        self._rest()

    def _advance(self) -> None:
        """Have the checkpoint made complete, if every part is there."""
        pending = self._pending
        if pending is None or pending.waiting or pending.sealed or not pending.encoder.encoded:
            return
        pending.sealed = True
        parts: dict[str, dict[str, Any]] = {
            POSITIONS: {uid: cut.to_value() for uid, cut in pending.cuts.items()},
            SINKS: pending.sinks,
            FINISHED: pending.finished,
        }
        try:
            for kind, entries in parts.items():
                if entries:
                    self._write(pending, kind, entries_file(self._job, kind, entries))
        except Exception as error:  # noqa: BLE001  # what a connector gave cannot be kept
            self._fail(pending.id, error)
            return
        elapsed_ns = self._dispatcher.clock.monotonic_ns() - pending.started_ns
        pending.files.complete(
            Summary(
                purpose=pending.purpose,
                duration_ms=elapsed_ns // 1_000_000,
                positions={uid: str(cut) for uid, cut in pending.cuts.items()},
                entries=pending.encoder.entries,
                sinks=pending.sinks,
            )
        )

    def _write(self, pending: _Pending, name: str, data: bytes) -> None:
        pending.files.write(name, data)
        pending.files.close(name)

    # -- how it ends ----------------------------------------------------------------------------

    def _on_completed(self, pending: _Pending, made: Made) -> None:
        purpose = pending.purpose
        self._faults.reach("completed")
        if purpose.commits:
            for driver in self._assembly.sink_drivers():
                driver.commit(pending.id)
        if pending is not self._pending:
            return  # it was given up a moment before; what it names may appear all the same
        self._pending = None
        self._ended_ns = self._dispatcher.clock.monotonic_ns()
        if purpose.savepoint:
            self.counts = self.counts.saved_one()
            info("savepoint.completed", job=self._job, checkpoint_id=pending.id, path=made.location)
        else:
            self.counts = self.counts.completed_one(pending.id)
        if not purpose.savepoint or purpose.final:
            self._failures = 0
        pending.files.retain()
        if purpose.stop:
            self.stopped_with = made
        pending.answer(made)
        on_final = self._on_final
        if on_final is not None and purpose.final:
            self._stopped = True
            self.at_end = (purpose, ())
            on_final()
        elif purpose.stop:
            self._stopped = True
            self._requests.refuse_all("the run stops with a savepoint")
            self.on_stopped()
        self._rest()

    def _on_files_failed(self, failed: tuple[int, Exception]) -> None:
        checkpoint_id, error = failed
        if isinstance(error, LeaseLostError):
            self.stop()
            self.on_fatal(error)
        else:
            self._fail(checkpoint_id, error)

    def _on_writer_failed(self, error: BaseException) -> None:
        failure = FatalError(
            f"the thread that writes checkpoints of job {self._job!r} failed: {said(error)}; "
            "nothing is lost: resume the job, and please report it if it comes again"
        )
        failure.__cause__ = error
        self.on_fatal(failure)

    def _on_timeout(self, checkpoint_id: int) -> None:
        pending = self._pending
        if pending is None or pending.id != checkpoint_id:
            return
        late = sorted(str(getattr(each, "name", each)) for each in pending.waiting)
        waits_for = f"{', '.join(late)} did not answer" if late else "it is still being written"
        self._fail(
            checkpoint_id,
            CheckpointFailedError(
                f"{pending.purpose.noun} {checkpoint_id} of job {self._job!r} took longer than "
                f"{self._settings.timeout}: {waits_for}; look at the backpressure there, or raise "
                "the timeout of checkpoints"
            ),
        )

    def _fail(self, checkpoint_id: int, error: Exception) -> None:
        pending = self._pending
        if pending is None or pending.id != checkpoint_id:
            return
        self._pending = None
        self._ended_ns = self._dispatcher.clock.monotonic_ns()
        pending.encoder.discard()
        pending.files.give_up(said(error))
        noun = pending.purpose.noun
        fields = {"job": self._job, "checkpoint_id": checkpoint_id, "error": said(error)}
        if not pending.purpose.savepoint or pending.purpose.final:
            self._failures += 1
            healthy = self._failures <= self._settings.tolerable_failures
            self.counts = self.counts.failed_one(healthy=healthy)
            warning(f"{noun}.failed", **fields, failures_in_a_row=self._failures)
            if not healthy:
                self._tell_unhealthy(pending.purpose, error)
        else:
            warning(f"{noun}.failed", **fields)
        if self._on_final is not None and not pending.purpose.final:
            self._failures = 0  # it was in flight at the end: as in `finish`
        if not pending.purpose.final:  # that one is tried again
            pending.answer(error)
        if pending.holds:
            for task in self._assembly.tasks():
                task.release()
        self._rest()

    def _tell_unhealthy(self, purpose: Purpose, error: Exception) -> None:
        if purpose.final:  # without it, what the sinks hold would never appear
            failure = FatalError(
                f"the final checkpoint of job {self._job!r} failed {self._failures} times: "
                f"{said(error)}; mend that and resume the job: nothing is lost"
            )
            failure.__cause__ = error
            self.on_fatal(failure)
        elif self._failures == self._settings.tolerable_failures + 1:
            warning(
                "job.unhealthy",
                job=self._job,
                reason=f"{self._failures} checkpoints in a row have failed",
            )
