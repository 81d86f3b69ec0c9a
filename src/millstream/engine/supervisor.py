"""Watches a run from outside: signals, blocked callbacks, memory, and ends that do not come."""

from __future__ import annotations

import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from millstream.core.errors import StuckError
from millstream.core.job_result import JobResult
from millstream.core.ports import Clock
from millstream.core.settings import EngineSettings
from millstream.engine.gc_policy import IDLE_NS, GcPolicy
from millstream.engine.run import JobRun
from millstream.engine.sink_driver import SinkDriver
from millstream.engine.task import Task

TICK_S = 0.5  # two looks a second cost an idle job under 0.1 % of a core


class Supervisor:
    """Waits for a run, in the thread that called ``run``.

    The first SIGINT or SIGTERM cancels the run, a second one raises at once. Handlers are
    installed only in the main thread, and put back.
    """

    def __init__(self, run: JobRun, settings: EngineSettings, clock: Clock) -> None:
        self._run = run
        self._settings = settings
        self._clock = clock
        self._signals = 0
        self._slices = -1
        self._since_ns = clock.monotonic_ns()  # when the engine's slices last grew
        self._named: set[str] = set()  # blocked callbacks that were reported already

    def wait(self) -> JobResult:
        """Wait until every part of the run has ended.

        Raises:
            StuckError: something did not end within the grace time; it is named with its stack,
                and its thread is left behind.
            KeyboardInterrupt: SIGINT or SIGTERM came; the run has been cancelled.
        """
        policy = GcPolicy(self._settings.manage_gc, self._settings.memory_share)
        with policy, self._signal_handlers():
            while not self._run.finished.wait(TICK_S):
                self._look(policy)
        for thread in self._run.threads.values():
            thread.join(self._settings.grace_s)  # they have posted their last message
        if self._signals:
            raise KeyboardInterrupt
        return self._run.result()

    # -- a look ---------------------------------------------------------------------------------

    def _look(self, policy: GcPolicy) -> None:
        now_ns = self._clock.monotonic_ns()
        slices = self._run.dispatcher.slices
        if slices != self._slices:
            self._slices, self._since_ns = slices, now_ns
        quiet_ns = now_ns - self._since_ns
        policy.guard()
        if not self._run.dispatcher.busy_since_ns and quiet_ns > IDLE_NS:
            policy.idle(slices)
        self._look_for_blocked(now_ns)
        ending_ns = self._run.ending_since_ns
        if ending_ns and now_ns - ending_ns > self._settings.grace_s * 1e9:
            raise self._stuck()

    def _look_for_blocked(self, now_ns: int) -> None:
        limit_ns = self._settings.blocked_after_s * 1e9
        blocked: dict[str, int] = {}
        if self._run.dispatcher.busy_since_ns:
            blocked["engine"] = now_ns - self._since_ns
        for driver in self._run.assembly.sink_drivers():
            if isinstance(driver, SinkDriver) and driver.busy_since_ns:
                blocked[f"sink {driver.uid}"] = now_ns - driver.busy_since_ns
        loop = self._run.assembly.loop
        if loop is not None:
            loop.ask()
            if loop.asked_ns:
                blocked["event loop"] = now_ns - loop.asked_ns
        late = {name: ns for name, ns in blocked.items() if ns > limit_ns}
        for name, ns in late.items():
            if name not in self._named:
                self._report(name, ns / 1e9)
        self._named = set(late)

    def _report(self, name: str, seconds: float) -> None:
        import structlog

        frame = self._frame(name)
        structlog.get_logger().warning(
            "callback.blocked",
            job=self._run.graph.job,
            thread=name,
            operator_uid=self._operator(name, frame),
            seconds=round(seconds, 1),
            stack=_stack(frame),
        )

    def _stuck(self) -> StuckError:
        names = [name for name, thread in self._run.threads.items() if thread.is_alive()]
        stacks = "\n".join(f"{name}:\n{_stack(self._frame(name))}" for name in names)
        waiting = ", ".join(self._run.alive()) or ", ".join(names)
        return StuckError(
            f"job {self._run.graph.job!r} did not end within its grace of "
            f"{self._settings.grace_s:g} s: still running: {waiting}. A source's cancel() or a "
            f"time limit in the callback would end it. Stacks:\n{stacks}"
        )

    def _operator(self, name: str, frame: FrameType | None) -> str:
        """Return the uid of the operator whose callback a thread is in."""
        if name.startswith("sink "):
            return name.removeprefix("sink ")
        while frame is not None:
            for task in self._run.assembly.tasks():
                if isinstance(task, Task):
                    for segment in task.chain.segments:
                        owner = segment.owner_at(frame.f_code.co_filename, frame.f_lineno)
                        if owner:
                            return owner
            frame = frame.f_back
        return name

    def _frame(self, name: str) -> FrameType | None:
        thread = self._run.threads.get(name)
        ident = thread.ident if thread is not None else None
        return sys._current_frames().get(ident) if ident is not None else None

    # -- signals --------------------------------------------------------------------------------

    @contextmanager
    def _signal_handlers(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {
            number: signal.signal(number, self._on_signal)
            for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, frame: Any) -> None:
        self._signals += 1
        if self._signals > 1:
            raise KeyboardInterrupt
        self._run.cancel()


def _stack(frame: FrameType | None) -> str:
    return "".join(traceback.format_stack(frame)) if frame is not None else "(has ended)"
