"""A run whose job has a folder: metadata, lease, checkpoints, and going on from the last one."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from millstream.api.job import Job
from millstream.control.checkpoint_journal import Ownership, StoredJournal
from millstream.control.execution_record import ExecutionRecord
from millstream.control.folder_lock import FolderLock
from millstream.control.job_control import JobControl, JobFacts
from millstream.control.job_file import refuse_while_loading
from millstream.control.job_folder import job_folder
from millstream.control.job_socket import JobSocket
from millstream.control.lease_keeper import LEASE_S, LeaseKeeper
from millstream.control.planning import plan
from millstream.control.restore_point import (
    RestorePoint,
    find_savepoint,
    fork_reason,
    open_restore_point,
)
from millstream.control.resuming import restored_from, to_resume
from millstream.control.run_options import RunOptions
from millstream.core.job_graph import JobGraph
from millstream.core.job_result import JobResult
from millstream.core.job_status import JobStatus
from millstream.core.log import warning
from millstream.core.ports import (
    Clock,
    Spawner,
    SystemClock,
    ThreadSpawner,
)
from millstream.core.wording import said
from millstream.engine.checkpoint.dry_restore import DryRestore
from millstream.engine.checkpoint.journal import Checkpointing
from millstream.operators.program import Program
from millstream.runners.embedded import EmbeddedRunner, Execution
from millstream.storage.checkpoints.base import StoredCheckpoint
from millstream.storage.checkpoints.local import LocalCheckpointStorage
from millstream.storage.checkpoints.names import safe_name
from millstream.storage.metadata.errors import (
    LeaseHeldError,
)
from millstream.storage.metadata.records import (
    JobDefinition,
    JobRecord,
    Lease,
)
from millstream.storage.metadata.store import MetadataStore, open_metadata


class DurableExecution:
    """A job that is ready to run, under its lease. Call ``wait``, or ``close`` to give it back."""

    def __init__(self, execution: Execution, record: ExecutionRecord, folder: Path) -> None:
        self._execution = execution
        self._record = record
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
        self._record.move(JobStatus.RUNNING, f"begins {self.begins or 'anew'}")
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
                if self._socket is not None:
                    last.callback(self._socket.close, self._last_words)

    def _last_words(self) -> None:
        self._control.end(self.result() if self.started and self.ended else None)


@dataclass(frozen=True, slots=True)
class _Paths:
    """Where what is kept of a job is.

    Attributes:
        folder: the job's own.
        checkpoints: the folder that has one for each job.
    """

    folder: Path
    checkpoints: Path

    @classmethod
    def of(cls, job: Job, folder: str | Path | None) -> _Paths:
        own = job_folder(job.name, folder)
        root = own if job.checkpoints.folder is None else Path(job.checkpoints.folder)
        return cls(own, root / "checkpoints")

    @property
    def savepoints(self) -> Path:
        return (self.folder / "savepoints").absolute()


def prepare_durable(job: Job, options: RunOptions) -> DurableExecution:
    """Return a job that is ready to run in its folder, restored if it goes on from a checkpoint.

    Raises:
        ConfigError: it cannot run, or another process runs it; nothing was started.
        CheckpointDamagedError: what it would go on from is not what was written.
        LeaseLostError: somebody has taken the job while it was prepared.
    """
    refuse_while_loading()
    graph = plan(job)
    paths = _Paths.of(job, options.folder)
    clock: Clock = SystemClock()
    with ExitStack() as stack:
        lock = FolderLock(paths.folder, job.name)
        stack.callback(lock.release)
        store = stack.enter_context(open_metadata(paths.folder / "metadata.db"))
        known = store.jobs.get(job.name) or store.jobs.define(_definition(graph))
        savepoint = None
        if options.from_savepoint is not None:
            savepoint = find_savepoint(store, job.name, str(options.from_savepoint))
        since_ns = clock.monotonic_ns()
        lease = _acquire(store, known, lock, clock, savepoint.epoch if savepoint else 0)
        stack.callback(store.leases.release, lease)
        keeper = stack.enter_context(_kept(LeaseKeeper(store.leases, lease, clock, since_ns)))
        options.faults.reach("leased")
        known = store.jobs.define(_definition(graph))
        _clean_up(store, known, lease)
        options.faults.reach("cleaned_up")
        storage = LocalCheckpointStorage(paths.checkpoints, job.name, savepoints=paths.savepoints)
        storage.remove_orphans(below=lease.last_checkpoint_id + 1)
        candidates = [savepoint] if savepoint else to_resume(store, known, options.resume)
        execution_id = f"job-{known.id}-run-{lease.epoch}"
        store.executions.create(known, execution_id, reason=_why(candidates, savepoint))
        options.faults.reach("created")
        record = ExecutionRecord(store, graph, execution_id, options.faults)
        record.move(JobStatus.SCHEDULED, "millstream run")
        record.move(JobStatus.INITIALIZING, "millstream run")
        kept = (paths.checkpoints / safe_name(job.name)).absolute().as_posix()
        retention = job.checkpoints.retention
        owner = Ownership(graph, execution_id, lease, kept, str(paths.savepoints), retention)
        journal = StoredJournal(store, storage, owner, clock, options.faults)
        program = Program(graph, job.stream_graph.definitions())
        journal.dry_restore = DryRestore(program, job.engine, clock)
        try:
            if candidates:
                record.move(JobStatus.RESTORING, f"{candidates[0]}, if it is whole")
                options.faults.reach("restoring")
            record.begins, execution = _restored(
                partial(EmbeddedRunner(clock).prepare, program, job.engine),
                Checkpointing(job.checkpoints, journal, faults=options.faults),
                partial(open_restore_point, storage, job.name),
                candidates,
                options,
            )
            options.faults.reach("prepared")
            journal.ending = lambda: execution.ending
            keeper.end_when_lost(execution.fail)
        except BaseException as error:
            record.fail(said(error))
            raise
        record.stack = stack.pop_all()
    return DurableExecution(execution, record, paths.folder.absolute())


def _restored(
    prepare: Callable[[Checkpointing], Execution],
    checkpointing: Checkpointing,
    open_point: Callable[[RestorePoint], StoredCheckpoint],
    candidates: Sequence[RestorePoint],
    options: RunOptions,
) -> tuple[RestorePoint | None, Execution]:
    """Return the execution, and what it was restored from, if there is anything."""

    def prepare_from(point: RestorePoint) -> Execution:
        return prepare(replace(checkpointing, restored=open_point(point)))

    if candidates:
        return restored_from(candidates, prepare_from, options.skip_damaged)
    return None, prepare(checkpointing)


def _why(candidates: Sequence[RestorePoint], savepoint: RestorePoint | None) -> str:
    """Return what is written down of an execution before it is known what it can go on from."""
    if savepoint is not None:
        return fork_reason(savepoint)
    return "goes on from what is left" if candidates else "begins anew"


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


@contextmanager
def _kept(keeper: LeaseKeeper) -> Iterator[LeaseKeeper]:
    """Have a lease renewed within the block."""
    keeper.start(ThreadSpawner())
    try:
        yield keeper
    finally:
        keeper.stop()


def _clean_up(store: MetadataStore, job: JobRecord, lease: Lease) -> None:
    """Write down the end of what died without a word."""
    reason = "the process that ran it ended without a word"
    store.checkpoints.abandon(lease, reason)
    for each in store.executions.unfinished(job.id):
        store.executions.move(each.execution_id, each.status, JobStatus.FAILED, reason=reason)
