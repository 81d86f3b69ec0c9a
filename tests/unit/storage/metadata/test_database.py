"""A connection to the metadata database: how SQLite is used, and what is said when it fails."""

from __future__ import annotations

import sqlite3
import sys
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from millstream.core.errors import ConfigError
from millstream.storage.metadata.address import parse_address
from millstream.storage.metadata.database import Database
from millstream.storage.metadata.errors import MetadataSchemaError, MetadataUnavailableError
from millstream.storage.metadata.store import open_metadata
from tests.unit.storage.metadata.metadata_contract import THREADS, at_once

SHORT_S = 0.1
SECRET = "canary"  # noqa: S105  # what must not be shown


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "metadata.db"


@pytest.fixture
def database(file: Path) -> Iterator[Database]:
    database = Database(parse_address(file), timeout_s=SHORT_S)
    yield database
    database.close()


def test_every_connection_is_durable_checks_references_and_waits_for_locks(
    database: Database,
) -> None:
    expected = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 100}
    with database.read() as first, database.read() as second:
        for connection in (first, second):
            found = {name: connection.execute(text(f"PRAGMA {name}")).scalar() for name in expected}
            assert found == expected


def test_a_write_holds_the_lock_of_the_file_from_its_start(database: Database) -> None:
    locked = pytest.raises(MetadataUnavailableError, match=r"locked; it was given 0\.1 s")
    with database.write(), locked, database.write():
        pass


def test_a_reader_is_not_kept_waiting_and_sees_nothing_of_an_open_write(
    database: Database,
) -> None:
    with database.write() as writer:
        writer.execute(text("CREATE TABLE t (a INTEGER)"))
        with database.read() as reader:
            assert reader.execute(text("SELECT count(*) FROM sqlite_master")).scalar() == 0
    with database.read() as reader:
        assert reader.execute(text("SELECT count(*) FROM sqlite_master")).scalar() == 1


def test_an_error_takes_everything_of_a_write_back_ddl_included(database: Database) -> None:
    def fail() -> None:
        with database.write() as connection:
            connection.execute(text("CREATE TABLE t (a INTEGER)"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with database.read() as connection:
        assert connection.execute(text("SELECT count(*) FROM sqlite_master")).scalar() == 0


def test_a_new_file_that_another_process_has_locked_is_waited_for(file: Path) -> None:
    other = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    other.execute("CREATE TABLE t (a INTEGER)")
    other.execute("BEGIN IMMEDIATE")  # SQLite itself does not wait here to change the journal
    threading.Timer(0.2, other.close).start()
    open_metadata(file).close()


def test_a_new_file_that_stays_locked_is_given_up(file: Path) -> None:
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("CREATE TABLE t (a INTEGER)")
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(MetadataUnavailableError, match="database is locked"):
        open_metadata(file, timeout_s=SHORT_S)
    other.close()


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"does not exist: make {tmp_path / 'missing'}"):
        open_metadata(tmp_path / "missing" / "metadata.db")
    assert not (tmp_path / "missing").exists()


def test_a_file_that_is_no_database_is_refused_and_left_alone(file: Path) -> None:
    file.write_bytes(b"something else" * 100)
    with pytest.raises(MetadataSchemaError, match="file is not a database; is it a database of M"):
        open_metadata(file)
    assert file.read_bytes() == b"something else" * 100


def test_a_folder_in_the_place_of_the_file_is_said_to_be_unusable(tmp_path: Path) -> None:
    with pytest.raises(MetadataUnavailableError, match="unable to open database file"):
        open_metadata(tmp_path)


def test_a_statement_that_does_not_fit_the_tables_is_no_passing_fault(database: Database) -> None:
    refused = pytest.raises(MetadataSchemaError, match="no such table: unknown")
    with refused, database.read() as connection:
        connection.execute(text("SELECT * FROM unknown"))


def test_what_a_statement_was_given_is_not_in_its_error(database: Database) -> None:
    refused = pytest.raises(MetadataSchemaError)
    with refused as raised, database.write() as connection:
        connection.execute(text("INSERT INTO unknown VALUES (:value)"), {"value": SECRET})
    assert SECRET not in "".join(traceback.format_exception(raised.value))


def test_several_threads_may_make_databases_of_their_own_at_once(tmp_path: Path) -> None:
    def make(number: int) -> bool:
        with open_metadata(tmp_path / f"{number}.db") as store:
            return store.jobs.get("none") is None

    assert at_once(make) == [True] * THREADS


def test_a_driver_that_is_missing_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ConfigError, match=r"pip install 'millstream\[postgres\]'"):
        open_metadata("postgresql://user:secret@host/jobs")


def test_the_store_shows_where_it_is_and_nothing_else(file: Path) -> None:
    with open_metadata(f"sqlite:///{file}") as store:
        assert repr(store) == f"MetadataStore('sqlite:///{file}')"
