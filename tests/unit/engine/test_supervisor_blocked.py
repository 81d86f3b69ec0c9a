"""A callback that blocks is named with its stack, wherever it is; one that works is not."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import structlog.testing

import millstream as ms
from millstream.core.ports import SystemClock
from millstream.engine.supervisor import Supervisor
from tests.support.stepping import PATIENCE_S
from tests.unit.engine.driving import Begun, drop, numbers
from tests.unit.engine.stuck_jobs import PLACES, Hold

WATCHFUL = ms.EngineSettings(grace="20s", blocked_after="200ms")
# A source may block as long as it likes, and a coroutine that only waits blocks nobody.
BLOCKING = [
    place
    for place in PLACES
    if "deaf" not in place
    and place not in ("map_async, to_thread", "async sink, close")
    and (not place.startswith("source") or place == "source, cancel")
]
Events = list[MutableMapping[str, Any]]


def blocked(place: str, events: Events) -> Events:
    return [each for each in events if each["job"] == place and each["event"] == "callback.blocked"]


def block(place: str, events: Events) -> None:
    """Run a job that blocks, until it was named or long enough."""
    hold = Hold()
    job = ms.Job(place, engine=WATCHFUL)
    PLACES[place].build(job, hold)
    begun = Begun(job)
    waiter = threading.Thread(target=begun.wait)
    waiter.start()
    if not hold.entered.wait(0.5):
        begun.run.cancel()  # it only blocks when it ends
    deadline_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline_s and not blocked(place, events):
        time.sleep(0.02)
    hold.release.set()
    begun.run.cancel()
    waiter.join()


@pytest.fixture(scope="module")
def warnings() -> Iterator[dict[str, Events]]:
    """Block in all places at once; return what was logged, by place."""
    with structlog.testing.capture_logs() as events:
        with ThreadPoolExecutor(len(BLOCKING)) as pool:
            list(pool.map(lambda place: block(place, events), BLOCKING))
        yield {place: blocked(place, events) for place in BLOCKING}


@pytest.mark.parametrize("place", BLOCKING)
def test_a_callback_that_blocks_is_named_with_its_stack(
    place: str, warnings: dict[str, Events]
) -> None:
    (event,) = warnings[place]
    assert event["log_level"] == "warning"
    assert event["operator_uid"] == PLACES[place].uid
    assert event["thread"] == PLACES[place].thread
    assert event["seconds"] >= 0.2
    assert "in stuck_here" in event["stack"]
    assert "stuck_jobs.py" in event["stack"]


def test_a_callback_is_named_once_for_each_time_it_blocks() -> None:
    def pause_twice(n: int) -> None:
        if n in (3, 5):
            time.sleep(0.35)

    job = ms.Job("job", engine=WATCHFUL)
    job.source(numbers(10), uid="in").sink(pause_twice, uid="out")
    with structlog.testing.capture_logs() as events:
        ms.run(job)
    assert 1 <= len(events) <= 2  # the two pauses may fall into one delivery


def test_what_works_long_but_in_slices_is_not_named() -> None:
    def busy(n: int) -> int:
        end_s = time.perf_counter() + 0.0005
        while time.perf_counter() < end_s:
            pass
        return n

    job = ms.Job("job", engine=ms.EngineSettings(blocked_after="200ms", chunk_size=50))
    job.source(numbers(1600, batch=50), uid="in").map(busy).sink(drop, uid="out")
    with structlog.testing.capture_logs() as events:
        result = ms.run(job)
    assert result.duration_s > 0.8
    assert not events


def test_waiting_for_a_quiet_source_is_not_blocking() -> None:
    go_on = threading.Event()

    def quiet(position: Any) -> Iterator[tuple[list[int], int]]:
        yield [1], 1
        go_on.wait(10)
        yield [2], 2

    job = ms.Job("job", engine=WATCHFUL)
    job.source(quiet, uid="in").map(lambda n: n).sink(drop, uid="out")
    with structlog.testing.capture_logs() as events:
        threading.Timer(0.5, go_on.set).start()
        ms.run(job)
    assert not events


def test_an_engine_that_has_just_begun_to_work_after_a_long_wait_is_not_blocked() -> None:
    job = ms.Job("job", engine=WATCHFUL)
    job.source(numbers(10), uid="in").sink(drop, uid="out")
    begun = Begun(job, start=False)
    supervisor = Supervisor(begun.run, job.engine, SystemClock())
    time.sleep(0.3)  # no slice since long; then the engine takes a message, just before the look
    begun.run.dispatcher.busy_since_ns = time.monotonic_ns()
    with structlog.testing.capture_logs() as events:
        supervisor._look_for_blocked(time.monotonic_ns())
    assert not events
