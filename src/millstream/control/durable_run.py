"""A run whose job has a folder: metadata, lease, checkpoints, and going on from the last one."""

from __future__ import annotations

import os
import platform
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

from millstream.api.job import Job
from millstream.control.checkpoint_journal import Ownership, StoredJournal
from millstream.control.folder_lock import FolderLock
from millstream.control.job_control import JobControl, JobFacts
from millstream.control.job_file import refuse_while_loading
from millstream.control.job_folder import job_folder
from millstream.control.job_socket import JobSocket
from millstream.control.job_state import check_move
from millstream.control.lease_keeper import LEASE_S, LeaseKeeper
from millstream.control.planning import plan
from millstream.control.restore_point import (
    RestorePoint,
    find_savepoint,
    forked_from,
    open_restore_point,
    restore_point_of,
)
from millstream.core.errors import ConfigError
from millstream.core.job_graph import JobGraph
from millstream.core.job_result import JobResult
from millstream.core.job_status import JobStatus
from millstream.core.log import warning
from millstream.core.ports import (
    NO_FAULTS,
    Clock,
    FaultPoints,
    Spawner,
    SystemClock,
    ThreadSpawner,
)
from millstream.core.wording import said
from millstream.engine.checkpoint.dry_restore import DryRestore
from millstream.engine.checkpoint.journal import Checkpointing
from millstream.operators.program import Program
from millstream.runners.embedded import EmbeddedRunner, Execution
from millstream.storage.checkpoints.local import LocalCheckpointStorage
from millstream.storage.checkpoints.names import safe_name
from millstream.storage.metadata.errors import (
    LeaseHeldError,
    MetadataConflictError,
    MetadataUnavailableError,
)
from millstream.storage.metadata.records import (
    CheckpointStatus,
    ExecutionRecord,
    JobDefinition,
    JobRecord,
    Lease,
    RecordCounts,
)
from millstream.storage.metadata.store import MetadataStore, open_metadata


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How ``millstream run`` was called.

    Attributes:
        folder: the job's; None: ``.millstream/<job>``.
        resume: True: go on from the last checkpoint; False: begin anew; None: go on if the last
            execution did not end COMPLETED and there is a checkpoint of it.
        from_savepoint: its number or its folder: go on from it, whatever was last.
        faults: where a test makes the run fail.
    """

    folder: str | Path | None = None
    resume: bool | None = None
    from_savepoint: str | Path | None = None
    faults: FaultPoints = NO_FAULTS

    def __post_init__(self) -> None:
        if self.from_savepoint is not None and self.resume is not None:
            raise ConfigError(
                "--from-savepoint says what to go on from, and so do --resume and --fresh: "
                "choose one"
            )


class DurableExecution:
    """A job that is ready to run, under its lease. Call ``wait``, or ``close`` to give it back."""

    def __init__(
        self, execution: Execution, record: _Record, keeper: LeaseKeeper, folder: Path
    ) -> None:
        self._execution = execution
        self._record = record
        self._keeper = keeper
        self._folder = folder
        self._control = JobControl(execution, JobFacts(record.job, record.id, self.begins))
        self._socket: JobSocket | None = None
        self._spawner: Spawner = ThreadSpawner()
        self._closed = False

    @property
    def resumed_from(self) -> int | None:
        """Return the checkpoint or savepoint that the run goes on from."""
        return None if self._record.begins is None else self._record.begins.checkpoint_id

    @property
    def begins(self) -> str | None:
        """Return what the run goes on from, in words; None: it begins anew."""
        return None if self._record.begins is None else str(self._record.begins)

    @property
    def started(self) -> bool:
        """Return whether the job has been started."""
        return self._execution.started

    @property
    def ended(self) -> bool:
        """Return whether the job has ended, and every thread of it."""
        return self._execution.ended

    def start(self) -> None:
        """Start the job; without it, ``wait`` does."""
        self._begin()
        self._execution.start()

    def _begin(self) -> None:
        self._record.move(JobStatus.RUNNING, "started")
        self._keeper.start(self._spawner)
        try:
            self._socket = JobSocket(self._folder, self._control.handle)
        except OSError as error:
            warning("control.unavailable", folder=str(self._folder), error=said(error))
        else:
            self._socket.start(self._spawner)

    def cancel(self) -> None:
        """Ask the job to end. From any thread."""
        self._execution.cancel()

    def result(self) -> JobResult:
        """Return how the job ended."""
        return self._execution.result()

    def wait(self) -> JobResult:
        """Wait for the end; start the job, if nobody has. See ``Execution.wait``."""
        try:
            if not self.started:
                self._begin()
            result = self._execution.wait()  # starts it, in the care of its signal handlers
        except KeyboardInterrupt:
            if self.ended:
                self._record.end(self.result())
            else:
                self._record.fail("interrupted a second time, and left at once")
            raise
        except BaseException as error:
            self._record.fail(said(error))
            raise
        else:
            self._record.end(result)
            return result
        finally:
            self.close()

    def close(self) -> None:
        """Give the job back, if that has not been done."""
        if not self._closed:
            self._closed = True
            with ExitStack() as last:  # in the reverse order, whatever one of them raises
                if self._socket is not None:
                    last.callback(self._socket.hang_up)  # when the folder is free
                last.callback(self._record.close)
                last.callback(self._keeper.stop)
                if self._socket is not None:
                    last.callback(self._socket.close, self._last_words)

    def _last_words(self) -> None:
        self._control.end(self.result() if self.started and self.ended else None)


class _Record:
    """What is written down of one execution.

    Attributes:
        job: its name.
        id: the execution's.
        status: where it stands.
        begins: what it goes on from.
    """

    def __init__(self, store: MetadataStore, lease: Lease, job: str, execution_id: str) -> None:
        self.job = job
        self.status = JobStatus.CREATED
        self.begins: RestorePoint | None = None
        self.stack = ExitStack()
        self._store = store
        self._lease = lease
        self.id = execution_id

    def move(self, status: JobStatus, reason: str) -> None:
        """Move the execution on."""
        check_move(self.status, status)
        self._store.executions.move(self.id, self.status, status, reason=reason)
        self.status = status

    def end(self, result: JobResult) -> None:
        """Write down how it ended, and what it handled, as far as that is still ours to do."""
        try:
            self._end(result)
        except (MetadataConflictError, MetadataUnavailableError) as error:
            self._tell_unnoted(error)

    def _end(self, result: JobResult) -> None:
        read = sum(each.records_in for each in result.account.operators if each.id in self.sources)
        throughput = read / result.duration_s if result.duration_s > 0 else None
        self._store.executions.record_counts(self.id, RecordCounts(read, 0, throughput))
        if result.status is JobStatus.CANCELLED:
            how = f"savepoint {result.savepoint}" if result.savepoint else "without a savepoint"
            self.move(JobStatus.CANCELLING, f"asked to, {how}")
        error = "" if result.error is None else said(result.error)
        self.move(result.status, error or f"after {result.duration_s:.2f} s")

    def fail(self, reason: str) -> None:
        """Write down that it failed, as far as that is still ours to do."""
        try:
            self.move(JobStatus.FAILED, reason)
        except (MetadataConflictError, MetadataUnavailableError) as error:
            self._tell_unnoted(error)

    def _tell_unnoted(self, error: Exception) -> None:
        """Say that the end is not written down: the next run finds the execution cut off."""
        warning("execution.end_not_noted", execution_id=self.id, error=said(error))

    def close(self) -> None:
        """Give the job back."""
        self.stack.close()

    sources: frozenset[str] = frozenset()


def prepare_durable(job: Job, options: RunOptions) -> DurableExecution:
    """Return a job that is ready to run in its folder, restored if it goes on from a checkpoint.

    Raises:
        ConfigError: it cannot run, or another process runs it; nothing was started.
        CheckpointDamagedError: what it would go on from is not what was written.
    """
    refuse_while_loading()
    graph = plan(job)
    folder = job_folder(job.name, options.folder)
    folder.mkdir(parents=True, exist_ok=True)
    clock: Clock = SystemClock()
    with ExitStack() as stack:
        lock = FolderLock(folder, job.name)
        stack.callback(lock.release)
        store = stack.enter_context(open_metadata(folder / "metadata.db"))
        known = store.jobs.get(job.name) or store.jobs.define(_definition(graph))
        begins = None
        if options.from_savepoint is not None:
            begins = find_savepoint(store, job.name, str(options.from_savepoint))
        lease = _acquire(store, known, lock, clock, begins.epoch if begins else 0)
        stack.callback(store.leases.release, lease)
        known = store.jobs.define(_definition(graph))
        _clean_up(store, known, lease)
        root = folder if job.checkpoints.folder is None else Path(job.checkpoints.folder)
        savepoints = (folder / "savepoints").absolute()
        storage = LocalCheckpointStorage(root / "checkpoints", job.name, savepoints=savepoints)
        storage.remove_orphans(below=lease.last_checkpoint_id + 1)
        begins = begins or _to_resume(store, known, options.resume)
        execution_id = f"job-{known.id}-run-{lease.epoch}"
        how = "anew" if begins is None else str(begins)
        store.executions.create(known, execution_id, reason=f"begins {how}")
        record = _Record(store, lease, job.name, execution_id)
        record.sources = frozenset(
            spec.id for spec in graph.operators() if spec.kind.value == "source"
        )
        record.move(JobStatus.SCHEDULED, "millstream run")
        record.move(JobStatus.INITIALIZING, "millstream run")
        try:
            restored = None
            if begins is not None:
                record.begins = begins
                record.move(JobStatus.RESTORING, how)
                restored = open_restore_point(storage, job.name, begins)
            path = (root / "checkpoints" / safe_name(job.name)).absolute().as_posix()
            retention = job.checkpoints.retention
            owner = Ownership(graph, execution_id, lease, path, str(savepoints), retention)
            journal = StoredJournal(store, storage, owner, clock, options.faults)
            checkpointing = Checkpointing(job.checkpoints, journal, restored, options.faults)
            program = Program(graph, job.stream_graph.definitions())
            journal.dry_restore = DryRestore(program, job.engine, clock)
            execution = EmbeddedRunner(clock).prepare(program, job.engine, checkpointing)
        except BaseException as error:
            record.fail(said(error))
            raise
        keeper = LeaseKeeper(store.leases, lease, clock, execution.fail)
        record.stack = stack.pop_all()
    return DurableExecution(execution, record, keeper, folder.absolute())


def _definition(graph: JobGraph) -> JobDefinition:
    return JobDefinition(
        name=graph.job,
        type=graph.mode,
        dag_definition=graph.to_dict(),
        fingerprint=graph.fingerprint,
        state_fingerprint=graph.state_fingerprint,
        code_fingerprint=graph.code_fingerprint,
    )


def _acquire(
    store: MetadataStore, job: JobRecord, lock: FolderLock, clock: Clock, above_epoch: int
) -> Lease:
    """Take the job's lease, also from a process that died with it."""
    host = platform.node()
    owner = f"{host}/{os.getpid()}/{clock.now_ms()}"
    acquire = partial(
        store.leases.acquire, job.id, owner, duration_s=LEASE_S, above_epoch=above_epoch
    )
    try:
        return acquire()
    except LeaseHeldError:
        held = store.leases.current(job.id)
        # Whoever works in this folder holds its lock, so a former holder on this machine is dead.
        if held is None or not lock.exclusive or not held.owner.startswith(f"{host}/"):
            raise
        store.leases.release(held)
        return acquire()


def _clean_up(store: MetadataStore, job: JobRecord, lease: Lease) -> None:
    """Write down the end of what died without a word."""
    reason = "the process that ran it ended without a word"
    store.checkpoints.abandon(lease, reason)
    for each in store.executions.unfinished(job.id):
        store.executions.move(each.execution_id, each.status, JobStatus.FAILED, reason=reason)


def _to_resume(store: MetadataStore, job: JobRecord, resume: bool | None) -> RestorePoint | None:
    """Return the checkpoint, or the savepoint of a stop, to go on from; None: begin anew.

    Raises:
        ConfigError: the user wants to go on, and there is nothing to go on from.
    """
    if resume is False:
        return None
    # One that never ran has changed nothing, whatever it was to begin from.
    ran = (each for each in store.executions.of_job(job.id, limit=1000) if _ran(store, each))
    last = next(ran, None)
    if last is not None and last.status is JobStatus.COMPLETED:
        if resume:
            raise ConfigError(
                f"job {job.definition.name!r}: its last execution ended COMPLETED, so there is "
                "nothing to resume; run it without --resume to begin anew"
            )
        return None
    rows = [
        row
        for row in store.checkpoints.of_job(job.id, status=CheckpointStatus.SUCCESS)
        if row.stop or not row.savepoint  # other savepoints are the user's alone
    ]
    for execution in chain([last] if last else [], ran):
        own = [row for row in rows if row.execution_id == execution.execution_id]
        if own:
            return restore_point_of(own[0])
        moves = store.executions.history(execution.execution_id)
        fork = forked_from(moves[0].reason)
        if fork is not None:
            return fork
        if not any(move.to_status is JobStatus.RESTORING for move in moves):
            break  # it began anew, so what older ones have left does not count any more
    if resume:
        raise ConfigError(
            f"job {job.definition.name!r} has no checkpoint to resume from; run it without --resume"
        )
    return None


def _ran(store: MetadataStore, execution: ExecutionRecord) -> bool:
    moves = store.executions.history(execution.execution_id)
    return any(move.to_status is JobStatus.RUNNING for move in moves)
