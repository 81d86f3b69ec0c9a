"""What a run goes on from: a checkpoint, the savepoint of a stop, or one that the user names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from millstream.core.errors import ConfigError
from millstream.storage.checkpoints.base import (
    CheckpointKind,
    CheckpointNotFoundError,
    CheckpointStorage,
    StoredCheckpoint,
)
from millstream.storage.checkpoints.stored import METADATA_FILE, open_checkpoint
from millstream.storage.metadata.records import CheckpointRecord, CheckpointStatus
from millstream.storage.metadata.store import MetadataStore

_ID = re.compile(r"(?:sp-)?([0-9]+)")
_FORKED = re.compile(r"forked from savepoint ([0-9]+) in (.+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class RestorePoint:
    """What a run goes on from.

    Attributes:
        checkpoint_id: its number.
        path: the folder of a savepoint; None: a checkpoint in the job's storage.
        epoch: of the lease that it was made under.
    """

    checkpoint_id: int
    path: str | None
    epoch: int

    @property
    def name(self) -> str:
        """Return what people call it."""
        return f"chk-{self.checkpoint_id}" if self.path is None else f"sp-{self.checkpoint_id}"

    def __str__(self) -> str:
        if self.path is None:
            return f"from checkpoint {self.checkpoint_id}"
        return f"from savepoint {self.checkpoint_id} in {self.path}"


def restore_point_of(row: CheckpointRecord) -> RestorePoint:
    """Return a row of the metadata store as what a run goes on from."""
    path = row.storage_path if row.savepoint else None
    return RestorePoint(row.checkpoint_id, path, row.epoch)


def fork_reason(point: RestorePoint) -> str:
    """Return what is written down of an execution that a user has begin from a savepoint."""
    return f"forked {point}"


def forked_from(reason: str) -> RestorePoint | None:
    """Return the savepoint that a user had an execution begin from; see ``fork_reason``.

    None for one that went on from a stop's savepoint by itself: that is among what the execution
    before it has left, and older checkpoints still count.
    """
    forked = _FORKED.fullmatch(reason)
    return RestorePoint(int(forked[1]), forked[2], 0) if forked else None


def open_restore_point(
    storage: CheckpointStorage, job: str, point: RestorePoint
) -> StoredCheckpoint:
    """Open what a run goes on from.

    Raises:
        ConfigError: it is a savepoint whose files are gone.
        CheckpointDamagedError: it is not what was written.
    """
    if point.path is None:
        return storage.open(f"chk-{point.checkpoint_id}")
    try:
        return open_checkpoint(point.path)
    except CheckpointNotFoundError:
        raise ConfigError(
            f"job {job!r} is to go on from the savepoint in {point.path}, which is gone. Its sinks "
            "have committed what that names, so an older checkpoint would repeat it: bring the "
            "folder back, or say where it is now (--from-savepoint), or begin anew (--fresh)"
        ) from None


def find_savepoint(store: MetadataStore, job: str, reference: str) -> RestorePoint:
    """Return the savepoint that a user names by its number (also as ``sp-7``), or its folder.

    Raises:
        ConfigError: there is none, it is another job's, or it was given up.
        CheckpointDamagedError: its metadata is not what was written.
    """
    known = store.jobs.get(job)
    rows = [] if known is None else store.checkpoints.of_job(known.id)
    rows = [row for row in rows if row.savepoint]
    number = _ID.fullmatch(reference)
    path = reference
    if number:
        row = next((row for row in rows if row.checkpoint_id == int(number[1])), None)
        _refuse_given_up(job, row)
        if row is None or row.storage_path is None:
            there = [str(row.checkpoint_id) for row in rows if _complete(row)]
            raise ConfigError(
                f"job {job!r} has no savepoint {reference!r}; there are: "
                f"{', '.join(there) or 'none'}. One that is elsewhere is named by its folder"
            )
        path = row.storage_path
    if not (Path(path) / METADATA_FILE).is_file():
        raise ConfigError(
            f"there is no savepoint in {Path(path).absolute()}: it has no {METADATA_FILE}; "
            f"`millstream savepoint list` shows those of job {job!r}"
        )
    stored = open_checkpoint(path)
    metadata = stored.metadata
    if metadata.job != job:
        raise ConfigError(f"the savepoint in {path} is of job {metadata.job!r}, not of {job!r}")
    if metadata.kind is not CheckpointKind.SAVEPOINT:
        raise ConfigError(
            f"{path} is a {metadata.kind} and no savepoint: it is the job's own, which may remove "
            "it; go on from the last one with --resume"
        )
    made_by = (metadata.execution_id, metadata.checkpoint_id)
    _refuse_given_up(
        job, next((r for r in rows if (r.execution_id, r.checkpoint_id) == made_by), None)
    )
    return RestorePoint(metadata.checkpoint_id, stored.location, metadata.lease_epoch)


def _refuse_given_up(job: str, row: CheckpointRecord | None) -> None:
    if row is not None and not _complete(row):
        raise ConfigError(
            f"savepoint {row.checkpoint_id} of job {job!r} was not completed, so nothing may go on "
            f"from it: {row.error_message or 'it is still being made'}"
        )


def _complete(row: CheckpointRecord) -> bool:
    return row.status is CheckpointStatus.SUCCESS
