"""A job that waits costs next to nothing."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.acceptance.process import program, watch_s

IDLE_SHARE = 0.005  # of one core, which the issue allows over a minute
KINDS = ["simple", "everything"]
"""Both with a timer; the second with an event loop, map_async, state, and two of each end."""


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    """Return the share of a core that each idle job uses; watched at once."""
    seconds = watch_s(15)

    def watch(kind: str) -> float:
        with program("idle", tmp_path_factory.mktemp("idle"), kind) as running:
            running.wait_for("waiting")
            time.sleep(3)  # the input is worked off, and garbage collected once
            before_s, began_s = running.cpu_s(), time.monotonic()
            time.sleep(seconds)
            share = (running.cpu_s() - before_s) / (time.monotonic() - began_s)
            assert running.running, running.stderr
        print(f"{kind}: {share:.2%} of a core")
        return share

    with ThreadPoolExecutor(len(KINDS)) as pool:
        return dict(zip(KINDS, pool.map(watch, KINDS), strict=True))


@pytest.mark.timeout(180)
@pytest.mark.parametrize("kind", KINDS)
def test_an_idle_job_uses_under_half_a_percent_of_a_core(kind: str, used: dict[str, float]) -> None:
    # The clock counts CPU in steps of 10 ms, so a quarter of a minute tells 0.1 %.
    assert used[kind] < IDLE_SHARE
