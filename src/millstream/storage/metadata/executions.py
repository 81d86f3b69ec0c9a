"""The executions of jobs: where each stands, how it came there, what it has handled."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, Select, func, insert, select, update

from millstream.core.job_status import JobStatus
from millstream.storage.metadata.column_types import utc_now
from millstream.storage.metadata.database import Database
from millstream.storage.metadata.errors import MetadataConflictError
from millstream.storage.metadata.records import (
    ExecutionRecord,
    JobRecord,
    RecordCounts,
    StatusChange,
)
from millstream.storage.metadata.tables import EXECUTION, STATUS_CHANGE
from millstream.storage.metadata.values import fitting, storable_text

AT_REST = frozenset({JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED, JobStatus.DEAD})
"""Statuses in which nothing runs: they have an ``end_time``. Only FAILED can be left again."""

MOST_RECORDS_PER_S = 99_999_999.99  # a DECIMAL(10, 2), the architecture's type, holds no more


class Executions:
    """Reads and writes ``pipeline_job_execution`` and its history."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, job: JobRecord, execution_id: str, *, reason: str) -> ExecutionRecord:
        """Store a new execution: CREATED, from now on.

        Raises:
            MetadataConflictError: the id is taken.
            ConfigError: the id is too long.
        """
        execution_id = fitting(EXECUTION.c.execution_id, execution_id)
        with self._database.write() as connection:
            connection.execute(
                insert(EXECUTION).values(
                    execution_id=execution_id,
                    job_id=job.id,
                    job_name=job.definition.name,
                    status=JobStatus.CREATED.value,
                    start_time=utc_now(),
                )
            )
            _keep(connection, execution_id, (None, JobStatus.CREATED), reason)
            return _execution(connection.execute(_by_id(execution_id)).one())

    def get(self, execution_id: str) -> ExecutionRecord | None:
        """Return the execution of that id."""
        with self._database.read() as connection:
            row = connection.execute(_by_id(execution_id)).one_or_none()
        return None if row is None else _execution(row)

    def newest(self, job_id: int) -> ExecutionRecord | None:
        """Return the job's last execution, however it ended."""
        return next(iter(self.of_job(job_id, limit=1)), None)

    def of_job(self, job_id: int, *, limit: int = 100) -> list[ExecutionRecord]:
        """Return the job's executions, newest first."""
        newest = (EXECUTION.c.start_time.desc(), EXECUTION.c.id.desc())
        query = select(EXECUTION).where(EXECUTION.c.job_id == job_id).order_by(*newest)
        with self._database.read() as connection:
            return [_execution(row) for row in connection.execute(query.limit(limit))]

    def unfinished(self, job_id: int) -> list[ExecutionRecord]:
        """Return the job's executions that are not at rest, newest first.

        Whoever has just acquired the job's lease finds here those that a crash cut off.
        """
        query = (
            select(EXECUTION)
            .where(EXECUTION.c.job_id == job_id, EXECUTION.c.status.not_in(AT_REST))
            .order_by(EXECUTION.c.id.desc())
        )
        with self._database.read() as connection:
            return [_execution(row) for row in connection.execute(query)]

    def move(
        self, execution_id: str, expected: JobStatus, status: JobStatus, *, reason: str
    ) -> None:
        """Move an execution on, and keep the move; which moves are legal is the caller's to know.

        CHECKPOINTING is shown only, while a checkpoint is in flight: to it and back from it is not
        kept in the history, and one that is expected to be RUNNING may be CHECKPOINTING. From
        FAILED to SCHEDULED is a retry, and counted.

        Args:
            execution_id: which one.
            expected: where it stands now; of several who move it from there, one succeeds.
            status: where it goes.
            reason: why; into FAILED and DEAD it becomes the execution's error message too.

        Raises:
            MetadataConflictError: it stands elsewhere, or there is no such execution.
        """
        stands = {expected}
        if expected is JobStatus.RUNNING:
            stands.add(JobStatus.CHECKPOINTING)
        with self._database.write() as connection:
            moved = connection.execute(
                update(EXECUTION)
                .where(EXECUTION.c.execution_id == execution_id, EXECUTION.c.status.in_(stands))
                .values(status=status.value, **_effects((expected, status), reason))
            )
            if not moved.rowcount:
                row = connection.execute(_by_id(execution_id)).one_or_none()
                found = f"it is {row.status}" if row else "there is no such execution"
                raise MetadataConflictError(
                    f"execution {execution_id!r} cannot go from {expected} to {status}: {found}; "
                    "something else has moved it"
                )
            _keep(connection, execution_id, (expected, status), reason)

    def record_counts(self, execution_id: str, counts: RecordCounts) -> None:
        """Store what an execution has handled so far.

        Raises:
            MetadataConflictError: there is no such execution.
        """
        values: dict[str, float] = {
            "processed_records": counts.processed_records,
            "failed_records": counts.failed_records,
        }
        if counts.throughput is not None:
            values["throughput"] = min(counts.throughput, MOST_RECORDS_PER_S)
        with self._database.write() as connection:
            changed = connection.execute(
                update(EXECUTION).where(EXECUTION.c.execution_id == execution_id).values(**values)
            )
        if not changed.rowcount:
            raise MetadataConflictError(
                f"there is no execution {execution_id!r} any more to count records for"
            )

    def history(self, execution_id: str) -> list[StatusChange]:
        """Return every move of an execution, in order."""
        query = (
            select(STATUS_CHANGE)
            .where(STATUS_CHANGE.c.execution_id == execution_id)
            .order_by(STATUS_CHANGE.c.id)
        )
        with self._database.read() as connection:
            return [
                StatusChange(
                    from_status=row.from_status and JobStatus(row.from_status),
                    to_status=JobStatus(row.to_status),
                    reason=row.reason,
                    time=row.change_time,
                )
                for row in connection.execute(query)
            ]


Move = tuple[JobStatus | None, JobStatus]


def _effects(move: Move, reason: str) -> dict[str, Any]:  # values of columns
    """Return what else a move changes in the row."""
    _, status = move
    effects: dict[str, Any] = {"end_time": utc_now() if status in AT_REST else None}
    if status in {JobStatus.FAILED, JobStatus.DEAD}:
        effects["error_message"] = storable_text(reason)
    if move == (JobStatus.FAILED, JobStatus.SCHEDULED):
        effects["retry_count"] = func.coalesce(EXECUTION.c.retry_count, 0) + 1
    return effects


def _keep(connection: Connection, execution_id: str, move: Move, reason: str) -> None:
    """Add a move to the history, in which an execution that is CHECKPOINTING is RUNNING."""
    before, after = (
        JobStatus.RUNNING if status is JobStatus.CHECKPOINTING else status for status in move
    )
    if before is not after:
        connection.execute(
            insert(STATUS_CHANGE).values(
                execution_id=execution_id,
                from_status=before,
                to_status=after,
                reason=storable_text(reason),
                change_time=utc_now(),
            )
        )


def _by_id(execution_id: str) -> Select[Any]:  # any columns: of the table EXECUTION
    return select(EXECUTION).where(EXECUTION.c.execution_id == execution_id)


def _execution(row: Row[Any]) -> ExecutionRecord:  # any columns: of the table EXECUTION
    return ExecutionRecord(
        execution_id=row.execution_id,
        job_id=row.job_id,
        job_name=row.job_name,
        status=JobStatus(row.status),
        start_time=row.start_time,
        end_time=row.end_time,
        processed_records=row.processed_records or 0,  # the architecture lets it be NULL
        failed_records=row.failed_records or 0,
        throughput=row.throughput,
        error_message=row.error_message,
        retry_count=row.retry_count or 0,
    )
