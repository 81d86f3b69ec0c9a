"""Reads and writes one state's file: a header, slices of entries, a footer; each block checked."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Any, Protocol  # Any: keys and values are of any type
from zlib import crc32

import msgspec

from millstream.core.key import MAX_KEY_GROUPS
from millstream.runtime.snapshot.codec import Codec
from millstream.runtime.snapshot.columns import SliceDecoder, encode_slice
from millstream.runtime.snapshot.errors import SnapshotDamagedError, StateDecodeError
from millstream.runtime.snapshot.type_description import TypeDescription

FORMAT_VERSION = 1
_MAGIC = b"MILLSTREAM STATE"
_START = struct.Struct(">16sH")  # magic, format version
_BLOCK = struct.Struct(">cQ")  # kind, length of the payload
_CHECKSUM = struct.Struct(">I")  # CRC-32 of all bytes of the file before it
_HEADER, _SLICE, _FOOTER = b"H", b"S", b"F"
_PIECE = 1 << 24  # bytes read at once
_ANY = TypeDescription("any")


class StateHeader(msgspec.Struct, frozen=True, kw_only=True):
    """Says whose state a file holds.

    Attributes:
        kind: what the entries are, such as ``value``, ``list``, ``timers`` or ``positions``.
        key_type: the declared type of the keys.
        type: the declared type of the values.
        state_version: the user's version of the state, for migration functions.
        first_key_group: of the range of key groups that the file's keys are in.
        last_key_group: the end of that range, included.
        key_groups: how many there are in all.
    """

    job: str
    uid: str
    state: str
    kind: str
    key_type: TypeDescription = _ANY
    type: TypeDescription = _ANY
    state_version: int = 1
    subtask: int = 0
    first_key_group: int = 0
    last_key_group: int = MAX_KEY_GROUPS - 1
    key_groups: int = MAX_KEY_GROUPS


class _Footer(msgspec.Struct, frozen=True):
    slices: int
    entries: int


class Output(Protocol):
    """Where a file is written to."""

    def write(self, data: bytes, /) -> object:
        """Append bytes, all of them."""


class Input(Protocol):
    """Where a file is read from."""

    def read(self, size: int, /) -> bytes:
        """Return so many bytes; fewer only at the end."""


class StateFileWriter:
    """Writes a state's file, slice by slice.

    ``write`` encodes in the calling thread and holds the GIL while it does: 2,000 small entries
    take about half a millisecond. It neither syncs nor closes the output.
    """

    def __init__(self, output: Output, header: StateHeader, codec: Codec) -> None:
        self.entries = 0
        self._slices = 0
        self._codec = codec
        self._output = output
        self._crc = 0
        self._put(_START.pack(_MAGIC, FORMAT_VERSION))
        self._put_block(_HEADER, msgspec.msgpack.encode(header))

    def write(self, keys: Sequence[Any], values: Sequence[Any]) -> None:
        """Append entries, given as parallel keys and values.

        Raises:
            StateEncodeError: one would not come back as it is.
        """
        if len(keys) != len(values):
            raise ValueError(f"{len(keys)} keys for {len(values)} values")
        if not keys:
            return
        self._put_block(_SLICE, encode_slice(self._codec, keys, values))
        self._slices += 1
        self.entries += len(keys)

    def finish(self) -> None:
        """Append the footer; a file without one is not whole."""
        self._put_block(_FOOTER, msgspec.msgpack.encode(_Footer(self._slices, self.entries)))

    def _put_block(self, kind: bytes, payload: bytes) -> None:
        self._put(_BLOCK.pack(kind, len(payload)))
        self._put(payload)
        self._put(_CHECKSUM.pack(self._crc))

    def _put(self, data: bytes) -> None:
        self._output.write(data)
        self._crc = crc32(data, self._crc)  # without the GIL, if it is more than 5 KB


class StateFileReader:
    """Reads a state's file; nothing of a block is used before its checksum has been compared.

    Args:
        name: the file's name, for errors.

    Raises:
        SnapshotDamagedError: its header is not what was written.
        StateDecodeError: a newer version of Millstream wrote it.
    """

    def __init__(self, file: Input, name: str) -> None:
        self._file = file
        self._name = name
        self._offset = 0
        self._crc = 0
        magic, version = _START.unpack(self._take(_START.size))
        if magic != _MAGIC:
            raise self._damaged(f"expected a state file, which begins {_MAGIC!r}, found {magic!r}")
        if version != FORMAT_VERSION:
            raise StateDecodeError(
                f"{name} has version {version} of the snapshot format; this version of Millstream "
                f"reads version {FORMAT_VERSION}: use the version that wrote it, or a newer one"
            )
        kind, payload = self._take_block()
        if kind != _HEADER:
            raise self._damaged(f"expected a header, found a block {kind!r}")
        self.header = msgspec.msgpack.decode(payload, type=StateHeader)

    def slices(self, codec: Codec) -> Iterator[tuple[Sequence[Any], Sequence[Any]]]:
        """Yield the entries, as parallel keys and values; may be called once.

        Raises:
            SnapshotDamagedError: a block is not what was written, or the end is missing.
            StateDecodeError: values do not fit the classes that are there now.
        """
        decoder = SliceDecoder(codec)
        entries = 0
        for payload in self._payloads():
            keys, values = decoder.decode(payload)
            entries += len(keys)
            yield keys, values
        if entries != self._footer.entries:
            raise self._damaged(f"expected {self._footer.entries} entries, found {entries}")

    def entries(self, codec: Codec) -> Iterator[tuple[Any, Any]]:
        """Yield key and value of each entry; see ``slices``, which is faster for a whole state."""
        for keys, values in self.slices(codec):
            yield from zip(keys, values, strict=True)

    def verify(self) -> int:
        """Read the rest, compare the checksums and return the number of entries."""
        for _ in self._payloads():
            pass
        return self._footer.entries

    def _payloads(self) -> Iterator[bytes]:
        slices = 0
        while True:
            kind, payload = self._take_block()
            if kind == _FOOTER:
                break
            if kind != _SLICE:
                raise self._damaged(f"expected a slice or the footer, found a block {kind!r}")
            slices += 1
            yield payload
        self._footer = msgspec.msgpack.decode(payload, type=_Footer)
        if slices != self._footer.slices:
            raise self._damaged(f"expected {self._footer.slices} slices, found {slices}")
        rest = self._file.read(1)
        if rest:
            raise self._damaged("expected the end behind the footer, found more")

    def _take_block(self) -> tuple[bytes, bytes]:
        start = self._offset
        kind, length = _BLOCK.unpack(self._take(_BLOCK.size))
        payload = self._take(length)
        found = self._crc
        (expected,) = _CHECKSUM.unpack(self._take(_CHECKSUM.size))
        if found != expected:
            raise self._damaged(
                f"expected checksum {expected:08x} for the block at byte {start}, found {found:08x}"
            )
        return kind, payload

    def _take(self, size: int) -> bytes:
        data = self._read(size)
        if len(data) != size:
            raise self._damaged(
                f"expected {size} more bytes at byte {self._offset}, found {len(data)}: it is cut "
                "off"
            )
        self._offset += size
        self._crc = crc32(data, self._crc)
        return data

    def _read(self, size: int) -> bytes:
        if size <= _PIECE:
            return self._file.read(size)
        # A damaged length may be anything: never ask for memory that the file does not fill.
        pieces: list[bytes] = []
        while size and (not pieces or pieces[-1]):
            pieces.append(self._file.read(min(size, _PIECE)))
            size -= len(pieces[-1])
        return b"".join(pieces)

    def _damaged(self, what: str) -> SnapshotDamagedError:
        return SnapshotDamagedError(
            f"state file {self._name} is damaged: {what}; restore from an older checkpoint"
        )
