"""The metadata store, opened: what ``control`` and the commands work with."""

from __future__ import annotations

from pathlib import Path

from millstream.storage.metadata.address import parse_address
from millstream.storage.metadata.checkpoints import Checkpoints
from millstream.storage.metadata.database import Database
from millstream.storage.metadata.executions import Executions
from millstream.storage.metadata.jobs import Jobs
from millstream.storage.metadata.leases import Leases
from millstream.storage.metadata.schema import is_up_to_date

DEFAULT_TIMEOUT_S = 10.0  # below a lease's duration, or one slow statement loses the job


class MetadataStore:
    """What is known of jobs, in a database that several processes may share.

    Its methods block on the database, may be called from any thread, and each is one transaction:
    on disk when it returns, without a trace when it raises. All of them can raise
    ``MetadataUnavailableError``; after that one the same call may be tried again.

    Attributes:
        jobs: the definitions, by name.
        executions: where each run stands.
        checkpoints: what can be restored.
        leases: who runs what.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.address = database.address
        self.jobs = Jobs(database)
        self.executions = Executions(database)
        self.checkpoints = Checkpoints(database)
        self.leases = Leases(database)

    def __enter__(self) -> MetadataStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"MetadataStore({self.address!r})"

    def close(self) -> None:
        """Close the connections."""
        self._database.close()


def open_metadata(target: str | Path, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> MetadataStore:
    """Open the metadata store; its tables are made or migrated if they have to be.

    Args:
        target: an SQLite file in a folder that exists, or a URL: ``sqlite:///folder/metadata.db``,
            ``postgresql://user:password@host/database``.
        timeout_s: how long to wait for a connection, for another's lock, and for a statement.

    Raises:
        ConfigError: the URL is not one of a metadata store, the folder does not exist, or the
            driver is not installed.
        MetadataSchemaError: the database is newer than this code, or not one of Millstream.
        MetadataUnavailableError: it cannot be reached, or does not answer in time.
    """
    database = Database(parse_address(target), timeout_s)
    try:
        _bring_up_to_date(database)
    except BaseException:
        database.close()
        raise
    return MetadataStore(database)


def _bring_up_to_date(database: Database) -> None:
    with database.read() as connection:
        up_to_date = is_up_to_date(connection, database.address)
    if not up_to_date:
        # Alembic takes 120 ms to load, which the start of a known job has no use for.
        from millstream.storage.metadata.migration import migrate  # noqa: PLC0415

        migrate(database)
