"""Whatever is stuck: the run ends within its grace, says what it was, and leaves only that."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
import structlog.testing

import millstream as ms
from millstream.core.errors import StuckError
from millstream.engine import supervisor
from tests.support.stepping import wait_until
from tests.unit.engine.driving import BRISK, Begun, drop, never_ending, numbers, threads
from tests.unit.engine.stuck_jobs import PLACES, Hold, HoldingSource

SLACK_S = 8  # on a busy machine; the grace of these runs is 0.2 s


@dataclass(frozen=True)
class End:
    """How a stuck run ended.

    Attributes:
        error: what was raised.
        seconds: from the cancel on.
        left: its threads that were still alive then.
        begun: the run.
        hold: what it is stuck in.
    """

    error: BaseException | None
    seconds: float
    left: list[str]
    begun: Begun
    hold: Hold


def cancel_when_stuck(name: str) -> End:
    hold = Hold()
    job = ms.Job(name, engine=BRISK)
    PLACES[name].build(job, hold)
    begun = Begun(job)
    hold.entered.wait(0.5)  # what gets stuck in its end only does so behind the cancel
    threading.Timer(0.1, begun.run.cancel).start()
    started_s = time.monotonic()
    error: BaseException | None = None
    try:
        begun.wait()
    except StuckError as stuck:
        error = stuck
    seconds = time.monotonic() - started_s
    left = begun.run.living()
    return End(error, seconds, left, begun, hold)


@pytest.fixture(scope="module")
def ends() -> Iterator[dict[str, End]]:
    """Run all at once: each mostly waits."""
    with ThreadPoolExecutor(len(PLACES)) as pool:
        ended = dict(zip(PLACES, pool.map(cancel_when_stuck, PLACES), strict=True))
    yield ended
    for end in ended.values():
        end.hold.release.set()


@pytest.mark.parametrize("place", PLACES)
def test_a_cancel_ends_a_stuck_run_within_its_grace(place: str, ends: dict[str, End]) -> None:
    assert isinstance(ends[place].error, StuckError)
    assert ends[place].seconds < SLACK_S


@pytest.mark.parametrize("place", PLACES)
def test_what_was_stuck_is_named_with_its_stack(place: str, ends: dict[str, End]) -> None:
    message = str(ends[place].error)
    assert f"job {place!r} did not end within its grace of 0.2 s" in message
    assert "in stuck_" in message, "nor the line at which it stands"
    if place != "map_async, to_thread":  # its call was cancelled; the thread it began was not
        parts = message.partition("still running: ")[2].partition(". A source's")[0]
        by_its_thread = parts in (f"sink {PLACES[place].uid}", f"source {PLACES[place].uid}")
        assert by_its_thread or repr(PLACES[place].uid) in parts
        assert ends[place].error.operator_uid == PLACES[place].uid  # type: ignore[union-attr]


@pytest.mark.parametrize("place", PLACES)
def test_only_what_is_stuck_is_left_and_it_goes_when_it_can(
    place: str, ends: dict[str, End]
) -> None:
    assert ends[place].left == [PLACES[place].thread]
    ends[place].hold.release.set()
    wait_until(lambda: ends[place].begun.run.wait(0.01), f"the threads of {place!r}")


def test_what_a_completed_job_has_left_on_the_loop_has_its_grace_too() -> None:
    hold = Hold()

    async def begin(n: int) -> int:
        asyncio.create_task(hold.stuck_awaiting())  # noqa: RUF006  # left behind
        await asyncio.sleep(0)
        return n

    job = ms.Job("job", engine=BRISK)
    job.source(numbers(1), uid="in").map_async(begin, uid="worker").sink(drop, uid="out")
    with pytest.raises(StuckError, match=r"still running: event loop \(operator 'worker'\)"):
        ms.run(job)
    hold.release.set()
    wait_until(lambda: not threads(), "the loop")


def test_a_failure_is_told_long_before_the_grace_with_what_the_end_waits_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(supervisor, "WAITING_NS", 100_000_000)
    hold = Hold()
    job = ms.Job("job", engine=ms.EngineSettings(grace="1m"))
    job.source(HoldingSource(hold, "read"), uid="in").sink(FailingSink(), uid="out")
    threading.Timer(0.5, hold.release.set).start()
    with structlog.testing.capture_logs() as events, pytest.raises(ms.errors.SinkError) as caught:
        ms.run(job)
    assert events[:1] == [
        {
            "event": "end.waiting",
            "log_level": "warning",
            "job": "job",
            "error": f"SinkError: {caught.value}",
            "waiting_for": ["source in"],
            "grace_s": 60.0,
        }
    ]


def test_an_end_that_comes_soon_is_not_told() -> None:
    job = ms.Job("job")
    job.source(never_ending, uid="in").sink(FailingSink(), uid="out")
    with structlog.testing.capture_logs() as events, pytest.raises(ms.errors.SinkError):
        ms.run(job)
    assert not events


class FailingSink(ms.Sink[int]):
    def invoke(self, value: int, ctx: ms.SinkContext) -> None:
        raise ValueError("the user's own")


def test_what_is_stuck_behind_a_failure_does_not_hide_it() -> None:
    hold = Hold()
    job = ms.Job("job", engine=BRISK)
    job.source(HoldingSource(hold, "read"), uid="in").sink(FailingSink(), uid="out")
    with pytest.raises(StuckError, match="still running: source in") as caught:
        ms.run(job)
    hold.release.set()
    assert isinstance(caught.value.__cause__, ms.errors.SinkError)
    assert isinstance(caught.value.__cause__.__cause__, ValueError)


def test_a_failure_is_heard_while_the_engine_is_stuck() -> None:
    hold, sink_is_there = Hold(), threading.Event()

    class FailsLater(ms.Sink[int]):
        def invoke(self, value: int, ctx: ms.SinkContext) -> None:
            sink_is_there.set()
            hold.entered.wait(10)
            raise ValueError("the user's own")

    def stop(n: int) -> int:
        if sink_is_there.is_set():
            hold.stuck_here()
        return n

    job = ms.Job("job", engine=BRISK)
    job.source(never_ending, uid="other in").sink(FailsLater(), uid="other out")
    job.source(never_ending, uid="in").map(stop, uid="op").sink(drop, uid="out")
    with pytest.raises(StuckError, match=r"engine \(operator 'op'\)") as caught:
        ms.run(job)
    hold.release.set()
    assert isinstance(caught.value.__cause__, ms.errors.SinkError)


def test_a_task_of_the_users_own_that_ends_the_loop_is_why_the_job_fails() -> None:
    async def leave() -> None:
        raise SystemExit("on purpose")

    async def read(position: object) -> AsyncIterator[tuple[list[int], int]]:
        asyncio.create_task(leave())  # noqa: RUF006  # left behind
        await asyncio.sleep(60)
        yield [1], 1

    job = ms.Job("job", engine=BRISK)
    job.source(read, uid="in").sink(drop, uid="out")
    with pytest.raises(ms.errors.FatalError, match="ended from within: SystemExit: on purpose"):
        ms.run(job)


def test_a_source_whose_close_hangs_at_the_end_of_its_input_is_named() -> None:
    hold = Hold()

    class Hangs(HoldingSource):
        def read(self, position: object) -> Iterator[tuple[list[int], int]]:
            yield [1], 1

    job = ms.Job("job", engine=BRISK)
    job.source(Hangs(hold, "close"), uid="in").sink(drop, uid="out")
    with pytest.raises(StuckError, match="still running: source in"):
        ms.run(job)
    hold.release.set()
