"""How a slow callback makes a task take less at a time."""

from millstream.core.element import CHUNK_SIZE
from millstream.engine.intake import AHEAD_NS, SLICE_NS, Pace, Ratio


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


def noted(*became: tuple[int, int]) -> Ratio:
    """Return a ratio that has seen ``(taken, made)``."""
    ratio = Ratio()
    for taken, made in became:
        ratio.made = made
        ratio.note(taken)
    return ratio


def test_what_becomes_ten_is_taken_by_the_tenth() -> None:
    assert noted((100, 1000)).at_once(100) == 10


def test_an_output_that_got_nothing_yet_lets_32_records_be_taken_for_one() -> None:
    assert noted(*[(100, 0)] * 50).at_once(1) == 32


def test_one_that_falls_silent_lets_8_be_taken() -> None:
    assert noted((100, 100), *[(100, 0)] * 50).at_once(1) == 8


def test_a_ratio_rises_at_once_and_falls_slowly() -> None:
    ratio = noted((100, 800))
    assert ratio.at_once(80) == 10
    ratio.note(100)
    assert 10 < ratio.at_once(80) < 12


def test_of_a_source_chunks_are_asked_for_though_little_becomes_of_them() -> None:
    assert noted(*[(1000, 0)] * 100).ahead(1, at_source=True) == CHUNK_SIZE
    assert noted(*[(1000, 0)] * 100).ahead(64, at_source=True) == 2 * CHUNK_SIZE


def test_others_are_asked_for_as_little_until_a_change_is_unlikely() -> None:
    assert noted(*[(40, 0)] * 50).ahead(1, at_source=False) == 32
    assert noted(*[(1000, 0)] * 100).ahead(1, at_source=False) > CHUNK_SIZE / 2
    assert noted(*[(1000, 0)] * 100, (1000, 1)).ahead(1, at_source=False) == 8
