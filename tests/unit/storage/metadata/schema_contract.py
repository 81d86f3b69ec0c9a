"""What the metadata store keeps on every database: its tables are those of the architecture."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, Inspector, inspect, text

from millstream.core.job_status import JobStatus
from millstream.storage.metadata import migration, schema
from millstream.storage.metadata.address import parse_address
from millstream.storage.metadata.database import Database
from millstream.storage.metadata.errors import MetadataSchemaError
from millstream.storage.metadata.store import MetadataStore, open_metadata
from millstream.storage.metadata.tables import METADATA
from tests.unit.storage.metadata.metadata_contract import THREADS, Suite, at_once, is_now

PAGE = Path(__file__).resolve().parents[4] / "docs" / "reference" / "metadata.md"

Rows = list[tuple[str, ...]]


def page_rows(heading: str) -> list[list[str]]:
    """Return the table rows of a section of the page, header apart, without backticks."""
    section = PAGE.read_text("utf-8").partition(f"\n{heading}\n")[2]
    section = re.split(r"^#+ ", section, maxsplit=1, flags=re.MULTILINE)[0]
    found = []
    for block in section.split("\n\n"):
        lines = [line for line in block.splitlines() if line.startswith("| ")]
        found += [
            [cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines[2:]
        ]
    return found


def page_columns(kind: int) -> dict[str, dict[str, str]]:
    """Return by table and column what the page says: 1 architecture, 2 SQLite, 3 PostgreSQL."""
    tables = re.findall(r"^### (\w+)$", PAGE.read_text("utf-8"), re.MULTILINE)
    return {table: {row[0]: row[kind] for row in page_rows(f"### {table}")} for table in tables}


class SchemaContract(Suite):
    @pytest.fixture
    def database(self, target: str | Path) -> Iterator[Database]:
        open_metadata(target).close()
        database = Database(parse_address(target), timeout_s=5)
        yield database
        database.close()

    def test_every_column_is_of_the_documented_type_and_none_is_left_out(
        self, database: Database
    ) -> None:
        with database.read() as connection:
            inspector = inspect(connection)
            found = {
                table: {
                    column["name"]: f"{column['type']}{'' if column['nullable'] else ' NOT NULL'}"
                    for column in inspector.get_columns(table)
                }
                for table in inspector.get_table_names()
                if table != schema.VERSION_TABLE
            }
        found["pipeline_lease"]["job_id"] += " PRIMARY KEY"  # in the page, as it is not `id`
        documented = page_columns(2 if database.is_sqlite else 3)
        documented["pipeline_lease"]["job_id"] = "BIGINT NOT NULL PRIMARY KEY"
        assert found == documented

    def test_every_index_key_and_reference_is_as_documented(self, database: Database) -> None:
        with database.read() as connection:
            inspector = inspect(connection)
            tables = sorted(set(inspector.get_table_names()) - {schema.VERSION_TABLE})
            indexes = [(i, t, c) for t in tables for i, c in indexes_of(connection, t).items()]
            unique = [row for table in tables for row in unique_of(inspector, table)]
            references = [row for table in tables for row in references_of(inspector, table)]
            keys = {t: inspector.get_pk_constraint(t)["constrained_columns"] for t in tables}
        assert sorted(indexes) == sorted(tuple(row[:3]) for row in page_rows("## Indexes"))
        rows = page_rows("## Keys and references")
        assert sorted(unique) == sorted(tuple(row) for row in rows if len(row) == 2)
        assert sorted(references) == sorted(tuple(row[:3]) for row in rows if len(row) == 4)
        assert keys.pop("pipeline_lease") == ["job_id"]
        assert all(key == ["id"] for key in keys.values())

    def test_the_revisions_make_what_is_declared(self, database: Database) -> None:
        with database.write() as connection:
            options = {"version_table": schema.VERSION_TABLE, "compare_type": True}
            context = MigrationContext.configure(connection, opts=options)
            assert compare_metadata(context, METADATA) == []

    def test_a_row_of_someone_else_gets_the_defaults_of_the_architecture(
        self, store: MetadataStore, database: Database
    ) -> None:
        statements = [
            "INSERT INTO pipeline_job_definition (job_name, job_type, dag_definition) "
            "VALUES ('plain', 'STREAMING', '{}')",
            "INSERT INTO pipeline_job_execution (execution_id, job_id, job_name, status, "
            "start_time) VALUES ('plain-1', 1, 'plain', 'RUNNING', '2026-01-01 10:00:00')",
            "INSERT INTO pipeline_checkpoint (execution_id, checkpoint_id, checkpoint_type, "
            "status, state_data) VALUES ('plain-1', 1, 'STREAMING', 'SUCCESS', '{\"a\": 1}')",
            "INSERT INTO pipeline_job_config (job_id, config_key, config_value, config_type) "
            "VALUES (1, 'sink.batch.size', '1000', 'INT')",
            "INSERT INTO pipeline_job_schedule (job_id, schedule_type) VALUES (1, 'MANUAL')",
        ]
        with database.write() as connection:
            for statement in statements:
                connection.execute(text(statement.replace(":", r"\:")))
            assert connection.execute(
                text("SELECT is_sensitive, enabled FROM pipeline_job_config, pipeline_job_schedule")
            ).one() == (False, True)
        job = store.jobs.get("plain")
        assert job
        assert (job.version, job.enabled) == (1, True)
        assert (job.definition.parallelism, job.definition.max_retry_times) == (1, 3)
        assert is_now(job.create_time)
        assert is_now(job.update_time)
        [execution] = store.executions.of_job(job.id)
        assert execution.start_time.isoformat() == "2026-01-01T10:00:00+00:00"
        assert execution.status is JobStatus.RUNNING
        assert (execution.processed_records, execution.failed_records) == (0, 0)
        assert execution.retry_count == 0
        checkpoint = store.checkpoints.newest(job.id)
        assert checkpoint
        assert is_now(checkpoint.create_time)
        assert checkpoint.state_data == {"a": 1}

    # -- versions -------------------------------------------------------------------------------

    def test_the_version_that_is_stored_is_the_newest_revision(self, database: Database) -> None:
        script = migration.revisions()
        assert script.get_current_head() == schema.SCHEMA_VERSION
        ids = [revision.revision for revision in script.walk_revisions()]
        assert ids == sorted(ids, reverse=True)  # so that texts can be compared
        with database.read() as connection:
            assert schema.is_up_to_date(connection, "here")

    def test_a_database_of_a_newer_version_is_refused_and_left_alone(
        self, database: Database, target: str | Path
    ) -> None:
        set_version(database, "0999")
        with pytest.raises(MetadataSchemaError, match=r"version 0999, .* this one knows 0001; upg"):
            open_metadata(target)
        with database.read() as connection:
            found = connection.execute(text(f"SELECT * FROM {schema.VERSION_TABLE}"))  # noqa: S608
            assert found.scalars().all() == ["0999"]

    def test_a_version_that_is_none_of_ours_is_refused(
        self, database: Database, target: str | Path
    ) -> None:
        set_version(database, "3f2a1b")
        with pytest.raises(MetadataSchemaError, match=r"'3f2a1b' .* use another database"):
            open_metadata(target)

    def test_tables_of_our_names_that_are_not_ours_are_refused_and_left_alone(
        self, target: str | Path
    ) -> None:
        database = Database(parse_address(target), timeout_s=5)
        with database.write() as connection:
            connection.execute(text("CREATE TABLE pipeline_job_config (other INTEGER)"))
        with pytest.raises(MetadataSchemaError, match="already exists"):
            open_metadata(target)
        assert tables_in(database) == ["pipeline_job_config"]
        database.close()

    def test_a_migration_that_fails_leaves_nothing(
        self, target: str | Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: object) -> None:
            raise ZeroDivisionError

        database = Database(parse_address(target), timeout_s=5)
        with monkeypatch.context() as patched:
            patched.setattr(MigrationContext, "stamp", fail)  # behind all the tables
            with pytest.raises(ZeroDivisionError):
                open_metadata(target)
        assert tables_in(database) == []
        open_metadata(target).close()
        assert len(tables_in(database)) == len(METADATA.tables) + 1
        database.close()

    def test_several_who_open_a_new_database_at_once_all_get_it(self, target: str | Path) -> None:
        stores = at_once(lambda _: open_metadata(target))
        assert [type(store) for store in stores] == [MetadataStore] * THREADS
        for store in stores:
            assert isinstance(store, MetadataStore)
            store.close()


def set_version(database: Database, version: str) -> None:
    with database.write() as connection:
        statement = f"UPDATE {schema.VERSION_TABLE} SET version_num = :version"  # noqa: S608
        connection.execute(text(statement), {"version": version})


def tables_in(database: Database) -> list[str]:
    with database.read() as connection:
        return inspect(connection).get_table_names()


def indexes_of(connection: Connection, table: str) -> dict[str, str]:
    """Return the columns of each index that was named, with DESC where they fall."""
    inspector = inspect(connection)
    constraints = {each["name"] for each in inspector.get_unique_constraints(table)}
    found = {}
    for index in inspector.get_indexes(table):
        if index["name"] is None or index["name"] in constraints:
            continue
        sorting: dict[Any, Any] = dict(index.get("column_sorting", {}))
        if connection.dialect.name == "sqlite":
            listed = connection.execute(text(f"PRAGMA index_xinfo({index['name']})"))
            sorting = {row.name: ("desc",) for row in listed if row.desc}
        found[index["name"]] = ", ".join(
            f"{column} DESC" if "desc" in sorting.get(column, ()) else str(column)
            for column in index["column_names"]
        )
    return found


def unique_of(inspector: Inspector, table: str) -> Rows:
    return [
        (table, ", ".join(each["column_names"])) for each in inspector.get_unique_constraints(table)
    ]


def references_of(inspector: Inspector, table: str) -> Rows:
    return [
        (
            table,
            ", ".join(each["constrained_columns"]),
            f"{each['referred_table']}({', '.join(each['referred_columns'])})",
        )
        for each in inspector.get_foreign_keys(table)
    ]
