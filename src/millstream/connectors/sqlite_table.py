"""The table a SQLite sink writes to: its statements, and the values that its columns keep."""

from __future__ import annotations

import sqlite3
import types
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Union, get_args, get_origin
from uuid import UUID

import msgspec

from millstream.connectors.files import EncodeError
from millstream.connectors.record_columns import columns_of
from millstream.core.errors import ConfigError

_NONE = type(None)
_STORED: frozenset[type] = frozenset({int, float, str, bytes, _NONE})  # what SQLite has
# The values that a column of an affinity keeps as they are; a text column would make a text of a
# number, an integer column a number of a text that looks like one.
_KEPT: dict[str, frozenset[type]] = {
    "INTEGER": frozenset({int, _NONE}),
    "REAL": frozenset({float, int, _NONE}),
    "TEXT": frozenset({str, _NONE}),
    "BLOB": frozenset({bytes, _NONE}),
    "NUMERIC": frozenset({int, float, _NONE}),
    "": _STORED,
}
_DECLARED: dict[Any, str] = {
    int: "INTEGER", bool: "INTEGER", float: "REAL", bytes: "BLOB", str: "TEXT", date: "TEXT",
    datetime: "TEXT", time: "TEXT", timedelta: "TEXT", Decimal: "TEXT", UUID: "TEXT",
}  # fmt: skip
_MOST = (1 << 63) - 1  # of a SQLite integer


class Table(msgspec.Struct, frozen=True):
    """A table, as far as a sink knows it; a transaction's handle has it as plain values.

    Attributes:
        name: the table's.
        columns: name and declared type of those that are written; the type counts only if the
            table is made.
        key: the columns of an upsert; None for an insert.
        create: make it if it is not there.
    """

    name: str
    columns: tuple[tuple[str, str], ...]
    key: tuple[str, ...] | None
    create: bool

    @property
    def header(self) -> tuple[str, ...]:
        """Return the names of the columns."""
        return tuple(name for name, _ in self.columns)

    @property
    def create_statement(self) -> str:
        """Return what makes the table."""
        key = self.key or ()
        parts = [
            f"{quoted(name)} {declared}{' NOT NULL' if name in key else ''}".strip()
            for name, declared in self.columns
        ]
        if key:
            parts.append(f"PRIMARY KEY ({_listed(key)})")
        return f"CREATE TABLE IF NOT EXISTS {quoted(self.name)} ({', '.join(parts)})"

    @property
    def write_statement(self) -> str:
        """Return what writes one row."""
        header, key = self.header, self.key
        places = ", ".join("?" * len(header))
        statement = f"INSERT INTO {quoted(self.name)} ({_listed(header)}) VALUES ({places})"  # noqa: S608  # quoted
        if key is None:
            return statement
        rest = [f"{quoted(name)} = excluded.{quoted(name)}" for name in header if name not in key]
        update = f"UPDATE SET {', '.join(rest)}" if rest else "NOTHING"
        return f"{statement} ON CONFLICT ({_listed(key)}) DO {update}"

    def check(self, connection: sqlite3.Connection) -> list[Column]:
        """Return how each column takes values.

        Raises:
            ConfigError: the table is not there and is not to be made, or rows cannot be written to
                it.
        """
        where = f"table {self.name!r}"
        if missing := [name for name in self.key or () if name not in self.header]:
            raise ConfigError(f"key= has {missing}, but records have only {list(self.header)}")
        found = table_columns(connection, self.name)
        if not found and not self.create:
            raise ConfigError(f"there is no {where}; make it, or leave create=False out")
        key = self.key or ()
        declared = {name.lower(): decl for name, decl, _ in found} or {
            name.lower(): decl for name, decl in self.columns
        }
        required = {name.lower() for name, _, required in found if required}
        header = {name.lower(): name for name in self.header}
        if unknown := [name for name in self.header if name.lower() not in declared]:
            raise ConfigError(
                f"{where} has no column {', '.join(map(repr, unknown))}, only "
                f"{', '.join(repr(name) for name, _, _ in found)}; rename or drop fields with map"
            )
        if lacking := sorted(required - set(header)):
            raise ConfigError(
                f"{where}: column {', '.join(map(repr, lacking))} is NOT NULL and has no default, "
                "but records have no such field"
            )
        statement = self.write_statement if found else self.create_statement
        try:
            # Compiles it without running it: finds whatever else SQLite does not like.
            places = [None] * len(self.header) if found else []
            connection.execute(f"EXPLAIN {statement}", places).fetchall()
        except sqlite3.OperationalError as error:
            if getattr(error, "sqlite_errorcode", None) != sqlite3.SQLITE_ERROR:
                raise  # locked, or the disk fails: not what was written
            hint = "; key= takes the columns of a PRIMARY KEY or UNIQUE constraint, all of them"
            hint *= "ON CONFLICT" in str(error)
            raise ConfigError(f"{where} cannot be written to: {error}{hint}") from error
        return [
            Column(
                name,
                declared[name.lower()],
                name not in key and name.lower() not in required,
            )
            for name in self.header
        ]


@dataclass(frozen=True, slots=True)
class Column:
    """A column that is written.

    Attributes:
        name: its name.
        declared: its type, as it was declared; empty if it has none.
        nullable: it may be NULL.
    """

    name: str
    declared: str
    nullable: bool

    def check(self, values: Sequence[Any]) -> Sequence[Any]:
        """Return values as SQLite stores them.

        Raises:
            EncodeError: one of them cannot be stored, or would be stored as something else.
        """
        kinds = set(map(type, values))
        if not kinds <= _STORED:
            values = [self._stored(value) for value in values]
            kinds = set(map(type, values))
        kept = _kept(self.declared)
        if not kinds <= kept:
            wrong = next(value for value in values if type(value) not in kept)
            raise EncodeError(
                f"column {self.name!r} is declared {self.declared}, and would not keep "
                f"{wrong!r} as the {type(wrong).__name__} it is; convert it with map"
            )
        if int in kinds:
            numbers = values if len(kinds) == 1 else [each for each in values if type(each) is int]
            if max(numbers) > _MOST:  # msgpack refuses what is below, and what has more bits
                raise EncodeError(f"column {self.name!r}: SQLite's integers have 64 bits")
        if not self.nullable and (
            _NONE in kinds or (float in kinds and any(each != each for each in values))  # noqa: PLR0124  # NaN
        ):
            raise EncodeError(f"column {self.name!r} cannot be NULL, or is part of the key")
        return values

    def _stored(self, value: Any) -> Any:
        if isinstance(value, Enum):
            value = value.value
        if isinstance(value, bytes | bytearray | memoryview):
            return bytes(value)
        for kind in (int, float, str):  # a bool is an int
            if isinstance(value, kind):
                return kind(value)
        plain = msgspec.to_builtins(value)  # dates, decimals, UUIDs … as JSON has them: as text
        if type(plain) not in _STORED:
            raise EncodeError(
                f"column {self.name!r} got a {type(value).__name__}, and a column is a scalar"
            )
        return plain


class RowEncoder:
    """Turns records into rows of a table, checked, as bytes for the staging table."""

    def __init__(self, table: Table, columns: list[Column]) -> None:
        self.table = table
        self._header = table.header
        self._columns = columns
        self._encoder = msgspec.msgpack.Encoder()

    def encode(self, values: Sequence[Any]) -> bytes:
        """Return rows as msgpack, column by column: which is faster than row by row.

        Raises:
            EncodeError: a record has other fields, or a value that its column does not take.
        """
        columns = columns_of(self._header, values, "table")
        checked = [c.check(each) for c, each in zip(self._columns, columns, strict=True)]
        return self._encoder.encode(checked)


def table_columns(connection: sqlite3.Connection, name: str) -> list[tuple[str, str, bool]]:
    """Return name, declared type and "must be given" of a table's columns; none: no such table.

    Raises:
        ConfigError: it is a view.
    """
    query = "SELECT type FROM sqlite_master WHERE name = ? COLLATE NOCASE AND type = 'view'"
    if connection.execute(query, [name]).fetchone():
        raise ConfigError(f"{name!r} is a view; table= takes a table")
    rows = connection.execute(f"PRAGMA table_info({quoted(name)})").fetchall()
    keys = [row for row in rows if row[5]]
    rowid = keys[0][1] if len(keys) == 1 and keys[0][2].upper() == "INTEGER" else None
    return [
        (column, declared, bool(not_null) and default is None and column != rowid)
        for _, column, declared, not_null, default, _ in rows
    ]


def declared_type(annotation: Any) -> str:
    """Return the type to declare for a field of a Struct or dataclass; empty: any."""
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) in {Union, types.UnionType}:
        kinds = {declared_type(each) for each in get_args(annotation) if each is not _NONE}
        return kinds.pop() if len(kinds) == 1 else ""
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        kinds = {_DECLARED.get(type(each.value), "") for each in annotation}
        return kinds.pop() if len(kinds) == 1 else ""
    try:
        return _DECLARED.get(annotation, "")
    except TypeError:  # not hashable: a Literal of a list, and the like
        return ""


def quoted(name: str) -> str:
    """Return a name as SQL takes it, whatever its characters."""
    return '"' + name.replace('"', '""') + '"'


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(quoted, names))


def _kept(declared: str) -> frozenset[type]:
    """Return which values a column keeps as they are (https://sqlite.org/datatype3.html, 3.1)."""
    upper = declared.upper()
    if upper in {"", "ANY"}:
        return _STORED
    if "INT" in upper:
        return _KEPT["INTEGER"]
    if any(part in upper for part in ("CHAR", "CLOB", "TEXT")):
        return _KEPT["TEXT"]
    if "BLOB" in upper:
        return _KEPT["BLOB"]
    if any(part in upper for part in ("REAL", "FLOA", "DOUB")):
        return _KEPT["REAL"]
    if "DATE" in upper or "TIME" in upper:
        return _KEPT["NUMERIC"] | {str}
    return _KEPT["NUMERIC"]
