"""Where a job keeps what it has: its checkpoints, its history, its lock."""

from __future__ import annotations

from pathlib import Path

from millstream.storage.checkpoints.names import safe_name

HOME = ".millstream"  # beside the working directory


def job_folder(job: str, folder: str | Path | None = None) -> Path:
    """Return the folder of a job: the one that was asked for, or its own below ``.millstream``."""
    return Path(folder) if folder is not None else Path(HOME) / safe_name(job)
