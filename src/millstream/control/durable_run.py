"""A run whose job has a folder: metadata, lease, checkpoints, and going on from the last one."""

from __future__ import annotations

import os
import platform
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from millstream.api.job import Job
from millstream.control.checkpoint_journal import Ownership, StoredJournal
from millstream.control.folder_lock import FolderLock
from millstream.control.job_file import refuse_while_loading
from millstream.control.job_folder import job_folder
from millstream.control.job_state import check_move
from millstream.control.lease_keeper import LEASE_S, LeaseKeeper
from millstream.control.planning import plan
from millstream.control.resuming import restored_from, to_resume
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
from millstream.engine.checkpoint.journal import Checkpointing
from millstream.operators.program import Program
from millstream.runners.embedded import EmbeddedRunner, Execution
from millstream.storage.checkpoints.base import StoredCheckpoint
from millstream.storage.checkpoints.local import LocalCheckpointStorage
from millstream.storage.checkpoints.names import safe_name
from millstream.storage.metadata.errors import (
    LeaseHeldError,
    MetadataConflictError,
    MetadataUnavailableError,
)
from millstream.storage.metadata.records import (
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
        skip_damaged: go on from an older checkpoint where the last one is damaged.
        faults: where a test makes the run fail.
    """

    folder: str | Path | None = None
    resume: bool | None = None
    skip_damaged: bool = False
    faults: FaultPoints = NO_FAULTS


class DurableExecution:
    """A job that is ready to run, under its lease. Call ``wait``, or ``close`` to give it back."""

    def __init__(self, execution: Execution, record: _Record, keeper: LeaseKeeper) -> None:
        self._execution = execution
        self._record = record
        self._keeper = keeper
        self._spawner: Spawner = ThreadSpawner()
        self._closed = False

    @property
    def resumed_from(self) -> int | None:
        """Return the checkpoint that the run goes on from."""
        return self._record.resumed_from

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
            self._keeper.stop()
            self._record.close()


class _Record:
    """What is written down of one execution.

    Attributes:
        status: where it stands.
    """

    def __init__(self, store: MetadataStore, lease: Lease, execution_id: str) -> None:
        self.status = JobStatus.CREATED
        self.resumed_from: int | None = None
        self.faults: FaultPoints = NO_FAULTS
        self.stack = ExitStack()
        self._store = store
        self._lease = lease
        self._id = execution_id

    def move(self, status: JobStatus, reason: str) -> None:
        """Move the execution on."""
        check_move(self.status, status)
        self._store.executions.move(self._id, self.status, status, reason=reason)
        self.status = status

    def end(self, result: JobResult) -> None:
        """Write down how it ended, and what it handled, as far as that is still ours to do."""
        self.faults.reach("ended")
        try:
            self._end(result)
        except (MetadataConflictError, MetadataUnavailableError) as error:
            self._tell_unnoted(error)

    def _end(self, result: JobResult) -> None:
        read = sum(each.records_in for each in result.account.operators if each.id in self.sources)
        throughput = read / result.duration_s if result.duration_s > 0 else None
        self._store.executions.record_counts(self._id, RecordCounts(read, 0, throughput))
        if result.status is JobStatus.CANCELLED:
            self.move(JobStatus.CANCELLING, "asked to")
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
        warning("execution.end_not_noted", execution_id=self._id, error=said(error))

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
        lease = _acquire(store, known, lock, clock)
        stack.callback(store.leases.release, lease)
        options.faults.reach("leased")
        known = store.jobs.define(_definition(graph))
        _clean_up(store, known, lease)
        options.faults.reach("cleaned_up")
        root = folder if job.checkpoints.folder is None else Path(job.checkpoints.folder)
        storage = LocalCheckpointStorage(root / "checkpoints", job.name)
        storage.remove_orphans(below=lease.last_checkpoint_id + 1)
        candidates = to_resume(store, known, options.resume)
        execution_id = f"job-{known.id}-run-{lease.epoch}"
        how = f"from checkpoint {candidates[0].checkpoint_id}" if candidates else "anew"
        store.executions.create(known, execution_id, reason=f"begins {how}")
        options.faults.reach("created")
        record = _Record(store, lease, execution_id)
        record.faults = options.faults
        record.sources = frozenset(
            spec.id for spec in graph.operators() if spec.kind.value == "source"
        )
        record.move(JobStatus.SCHEDULED, "millstream run")
        record.move(JobStatus.INITIALIZING, "millstream run")
        try:
            if candidates:
                record.move(JobStatus.RESTORING, how)
                options.faults.reach("restoring")
            path = (root / "checkpoints" / safe_name(job.name)).absolute().as_posix()
            owner = Ownership(graph, execution_id, lease, path, job.checkpoints.retention)
            journal = StoredJournal(store, storage, owner, clock, options.faults)
            checkpointing = Checkpointing(job.checkpoints, journal, faults=options.faults)

            def prepare(restored: StoredCheckpoint | None) -> Execution:
                return EmbeddedRunner(clock).prepare(
                    Program(graph, job.stream_graph.definitions()),
                    job.engine,
                    replace(checkpointing, restored=restored),
                )

            if candidates:
                chosen = restored_from(candidates, storage, prepare, options.skip_damaged)
                record.resumed_from, execution = chosen
            else:
                execution = prepare(None)
            options.faults.reach("prepared")
        except BaseException as error:
            record.fail(said(error))
            raise
        keeper = LeaseKeeper(store.leases, lease, clock, execution.fail)
        record.stack = stack.pop_all()
    return DurableExecution(execution, record, keeper)


def _definition(graph: JobGraph) -> JobDefinition:
    return JobDefinition(
        name=graph.job,
        type=graph.mode,
        dag_definition=graph.to_dict(),
        fingerprint=graph.fingerprint,
        state_fingerprint=graph.state_fingerprint,
        code_fingerprint=graph.code_fingerprint,
    )


def _acquire(store: MetadataStore, job: JobRecord, lock: FolderLock, clock: Clock) -> Lease:
    """Take the job's lease, also from a process that died with it."""
    host = platform.node()
    owner = f"{host}/{os.getpid()}/{clock.now_ms()}"
    try:
        return store.leases.acquire(job.id, owner, duration_s=LEASE_S)
    except LeaseHeldError:
        held = store.leases.current(job.id)
        # Whoever works in this folder holds its lock, so a former holder on this machine is dead.
        if held is None or not lock.exclusive or not held.owner.startswith(f"{host}/"):
            raise
        store.leases.release(held)
        return store.leases.acquire(job.id, owner, duration_s=LEASE_S)


def _clean_up(store: MetadataStore, job: JobRecord, lease: Lease) -> None:
    """Write down the end of what died without a word."""
    reason = "the process that ran it ended without a word"
    store.checkpoints.abandon(lease, reason)
    for each in store.executions.unfinished(job.id):
        store.executions.move(each.execution_id, each.status, JobStatus.FAILED, reason=reason)
