"""How a slow callback makes a task take less at a time."""

from millstream.engine.intake import AHEAD_NS, SLICE_NS, Pace


def test_nothing_is_bounded_before_something_was_measured() -> None:
    pace = Pace()
    assert pace.slice > 1_000_000
    assert pace.ahead > 1_000_000


def test_a_slice_is_as_many_records_as_fit_into_its_time() -> None:
    pace = Pace()
    pace.note(100, 100 * 1_000_000)
    assert pace.slice == SLICE_NS // 1_000_000
    assert pace.ahead == AHEAD_NS // 1_000_000


def test_however_slow_a_record_is_one_is_taken() -> None:
    pace = Pace()
    pace.note(1, 60_000_000_000)
    assert pace.slice == pace.ahead == 1


def test_a_slow_start_is_forgotten() -> None:
    pace = Pace()
    pace.note(1, 100_000_000)  # the first record also compiles the loop
    for _ in range(20):
        pace.note(1024, 1_000_000)
    assert pace.slice > 10_000


def test_a_clock_that_stands_still_bounds_nothing() -> None:
    pace = Pace()
    pace.note(1024, 0)
    assert pace.slice > 1_000_000
