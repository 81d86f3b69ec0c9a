"""How far a run has come towards its end, and where it may go from there."""

from __future__ import annotations

from enum import StrEnum

from millstream.core.errors import InternalError


class RunPhase(StrEnum):
    """Where a run stands, as its engine thread knows it.

    A run ends COMPLETED from ``PUBLISHING``; whatever ends another way passes through ``ENDING``.
    """

    RUNNING = "RUNNING"  # from the opening on until every sink has flushed the end of the input
    FINISHING = "FINISHING"  # all adds up; there may be a final checkpoint to be made
    PUBLISHING = "PUBLISHING"  # the results are appearing; a cancel comes too late
    LEAVING = "LEAVING"  # a savepoint is complete that the run ends with; sinks commit it
    ENDING = "ENDING"  # every part has been told to end


_P = RunPhase

MOVES: dict[RunPhase, frozenset[RunPhase]] = {
    _P.RUNNING: frozenset({_P.FINISHING, _P.LEAVING, _P.ENDING}),
    # to LEAVING: with a savepoint that was in flight when the input ended
    _P.FINISHING: frozenset({_P.PUBLISHING, _P.LEAVING, _P.ENDING}),
    _P.PUBLISHING: frozenset({_P.ENDING}),
    _P.LEAVING: frozenset({_P.ENDING}),
    _P.ENDING: frozenset(),
}
"""Where each phase may go."""


def moved(before: RunPhase, after: RunPhase) -> RunPhase:
    """Return where a run goes.

    Raises:
        InternalError: it may not go there from where it is.
    """
    if after not in MOVES[before]:
        raise InternalError(f"a run cannot go from {before} to {after}")
    return after
