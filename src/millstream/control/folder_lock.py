"""A job's folder is used by one process at a time; the lock ends with the process, however."""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO

from millstream.core.errors import ConfigError

try:
    import fcntl
except ImportError:  # Windows: the lease alone decides
    fcntl = None  # type: ignore[assignment]


class FolderLock:
    """Holds a folder from its making until ``release``, or the end of the process.

    Attributes:
        exclusive: nobody else can hold it now; False where the system has no such locks.

    Raises:
        ConfigError: another process holds it, or it cannot be written to.
    """

    def __init__(self, folder: Path, job: str) -> None:
        self.exclusive = fcntl is not None
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file: IO[str] = (folder / "lock").open("a+", encoding="utf-8")
        except OSError as error:
            raise ConfigError(
                f"job {job!r}: cannot write in its folder {folder}: {error.strerror}; make room or "
                "permission there, or give another one (--folder)"
            ) from error
        if fcntl is None:
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.seek(0)
            holder = self._file.read().strip() or "another process"
            self._file.close()
            raise ConfigError(
                f"job {job!r} is running already: {holder} holds {folder}; stop that run, or give "
                "this one another folder (--folder)"
            ) from None
        self._file.truncate(0)
        self._file.write(f"process {os.getpid()}")
        self._file.flush()

    def release(self) -> None:
        """Let others have the folder."""
        self._file.close()
