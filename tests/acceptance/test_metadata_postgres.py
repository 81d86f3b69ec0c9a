"""The metadata store in a real PostgreSQL."""

from __future__ import annotations

import socket
import time
import traceback
from pathlib import Path

import pytest
from sqlalchemy import create_engine, inspect, make_url

from millstream.storage.metadata.address import parse_address
from millstream.storage.metadata.errors import MetadataSchemaError, MetadataUnavailableError
from millstream.storage.metadata.store import open_metadata
from tests.support.postgres import PASSWORD, PostgresServer, connect
from tests.unit.storage.metadata.lease_contract import CheckpointsContract, LeasesContract
from tests.unit.storage.metadata.metadata_contract import (
    ORDERS,
    ExecutionsContract,
    JobsContract,
)
from tests.unit.storage.metadata.schema_contract import SchemaContract

DDL = (Path(__file__).parents[1] / "unit" / "storage" / "metadata" / "architecture.sql").read_text(
    "utf-8"
)

SECRET = "canary"  # noqa: S105  # what must not be shown


@pytest.fixture
def target(postgres_url: str) -> str:
    return postgres_url


class TestJobs(JobsContract):
    pass


class TestExecutions(ExecutionsContract):
    pass


class TestLeases(LeasesContract):
    pass


class TestCheckpoints(CheckpointsContract):
    pass


class TestSchema(SchemaContract):
    pass


# -- the architecture's DDL, as PostgreSQL understands it ---------------------------------------


def test_every_table_has_what_the_ddl_of_the_architecture_makes_of_it(postgres_url: str) -> None:
    open_metadata(postgres_url).close()
    with connect(make_url(postgres_url)) as admin:
        admin.execute("CREATE SCHEMA architecture")
        admin.execute("SET search_path = architecture")
        admin.execute(DDL.encode())
    engine = create_engine(parse_address(postgres_url))
    inspector = inspect(engine)
    tables = inspector.get_table_names("architecture")
    assert len(tables) == 5
    for table in tables:
        ours = {each["name"]: each for each in inspector.get_columns(table)}
        for column in inspector.get_columns(table, "architecture"):
            for kept in ("nullable", "autoincrement"):
                assert ours[column["name"]][kept] == column[kept]
            assert str(ours[column["name"]]["type"]) == str(column["type"])
        indexes = {each["name"]: each for each in inspector.get_indexes(table)}
        for index in inspector.get_indexes(table, "architecture"):
            assert indexes[index["name"]] == index
        assert inspector.get_pk_constraint(table) == inspector.get_pk_constraint(
            table, "architecture"
        )
        assert inspector.get_unique_constraints(table) == inspector.get_unique_constraints(
            table, "architecture"
        )
        references = [
            [
                (each["constrained_columns"], each["referred_table"], each["referred_columns"])
                for each in inspector.get_foreign_keys(table, schema)
            ]
            for schema in (None, "architecture")
        ]
        assert references[0] == references[1]
    engine.dispose()


# -- a server that is not there, and one that comes back ----------------------------------------


def refused(url: str, *, timeout_s: float = 2.0) -> str:
    """Return what opening says; it must not take much longer than allowed, nor show a secret."""
    begun_s = time.monotonic()
    with pytest.raises(MetadataUnavailableError) as raised:
        open_metadata(url, timeout_s=timeout_s)
    assert time.monotonic() - begun_s < timeout_s + 5
    whole = "".join(traceback.format_exception(raised.value))
    assert SECRET not in whole
    assert PASSWORD not in whole
    return str(raised.value)


def test_a_port_where_nobody_listens_is_said_at_once() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    said = refused(f"postgresql://user:{SECRET}@127.0.0.1:{port}/jobs?sslpassword={SECRET}")
    assert said.startswith(f"the metadata database postgresql://127.0.0.1:{port}/jobs cannot be")
    assert "Connection refused" in said


def test_a_server_that_accepts_and_says_nothing_is_given_up_in_time() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        port = silent.getsockname()[1]
        assert "timeout" in refused(f"postgresql://user:{SECRET}@127.0.0.1:{port}/jobs")


def test_a_wrong_password_and_an_unknown_database_are_said(postgres_url: str) -> None:
    url = make_url(postgres_url)
    wrong = url.set(password=SECRET).render_as_string(hide_password=False)
    assert "password authentication failed for user" in refused(wrong)
    unknown = url.set(database="unknown").render_as_string(hide_password=False)
    assert 'database "unknown" does not exist' in refused(unknown)


def test_a_user_who_may_not_make_tables_is_told_so(postgres_url: str) -> None:
    url = make_url(postgres_url)
    role = f"reader_{url.database}"
    with connect(url) as admin:
        admin.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{SECRET}'".encode())
        admin.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    reader = url.set(username=role, password=SECRET).render_as_string(hide_password=False)
    with pytest.raises(MetadataSchemaError, match=r"permission denied .* may this user change it"):
        open_metadata(reader)


def test_a_row_that_another_session_has_locked_is_given_up_in_time(postgres_url: str) -> None:
    with open_metadata(postgres_url, timeout_s=0.3) as store, connect(make_url(postgres_url)) as it:
        job = store.jobs.define(ORDERS)
        with it.transaction():
            it.execute("SELECT * FROM pipeline_lease FOR UPDATE")
            with pytest.raises(MetadataUnavailableError, match="statement timeout"):
                store.leases.acquire(job.id, "first", duration_s=60)
        assert store.leases.acquire(job.id, "first", duration_s=60).epoch == 1


def test_a_store_works_again_when_its_server_is_back(own_postgres_server: PostgresServer) -> None:
    url = own_postgres_server.url.render_as_string(hide_password=False)
    with open_metadata(url, timeout_s=2) as store:
        defined = store.jobs.define(ORDERS)
        own_postgres_server.stop()
        with pytest.raises(MetadataUnavailableError):
            store.jobs.get("orders")
        own_postgres_server.start()
        assert store.jobs.get("orders") == defined
        own_postgres_server.stop()
        own_postgres_server.start()
        assert store.jobs.get("orders") == defined  # without an error in between


def test_a_server_that_hangs_is_given_up_in_time(own_postgres_server: PostgresServer) -> None:
    own_postgres_server.pause()
    try:
        refused(own_postgres_server.url.render_as_string(hide_password=False))
    finally:
        own_postgres_server.resume()
