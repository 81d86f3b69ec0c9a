"""The checkpoints of jobs. Every write is under the lease, in one transaction with its check."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, delete, insert, select, update

from millstream.core.errors import InternalError
from millstream.core.job_graph import JobMode
from millstream.core.job_status import JobStatus
from millstream.storage.metadata.column_types import utc_now
from millstream.storage.metadata.database import Database
from millstream.storage.metadata.errors import MetadataConflictError
from millstream.storage.metadata.leases import fence
from millstream.storage.metadata.records import (
    CheckpointRecord,
    CheckpointResult,
    CheckpointStatus,
    Lease,
    NewCheckpoint,
)
from millstream.storage.metadata.tables import CHECKPOINT, EXECUTION, LEASE
from millstream.storage.metadata.values import fitting, storable, storable_text


class Checkpoints:
    """Reads and writes ``pipeline_checkpoint``.

    Every method that takes a lease raises ``LeaseLostError`` when it is not held any more, and has
    then changed nothing.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    # -- one checkpoint -------------------------------------------------------------------------

    def begin(self, lease: Lease, checkpoint: NewCheckpoint) -> None:
        """Store a checkpoint that is IN_PROGRESS; its execution, if RUNNING, is CHECKPOINTING.

        Raises:
            InternalError: its id is not larger than all before it of this job.
        """
        with self._database.write() as connection:
            fence(connection, lease)
            grown = connection.execute(
                update(LEASE)
                .where(
                    LEASE.c.job_id == lease.job_id,
                    LEASE.c.last_checkpoint_id < checkpoint.checkpoint_id,
                )
                .values(last_checkpoint_id=checkpoint.checkpoint_id)
            )
            if not grown.rowcount:
                raise InternalError(
                    f"checkpoint {checkpoint.checkpoint_id} of execution "
                    f"{checkpoint.execution_id!r} comes after one with the same or a larger id"
                )
            connection.execute(
                insert(CHECKPOINT).values(
                    execution_id=checkpoint.execution_id,
                    checkpoint_id=checkpoint.checkpoint_id,
                    checkpoint_type=checkpoint.type.value,
                    status=CheckpointStatus.IN_PROGRESS.value,
                    state_data={},
                    is_savepoint=checkpoint.savepoint,
                    epoch=lease.epoch,
                    create_time=utc_now(),
                )
            )
            _show(connection, lease, JobStatus.RUNNING, JobStatus.CHECKPOINTING)

    def complete(self, lease: Lease, checkpoint_id: int, result: CheckpointResult) -> None:
        """Make a checkpoint exist: SUCCESS. What its sinks prepared may be committed after this.

        May be called again after an error that left open whether it took effect.

        Raises:
            MetadataConflictError: it is not IN_PROGRESS.
            ConfigError: the path is too long.
        """
        path = fitting(CHECKPOINT.c.storage_path, result.storage_path)
        with self._database.write() as connection:
            now = fence(connection, lease)
            state_data = {
                "checkpoint_id": checkpoint_id,
                "timestamp": now.isoformat(timespec="milliseconds").removesuffix("+00:00"),
                "source_state": storable(result.source_state),
                "operator_state": storable(result.operator_state),
                "sink_state": storable(result.sink_state),
            }
            if result.stop:
                state_data["stop"] = True
            changed = connection.execute(
                update(CHECKPOINT)
                .where(_in_progress(lease.job_id), CHECKPOINT.c.checkpoint_id == checkpoint_id)
                .values(
                    status=CheckpointStatus.SUCCESS.value,
                    state_data=state_data,
                    storage_path=path,
                    storage_size_bytes=result.storage_size_bytes,
                    duration_ms=result.duration_ms,
                    complete_time=now,
                )
            )
            _show(connection, lease, JobStatus.CHECKPOINTING, JobStatus.RUNNING)
            if not changed.rowcount:
                row = connection.execute(_query(lease.job_id, checkpoint_id)).one_or_none()
                done = row and row.status == CheckpointStatus.SUCCESS and row.storage_path == path
                if not done:
                    raise _conflict(checkpoint_id, row)

    def fail(self, lease: Lease, checkpoint_id: int, reason: str) -> None:
        """Give a checkpoint up: FAILED.

        Raises:
            MetadataConflictError: it is not IN_PROGRESS.
        """
        if not self._fail(lease, reason, CHECKPOINT.c.checkpoint_id == checkpoint_id):
            raise _conflict(checkpoint_id, self._row(lease.job_id, checkpoint_id))

    def abandon(self, lease: Lease, reason: str) -> int:
        """Give up whatever is IN_PROGRESS for the job, and return how many that were.

        Called by whoever has just acquired the job: nobody else will complete them.
        """
        return self._fail(lease, reason)

    def get(self, job_id: int, checkpoint_id: int) -> CheckpointRecord | None:
        """Return one checkpoint of a job."""
        row = self._row(job_id, checkpoint_id)
        return None if row is None else _checkpoint(row)

    # -- all of a job ---------------------------------------------------------------------------

    def newest(self, job_id: int, *, savepoints: bool = False) -> CheckpointRecord | None:
        """Return the last checkpoint of a job that succeeded, whichever execution made it.

        Args:
            job_id: which job.
            savepoints: whether one of the user's counts too.
        """
        query = _query(job_id).where(CHECKPOINT.c.status == CheckpointStatus.SUCCESS)
        if not savepoints:
            query = query.where(CHECKPOINT.c.is_savepoint.is_(False))
        with self._database.read() as connection:
            row = connection.execute(query.limit(1)).one_or_none()
        return None if row is None else _checkpoint(row)

    def of_job(
        self, job_id: int, *, status: CheckpointStatus | None = None, limit: int = 1000
    ) -> list[CheckpointRecord]:
        """Return the checkpoints and savepoints of a job, newest first."""
        query = _query(job_id).limit(limit)
        if status is not None:
            query = query.where(CHECKPOINT.c.status == status)
        with self._database.read() as connection:
            return [_checkpoint(row) for row in connection.execute(query)]

    def delete(self, lease: Lease, checkpoint_ids: Collection[int]) -> int:
        """Remove rows of the job, and return how many were there.

        To be called before the files are removed: files without a row are waste, a row without
        its files is a failed recovery.
        """
        with self._database.write() as connection:
            fence(connection, lease)
            removed = connection.execute(
                delete(CHECKPOINT).where(
                    _of_job(lease.job_id), CHECKPOINT.c.checkpoint_id.in_(checkpoint_ids)
                )
            )
        return removed.rowcount

    def _fail(self, lease: Lease, reason: str, *which: ColumnElement[bool]) -> int:
        with self._database.write() as connection:
            fence(connection, lease)
            failed = connection.execute(
                update(CHECKPOINT)
                .where(_in_progress(lease.job_id), *which)
                .values(
                    status=CheckpointStatus.FAILED.value,
                    error_message=storable_text(reason),
                    complete_time=utc_now(),
                )
            )
            _show(connection, lease, JobStatus.CHECKPOINTING, JobStatus.RUNNING)
        return failed.rowcount

    def _row(self, job_id: int, checkpoint_id: int) -> Row[Any] | None:  # of the table CHECKPOINT
        with self._database.read() as connection:
            return connection.execute(_query(job_id, checkpoint_id)).one_or_none()


def _show(connection: Connection, lease: Lease, before: JobStatus, after: JobStatus) -> None:
    """Show in the job's running execution whether a checkpoint is in flight; not in its history."""
    connection.execute(
        update(EXECUTION)
        .where(EXECUTION.c.job_id == lease.job_id, EXECUTION.c.status == before)
        .values(status=after.value)
    )


def _of_job(job_id: int) -> ColumnElement[bool]:
    ids = select(EXECUTION.c.execution_id).where(EXECUTION.c.job_id == job_id)
    return CHECKPOINT.c.execution_id.in_(ids)


def _in_progress(job_id: int) -> ColumnElement[bool]:
    return and_(_of_job(job_id), CHECKPOINT.c.status == CheckpointStatus.IN_PROGRESS)


def _query(job_id: int, checkpoint_id: int | None = None) -> Select[Any]:  # of CHECKPOINT
    query = select(CHECKPOINT).where(_of_job(job_id)).order_by(CHECKPOINT.c.checkpoint_id.desc())
    if checkpoint_id is not None:
        query = query.where(CHECKPOINT.c.checkpoint_id == checkpoint_id)
    return query


def _conflict(checkpoint_id: int, row: Row[Any] | None) -> MetadataConflictError:  # of CHECKPOINT
    found = f"it is {row.status} ({row.error_message})" if row else "it was never begun, or removed"
    return MetadataConflictError(f"checkpoint {checkpoint_id} is not in progress: {found}")


def _checkpoint(row: Row[Any]) -> CheckpointRecord:  # any columns: of the table CHECKPOINT
    return CheckpointRecord(
        execution_id=row.execution_id,
        checkpoint_id=row.checkpoint_id,
        type=JobMode(row.checkpoint_type),
        status=CheckpointStatus(row.status),
        savepoint=row.is_savepoint,
        epoch=row.epoch,
        state_data=row.state_data,
        storage_path=row.storage_path,
        storage_size_bytes=row.storage_size_bytes,
        duration_ms=row.duration_ms,
        error_message=row.error_message,
        create_time=row.create_time,
        complete_time=row.complete_time,
    )
