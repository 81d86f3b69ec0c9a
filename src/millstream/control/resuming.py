"""Which checkpoint a run goes on from, and what it does when that one is damaged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from millstream.core.errors import ConfigError
from millstream.core.job_status import JobStatus
from millstream.core.log import warning
from millstream.core.wording import said
from millstream.runtime.snapshot.errors import SnapshotDamagedError
from millstream.storage.checkpoints.base import (
    CheckpointDamagedError,
    CheckpointNotFoundError,
    CheckpointStorage,
    StoredCheckpoint,
)
from millstream.storage.metadata.records import CheckpointRecord, CheckpointStatus, JobRecord
from millstream.storage.metadata.store import MetadataStore

T = TypeVar("T")


def to_resume(
    store: MetadataStore, job: JobRecord, resume: bool | None
) -> Sequence[CheckpointRecord]:
    """Return the checkpoints that a run may go on from, the newest first; none: it begins anew.

    Raises:
        ConfigError: the user wants to go on, and there is nothing to go on from.
    """
    if resume is False:
        return ()
    executions = store.executions.of_job(job.id, limit=1000)
    if executions and executions[0].status is JobStatus.COMPLETED:
        if resume:
            raise ConfigError(
                f"job {job.definition.name!r}: its last execution ended COMPLETED, so there is "
                "nothing to resume; run it without --resume to begin anew"
            )
        return ()
    rows = [
        row
        for row in store.checkpoints.of_job(job.id, status=CheckpointStatus.SUCCESS)
        if not row.savepoint
    ]
    found = []
    for execution in executions:
        found += [row for row in rows if row.execution_id == execution.execution_id]
        reached = {move.to_status for move in store.executions.history(execution.execution_id)}
        if JobStatus.RUNNING in reached and JobStatus.RESTORING not in reached:
            break  # it began anew, so what older ones have left does not count any more
    if resume and not found:
        raise ConfigError(
            f"job {job.definition.name!r} has no checkpoint to resume from; run it without --resume"
        )
    return found


def restored_from(
    candidates: Sequence[CheckpointRecord],
    storage: CheckpointStorage,
    prepare: Callable[[StoredCheckpoint], T],
    skip_damaged: bool,  # the user's choice, as it came
) -> tuple[int, T]:
    """Prepare a run from the newest checkpoint that is whole; return its number, and the run.

    Raises:
        CheckpointDamagedError, CheckpointNotFoundError, SnapshotDamagedError: the newest is not
            what was written, and the user has not allowed an older one; or no older one is left.
    """
    for number, row in enumerate(candidates, 1):
        location = f"chk-{row.checkpoint_id}"
        try:
            return row.checkpoint_id, prepare(storage.open(location))
        except (CheckpointDamagedError, CheckpointNotFoundError, SnapshotDamagedError) as error:
            older = [each.checkpoint_id for each in candidates[number:]]
            if not (skip_damaged and older):
                error.add_note(f"{location}: {_what_to_do(row, older)}")
                raise
            warning(
                "checkpoint.damaged",
                checkpoint=location,
                error=said(error),
                instead=f"chk-{older[0]}",
                repeats="what sinks have shown since then appears again",
            )
    raise AssertionError(candidates)  # there is at least one


def _what_to_do(row: CheckpointRecord, older: Sequence[int]) -> str:
    if not older:
        return "there is no older one; put its files back, or begin anew with --fresh"
    return (
        f"put its files back, or go on from chk-{older[0]} with --skip-damaged: then what sinks "
        f"have shown between chk-{older[0]} and chk-{row.checkpoint_id} appears a second time"
    )
