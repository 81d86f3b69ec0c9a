"""The jobs that are known, by name."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from millstream.core.job_graph import JobMode
from millstream.storage.metadata.column_types import utc_now
from millstream.storage.metadata.database import Database
from millstream.storage.metadata.errors import MetadataConflictError
from millstream.storage.metadata.records import JobDefinition, JobRecord
from millstream.storage.metadata.tables import JOB, LEASE
from millstream.storage.metadata.values import fitting, storable, storable_text


class Jobs:
    """Reads and writes ``pipeline_job_definition``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def define(self, definition: JobDefinition) -> JobRecord:
        """Store a job, new or changed, and return it as it stands.

        A definition that differs from the stored one gets the next version; an equal one changes
        nothing.

        Raises:
            ConfigError: the name is too long.
        """
        try:
            return self._define(definition)
        except MetadataConflictError:  # another process was first with a new name: now it is there
            return self._define(definition)

    def get(self, name: str) -> JobRecord | None:
        """Return the job of that name."""
        with self._database.read() as connection:
            row = connection.execute(select(JOB).where(JOB.c.job_name == name)).one_or_none()
        return None if row is None else _job(row)

    def _define(self, definition: JobDefinition) -> JobRecord:
        values = _columns(definition)
        same_name = JOB.c.job_name == values["job_name"]
        with self._database.write() as connection:
            row = connection.execute(select(JOB).where(same_name).with_for_update()).one_or_none()
            if row is None:
                _insert(connection, values)
            elif any(getattr(row, name) != value for name, value in values.items()):
                connection.execute(
                    update(JOB)
                    .where(same_name)
                    .values(**values, version=JOB.c.version + 1, update_time=utc_now())
                )
            else:
                return _job(row)
            return _job(connection.execute(select(JOB).where(same_name)).one())


def _insert(connection: Connection, values: dict[str, Any]) -> None:  # Any: values of columns
    now = {"create_time": utc_now(), "update_time": utc_now()}
    connection.execute(insert(JOB).values(**values, **now))
    same_name = JOB.c.job_name == values["job_name"]
    connection.execute(insert(LEASE).from_select(["job_id"], select(JOB.c.id).where(same_name)))


def _columns(definition: JobDefinition) -> dict[str, Any]:  # values of columns
    graph = json.dumps(storable(definition.dag_definition), ensure_ascii=False, allow_nan=False)
    return {
        "job_name": fitting(JOB.c.job_name, definition.name),
        "job_type": definition.type.value,
        "dag_definition": graph,
        "description": definition.description and storable_text(definition.description),
        "parallelism": definition.parallelism,
        "max_retry_times": definition.max_retry_times,
        "fingerprint": definition.fingerprint,
        "state_fingerprint": definition.state_fingerprint,
        "code_fingerprint": definition.code_fingerprint,
    }


def _job(row: Row[Any]) -> JobRecord:  # any columns: of the table JOB
    definition = JobDefinition(
        name=row.job_name,
        type=JobMode(row.job_type),
        dag_definition=json.loads(row.dag_definition),
        fingerprint=row.fingerprint or "",  # a row that something else wrote
        state_fingerprint=row.state_fingerprint or "",
        code_fingerprint=row.code_fingerprint or "",
        description=row.description,
        parallelism=row.parallelism or 1,
        max_retry_times=0 if row.max_retry_times is None else row.max_retry_times,
    )
    return JobRecord(
        id=row.id,
        definition=definition,
        version=row.version,
        enabled=row.enabled,
        create_time=row.create_time,
        update_time=row.update_time,
    )
