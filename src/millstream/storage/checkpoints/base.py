"""What a checkpoint storage does, and what it says of each checkpoint."""

from __future__ import annotations

from enum import StrEnum
from typing import BinaryIO, Protocol

import msgspec

from millstream.core.errors import FatalError, MillstreamError

FORMAT_VERSION = 1  # of a checkpoint's files and metadata as a whole


class CheckpointStorageError(MillstreamError):
    """The storage failed: no space, no permission, not reachable.

    What was being written does not count as a checkpoint; those that were complete still are.
    """


class CheckpointNotFoundError(MillstreamError):
    """There is no such checkpoint."""


class CheckpointDamagedError(FatalError):
    """A checkpoint is not what was written.

    Attributes:
        location: which checkpoint.
        file: which of its files.
    """

    def __init__(self, message: str, *, location: str, file: str) -> None:
        super().__init__(message)
        self.location = location
        self.file = file


class CheckpointKind(StrEnum):
    """What a checkpoint is for; a savepoint belongs to the user and is never removed by itself."""

    CHECKPOINT = "checkpoint"
    SAVEPOINT = "savepoint"
    FINAL = "final"  # made at the end of all input


class FileEntry(msgspec.Struct, frozen=True):
    """One file of a checkpoint, as it was written."""

    size_bytes: int
    sha256: str


class CheckpointMetadata(msgspec.Struct, frozen=True, kw_only=True):
    """What a checkpoint says of itself; the content of ``_metadata``.

    Attributes:
        created_ms: when it was triggered.
        positions: by source uid and split, where reading goes on, as text for people. What a
            restore reads is in the files.
        files: by name; filled in by the storage.
    """

    format: int = FORMAT_VERSION
    checkpoint_id: int
    kind: CheckpointKind = CheckpointKind.CHECKPOINT
    job: str
    execution_id: str
    lease_epoch: int
    created_ms: int
    structure_fingerprint: str
    state_fingerprint: str
    code_fingerprint: str
    positions: dict[str, dict[str, str]] = {}
    files: dict[str, FileEntry] = {}


class CompletedCheckpoint(msgspec.Struct, frozen=True):
    """A complete checkpoint: where it is, and what it says of itself.

    Attributes:
        location: what ``open`` and ``delete`` take, such as ``chk-7``.
    """

    location: str
    metadata: CheckpointMetadata


class CheckpointFile(Protocol):
    """A file of a checkpoint while it is written, by one thread."""

    def write(self, data: bytes, /) -> object:
        """Append bytes; may block.

        Raises:
            CheckpointStorageError: they cannot be written.
        """

    def close(self) -> None:
        """End the file and make it durable; may block. Again is fine.

        Raises:
            CheckpointStorageError: it cannot be made durable.
        """


class PendingCheckpoint(Protocol):
    """A checkpoint while it is written. Its files may be written by several threads."""

    def create_file(self, name: str) -> CheckpointFile:
        """Begin a file; any text that is not yet a file's name will do.

        Raises:
            CheckpointStorageError: it cannot be made.
        """

    def complete(self, positions: dict[str, dict[str, str]]) -> CompletedCheckpoint:
        """Make the checkpoint count, all at once and durably, and return it.

        All of its files must have been closed. The positions go into its metadata.

        Raises:
            CheckpointStorageError: it does not count. (If what failed was the last step, making
                its name durable, it may be listed all the same, and is whole then.)
        """

    def abort(self) -> None:
        """Remove what was written, as far as the storage lets us; again is fine."""


class StoredCheckpoint(Protocol):
    """A complete checkpoint, to be read."""

    @property
    def location(self) -> str:
        """Return where it is."""

    @property
    def metadata(self) -> CheckpointMetadata:
        """Return what it says of itself."""

    def open_file(self, name: str) -> BinaryIO:
        """Return a file of it, to be read from its beginning, after its checksum was compared.

        Raises:
            CheckpointDamagedError: the file is not what was written.
            CheckpointNotFoundError: it has no file of that name.
        """

    def verify(self) -> None:
        """Compare the checksum of every file; reads all of them.

        Raises:
            CheckpointDamagedError: for the first file that is not what was written.
        """


class CheckpointStorage(Protocol):
    """The checkpoints of one job. One process writes at a time: who holds the job's lease."""

    def begin(
        self, metadata: CheckpointMetadata, suffix: str = "", folder: str | None = None
    ) -> PendingCheckpoint:
        """Begin a checkpoint; nothing of it counts before it is complete.

        Args:
            metadata: what is known of it by now, without positions and files.
            suffix: of a savepoint's name, to tell it from others with the same number.
            folder: where a savepoint is to be; its location is its whole path then.

        Raises:
            CheckpointStorageError: it cannot be written, or there is one of that name.
        """

    def checkpoints(self) -> list[CompletedCheckpoint]:
        """Return the complete checkpoints with readable metadata, newest first; no savepoints."""

    def savepoints(self) -> list[CompletedCheckpoint]:
        """Return the complete savepoints with readable metadata, newest first."""

    def damaged(self) -> list[CheckpointDamagedError]:
        """Return, for each checkpoint and savepoint whose metadata cannot be read, why."""

    def open(self, location: str) -> StoredCheckpoint:
        """Return the checkpoint or savepoint at a location.

        Raises:
            CheckpointNotFoundError: there is none.
            CheckpointDamagedError: its metadata cannot be read.
        """

    def delete(self, location: str) -> None:
        """Remove a checkpoint or savepoint; it is not listed any more from the first step on.

        Raises:
            CheckpointNotFoundError: there is none.
        """

    def remove_orphans(self, below: int) -> list[str]:
        """Remove what crashes have left of checkpoints with a smaller number, and return it.

        What this object is writing is left alone.
        """
