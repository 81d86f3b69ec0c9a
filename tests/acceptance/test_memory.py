"""Memory stays flat: before a slow sink, behind an exploding flat_map, and with cyclic records."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.acceptance.process import Program, program, watch_s

WARM_UP_S = 5
FLAT_BYTES = 10_000_000  # what the issue allows over a minute


def growth(running: Program, seconds: float) -> int:
    """Return how much resident memory grows, after a warm-up."""
    running.wait_for("taking")
    time.sleep(WARM_UP_S)
    before = running.resident_bytes()
    most = before
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s and running.running:
        most = max(most, running.resident_bytes())
        time.sleep(0.1)
    return most - before


@dataclass(frozen=True)
class Flat:
    """What was seen of a program: bytes by which it grew, and what it printed."""

    grown: int
    stdout: str


@pytest.fixture(scope="module")
def flat(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Flat]:
    """Watch three programs at once."""
    seconds = watch_s(15)

    def watch(arguments: list[str]) -> Flat:
        with program(arguments[0], tmp_path_factory.mktemp("flat"), *arguments[1:]) as running:
            grown = growth(running, seconds)
            if arguments[0] == "slow_sink":
                assert running.wait() == 0, running.stderr
            else:
                assert running.running, running.stderr
            print(f"{arguments}: grew by {grown / 1e6:.1f} MB over {seconds:g} s")
            return Flat(grown, running.stdout)

    programs = {
        "slow sink": ["slow_sink", str(WARM_UP_S + seconds + 1)],
        "generator": ["explosion", "generator"],
        "range": ["explosion", "range"],
    }
    with ThreadPoolExecutor(3) as pool:
        return dict(zip(programs, pool.map(watch, programs.values()), strict=True))


@pytest.mark.timeout(180)
def test_a_slow_sink_holds_its_source_back_and_nothing_is_lost(flat: dict[str, Flat]) -> None:
    # Unhindered, the source is 100 times as fast: were it not held back, 15 s would be 5 GB.
    assert flat["slow sink"].grown < FLAT_BYTES
    taken = int(flat["slow sink"].stdout.partition("\ntaken ")[2].split()[0])
    assert 0.7 < taken / ((WARM_UP_S + watch_s(15)) * 10_000) < 1.3


@pytest.mark.timeout(180)
@pytest.mark.parametrize("kind", ["generator", "range"])
def test_one_record_that_becomes_ten_million_takes_no_memory(
    kind: str, flat: dict[str, Flat]
) -> None:
    assert flat[kind].grown < FLAT_BYTES


def test_records_that_form_cycles_are_collected_by_the_memory_guard(tmp_path: Path) -> None:
    # 60,000 records of 10 kB in cycles: 600 MB if nobody collected them.
    with program("cycles", tmp_path, "1", "60000") as running:
        assert running.wait() == 0, running.stderr
        most_mb = int(running.stdout)
    print(f"with the guard at 60 MB, the process grew by {most_mb} MB")
    assert most_mb < 60 + 300  # what is allowed, and what comes between two looks


def test_without_the_engines_care_pythons_own_collector_does_its_work(tmp_path: Path) -> None:
    with program("cycles", tmp_path, "0", "60000") as running:
        assert running.wait() == 0, running.stderr
        assert int(running.stdout) < 200


@pytest.mark.parametrize("form", ["batches", "collect"])
def test_large_records_count_for_several_where_memory_is_bounded(form: str, tmp_path: Path) -> None:
    # Without that, a source is 8,192 records ahead: all 500, which are 500 MB.
    with program("large_records", tmp_path, form, "500") as running:
        assert running.wait() == 0, running.stderr
        grown_mb = int(running.stdout)
    print(f"{form}: grew by {grown_mb} MB")
    assert grown_mb < 150
