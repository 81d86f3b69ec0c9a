"""Keeps a job's lease while the job runs, and ends the run when it is lost."""

from __future__ import annotations

import threading
from collections.abc import Callable

from millstream.core.log import warning
from millstream.core.ports import Clock, Joinable, Spawner
from millstream.core.wording import said
from millstream.storage.metadata.errors import LeaseLostError, MetadataUnavailableError
from millstream.storage.metadata.leases import Leases
from millstream.storage.metadata.records import Lease

LEASE_S = 30.0  # a run that cannot renew it for so long is not to commit any more


class LeaseKeeper:
    """Renews a lease on a thread of its own, three times in its life.

    It begins when the lease is acquired: what comes before the run, such as restoring its state,
    may take longer than the lease lasts.

    Args:
        leases: where it is.
        lease: what was acquired.
        clock: what its life is counted by.
        since_ns: by that clock, before the lease was asked for.
    """

    def __init__(
        self,
        leases: Leases,
        lease: Lease,
        clock: Clock,
        since_ns: int,
    ) -> None:
        self._leases = leases
        self._lease = lease
        self._clock = clock
        self._stop = threading.Event()
        self._renewed_ns = since_ns
        self._lock = threading.Lock()
        self._loss: LeaseLostError | None = None
        self._on_lost: Callable[[LeaseLostError], None] | None = None
        self._thread: Joinable | None = None

    def start(self, spawner: Spawner) -> None:
        """Begin."""
        self._thread = spawner.spawn("millstream-lease", self._run)

    def end_when_lost(self, on_lost: Callable[[LeaseLostError], None]) -> None:
        """Tell, on the keeper's thread, why the run must end, once the lease is lost.

        Raises:
            LeaseLostError: it is lost already, so the run must not begin.
        """
        with self._lock:
            self._on_lost = on_lost
            if self._loss is not None:
                raise self._loss

    def stop(self) -> None:
        """End, and wait for it: the lease may be released then."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(LEASE_S / 3):
            asked_ns = self._clock.monotonic_ns()
            try:
                self._leases.renew(self._lease, duration_s=LEASE_S)
            except MetadataUnavailableError as error:
                if self._clock.monotonic_ns() - self._renewed_ns > LEASE_S * 1e9:
                    self._lose(self._lost(f"could not be renewed for {LEASE_S:g} s", error))
                    return
                warning("lease.not_renewed", owner=self._lease.owner, error=said(error))
            except LeaseLostError as error:
                self._lose(error)
                return
            except Exception as error:  # noqa: BLE001  # whatever it is, nobody renews it any more
                self._lose(self._lost("cannot be renewed", error))
                return
            else:
                self._renewed_ns = asked_ns

    def _lost(self, how: str, error: Exception) -> LeaseLostError:
        lost = LeaseLostError(
            f"the lease of {self._lease.owner} {how}, so another run may have the job: "
            f"{said(error)}; resume when the metadata store is back"
        )
        lost.__cause__ = error
        return lost

    def _lose(self, loss: LeaseLostError) -> None:
        with self._lock:
            self._loss = loss
            on_lost = self._on_lost
        if on_lost is not None:
            on_lost(loss)
