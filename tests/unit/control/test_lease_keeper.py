"""A lease is renewed while a job runs, and the run ends when it is lost or cannot be kept."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from millstream.control import lease_keeper
from millstream.control.lease_keeper import LeaseKeeper
from millstream.core.ports import ThreadSpawner
from millstream.storage.metadata.errors import LeaseLostError, MetadataUnavailableError
from millstream.storage.metadata.records import Lease
from tests.support.stepping import ManualClock, wait_until

LEASE = Lease(1, "me", 1, datetime(2026, 1, 1, tzinfo=UTC), 0)


class Leases:
    def __init__(self) -> None:
        self.renewals = 0
        self.error: Exception | None = None

    def renew(self, lease: Lease, *, duration_s: float) -> Lease:
        self.renewals += 1
        if self.error is not None:
            raise self.error
        return lease


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(lease_keeper, "LEASE_S", 0.03)
    leases, clock = Leases(), ManualClock()
    lost: list[BaseException] = []
    keeper = LeaseKeeper(leases, LEASE, clock, lost.append)  # type: ignore[arg-type]  # a fake
    yield leases, clock, lost, keeper
    keeper.stop()


def test_it_is_renewed_until_it_is_stopped(parts: Any) -> None:
    leases, _, lost, keeper = parts
    keeper.start(ThreadSpawner())
    wait_until(lambda: leases.renewals > 2, "renewals")
    keeper.stop()
    assert lost == []


def test_a_lost_one_ends_the_run(parts: Any) -> None:
    leases, _, lost, keeper = parts
    leases.error = LeaseLostError("somebody has it")
    keeper.start(ThreadSpawner())
    wait_until(lambda: lost, "the loss")
    assert lost == [leases.error]


def test_a_database_that_is_away_ends_the_run_only_when_the_lease_has_run_out(parts: Any) -> None:
    leases, clock, lost, keeper = parts
    leases.error = MetadataUnavailableError("no answer")
    keeper.start(ThreadSpawner())
    wait_until(lambda: leases.renewals > 2, "renewals")
    assert lost == []
    clock.advance(31)
    wait_until(lambda: lost, "the loss")
    assert "could not be renewed" in str(lost[0])
