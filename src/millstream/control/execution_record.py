"""What is written down of one execution, as it goes."""

from __future__ import annotations

from contextlib import ExitStack

from millstream.control.job_state import check_move
from millstream.control.restore_point import RestorePoint
from millstream.core.job_graph import JobGraph, OperatorKind
from millstream.core.job_result import JobResult
from millstream.core.job_status import JobStatus
from millstream.core.log import warning
from millstream.core.ports import FaultPoints
from millstream.core.wording import said
from millstream.storage.metadata.errors import MetadataConflictError, MetadataUnavailableError
from millstream.storage.metadata.records import RecordCounts
from millstream.storage.metadata.store import MetadataStore


class ExecutionRecord:
    """What is written down of one execution.

    Attributes:
        job: its name.
        id: the execution's.
        status: where it stands.
        begins: what it goes on from.
        stack: what is given back when the record is closed.
    """

    def __init__(
        self, store: MetadataStore, graph: JobGraph, execution_id: str, faults: FaultPoints
    ) -> None:
        self.job = graph.job
        self.id = execution_id
        self.status = JobStatus.CREATED
        self.begins: RestorePoint | None = None
        self.stack = ExitStack()
        self._store = store
        self._faults = faults
        self._sources = {spec.id for spec in graph.operators() if spec.kind is OperatorKind.SOURCE}

    def move(self, status: JobStatus, reason: str) -> None:
        """Move the execution on."""
        check_move(self.status, status)
        self._store.executions.move(self.id, self.status, status, reason=reason)
        self.status = status

    def end(self, result: JobResult) -> None:
        """Write down how it ended, and what it handled, as far as that is still ours to do."""
        self._faults.reach("ended")
        try:
            self._end(result)
        except (MetadataConflictError, MetadataUnavailableError) as error:
            self._tell_unnoted(error)

    def _end(self, result: JobResult) -> None:
        read = sum(each.records_in for each in result.account.operators if each.id in self._sources)
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
