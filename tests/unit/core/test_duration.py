"""Durations as users write them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.core.duration import parse_duration_ms
from millstream.core.errors import ConfigError


@pytest.mark.parametrize(
    ("written", "milliseconds"),
    [
        ("250ms", 250),
        ("5s", 5_000),
        ("2m", 120_000),
        ("3h", 10_800_000),
        ("1d", 86_400_000),
        ("1m30s", 90_000),
        ("1d2h3m4s5ms", 93_784_005),
        ("1.5s", 1_500),
        ("0.25s", 250),
        (" 10 s ", 10_000),
        ("1m 30s", 90_000),
        ("0s", 0),
        ("0.4ms", 0),
        ("36500d", 36_500 * 86_400_000),
        (timedelta(seconds=1.5), 1_500),
        (timedelta(0), 0),
        (timedelta(days=2), 172_800_000),
        (timedelta(microseconds=1_499), 1),
    ],
)
def test_a_duration_is_whole_milliseconds(written: Any, milliseconds: int) -> None:
    assert parse_duration_ms(written) == milliseconds


@pytest.mark.parametrize(
    "written",
    [
        "",
        " ",
        "5",
        "s",
        "5S",
        "5 sec",
        "5sm",
        "-5s",
        "1..5s",
        "1.5.5s",
        "5s!",
        "1e3s",
        "five s",
        "m5",
    ],
)
def test_what_is_no_duration_is_refused_with_an_example(written: str) -> None:
    with pytest.raises(ConfigError, match=r"grace: '.*' is not a duration; write for example"):
        parse_duration_ms(written, "grace")


@pytest.mark.parametrize("value", [5, 5.0, True, None, b"5s", ["5s"], float("nan")])
def test_a_bare_number_is_refused_as_its_unit_is_a_guess(value: Any) -> None:
    with pytest.raises(ConfigError, match="grace: expected a duration such as '10s' or timedelta"):
        parse_duration_ms(value, "grace")


def test_a_negative_duration_is_refused() -> None:
    with pytest.raises(ConfigError, match="grace: a duration cannot be negative"):
        parse_duration_ms(timedelta(milliseconds=-1), "grace")


@pytest.mark.parametrize("value", ["36501d", "9" * 400 + "d", timedelta.max])
def test_a_duration_past_a_century_is_refused_as_timers_cannot_count_it(value: Any) -> None:
    with pytest.raises(ConfigError, match="grace: a duration ends at 36,500 days; got"):
        parse_duration_ms(value, "grace")


@given(st.integers(0, 10**9))
def test_a_timedelta_and_its_text_are_equal(milliseconds: int) -> None:
    written = parse_duration_ms(f"{milliseconds}ms")
    assert written == milliseconds == parse_duration_ms(timedelta(milliseconds=milliseconds))
