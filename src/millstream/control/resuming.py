"""Which checkpoint a run goes on from, and what it does when that one is damaged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from millstream.control.restore_point import RestorePoint, forked_from, restore_point_of
from millstream.core.errors import ConfigError
from millstream.core.job_status import JobStatus
from millstream.core.log import warning
from millstream.core.wording import said
from millstream.runtime.snapshot.errors import SnapshotDamagedError
from millstream.storage.checkpoints.base import (
    CheckpointDamagedError,
    CheckpointNotFoundError,
)
from millstream.storage.metadata.records import CheckpointStatus, JobRecord, StatusChange
from millstream.storage.metadata.store import MetadataStore

T = TypeVar("T")


def to_resume(store: MetadataStore, job: JobRecord, resume: bool | None) -> Sequence[RestorePoint]:
    """Return what a run may go on from, the newest first; nothing: it begins anew.

    That is checkpoints, and the savepoints of stops: their sinks have committed what those name.

    Raises:
        ConfigError: the user wants to go on, and there is nothing to go on from.
    """
    if resume is False:
        return ()
    rows = [
        row
        for row in store.checkpoints.of_job(job.id, status=CheckpointStatus.SUCCESS)
        if row.stop or not row.savepoint  # other savepoints are the user's alone
    ]
    found: list[RestorePoint] = []
    newest = True
    for execution in store.executions.of_job(job.id, limit=1000):
        own = store.executions.history(execution.execution_id)
        if not _was(JobStatus.RUNNING, own):
            continue  # it has changed nothing, whatever it was to begin from
        if newest and execution.status is JobStatus.COMPLETED:
            if resume:
                raise ConfigError(
                    f"job {job.definition.name!r}: its last execution ended COMPLETED, so there is "
                    "nothing to resume; run it without --resume to begin anew"
                )
            return ()
        newest = False
        found += [
            restore_point_of(row) for row in rows if row.execution_id == execution.execution_id
        ]
        fork = forked_from(own[0].reason)
        if fork is not None:
            found.append(fork)
        if fork is not None or not _was(JobStatus.RESTORING, own):
            break  # what older ones have left does not count any more
    if resume and not found:
        raise ConfigError(
            f"job {job.definition.name!r} has no checkpoint to resume from; run it without --resume"
        )
    return found


def restored_from(
    candidates: Sequence[RestorePoint],
    prepare: Callable[[RestorePoint], T],
    skip_damaged: bool,  # the user's choice, as it came
) -> tuple[RestorePoint, T]:
    """Prepare a run from the newest that is whole; return which that is, and the run.

    Raises:
        CheckpointDamagedError, CheckpointNotFoundError, SnapshotDamagedError: the newest is not
            what was written, and the user has not allowed an older one; or no older one is left.
    """
    for number, point in enumerate(candidates, 1):
        try:
            return point, prepare(point)
        except (CheckpointDamagedError, CheckpointNotFoundError, SnapshotDamagedError) as error:
            older = candidates[number:]
            if not (skip_damaged and older):
                error.add_note(f"{point.name}: {_what_to_do(point, older)}")
                raise
            warning(
                "checkpoint.damaged",
                checkpoint=point.name,
                error=said(error),
                instead=older[0].name,
                repeats="what sinks have shown since then appears again",
            )
    raise AssertionError(candidates)  # there is at least one


def _was(status: JobStatus, moves: Sequence[StatusChange]) -> bool:
    return any(move.to_status is status for move in moves)


def _what_to_do(point: RestorePoint, older: Sequence[RestorePoint]) -> str:
    if not older:
        return "there is no older one; put its files back, or begin anew with --fresh"
    return (
        f"put its files back, or go on from {older[0].name} with --skip-damaged: then what sinks "
        f"have shown between {older[0].name} and {point.name} appears a second time"
    )
