"""map_async, and the operators that an ``async def`` turns into one."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import threading
from typing import Any

import pytest

import millstream as ms
from millstream.core.errors import OperatorError, StuckError
from tests.unit.api.jobs import Build, begun, collected, failure

CHUNK_SIZES = [3, 1024]


async def tenfold(n: int) -> int:
    await asyncio.sleep(0)
    return n * 10


async def is_odd(n: int) -> Any:
    await asyncio.sleep(0)
    return n % 2


async def countdown(n: int) -> Any:
    await asyncio.sleep(0)
    return range(n)


class TenfoldObject:
    async def __call__(self, n: int) -> int:
        return await tenfold(n)

    async def method(self, n: int) -> int:
        return await tenfold(n)


async def times(factor: int, n: int) -> int:
    return factor * n


@pytest.mark.parametrize("chunk_size", CHUNK_SIZES)
@pytest.mark.parametrize("chaining", [True, False])
def test_map_async_keeps_the_order_of_the_input_by_default(chunk_size: int, chaining: bool) -> None:
    async def slower_for_small(n: int) -> int:
        await asyncio.sleep((20 - n) / 10_000)
        return n

    results = collected(
        lambda s: s.map(ms.it + 0).map_async(slower_for_small, uid="m").map(ms.it * 2),
        range(20),
        chunk_size=chunk_size,
        chaining=chaining,
    )
    assert results == [n * 2 for n in range(20)]


def test_unordered_emits_results_as_they_arrive_and_loses_none() -> None:
    release = threading.Event()

    async def first_waits(n: int) -> int:
        if n == 0:
            await asyncio.to_thread(release.wait, 5)
        return n

    results: list[int] = []

    def take(n: int) -> None:
        results.append(n)
        if len(results) == 49:
            release.set()

    job, numbers = begun(range(50))
    numbers.map_async(first_waits, uid="m", ordered=False).sink(take, uid="out")
    ms.run(job)
    assert results[-1] == 0
    assert sorted(results) == list(range(50))


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("capacity", [1, 2, 7])
def test_no_more_than_capacity_are_in_flight(ordered: bool, capacity: int) -> None:
    now = most = 0

    async def counted(n: int) -> int:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0)
        now -= 1
        return n

    results = collected(
        lambda s: s.map_async(counted, uid="m", ordered=ordered, capacity=capacity), range(60)
    )
    assert sorted(results) == list(range(60))
    assert most == capacity


EQUAL: dict[str, tuple[Build, list[int]]] = {
    "map": (lambda s: s.map(tenfold, uid="m"), [0, 10, 20, 30]),
    "map an object": (lambda s: s.map(TenfoldObject(), uid="m"), [0, 10, 20, 30]),
    "map a method": (lambda s: s.map(TenfoldObject().method, uid="m"), [0, 10, 20, 30]),
    "map a partial": (lambda s: s.map(functools.partial(times, 10), uid="m"), [0, 10, 20, 30]),
    "filter": (lambda s: s.filter(is_odd, uid="m"), [1, 3]),
    "flat_map": (lambda s: s.flat_map(countdown, uid="m"), [0, 0, 1, 0, 1, 2]),
}


@pytest.mark.parametrize(("build", "expected"), EQUAL.values(), ids=EQUAL.keys())
@pytest.mark.parametrize("chunk_size", CHUNK_SIZES)
def test_an_async_def_makes_a_map_async_of_map_filter_and_flat_map(
    build: Build, expected: list[int], chunk_size: int
) -> None:
    assert collected(build, range(4), chunk_size=chunk_size) == expected
    job, numbers = begun()
    build(numbers).sink(ms.blackhole.sink(), uid="out")
    assert '"kind": "map_async"' in ms.explain(job, "json")


def test_no_record_at_all_ends_the_job_as_well() -> None:
    assert collected(lambda s: s.map_async(tenfold, uid="m"), []) == []


def test_several_follow_each_other() -> None:
    results = collected(
        lambda s: s.map(tenfold, uid="a").filter(is_odd, uid="b").union(s.map(tenfold, uid="c")),
        [1, 2],
    )
    assert results == [10, 20]


@pytest.mark.parametrize("chunk_size", CHUNK_SIZES)
def test_a_failing_call_is_named_with_its_record_and_place(chunk_size: int) -> None:
    async def fails_on_5(n: int) -> int:
        if n == 5:
            raise LookupError("no such thing")
        return n

    job, numbers = begun(range(9), engine=ms.EngineSettings(chunk_size=chunk_size))
    numbers.map_async(fails_on_5, uid="look_up").sink(ms.blackhole.sink(), uid="out")
    with pytest.raises(OperatorError, match="'look_up' failed on record 5 at") as failed:
        ms.run(job)
    assert failed.value.record == 5
    assert isinstance(failed.value.__cause__, LookupError)
    assert "LookupError: no such thing" in str(failed.value)


def test_a_flat_map_that_does_not_return_a_list_is_an_error_of_that_record() -> None:
    not_a_list: Any = tenfold
    error = failure(lambda s: s.flat_map(not_a_list, uid="f"), [3])
    assert "operator 'f' failed on record 3" in str(error)
    assert isinstance(error.__cause__, TypeError)


def test_a_timeout_fails_the_job_and_says_how_long_it_waited() -> None:
    async def never(n: int) -> int:
        await asyncio.sleep(60)
        return n

    error = failure(lambda s: s.map_async(never, uid="slow", timeout="5ms"), [1])
    assert "operator 'slow' failed on record 1" in str(error)
    assert "no result within 5 ms" in str(error)
    assert isinstance(error.__cause__, TimeoutError)


async def times_out_itself(n: int) -> int:
    async with asyncio.timeout(0.001):
        await asyncio.sleep(60)
    return n


async def socket_times_out(n: int) -> int:
    raise TimeoutError("the socket's own")


@pytest.mark.parametrize(
    ("function", "what"),
    [(times_out_itself, "TimeoutError: "), (socket_times_out, "TimeoutError: the socket's own")],
)
def test_a_timeout_of_the_users_own_is_not_taken_for_the_operators(
    function: Any, what: str
) -> None:
    error = failure(lambda s: s.map_async(function, uid="slow", timeout="1m"), [1])
    assert str(error).endswith(f": {what}")
    assert isinstance(error.__cause__, TimeoutError)


class Flaky:
    """Fails the first calls of each record."""

    def __init__(self, failures: int, error: type[Exception] = OSError) -> None:
        self.calls: list[int] = []
        self.failures = failures
        self.error = error

    async def call(self, n: int) -> int:
        self.calls.append(n)
        if self.calls.count(n) <= self.failures:
            raise self.error(f"call {self.calls.count(n)}")
        return n


def test_a_retry_repeats_a_failing_call_and_keeps_the_order() -> None:
    flaky = Flaky(2)
    retry = ms.Retry(attempts=3, backoff="0s")
    results = collected(lambda s: s.map_async(flaky.call, uid="m", retry=retry), range(5))
    assert results == [0, 1, 2, 3, 4]
    assert len(flaky.calls) == 15


def test_when_attempts_run_out_the_last_error_fails_the_job() -> None:
    flaky = Flaky(5)
    retry = ms.Retry(attempts=2, backoff="0s")
    error = failure(lambda s: s.map_async(flaky.call, uid="m", retry=retry), [1])
    assert str(error).endswith("OSError: call 2; attempts made: 2")
    assert isinstance(error.__cause__, OSError)
    assert flaky.calls == [1, 1]


def test_an_error_that_is_not_worth_a_retry_fails_at_once() -> None:
    flaky = Flaky(1, LookupError)
    retry = ms.Retry(attempts=5, backoff="0s", on=(OSError, TimeoutError))
    error = failure(lambda s: s.map_async(flaky.call, uid="m", retry=retry), [1])
    assert isinstance(error.__cause__, LookupError)
    assert str(error).endswith("LookupError: call 1; attempts made: 1")
    assert flaky.calls == [1]


def test_without_retry_a_call_is_made_once() -> None:
    flaky = Flaky(1)
    failure(lambda s: s.map_async(flaky.call, uid="m"), [1])
    assert flaky.calls == [1]


def test_a_timeout_covers_all_attempts() -> None:
    retry = ms.Retry(attempts=1000, backoff="1ms", max_backoff="2ms")
    flaky = Flaky(1000)
    error = failure(lambda s: s.map_async(flaky.call, uid="m", retry=retry, timeout="20ms"), [1])
    made = len(flaky.calls)
    assert str(error).endswith(f"no result within 20 ms (TimeoutError); attempts made: {made}")


def test_calls_run_on_one_event_loop_beside_the_caller() -> None:
    loops: set[int] = set()

    async def where(n: Any) -> str:
        loops.add(id(asyncio.get_running_loop()))
        return threading.current_thread().name

    results = collected(lambda s: s.map(where, uid="a").map(where, uid="b"), [1, 2])
    assert len(loops) == len(set(results)) == 1
    assert threading.current_thread().name not in results


def test_cancelling_a_job_cancels_what_is_in_flight() -> None:
    started, cancelled = threading.Event(), threading.Event()

    async def never(n: int) -> int:
        started.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return n

    job, numbers = begun([1])
    numbers.map_async(never, uid="m").sink(ms.blackhole.sink(), uid="out")
    execution = ms.start(job)
    assert started.wait(5)
    execution.cancel()
    assert execution.wait().status is ms.JobStatus.CANCELLED
    assert cancelled.is_set()


def test_a_call_that_goes_on_behind_its_timeout_fails_the_job() -> None:
    async def deaf(n: int) -> int:
        while not over.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0.05)
        return n

    over = threading.Event()
    job = ms.Job("job", engine=ms.EngineSettings(grace="200ms"))
    job.source(ms.collection.source([1]), uid="in").map_async(
        deaf, uid="call", timeout="10ms"
    ).sink(ms.blackhole.sink(), uid="out")
    with pytest.raises(StuckError) as caught:
        ms.run(job)
    over.set()
    assert isinstance(caught.value.__cause__, OperatorError)
    assert "it goes on although it was cancelled" in str(caught.value.__cause__)
