"""Turns what a file system refuses into errors that say what to do."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from millstream.storage.checkpoints.base import CheckpointNotFoundError, CheckpointStorageError

_FULL = {errno.ENOSPC, errno.EDQUOT}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}


@contextmanager
def storage_errors(what: str, verb: str, path: str) -> Iterator[None]:
    """Raise a ``CheckpointStorageError`` for an ``OSError``: ``what`` cannot ``verb`` ``path``."""
    try:
        yield
    except OSError as error:
        message = f"{what}: cannot {verb} {error.filename or path}: {error.strerror or error}"
        if isinstance(error, FileNotFoundError) and verb == "read":
            raise CheckpointNotFoundError(message) from error
        if error.errno in _FULL:
            message += (
                "; free some space there, keep fewer checkpoints, or give the checkpoints another "
                "folder"
            )
        elif error.errno in _FORBIDDEN:
            message += "; give the user that runs the job the right to, or choose another folder"
        raise CheckpointStorageError(message) from error
