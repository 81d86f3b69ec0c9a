"""Rows with a limit of their own, on processes that are made up."""

from collections.abc import Sequence
from typing import Any

import pytest

from bench import limit
from bench.process import Outcome, Side
from bench.row import Effort

SIDE = Side("side", "a:b")


def test_the_cost_of_a_chunk_is_extra_cpu_by_extra_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    def interleave(sides: Sequence[Side], size: int, rounds: int) -> list[list[Outcome]]:
        # 1,024,000 records are 16,000 small chunks and 1,000 large ones.
        small, large = Outcome(0.160, 1, 30, [1, 2]), Outcome(0.100, 1, 30, [1, 2])
        return [[small] * rounds, [large] * rounds]

    monkeypatch.setattr(limit, "interleave", interleave)
    row = limit.ChunkCost(
        "cost", "empty", "64", 1_024_000, 5.0, "us", SIDE, SIDE, lambda records: [1, 2]
    )
    result = row.measure(Effort(pairs=3))
    assert result.measured == pytest.approx(4.0)
    assert result.ok


def latency(p99s: list[float], records: int, monkeypatch: pytest.MonkeyPatch) -> Any:
    outcomes = [
        Outcome(1, 4, 30, {"records": records, "p50_ms": 0.5, "p99_ms": p99, "max_ms": 9.0})
        for p99 in p99s
    ]
    monkeypatch.setattr(limit, "run_side", lambda side, size: outcomes.pop())
    row = limit.Latency("latency", "three", "1,000/s", 1_000, 3.0, "ms p99", SIDE, seconds=4.0)
    return row.measure(Effort(pairs=5))


def test_one_run_that_stalls_does_not_fail_a_latency(monkeypatch: pytest.MonkeyPatch) -> None:
    result = latency([1.0, 50.0, 2.0], 4_000, monkeypatch)
    assert result.ok
    assert result.measured == 2.0
    assert result.to_json()["p99_ms"] == 2.0
    assert result.ratio is None


def test_two_runs_over_the_limit_fail_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not latency([1.0, 50.0, 3.5], 4_000, monkeypatch).ok


def test_a_latency_without_all_its_records_is_not_ok(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not latency([1.0, 1.0, 1.0], 3_999, monkeypatch).ok


def test_a_start_leaves_its_first_time_out(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([900.0, 30.0, 20.0, 40.0])
    row = limit.StartUp("start", "start-up", "import", 1, 150.0, "ms", lambda: next(times))
    result = row.measure(Effort(pairs=3))
    assert result.measured == 30.0
    assert result.ok
