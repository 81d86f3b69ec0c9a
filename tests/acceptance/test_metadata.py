"""Several processes and one metadata store, on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from millstream.storage.metadata.store import open_metadata
from millstream.storage.metadata.tables import METADATA
from tests.acceptance.process import Program, program
from tests.unit.storage.metadata.metadata_contract import ORDERS

PROCESSES = 8
TABLES = len(METADATA.tables) + 1  # and the version's
START = """
import sys
from millstream.storage.metadata.store import open_metadata
with open_metadata(sys.argv[1]) as store:
    store.checkpoints.newest(1)
print("\\n".join(sys.modules))
"""


@pytest.fixture(params=["sqlite", "postgres"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/metadata.db"
    url: str = request.getfixturevalue("postgres_url")
    return url


def lines(action: str, target: str, folder: Path) -> list[str]:
    with program("metadata", folder, action, target) as running:
        assert running.wait() == 0, running.stderr
        return running.stdout.splitlines()


def test_processes_that_open_a_new_database_at_once_all_get_it(target: str, tmp_path: Path) -> None:
    assert lines("open", target, tmp_path) == ["opened None"] * PROCESSES


def test_of_processes_that_ask_for_a_job_at_once_exactly_one_gets_it(
    target: str, tmp_path: Path
) -> None:
    with open_metadata(target) as store:
        store.jobs.define(ORDERS)
    said = lines("acquire", target, tmp_path)
    [won] = [line for line in said if re.fullmatch(r"won by process-\d in epoch 1", line)]
    refused = f"LeaseHeldError: job 'orders' is run by {won.split()[2]}, "
    assert sum(line.startswith(refused) for line in said) == PROCESSES - 1


def test_a_process_killed_in_a_migration_leaves_nothing_and_the_next_one_makes_all(
    target: str, tmp_path: Path
) -> None:
    *killed, last = lines("die", target, tmp_path)
    assert len(killed) > 20
    assert set(killed) == {"killed: 0 tables"}
    assert last == f"ended with 0: {TABLES} tables"


def test_a_start_with_a_known_database_loads_no_alembic_and_no_other_databases_driver(
    target: str, tmp_path: Path
) -> None:
    open_metadata(target).close()
    with Program([sys.executable, "-c", START, target], tmp_path) as running:
        assert running.wait() == 0, running.stderr
        loaded = set(running.stdout.split())
    assert "sqlalchemy" in loaded
    assert not loaded & {"alembic", "mako", "sqlalchemy.orm", "msgspec", "structlog"}
    others = {"psycopg", "sqlalchemy.dialects.postgresql"}
    assert not loaded & others or target.startswith("postgresql")
