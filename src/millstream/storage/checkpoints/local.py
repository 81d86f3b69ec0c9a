"""Checkpoints on a local disk, or on anything that is mounted as one.

A checkpoint is written in a folder of another name, file by file, ``_metadata`` last; when all of
it is durable, the folder gets its name. So a folder named ``chk-7`` is whole, whenever the machine
stops. Removing begins with taking the name away. ``<root>/<job>`` has:

    chk-7/                    a checkpoint, or the final one
    savepoints/sp-8-before/   a savepoint
    writing-1-chk-9/          being written, or left by a crash
    removing-1-chk-2/         being removed, or left by a crash
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from millstream.storage.checkpoints.base import (
    CheckpointDamagedError,
    CheckpointKind,
    CheckpointMetadata,
    CheckpointNotFoundError,
    CheckpointStorageError,
    CompletedCheckpoint,
)
from millstream.storage.checkpoints.fs import Fs, LocalFs
from millstream.storage.checkpoints.io_errors import storage_errors
from millstream.storage.checkpoints.names import safe_name
from millstream.storage.checkpoints.pending import FolderPendingCheckpoint, Place, remove_folder
from millstream.storage.checkpoints.stored import FolderCheckpoint

_SAVEPOINTS = "savepoints"
_COMPLETE = re.compile(r"chk-([0-9]+)|sp-([0-9]+)(?:-.+)?")
_INCOMPLETE = re.compile(rf"(?:writing|removing)-[0-9]+-(?:{_COMPLETE.pattern})")


class LocalCheckpointStorage:
    """The checkpoints of one job below a folder; see ``CheckpointStorage``.

    Nothing is locked: who may write is decided by the job's lease. Two that write all the same do
    not mix their files, and only one of them gets the name.

    Args:
        root: the folder that all jobs share; made when the first checkpoint begins.
        savepoints: the folder of savepoints; by default in the job's below ``root``.
    """

    def __init__(
        self,
        root: str | Path,
        job: str,
        fs: Fs | None = None,
        *,
        savepoints: str | Path | None = None,
    ) -> None:
        self._fs = fs or LocalFs()
        self._job = job
        self._folder = (Path(root).absolute() / safe_name(job)).as_posix()
        self._savepoints = f"{self._folder}/{_SAVEPOINTS}"
        if savepoints is not None:
            self._savepoints = Path(savepoints).absolute().as_posix()
        self._durable: set[str] = set()  # folders that are there to stay
        self._changed: set[str] = set()  # those in which a folder was made
        self._writing: set[str] = set()

    def begin(
        self, metadata: CheckpointMetadata, suffix: str = "", folder: str | None = None
    ) -> FolderPendingCheckpoint:
        """Begin a checkpoint; nothing of it counts before it is complete."""
        if metadata.job != self._job:
            raise ValueError(
                f"a checkpoint of job {metadata.job!r} in the storage of {self._job!r}"
            )
        number = metadata.checkpoint_id
        what = f"checkpoint {number} of job {self._job!r}"
        parent, name = self._folder, f"chk-{number}"
        location = name
        if metadata.kind is CheckpointKind.SAVEPOINT:
            parent = self._savepoints
            name = f"sp-{number}" + (f"-{safe_name(suffix)}" if suffix else "")
            location = f"{_SAVEPOINTS}/{name}"
            if folder is not None:
                parent = Path(folder).absolute().as_posix()
                location = f"{parent}/{name}"
        with storage_errors(what, "write", parent):
            self._prepare(parent)
            try:
                names = self._fs.names(parent)
            except FileNotFoundError:  # somebody has removed it since
                self._durable.discard(parent)
                self._prepare(parent)
                names = self._fs.names(parent)
            if name in names:
                raise CheckpointStorageError(
                    f"{what}: there is a {parent}/{name} already; every checkpoint of a job has a "
                    "number of its own, so delete that one if it does not count"
                )
            temporary = _free_name(parent, "writing", name, names)
            self._writing.add(temporary)
            self._fs.make_folder(temporary)
        place = Place(temporary, parent, name, location)
        return FolderPendingCheckpoint(
            self._fs, metadata, place, lambda: self._writing.discard(temporary)
        )

    def checkpoints(self) -> list[CompletedCheckpoint]:
        """Return the complete checkpoints with readable metadata, newest first; no savepoints."""
        found = _readable(self._scan(self._folder, ""))
        # The user may have put a savepoint among them.
        return [each for each in found if each.metadata.kind is not CheckpointKind.SAVEPOINT]

    def savepoints(self) -> list[CompletedCheckpoint]:
        """Return the complete savepoints with readable metadata, newest first."""
        return _readable(self._scan(self._savepoints, f"{_SAVEPOINTS}/"))

    def damaged(self) -> list[CheckpointDamagedError]:
        """Return, for each checkpoint and savepoint whose metadata cannot be read, why."""
        found = [
            *self._scan(self._folder, ""),
            *self._scan(self._savepoints, f"{_SAVEPOINTS}/"),
        ]
        return [each for each in found if isinstance(each, CheckpointDamagedError)]

    def open(self, location: str) -> FolderCheckpoint:
        """Return the checkpoint or savepoint at a location."""
        return FolderCheckpoint(self._fs, self._path(location), location)

    def delete(self, location: str) -> None:
        """Remove a checkpoint or savepoint; it is not listed any more from the first step on."""
        path = self._path(location)
        parent, _, name = path.rpartition("/")
        with storage_errors(f"checkpoint {location} of job {self._job!r}", "remove", path):
            temporary = _free_name(parent, "removing", name, self._fs.names(parent))
            self._fs.rename(path, temporary)
            self._fs.sync_folder(parent)  # before the files go: a crash must not bring it back
            remove_folder(self._fs, temporary)

    def remove_orphans(self, below: int) -> list[str]:
        """Remove what crashes have left of checkpoints with a smaller number, and return it."""
        removed = []
        for parent in (self._folder, self._savepoints):
            for name in sorted(self._names(parent)):
                match, path = _INCOMPLETE.fullmatch(name), f"{parent}/{name}"
                if match and _number(match) < below and path not in self._writing:
                    with storage_errors(f"job {self._job!r}", "remove", path):
                        remove_folder(self._fs, path)
                    removed.append(path)
        return removed

    def _scan(
        self, folder: str, prefix: str
    ) -> Iterator[CompletedCheckpoint | CheckpointDamagedError]:
        matches = filter(None, map(_COMPLETE.fullmatch, self._names(folder)))
        for _, name in sorted(((_number(each), each[0]) for each in matches), reverse=True):
            location = f"{prefix}{name}"
            try:
                found = FolderCheckpoint(self._fs, f"{folder}/{name}", location)
            except CheckpointDamagedError as error:
                yield error
            except CheckpointNotFoundError:
                continue  # removed a moment ago
            else:
                yield CompletedCheckpoint(location, found.metadata)

    def _names(self, folder: str) -> list[str]:
        try:
            with storage_errors(f"job {self._job!r}", "read", folder):
                return self._fs.names(folder)
        except CheckpointNotFoundError:
            return []

    def _path(self, location: str) -> str:
        folder, name = self._folder, location
        if Path(location).is_absolute():
            folder, _, name = location.rpartition("/")
        elif location.startswith(f"{_SAVEPOINTS}/"):
            folder, name = self._savepoints, location.removeprefix(f"{_SAVEPOINTS}/")
        if "/" in name or not _COMPLETE.fullmatch(name) or name not in self._names(folder):
            raise CheckpointNotFoundError(
                f"job {self._job!r} has no checkpoint {location!r} in {self._folder}"
            )
        return f"{folder}/{name}"

    def _prepare(self, folder: str) -> None:
        """Make a folder and those above it, durably: also what a crashed process has made."""
        if folder in self._durable:
            return
        self._make_folder(folder)
        for above in Path(folder).parents:
            try:
                self._fs.sync_folder(above.as_posix())
            except PermissionError:
                if above.as_posix() in self._changed:
                    raise
        self._durable.add(folder)

    def _make_folder(self, path: str) -> None:
        parent = path.rpartition("/")[0]
        try:
            self._fs.make_folder(path)
        except FileExistsError:
            return
        except FileNotFoundError:
            self._make_folder(parent)
            self._fs.make_folder(path)
        self._changed.add(parent or "/")


def _readable(
    found: Iterator[CompletedCheckpoint | CheckpointDamagedError],
) -> list[CompletedCheckpoint]:
    return [each for each in found if isinstance(each, CompletedCheckpoint)]


def _number(match: re.Match[str]) -> int:
    return int(match[1] or match[2])


def _free_name(parent: str, what: str, name: str, taken: list[str]) -> str:
    number = 1
    while f"{what}-{number}-{name}" in taken:
        number += 1
    return f"{parent}/{what}-{number}-{name}"
