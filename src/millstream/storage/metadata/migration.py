"""Migrates the database by Alembic, in one transaction, one process at a time.

The only module that loads Alembic. There is no ``env.py`` and no configuration file: revisions are
applied here, to the connection that holds the lock, so they work from an installed wheel.
"""

from __future__ import annotations

import threading
from pathlib import Path

from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from millstream.storage.metadata.database import Database
from millstream.storage.metadata.schema import VERSION_TABLE, is_up_to_date

REVISIONS = Path(__file__).with_name("migrations")

ADVISORY_LOCK = 0x6D696C6C  # any number that is ours: "mill"

_ONE_THREAD = threading.Lock()
"""Alembic's ``op``, which the revisions use, is one for the whole process."""


def migrate(database: Database) -> None:
    """Apply the revisions that the database lacks: all of them, or none after an error or a crash.

    Another process that does the same waits, and then finds nothing left to do.
    """
    with _ONE_THREAD, database.write() as connection:
        if not database.is_sqlite:  # there the transaction has the lock of the file
            # For the transaction, not the session: a connection pooler may share sessions.
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": ADVISORY_LOCK})
        if not is_up_to_date(connection, database.address):
            _upgrade(connection)


def revisions() -> ScriptDirectory:
    """Return the revisions that this version brings."""
    return ScriptDirectory(REVISIONS, version_locations=[REVISIONS])


def _upgrade(connection: Connection) -> None:
    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
    script = revisions()
    lacking = script.iterate_revisions("head", context.get_current_revision() or "base")
    with Operations.context(context):
        for revision in reversed(list(lacking)):
            revision.module.upgrade()
            context.stamp(script, revision.revision)
