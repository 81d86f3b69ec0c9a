"""How raw bytes become records: decoders that the engine runs at the head of a chain."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, Generic, TypeVar, overload

import msgspec

from millstream.core.errors import ConfigError, RecordError

T = TypeVar("T")


class DecodeError(RecordError):
    """Raw bytes are not what the decoder expects; the message names the field."""


class Lines(Sequence[bytes]):
    """Lines in one bytes object, not yet cut: a decoder may take them whole.

    A slice is ``Lines`` as well, and costs what a slice of a list does: its bytes are put together
    when a decoder asks for them.

    Args:
        block: the bytes; each line, also the last, ends with a newline.
        count: how many lines there are.
    """

    __slots__ = ("_block", "_count", "_cut")

    def __init__(self, block: bytes, count: int) -> None:
        self._block: bytes | None = block
        self._count = count
        self._cut: list[bytes] | None = None

    @property
    def block(self) -> bytes:
        """Return the lines as one bytes object."""
        if self._block is None:
            self._block = b"".join([line + b"\n" for line in self._cut or ()])
        return self._block

    def locate(self) -> None:
        """Let each line know where it stands, if that can be told: one of them is at fault."""

    @property
    def size(self) -> int:
        """Return about how many bytes they are."""
        return len(self._block) if self._block is not None else sum(map(len, self._cut or ()))

    def _lines(self) -> list[bytes]:
        if self._cut is None:
            self._cut = self.block.split(b"\n")[:-1]
        return self._cut

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._lines())

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> Lines: ...
    def __getitem__(self, index: int | slice) -> bytes | Lines:
        return self._lines()[index] if isinstance(index, int) else Lines.of(self._lines()[index])

    @classmethod
    def of(cls, lines: list[bytes]) -> Lines:
        """Return lines that are cut already, each without its newline."""
        made = cls(b"", 0)
        made._take(lines)
        return made

    def _take(self, cut: list[bytes]) -> None:
        self._block = None
        self._count = len(cut)
        self._cut = cut


class FileLine(bytes):
    """A line that knows where it stands, for errors."""

    path: str
    number: int

    @property
    def where(self) -> str:
        """Return the file and the line's number."""
        return f"{self.path}, line {self.number:,}"


class FileLines(Lines):
    """Lines of a file; once they are to be located, each is a ``FileLine``.

    Not before: that takes 0.3 us a line, which is about what decoding it takes.

    Args:
        block: the bytes; each line, also the last, ends with a newline.
        path: the file.
        numbers: the lines' numbers in it, counted from 1.
    """

    __slots__ = ("numbers", "path")

    def __init__(self, block: bytes, path: str, numbers: range) -> None:
        super().__init__(block, len(numbers))
        self.path = path
        self.numbers = numbers

    def locate(self) -> None:
        """Let each line know where it stands."""
        self._cut = list(map(self._located, self._lines(), self.numbers))

    def _located(self, text: bytes, number: int) -> FileLine:
        line = FileLine(text)
        line.path = self.path
        line.number = number
        return line

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> Lines: ...
    def __getitem__(self, index: int | slice) -> bytes | Lines:
        if isinstance(index, int):
            return self._lines()[index]
        part = FileLines(b"", self.path, self.numbers[index])
        part._take(self._lines()[index])
        return part


class Decoder(ABC, Generic[T]):
    """Turns raw records into values. Runs in the engine's thread, so it must not block.

    Attributes:
        type: the type of the values, where it is known; the compiler reads it.
        validates: a value's fields that have no default are certainly of their declared types.
        skips_blank_lines: lines of nothing but white space are no records; they are counted as
            filtered by the source.
    """

    type: Any = None
    validates = False
    skips_blank_lines = False

    @abstractmethod
    def decode(self, raw: bytes) -> T:
        """Return the value of one raw record.

        Raises:
            DecodeError: with the field and what was expected.
        """

    def decode_block(self, lines: Lines) -> list[T] | None:
        """Return the values of a whole block, or None if it must be decoded line by line.

        An error in it is found by decoding line by line, so it need not be precise.
        """
        return None


class JsonDecoder(Decoder[T]):
    """JSON by ``msgspec``: into a Struct, a dataclass, or plain dicts and lists.

    Raises:
        ConfigError: ``msgspec`` cannot decode into the type.
    """

    validates = True
    skips_blank_lines = True

    def __init__(self, type: type[T] | Any = Any) -> None:
        self.type = None if type is Any else type
        try:
            self._decoder = msgspec.json.Decoder(type)
        except (TypeError, NameError) as error:  # NameError: an annotation that names no class
            raise ConfigError(
                f"json({type!r}): no type that JSON can be decoded to: {error}"
            ) from error

    def decode(self, raw: bytes) -> T:
        """Return the value of one JSON document."""
        try:
            return self._decoder.decode(raw)  # type: ignore[no-any-return]  # typed by the caller
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise DecodeError(
                f"{_where(raw)}not the expected JSON: {error}; got {raw[:200]!r}"
            ) from error

    def decode_block(self, lines: Lines) -> list[T] | None:
        """Decode all lines in one call; None where a blank line makes the counts differ."""
        try:
            values: list[T] = self._decoder.decode_lines(lines.block)
        except Exception:
            lines.locate()
            raise
        return values if len(values) == len(lines) else None


class TextDecoder(Decoder[str]):
    """UTF-8 text."""

    type = str

    def decode(self, raw: bytes) -> str:
        """Return the text of one raw record."""
        try:
            return raw.decode()
        except UnicodeDecodeError as error:
            raise DecodeError(f"{_where(raw)}not UTF-8 text: {error}; got {raw[:200]!r}") from error

    def decode_block(self, lines: Lines) -> list[str]:
        """Decode all lines in one call."""
        try:
            return lines.block.decode().split("\n")[:-1]
        except UnicodeDecodeError:
            lines.locate()
            raise


def json(type: type[T] | Any = Any) -> JsonDecoder[T]:
    """Decode JSON into ``type`` (a ``msgspec.Struct``, a dataclass …), or into plain dicts."""
    return JsonDecoder(type)


def text() -> TextDecoder:
    """Decode UTF-8 text."""
    return TextDecoder()


def _where(raw: bytes) -> str:
    return f"{raw.where}: " if isinstance(raw, FileLine) else ""
