"""The engine's settings: what each may be."""

from __future__ import annotations

import gc
from datetime import timedelta
from typing import Any

import pytest

import millstream as ms
from millstream.core.element import CHUNK_SIZE
from millstream.core.errors import ConfigError
from millstream.core.settings import EngineSettings


def test_the_defaults_are_those_that_were_measured() -> None:
    settings = EngineSettings()
    assert settings.manage_gc
    assert settings.memory_share == 0.75
    assert settings.chunk_size == CHUNK_SIZE == 1024
    assert (settings.grace_s, settings.blocked_after_s) == (30.0, 10.0)


def test_durations_are_also_given_in_seconds() -> None:
    settings = EngineSettings(grace="1m", blocked_after=timedelta(milliseconds=1))
    assert (settings.grace_s, settings.blocked_after_s) == (60.0, 0.001)
    assert EngineSettings(grace="0s").grace_s == 0


@pytest.mark.parametrize(
    ("option", "values"),
    [
        ("manage_gc", [0, 1, "yes", None]),
        ("memory_share", [0, -0.5, 1.01, "0.5", None, True, float("nan")]),
        ("grace", [30, "30", None, timedelta(seconds=-1), "36501d"]),
        ("blocked_after", [0, "0s", "0.1ms", None]),
        ("chunk_size", [0, -1, 4097, 1.0, "1024", None, True]),
    ],
)
def test_an_option_that_is_refused_is_named(option: str, values: list[Any]) -> None:
    for value in values:
        options: dict[str, Any] = {option: value}
        with pytest.raises(ConfigError, match=f"^{option}: "):
            EngineSettings(**options)


@pytest.mark.parametrize(
    "settings", [{"memory_share": 1}, {"chunk_size": 4096}, {"grace": "36500d"}]
)
def test_the_largest_values_run(settings: Any) -> None:
    results: list[int] = []
    job = ms.Job("job", engine=EngineSettings(**settings))
    job.source(ms.sequence.source(3), uid="in").sink(ms.collection.sink(results), uid="out")
    ms.run(job)
    assert results == [0, 1, 2]


def test_the_collector_is_left_alone_if_asked_and_is_on_again_afterwards() -> None:
    def enabled_meanwhile(*, manage: bool) -> list[bool]:
        seen: list[bool] = []
        job = ms.Job("job", engine=EngineSettings(manage_gc=manage))
        job.source(ms.sequence.source(1), uid="in").sink(
            lambda record: seen.append(gc.isenabled()), uid="out"
        )
        ms.run(job)
        return seen

    assert enabled_meanwhile(manage=True) == [False]
    assert enabled_meanwhile(manage=False) == [True]
    assert gc.isenabled()
