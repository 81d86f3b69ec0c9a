"""Retries: what they may be made of."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from millstream.core.errors import ConfigError
from millstream.core.retry import Retry


def test_by_default_a_call_is_made_three_times() -> None:
    retry = Retry()
    assert (retry.attempts, retry.backoff, retry.max_backoff) == (3, "100ms", "10s")
    assert retry.on == (Exception,)
    assert Retry() == Retry(3)


def test_all_of_it_can_be_said() -> None:
    retry = Retry(attempts=1, backoff="0s", max_backoff=timedelta(seconds=5), on=(OSError,))
    assert retry.on == (OSError,)


@pytest.mark.parametrize("attempts", [0, -1, 1.5, "3", None, True])
def test_attempts_are_a_number_from_one_on(attempts: Any) -> None:
    with pytest.raises(ConfigError, match=r"Retry\.attempts: expected 1 or more; got"):
        Retry(attempts=attempts)


@pytest.mark.parametrize("name", ["backoff", "max_backoff"])
@pytest.mark.parametrize("value", [5, "soon", None, timedelta(seconds=-1)])
def test_a_wait_is_a_duration(name: str, value: Any) -> None:
    options: dict[str, Any] = {name: value}
    with pytest.raises(ConfigError, match=rf"Retry\.{name}: "):
        Retry(**options)


@pytest.mark.parametrize("on", [OSError, [OSError], "OSError", ("OSError",), (OSError(),), None])
def test_errors_are_a_tuple_of_exception_classes(on: Any) -> None:
    with pytest.raises(ConfigError, match=r"Retry\.on: expected a tuple of exception classes"):
        Retry(on=on)


def test_what_ends_a_process_is_no_reason_to_try_again() -> None:
    on: Any = (KeyboardInterrupt,)
    with pytest.raises(ConfigError, match=r"Retry\.on"):
        Retry(on=on)
