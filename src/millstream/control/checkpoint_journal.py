"""Keeps a job's checkpoints: the files in its checkpoint storage, the rows in its metadata."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any  # handles are of the sinks' own types

import msgspec

from millstream.core.errors import MillstreamError
from millstream.core.job_graph import JobGraph
from millstream.core.ports import Clock, FaultPoints
from millstream.core.wording import said
from millstream.engine.checkpoint.dry_restore import DryRestore
from millstream.engine.checkpoint.journal import Made, Purpose, Summary
from millstream.storage.checkpoints.base import (
    CheckpointKind,
    CheckpointMetadata,
    CheckpointStorage,
    CompletedCheckpoint,
    PendingCheckpoint,
)
from millstream.storage.metadata.errors import MetadataUnavailableError
from millstream.storage.metadata.records import (
    CheckpointResult,
    CheckpointStatus,
    Lease,
    NewCheckpoint,
)
from millstream.storage.metadata.store import MetadataStore

_ATTEMPTS = 5  # to write the row of a checkpoint whose files are durable
_PAUSE_S = 0.5


class NotRestorableError(MillstreamError):
    """What was written could not be restored, so the run does not end with it."""


@dataclass(frozen=True, slots=True)
class Ownership:
    """Whose checkpoints they are.

    Attributes:
        graph: the job's.
        execution_id: which execution makes them.
        lease: what it is allowed by.
        root: where the storage is, for people.
        savepoints: the folder of savepoints that nobody wants elsewhere.
        retention: how many are kept.
    """

    graph: JobGraph
    execution_id: str
    lease: Lease
    root: str
    savepoints: str
    retention: int


class StoredJournal:
    """Implements the engine's ``Journal``; called on the writer's thread.

    Attributes:
        dry_restore: reads back what the run is to stop with.
        ending: returns whether the run is to end early: then nothing is tried again.
    """

    def __init__(
        self,
        store: MetadataStore,
        storage: CheckpointStorage,
        owner: Ownership,
        clock: Clock,
        faults: FaultPoints,
    ) -> None:
        self.dry_restore: DryRestore
        self.ending: Callable[[], bool] = lambda: False
        self._store = store
        self._storage = storage
        self._owner = owner
        self._clock = clock
        self._faults = faults

    @property
    def epoch(self) -> int:
        """Return the lease's epoch."""
        return self._owner.lease.epoch

    @property
    def first_id(self) -> int:
        """Return the number of the next checkpoint of the job."""
        return self._owner.lease.last_checkpoint_id + 1

    def begin(self, checkpoint_id: int, purpose: Purpose) -> PendingCheckpoint:
        """Begin a checkpoint: its row, then its folder."""
        owner, graph = self._owner, self._owner.graph
        new = NewCheckpoint(owner.execution_id, checkpoint_id, graph.mode, purpose.savepoint)
        self._faults.reach("begin")
        self._store.checkpoints.begin(owner.lease, new)
        try:
            return self._begin_files(checkpoint_id, purpose)
        except Exception as error:
            self.fail(checkpoint_id, said(error))
            raise

    def _begin_files(self, checkpoint_id: int, purpose: Purpose) -> PendingCheckpoint:
        self._faults.reach("begun")
        owner, graph = self._owner, self._owner.graph
        kind = CheckpointKind.FINAL if purpose.final else CheckpointKind.CHECKPOINT
        return self._storage.begin(
            CheckpointMetadata(
                checkpoint_id=checkpoint_id,
                kind=CheckpointKind.SAVEPOINT if purpose.savepoint else kind,
                job=graph.job,
                execution_id=owner.execution_id,
                lease_epoch=owner.lease.epoch,
                created_ms=self._clock.now_ms(),
                structure_fingerprint=graph.fingerprint,
                state_fingerprint=graph.state_fingerprint,
                code_fingerprint=graph.code_fingerprint,
            ),
            suffix=graph.job if purpose.folder else "",  # jobs may share that folder
            folder=purpose.folder or owner.savepoints,
        )

    def complete(self, checkpoint_id: int, pending: PendingCheckpoint, summary: Summary) -> Made:
        """Make it exist: first the files, durably, then the row.

        Raises:
            NotRestorableError: it is to be stopped with, and cannot be restored.
        """
        positions = {uid: {uid: text} for uid, text in summary.positions.items()}
        self._faults.reach("complete")
        completed = pending.complete(positions)
        self._faults.reach("durable")
        if summary.purpose.stop:
            self._verify(completed)
            self._faults.reach("verified")
        size_bytes = sum(each.size_bytes for each in completed.metadata.files.values())
        path = completed.location
        if not summary.purpose.savepoint:
            path = f"{self._owner.root}/{path}"
        result = CheckpointResult(
            storage_path=path,
            storage_size_bytes=size_bytes,
            duration_ms=summary.duration_ms,
            source_state=dict(summary.positions),
            operator_state={uid: {"entries": n} for uid, n in summary.entries.items()},
            sink_state={uid: _named(part) for uid, part in summary.sinks.items()},
            stop=summary.purpose.stop,
        )
        self._write_row(checkpoint_id, result)
        self._faults.reach("row")
        return Made(checkpoint_id, path, size_bytes, summary.duration_ms)

    def _verify(self, completed: CompletedCheckpoint) -> None:
        """Restore it aside; where that fails, remove it, as there is nothing to do with it."""
        try:
            self.dry_restore.check(self._storage.open(completed.location))
        except Exception as error:
            self._storage.delete(completed.location)
            raise NotRestorableError(
                f"savepoint {completed.metadata.checkpoint_id} of job {completed.metadata.job!r} "
                f"cannot be restored, so the job does not stop with it and goes on: {said(error)}"
            ) from error

    def fail(self, checkpoint_id: int, reason: str) -> None:
        """Note that it was given up."""
        self._store.checkpoints.fail(self._owner.lease, checkpoint_id, reason)

    def retain(self) -> None:
        """Remove what is too old: rows first, as a row without its files is a failed recovery."""
        job_id = self._owner.lease.job_id
        rows = self._store.checkpoints.of_job(job_id, status=CheckpointStatus.SUCCESS)
        ids = [row.checkpoint_id for row in rows if not row.savepoint]
        kept, old = ids[: self._owner.retention], ids[self._owner.retention :]
        if old:
            self._faults.reach("retain")
            self._store.checkpoints.delete(self._owner.lease, old)
            self._faults.reach("retained")
        for each in self._storage.checkpoints():
            number = each.metadata.checkpoint_id
            if number not in kept and kept and number < kept[0]:
                self._storage.delete(each.location)

    def _write_row(self, checkpoint_id: int, result: CheckpointResult) -> None:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                self._store.checkpoints.complete(self._owner.lease, checkpoint_id, result)
            except MetadataUnavailableError:
                # Each may take as long as the store waits for a lock: a cancel waits for one.
                if attempt == _ATTEMPTS or self.ending():
                    raise
                time.sleep(_PAUSE_S)
            else:
                return


def _named(part: Mapping[str, Any]) -> Any:
    """Return what a sink has in the snapshot, as JSON."""
    return msgspec.to_builtins(part)
