"""What there is to see of a job's checkpoints: the list, one of them, whether each is whole."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from millstream.control.job_folder import job_folder
from millstream.core.errors import ConfigError, MillstreamError
from millstream.core.wording import said
from millstream.runtime.snapshot.state_file import StateFileReader
from millstream.storage.checkpoints.base import CheckpointDamagedError, CheckpointNotFoundError
from millstream.storage.checkpoints.names import safe_name
from millstream.storage.checkpoints.stored import FolderCheckpoint, open_checkpoint
from millstream.storage.metadata.records import CheckpointRecord, CheckpointStatus
from millstream.storage.metadata.store import open_metadata


class CheckpointView:
    """The checkpoints of a job that it could go on from, read only; the job may be running.

    They are those that the job's metadata has as complete, wherever the job keeps their files.

    Args:
        job: the job's name.
        folder: the job's; None: ``.millstream/<job>``.

    Raises:
        ConfigError: there are none.
    """

    def __init__(self, job: str, folder: str | Path | None = None) -> None:
        self._job = job
        self._folder = job_folder(job, folder)
        if not self._rows():
            raise ConfigError(
                f"no checkpoints of job {job!r} in {self._folder}; go to where it was run, or say "
                "where its folder is (--folder)"
            )

    def overview(self) -> Iterator[str]:
        """Yield a line for each checkpoint, newest first; of one that cannot be read, why."""
        for name, stored in self._checkpoints():
            if isinstance(stored, MillstreamError):
                yield f"{name}  cannot be used: {said(stored)}"
                continue
            metadata = stored.metadata
            size = sum(file.size_bytes for file in metadata.files.values())
            places = ", ".join(
                f"{uid}: {position}"
                for splits in metadata.positions.values()
                for uid, position in splits.items()
            )
            yield f"{name}  {metadata.kind}  {size:,} bytes  {places}"

    def show(self, location: str) -> Iterator[str]:
        """Yield what there is to say of one checkpoint, and of each file in it."""
        stored = self.open(location)
        metadata = stored.metadata
        yield f"checkpoint {metadata.checkpoint_id} of job {metadata.job!r} ({metadata.kind})"
        yield f"  execution {metadata.execution_id}, lease epoch {metadata.lease_epoch}"
        for splits in metadata.positions.values():
            for uid, position in splits.items():
                yield f"  source {uid!r}: {position}"
        for name in sorted(metadata.files):
            with stored.open_file(name) as file:
                reader = StateFileReader(file, name)
                header, entries = reader.header, reader.verify()
            whose = f" {header.state!r} of {header.uid!r}" if header.uid else ""
            yield f"  {header.kind}{whose}: {entries:,} entries, type {header.type}"

    def verify(self, location: str | None = None) -> Iterator[str]:
        """Read every file of one checkpoint, or of all, and yield a line for each that is whole.

        Raises:
            CheckpointDamagedError: for the first that is not.
        """
        if location is not None:
            yield _verified(location, self.open(location))
            return
        for name, stored in self._checkpoints():
            if isinstance(stored, MillstreamError):
                raise stored
            yield _verified(name, stored)

    def open(self, location: str) -> FolderCheckpoint:
        """Return one of them, or a savepoint by its folder.

        Raises:
            ConfigError: there is no such checkpoint.
            CheckpointDamagedError: its metadata is not what was written.
        """
        rows = self._rows()
        path = location if Path(location).is_absolute() else rows.get(location)
        try:
            if path is not None:
                return open_checkpoint(path)
        except CheckpointNotFoundError:
            pass
        raise ConfigError(
            f"job {self._job!r} has no checkpoint {location!r}; there are: "
            f"{', '.join(rows) or 'none'}"
        )

    def _checkpoints(self) -> Iterator[tuple[str, FolderCheckpoint | MillstreamError]]:
        for name, path in self._rows().items():
            try:
                yield name, open_checkpoint(path)
            except CheckpointNotFoundError as error:
                if name in self._rows():  # else it was too old, and was removed a moment ago
                    yield name, error
            except CheckpointDamagedError as error:
                yield name, error

    def _rows(self) -> dict[str, Path]:
        """Return the folder of each complete checkpoint by its name, newest first."""
        own = self._folder / "checkpoints" / safe_name(self._job)
        found = {}
        for row in _complete_rows(self._folder, self._job) or ():
            if not row.savepoint and row.storage_path is not None:
                name = f"chk-{row.checkpoint_id}"
                here = own / name  # it may have been moved with the job's folder
                found[name] = here if here.is_dir() else Path(row.storage_path)
        return found


def _verified(name: str, stored: FolderCheckpoint) -> str:
    for each in stored.metadata.files:
        with stored.open_file(each) as file:
            StateFileReader(file, each).verify()
    return f"{name}: {len(stored.metadata.files)} files are whole"


def _complete_rows(folder: Path, job: str) -> list[CheckpointRecord] | None:
    """Return what the metadata in a folder has of a job, newest first; None: it has no such job."""
    database = folder / "metadata.db"
    if not database.is_file():
        return None
    with open_metadata(database) as store:
        known = store.jobs.get(job)
        if known is None:
            return None
        return store.checkpoints.of_job(known.id, status=CheckpointStatus.SUCCESS)


def list_savepoints(job: str, folder: str | Path | None = None) -> Iterator[str]:
    """Yield a line for each savepoint of a job, newest first; the job may be running.

    Raises:
        ConfigError: the job has no folder there.
    """
    own = job_folder(job, folder)
    rows = _complete_rows(own, job)
    if rows is None:
        if (own / "metadata.db").is_file():
            raise ConfigError(f"the folder {own} is not that of job {job!r}")
        raise ConfigError(
            f"no job {job!r} in {own}; go to where it was run, or say where its folder is "
            "(--folder)"
        )
    for row in rows:
        if row.savepoint and row.storage_path is not None:
            stop = "  (the job stopped with it)" if row.stop else ""
            gone = "" if Path(row.storage_path).is_dir() else "  GONE"
            when = f"{row.create_time:%Y-%m-%d %H:%M:%S} UTC"
            size = f"{row.storage_size_bytes or 0:,} bytes"
            yield f"{row.checkpoint_id}  {when}  {size}  {row.storage_path}{stop}{gone}"
