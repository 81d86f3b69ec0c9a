"""What the list of a job's checkpoints shows: those that it could go on from, wherever they are."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import millstream as ms
from millstream.control import checkpoint_views
from millstream.control.checkpoint_views import CheckpointView
from millstream.core.errors import ConfigError
from millstream.storage.checkpoints.base import CheckpointDamagedError, CheckpointNotFoundError
from millstream.storage.checkpoints.stored import FolderCheckpoint, open_checkpoint
from millstream.storage.metadata.store import open_metadata


def run(folder: Path, elsewhere: Path | None = None, times: int = 1) -> None:
    for _ in range(times):
        settings = ms.CheckpointSettings(folder=elsewhere)
        job = ms.Job("job", checkpoints=settings)
        job.source(ms.sequence.source(5), uid="in").sink(ms.blackhole.sink(), uid="out")
        ms.run(job, folder=folder)


def listed(folder: Path) -> list[str]:
    return [line.partition("  ")[0] for line in CheckpointView("job", folder).overview()]


def test_they_are_found_where_the_settings_of_the_job_have_put_them(tmp_path: Path) -> None:
    run(tmp_path / "job")
    run(tmp_path / "job", tmp_path / "elsewhere")
    assert listed(tmp_path / "job") == ["chk-2", "chk-1"]
    view = CheckpointView("job", tmp_path / "job")
    assert next(view.show("chk-2")).startswith("checkpoint 2 of job 'job'")
    assert [line.partition(":")[0] for line in view.verify()] == ["chk-2", "chk-1"]


def test_they_are_found_in_a_folder_that_was_moved(tmp_path: Path) -> None:
    run(tmp_path / "job")
    (tmp_path / "job").rename(tmp_path / "moved")
    assert listed(tmp_path / "moved") == ["chk-1"]


def test_one_whose_row_is_not_there_is_none_and_no_name_is_an_error(tmp_path: Path) -> None:
    run(tmp_path, times=2)
    own = tmp_path / "checkpoints/job"
    shutil.copytree(own / "chk-2", own / "chk-3")  # as a kill leaves it before its row
    (own / "chk-x").mkdir()
    assert listed(tmp_path) == ["chk-2", "chk-1"]
    with pytest.raises(ConfigError, match="has no checkpoint 'chk-3'; there are: chk-2, chk-1"):
        CheckpointView("job", tmp_path).open("chk-3")


def test_one_that_cannot_be_read_is_named_among_the_others(tmp_path: Path) -> None:
    run(tmp_path, times=3)
    (tmp_path / "checkpoints/job/chk-2/_metadata").write_bytes(b"?")
    shutil.rmtree(tmp_path / "checkpoints/job/chk-1")
    view = CheckpointView("job", tmp_path)
    whole, damaged, gone = view.overview()
    assert whole.startswith("chk-3  final")
    assert damaged.startswith("chk-2  cannot be used: CheckpointDamagedError: ")
    assert gone.startswith("chk-1  cannot be used: CheckpointNotFoundError: ")
    with pytest.raises(CheckpointDamagedError):
        list(view.verify())


def test_one_that_retention_removes_meanwhile_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path, times=2)

    def removed(path: Path) -> FolderCheckpoint:
        if path.name != "chk-1":
            return open_checkpoint(path)
        with open_metadata(tmp_path / "metadata.db") as store:
            job = store.jobs.get("job")
            assert job is not None
            lease = store.leases.acquire(job.id, "retention", duration_s=30)
            store.checkpoints.delete(lease, [1])
        raise CheckpointNotFoundError("its folder is gone")

    monkeypatch.setattr(checkpoint_views, "open_checkpoint", removed)
    assert listed(tmp_path) == ["chk-2"]


def test_a_folder_without_the_job_is_said(tmp_path: Path) -> None:
    run(tmp_path)
    with pytest.raises(ConfigError, match="no checkpoints of job 'other' in "):
        CheckpointView("other", tmp_path)
