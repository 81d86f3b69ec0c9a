"""Sinks that write a folder of files, which appear when their checkpoint is complete."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from millstream.connectors.atomic_file import WRITE_BYTES, write_errors
from millstream.connectors.files import encode_error
from millstream.connectors.options import bad_option, check_folder, check_integer
from millstream.connectors.part_folder import PartFolder
from millstream.core.errors import ConfigError
from millstream.core.sink import SinkContext
from millstream.core.two_phase import TransactionId, TwoPhaseCommitSink

_SIZE = re.compile(r"(\d+) ?(KB|MB|GB)")
_UNIT_BYTES = {"KB": 1_000, "MB": 1_000_000, "GB": 1_000_000_000}


class PartFormat(Protocol):
    """How records become the bytes of a part."""

    def rows(self, values: Sequence[Any]) -> bytes:
        """Return records as bytes; nothing has changed if one of them cannot be written."""

    def begin(self) -> bytes:
        """Return what a part begins with; asked after the first ``rows``."""


@dataclass(frozen=True, slots=True)
class PartKind:
    """What the parts of a connector are.

    Attributes:
        who: the connector and side, for errors.
        suffix: of the parts' names, such as ``.jsonl``.
        new_format: called for each run.
        options: the connector's own, for plans and fingerprints.
    """

    who: str
    suffix: str
    new_format: Callable[[], PartFormat]
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RollEvery:
    """When the next part begins within an epoch.

    Attributes:
        records: a part has at most so many.
        bytes: a part ends with the batch by which it has so many.
    """

    records: int | None = None
    bytes: int | None = None

    @classmethod
    def of(cls, who: str, value: Any) -> RollEvery:
        """Return what the option ``roll_every`` says.

        Raises:
            ConfigError: it is neither None, a number of records, nor a size such as ``"64MB"``.
        """
        if value is None:
            return cls()
        if isinstance(value, str):
            size = _SIZE.fullmatch(value)
            if size and int(size[1]):
                return cls(bytes=int(size[1]) * _UNIT_BYTES[size[2]])
        elif isinstance(value, int):
            return cls(records=check_integer(who, "roll_every", value, 1))
        expected = "a number of records, or a size such as '64MB' (KB, MB or GB)"
        hint = "a part also ends at each checkpoint; for parts by time set the checkpoint interval"
        raise bad_option(who, "roll_every", expected, value, hint)


@dataclass(slots=True)
class PartsTransaction:
    """The parts of one epoch, until they are pre-committed.

    Attributes:
        id: its name.
        parts: name and size in bytes of each part, finished or not.
        records: in the last part.
        file: the last part, while it is open.
    """

    id: TransactionId
    parts: list[tuple[str, int]] = field(default_factory=list)
    records: int = 0
    file: BinaryIO | None = None


class FolderSink(TwoPhaseCommitSink[Any, PartsTransaction]):
    """Writes part files into a folder; those of an epoch appear when its checkpoint is complete.

    Its handle is ``{"folder": …, "subtask": …, "epoch": …, "checkpoint": …, "parts": [[name, size],
    …]}``.

    Args:
        kind: what the parts are.
        folder: made if it is not there; the folder that it is in must be.
        roll_every: when the next part begins within an epoch.
    """

    def __init__(self, kind: PartKind, folder: Path, roll_every: RollEvery) -> None:
        self.kind = kind
        self.who = kind.who
        self.folder = folder
        self.roll_every = roll_every
        self._format = kind.new_format()
        self._folder: PartFolder | None = None
        self._open: set[BinaryIO] = set()

    def validate(self) -> None:
        """Check that the folder is there, or can be made, and that it can be written to.

        Raises:
            ConfigError: it is not.
        """
        name, folder = os.fspath(self.folder), self.folder
        if not os.path.lexists(folder):
            folder = folder.parent
            if not folder.is_dir():
                raise ConfigError(
                    f"{self.who}: there is no folder {os.fspath(folder)!r} to make {name!r} in; "
                    "make it first"
                )
        if not folder.is_dir():
            raise ConfigError(
                f"{self.who}: folder= takes a folder, but {name!r} is none; for one file use path="
            )
        if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
            raise ConfigError(f"{self.who}: no permission to read and write in {folder}")

    def open(self, ctx: SinkContext) -> None:
        """Make the folder, if it is not there."""
        self._format = self.kind.new_format()
        self._open = set()
        with write_errors(self.who, f"in {self.folder}"):
            self._folder = PartFolder(self.who, self.folder, ctx)

    def begin_transaction(self, id: TransactionId) -> PartsTransaction:
        """Begin an epoch; its first part is made with the first record."""
        return PartsTransaction(id)

    def invoke(self, transaction: PartsTransaction, value: Any) -> None:
        """Write one record."""
        self.invoke_batch(transaction, [value])

    def invoke_batch(self, transaction: PartsTransaction, values: Sequence[Any]) -> None:
        """Write records, all or none.

        Raises:
            EncodeError: a record cannot be written in the format.
        """
        try:
            slices = [
                (len(part), self._format.rows(part)) for part in self._cut(transaction, values)
            ]
        except Exception as error:
            raise encode_error(
                self.who, values, lambda value: self._format.rows([value]), error
            ) from error
        with write_errors(self.who, f"in {self.folder}"):
            for records, data in slices:
                self._write(transaction, records, data)

    def pre_commit(self, transaction: PartsTransaction) -> dict[str, Any] | None:
        """Make the parts durable, under their temporary names."""
        if not transaction.parts:
            return None
        with write_errors(self.who, f"in {self.folder}"):
            self._end_part(transaction)
            self._parts.sync()
        return {
            "folder": os.fspath(self.folder.absolute()),
            "subtask": transaction.id.subtask,
            "epoch": transaction.id.epoch,
            "checkpoint": transaction.id.checkpoint,
            "parts": [list(part) for part in transaction.parts],
        }

    def commit(self, handle: Mapping[str, Any]) -> None:
        """Let the parts appear, one after the other."""
        with write_errors(self.who, f"in {self.folder}"):
            for name, size in handle["parts"]:
                self._parts.publish(handle, name, size)
            self._parts.note_commit(handle)
            self._parts.sync()

    def abort(self, transaction: PartsTransaction) -> None:
        """Remove the parts of an epoch that was not pre-committed."""
        self._let_go(transaction.file)
        with write_errors(self.who, f"in {self.folder}"):
            for name, _ in transaction.parts:
                self._parts.staged(name).unlink(missing_ok=True)

    def recover_and_abort(self, before_epoch: int) -> None:
        """Remove parts under temporary names that earlier runs of this sink have left."""
        with write_errors(self.who, f"in {self.folder}"):
            self._parts.remove_staged(before_epoch)

    def close(self) -> None:
        """Close what is open; what is staged stays."""
        for file in list(self._open):
            self._let_go(file)

    def describe(self) -> Mapping[str, Any]:
        """Return the options."""
        roll = self.roll_every
        every = roll.records or (roll.bytes and f"{roll.bytes:,} bytes")
        return {"folder": os.fspath(self.folder), "roll_every": every, **self.kind.options}

    @property
    def _parts(self) -> PartFolder:
        assert self._folder is not None  # noqa: S101  # open comes first
        return self._folder

    def _cut(self, transaction: PartsTransaction, values: Sequence[Any]) -> Iterator[Sequence[Any]]:
        """Yield the records by the part they go into."""
        most = self.roll_every.records
        if most is None or not values:
            yield values
            return
        begin, room = 0, most - (transaction.records if transaction.file else 0)
        while begin < len(values):
            yield values[begin : begin + room]
            begin, room = begin + room, most

    def _write(self, transaction: PartsTransaction, records: int, data: bytes) -> None:
        if not data:
            return
        file = transaction.file
        if file is None:
            file = self._begin_part(transaction)
            data = self._format.begin() + data
        file.write(data)
        name, size = transaction.parts[-1]
        size += len(data)
        transaction.parts[-1] = (name, size)
        transaction.records += records
        roll = self.roll_every
        if (roll.records and transaction.records >= roll.records) or (
            roll.bytes and size >= roll.bytes
        ):
            self._end_part(transaction)

    def _begin_part(self, transaction: PartsTransaction) -> BinaryIO:
        number = len(transaction.parts)
        name, descriptor = self._parts.create(transaction.id, number, self.kind.suffix)
        file = os.fdopen(descriptor, "wb", buffering=WRITE_BYTES)
        self._open.add(file)
        transaction.file, transaction.records = file, 0
        transaction.parts.append((name, 0))
        return file

    def _end_part(self, transaction: PartsTransaction) -> None:
        file = transaction.file
        if file is not None:
            file.flush()
            os.fsync(file.fileno())
            self._let_go(file)
            transaction.file = None

    def _let_go(self, file: BinaryIO | None) -> None:
        if file is not None:
            self._open.discard(file)
            with suppress(OSError):  # it writes what is buffered, which may just have failed
                file.close()


def folder_sink(kind: PartKind, path: Any, folder: Any, roll_every: Any) -> FolderSink | None:
    """Return the sink for the option ``folder``, or None where ``path`` is given instead.

    Raises:
        ConfigError: an option is of the wrong type, or there is not one of path and folder.
    """
    if (path is None) == (folder is None):
        raise ConfigError(
            f"{kind.who}: give one of path=, for one file that appears at the end, and folder=, "
            "for files that appear with each checkpoint"
        )
    if folder is not None:
        every = RollEvery.of(kind.who, roll_every)
        return FolderSink(kind, check_folder(kind.who, folder), every)
    if roll_every is not None:
        hint = "with path= there is one file; for several give folder="
        raise bad_option(kind.who, "roll_every", "nothing without folder=", roll_every, hint)
    return None
