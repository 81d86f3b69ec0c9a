"""Which ways a run may go to its end."""

from __future__ import annotations

import pytest

from millstream.core.errors import InternalError
from millstream.engine.run_phase import MOVES, RunPhase, moved


@pytest.mark.parametrize("phase", [each for each in RunPhase if each is not RunPhase.ENDING])
def test_a_run_may_be_ended_at_any_time_and_once(phase: RunPhase) -> None:
    assert moved(phase, RunPhase.ENDING) is RunPhase.ENDING
    with pytest.raises(InternalError, match=f"a run cannot go from ENDING to {phase}"):
        moved(RunPhase.ENDING, phase)


def test_results_appear_only_when_all_has_added_up() -> None:
    before = [each for each in RunPhase if RunPhase.PUBLISHING in MOVES[each]]
    assert before == [RunPhase.FINISHING]


def test_a_run_whose_results_appear_does_not_leave_with_a_savepoint() -> None:
    with pytest.raises(InternalError, match="from PUBLISHING to LEAVING"):
        moved(RunPhase.PUBLISHING, RunPhase.LEAVING)
