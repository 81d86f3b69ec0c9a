"""JSON Lines files: a JSON document per line."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar, overload

import msgspec

from millstream.connectors.atomic_file import AtomicFile, FileState, check_writable
from millstream.connectors.files import READ_BYTES, BlockReader, check_readable, encode_error
from millstream.connectors.options import bad_option, check_path
from millstream.connectors.transactional_file import FolderSink, PartKind, folder_sink
from millstream.core.codec import Decoder, FileLines, Lines, json, text
from millstream.core.connector import Connector
from millstream.core.errors import ConfigError
from millstream.core.sink import SinkContext
from millstream.core.source import BatchSource, SourceBatch
from millstream.core.two_phase import StatefulSink

T = TypeVar("T")


class JsonlSource(BatchSource[T]):
    """Emits a file's lines in blocks; its ``decoder`` makes records of them.

    Its position is ``{"path": …, "offset": …, "line": …}``: the byte at which the next line begins,
    and its number, which only errors use.
    """

    def __init__(
        self, path: Path, decoder: Decoder[Any] | None, read_bytes: int = READ_BYTES
    ) -> None:
        self.path = path
        self.decoder = decoder
        self._reader = BlockReader(path, "jsonl source", read_bytes)
        self._read_bytes = read_bytes

    def validate(self) -> None:
        """Check that the file is there and can be read.

        Raises:
            ConfigError: it is not.
        """
        check_readable(self.path, "jsonl source")

    def validate_position(self, position: Any) -> None:
        """Check that a line of this file begins there.

        Raises:
            ConfigError: it does not.
        """
        with closing(BlockReader(self.path, "jsonl source")) as reader:
            reader.open()
            reader.check_position(position)

    def open(self) -> None:
        """Open the file."""
        self._reader = BlockReader(self.path, "jsonl source", self._read_bytes)
        self._reader.open()

    def read(self, position: Any) -> Iterator[SourceBatch[Any]]:
        """Yield blocks of up to 1,024 lines, to the end of the file as it is then.

        Raises:
            ConfigError: ``position`` is not in this file.
            SourceError: the file cannot be read.
        """
        reader = self._reader
        reader.seek(reader.first if position is None else reader.check_position(position))
        line = 1 if position is None else position.get("line")
        path = os.fspath(self.path)
        while block := reader.next_block():
            count = reader.lines
            if not block.endswith(b"\n"):
                block += b"\n"
                count += 1
            if b"\r" in block:
                block = block.replace(b"\r\n", b"\n")
            lines = Lines(block, count)
            if line is not None:
                if self.decoder is not None:  # else the lines are the records: plain bytes
                    lines = FileLines(block, path, range(line, line + count))
                line += count
            yield lines, {"path": path, "offset": reader.offset, "line": line}

    def close(self) -> None:
        """Close the file."""
        self._reader.close()

    def describe(self) -> Mapping[str, Any]:
        """Return the path."""
        return {"path": os.fspath(self.path)}


class JsonlFormat:
    """How records become JSON Lines."""

    def __init__(self) -> None:
        self._encoder = msgspec.json.Encoder()

    def begin(self) -> bytes:
        """Return nothing: there is no header."""
        return b""

    def rows(self, values: Sequence[Any]) -> bytes:
        """Return a line for each record."""
        return self._encoder.encode_lines(values)


class JsonlSink(StatefulSink[Any]):
    """Writes records as JSON, a line each; the file appears when the run has finished."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: AtomicFile | None = None
        self._format = JsonlFormat()
        self._state: FileState | None = None

    def validate(self) -> None:
        """Check that the folder is there and can be written to.

        Raises:
            ConfigError: it is not.
        """
        check_writable(self.path, "jsonl sink")

    def restore_state(self, state: Any) -> None:
        """Go on with the temporary file that an earlier run has left.

        Raises:
            ConfigError: the state is another sink's.
        """
        self._state = FileState.of(state, "jsonl sink")

    def open(self, ctx: SinkContext) -> None:
        """Begin a temporary file in the same folder, or go on with one."""
        self._file = AtomicFile(self.path, "jsonl sink", self._state)

    def invoke(self, value: Any, ctx: SinkContext) -> None:
        """Write one record."""
        self.invoke_batch([value], ctx)

    def invoke_batch(self, values: Sequence[Any], ctx: SinkContext) -> None:
        """Write records, all or none.

        Raises:
            EncodeError: a record has something in it that JSON does not.
        """
        assert self._file is not None  # noqa: S101  # open comes first
        rows = self._format.rows
        try:
            data = rows(values)
        except Exception as error:
            raise encode_error("jsonl sink", values, lambda value: rows([value]), error) from error
        self._file.write(data)

    def flush(self) -> None:
        """Make what was written durable, still under the temporary name."""
        if self._file is not None:
            self._file.flush()

    def snapshot_state(self) -> Any:
        """Return how long the temporary file is, which is then kept for a later run."""
        assert self._file is not None  # noqa: S101  # open comes first
        return msgspec.to_builtins(self._file.snapshot())

    def finish(self) -> None:
        """Let the file appear."""
        if self._file is not None:
            self._file.finish()

    def close(self) -> None:
        """Remove what is half-written, unless a checkpoint may name it."""
        if self._file is not None:
            self._file.close()

    def describe(self) -> Mapping[str, Any]:
        """Return the path."""
        return {"path": os.fspath(self.path)}


@overload
def source(path: str | os.PathLike[str]) -> JsonlSource[Any]: ...
@overload
def source(path: str | os.PathLike[str], type: type[T]) -> JsonlSource[T]: ...
@overload
def source(path: str | os.PathLike[str], type: Any) -> JsonlSource[Any]: ...
def source(path: str | os.PathLike[str], type: Any = Any) -> JsonlSource[Any]:
    r"""Make a source of the records in a JSON Lines file.

    Args:
        path: a UTF-8 file with a JSON document per line. Lines end with ``\n`` or ``\r\n``, the
            last one may lack it; blank lines and a byte order mark are skipped.
        type: what each line is: a ``msgspec.Struct``, a dataclass, or any type ``msgspec`` decodes;
            by default plain dicts, lists and scalars. ``str`` and ``bytes`` give the lines
            themselves, blank ones included, without their line ends.

    Raises:
        ConfigError: an option is of the wrong type.
    """
    who = "jsonl source"
    decoder: Decoder[Any] | None
    if type is bytes:
        decoder = None
    elif type is str:
        decoder = text()
    else:
        try:
            decoder = json(type)
        except ConfigError as error:
            expected = "a type that msgspec can decode JSON into"
            raise bad_option(who, "type", expected, type, str(error.__cause__)) from error
    return JsonlSource(check_path(who, path), decoder)


_PARTS = PartKind("jsonl sink", ".jsonl", JsonlFormat)


@overload
def sink(path: str | os.PathLike[str]) -> JsonlSink: ...
@overload
def sink(*, folder: str | os.PathLike[str], roll_every: int | str | None = None) -> FolderSink: ...
def sink(
    path: str | os.PathLike[str] | None = None,
    *,
    folder: str | os.PathLike[str] | None = None,
    roll_every: int | str | None = None,
) -> JsonlSink | FolderSink:
    """Make a sink that writes a JSON Lines file, or a folder of them, as ``msgspec`` encodes.

    Dicts, Structs, dataclasses, lists and scalars are written; dates and decimals as text, NaN
    and infinities as null.

    With ``path`` there is one file, which appears whole, in place of an older one, when the run has
    finished. With ``folder`` there are files ``part-….jsonl``, which appear checkpoint by
    checkpoint beside those of earlier runs; sorted by name they have the records in order.

    Args:
        path: the file; its folder must exist.
        folder: the folder; made if it is not there.
        roll_every: of a folder: when the next part begins within a checkpoint's records: after so
            many (``100_000``), or by a size (``"64MB"``). By default there is one part for each
            checkpoint.

    Raises:
        ConfigError: an option is of the wrong type, or there is not one of path and folder.
    """
    if (parts := folder_sink(_PARTS, path, folder, roll_every)) is not None:
        return parts
    return JsonlSink(check_path(_PARTS.who, path))


CONNECTOR = Connector("jsonl", source=source, sink=sink)
