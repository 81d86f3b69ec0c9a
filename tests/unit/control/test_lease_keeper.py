"""A lease is renewed while a job runs, and the run ends when it is lost or cannot be kept."""

from __future__ import annotations

from collections.abc import Callable
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
        self.hook: Callable[[], None] = lambda: None

    def renew(self, lease: Lease, *, duration_s: float) -> Lease:
        self.renewals += 1
        self.hook()
        if self.error is not None:
            raise self.error
        return lease


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(lease_keeper, "LEASE_S", 0.03)
    leases, clock = Leases(), ManualClock()
    lost: list[BaseException] = []
    keeper = LeaseKeeper(leases, LEASE, clock, clock.monotonic_ns())  # type: ignore[arg-type]  # a fake
    keeper.end_when_lost(lost.append)
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


def test_a_call_that_itself_outlasts_the_lease_ends_the_run(parts: Any) -> None:
    leases, clock, lost, keeper = parts

    def hang() -> None:
        clock.advance(31)
        raise MetadataUnavailableError("no answer")

    leases.hook = hang
    keeper.start(ThreadSpawner())
    wait_until(lambda: lost, "the loss")
    assert leases.renewals == 1
    assert "could not be renewed" in str(lost[0])


def test_an_error_that_nobody_thought_of_ends_the_run_and_is_named(parts: Any) -> None:
    leases, _, lost, keeper = parts
    leases.error = ZeroDivisionError("a bug")
    keeper.start(ThreadSpawner())
    wait_until(lambda: lost, "the loss")
    assert isinstance(lost[0], LeaseLostError)
    assert lost[0].__cause__ is leases.error
    assert "cannot be renewed" in str(lost[0])
    assert "ZeroDivisionError: a bug" in str(lost[0])


def test_its_life_counts_from_before_it_was_asked_for(parts: Any) -> None:
    leases, clock, lost, _ = parts
    since_ns = clock.monotonic_ns()
    clock.advance(31)  # so long did it take to get it
    keeper = LeaseKeeper(leases, LEASE, clock, since_ns)
    keeper.end_when_lost(lost.append)
    leases.error = MetadataUnavailableError("no answer")
    keeper.start(ThreadSpawner())
    wait_until(lambda: lost, "the loss")
    keeper.stop()
    assert leases.renewals == 1


def test_a_loss_before_there_is_a_run_is_raised_where_it_would_begin(parts: Any) -> None:
    leases, clock, _, _ = parts
    keeper = LeaseKeeper(leases, LEASE, clock, clock.monotonic_ns())
    leases.error = LeaseLostError("somebody has it")
    spawned: list[Any] = []

    class Spawner(ThreadSpawner):
        def spawn(self, name: str, target: Any) -> Any:
            spawned.append(super().spawn(name, target))
            return spawned[0]

    keeper.start(Spawner())
    spawned[0].join(30)  # it ends when the lease is lost
    assert not spawned[0].is_alive()
    with pytest.raises(LeaseLostError, match="somebody has it"):
        keeper.end_when_lost(lambda _: None)
