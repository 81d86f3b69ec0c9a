"""The rows of the metadata store as its callers see them; instants are aware UTC."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from millstream.core.job_graph import JobMode
from millstream.core.job_status import JobStatus


class CheckpointStatus(StrEnum):
    """Where a checkpoint stands; only one that is SUCCESS exists for a recovery."""

    IN_PROGRESS = "IN_PROGRESS"
    SUCCESS = "SUCCESS"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class JobDefinition:
    """A job as it is to be stored.

    Attributes:
        name: unique in the database, up to 200 characters.
        type: its mode.
        dag_definition: the graph as plain values, kept as JSON.
        fingerprint: of the graph's structure.
        state_fingerprint: of what a snapshot of it holds.
        code_fingerprint: of its functions and options.
        description: for people.
        parallelism: how many processes it runs in.
        max_retry_times: failures in a row before it is DEAD.
    """

    name: str
    type: JobMode
    dag_definition: Mapping[str, Any]  # JSON: whatever the job's options are
    fingerprint: str
    state_fingerprint: str
    code_fingerprint: str
    description: str | None = None
    parallelism: int = 1
    max_retry_times: int = 3


@dataclass(frozen=True, slots=True)
class JobRecord:
    """A stored job. ``version`` counts its definitions, from 1."""

    id: int
    definition: JobDefinition
    version: int
    enabled: bool
    create_time: datetime
    update_time: datetime


@dataclass(frozen=True, slots=True)
class ExecutionRecord:
    """One run of a job, its retries included.

    Attributes:
        execution_id: names it, up to 100 characters.
        job_id: which job.
        job_name: its name when the run began.
        status: where it stands.
        start_time: when it was created.
        end_time: when it came to rest; None while it moves, and again when it is retried.
        processed_records: read by the sources.
        failed_records: skipped or dead-lettered.
        throughput: records per second.
        error_message: why it last failed.
        retry_count: how often it went back from FAILED to SCHEDULED.
    """

    execution_id: str
    job_id: int
    job_name: str
    status: JobStatus
    start_time: datetime
    end_time: datetime | None
    processed_records: int
    failed_records: int
    throughput: float | None
    error_message: str | None
    retry_count: int


@dataclass(frozen=True, slots=True)
class RecordCounts:
    """What an execution has handled so far; ``throughput`` is in records per second."""

    processed_records: int
    failed_records: int
    throughput: float | None = None


@dataclass(frozen=True, slots=True)
class StatusChange:
    """One move of an execution; the first comes from None."""

    from_status: JobStatus | None
    to_status: JobStatus
    reason: str
    time: datetime


@dataclass(frozen=True, slots=True)
class NewCheckpoint:
    """A checkpoint that begins.

    Attributes:
        execution_id: which execution makes it.
        checkpoint_id: grows per job, whichever execution it is.
        type: the job's mode.
        savepoint: the user asked for it and owns it.
    """

    execution_id: str
    checkpoint_id: int
    type: JobMode
    savepoint: bool = False


@dataclass(frozen=True, slots=True)
class CheckpointResult:
    """What is written into the row of a checkpoint whose files are durable.

    Attributes:
        storage_path: where they are, up to 500 characters.
        storage_size_bytes: all of them together.
        duration_ms: from the trigger to durable.
        source_state: positions, by uid.
        operator_state: sizes of states, by uid; never what is in them.
        sink_state: transactions that may be committed now, by uid.
        stop: it is a savepoint that its run stopped with.
    """

    storage_path: str
    storage_size_bytes: int
    duration_ms: int
    source_state: Mapping[str, Any] = field(default_factory=dict)  # JSON: a position is the
    operator_state: Mapping[str, Any] = field(default_factory=dict)  # connector's own, as is
    sink_state: Mapping[str, Any] = field(default_factory=dict)  # the name of a transaction
    stop: bool = False


@dataclass(frozen=True, slots=True)
class CheckpointRecord:
    """A stored checkpoint.

    ``epoch`` is that of the lease it was begun under. What it has only when it succeeded (path,
    size, duration) is None before; ``state_data`` is empty then.
    """

    execution_id: str
    checkpoint_id: int
    type: JobMode
    status: CheckpointStatus
    savepoint: bool
    epoch: int
    state_data: Mapping[str, Any]  # JSON, see CheckpointResult
    storage_path: str | None
    storage_size_bytes: int | None
    duration_ms: int | None
    error_message: str | None
    create_time: datetime
    complete_time: datetime | None

    @property
    def stop(self) -> bool:
        """Return whether its run stopped with it, so that it has committed what it names."""
        return bool(self.state_data.get("stop"))


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to run a job and to commit for it.

    Attributes:
        job_id: which job.
        owner: who holds it: a text that no other process uses.
        epoch: grows with each acquisition and never falls; everything written under the lease is
            checked against it.
        expires_at: by the database's clock. Not to be compared with this process's: a holder that
            must stop in time counts the lease's duration from before it asked for it.
        last_checkpoint_id: of the job, 0 if there was none; the next one is larger.
    """

    job_id: int
    owner: str
    epoch: int
    expires_at: datetime
    last_checkpoint_id: int
