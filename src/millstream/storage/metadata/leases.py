"""Who may run a job: one owner at a time, in an epoch that only grows.

A row and not a lock of the session: a lock ends with the connection, and its old holder would go
on unaware. Whatever is written for a job is checked against the row in the same transaction.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, case, or_, select, update

from millstream.storage.metadata.column_types import utc_in, utc_now
from millstream.storage.metadata.database import Database
from millstream.storage.metadata.errors import (
    LeaseHeldError,
    LeaseLostError,
    MetadataConflictError,
)
from millstream.storage.metadata.records import Lease
from millstream.storage.metadata.tables import JOB, LEASE
from millstream.storage.metadata.values import fitting


class Leases:
    """Gives out, prolongs and takes back leases."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def acquire(self, job_id: int, owner: str, *, duration_s: float, above_epoch: int = 0) -> Lease:
        """Take a job that nobody holds: never held, released, or expired by the database's clock.

        Args:
            job_id: which job.
            owner: a text that names this process and no other, also after a restart.
            duration_s: how long, unless it is renewed.
            above_epoch: its epoch is to be greater than this one, of another database.

        Raises:
            LeaseHeldError: another owner holds it. So does this one after a connection that broke
                in the middle; it waits for the expiry as everyone.
            MetadataConflictError: there is no such job.
        """
        owner = fitting(LEASE.c.owner, owner)
        epoch = case((LEASE.c.epoch < above_epoch, above_epoch + 1), else_=LEASE.c.epoch + 1)
        with self._database.write() as connection:
            taken = connection.execute(
                update(LEASE)
                .where(
                    LEASE.c.job_id == job_id,
                    or_(LEASE.c.owner.is_(None), LEASE.c.expires_at <= utc_now()),
                )
                .values(owner=owner, epoch=epoch, expires_at=utc_in(duration_s))
            )
            row = _row(connection, job_id)
        if not taken.rowcount:
            raise LeaseHeldError(
                f"job {row.job_name!r} is run by {row.owner}, which holds it until "
                f"{row.expires_at:%Y-%m-%d %H:%M:%S} UTC and may prolong that; stop that run, "
                "or wait until then if it is dead"
            )
        return _lease(row)

    def renew(self, lease: Lease, *, duration_s: float) -> Lease:
        """Prolong a lease; one that has expired too, as long as nobody else has taken the job.

        Raises:
            LeaseLostError: somebody has.
        """
        with self._database.write() as connection:
            renewed = connection.execute(
                update(LEASE).where(_held(lease)).values(expires_at=utc_in(duration_s))
            )
            row = _row(connection, lease.job_id)
        if not renewed.rowcount:
            raise _lost(lease, row)
        return _lease(row)

    def current(self, job_id: int) -> Lease | None:
        """Return the lease of a job as it stands, expired or not; None if nobody holds it."""
        with self._database.read() as connection:
            row = _row(connection, job_id)
        return _lease(row) if row.owner else None

    def release(self, lease: Lease) -> bool:
        """Give the job back, and return whether it was still held. Its epoch is not used again."""
        with self._database.write() as connection:
            released = connection.execute(
                update(LEASE).where(_held(lease)).values(owner=None, expires_at=None)
            )
        return released.rowcount == 1


def fence(connection: Connection, lease: Lease) -> datetime:
    """Lock a lease for the rest of the transaction, and return the database's time.

    Until the end of the transaction nobody can take the job, so all of it was written by the
    holder. The epoch decides, not the clock: a lease that has expired and that nobody has taken is
    as exclusive as before.

    Raises:
        LeaseLostError: it is not held any more.
    """
    now = connection.execute(
        select(utc_now()).select_from(LEASE).where(_held(lease)).with_for_update()
    ).scalar_one_or_none()
    if now is None:
        raise _lost(lease, _row(connection, lease.job_id))
    return now


def _held(lease: Lease) -> ColumnElement[bool]:
    return and_(
        LEASE.c.job_id == lease.job_id,
        LEASE.c.owner == lease.owner,
        LEASE.c.epoch == lease.epoch,
    )


def _row(connection: Connection, job_id: int) -> Row[Any]:  # any columns: of LEASE, and the name
    row = connection.execute(
        select(LEASE, JOB.c.job_name).join_from(LEASE, JOB).where(LEASE.c.job_id == job_id)
    ).one_or_none()
    if row is None:
        raise MetadataConflictError(
            f"the metadata store has no job {job_id} (or no row of it in {LEASE.name}); "
            "was it removed?"
        )
    return row


def _lease(row: Row[Any]) -> Lease:  # as above
    return Lease(
        job_id=row.job_id,
        owner=row.owner,
        epoch=row.epoch,
        expires_at=row.expires_at,
        last_checkpoint_id=row.last_checkpoint_id,
    )


def _lost(lease: Lease, row: Row[Any]) -> LeaseLostError:  # as above
    now = f"held by {row.owner}" if row.owner else "free"
    return LeaseLostError(
        f"{lease.owner} no longer holds job {row.job_name!r}: its lease was of epoch "
        f"{lease.epoch}, and the job is {now} in epoch {row.epoch}; this run must stop, and "
        "nothing it has not yet committed takes effect"
    )
