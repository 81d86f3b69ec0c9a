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

    Args:
        leases: where it is.
        lease: what was acquired a moment ago.
        clock: what its life is counted by.
        on_lost: told, on this thread, why the run must end.
    """

    def __init__(
        self,
        leases: Leases,
        lease: Lease,
        clock: Clock,
        on_lost: Callable[[BaseException], None],
    ) -> None:
        self._leases = leases
        self._lease = lease
        self._clock = clock
        self._on_lost = on_lost
        self._stop = threading.Event()
        self._renewed_ns = clock.monotonic_ns()
        self._thread: Joinable | None = None

    def start(self, spawner: Spawner) -> None:
        """Begin."""
        self._thread = spawner.spawn("millstream-lease", self._run)

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
                if asked_ns - self._renewed_ns > LEASE_S * 1e9:
                    self._lose(error)
                    return
                warning("lease.not_renewed", owner=self._lease.owner, error=said(error))
            except LeaseLostError as error:
                self._on_lost(error)
                return
            else:
                self._renewed_ns = asked_ns

    def _lose(self, error: BaseException) -> None:
        lost = LeaseLostError(
            f"the lease of {self._lease.owner} could not be renewed for {LEASE_S:g} s, so another "
            f"run may have the job: {said(error)}; resume when the metadata store is back"
        )
        lost.__cause__ = error
        self._on_lost(lost)
