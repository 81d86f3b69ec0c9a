"""Folders of part files. What holds for every sink of two-phase commit is in tests/contract."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from millstream.connectors import csv, jsonl
from millstream.connectors.files import EncodeError
from millstream.connectors.transactional_file import FolderSink, PartsTransaction
from millstream.core.errors import ConfigError, SinkError
from millstream.core.sink import SinkContext
from millstream.core.two_phase import DataLossError, TransactionId

CONTEXT = SinkContext("job", "out")


def begun(sink: FolderSink, checkpoint: int = 1) -> PartsTransaction:
    if checkpoint == 1:
        sink.validate()
        sink.open(CONTEXT)
    return sink.begin_transaction(TransactionId("job", "out", 0, 1, checkpoint))


def write(sink: FolderSink, written: Sequence[Sequence[Any]]) -> None:
    """Commit one epoch."""
    transaction = begun(sink)
    for batch in written:
        sink.invoke_batch(transaction, batch)
    handle = sink.pre_commit(transaction)
    assert handle is not None
    sink.commit(handle)
    sink.close()


def parts(folder: Path) -> list[str]:
    return [path.read_text() for path in sorted(folder.glob("part-*"))]


def test_parts_sorted_by_name_have_the_records_in_order(tmp_path: Path) -> None:
    sink = jsonl.sink(folder=tmp_path / "out")
    for checkpoint in range(1, 12):
        transaction = begun(sink, checkpoint)
        sink.invoke(transaction, checkpoint)
        sink.commit(sink.pre_commit(transaction) or {})
    sink.close()
    assert parts(tmp_path / "out") == [f"{number}\n" for number in range(1, 12)]
    names = sorted(os.listdir(tmp_path / "out"))
    assert names[0] == ".part-3d942f1ebd79-0-000001-00000011.millstream.done"
    assert names[1] == "part-3d942f1ebd79-0-000001-00000001-00000.jsonl"
    assert len(names) == 12  # of the notes only the last one stays


@pytest.mark.parametrize(
    ("every", "expected"),
    [
        (1, ["0\n", "1\n", "2\n", "3\n", "4\n", "5\n", "6\n"]),
        (3, ["0\n1\n2\n", "3\n4\n5\n", "6\n"]),
        (7, ["0\n1\n2\n3\n4\n5\n6\n"]),
        ("1KB", ["0\n1\n2\n3\n4\n5\n6\n"]),
        (None, ["0\n1\n2\n3\n4\n5\n6\n"]),
    ],
)
def test_a_part_has_at_most_so_many_records(
    tmp_path: Path, every: int | str | None, expected: list[str]
) -> None:
    write(jsonl.sink(folder=tmp_path, roll_every=every), [[0, 1], [], range(2, 7)])
    assert parts(tmp_path) == expected


def test_a_part_ends_with_the_batch_by_which_it_has_its_size(tmp_path: Path) -> None:
    write(jsonl.sink(folder=tmp_path, roll_every="1KB"), [["x" * 300] * 2] * 5)
    assert [len(part) for part in parts(tmp_path)] == [1212, 1212, 606]


def test_each_part_has_the_header(tmp_path: Path) -> None:
    rows = [{"a": number, "b": None} for number in range(3)]
    write(csv.sink(folder=tmp_path / "1", roll_every=2), [rows])
    write(csv.sink(folder=tmp_path / "2", fields=["b", "a"], roll_every=2), [rows])
    assert parts(tmp_path / "1") == ["a,b\n0,\n1,\n", "a,b\n2,\n"]
    assert parts(tmp_path / "2") == ["b,a\n,0\n,1\n", "b,a\n,2\n"]


def test_a_batch_with_a_record_that_cannot_be_written_writes_nothing(tmp_path: Path) -> None:
    sink = csv.sink(folder=tmp_path, roll_every=2)
    transaction = begun(sink)
    with pytest.raises(EncodeError, match=r"csv sink: cannot write the record \{'b': 3\}: it has"):
        sink.invoke_batch(transaction, [{"a": 1}, {"a": 2}, {"b": 3}])
    assert os.listdir(tmp_path) == []
    sink.invoke_batch(transaction, [{"a": 1}])
    sink.commit(sink.pre_commit(transaction) or {})
    sink.close()
    assert parts(tmp_path) == ["a\n1\n"]


def test_what_is_staged_and_what_appears_is_made_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    fsync, rename = os.fsync, os.rename

    def synced(descriptor: int) -> None:
        done.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    def renamed(path: Path, to: Path) -> None:
        done.append("rename")
        rename(path, to)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "rename", renamed)
    sink = jsonl.sink(folder=tmp_path / "out", roll_every=1)
    transaction = begun(sink)
    assert done == ["folder"]  # the one above, which has a new folder in it
    sink.invoke_batch(transaction, [1, 2])
    handle = sink.pre_commit(transaction)
    assert done == ["folder", "file", "file", "folder"]
    sink.commit(handle or {})
    assert done == ["folder", "file", "file", "folder", "rename", "rename", "folder"]
    sink.recover_and_commit(handle)  # the run before may have been killed before it had synced
    assert done[-2:] == ["folder", "folder"]


def committed(tmp_path: Path) -> tuple[FolderSink, dict[str, Any], Path]:
    sink = jsonl.sink(folder=tmp_path)
    transaction = begun(sink)
    sink.invoke(transaction, 1)
    handle = sink.pre_commit(transaction)
    assert handle is not None
    return sink, handle, tmp_path / handle["parts"][0][0]


def test_a_part_that_a_reader_has_taken_away_is_no_loss(tmp_path: Path) -> None:
    sink, handle, part = committed(tmp_path)
    sink.commit(handle)
    part.unlink()
    sink.commit(handle)
    later = jsonl.sink(folder=tmp_path)
    later.open(CONTEXT)
    later.recover_and_commit(handle)
    assert not part.exists()


def test_a_part_that_is_lost_is_named_and_can_be_given_up(tmp_path: Path) -> None:
    sink, handle, part = committed(tmp_path)
    (tmp_path / f".{part.name}.millstream.tmp").unlink()
    moved = {**handle, "folder": "/elsewhere"}
    with pytest.raises(DataLossError, match=rf"neither .*{part.name}.* was written in /elsewhere"):
        sink.commit(moved)
    with pytest.raises(DataLossError, match="make an empty file of the second name to go on"):
        sink.commit(handle)
    part.touch()
    sink.commit(handle)


def test_a_part_that_was_cut_is_named(tmp_path: Path) -> None:
    sink, handle, part = committed(tmp_path)
    (tmp_path / f".{part.name}.millstream.tmp").write_bytes(b"1")
    with pytest.raises(DataLossError, match=r"cut or changed: .* has 1 bytes instead of 2"):
        sink.commit(handle)


def test_a_file_that_has_a_parts_name_already_is_not_replaced(tmp_path: Path) -> None:
    sink, handle, part = committed(tmp_path)
    part.write_text("precious")
    with pytest.raises(SinkError, match="cannot appear: there is a file of that name"):
        sink.commit(handle)
    assert part.read_text() == "precious"
    part.unlink()
    sink.commit(handle)
    assert part.read_text() == "1\n"


def test_a_run_number_that_comes_again_is_refused(tmp_path: Path) -> None:
    sink, handle, _ = committed(tmp_path)
    sink.commit(handle)
    again = jsonl.sink(folder=tmp_path)
    with pytest.raises(SinkError, match=r"has a part .* already, .* same number \(1\).* empty it"):
        again.invoke(begun(again), 1)


def test_recovery_takes_nothing_that_is_not_its_own(tmp_path: Path) -> None:
    sink, handle, part = committed(tmp_path)
    others = [
        tmp_path / ".other.millstream.tmp",
        tmp_path / f".{part.name}.tmp",
        tmp_path / ".part-000000000000-0-000001-00000001-00000.jsonl.millstream.tmp",
    ]
    for other in others:
        other.touch()
    sink.recover_and_abort(2)
    assert sorted(tmp_path.iterdir()) == sorted(others)
    assert handle["epoch"] == 1


def test_the_folder_is_checked_and_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"jsonl sink: there is no folder '.*no' to make '.*out'"):
        jsonl.sink(folder=tmp_path / "no" / "out").validate()
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"folder= takes a folder, but .*file' is none; for one"):
        jsonl.sink(folder=tmp_path / "file").validate()
    sink = jsonl.sink(folder=tmp_path / "out")
    sink.validate()
    assert not (tmp_path / "out").exists()
    write(sink, [[1]])
    assert len(parts(tmp_path / "out")) == 1
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(ConfigError, match="no permission to read and write in"):
        sink.validate()


@pytest.mark.parametrize("factory", [jsonl.sink, csv.sink])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "give one of path=, for one file that appears at the end, and folder="),
        ({"path": "a", "folder": "b"}, "give one of path="),
        ({"path": "a", "roll_every": 5}, "roll_every= takes nothing without folder=; got 5; with"),
        ({"folder": ""}, "folder= takes the path of a folder"),
        ({"folder": "a", "roll_every": 0}, "roll_every= takes an integer from 1 on"),
        ({"folder": "a", "roll_every": True}, "roll_every= takes an integer from 1 on"),
        ({"folder": "a", "roll_every": 1.5}, "roll_every= takes a number of records, or a size"),
        ({"folder": "a", "roll_every": "1m"}, "for parts by time set the checkpoint interval"),
        ({"folder": "a", "roll_every": "0MB"}, "roll_every= takes a number of records, or a size"),
    ],
)
def test_a_wrong_option_is_named(factory: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        factory(**options)


def test_the_options_are_described() -> None:
    described = jsonl.sink(folder="out", roll_every="64 MB").describe()
    assert described == {"folder": "out", "roll_every": "64,000,000 bytes"}
    described = csv.CONNECTOR.make_sink({"folder": "out", "fields": ["a"]}).describe()
    assert described == {"folder": "out", "roll_every": None, "fields": ["a"]}
