"""The few things that a storage does with a file system, so that a test can fail each of them."""

from __future__ import annotations

import errno
import os
from typing import BinaryIO, Protocol

BUFFER_BYTES = 256 * 1024  # a slice of state comes in several small writes


class WritableFile(Protocol):
    """A file that is being written."""

    def write(self, data: bytes, /) -> object:
        """Append bytes, all of them."""

    def sync(self) -> None:
        """Make what was written durable; the file's name is not part of it."""

    def close(self) -> None:
        """Let go of it."""


class Fs(Protocol):
    """A file system. Paths are text with ``/``; every call raises ``OSError``."""

    def make_folder(self, path: str) -> None:
        """Make a folder that is not there yet; its parent must be."""

    def create(self, path: str) -> WritableFile:
        """Make a file that is not there yet, to be written."""

    def open(self, path: str) -> BinaryIO:
        """Open a file to be read."""

    def rename(self, path: str, to: str) -> None:
        """Rename a folder to a name that is free."""

    def remove_file(self, path: str) -> None:
        """Remove a file."""

    def remove_folder(self, path: str) -> None:
        """Remove an empty folder."""

    def names(self, path: str) -> list[str]:
        """Return the names of what is in a folder, in any order."""

    def sync_folder(self, path: str) -> None:
        """Make durable which names are in a folder."""


class LocalFs:
    """The machine's own file system."""

    @staticmethod
    def make_folder(path: str) -> None:
        """Make a folder that is not there yet; its parent must be."""
        os.mkdir(path)

    @staticmethod
    def create(path: str) -> WritableFile:
        """Make a file that is not there yet, to be written."""
        return _LocalFile(path)

    @staticmethod
    def open(path: str) -> BinaryIO:
        """Open a file to be read."""
        return open(path, "rb")

    @staticmethod
    def rename(path: str, to: str) -> None:
        """Rename a folder to a name that is free."""
        if os.path.lexists(to):  # an empty folder would be replaced
            raise FileExistsError(errno.EEXIST, "there is something of that name already", to)
        os.rename(path, to)

    @staticmethod
    def remove_file(path: str) -> None:
        """Remove a file."""
        os.unlink(path)

    @staticmethod
    def remove_folder(path: str) -> None:
        """Remove an empty folder."""
        os.rmdir(path)

    @staticmethod
    def names(path: str) -> list[str]:
        """Return the names of what is in a folder, in any order."""
        return os.listdir(path)

    @staticmethod
    def sync_folder(path: str) -> None:
        """Make durable which names are in a folder; Windows cannot, and has no need to."""
        if os.name == "nt":
            return
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class _LocalFile:
    def __init__(self, path: str) -> None:
        self._file = open(path, "xb", buffering=BUFFER_BYTES)  # noqa: SIM115  # closed by ``close``

    def write(self, data: bytes, /) -> None:
        self._file.write(data)

    def sync(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()
