"""The timed processes: what they report, and how their failure is reported."""

import json
import sys
from pathlib import Path

import pytest

from bench import __main__ as bench_main
from bench import process
from bench.child import cpu_s, peak_rss_mb
from bench.data import Answer
from bench.pair import Comparison
from bench.process import RunFailedError, Side, interleave, run_command, run_side

BARE = Side("bare loop", "bench.bare:w1")


def test_a_timed_process_reports_time_memory_and_answer() -> None:
    outcome = run_side(BARE, 1_000)
    assert outcome.answer == [500, 751_500]
    assert 0 < outcome.cpu_s < 10
    assert 0 < outcome.wall_s < 10
    assert 5 < outcome.peak_rss_mb < 500


def test_this_process_has_used_time_and_memory() -> None:
    assert cpu_s() > 0
    assert peak_rss_mb() > 5


def test_a_process_that_fails_says_why() -> None:
    with pytest.raises(RunFailedError, match="no attribute 'w9'"):
        run_side(Side("none", "bench.bare:w9"), 1)


def test_a_command_that_is_not_there_is_a_failed_run(tmp_path: Path) -> None:
    with pytest.raises(RunFailedError):
        run_command([str(tmp_path / "nothing")])


def test_a_process_without_end_is_a_failed_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "TIMEOUT_S", 0.2)
    with pytest.raises(RunFailedError, match="no end"):
        run_command([sys.executable, "-c", "import time; time.sleep(30)"])


def test_sides_are_run_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []

    def run(side: Side, size: int) -> process.Outcome:
        order.append(side.label)
        return process.Outcome(1, 1, 1, None)

    monkeypatch.setattr(process, "run_side", run)
    first, second = interleave((Side("a", ""), Side("b", "")), 1, 2)
    assert order == ["a", "b", "a", "b"]
    assert (len(first), len(second)) == (2, 2)


def answer(records: int) -> Answer:
    return [records // 2, 3 * (records // 2) * (records // 2 + 1)]


def row(variant: str, floor: float | None = None) -> Comparison:
    side = Side(variant, f"bench.bare:{variant}")
    return Comparison(f"row-{variant}", "w1", 1_000, BARE, side, answer, floor=floor)


def test_the_command_writes_the_results_and_tells_success(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench_main, "rows", lambda: [row("w1"), row("w9")])
    path = tmp_path / "folder" / "bench.json"
    assert bench_main.main(["--quick", "--json", str(path), "--only", "row-w1"]) == 0
    [result] = json.loads(path.read_text())
    assert result["name"] == "row-w1"
    assert result["ok"] is True
    assert "row-w1" in capsys.readouterr().out


def test_a_row_that_fails_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench_main, "rows", lambda: [row("w9"), row("w1", floor=1e9)])
    path = tmp_path / "bench.json"
    assert bench_main.main(["--quick", "--json", str(path)]) == 1
    failed, slow = json.loads(path.read_text())
    assert "w9" in failed["note"]
    assert slow["ratio"] > 0
    assert "2 of 2 rows are not ok" in capsys.readouterr().out


def test_a_name_that_no_row_has_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        bench_main.main(["--only", "nothing"])
    assert "--list" in capsys.readouterr().err
