"""Comparisons: medians of pairs, floors, and answers that are wrong."""

from bench.data import Answer
from bench.pair import Comparison
from bench.process import Outcome, Side
from bench.result import holds

EXPECTED: Answer = [10, 45]
KEYS = {
    "workload", "variant", "records", "records_per_s", "baseline", "baseline_records_per_s",
    "ratio", "wall_ratio", "peak_rss_mb", "floor", "ok",
}  # fmt: skip


def comparison(floor: float | None) -> Comparison:
    sides = Side("bare", "a:b"), Side("job", "a:c")
    return Comparison("row", "work", 10, *sides, answer=lambda records: EXPECTED, floor=floor)


def outcome(cpu_s: float, wall_s: float = 1.0, answer: object = EXPECTED) -> Outcome:
    return Outcome(cpu_s, wall_s, 30.0 + cpu_s, answer)


def test_the_ratio_is_the_median_of_the_pairs_not_the_ratio_of_medians() -> None:
    baseline = [outcome(1.0), outcome(2.0), outcome(9.0)]
    variant = [outcome(2.0), outcome(2.0), outcome(3.0)]
    result = comparison(0.9).result(10, baseline, variant, EXPECTED)
    assert result.ratio == 1.0  # of 0.5, 1.0 and 3.0
    assert result.extra["ratios"] == [0.5, 1.0, 3.0]
    assert result.ok


def test_wall_time_has_a_ratio_of_its_own() -> None:
    result = comparison(None).result(10, [outcome(1, 3)], [outcome(1, 2)], EXPECTED)
    assert (result.ratio, result.wall_ratio) == (1.0, 1.5)
    assert (result.records_per_s, result.baseline_records_per_s) == (5.0, 10 / 3)


def test_a_ratio_below_the_floor_is_not_ok() -> None:
    result = comparison(0.9).result(10, [outcome(0.8)], [outcome(1.0)], EXPECTED)
    assert not result.ok


def test_a_wrong_answer_on_either_side_is_not_ok_however_fast() -> None:
    wrong, right = outcome(0.1, answer=[10, 44]), outcome(1.0)
    for baseline, variant in ((wrong, right), (right, wrong)):
        result = comparison(None).result(10, [baseline], [variant], EXPECTED)
        assert not result.ok
        assert "[10, 44]" in result.note


def test_the_largest_peak_of_the_variant_is_reported() -> None:
    result = comparison(None).result(10, [outcome(9)] * 2, [outcome(1), outcome(5)], EXPECTED)
    assert result.peak_rss_mb == 35.0


def test_the_object_in_the_file_has_the_promised_keys() -> None:
    row = comparison(0.9)
    measured = row.result(10, [outcome(1)], [outcome(3)], EXPECTED).to_json()
    failed = row.failed("exit status 1").to_json()
    assert set(measured) >= KEYS
    assert set(failed) >= KEYS
    assert measured["ratio"] == 0.3333
    assert failed["ok"] is False


def test_a_limit_is_exclusive_and_a_floor_is_inclusive() -> None:
    assert holds(0.82, 0.82, "least")
    assert not holds(3.0, 3.0, "most")
    assert holds(123.0, None, "least")
