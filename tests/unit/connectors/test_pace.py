"""How a source is kept to a rate."""

import threading

import pytest

from millstream.connectors.pace import Pace


class ManualTime(threading.Event):
    """A clock that only waiting moves on."""

    def __init__(self) -> None:
        super().__init__()
        self.now_ns = 0
        self.waits = 0

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.now_ns += max(int(timeout * 1e9), 1)
        self.waits += 1
        return self.is_set()

    def read(self) -> int:
        return self.now_ns


@pytest.mark.parametrize("rate", [0.01, 1, 7, 999.5, 30_000, 2_000_000])
def test_the_rate_holds_over_the_run(rate: float) -> None:
    time = ManualTime()
    pace = Pace(rate, time, time.read)
    count, wanted = 0, max(int(rate * 2), 3)
    while count < wanted:
        taken = pace.take(1024)
        assert taken
        count += taken
        assert count <= time.now_ns / 1e9 * rate + 1e-6
    assert time.now_ns / 1e9 <= count / rate + 0.003


def test_high_rates_come_about_every_millisecond() -> None:
    time = ManualTime()
    pace = Pace(1_000_000, time, time.read)
    assert sum(pace.take(100_000) for _ in range(100)) == pytest.approx(100_000, rel=0.02)
    assert time.now_ns == pytest.approx(100e6, rel=0.02)


def test_what_was_held_back_is_caught_up() -> None:
    time = ManualTime()
    pace = Pace(1000, time, time.read)
    time.now_ns = 2_000_000_000
    assert [pace.take(1024), pace.take(1024)] == [1024, 977]  # a millisecond has passed


def test_no_rate_is_no_limit() -> None:
    cancelled = threading.Event()
    pace = Pace(None, cancelled)
    assert pace.take(7) == 7
    cancelled.set()
    assert pace.take(7) == 0
