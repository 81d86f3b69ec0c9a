"""What there is to see of a job's checkpoints: the list, one of them, whether each is whole."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from millstream.control.job_folder import job_folder
from millstream.core.errors import ConfigError
from millstream.runtime.snapshot.state_file import StateFileReader
from millstream.storage.checkpoints.base import CheckpointNotFoundError, CompletedCheckpoint
from millstream.storage.checkpoints.names import safe_name
from millstream.storage.checkpoints.stored import FolderCheckpoint, open_checkpoint
from millstream.storage.metadata.records import CheckpointStatus
from millstream.storage.metadata.store import open_metadata


class CheckpointView:
    """The checkpoints in a job's folder, read only; the job may be running.

    Args:
        job: the job's name.
        folder: the job's; None: ``.millstream/<job>``.

    Raises:
        ConfigError: there are none.
    """

    def __init__(self, job: str, folder: str | Path | None = None) -> None:
        self._job = job
        self._root = job_folder(job, folder) / "checkpoints" / safe_name(job)
        if not self._root.is_dir():
            raise ConfigError(
                f"no checkpoints of job {job!r} in {self._root}; go to where it was run, or say "
                "where its folder is (--folder)"
            )

    def overview(self) -> Iterator[str]:
        """Yield a line for each checkpoint, newest first."""
        for each in self._checkpoints():
            metadata = each.metadata
            size = sum(file.size_bytes for file in metadata.files.values())
            places = ", ".join(
                f"{uid}: {position}"
                for splits in metadata.positions.values()
                for uid, position in splits.items()
            )
            yield f"{each.location}  {metadata.kind}  {size:,} bytes  {places}"

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
        locations = [location] if location else [each.location for each in self._checkpoints()]
        for each in locations:
            stored = self.open(each)
            for name in stored.metadata.files:
                with stored.open_file(name) as file:
                    StateFileReader(file, name).verify()
            yield f"{each}: {len(stored.metadata.files)} files are whole"

    def open(self, location: str) -> FolderCheckpoint:
        """Return one of them.

        Raises:
            ConfigError: there is no such checkpoint.
            CheckpointDamagedError: its metadata is not what was written.
        """
        try:
            return open_checkpoint(self._root / location)
        except CheckpointNotFoundError:
            there = ", ".join(sorted(each.name for each in self._root.glob("chk-*"))) or "none"
            raise ConfigError(
                f"job {self._job!r} has no checkpoint {location!r}; there are: {there}"
            ) from None

    def _checkpoints(self) -> list[CompletedCheckpoint]:
        names = [each.name for each in self._root.glob("chk-*")]
        names.sort(key=lambda name: int(name.partition("-")[2]), reverse=True)
        return [CompletedCheckpoint(name, self.open(name).metadata) for name in names]


def list_savepoints(job: str, folder: str | Path | None = None) -> Iterator[str]:
    """Yield a line for each savepoint of a job, newest first; the job may be running.

    Raises:
        ConfigError: the job has no folder there.
    """
    database = job_folder(job, folder) / "metadata.db"
    if not database.is_file():
        raise ConfigError(
            f"no job {job!r} in {database.parent}; go to where it was run, or say where its folder "
            "is (--folder)"
        )
    with open_metadata(database) as store:
        known = store.jobs.get(job)
        if known is None:
            raise ConfigError(f"the folder {database.parent} is not that of job {job!r}")
        rows = store.checkpoints.of_job(known.id, status=CheckpointStatus.SUCCESS)
    for row in rows:
        if row.savepoint and row.storage_path is not None:
            stop = "  (the job stopped with it)" if row.stop else ""
            gone = "" if Path(row.storage_path).is_dir() else "  GONE"
            when = f"{row.create_time:%Y-%m-%d %H:%M:%S} UTC"
            size = f"{row.storage_size_bytes or 0:,} bytes"
            yield f"{row.checkpoint_id}  {when}  {size}  {row.storage_path}{stop}{gone}"
