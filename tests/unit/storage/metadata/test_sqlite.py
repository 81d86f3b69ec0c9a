"""The metadata store in an SQLite file."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.storage.metadata.lease_contract import CheckpointsContract, LeasesContract
from tests.unit.storage.metadata.metadata_contract import ExecutionsContract, JobsContract
from tests.unit.storage.metadata.schema_contract import SchemaContract


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "metadata.db"


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
