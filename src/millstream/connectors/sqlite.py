"""SQLite tables."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from millstream.connectors.files import encode_error
from millstream.connectors.options import bad_option, check_names, check_path
from millstream.connectors.record_columns import names_of
from millstream.connectors.record_fields import fields_of
from millstream.connectors.sqlite_staging import BUSY_S, SqliteStaging
from millstream.connectors.sqlite_table import RowEncoder, Table, declared_type, table_columns
from millstream.core.connector import Connector
from millstream.core.errors import ConfigError, FatalError, RetryableError
from millstream.core.sink import SinkContext
from millstream.core.two_phase import TransactionId, TwoPhaseCommitSink

STAGE_BYTES = 4 * 1024 * 1024  # of rows held in memory, until they are staged in one transaction
_WHO = "sqlite sink"


@dataclass(slots=True)
class StagedRows:
    """The rows of one epoch, until they are pre-committed.

    Attributes:
        id: its name.
        batches: encoded rows that are still in memory, a batch each.
        size: of those, in bytes.
        staged: how many batches are in the staging table.
    """

    id: TransactionId
    batches: list[bytes] = field(default_factory=list)
    size: int = 0
    staged: int = 0


@dataclass(frozen=True, slots=True)
class TableOptions:
    """What the user said about the table.

    Attributes:
        name: the table's.
        key: the columns of an upsert; None for an insert.
        columns: name and declared type of each; None: the fields of the first record.
        create: make the table if it is not there.
    """

    name: str
    key: tuple[str, ...] | None
    columns: tuple[tuple[str, str], ...] | None
    create: bool

    def table(self, record: Any = None) -> Table | None:
        """Return the table, as far as it is known by now."""
        columns = self.columns
        if columns is None and record is not None:
            columns = tuple((name, "") for name in names_of(record, "a row"))
        return None if columns is None else Table(self.name, columns, self.key, self.create)


class SqliteSink(TwoPhaseCommitSink[Any, StagedRows]):
    """Writes records as rows; those of an epoch appear when its checkpoint is complete.

    They are staged in the same database, in ``_millstream_staged``. One transaction moves them to
    the table, and notes it in ``_millstream_transactions``. Its handle has the transaction's id and
    the table.
    """

    def __init__(self, path: Path, options: TableOptions) -> None:
        self.path = path
        self.options = options
        self._opened: SqliteStaging | None = None
        self._encoder: RowEncoder | None = None

    def validate(self) -> None:
        """Check that the database can be written, and that the table fits.

        Raises:
            ConfigError: it cannot, or does not.
        """
        folder = self.path.absolute().parent
        if not folder.is_dir():
            raise ConfigError(
                f"{_WHO}: there is no folder {os.fspath(folder)!r} for {os.fspath(self.path)!r}; "
                "make it first"
            )
        for needed in (folder, self.path):  # the folder as well: for the journal
            if needed.exists() and not os.access(needed, os.R_OK | os.W_OK):
                raise ConfigError(f"{_WHO}: no permission to read and write {needed}")
        if self.path.exists():
            try:
                uri = f"{self.path.absolute().as_uri()}?mode=rw"
                with closing(sqlite3.connect(uri, timeout=BUSY_S, uri=True)) as connection:
                    self._check_table(connection)
            except sqlite3.Error as error:
                raise ConfigError(f"{_WHO}: cannot open {self.path}: {error}") from error
        elif not self.options.create:
            raise ConfigError(f"{_WHO}: there is no database {os.fspath(self.path)!r}")

    def open(self, ctx: SinkContext) -> None:
        """Open the database, and make the tables for staging."""
        self._encoder = None
        self._opened = SqliteStaging(_WHO, self.path, ctx.job, ctx.uid)

    def begin_transaction(self, id: TransactionId) -> StagedRows:
        """Begin an epoch; the database is not touched yet."""
        self._staging.epoch = id.epoch
        return StagedRows(id)

    def invoke(self, transaction: StagedRows, value: Any) -> None:
        """Stage one record."""
        self.invoke_batch(transaction, [value])

    def invoke_batch(self, transaction: StagedRows, values: Sequence[Any]) -> None:
        """Stage records, all or none.

        Raises:
            EncodeError: a record has other fields, or a value that its column does not take.
            ConfigError: the table does not fit the first record.
        """
        if not values:
            return
        try:
            data = self._encode(values)
        except (ConfigError, FatalError, RetryableError):  # it is not the record's fault
            raise
        except Exception as error:
            raise encode_error(_WHO, values, lambda value: self._encode([value]), error) from error
        transaction.batches.append(data)
        transaction.size += len(data)
        if transaction.size >= STAGE_BYTES:
            self._stage(transaction)

    def pre_commit(self, transaction: StagedRows) -> dict[str, Any] | None:
        """Stage what is still in memory."""
        if transaction.batches:
            self._stage(transaction)
        if not transaction.staged:
            return None
        assert self._encoder is not None  # noqa: S101  # there were records
        table = msgspec.to_builtins(self._encoder.table)
        return {"transaction": asdict(transaction.id), "table": table}

    def commit(self, handle: Mapping[str, Any]) -> None:
        """Write the staged rows to the table, in order, in one transaction."""
        id = TransactionId(**handle["transaction"])
        self._staging.commit(id, msgspec.convert(handle["table"], Table))

    def abort(self, transaction: StagedRows) -> None:
        """Remove the rows of an epoch that was not pre-committed."""
        transaction.batches.clear()
        self._staging.remove(transaction.id)

    def recover_and_abort(self, before_epoch: int) -> None:
        """Remove what earlier runs have staged, and keep them from staging or committing more."""
        self._staging.begin_run(before_epoch)

    def close(self) -> None:
        """Close the database; what is staged stays."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def describe(self) -> Mapping[str, Any]:
        """Return the options."""
        options = self.options
        return {
            "path": os.fspath(self.path),
            "table": options.name,
            "key": options.key and list(options.key),
            "fields": options.columns and [name for name, _ in options.columns],
            "create": options.create,
        }

    def _check_table(self, connection: sqlite3.Connection) -> None:
        """Check the table as far as it is known before there are records."""
        name, table = self.options.name, self.options.table()
        try:
            if table is not None:
                table.check(connection)
            elif not table_columns(connection, name) and not self.options.create:
                raise ConfigError(f"there is no table {name!r}; make it, or leave create=False out")
        except ConfigError as error:
            raise ConfigError(f"{_WHO}: {self.path}: {error}") from error

    @property
    def _staging(self) -> SqliteStaging:
        assert self._opened is not None  # noqa: S101  # open comes first
        return self._opened

    def _encode(self, values: Sequence[Any]) -> bytes:
        encoder = self._encoder
        if encoder is None:
            encoder = self._first(values[0])
        return encoder.encode(values)

    def _first(self, record: Any) -> RowEncoder:
        """Return the encoder, made for the table and the first record."""
        table = self.options.table(record)
        assert table is not None  # noqa: S101  # there is a record
        try:
            columns = table.check(self._staging.connection)
        except ConfigError as error:
            raise ConfigError(f"{_WHO}: {self.path}: {error}") from error
        except sqlite3.Error as error:
            raise self._staging.failed(error) from error
        self._encoder = RowEncoder(table, columns)
        return self._encoder

    def _stage(self, transaction: StagedRows) -> None:
        self._staging.stage(transaction.id, transaction.staged, transaction.batches)
        transaction.staged += len(transaction.batches)
        transaction.batches.clear()
        transaction.size = 0


def sink(
    path: str | os.PathLike[str],
    table: str,
    key: Sequence[str] | None = None,
    fields: Sequence[str] | type[Any] | None = None,
    create: bool = True,
) -> SqliteSink:
    """Make a sink that writes rows to a table of a SQLite database, visible by checkpoint.

    Records are dicts, Structs or dataclasses, all with the same fields, which name the columns. An
    int, float, str, bytes and None are stored as they are (NaN as NULL), True as 1; dates, times,
    decimals and UUIDs as text, as JSON has them. What a column would store as something else, such
    as a number in a text column, is refused.

    Rows of a checkpoint are staged in the table ``_millstream_staged`` of the same database, and
    appear all at once.

    Args:
        path: the database; made if it is not there. Its journal mode is left as it is.
        table: the table.
        key: its key, such as ``["user", "day"]``: a row takes the place of an older one with the
            same key, and the last of several wins. The table must have a PRIMARY KEY or UNIQUE
            constraint of these columns. By default each record is a new row.
        fields: the columns, in order; or a ``msgspec.Struct`` or dataclass, whose fields they are.
            By default they are the fields of the first record.
        create: make the table if it is not there, with column types if ``fields`` is a class, and
            ``key`` as its primary key.

    Raises:
        ConfigError: an option is of the wrong type.
    """
    checked = check_path(_WHO, path)
    if checked.name == ":memory:":
        raise bad_option(_WHO, "path", "a file: a database in memory ends with the run", path)
    if not isinstance(table, str) or not table or "\0" in table:
        raise bad_option(_WHO, "table", "the name of a table", table)
    if table.lower().startswith(("_millstream_", "sqlite_")):
        raise bad_option(_WHO, "table", "a name that is not kept for other uses", table)
    if not isinstance(create, bool):
        raise bad_option(_WHO, "create", "True or False", create)
    names = None if key is None else check_names(_WHO, "key", key, '["user", "day"]', distinct=True)
    columns = _columns(fields)
    known = [name for name, _ in columns or ()]
    if columns and (missing := [name for name in names or () if name not in known]):
        raise bad_option(_WHO, "key", f"columns that fields= has ({', '.join(known)})", missing)
    return SqliteSink(checked, TableOptions(table, names, columns, create))


def _columns(fields: Any) -> tuple[tuple[str, str], ...] | None:
    """Return name and declared type of the columns that the option ``fields`` says."""
    if fields is None:
        return None
    if not isinstance(fields, type):
        names = check_names(_WHO, "fields", fields, '["id", "amount"]', distinct=True)
        return tuple((name, "") for name in names)
    try:
        known = fields_of(fields)
    except (NameError, TypeError) as error:  # NameError: an annotation that names no class
        raise bad_option(_WHO, "fields", "a class whose types exist", fields, str(error)) from error
    if not known:
        raise bad_option(_WHO, "fields", "names, a msgspec.Struct or a dataclass", fields)
    return tuple((field.column, declared_type(field.type)) for field in known)


CONNECTOR = Connector("sqlite", sink=sink)
