"""What every checkpoint storage does. A test file makes a subclass per storage."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest

from millstream.storage.checkpoints.base import (
    CheckpointDamagedError,
    CheckpointKind,
    CheckpointMetadata,
    CheckpointNotFoundError,
    CheckpointStorage,
    CheckpointStorageError,
    CompletedCheckpoint,
    PendingCheckpoint,
)

JOB = "revenue"
CONTENT = {"totals/0": [b"one", b"two" * 100_000, b""], "positions": [b"{}"], "empty": []}
JOBS = [
    "revenue",
    "Revenue",
    "REVENUE",
    "..",
    ".",
    "",
    "/",
    "../revenue",
    "a/b",
    "a\\b",
    "a~b",
    "con",
    "~",
    "chk-1",
    "savepoints",
    "_metadata",
    "Überweisungen",
    "U\u0308berweisungen",  # the same to the eye
    "订单",
    "x" * 300,
    "x" * 301,
    "new\nline",
    "nul\x00byte",
    "trailing.",
    "trailing ",
]


def described(number: int, job: str = JOB, **more: Any) -> CheckpointMetadata:
    return CheckpointMetadata(
        checkpoint_id=number,
        job=job,
        execution_id="e-1",
        lease_epoch=3,
        created_ms=1_795_521_600_000,
        structure_fingerprint="s",
        state_fingerprint="t",
        code_fingerprint="c",
        **more,
    )


@contextmanager
def begun(
    storage: CheckpointStorage, metadata: CheckpointMetadata, *place: str
) -> Iterator[PendingCheckpoint]:
    """Begin a checkpoint; abort it unless it is completed."""
    pending = storage.begin(metadata, *place)
    try:
        yield pending
    finally:
        pending.abort()


def make(
    storage: CheckpointStorage, metadata: CheckpointMetadata, suffix: str = ""
) -> CompletedCheckpoint:
    """Write a checkpoint with ``CONTENT``."""
    with begun(storage, metadata, suffix) as pending:
        for name, pieces in CONTENT.items():
            file = pending.create_file(name)
            for piece in pieces:
                file.write(piece)
            file.close()
        return pending.complete({"orders": {"split-0": "offset 7"}})


def check_content(storage: CheckpointStorage, location: str) -> None:
    stored = storage.open(location)
    stored.verify()
    for name, pieces in CONTENT.items():
        with stored.open_file(name) as file:
            assert file.read() == b"".join(pieces)


def locations(storage: CheckpointStorage) -> list[str]:
    return [each.location for each in storage.checkpoints()]


class CheckpointStorageContract(ABC):
    """The suite."""

    @pytest.fixture
    @abstractmethod
    def storage_of(self) -> Callable[[str], CheckpointStorage]:
        """Return what makes a storage for a job; two for one job see the same checkpoints."""

    @pytest.fixture
    @abstractmethod
    def damage(self) -> Callable[[str, str, Callable[[bytes], bytes] | None], None]:
        """Return what changes a file of a checkpoint of ``JOB``, or removes it."""

    @pytest.fixture
    def storage(self, storage_of: Callable[[str], CheckpointStorage]) -> CheckpointStorage:
        return storage_of(JOB)

    def test_a_storage_nobody_wrote_to_is_empty(self, storage: CheckpointStorage) -> None:
        assert storage.checkpoints() == storage.savepoints() == []
        assert storage.damaged() == []
        assert storage.remove_orphans(below=100) == []

    def test_what_was_written_comes_back(
        self, storage_of: Callable[[str], CheckpointStorage]
    ) -> None:
        made = make(storage_of(JOB), described(7))
        storage = storage_of(JOB)
        assert storage.checkpoints() == [made]
        assert made.metadata == msgspec.structs.replace(
            described(7),
            positions={"orders": {"split-0": "offset 7"}},
            files=made.metadata.files,
        )
        assert {name: each.size_bytes for name, each in made.metadata.files.items()} == {
            "totals/0": 300_003,
            "positions": 2,
            "empty": 0,
        }
        assert storage.open(made.location).metadata == made.metadata
        check_content(storage, made.location)

    def test_checkpoints_are_listed_newest_first_by_number(
        self, storage: CheckpointStorage
    ) -> None:
        for number in (9, 11, 10, 100):
            make(storage, described(number))
        assert [each.metadata.checkpoint_id for each in storage.checkpoints()] == [100, 11, 10, 9]

    def test_nothing_counts_before_it_is_complete(self, storage: CheckpointStorage) -> None:
        pending = storage.begin(described(1))
        file = pending.create_file("a")
        assert storage.checkpoints() == []
        file.write(b"x")
        file.close()
        assert storage.checkpoints() == []
        assert storage.damaged() == []
        pending.complete({})
        assert len(storage.checkpoints()) == 1

    def test_a_file_that_was_not_closed_keeps_it_from_being_complete(
        self, storage: CheckpointStorage
    ) -> None:
        with begun(storage, described(1)) as pending:
            pending.create_file("a").write(b"x")
            with pytest.raises(CheckpointStorageError, match="'a' has not been written to its end"):
                pending.complete({})
        assert storage.checkpoints() == []
        assert storage.damaged() == []

    def test_what_is_aborted_leaves_nothing_and_its_number_free(
        self, storage: CheckpointStorage
    ) -> None:
        pending = storage.begin(described(1))
        pending.create_file("a").write(b"x")
        pending.abort()
        pending.abort()
        assert storage.remove_orphans(below=100) == []
        make(storage, described(1))

    def test_a_number_is_used_once(self, storage: CheckpointStorage) -> None:
        made = make(storage, described(1))
        with pytest.raises(CheckpointStorageError, match=r"there is a .*chk-1 already"):
            storage.begin(described(1))
        check_content(storage, made.location)

    def test_of_two_that_write_the_same_number_one_gets_it(
        self, storage_of: Callable[[str], CheckpointStorage]
    ) -> None:
        one, two = storage_of(JOB), storage_of(JOB)
        first, second = one.begin(described(1)), two.begin(described(1, positions={}))
        for pending, data in ((first, b"first"), (second, b"second")):
            file = pending.create_file("a")
            file.write(data)
            file.close()
        made = second.complete({})
        with pytest.raises(CheckpointStorageError):
            first.complete({})
        first.abort()
        with one.open(made.location).open_file("a") as file_:
            assert file_.read() == b"second"
        assert one.remove_orphans(below=100) == []

    def test_files_have_any_name_and_are_told_apart(self, storage: CheckpointStorage) -> None:
        with begun(storage, described(1)) as pending:
            for name in JOBS:
                file = pending.create_file(name)
                file.write(repr(name).encode())
                file.close()
            with pytest.raises(ValueError, match="has a file 'revenue' already"):
                pending.create_file("revenue")
            made = pending.complete({})
        for name in JOBS:
            with storage.open(made.location).open_file(name) as found:
                assert found.read() == repr(name).encode()

    def test_a_savepoint_may_be_in_a_folder_of_the_users(self, storage: CheckpointStorage) -> None:
        metadata = described(8, kind=CheckpointKind.SAVEPOINT)
        with begun(storage, metadata, "orders", "/elsewhere/mine") as pending:
            made = pending.complete({})
        assert made.location == "/elsewhere/mine/sp-8-orders"
        assert storage.open(made.location).metadata == made.metadata
        assert storage.savepoints() == []
        with pytest.raises(CheckpointStorageError, match="there is a /elsewhere/mine/sp-8-orders"):
            storage.begin(metadata, "orders", "/elsewhere/mine")
        storage.delete(made.location)
        with pytest.raises(CheckpointNotFoundError):
            storage.open(made.location)

    def test_savepoints_are_apart_from_checkpoints(self, storage: CheckpointStorage) -> None:
        checkpoint = make(storage, described(7))
        savepoint = make(storage, described(8, kind=CheckpointKind.SAVEPOINT), "Before upgrade")
        plain = make(storage, described(9, kind=CheckpointKind.SAVEPOINT))
        final = make(storage, described(10, kind=CheckpointKind.FINAL))
        assert storage.checkpoints() == [final, checkpoint]
        assert storage.savepoints() == [plain, savepoint]
        assert len({each.location for each in (checkpoint, savepoint, plain, final)}) == 4
        check_content(storage, savepoint.location)

    def test_jobs_do_not_see_each_other_whatever_their_names(
        self, storage_of: Callable[[str], CheckpointStorage]
    ) -> None:
        made = {job: make(storage_of(job), described(n, job)) for n, job in enumerate(JOBS)}
        for job, each in made.items():
            assert storage_of(job).checkpoints() == [each]

    def test_a_location_of_no_checkpoint_is_not_found(self, storage: CheckpointStorage) -> None:
        make(storage, described(1))
        for location in ("chk-2", "", ".", "..", "../x/chk-1", "savepoints", "savepoints/sp-1"):
            with pytest.raises(CheckpointNotFoundError, match="job 'revenue' has no checkpoint"):
                storage.open(location)
            with pytest.raises(CheckpointNotFoundError):
                storage.delete(location)

    def test_a_file_it_does_not_have_is_not_found(self, storage: CheckpointStorage) -> None:
        stored = storage.open(make(storage, described(1)).location)
        with pytest.raises(CheckpointNotFoundError, match="has no file 'other'"):
            stored.open_file("other")

    def test_what_is_deleted_is_gone(self, storage: CheckpointStorage) -> None:
        first, second = make(storage, described(1)), make(storage, described(2))
        storage.delete(first.location)
        assert storage.checkpoints() == [second]
        with pytest.raises(CheckpointNotFoundError):
            storage.delete(first.location)
        assert storage.remove_orphans(below=100) == []

    def test_orphans_of_smaller_numbers_are_removed_and_nothing_that_is_written_here(
        self, storage_of: Callable[[str], CheckpointStorage]
    ) -> None:
        crashed, storage = storage_of(JOB), storage_of(JOB)
        for metadata in (described(1), described(2, kind=CheckpointKind.SAVEPOINT), described(5)):
            file = crashed.begin(metadata).create_file("a")
            file.write(b"x")
            file.close()
        complete = make(storage, described(3))
        with begun(storage, described(4)) as pending:
            assert len(storage.remove_orphans(below=5)) == 2
            assert storage.remove_orphans(below=5) == []
            pending.complete({})
        assert len(storage.remove_orphans(below=6)) == 1
        assert len(storage.checkpoints()) == 2
        check_content(storage, complete.location)

    @pytest.mark.parametrize(
        ("change", "told"),
        [
            (lambda data: data[:-1], "expected 300003 bytes, found 300002"),
            (lambda data: data + b"x", "expected 300003 bytes, found 300004"),
            (lambda data: b"0" + data[1:], "expected sha256 [0-9a-f]{64}, found [0-9a-f]{64}"),
            (None, "it is gone, expected 300003 bytes"),
        ],
    )
    def test_a_damaged_file_is_named(
        self, storage: CheckpointStorage, damage: Any, change: Any, told: str
    ) -> None:
        older, made = make(storage, described(1)), make(storage, described(2))
        damage(made.location, "totals/0", change)
        stored = storage.open(made.location)
        with pytest.raises(CheckpointDamagedError, match=told) as caught:
            stored.verify()
        with pytest.raises(CheckpointDamagedError, match=told):
            stored.open_file("totals/0")
        assert caught.value.location == made.location
        assert caught.value.file.startswith("totals-0")
        assert "restore from an older checkpoint" in str(caught.value)
        stored.open_file("positions").close()
        check_content(storage, older.location)

    @pytest.mark.parametrize(
        ("change", "told"),
        [
            (lambda data: data[:50], "does not end with the sha256 of its content"),
            (lambda data: data.replace(b"revenue", b"Revenue"), "does not end with the sha256"),
            (lambda _: b"", "does not end with"),
            (None, "_metadata: it is gone"),
        ],
    )
    def test_damaged_metadata_is_told_and_not_listed(
        self, storage: CheckpointStorage, damage: Any, change: Any, told: str
    ) -> None:
        older, made = make(storage, described(1)), make(storage, described(2))
        damage(made.location, "_metadata", change)
        assert storage.checkpoints() == [older]
        (error,) = storage.damaged()
        assert (error.location, error.file) == (made.location, "_metadata")
        with pytest.raises(CheckpointDamagedError, match=told):
            storage.open(made.location)
        storage.delete(made.location)
        assert storage.damaged() == []
