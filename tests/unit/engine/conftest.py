"""A supervisor that looks more often, so that these tests wait less."""

from collections.abc import Iterator

import pytest
import structlog

from millstream.engine import supervisor
from tests.unit.engine.checkpoint.stepped_run import close_all


@pytest.fixture(scope="package", autouse=True)
def _brisk_supervisor() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(supervisor, "TICK_S", 0.05)
        patch.setattr(supervisor, "LET_GO_NS", 300_000_000)
        yield


@pytest.fixture(autouse=True)
def _unconfigured_log() -> Iterator[None]:
    yield
    structlog.reset_defaults()  # capture_logs() leaves it configured: events would go to stdout


@pytest.fixture(autouse=True)
def _closed_runs() -> Iterator[None]:
    yield
    close_all()
