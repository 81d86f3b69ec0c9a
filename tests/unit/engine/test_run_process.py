"""What a run borrows from its process, and gives back: signals and the garbage collector."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

import millstream as ms
from tests.support.stepping import wait_until
from tests.unit.engine.driving import BRISK, drop, never_ending, numbers, threads


def run_and_signal(job: ms.Job, *signals: int) -> None:
    for delay_s, number in enumerate(signals, start=1):
        threading.Timer(0.2 * delay_s, os.kill, (os.getpid(), number)).start()
    with pytest.raises(KeyboardInterrupt):
        ms.run(job)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_cancels_and_its_handlers_are_put_back(number: int) -> None:
    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    job = ms.Job("job")
    job.source(never_ending, uid="in").sink(drop, uid="out")
    run_and_signal(job, number)
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == before
    assert gc.isenabled()
    assert not threads()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_the_process_ignores_is_ignored_during_a_run_too(number: int) -> None:
    job = ms.Job("job")

    def interrupt(n: int) -> None:
        if n in (10, 20):
            os.kill(os.getpid(), number)

    job.source(numbers(100), uid="in").sink(interrupt, uid="out")
    before = signal.signal(number, signal.SIG_IGN)
    try:
        assert ms.run(job).status is ms.JobStatus.COMPLETED
        assert signal.getsignal(number) is signal.SIG_IGN
    finally:
        signal.signal(number, before)


def test_a_second_signal_does_not_wait() -> None:
    release = threading.Event()

    def stuck(n: int) -> None:
        release.wait(30)

    job = ms.Job("job", engine=ms.EngineSettings(grace="1m"))
    job.source(never_ending, uid="in").sink(stuck, uid="out")
    started_s = time.monotonic()
    run_and_signal(job, signal.SIGINT, signal.SIGINT)
    assert time.monotonic() - started_s < 5
    assert gc.isenabled()
    release.set()
    wait_until(lambda: not threads(), "the threads left behind")


def test_a_failure_is_not_lost_behind_a_signal() -> None:
    release = threading.Event()

    def stuck(position: Any) -> Iterator[tuple[list[int], int]]:
        yield [1], 1
        release.wait(30)

    def fail(n: int) -> None:
        raise ValueError("the user's own")

    job = ms.Job("job")
    job.source(stuck, uid="in").sink(fail, uid="out")
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
    threading.Timer(0.4, release.set).start()
    with pytest.raises(KeyboardInterrupt) as caught:
        ms.run(job)
    assert isinstance(caught.value.__cause__, ms.errors.SinkError)


@pytest.mark.parametrize("manage", [True, False])
def test_the_garbage_collector_is_off_during_a_run_and_put_back(manage: bool) -> None:
    seen: set[bool] = set()

    def look(n: int) -> int:
        if n >= 10:  # the supervisor is there by now
            time.sleep(0.02)
            seen.add(gc.isenabled())
        return n

    job = ms.Job("job", engine=ms.EngineSettings(manage_gc=manage))
    job.source(numbers(20, batch=10), uid="in").map(look).sink(drop, uid="out")
    assert gc.isenabled()
    ms.run(job)
    assert seen == {not manage}
    assert gc.isenabled()


def test_a_collector_that_was_off_stays_off() -> None:
    job = ms.Job("job")
    job.source(numbers(10), uid="in").sink(drop, uid="out")
    gc.disable()
    try:
        ms.run(job)
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_the_collector_is_put_back_after_a_failure_too() -> None:
    def fail(n: int) -> int:
        raise ValueError(n)

    job = ms.Job("job", engine=BRISK)
    job.source(numbers(10), uid="in").map(fail).sink(drop, uid="out")
    with pytest.raises(ms.errors.OperatorError):
        ms.run(job)
    assert gc.isenabled()
