"""Timers of process functions in whole jobs, and what is refused of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest

import millstream as ms
from millstream.core.errors import ConfigError
from tests.unit.api.jobs import begun, collected, failure, refusal, stream

Context = ms.ProcessContext[Any]


class Does(ms.KeyedProcessFunction[Any, Any]):
    """Does with its timer service what it is told to."""

    def __init__(self, act: Callable[[ms.TimerService], Any]) -> None:
        self.act = act

    def process_element(self, value: Any, ctx: Context) -> None:
        self.act(ctx.timer_service)

    def on_timer(self, timestamp: int, ctx: Context) -> None:
        ctx.collect((ctx.current_key, timestamp))


def does(act: Callable[[ms.TimerService], Any]) -> Callable[[ms.Stream[Any]], ms.Stream[Any]]:
    return lambda s: s.key_by(ms.it).process(Does(act), uid="p")


def test_due_timers_fire_before_the_job_ends_and_others_are_dropped() -> None:
    def act(timers: ms.TimerService) -> None:
        now_ms = timers.current_processing_time()
        timers.register_processing_time_timer(now_ms + 3_600_000)
        timers.register_processing_time_timer(1_700_000_000)  # in seconds: that is in 1970
        timers.register_processing_time_timer(0)

    for chunk_size in (1, 1024):
        results = collected(does(act), ["a", "b"], chunk_size=chunk_size)
        assert sorted(results) == [(key, time) for key in "ab" for time in (0, 1_700_000_000)]


@pytest.mark.parametrize("chaining", [True, False])
def test_a_timer_that_comes_due_wakes_a_job_whose_source_is_idle(chaining: bool) -> None:
    fired: list[Any] = []

    def waits(position: Any) -> Any:
        yield ["a"], 1
        while not fired:
            yield [], 1

    def act(timers: ms.TimerService) -> None:
        timers.register_processing_time_timer(timers.current_processing_time() + 30)

    job = ms.Job("idle", chaining=chaining)
    does(act)(job.source(waits, uid="in")).sink(fired.append, uid="out")
    result = ms.run(job)
    assert [key for key, _ in fired] == ["a"]
    counts = result.account.operator("p")
    assert (counts.records_in, counts.records_out) == (1, 1)
    assert (counts.created, counts.absorbed) == (1, 1)


def call(method: str, time: Any, timers: ms.TimerService) -> None:
    getattr(timers, method)(time)


WRONG: list[tuple[Any, str]] = [
    (1.0, "got a float"),
    (True, "got a bool"),
    (None, "got a NoneType"),
    ("1", "got a str"),
    (datetime(2026, 1, 1, tzinfo=UTC), r"of a datetime that is int\(at.timestamp\(\) \* 1000\)"),
    (-1, "this is before 1970; a time from now on is ctx.timer_service.current_processing_time"),
    (1_700_000_000_000_000, "this is past the year 9999; is it in micro- or nanoseconds"),
]


@pytest.mark.parametrize(("time", "why"), WRONG, ids=[type(time).__name__ for time, _ in WRONG])
def test_what_is_no_time_is_refused(time: Any, why: str) -> None:
    for method in ("register_processing_time_timer", "delete_processing_time_timer"):
        error = failure(does(partial(call, method, time)), ["a"])
        assert error.operator_uid == "p"
        with pytest.raises(ms.errors.RecordError, match=rf"{method}\(.*expected an int.*{why}"):
            raise error.__cause__ or error


def test_the_latest_time_is_taken() -> None:
    latest = 253_402_300_799_999
    assert (
        collected(does(lambda timers: timers.register_processing_time_timer(latest)), ["a"]) == []
    )


def test_a_timer_without_on_timer_is_an_error() -> None:
    class Forgot(ms.KeyedProcessFunction[Any, Any]):
        def process_element(self, value: Any, ctx: Context) -> None:
            ctx.timer_service.register_processing_time_timer(5)

    error = failure(lambda s: s.key_by(ms.it).process(Forgot(), uid="p"), ["a"])
    assert "register_processing_time_timer(5): the function has no on_timer" in str(error)
    assert "add on_timer(self, timestamp, ctx) to its class" in str(error)


class Elsewhere(Does):
    """Registers a timer when it is opened, or closed."""

    def __init__(self, where: str, method: str) -> None:
        self.where, self.method = where, method

    def use(self, where: str) -> None:
        if where == self.where:
            getattr(self.timers, f"{self.method}_processing_time_timer")(5)

    def open(self, ctx: Context) -> None:
        self.timers = ctx.timer_service
        assert self.timers.current_processing_time() > 0
        self.use("open")

    def process_element(self, value: Any, ctx: Context) -> None:
        pass

    def close(self) -> None:
        self.use("close")


@pytest.mark.parametrize("where", ["open", "close"])
@pytest.mark.parametrize("method", ["register", "delete"])
def test_without_a_record_there_is_no_key_to_register_for(where: str, method: str) -> None:
    error = failure(lambda s: s.key_by(ms.it).process(Elsewhere(where, method), uid="p"), ["a"])
    assert error.operator_uid == "p"
    assert f"{where}() failed: RecordError: a timer belongs to the key of a record" in str(error)


def processed(function: Any, records: ms.Stream[Any]) -> ms.Stream[Any]:
    return records.key_by(ms.it).process(function, uid="p")


def test_an_async_on_timer_is_refused_with_the_alternative() -> None:
    class Waits(Does):
        async def on_timer(self, timestamp: int, ctx: Context) -> None:  # type: ignore[override]
            pass

    class WaitsAndYields(Does):
        async def on_timer(  # type: ignore[override]
            self, timestamp: int, ctx: Context
        ) -> AsyncIterator[Any]:
            yield

    for function in (Waits(print), WaitsAndYields(print)):
        message = refusal(partial(processed, function))
        assert f"{type(function).__name__}.on_timer is 'async def'" in message
        assert "map_async" in message


def test_an_on_timer_with_other_arguments_is_refused() -> None:
    class Short(Does):
        def on_timer(self, timestamp: int) -> None:  # type: ignore[override]
            pass

    message = refusal(lambda s: s.key_by(ms.it).process(Short(print), uid="p"))
    assert "Short.on_timer is called as on_timer(timestamp, ctx), but" in message


def test_the_name_of_the_state_of_timers_is_taken() -> None:
    class Named(Does):
        mine = ms.ValueStateDescriptor(int, default=0, name="processing-time timers")

    with pytest.raises(ConfigError, match="Named names a state 'processing-time timers', which is"):
        stream().key_by("a").process(Named(print), uid="p")


def test_explain_shows_that_a_function_has_timers() -> None:
    job, records = begun()
    does(print)(records).sink(ms.blackhole.sink(), uid="out")
    assert "p.processing-time timers  timers  (time, key)" in ms.explain(job)
