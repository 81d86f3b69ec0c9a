"""Where a SQLite sink's transactions wait, in the target's own database, and how they end there."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from operator import length_hint
from pathlib import Path
from typing import Any

import msgspec

from millstream.connectors.sqlite_table import Table
from millstream.core.errors import RetryableError, SinkError
from millstream.core.two_phase import DataLossError, FencedError, TransactionId

BUSY_S = 10.0  # to wait for other writers; sqlite3's own default of 5 s, and as much again

_TABLES = (
    """
    CREATE TABLE IF NOT EXISTS _millstream_staged (
        job TEXT NOT NULL, uid TEXT NOT NULL, subtask INTEGER NOT NULL, epoch INTEGER NOT NULL,
        checkpoint INTEGER NOT NULL, seq INTEGER NOT NULL, rows BLOB NOT NULL,
        PRIMARY KEY (job, uid, subtask, epoch, checkpoint, seq)
    )
    """,
    # A row for each run: its epoch, and the last of its transactions that was committed, if any.
    """
    CREATE TABLE IF NOT EXISTS _millstream_transactions (
        job TEXT NOT NULL, uid TEXT NOT NULL, subtask INTEGER NOT NULL, epoch INTEGER NOT NULL,
        checkpoint INTEGER,
        PRIMARY KEY (job, uid, subtask, epoch)
    )
    """,
)
_STAGE = "INSERT INTO _millstream_staged VALUES (?, ?, ?, ?, ?, ?, ?)"
_BATCHES = """
    SELECT seq FROM _millstream_staged
    WHERE job = :job AND uid = :uid AND subtask = :subtask AND epoch = :epoch
        AND checkpoint = :checkpoint
    ORDER BY seq
"""
_BATCH = """
    SELECT rows FROM _millstream_staged
    WHERE job = :job AND uid = :uid AND subtask = :subtask AND epoch = :epoch
        AND checkpoint = :checkpoint AND seq = :seq
"""
_REMOVE = """
    DELETE FROM _millstream_staged
    WHERE job = :job AND uid = :uid AND subtask = :subtask AND epoch = :epoch
        AND checkpoint = :checkpoint
"""
_REMOVE_BEFORE = "DELETE FROM _millstream_staged WHERE job = ? AND uid = ? AND epoch < ?"
_BEGIN_RUN = """
    INSERT INTO _millstream_transactions VALUES (?, ?, 0, ?, NULL)
    ON CONFLICT (job, uid, subtask, epoch) DO NOTHING
"""
_HAS_COMMITTED = """
    SELECT 1 FROM _millstream_transactions
    WHERE job = ? AND uid = ? AND epoch = ? AND checkpoint IS NOT NULL
"""
_NEWEST_RUN = "SELECT max(epoch) FROM _millstream_transactions WHERE job = ? AND uid = ?"
_COMMITTED = """
    SELECT checkpoint FROM _millstream_transactions
    WHERE job = :job AND uid = :uid AND subtask = :subtask AND epoch = :epoch
"""
_NOTE_COMMIT = """
    INSERT INTO _millstream_transactions VALUES (:job, :uid, :subtask, :epoch, :checkpoint)
    ON CONFLICT (job, uid, subtask, epoch)
    DO UPDATE SET checkpoint = max(coalesce(checkpoint, 0), excluded.checkpoint)
"""

_COUNTED_ANEW = (
    ". If the job's own folder was removed or replaced, its runs are counted anew: then delete "
    "this job's rows from _millstream_transactions and _millstream_staged"
)


class SqliteStaging:
    """The staged transactions of one sink; makes its two tables in the database.

    Rows are staged as batches of msgpack, which takes a fifth of the time of a row each. While
    a transaction is staged it is to be committed; "staged no more, but noted" means committed.

    Args:
        who: the connector and side, for errors.
        path: the database.
        job: the job's name.
        uid: the sink's uid.

    Attributes:
        connection: to the database; no transaction is open between the calls.
        epoch: of this run, as soon as it is known: a newer one in the database refuses this one.

    Raises:
        SinkError: the database cannot be written.
    """

    def __init__(self, who: str, path: Path, job: str, uid: str) -> None:
        self.epoch = 0
        self._who = who
        self._path = path
        self._job = job
        self._uid = uid
        self._decoder = msgspec.msgpack.Decoder(list[list[Any]])
        try:
            # Transactions are ours to begin and end; the driver would begin them by itself.
            self.connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)
        except sqlite3.Error as error:
            raise self.failed(error) from error
        try:
            # EXTRA: a commit survives a power failure, also without a write-ahead log.
            self.connection.execute("PRAGMA synchronous = EXTRA")
            with self._transaction():
                for statement in _TABLES:
                    self.connection.execute(statement)
        except sqlite3.Error as error:
            self.close()
            raise self.failed(error) from error
        except BaseException:
            self.close()
            raise

    def stage(self, id: TransactionId, first: int, batches: Sequence[bytes]) -> None:
        """Stage batches of rows, durably; ``first`` is how many of this transaction are there."""
        key = (id.job, id.uid, id.subtask, id.epoch, id.checkpoint)
        with self._transaction():
            rows = [(*key, seq, batch) for seq, batch in enumerate(batches, first)]
            self.connection.executemany(_STAGE, rows)

    def commit(self, id: TransactionId, table: Table) -> None:
        """Move what is staged to the table, in order, in one transaction; again does nothing.

        Raises:
            DataLossError: it is neither staged nor noted as committed.
            SinkError: the table refuses a row.
        """
        key, execute = asdict(id), self.connection.execute
        with self._transaction():
            staged = [seq for (seq,) in execute(_BATCHES, key)]
            if not staged:
                self._check_committed(id)
                return
            if table.create:
                execute(table.create_statement)
            for seq in staged:  # one at a time: an epoch may be larger than memory
                (data,) = execute(_BATCH, {**key, "seq": seq}).fetchone()
                columns = self._decoder.decode(data)
                self._write(table, list(zip(*columns, strict=True)))
            execute(_REMOVE, key)
            execute(_NOTE_COMMIT, key)

    def remove(self, id: TransactionId) -> None:
        """Remove what is staged of one transaction."""
        with self._transaction():
            self.connection.execute(_REMOVE, asdict(id))

    def begin_run(self, epoch: int) -> None:
        """Remove what runs of smaller epochs have staged, and refuse them from now on.

        Raises:
            FencedError: a newer run has begun, or another one of the same epoch has committed.
        """
        self.epoch = epoch
        run = (self._job, self._uid, epoch)
        with self._transaction():
            if self.connection.execute(_HAS_COMMITTED, run).fetchone():
                raise FencedError(
                    f"{self._who}: run {epoch} of job {self._job!r} has written to {self._path} "
                    f"already, and this is another run {epoch}{_COUNTED_ANEW}"
                )
            self.connection.execute(_REMOVE_BEFORE, run)
            self.connection.execute(_BEGIN_RUN, run)

    def close(self) -> None:
        """Close the database."""
        self.connection.close()

    def failed(self, error: sqlite3.Error) -> Exception:
        """Return the error to raise for one of SQLite's."""
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # without the details
        if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
            return RetryableError(
                f"{self._who}: {self._path} has been locked by another connection for "
                f"{BUSY_S:g} s: {error}; nothing was changed"
            )
        return SinkError(f"{self._who}: cannot write {self._path}: {error}; nothing was changed")

    def _write(self, table: Table, rows: list[tuple[Any, ...]]) -> None:
        left = iter(rows)
        try:
            self.connection.executemany(table.write_statement, left)
        except sqlite3.IntegrityError as error:
            row = dict(zip(table.header, rows[len(rows) - length_hint(left) - 1], strict=True))
            raise SinkError(
                f"{self._who}: table {table.name!r} of {self._path} refuses the row {row}: "
                f"{error}; its whole checkpoint stays staged, and nothing of it has appeared: "
                "change the table, then resume the job"
            ) from error

    def _check_committed(self, id: TransactionId) -> None:
        found = self.connection.execute(_COMMITTED, asdict(id)).fetchone()
        if not found or found[0] is None or found[0] < id.checkpoint:
            raise DataLossError(
                f"{self._who}: the rows of transaction {id}, which a checkpoint names, are lost: "
                f"{self._path} has them neither staged nor noted as committed; was the database "
                "replaced, or path= changed? Put it back, or begin anew with a fresh run"
            )

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Run a writing transaction, unless a newer run has begun."""
        try:
            self.connection.execute("BEGIN IMMEDIATE")
            self._check_epoch()
            yield
            self.connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise self.failed(error) from error
        finally:
            if self.connection.in_transaction:
                with suppress(sqlite3.Error):  # else it is rolled back when it is closed
                    self.connection.execute("ROLLBACK")

    def _check_epoch(self) -> None:
        if not self.epoch:
            return
        run = (self._job, self._uid)
        (newest,) = self.connection.execute(_NEWEST_RUN, run).fetchone()
        if newest is not None and newest > self.epoch:
            raise FencedError(
                f"{self._who}: run {newest} of job {self._job!r} writes to {self._path} now, and "
                f"this is run {self.epoch}, which must end{_COUNTED_ANEW}"
            )
