"""A job that waits costs next to nothing."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.acceptance.process import program, watch_s

IDLE_SHARE = 0.005  # of one core, which the issue allows over a minute


@pytest.mark.timeout(180)
@pytest.mark.parametrize("kind", ["simple", "everything"])
def test_an_idle_job_uses_under_half_a_percent_of_a_core(kind: str, tmp_path: Path) -> None:
    # "everything": with an event loop, map_async, state and four sources and sinks; both with a
    # timer. The clock counts CPU in steps of 10 ms, so a quarter of a minute tells 0.1 %.
    seconds = watch_s(15)
    with program("idle", tmp_path, kind) as running:
        running.wait_for("waiting")
        time.sleep(3)  # the input is worked off, and garbage collected once
        before_s, began_s = running.cpu_s(), time.monotonic()
        time.sleep(seconds)
        used = (running.cpu_s() - before_s) / (time.monotonic() - began_s)
        assert running.running, running.stderr
    print(f"{kind}: {used:.2%} of a core")
    assert used < IDLE_SHARE
