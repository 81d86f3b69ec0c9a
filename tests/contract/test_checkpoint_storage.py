"""Local checkpoint storage on a real disk and on one that crashes or fails at every operation."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import pytest

from millstream.storage.checkpoints.base import (
    CheckpointDamagedError,
    CheckpointKind,
    CheckpointStorage,
    CheckpointStorageError,
)
from millstream.storage.checkpoints.local import LocalCheckpointStorage
from millstream.storage.checkpoints.names import safe_name
from millstream.storage.checkpoints.stored import open_checkpoint
from tests.contract.checkpoint_storage import (
    CONTENT,
    JOB,
    JOBS,
    CheckpointStorageContract,
    begun,
    check_content,
    described,
    locations,
    make,
)
from tests.support.crash_fs import CrashFs, MachineStoppedError

Damage = Callable[[str, str, Callable[[bytes], bytes] | None], None]


def on_disk(name: str) -> str:
    return name if name == "_metadata" else safe_name(name)


class TestOnDisk(CheckpointStorageContract):
    @pytest.fixture
    def storage_of(self, tmp_path: Path) -> Callable[[str], CheckpointStorage]:
        return lambda job: LocalCheckpointStorage(tmp_path / "new" / "root", job)

    @pytest.fixture
    def damage(self, tmp_path: Path) -> Damage:
        def change_file(location: str, name: str, change: Callable[[bytes], bytes] | None) -> None:
            path = tmp_path / "new" / "root" / JOB / location / on_disk(name)
            if change is None:
                path.unlink()
            else:
                path.write_bytes(change(path.read_bytes()))

        return change_file


class TestInMemory(CheckpointStorageContract):
    @pytest.fixture
    def fs(self) -> CrashFs:
        return CrashFs()

    @pytest.fixture
    def storage_of(self, fs: CrashFs) -> Callable[[str], CheckpointStorage]:
        return lambda job: LocalCheckpointStorage("/new/root", job, fs)

    @pytest.fixture
    def damage(self, fs: CrashFs) -> Damage:
        def change_file(location: str, name: str, change: Callable[[bytes], bytes] | None) -> None:
            path = f"/new/root/{JOB}/{location}/{on_disk(name)}"
            fs.remove_file(path) if change is None else fs.damage(path, change)

        return change_file


# -- crashes --------------------------------------------------------------------------------------

LIVES = ["nothing", "names", "everything", *(f"some {seed}" for seed in range(8))]


class Life:
    """What a process does with a storage, and how far it has come."""

    def __init__(self, fs: CrashFs) -> None:
        self.fs = fs
        self.storage = LocalCheckpointStorage("/data/checkpoints", JOB, fs)
        self.completed: set[int] = set()
        self.deleting: set[int] = set()
        self.deleted: set[int] = set()

    def live(self) -> None:
        for number in (1, 2):
            make(self.storage, described(number))
            self.completed.add(number)
        self.deleting.add(1)
        self.storage.delete("chk-1")
        self.deleted.add(1)
        make(self.storage, described(3, kind=CheckpointKind.SAVEPOINT), "x")
        self.completed.add(3)
        make(self.storage, described(4, kind=CheckpointKind.FINAL))
        self.completed.add(4)


def operations_of_a_life() -> list[str]:
    life = Life(CrashFs())
    life.live()
    return life.fs.operations


def numbers(storage: CheckpointStorage) -> set[int]:
    found = [*storage.checkpoints(), *storage.savepoints()]
    return {each.metadata.checkpoint_id for each in found}


def check_after(life: Life, storage: LocalCheckpointStorage, fs: CrashFs) -> None:
    """Everything that is listed is whole, what was said to be done is done, and life goes on."""
    assert storage.damaged() == []
    found = numbers(storage)
    assert found >= life.completed - life.deleting
    assert not found & life.deleted
    assert found <= life.completed | {max(life.completed, default=0) + 1}
    for each in [*storage.checkpoints(), *storage.savepoints()]:
        check_content(storage, each.location)
    storage.remove_orphans(below=100)
    left = [*fs.names(f"/data/checkpoints/{JOB}")] if found else []
    assert [name for name in left if name != "savepoints" and not name.startswith("chk-")] == []
    made = make(storage, described(50))
    check_content(storage, made.location)
    assert numbers(storage) == found | {50}


OPERATIONS = operations_of_a_life()


def test_a_life_has_every_operation() -> None:
    words = {" ".join(each.split()[:-1]).split(" /")[0] for each in OPERATIONS}
    assert words == {
        "make folder",
        "create",
        "write",
        "sync",
        "sync folder",
        "rename",
        "remove",
        "remove folder",
    }


@pytest.mark.parametrize("lives", LIVES)
def test_a_crash_at_any_operation_leaves_the_old_checkpoints_or_also_the_new(lives: str) -> None:
    keep, _, seed = lives.partition(" ")
    for number in range(1, len(OPERATIONS) + 2):
        life = Life(CrashFs())
        life.fs.fail_at = number
        with suppress(MachineStoppedError):
            life.live()
        stopped_at = life.fs.operations[-1]
        fs = life.fs.restarted(keep, int(seed or 0) + number)
        try:
            check_after(life, LocalCheckpointStorage("/data/checkpoints", JOB, fs), fs)
        except Exception as error:
            error.add_note(f"stopped at operation {number}: {stopped_at}")
            raise


@pytest.mark.parametrize("lives", LIVES)
def test_two_crashes_one_after_the_other(lives: str) -> None:
    """The second stops the machine at any operation of the clean-up and of the next checkpoint."""
    keep, _, seed = lives.partition(" ")
    for number in range(1, len(OPERATIONS) + 1, 7):
        life = Life(CrashFs())
        life.fs.fail_at = number
        with suppress(MachineStoppedError):
            life.live()
        for second in range(1, 40):
            fs = life.fs.restarted(keep, int(seed or 0) + number)
            before = numbers(LocalCheckpointStorage("/data/checkpoints", JOB, fs))
            fs.fail_at = second
            complete = False
            with suppress(MachineStoppedError):
                storage = LocalCheckpointStorage("/data/checkpoints", JOB, fs)
                storage.remove_orphans(below=20)
                make(storage, described(20))
                complete = True
            after = LocalCheckpointStorage("/data/checkpoints", JOB, fs.restarted("nothing"))
            assert after.damaged() == []
            assert numbers(after) - {20} == before
            assert 20 in numbers(after) or not complete
            for each in [*after.checkpoints(), *after.savepoints()]:
                check_content(after, each.location)


# -- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("lasting", [False, True], ids=["once", "from then on"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EIO], ids=errno.errorcode.get)
def test_an_error_at_any_operation_is_named_and_nothing_half_written_counts(
    number: int, *, lasting: bool
) -> None:
    for at in range(1, len(OPERATIONS) + 1):
        life = Life(CrashFs())
        life.fs.fail_at, life.fs.failure, life.fs.lasting = at, number, lasting
        failed = None
        try:
            life.live()
        except CheckpointStorageError as error:
            failed = error
        life.fs.fail_at = None
        assert failed is None or "it fails on purpose" in str(failed)
        assert failed is not None or life.completed == {1, 2, 3, 4}
        check_after(life, life.storage, life.fs)  # in the same process
        storage = LocalCheckpointStorage("/data/checkpoints", JOB, life.fs.restarted("nothing"))
        assert 50 in numbers(storage)
        assert storage.damaged() == []


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "checkpoint 1 of job 'revenue': cannot write .*; free some space"),
        (errno.EACCES, "cannot write .*; give the user that runs the job the right"),
        (errno.EIO, "cannot write .*totals-0~[0-9a-f]+: it fails on purpose$"),
    ],
)
def test_an_error_says_what_to_do(number: int, remedy: str) -> None:
    life = Life(CrashFs())
    at = next(n for n, what in enumerate(OPERATIONS, 1) if what.startswith("write"))
    life.fs.fail_at, life.fs.failure = at, number
    with pytest.raises(CheckpointStorageError, match=remedy):
        life.live()


def test_a_file_that_failed_once_does_not_count_when_it_is_closed_later() -> None:
    fs = CrashFs()
    storage = LocalCheckpointStorage("/data", JOB, fs)
    with begun(storage, described(1)) as pending:
        file = pending.create_file("a")
        fs.fail_at, fs.failure = len(fs.operations) + 1, errno.ENOSPC
        with pytest.raises(CheckpointStorageError):
            file.write(b"xx")
        file.close()
        with pytest.raises(CheckpointStorageError, match="not been written to its end"):
            pending.complete({})
    assert storage.checkpoints() == []


# -- on a real disk -------------------------------------------------------------------------------


def test_savepoints_may_have_a_folder_of_their_own(tmp_path: Path) -> None:
    storage = LocalCheckpointStorage(tmp_path / "root", JOB, savepoints=tmp_path / "own")
    made = make(storage, described(8, kind=CheckpointKind.SAVEPOINT))
    assert [each.location for each in storage.savepoints()] == [made.location]
    assert (tmp_path / "own/sp-8/_metadata").is_file()
    LocalCheckpointStorage(tmp_path / "root", JOB, savepoints=tmp_path / "own").begin(
        described(9, kind=CheckpointKind.SAVEPOINT)
    )
    assert storage.remove_orphans(below=10) == [f"{tmp_path}/own/writing-1-sp-9"]
    check_content(storage, made.location)


def test_a_savepoint_that_was_put_among_the_checkpoints_is_none_that_retention_removes(
    tmp_path: Path,
) -> None:
    storage = LocalCheckpointStorage(tmp_path, JOB)
    location = make(storage, described(7)).location
    savepoint = described(8, kind=CheckpointKind.SAVEPOINT)
    made = storage.begin(savepoint, folder=str(tmp_path / JOB)).complete({})
    assert locations(storage) == [location]
    assert storage.open(made.location).metadata == made.metadata


def test_a_folder_that_somebody_removes_is_made_again(tmp_path: Path) -> None:
    storage = LocalCheckpointStorage(tmp_path / "root", JOB)
    make(storage, described(7))
    shutil.rmtree(tmp_path / "root")
    assert locations(storage) == []
    check_content(storage, make(storage, described(8)).location)


def test_the_layout_is_as_documented(tmp_path: Path) -> None:
    storage = LocalCheckpointStorage(tmp_path, "Revenue")
    make(storage, described(7, "Revenue"))
    make(storage, described(8, "Revenue", kind=CheckpointKind.SAVEPOINT), "before")
    storage.begin(described(9, "Revenue"))
    found = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*"))
    job = safe_name("Revenue")
    assert job.startswith("revenue~")
    files = ["_metadata", "empty", "positions", safe_name("totals/0")]
    assert found == sorted(
        [
            job,
            f"{job}/chk-7",
            *(f"{job}/chk-7/{name}" for name in files),
            f"{job}/savepoints",
            f"{job}/savepoints/sp-8-before",
            *(f"{job}/savepoints/sp-8-before/{name}" for name in files),
            f"{job}/writing-1-chk-9",
        ]
    )


def test_metadata_is_a_line_of_json_and_its_checksum(tmp_path: Path) -> None:
    storage = LocalCheckpointStorage(tmp_path, JOB)
    make(storage, described(7))
    body, checksum = (tmp_path / JOB / "chk-7" / "_metadata").read_text("utf-8").splitlines()
    assert checksum == sha256(body.encode()).hexdigest()
    found: dict[str, Any] = msgspec.json.decode(body)
    assert found["files"].keys() == CONTENT.keys()
    assert (found["format"], found["checkpoint_id"], found["kind"]) == (1, 7, "checkpoint")


def test_a_newer_format_is_told_from_damage(tmp_path: Path) -> None:
    storage = LocalCheckpointStorage(tmp_path, JOB)
    make(storage, described(7))
    body = b'{"format":2,"all":"else is different"}'
    content = body + b"\n" + sha256(body).hexdigest().encode() + b"\n"
    (tmp_path / JOB / "chk-7" / "_metadata").write_bytes(content)
    with pytest.raises(CheckpointDamagedError, match=r"version 2 of the format.*or a newer one"):
        storage.open("chk-7")


def test_a_savepoint_can_be_moved_and_opened_by_its_folder(tmp_path: Path) -> None:
    storage = LocalCheckpointStorage(tmp_path / "a", JOB)
    make(storage, described(8, kind=CheckpointKind.SAVEPOINT))
    (tmp_path / "a" / JOB / "savepoints" / "sp-8").rename(tmp_path / "mine")
    stored = open_checkpoint(tmp_path / "mine")
    stored.verify()
    assert stored.metadata.checkpoint_id == 8
    with stored.open_file("positions") as file:
        assert file.read() == b"{}"


def test_a_relative_root_stays_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    storage = LocalCheckpointStorage("checkpoints", JOB)
    monkeypatch.chdir("/")
    make(storage, described(1))
    assert (tmp_path / "checkpoints" / JOB / "chk-1" / "_metadata").is_file()


def test_other_files_in_the_folder_are_nobodys_business(tmp_path: Path) -> None:
    storage = LocalCheckpointStorage(tmp_path, JOB)
    make(storage, described(1))
    for name in ("notes.txt", "chk-x", "chk-1.bak", ".DS_Store"):
        (tmp_path / JOB / name).write_text("mine")
    (tmp_path / JOB / "chk-1-copy").mkdir()
    assert locations(storage) == ["chk-1"]
    assert storage.damaged() == []
    assert storage.remove_orphans(below=100) == []
    storage.delete("chk-1")
    assert (tmp_path / JOB / "notes.txt").is_file()


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_folder_that_must_not_be_written_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(CheckpointStorageError, match="give the user that runs the job the right"):
        LocalCheckpointStorage(tmp_path, JOB).begin(described(1))


def test_a_file_where_the_folder_should_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "root").write_text("a file")
    with pytest.raises(CheckpointStorageError, match=r"cannot write .*root"):
        LocalCheckpointStorage(tmp_path / "root", JOB).begin(described(1))
    with pytest.raises(CheckpointStorageError, match=r"cannot read .*root"):
        LocalCheckpointStorage(tmp_path / "root", JOB).checkpoints()


@pytest.mark.parametrize("text", ["orders", "per_minute", "a.b-c", "0"])
def test_a_plain_name_is_kept(text: str) -> None:
    assert safe_name(text) == text


def test_names_are_safe_and_different_even_where_case_does_not_count() -> None:
    names = [safe_name(each) for each in [*JOBS, *map(safe_name, JOBS)]]
    assert len({each.lower() for each in names}) == len({*JOBS, *map(safe_name, JOBS)})
    for name in names:
        assert name.isascii()
        assert not {*name} & {*'/\\:*?"<>| \x00\n'}
        assert len(name) < 130
        assert name not in {".", "..", "_metadata", "con"}
        assert not name.endswith(".")
