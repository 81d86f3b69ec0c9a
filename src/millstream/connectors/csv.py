"""CSV files: a header line, then a record per row."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any, TypeVar, overload

import msgspec

from millstream.connectors.atomic_file import AtomicFile, FileState, check_writable
from millstream.connectors.csv_rows import CsvFormat, CsvHeader, csv_format, next_rows
from millstream.connectors.csv_table import CsvDecoder
from millstream.connectors.csv_writer import CsvWriter
from millstream.connectors.files import READ_BYTES, BlockReader, encode_error
from millstream.connectors.options import bad_option, check_names, check_path
from millstream.connectors.record_fields import RecordField, fields_of
from millstream.connectors.transactional_file import FolderSink, PartKind, folder_sink
from millstream.core.connector import Connector
from millstream.core.errors import ConfigError
from millstream.core.sink import SinkContext
from millstream.core.source import BatchSource, SourceBatch
from millstream.core.two_phase import StatefulSink

T = TypeVar("T")


class CsvSource(BatchSource[T]):
    """Emits a file's rows in blocks; its ``decoder`` makes records of them.

    Its position is ``{"path": …, "offset": …, "line": …}``: the byte at which the next row begins,
    and its line's number, which only errors use.
    """

    def __init__(
        self,
        path: Path,
        decoder: CsvDecoder[T],
        format: CsvFormat,
        header: tuple[str, ...] | None,
        read_bytes: int = READ_BYTES,
    ) -> None:
        self.path = path
        self.decoder: CsvDecoder[T] = decoder
        self.format = format
        self.header = header
        self._read_bytes = read_bytes
        self._reader = self._new_reader()

    def validate(self) -> None:
        """Check that the file can be read, and that its header has the columns of the type.

        Raises:
            ConfigError: one of them does not hold.
        """
        with closing(self._new_reader()) as reader:
            reader.open()
            self._read_header(reader)

    def validate_position(self, position: Any) -> None:
        """Check that a line of this file begins there.

        Raises:
            ConfigError: it does not.
        """
        with closing(self._new_reader()) as reader:
            reader.open()
            reader.check_position(position)

    def open(self) -> None:
        """Open the file."""
        self._reader = self._new_reader()
        self._reader.open()

    def read(self, position: Any) -> Iterator[SourceBatch[Any]]:
        """Yield blocks of up to 1,024 rows, to the end of the file as it is then.

        Raises:
            ConfigError: ``position`` is not in this file, or the header is not what is wanted.
            SourceError: the file cannot be read, or a quote in it is never closed.
        """
        reader = self._reader
        reader.seek(reader.first)
        header, line = self._read_header(reader)
        if position is not None:
            reader.seek(reader.check_position(position))
            line = position.get("line")
        path = os.fspath(self.path)
        while (rows := next_rows(reader, header, line)) is not None:  # it may have no rows
            if line is not None:
                line += rows.block.count(b"\n")
            yield rows, {"path": path, "offset": reader.offset, "line": line}

    def close(self) -> None:
        """Close the file."""
        self._reader.close()

    def describe(self) -> Mapping[str, Any]:
        """Return the options."""
        return {
            "path": os.fspath(self.path),
            "delimiter": self.format.delimiter,
            "null_values": sorted(self.format.null_values),
            "header": self.header and list(self.header),
            "encoding": self.format.encoding,
        }

    def _new_reader(self) -> BlockReader:
        return BlockReader(self.path, "csv source", self._read_bytes)

    def _read_header(self, reader: BlockReader) -> tuple[CsvHeader, int | None]:
        """Return the header and the line behind it, where the reader then is."""
        names, line = self.header, 1
        if names is None:
            names, line = self._cut_header(reader)
        header = CsvHeader(names, self.format, os.fspath(self.path))
        try:
            self.decoder.table(header)
        except ConfigError as error:
            raise ConfigError(f"csv source: {self.path}: {error}") from error
        return header, line

    def _cut_header(self, reader: BlockReader) -> tuple[tuple[str, ...], int]:
        """Return the names in the first row and the line behind it."""
        line = 1
        header = CsvHeader((), self.format, os.fspath(self.path))
        while True:
            start = reader.offset
            rows = next_rows(reader, header, line)
            if rows is None:
                raise ConfigError(
                    f"csv source: {self.path} is empty; expected a line with the column names, or "
                    "header=[…] for a file that has none"
                )
            if rows:
                break
            line += rows.block.count(b"\n")
        lines = 1 if rows.spans is None else rows.spans[0][1]
        text = b"".join(part + b"\n" for part in rows.block.split(b"\n")[:lines])
        reader.seek(min(start + len(text), reader.offset))  # less where no newline ends the file
        try:
            found = self.format.rows(StringIO(text.decode(self.format.encoding), newline="\n"))
            return tuple(next(row for row in found if row)), line + lines
        except (UnicodeDecodeError, csv.Error) as error:
            raise ConfigError(
                f"csv source: {self.path}: the header cannot be read: {error}; got {text[:200]!r}"
            ) from error


class CsvSink(StatefulSink[Any]):
    """Writes records as CSV rows; the file appears when the run has finished."""

    def __init__(self, path: Path, fields: tuple[str, ...] | None) -> None:
        self.path = path
        self.fields = fields
        self._file: AtomicFile | None = None
        self._writer = CsvWriter(fields)
        self._state: _CsvState | None = None

    def validate(self) -> None:
        """Check that the folder is there and can be written to.

        Raises:
            ConfigError: it is not.
        """
        check_writable(self.path, "csv sink")

    def restore_state(self, state: Any) -> None:
        """Go on with the temporary file that an earlier run has left, under its header.

        Raises:
            ConfigError: the state is another sink's, or its header is not ``fields``.
        """
        restored = _CsvState.of(state, "csv sink")
        header = restored.header
        if self.fields is not None and header != self.fields:
            raise ConfigError(
                f"csv sink: {self.path} was begun with the header {header and list(header)}, but "
                f"fields= says {list(self.fields)}; set it back, or begin anew with a fresh run"
            )
        self._state = restored

    def open(self, ctx: SinkContext) -> None:
        """Begin a temporary file in the same folder, or go on with one."""
        self._file = AtomicFile(self.path, "csv sink", self._state)
        self._writer = CsvWriter(self.fields if self._state is None else self._state.header)
        if self._state is None:
            self._file.write(self._writer.begin())

    def invoke(self, value: Any, ctx: SinkContext) -> None:
        """Write one record."""
        self.invoke_batch([value], ctx)

    def invoke_batch(self, values: Sequence[Any], ctx: SinkContext) -> None:
        """Write records, all or none.

        Raises:
            EncodeError: a record has other fields than the first, or a cell that is no scalar.
        """
        assert self._file is not None  # noqa: S101  # open comes first
        try:
            data = self._writer.encode(values)
        except Exception as error:
            raise encode_error(
                "csv sink", values, lambda value: self._writer.encode([value]), error
            ) from error
        self._file.write(data)

    def flush(self) -> None:
        """Make what was written durable, still under the temporary name."""
        if self._file is not None:
            self._file.flush()

    def snapshot_state(self) -> Any:
        """Return the header and how long the temporary file is, which is then kept."""
        assert self._file is not None  # noqa: S101  # open comes first
        file = msgspec.to_builtins(self._file.snapshot())
        return {**file, "header": self._writer.header and list(self._writer.header)}

    def finish(self) -> None:
        """Let the file appear; with neither a record nor ``fields`` it is empty."""
        if self._file is not None:
            self._file.finish()

    def close(self) -> None:
        """Remove what is half-written, unless a checkpoint may name it."""
        if self._file is not None:
            self._file.close()

    def describe(self) -> Mapping[str, Any]:
        """Return the options."""
        return {"path": os.fspath(self.path), "fields": self.fields and list(self.fields)}


class _CsvState(FileState, frozen=True):
    """How far a file has come, and its header as far as it is known."""

    header: tuple[str, ...] | None


@overload
def source(
    path: str | os.PathLike[str],
    *,
    delimiter: str = ",",
    null_values: Sequence[str] = ("",),
    header: Sequence[str] | None = None,
    encoding: str = "utf-8",
) -> CsvSource[dict[str, str | None]]: ...
@overload
def source(
    path: str | os.PathLike[str],
    type: type[T],
    delimiter: str = ",",
    null_values: Sequence[str] = ("",),
    header: Sequence[str] | None = None,
    encoding: str = "utf-8",
) -> CsvSource[T]: ...
def source(  # noqa: PLR0913, PLR0917  # six ways in which CSV files differ, all with a default
    path: str | os.PathLike[str],
    type: type[Any] = dict,
    delimiter: str = ",",
    null_values: Sequence[str] = ("",),
    header: Sequence[str] | None = None,
    encoding: str = "utf-8",
) -> CsvSource[Any]:
    """Make a source of the rows in a CSV file.

    Quotes are double quotes, as in RFC 4180; blank lines and a byte order mark are skipped.

    Args:
        path: the file.
        type: what a row becomes: ``dict`` (of str or None), or a ``msgspec.Struct`` or dataclass,
            whose fields name the columns to read and their types ("12" becomes 12). A field with a
            default may be missing from the file.
        delimiter: what separates cells, one character.
        null_values: cells that become None, such as ``("", "NA")``.
        header: the column names of a file that has no line with them.
        encoding: an encoding that keeps ASCII, such as utf-8, latin-1 or cp1252.

    Raises:
        ConfigError: an option is of the wrong type or out of range.
    """
    who = "csv source"
    checked_path = check_path(who, path)
    if type is not dict:
        _fields(who, "type", "dict, a msgspec.Struct or a dataclass", type)
    format = csv_format(who, delimiter, encoding, null_values)
    names = None
    if header is not None:
        names = check_names(who, "header", header, '["id", "amount"]', distinct=True)
    return CsvSource(checked_path, CsvDecoder(type), format, names)


@overload
def sink(
    path: str | os.PathLike[str], fields: Sequence[str] | type[Any] | None = None
) -> CsvSink: ...
@overload
def sink(
    *,
    fields: Sequence[str] | type[Any] | None = None,
    folder: str | os.PathLike[str],
    roll_every: int | str | None = None,
) -> FolderSink: ...
def sink(
    path: str | os.PathLike[str] | None = None,
    fields: Sequence[str] | type[Any] | None = None,
    *,
    folder: str | os.PathLike[str] | None = None,
    roll_every: int | str | None = None,
) -> CsvSink | FolderSink:
    """Make a sink that writes a CSV file, or a folder of them, in UTF-8, lines ending in a newline.

    Records are dicts, Structs or dataclasses, all with the same fields; None becomes an empty
    cell, dates are written as ISO 8601, True as ``true``.

    With ``path`` there is one file, which appears whole, in place of an older one, when the run has
    finished. With ``folder`` there are files ``part-….csv``, each with the header, which appear
    checkpoint by checkpoint beside those of earlier runs; sorted by name they have the records in
    order.

    Args:
        path: the file; its folder must exist.
        fields: the columns, in order; or a ``msgspec.Struct`` or dataclass, whose fields they are.
            By default they are the fields of the first record of the run, so a file without records
            has no header: it is empty.
        folder: the folder; made if it is not there.
        roll_every: of a folder: when the next part begins within a checkpoint's records: after so
            many (``100_000``), or by a size (``"64MB"``). By default there is one part for each
            checkpoint.

    Raises:
        ConfigError: an option is of the wrong type, or there is not one of path and folder.
    """
    names = _header(fields)
    kind = PartKind(
        "csv sink", ".csv", partial(CsvWriter, names), {"fields": names and list(names)}
    )
    if (parts := folder_sink(kind, path, folder, roll_every)) is not None:
        return parts
    return CsvSink(check_path(kind.who, path), names)


def _header(fields: Any) -> tuple[str, ...] | None:
    """Return the names that the option ``fields`` of the sink says."""
    who = "csv sink"
    if isinstance(fields, type):
        known = _fields(who, "fields", "names, a msgspec.Struct or a dataclass", fields)
        return tuple(field.column for field in known)
    if fields is None:
        return None
    return check_names(who, "fields", fields, '["id", "amount"]', distinct=True)


def _fields(who: str, option: str, expected: str, record_type: Any) -> tuple[RecordField, ...]:
    """Return the fields of a Struct or dataclass.

    Raises:
        ConfigError: it is neither, or has none.
    """
    try:
        fields = fields_of(record_type)
    except (NameError, TypeError) as error:  # NameError: an annotation that names no class
        raise bad_option(who, option, expected, record_type, str(error)) from error
    if not fields:
        raise bad_option(who, option, expected, record_type)
    return fields


CONNECTOR = Connector("csv", source=source, sink=sink)
