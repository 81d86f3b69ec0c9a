"""JSON Lines files: a JSON document per line."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, overload

import msgspec

from millstream.connectors.atomic_file import AtomicFile, check_writable
from millstream.connectors.files import READ_BYTES, BlockReader, check_readable, encode_error
from millstream.connectors.options import bad_option, check_path
from millstream.core.codec import Decoder, FileLines, Lines, json, text
from millstream.core.connector import Connector
from millstream.core.errors import ConfigError
from millstream.core.sink import Sink, SinkContext
from millstream.core.source import BatchSource, SourceBatch

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


class JsonlSink(Sink[Any]):
    """Writes records as JSON, a line each; the file appears when the run has finished."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: AtomicFile | None = None
        self._encoder = msgspec.json.Encoder()

    def validate(self) -> None:
        """Check that the folder is there and can be written to.

        Raises:
            ConfigError: it is not.
        """
        check_writable(self.path, "jsonl sink")

    def open(self, ctx: SinkContext) -> None:
        """Begin a temporary file in the same folder."""
        self._file = AtomicFile(self.path, "jsonl sink")

    def invoke(self, value: Any, ctx: SinkContext) -> None:
        """Write one record."""
        self.invoke_batch([value], ctx)

    def invoke_batch(self, values: Sequence[Any], ctx: SinkContext) -> None:
        """Write records, all or none.

        Raises:
            EncodeError: a record has something in it that JSON does not.
        """
        assert self._file is not None  # noqa: S101  # open comes first
        try:
            data = self._encoder.encode_lines(values)
        except Exception as error:
            raise encode_error("jsonl sink", values, self._encoder.encode, error) from error
        self._file.write(data)

    def flush(self) -> None:
        """Make what was written durable, still under the temporary name."""
        if self._file is not None:
            self._file.flush()

    def finish(self) -> None:
        """Let the file appear."""
        if self._file is not None:
            self._file.finish()

    def close(self) -> None:
        """Remove what is half-written."""
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


def sink(path: str | os.PathLike[str]) -> JsonlSink:
    """Make a sink that writes a JSON Lines file, as ``msgspec`` encodes.

    Dicts, Structs, dataclasses, lists and scalars are written; dates and decimals as text, NaN
    and infinities as null. The file appears whole, in place of an older one, when the run has
    finished; after a failure there is nothing.

    Args:
        path: the file; its folder must exist.

    Raises:
        ConfigError: ``path`` is not a path.
    """
    return JsonlSink(check_path("jsonl sink", path))


CONNECTOR = Connector("jsonl", source=source, sink=sink)
