"""How CSV text becomes rows: where one ends, without looking at each where that can be told."""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from io import StringIO
from itertools import chain
from typing import Any, overload

from millstream.connectors.files import BlockReader
from millstream.connectors.options import bad_option, check_names
from millstream.core.codec import Lines
from millstream.core.element import CHUNK_SIZE
from millstream.core.errors import SourceError

_BLANK_AT_START = re.compile(rb"\r?\n")
_BLANK_INSIDE = re.compile(rb"\n\r?\n")
_STATEFUL = ("utf_7", "iso2022", "hz")  # encodings where an ASCII byte may be part of a character
_END = "end"  # a line put after a block: it stays a row by itself unless a quote is still open


@dataclass(frozen=True, slots=True)
class CsvFormat:
    """How a file's text is to be read.

    Attributes:
        delimiter: what separates cells.
        encoding: one in which line ends, quotes and the delimiter are the bytes of ASCII.
        null_values: cells that stand for None.
    """

    delimiter: str
    encoding: str
    null_values: frozenset[str]

    def rows(self, lines: Iterable[str]) -> Any:  # _csv.reader has no public name before 3.13
        """Return a reader of rows; its ``line_num`` counts the lines taken."""
        return csv.reader(lines, delimiter=self.delimiter)


def csv_format(who: str, delimiter: str, encoding: str, null_values: Sequence[str]) -> CsvFormat:
    """Return the format that a user's options describe.

    Raises:
        ConfigError: an option is of the wrong type or out of range.
    """
    nulls = check_names(who, "null_values", null_values, '("NA", "")')
    return CsvFormat(
        _checked_delimiter(who, delimiter), _checked_encoding(who, encoding), frozenset(nulls)
    )


@dataclass(frozen=True, slots=True)
class CsvHeader:
    """The column names of a file, and how its text is to be read: what a row needs to be read.

    Attributes:
        names: the column names.
        format: how the text is to be read.
        path: the file, for errors.
    """

    names: tuple[str, ...]
    format: CsvFormat
    path: str


class CsvRow(bytes):
    """The bytes of one row, and what is needed to read them apart from their file."""

    header: CsvHeader
    line: int | None


class CsvRows(Lines):
    """Rows in one bytes object; unlike a line, a row may have newlines inside quotes.

    Args:
        block: the bytes; each row ends with a newline.
        header: what they need to be read.
        line: the number of the first line in the file, if known.
        spans: for each row its first line in ``block`` and the one after its last, and thereby how
            many rows there are; None where each line is a row.
        cells: the rows cut into cells, where finding the spans has done that.
    """

    __slots__ = ("cells", "header", "line", "spans", "starts")

    def __init__(
        self,
        block: bytes,
        header: CsvHeader,
        line: int | None,
        spans: list[tuple[int, int]] | None = None,
        cells: list[list[str]] | None = None,
    ) -> None:
        super().__init__(block, block.count(b"\n") if spans is None else len(spans))
        self.header = header
        self.line = line
        self.spans = spans
        self.starts: Sequence[int] = (
            range(len(self)) if spans is None else [start for start, _ in spans]
        )
        self.cells = cells

    def _lines(self) -> list[bytes]:
        if self._cut is None:
            lines = self.block.split(b"\n")[:-1]
            if self.spans is not None:
                lines = [b"\n".join(lines[start:end]) for start, end in self.spans]
            self._cut = lines
        return self._cut

    def _row(self, text: bytes, start: int) -> CsvRow:
        row = CsvRow(text)
        row.header = self.header
        row.line = None if self.line is None else self.line + start
        return row

    def __iter__(self) -> Iterator[bytes]:
        # A list's iterator, because it has a length hint: that tells the engine which row failed.
        return iter(list(map(self._row, self._lines(), self.starts)))

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> Lines: ...
    def __getitem__(self, index: int | slice) -> bytes | Lines:
        if isinstance(index, int):
            return self._row(self._lines()[index], self.starts[index])
        part = CsvRows(b"", self.header, self.line)
        part._take(self._lines()[index])
        part.starts = self.starts[index]
        part.cells = None if self.cells is None else self.cells[index]
        return part


def next_rows(reader: BlockReader, header: CsvHeader, line: int | None) -> CsvRows | None:
    """Return the next rows of a file, or None at its end.

    Where there is no quote and no blank line, each line is a row, and none is looked at. Else the
    csv module says where rows end, so that cut and cells agree on malformed quotes too.

    Raises:
        SourceError: a quote is never closed, or the csv module cannot go on.
    """
    factor = 1
    while block := reader.next_block(factor):
        size = len(block)
        if not block.endswith(b"\n"):
            block += b"\n"
        quoted = b'"' in block
        if not quoted and not (_BLANK_AT_START.match(block) or _BLANK_INSIDE.search(block)):
            return CsvRows(block, header, line)
        spans, cells, used = _find_rows(block, header.format, reader, line)
        total = block.count(b"\n")
        if used == total:
            return CsvRows(block, header, line, spans, cells)
        if used:
            head = b"".join(part + b"\n" for part in block.split(b"\n")[:used])
            reader.give_back(block[len(head) : size])
            return CsvRows(head, header, line, spans, cells)
        if reader.finished:
            raise SourceError(
                f"{_where(reader, line)} has a quote that is never closed; was the file cut, or "
                'should the quote be written twice ("")?'
            )
        reader.give_back(block[:size])
        factor *= 2
    return None


def _find_rows(
    block: bytes, format: CsvFormat, reader: BlockReader, line: int | None
) -> tuple[list[tuple[int, int]], list[list[str]] | None, int]:
    """Return the rows' spans, their cells (None if some are not text), and the lines they use."""
    text, faulty = _decode(block, format.encoding)
    total = text.count("\n")
    rows = format.rows(chain(StringIO(text, newline="\n"), (_END,)))
    spans: list[tuple[int, int]] = []
    cells: list[list[str]] = []
    start = 0
    try:
        for row in rows:
            end = rows.line_num
            if end > total:
                break
            if row:
                spans.append((start, end))
                cells.append(row)
            start = end
            if len(spans) == CHUNK_SIZE:
                break
    except csv.Error as error:
        if spans:  # those are good; the next block begins with the row that is not
            return spans, None if faulty else cells, start
        if _is_unreadable(format, text.split("\n", start + 1)[start]):
            return [(start, start + 1)], None, start + 1  # the decoder's to refuse: one bad record
        at = None if line is None else line + start
        raise SourceError(
            f"{_where(reader, at)}: {error}; is a quote never closed there? "
            "If cells may be longer, call csv.field_size_limit(…) in the job file"
        ) from error
    return spans, None if faulty else cells, start


def _is_unreadable(format: CsvFormat, line: str) -> bool:
    try:
        list(format.rows([line]))
    except csv.Error:
        return True
    return False


def _decode(block: bytes, encoding: str) -> tuple[str, bool]:
    try:
        return block.decode(encoding), False
    except UnicodeDecodeError:  # its row is found, and then fails by itself
        return block.decode(encoding, "surrogateescape"), True


def _where(reader: BlockReader, line: int | None) -> str:
    number = f"before byte {reader.offset:,}" if line is None else f"line {line:,}"
    return f"{reader.who}: {reader.path}, {number}"


def _checked_delimiter(who: str, delimiter: Any) -> str:
    valid = isinstance(delimiter, str) and len(delimiter) == 1 and delimiter.isascii()
    if not valid or delimiter in '"\r\n\0':
        expected = "one ASCII character, neither a quote nor a line end"
        raise bad_option(who, "delimiter", expected, delimiter)
    return str(delimiter)


def _checked_encoding(who: str, encoding: Any) -> str:
    expected = "an encoding that keeps ASCII, such as 'utf-8', 'latin-1' or 'cp1252'"
    try:
        name = codecs.lookup(encoding).name
        keeps_ascii = '\n\r",;a'.encode(name) == b'\n\r",;a'
    except (LookupError, TypeError, UnicodeError):
        raise bad_option(who, "encoding", expected, encoding) from None
    if name == "utf-8-sig":
        return "utf-8"  # the byte order mark is skipped anyway
    if not keeps_ascii or name.replace("-", "_").startswith(_STATEFUL):
        raise bad_option(who, "encoding", expected, encoding, "convert the file first")
    return name
