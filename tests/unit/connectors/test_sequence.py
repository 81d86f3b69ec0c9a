"""Integers in order."""

import copy
import threading
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.connectors import sequence
from millstream.core.errors import ConfigError
from millstream.core.source import Boundedness
from tests.unit.connectors.driving import assert_resumes_everywhere, records


@given(
    start=st.integers(-50, 50),
    stop=st.integers(-30_000, 30_000),
    step=st.integers(-9, 9).filter(bool),
)
def test_it_is_a_range(start: int, stop: int, step: int) -> None:
    source = sequence.source(stop, start, step)
    assert records(source) == list(range(start, stop, step))
    assert_resumes_everywhere(source)


def test_without_a_rate_batches_are_ranges() -> None:
    source = sequence.source(10_000)
    batches = list(source.read(None))
    assert batches == [(range(8192), 8192), (range(8192, 10_000), 10_000)]


def test_without_a_stop_it_is_unbounded_and_begins_at_start() -> None:
    source = sequence.source(None, start=5, step=10)
    assert source.boundedness is Boundedness.UNBOUNDED
    assert sequence.source(1).boundedness is Boundedness.BOUNDED
    batch, position = next(source.read(None))
    assert (batch[0], batch[1], position) == (5, 15, 5 + 10 * len(batch))


def test_with_a_rate_every_record_comes_once_in_order() -> None:
    source = sequence.source(200, rate=20_000)
    assert records(source) == list(range(200))


def test_a_rate_holds() -> None:
    begun = time.monotonic()
    assert records(sequence.source(50, rate=1000)) == list(range(50))
    assert time.monotonic() - begun > 0.045


def test_cancel_ends_a_wait_at_once() -> None:
    source = copy.copy(sequence.source(None, rate=0.001))
    source.open()
    got: list[Any] = []
    thread = threading.Thread(target=lambda: got.extend(source.read(None)))
    thread.start()
    source.cancel()
    thread.join(5)
    assert not thread.is_alive()
    assert got == []


def test_a_cancelled_run_does_not_cancel_the_next() -> None:
    source = sequence.source(3, rate=1e6)
    copy.copy(source).cancel()
    assert records(source) == [0, 1, 2]


def test_a_cancel_before_open_holds() -> None:
    run = copy.copy(sequence.source(None, rate=1e6))
    run.cancel()
    run.open()
    assert list(run.read(None)) == []


@pytest.mark.parametrize("position", [4, -3, "3", True, {"path": "x"}])
def test_a_position_of_another_sequence_is_refused(position: Any) -> None:
    with pytest.raises(ConfigError, match="is not in the sequence that starts at 0 with step 3"):
        records(sequence.source(30, step=3), position)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stop": "10"}, "sequence source: stop= takes an integer; got '10'"),
        ({"stop": 10, "start": 1.5}, "start= takes an integer; got 1.5"),
        ({"stop": 10, "step": 0}, "step= takes an integer other than 0; got 0"),
        ({"stop": True}, "stop= takes an integer; got True"),
        ({"stop": 1, "rate": 0}, "rate= takes records per second, a number above 0; got 0"),
        ({"stop": 1, "rate": float("inf")}, "leave it out for no limit"),
        ({"stop": 1, "rate": "10/s"}, "rate= takes records per second"),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        sequence.source(**options)


def test_it_is_a_connector() -> None:
    made = sequence.CONNECTOR.make_source({"stop": 3, "step": 2})
    assert made.describe() == {"start": 0, "stop": 3, "step": 2, "rate": None}
