"""What connectors on files share: reading blocks of whole lines, and how records are refused."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping, Sequence
from io import FileIO
from pathlib import Path
from typing import Any

from millstream.core.element import CHUNK_SIZE
from millstream.core.errors import ConfigError, RecordError, SourceError

READ_BYTES = 256 * 1024  # stays in a core's cache: 1 MB measured 5 % slower, 64 KB 10 %
FIRST_AIM_BYTES = 64 * 1024  # of a block, until the length of a line is known
AIM_LINES = CHUNK_SIZE * 15 // 16  # lines vary in length: aimed below the limit, few blocks are cut
MAX_LINE_BYTES = 1 << 30  # a line is held in memory whole; one of 1 GiB is another kind of file
_BOM = b"\xef\xbb\xbf"


class EncodeError(RecordError):
    """A record cannot be written in the sink's format; the message has the record."""


def count_lines(block: bytes) -> int:
    """Count the newlines of a block.

    Deleting them finds each by memchr; ``bytes.count`` looks at every byte, which takes 2.5 times
    as long on lines of 60 bytes.
    """
    return len(block) - len(block.replace(b"\n", b""))


class BlockReader:
    """Reads a file in blocks of whole lines, up to 1,024 of them, cut without looking at each.

    Args:
        path: a regular file.
        who: the connector and side, for errors.
        read_bytes: most bytes to read at once.

    Attributes:
        first: where the text begins: behind a UTF-8 byte order mark, if there is one.
        offset: where the next block begins.
        lines: newlines in the last block.
    """

    def __init__(self, path: Path, who: str, read_bytes: int = READ_BYTES) -> None:
        self.path = path
        self.who = who
        self.first = 0
        self.offset = 0
        self.lines = 0
        self._read_bytes = read_bytes
        self._aim = min(read_bytes, FIRST_AIM_BYTES)  # bytes in which a block's lines are expected
        self._file: FileIO | None = None
        self._buffer = bytearray()
        self._start = self._end = 0  # of what in the buffer was not yet handed out
        self._at_end = False

    def open(self) -> None:
        """Open the file and go to where its text begins.

        Raises:
            ConfigError: there is no such file, or it cannot be read.
        """
        check_readable(self.path, self.who)
        try:
            self._file = FileIO(self.path)
        except OSError as error:
            raise _unreadable(self.path, self.who, error) from error
        self.first = len(_BOM) if self._read(len(_BOM)) == _BOM else 0
        self.seek(self.first)

    def close(self) -> None:
        """Close the file; again is fine."""
        if self._file is not None:
            self._file.close()

    @property
    def finished(self) -> bool:
        """True once the last block ended at the end of the file."""
        return self._at_end and self._start == self._end

    def seek(self, offset: int) -> None:
        """Let the next block begin at ``offset``."""
        assert self._file is not None  # noqa: S101  # open comes first
        self._file.seek(offset)
        self.offset = offset
        self._start = self._end = 0
        self._at_end = False

    def next_block(self, factor: int = 1) -> bytes:
        """Return the next lines, b"" at the end; only the file's last line may lack its newline.

        Args:
            factor: above 1 where a block was given back for being too short: allows that many
                times as many lines, and reads that many times as much before it cuts.
        """
        aim = self._aim if factor == 1 else self._read_bytes * factor
        cut = self._find_cut(aim)
        if factor > 1 and self._at_end and self._end - self._start <= aim:
            cut = self._end
        block = bytes(memoryview(self._buffer)[self._start : cut])
        lines = count_lines(block)
        most = CHUNK_SIZE * factor
        while lines > most:
            aim = len(block) * AIM_LINES * factor // lines
            block = block[: block.rfind(b"\n", 0, aim) + 1 or block.find(b"\n") + 1]
            lines = count_lines(block)
        if lines:
            self._aim = min(self._read_bytes, max(len(block) * AIM_LINES // lines, 1))
        self.lines = lines
        self._start += len(block)
        self.offset += len(block)
        return block

    def give_back(self, tail: bytes) -> None:
        """Let the next block begin with ``tail``, the end of the last one."""
        self._start -= len(tail)
        self.offset -= len(tail)

    def _find_cut(self, aim: int) -> int:
        """Return where in the buffer a block ends: behind a newline, or at the file's end.

        It is the last newline within ``aim`` bytes, or else the first one behind.
        """
        searched = aim
        while True:
            aimed = self._start + aim
            if self._end >= aimed or self._at_end:
                cut = self._buffer.rfind(b"\n", self._start, min(aimed, self._end)) + 1
                cut = cut or self._buffer.find(b"\n", self._start + searched, self._end) + 1
                if cut or self._at_end:
                    return cut or self._end
                searched = self._end - self._start
                if searched > MAX_LINE_BYTES:
                    raise SourceError(
                        f"{self.who}: {self.path}: the line at byte {self.offset:,} is longer "
                        f"than {MAX_LINE_BYTES:,} bytes; is this a text file?"
                    )
            self._read_on()

    def _read_on(self) -> None:
        """Read into what is free of the buffer, behind what it holds.

        The buffer stays one object: a new one of this size would come from the system each time,
        page by page. A long line doubles it, so that it is not copied for every read.
        """
        kept = self._buffer[self._start : self._end]
        size = 2 * max(self._read_bytes, len(kept))
        if len(self._buffer) != size:
            self._buffer = bytearray(size)
        self._buffer[: len(kept)] = kept
        free = memoryview(self._buffer)[len(kept) :]
        count = self._read_into(free[: size // 2])
        self._start, self._end = 0, len(kept) + count
        self._at_end = not count

    def check_position(self, position: Any) -> int:
        """Return the offset in a saved position.

        Raises:
            ConfigError: it is of another file, or the file is not what it was.
        """
        name = os.fspath(self.path)
        offset = position.get("offset") if isinstance(position, Mapping) else None
        if not isinstance(offset, int) or offset < 0:
            raise ConfigError(
                f"{self.who}: the saved position {position!r} is not one of a file; it is another "
                "source's: start without the saved state"
            )
        if position.get("path") != name:
            raise ConfigError(
                f"{self.who}: the saved position is in {position.get('path')!r}, but path= is "
                f"{name!r}; set it back, or start without the saved state"
            )
        assert self._file is not None  # noqa: S101  # open comes first
        size = self._file.seek(0, os.SEEK_END)
        if offset > size:
            raise ConfigError(
                f"{self.who}: {name} has {size:,} bytes, but the saved position is {offset:,}: the "
                "file was cut or replaced; put it back, or start without the saved state"
            )
        if self.first < offset < size:
            self._file.seek(offset - 1)
            if self._read(1) != b"\n":
                raise ConfigError(
                    f"{self.who}: {name}: no line begins at the saved position {offset:,}: the "
                    "file was replaced, or its last line was unfinished when it was read and has "
                    "grown since; start without the saved state"
                )
        return offset

    def _read(self, size: int) -> bytes:
        data = bytearray(size)
        return bytes(data[: self._read_into(data)])

    def _read_into(self, buffer: bytearray | memoryview) -> int:
        assert self._file is not None  # noqa: S101  # open comes first
        try:
            return self._file.readinto(buffer) or 0
        except OSError as error:
            raise SourceError(
                f"{self.who}: cannot read {self.path} at byte {self.offset:,}: {error.strerror}"
            ) from error


def check_readable(path: Path, who: str) -> None:
    """Check that ``path`` is a file that can be read.

    Raises:
        ConfigError: it is not.
    """
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise ConfigError(
            f"{who}: there is no file {os.fspath(path)!r}"
            + ("" if path.is_absolute() else f" in {Path.cwd()}")
        ) from None
    except OSError as error:
        raise _unreadable(path, who, error) from error
    if not stat.S_ISREG(mode):
        folder = stat.S_ISDIR(mode)
        what = "a folder" if folder else "no regular file, so a restart could not go back"
        raise ConfigError(f"{who}: path= takes a file, but {os.fspath(path)!r} is {what}")
    if not os.access(path, os.R_OK):
        raise ConfigError(f"{who}: no permission to read {os.fspath(path)!r}")


def encode_error(
    who: str, values: Sequence[Any], encode: Callable[[Any], object], error: Exception
) -> EncodeError:
    """Return the error of a batch, naming the first of ``values`` that ``encode`` refuses."""
    for value in values:
        try:
            encode(value)
        except Exception as cause:  # noqa: BLE001  # whatever it is: it is about this record
            shown = repr(value)
            shown = shown if len(shown) <= 200 else shown[:200] + "…"  # noqa: PLR2004
            return EncodeError(f"{who}: cannot write the record {shown}: {cause}")
    return EncodeError(f"{who}: cannot write {len(values):,} records: {error}")


def _unreadable(path: Path, who: str, error: OSError) -> ConfigError:
    return ConfigError(f"{who}: cannot open {os.fspath(path)!r}: {error.strerror}")
