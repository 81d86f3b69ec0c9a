"""Which moves an execution may make; see architecture §4.1 for the states."""

from __future__ import annotations

from millstream.core.errors import InternalError
from millstream.core.job_status import JobStatus as S

_BEGUN = (S.CREATED, S.SCHEDULED, S.INITIALIZING, S.RESTORING, S.RUNNING, S.CHECKPOINTING)

MOVES: dict[S, frozenset[S]] = {
    S.CREATED: frozenset({S.SCHEDULED}),
    S.SCHEDULED: frozenset({S.INITIALIZING}),
    S.INITIALIZING: frozenset({S.RESTORING, S.RUNNING}),
    S.RESTORING: frozenset({S.RUNNING}),
    S.RUNNING: frozenset({S.CHECKPOINTING, S.COMPLETED}),
    S.CHECKPOINTING: frozenset({S.RUNNING, S.COMPLETED}),
    S.CANCELLING: frozenset({S.CANCELLED, S.FAILED, S.COMPLETED}),
    S.FAILED: frozenset({S.SCHEDULED, S.DEAD}),
    S.COMPLETED: frozenset(),
    S.CANCELLED: frozenset(),
    S.DEAD: frozenset(),
}
"""Where each state may go, besides what is true of all that have not ended: they may fail, and be
cancelled."""


def is_legal(before: S, after: S) -> bool:
    """Return whether an execution may go from one state to another."""
    ends = {S.FAILED, S.CANCELLING} if before in _BEGUN else frozenset()
    return after in MOVES[before] or after in ends


def check_move(before: S, after: S) -> None:
    """Refuse a move that the table does not have.

    Raises:
        InternalError: it does not.
    """
    if not is_legal(before, after):
        raise InternalError(f"an execution cannot go from {before} to {after}")
