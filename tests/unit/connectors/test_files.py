"""Blocks of whole lines."""

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from millstream.connectors import files
from millstream.connectors.files import BlockReader
from millstream.core.errors import ConfigError, SourceError

in_one_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def opened(path: Path, read_bytes: int = 1 << 18) -> BlockReader:
    reader = BlockReader(path, "test source", read_bytes)
    reader.open()
    return reader


def blocks(reader: BlockReader) -> list[bytes]:
    found = []
    while block := reader.next_block():
        found.append(block)
    reader.close()
    return found


@in_one_folder
@given(
    text=st.lists(st.sampled_from([b"\n", b"a", b"bc\n", b"d" * 40, b"\r\n"]), max_size=60),
    read_bytes=st.integers(1, 64),
)
def test_blocks_are_the_file_cut_behind_newlines(
    tmp_path: Path, text: list[bytes], read_bytes: int
) -> None:
    path = tmp_path / "text"
    path.write_bytes(b"".join(text))
    found = blocks(opened(path, read_bytes))
    assert b"".join(found) == b"".join(text)
    assert all(block.endswith(b"\n") for block in found[:-1])


@pytest.mark.parametrize("line", [b"\n", b"1\n", b"x" * 200 + b"\n", b"y" * 3000 + b"\n"])
def test_no_block_has_more_than_1024_lines(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "text"
    path.write_bytes(line * 5000 + b"\n" * 5000)
    counts = [block.count(b"\n") for block in blocks(opened(path))]
    assert sum(counts) == 10_000
    assert max(counts) <= 1024
    assert len(counts) < (100 if len(line) < 3000 else 200)


def test_a_line_of_64_mb_is_read_in_one_pass(tmp_path: Path, monkeypatch: Any) -> None:
    path = tmp_path / "text"
    size = 64 << 20
    path.write_bytes(b"short\n" * 3000 + b"x" * size + b"\nend")
    reads: list[int] = []
    read = BlockReader._read_into

    def counted(self: BlockReader, buffer: bytearray | memoryview) -> int:
        reads.append(len(buffer))
        return read(self, buffer)

    monkeypatch.setattr(BlockReader, "_read_into", counted)
    found = blocks(opened(path))
    assert found[-2] == b"x" * size + b"\n"
    assert found[-1] == b"end"
    assert len(reads) < size // files.READ_BYTES + 50
    assert reads[-1] < 4 * files.READ_BYTES  # the buffer is small again


def test_an_endless_line_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_LINE_BYTES", 1000)
    path = tmp_path / "text"
    path.write_bytes(b"ok\n" + b"\0" * 3000)
    reader = opened(path, 100)
    assert reader.next_block() == b"ok\n"
    with pytest.raises(SourceError, match="the line at byte 3 is longer than 1,000 bytes"):
        reader.next_block()
    reader.close()


def test_what_is_given_back_comes_again_and_longer(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_bytes(b"ab\n" * 100)
    reader = opened(path, 10)
    first = reader.next_block()
    reader.give_back(first)
    second = reader.next_block(factor=2)
    assert len(second) > len(first)
    reader.give_back(second[3:])
    assert reader.offset == 3
    assert b"".join(blocks(reader)) == b"ab\n" * 99
    assert reader.finished


def test_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_bytes(b"\xef\xbb\xbfa\n")
    reader = opened(path)
    assert reader.next_block() == b"a\n"
    assert (reader.first, reader.offset) == (3, 5)
    reader.close()


def test_a_missing_file_is_named_with_where_it_was_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"there is no file 'no.txt' in .*test_a_missing"):
        opened(Path("no.txt"))
    with pytest.raises(ConfigError, match=r"path= takes a file, but '.*' is a folder"):
        opened(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match="no regular file, so a restart could not go back"):
        opened(tmp_path / "pipe")


def test_an_unreadable_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "text"
    path.write_bytes(b"a\n")
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(ConfigError, match="no permission to read"):
        opened(path)


def test_a_path_that_cannot_be_looked_at_is_named(tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(b"a\n")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(ConfigError, match=r"cannot open '.*loop': Too many levels of symbolic"):
        opened(tmp_path / "loop")
    with pytest.raises(ConfigError, match=r"cannot open 'x+': File name too long"):
        opened(Path("x" * 300))
    with pytest.raises(ConfigError, match=r"there is no file '.*text/below'"):
        opened(tmp_path / "text" / "below")


def test_a_file_that_vanishes_as_it_is_opened_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "check_readable", lambda *_: None)
    with pytest.raises(ConfigError, match=r"test source: cannot open '.*': No such file"):
        opened(tmp_path / "gone")


@pytest.mark.parametrize(
    ("position", "message"),
    [
        (7, "is not one of a file"),
        ({"path": "{path}"}, "is not one of a file"),
        ({"path": "{path}", "offset": "3"}, "is not one of a file"),
        ({"path": "other", "offset": 3}, "is in 'other', but path= is"),
        ({"path": "{path}", "offset": 100}, "has 9 bytes, but the saved position is 100"),
        ({"path": "{path}", "offset": 4}, "no line begins at the saved position 4"),
    ],
)
def test_a_position_that_does_not_fit_is_refused(
    tmp_path: Path, position: Any, message: str
) -> None:
    path = tmp_path / "text"
    path.write_bytes(b"ab\ncd\nend")
    if isinstance(position, dict):
        position["path"] = position["path"].format(path=path)
    reader = opened(path)
    with pytest.raises(ConfigError, match=message):
        reader.check_position(position)
    for offset in (0, 3, 6, 9):
        assert reader.check_position({"path": str(path), "offset": offset}) == offset
    reader.close()


def test_a_last_line_that_grew_after_it_was_read_is_no_new_line(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_bytes(b"ab\ncd-more\n")
    reader = opened(path)
    with pytest.raises(ConfigError, match="was unfinished when it was read and has grown since"):
        reader.check_position({"path": str(path), "offset": 5})
    reader.close()
