"""Builds small jobs and runs them, as a user would."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import pytest

import millstream as ms
from millstream.core.errors import ConfigError, FatalError

Build = Callable[[ms.Stream[Any]], ms.Stream[Any]]


def begun(records: Sequence[Any] = (), **options: Any) -> tuple[ms.Job, ms.Stream[Any]]:
    """Return a job and its one stream, of the given records."""
    job = ms.Job("job", **options)
    return job, job.source(ms.collection.source(records), uid="in")


def stream(records: Sequence[Any] = (), **options: Any) -> ms.Stream[Any]:
    """Return the stream of a job that will not be run."""
    return begun(records, **options)[1]


def collected(
    build: Build, records: Sequence[Any], *, chunk_size: int = 1024, chaining: bool = True
) -> list[Any]:
    """Return what a job makes of the records."""
    results: list[Any] = []
    job, records_in = begun(
        records, chaining=chaining, engine=ms.EngineSettings(chunk_size=chunk_size)
    )
    build(records_in).sink(ms.collection.sink(results), uid="out")
    assert ms.run(job).status is ms.JobStatus.COMPLETED
    return results


def failure(build: Build, records: Sequence[Any]) -> FatalError:
    """Return the error that ends a job."""
    with pytest.raises(FatalError) as failed:
        collected(build, records)
    return failed.value


def refusal(build: Callable[[ms.Stream[Any]], object]) -> str:
    """Return the message with which an operator is refused while the job is built.

    It must say where: at which line of the user's.
    """
    with pytest.raises(ConfigError) as refused:
        build(stream())
    message = str(refused.value)
    assert re.search(r" at test_\w+\.py:\d+", message), message
    return message
