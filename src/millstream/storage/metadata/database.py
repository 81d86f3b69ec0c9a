"""A connection to the metadata database: transactions, time-outs, and errors of our own."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, create_engine, event, exc

from millstream.core.errors import ConfigError
from millstream.storage.metadata.address import shown, without_secrets
from millstream.storage.metadata.errors import (
    MetadataConflictError,
    MetadataSchemaError,
    MetadataUnavailableError,
)

_WRITES = "millstream_writes"  # an execution option of ours


class Database:
    """Hands out transactions; may be used by several threads at once.

    Args:
        url: a parsed address.
        timeout_s: how long to wait for a connection, a lock or a statement. A server that stops
            answering in the middle of a statement can keep a caller for longer.
    """

    def __init__(self, url: URL, timeout_s: float) -> None:
        self.address = shown(url)
        self._url = url
        self._timeout_s = timeout_s
        self.is_sqlite = url.get_backend_name() == "sqlite"
        self._engine = self._sqlite() if self.is_sqlite else self._postgres()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a transaction that only reads."""
        with self._errors(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Open a transaction that is committed whole at the end, or not at all after an error.

        On SQLite it holds the file's write lock from the start, so that what it reads stays true.
        On PostgreSQL rows are locked by the statements.
        """
        with self._errors(), self._engine.connect() as connection:
            connection = connection.execution_options(**{_WRITES: True})
            with connection.begin():
                yield connection

    def close(self) -> None:
        """Close the connections; a transaction that is open elsewhere keeps its own."""
        self._engine.dispose()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Say every error of the driver in our words, with the place and without secrets."""
        try:
            yield
        except exc.IntegrityError as error:
            raise MetadataConflictError(
                f"the metadata database {self.address} refused a row that does not fit the "
                f"others: {self._reason(error)}"
            ) from error
        except (exc.DBAPIError, exc.TimeoutError) as error:  # the latter is of the pool
            if _may_pass(error):
                raise MetadataUnavailableError(
                    f"the metadata database {self.address} cannot be used: "
                    f"{self._reason(error)}; it was given {self._timeout_s:g} s to answer"
                ) from error
            raise MetadataSchemaError(
                f"the metadata database {self.address} refused a statement: "
                f"{self._reason(error)}; is it a database of Millstream, and may this user "
                "change it?"
            ) from error

    def _reason(self, error: exc.DBAPIError | exc.TimeoutError) -> str:
        reason = error.orig if isinstance(error, exc.DBAPIError) else error
        return without_secrets(" ".join(str(reason).split()), self._url)

    # -- SQLite ---------------------------------------------------------------------------------

    def _sqlite(self) -> Engine:
        folder = Path(self._url.database or "").absolute().parent
        if not folder.is_dir():
            raise ConfigError(
                f"the folder of the metadata database {self.address} does not exist: make {folder}"
            )
        engine = create_engine(
            self._url,
            hide_parameters=True,
            connect_args={"timeout": self._timeout_s},  # how long to wait for another's lock
            pool_timeout=self._timeout_s,
        )
        event.listen(engine, "connect", self._prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine

    def _prepare_sqlite(self, connection: sqlite3.Connection, _: object) -> None:
        try:
            connection.isolation_level = None  # BEGIN is ours: the driver's does not cover DDL
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("PRAGMA synchronous = FULL")  # a checkpoint is never taken back
            mode = self._keep_wal(connection)
            if mode != "wal":
                raise MetadataSchemaError(
                    f"the metadata database {self.address} cannot keep a write-ahead log (journal "
                    f"mode {mode!r}); is it on a network file system?"
                )
        except (sqlite3.Error, MetadataSchemaError):
            connection.close()  # older versions of SQLAlchemy leave it open
            raise

    def _keep_wal(self, connection: sqlite3.Connection) -> str:
        """Ask for a write-ahead log, which stays in the file, and return what there is.

        SQLite waits for most locks by itself; here it gives up at once when another process that
        opens the new file does the same.
        """
        deadline_s = time.monotonic() + self._timeout_s
        while True:
            try:
                mode: str = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
            except sqlite3.OperationalError as error:
                if _code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > deadline_s:
                    raise
                time.sleep(0.01)
            else:
                return mode

    # -- PostgreSQL -----------------------------------------------------------------------------

    def _postgres(self) -> Engine:
        defaults = {
            "application_name": "millstream",
            "connect_timeout": max(2, round(self._timeout_s)),  # libpq takes 2 s at least
            "tcp_user_timeout": round(self._timeout_s * 1000),  # ms; a network that went away
            "prepare_threshold": None,  # prepared statements do not pass a transaction pooler
        }
        try:
            engine = create_engine(
                self._url,
                hide_parameters=True,
                isolation_level="READ COMMITTED",  # what the statements are written for
                connect_args={k: v for k, v in defaults.items() if k not in self._url.query},
                pool_pre_ping=True,  # a server that was restarted costs no error
                pool_timeout=self._timeout_s,
            )
        except ImportError as error:
            raise ConfigError(
                f"the metadata database {self.address} needs a driver that is not installed: "
                f"pip install 'millstream[postgres]' ({error})"
            ) from error
        event.listen(engine, "begin", self._limit_waiting)
        return engine

    def _limit_waiting(self, connection: Connection) -> None:
        """Set the time-out for the transaction only: a session may be shared through a pooler."""
        limit_ms = round(self._timeout_s * 1000)
        connection.exec_driver_sql(f"SELECT set_config('statement_timeout', '{limit_ms}', true)")


def _may_pass(error: exc.DBAPIError | exc.TimeoutError) -> bool:
    """Return whether trying again can help. SQLite calls a missing table operational too."""
    if isinstance(error, exc.DBAPIError) and isinstance(error.orig, sqlite3.Error):
        return isinstance(error, exc.OperationalError) and _code(error.orig) != sqlite3.SQLITE_ERROR
    return isinstance(error, exc.OperationalError | exc.InterfaceError | exc.TimeoutError)


def _code(error: sqlite3.Error) -> int:
    """Return the primary result code; in the bits above it there may be more detail."""
    return error.sqlite_errorcode & 0xFF


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITES)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
