"""The version of the schema, compared at every start by a query that loads no Alembic."""

from __future__ import annotations

import re

from sqlalchemy import Connection, String, column, select, table

from millstream.storage.metadata.errors import MetadataSchemaError

SCHEMA_VERSION = "0001"
"""What this code works with: the id of the newest revision. Ids are digits and grow."""

VERSION_TABLE = "pipeline_schema_version"
"""Not Alembic's own name: the database may have other users of Alembic."""


def is_up_to_date(connection: Connection, address: str) -> bool:
    """Return whether the schema is that of this version; False if it is older or not there.

    Raises:
        MetadataSchemaError: it is newer.
    """
    found = _stored_version(connection)
    if found is None:
        return False
    if not re.fullmatch(r"\d{4}", found):
        raise MetadataSchemaError(
            f"the metadata database {address} has schema version {found!r} in {VERSION_TABLE}, "
            "which no version of Millstream has written; use another database"
        )
    if found > SCHEMA_VERSION:
        raise MetadataSchemaError(
            f"the metadata database {address} has schema version {found}, made by a newer "
            f"Millstream; this one knows {SCHEMA_VERSION}; upgrade Millstream here, or use "
            "another database"
        )
    return found == SCHEMA_VERSION


def _stored_version(connection: Connection) -> str | None:
    if not connection.dialect.has_table(connection, VERSION_TABLE):
        return None
    version = column("version_num", String)
    return connection.execute(select(version).select_from(table(VERSION_TABLE))).scalar()
