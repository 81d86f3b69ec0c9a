"""A complete checkpoint in a folder, and its ``_metadata``."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

import msgspec

from millstream.storage.checkpoints.base import (
    FORMAT_VERSION,
    CheckpointDamagedError,
    CheckpointMetadata,
    CheckpointNotFoundError,
    FileEntry,
)
from millstream.storage.checkpoints.fs import Fs, LocalFs
from millstream.storage.checkpoints.io_errors import storage_errors
from millstream.storage.checkpoints.names import safe_name

METADATA_FILE = "_metadata"
_READ_BYTES = 1 << 20
_RESTORE_ANOTHER = "restore from an older checkpoint"


class _Format(msgspec.Struct):
    format: int


class FolderCheckpoint:
    """A complete checkpoint; see ``StoredCheckpoint``.

    The folder is whole by itself: it may be copied, moved, and opened from elsewhere.

    Args:
        location: what errors call it.

    Raises:
        CheckpointNotFoundError: there is no such folder.
        CheckpointDamagedError: its metadata is not what was written, or of a newer version.
    """

    def __init__(self, fs: Fs, folder: str, location: str) -> None:
        self._fs = fs
        self._folder = folder
        self.location = location
        self.metadata = self._read_metadata()

    def open_file(self, name: str) -> BinaryIO:
        """Return a file of it, to be read from its beginning, after its checksum was compared."""
        if name not in self.metadata.files:
            raise CheckpointNotFoundError(f"checkpoint {self.location} has no file {name!r}")
        expected = self.metadata.files[name]
        path = f"{self._folder}/{safe_name(name)}"
        try:
            with storage_errors(f"checkpoint {self.location}", "read", path):
                file = self._fs.open(path)
        except CheckpointNotFoundError as error:
            raise self._damaged(
                path, f"it is gone, expected {expected.size_bytes} bytes"
            ) from error
        try:
            self._compare(file, path, expected)
            file.seek(0)
        except BaseException:
            file.close()
            raise
        return file

    def verify(self) -> None:
        """Compare the checksum of every file; reads all of them."""
        for name in self.metadata.files:
            self.open_file(name).close()

    def _compare(self, file: BinaryIO, path: str, expected: FileEntry) -> None:
        digest, size = sha256(), 0
        with storage_errors(f"checkpoint {self.location}", "read", path):
            while data := file.read(_READ_BYTES):
                digest.update(data)
                size += len(data)
        if size != expected.size_bytes:
            raise self._damaged(path, f"expected {expected.size_bytes} bytes, found {size}")
        if digest.hexdigest() != expected.sha256:
            raise self._damaged(
                path, f"expected sha256 {expected.sha256}, found {digest.hexdigest()}"
            )

    def _read_metadata(self) -> CheckpointMetadata:
        path = f"{self._folder}/{METADATA_FILE}"
        what = f"checkpoint {self.location}"
        try:
            with storage_errors(what, "read", path), self._fs.open(path) as file:
                data = file.read()
        except CheckpointNotFoundError as error:
            with storage_errors(what, "read", self._folder):
                self._fs.names(self._folder)  # without the folder, there is no checkpoint
            raise self._damaged(path, "it is gone") from error
        body, _, found = data.rstrip(b"\n").rpartition(b"\n")
        expected = sha256(body).hexdigest()
        if found.decode("ascii", "replace") != expected:
            raise self._damaged(path, f"it does not end with the sha256 of its content, {expected}")
        version = msgspec.json.decode(body, type=_Format).format
        if version != FORMAT_VERSION:
            raise self._damaged(
                path,
                f"it has version {version} of the format, and this version of Millstream reads "
                f"version {FORMAT_VERSION}",
                "use the version of Millstream that wrote it, or a newer one",
            )
        return msgspec.json.decode(body, type=CheckpointMetadata)

    def _damaged(
        self, path: str, what: str, remedy: str = _RESTORE_ANOTHER
    ) -> CheckpointDamagedError:
        return CheckpointDamagedError(
            f"checkpoint {self.location} cannot be used: {path}: {what}; {remedy}",
            location=self.location,
            file=path.rpartition("/")[2],
        )


def open_checkpoint(folder: str | Path, fs: Fs | None = None) -> FolderCheckpoint:
    """Open a checkpoint or savepoint by its folder, wherever that is."""
    path = Path(folder).absolute().as_posix()
    return FolderCheckpoint(fs or LocalFs(), path, path)


def metadata_bytes(metadata: CheckpointMetadata) -> bytes:
    """Return the content of ``_metadata``: a line of JSON, and a line with its SHA-256."""
    body = msgspec.json.encode(metadata)
    return body + b"\n" + sha256(body).hexdigest().encode() + b"\n"
