"""A checkpoint that is being written to a folder."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256

import msgspec

from millstream.storage.checkpoints.base import (
    CheckpointMetadata,
    CheckpointStorageError,
    CompletedCheckpoint,
    FileEntry,
)
from millstream.storage.checkpoints.fs import Fs, WritableFile
from millstream.storage.checkpoints.io_errors import storage_errors
from millstream.storage.checkpoints.names import safe_name
from millstream.storage.checkpoints.stored import METADATA_FILE, metadata_bytes


@dataclass(frozen=True, slots=True)
class Place:
    """Where a checkpoint is written, and where it will be."""

    temporary: str  # the folder while it is written
    parent: str
    name: str  # of the folder in the parent, once it is complete
    location: str


class FolderPendingCheckpoint:
    """A checkpoint while it is written; see ``PendingCheckpoint``.

    Args:
        ended: called once, when it is complete or has been aborted.
    """

    def __init__(
        self, fs: Fs, metadata: CheckpointMetadata, place: Place, ended: Callable[[], None]
    ) -> None:
        self._fs = fs
        self._metadata = metadata
        self._place = place
        self._ended: Callable[[], None] | None = ended
        self._files: dict[str, _File] = {}
        self._what = f"checkpoint {metadata.checkpoint_id} of job {metadata.job!r}"

    def create_file(self, name: str) -> _File:
        """Begin a file; any text that is not yet a file's name will do."""
        if name in self._files:
            raise ValueError(f"{self._what} has a file {name!r} already")
        path = f"{self._place.temporary}/{safe_name(name)}"
        with storage_errors(self._what, "write", path):
            file = _File(self._fs.create(path), self._what, path)
        self._files[name] = file
        return file

    def complete(self, positions: dict[str, dict[str, str]]) -> CompletedCheckpoint:
        """Make the checkpoint count, all at once and durably, and return it."""
        place, fs = self._place, self._fs
        for name, file in self._files.items():
            if file.entry is None:
                raise CheckpointStorageError(
                    f"{self._what}: its file {name!r} has not been written to its end"
                )
        files = {name: file.entry for name, file in self._files.items() if file.entry}
        metadata = msgspec.structs.replace(self._metadata, positions=positions, files=files)
        path = f"{place.temporary}/{METADATA_FILE}"
        with storage_errors(self._what, "write", path):
            last = _File(fs.create(path), self._what, path)
        last.write(metadata_bytes(metadata))
        last.close()
        with storage_errors(self._what, "write", f"{place.parent}/{place.name}"):
            fs.sync_folder(place.temporary)
            fs.rename(place.temporary, f"{place.parent}/{place.name}")
            self._end()
            fs.sync_folder(place.parent)
        return CompletedCheckpoint(place.location, metadata)

    def abort(self) -> None:
        """Remove what was written, as far as the file system lets us; again is fine."""
        if self._ended is None:
            return
        for file in self._files.values():
            file.drop()
        with suppress(OSError):  # what is left is an orphan, and removed as such
            remove_folder(self._fs, self._place.temporary)
        self._end()

    def _end(self) -> None:
        ended, self._ended = self._ended, None
        if ended is not None:
            ended()


class _File:
    """A file of a checkpoint, counted and hashed as it is written.

    Attributes:
        entry: what was written, once it is durable.
    """

    def __init__(self, file: WritableFile, what: str, path: str) -> None:
        self.entry: FileEntry | None = None
        self._file = file
        self._what = what
        self._path = path
        self._digest = sha256()
        self._size = 0
        self._open = True
        self._failed = False

    def write(self, data: bytes, /) -> None:
        """Append bytes; may block."""
        self._failed = True  # unless it comes to its end: what is half written must not count
        with storage_errors(self._what, "write", self._path):
            self._file.write(data)
        self._failed = False
        self._digest.update(data)  # without the GIL, if it is more than 2 KB
        self._size += len(data)

    def close(self) -> None:
        """End the file and make it durable; may block. Again is fine."""
        if not self._open:
            return
        try:
            with storage_errors(self._what, "write", self._path):
                self._file.sync()
        finally:
            self.drop()
        if not self._failed:
            self.entry = FileEntry(self._size, self._digest.hexdigest())

    def drop(self) -> None:
        """Let go of the file, durable or not."""
        self._open = False
        with suppress(OSError):  # synced before, or not wanted
            self._file.close()


def remove_folder(fs: Fs, path: str) -> None:
    """Remove a folder with the files in it; what is gone already is no error."""
    with suppress(FileNotFoundError):
        for name in fs.names(path):
            with suppress(FileNotFoundError):
                fs.remove_file(f"{path}/{name}")
        fs.remove_folder(path)
