"""Both sides of every comparison do the same work, and do it right."""

from array import array
from importlib import import_module

import pytest

from bench import catalogue, data, latency
from bench.limit import ChunkCost, Memory
from bench.pair import Comparison
from bench.peer import peer_rows

RECORDS = 2_500  # three chunks, the last one not full

SIDES = sorted(
    {
        (side.target, row.answer.__name__)
        for row in catalogue.rows()
        if isinstance(row, Comparison | ChunkCost | Memory)
        for side in (
            (row.baseline, row.variant)
            if isinstance(row, Comparison)
            else (row.small, row.large)
            if isinstance(row, ChunkCost)
            else (row.side,)
        )
        if not side.target.startswith("bench.peers.")
    }
)


@pytest.mark.parametrize(("target", "answer"), SIDES)
def test_a_side_gives_the_right_answer(target: str, answer: str) -> None:
    module, _, function = target.partition(":")
    run = getattr(import_module(module), function)(RECORDS)
    assert data.is_right(run(), getattr(data, answer)(RECORDS))


def test_rows_have_names_of_their_own() -> None:
    names = [row.name for row in catalogue.rows()]
    assert len(set(names)) == len(names)


def test_records_reach_the_latency_sink_after_they_are_due(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency, "WARM_UP_S", 0.02)
    monkeypatch.setattr(latency, "MEASURED_S", 0.03)
    report = latency.through_three_operators(10_000)()
    assert report["records"] == 300
    assert 0 < report["p50_ms"] <= report["p99_ms"] <= report["max_ms"]


def test_the_due_source_emits_every_record_once_at_the_rate() -> None:
    source = latency.DueSource(100_000, 0.01)
    due = [record for records, _ in source.read(None) for record in records]
    assert due == list(range(due[0], due[0] + 1_000 * 10_000, 10_000))


def test_quantiles_are_of_the_ordered_latencies() -> None:
    latencies = array("q", [ms * 1_000_000 for ms in reversed(range(1, 101))])
    assert latency.quantiles(latencies) == {"p50_ms": 51.0, "p99_ms": 100.0, "max_ms": 100.0}


def test_no_peers_are_run_where_there_are_no_environments(data_folder: object) -> None:
    assert peer_rows(None) == []
    assert peer_rows(str(data_folder)) == []
