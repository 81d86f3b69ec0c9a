"""The engine thread's one wait point: messages, slices and timers, each in its turn."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial

import pytest

from millstream.core.ports import SystemClock
from millstream.engine.dispatcher import Dispatcher
from tests.support.stepping import ManualClock, wait_until


class Work:
    """Runs so many slices, and notes each."""

    def __init__(self, dispatcher: Dispatcher, name: str, slices: int, log: list[str]) -> None:
        self.scheduled = False
        self.dispatcher, self.name, self.left, self.log = dispatcher, name, slices, log

    def run_slice(self) -> None:
        self.left -= 1
        self.log.append(self.name)
        if self.left:
            self.dispatcher.schedule(self)


@pytest.fixture
def dispatcher() -> Dispatcher:
    return Dispatcher(ManualClock())


def test_messages_are_served_in_order_and_with_their_argument(dispatcher: Dispatcher) -> None:
    seen: list[object] = []
    for number in range(5):
        dispatcher.post(seen.append, number)
    dispatcher.post(seen.append)
    dispatcher.run_until_idle()
    assert seen == [0, 1, 2, 3, 4, None]


def test_tasks_take_turns(dispatcher: Dispatcher) -> None:
    log: list[str] = []
    for name in ("a", "b"):
        dispatcher.schedule(Work(dispatcher, name, 3, log))
    dispatcher.run_until_idle()
    assert log == ["a", "b"] * 3
    assert dispatcher.slices == 6


def test_a_task_is_scheduled_once_however_often_it_asks(dispatcher: Dispatcher) -> None:
    log: list[str] = []
    work = Work(dispatcher, "a", 1, log)
    for _ in range(5):
        dispatcher.schedule(work)
    dispatcher.run_until_idle()
    assert log == ["a"]


def test_a_message_does_not_wait_behind_a_busy_task() -> None:
    dispatcher = Dispatcher(SystemClock())
    log: list[str] = []
    dispatcher.schedule(Work(dispatcher, "slice", 1_000_000, log))
    threading.Timer(0.05, dispatcher.post, (lambda _: dispatcher.stop(),)).start()
    started_s = time.monotonic()
    dispatcher.run()
    assert time.monotonic() - started_s < 5
    assert 0 < len(log) < 1_000_000


def test_timers_fire_when_they_are_due_the_earliest_first() -> None:
    clock, seen = ManualClock(), list[str]()
    dispatcher = Dispatcher(clock)
    now = clock.monotonic_ns()
    for due_ms, name in ((30, "third"), (10, "first"), (10, "second")):
        dispatcher.call_at(now + due_ms * 1_000_000, partial(seen.append, name))
    dispatcher.run_until_idle()
    assert seen == []
    clock.advance(10)
    dispatcher.run_until_idle()
    assert seen == ["first", "second"]
    clock.advance(100)
    dispatcher.run_until_idle()
    assert seen == ["first", "second", "third"]


@pytest.mark.parametrize("busy", [False, True])
def test_a_timer_fires_while_the_engine_waits_and_while_it_works(busy: bool) -> None:
    dispatcher = Dispatcher(SystemClock())
    log: list[str] = []
    if busy:
        dispatcher.schedule(Work(dispatcher, "slice", 10_000_000, log))
    started_ns = time.monotonic_ns()
    dispatcher.call_at(started_ns + 50_000_000, dispatcher.stop)
    dispatcher.run()
    assert 0.05 <= (time.monotonic_ns() - started_ns) / 1e9 < 1


def test_a_timer_that_was_due_long_ago_fires_at_once() -> None:
    dispatcher = Dispatcher(SystemClock())
    dispatcher.call_at(0, dispatcher.stop)
    dispatcher.run()


def raising() -> Callable[[object], None]:
    def call(_: object) -> None:
        raise ValueError("on purpose")

    return call


def test_what_a_message_raises_reaches_who_runs_it_and_the_rest_is_still_there() -> None:
    dispatcher = Dispatcher(SystemClock())
    seen: list[object] = []
    dispatcher.post(raising())
    dispatcher.post(seen.append, 1)
    dispatcher.post(lambda _: dispatcher.stop())
    with pytest.raises(ValueError, match="on purpose"):
        dispatcher.run()
    dispatcher.run()
    assert seen == [1]


def test_it_is_busy_while_it_works_and_not_while_it_waits() -> None:
    dispatcher = Dispatcher(SystemClock())
    seen: list[int] = []
    thread = threading.Thread(target=dispatcher.run)
    thread.start()
    wait_until(lambda: not dispatcher.busy_since_ns, "the dispatcher to wait")
    dispatcher.post(lambda _: seen.append(dispatcher.busy_since_ns))
    wait_until(lambda: bool(seen), "the message")
    assert seen[0] > 0
    wait_until(lambda: not dispatcher.busy_since_ns, "the dispatcher to wait")
    dispatcher.post(lambda _: dispatcher.stop())
    thread.join()


def test_any_number_of_threads_may_post() -> None:
    dispatcher = Dispatcher(SystemClock())
    seen: list[object] = []
    count = 4 * 1000

    def note(number: object) -> None:
        seen.append(number)
        if len(seen) == count:
            dispatcher.stop()

    def post() -> None:
        for number in range(1000):
            dispatcher.post(note, number)

    threads = [threading.Thread(target=post) for _ in range(4)]
    for thread in threads:
        thread.start()
    dispatcher.run()
    for thread in threads:
        thread.join()
    assert len(seen) == count
