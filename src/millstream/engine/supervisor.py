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
from millstream.core.job_status import JobStatus
from millstream.core.log import warning
from millstream.core.ports import Clock
from millstream.core.settings import EngineSettings
from millstream.core.wording import said
from millstream.engine.async_task import AsyncTask
from millstream.engine.chain import BatchStep
from millstream.engine.gc_policy import IDLE_NS, GcPolicy
from millstream.engine.run import JobRun
from millstream.engine.sink_driver import AsyncSinkDriver, SinkDriver
from millstream.engine.source_driver import AsyncDriver, BatchDriver, RunDriver
from millstream.engine.task import Task

WAITING_NS = 1_000_000_000  # after so long it is told what the end of a run waits for
LET_GO_NS = 1_000_000_000  # what the rest of a run gets to end where one part of it is stuck
LOOK_S = 0.02  # between two looks at that
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
        self._finished_ns = 0  # when the engine was first seen to have ended, before its threads
        self._told_waiting = False

    def wait(self) -> JobResult:
        """Wait until every part of the run has ended; start it, if nobody has.

        A run that is started here is under the signal handlers' care from its first moment.

        Raises:
            StuckError: something did not end within the grace time; it is named with its stack,
                and its thread is left behind.
            KeyboardInterrupt: SIGINT or SIGTERM came, and the run has been cancelled; one that
                came too late for that is of no consequence.
        """
        policy = GcPolicy(self._settings.manage_gc, self._settings.memory_share)
        with policy, self._signal_handlers():
            if not self._run.started:
                self._run.start()
            try:
                while not self._run.wait(TICK_S):
                    self._look(policy)
            except BaseException:
                self._run.cancel()  # nobody supervises it any more
                raise
        result = self._run.result()
        if self._signals and result.status is not JobStatus.COMPLETED:
            raise KeyboardInterrupt from result.error
        return result

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
        if self._run.finished.is_set() and not self._finished_ns:
            self._finished_ns = now_ns  # what the job's code left on the loop has its grace as well
        ending_ns = self._run.ending_since_ns or self._finished_ns
        if ending_ns and now_ns - ending_ns > self._settings.grace_s * 1e9:
            raise self._stuck() from self._run.error
        if ending_ns and now_ns - ending_ns > WAITING_NS and not self._told_waiting:
            self._told_waiting = True
            self._tell_waiting()

    def _look_for_blocked(self, now_ns: int) -> None:
        limit_ns = self._settings.blocked_after_s * 1e9
        blocked: dict[str, int] = {}
        busy_ns = self._run.dispatcher.busy_since_ns
        if busy_ns:  # read after the slices: it may have begun to work only since
            blocked["engine"] = now_ns - max(busy_ns, self._since_ns)
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
        frames = _frames(self._frame(name))
        warning(
            "callback.blocked",
            job=self._run.graph.job,
            thread=name,
            operator_uid=self._operator(name, frames) or name,
            seconds=round(seconds, 1),
            stack=_text(frames),
        )

    def _tell_waiting(self) -> None:
        """Say why the run ends, and what it waits for: else a failure is unheard till the grace."""
        error = self._run.error
        warning(
            "end.waiting",
            job=self._run.graph.job,
            error=None if error is None else said(error),
            waiting_for=self._running()[0],
            grace_s=self._settings.grace_s,
        )

    def _stuck(self) -> StuckError:
        before = self._running()
        self._let_go()
        after = self._running()
        parts, uids, stacks = after if after[0] else before  # it may have ended by now
        return StuckError(
            f"job {self._run.graph.job!r} did not end within its grace of "
            f"{self._settings.grace_s:g} s: still running: {', '.join(parts)}. A source's cancel() "
            "or a time limit in the callback would end it; on the event loop, one that lets "
            "CancelledError pass. Stacks:\n"
            + "\n".join(f"{where}:\n{text}" for text, where in stacks.items()),
            operator_uid=uids[0] if uids else None,
        )

    def _running(self) -> tuple[list[str], list[str], dict[str, str]]:
        """Return what still runs, the operators it works for, and where each stack stands."""
        names = self._run.living()
        if len(names) > 1 and not self._run.dispatcher.busy_since_ns:
            names = [name for name in names if name != "engine"]  # it only waits for the others
        stacks: dict[str, str] = {}  # many calls of one function hang in the same place
        uids: list[str] = []
        parts: list[str] = []
        for name in names:
            owners = []
            for where, operator, frames in self._stacks(name):
                stacks.setdefault(_text(frames), where)
                owners += [operator] if operator else []
            uids += owners
            known = ", ".join(repr(uid) for uid in dict.fromkeys(owners))
            said_already = name.startswith(("sink ", "source "))
            parts.append(f"{name} (operator {known})" if known and not said_already else name)
        return parts, uids, stacks

    def _stacks(self, name: str) -> Iterator[tuple[str, str | None, list[FrameType]]]:
        """Yield where a thread stands, and what it waits for if it is the event loop.

        Each with the operator whose work it is, if that is known.
        """
        frames = _frames(self._frame(name))
        yield name, self._operator(name, frames), frames
        if name == "event loop" and self._run.assembly.loop is not None:
            for operator, frames in self._run.assembly.loop.stacks():
                yield "on the event loop", operator or self._operator(name, frames), frames
            # Those of asyncio.to_thread, which the end of a loop waits for.
            current = sys._current_frames()
            for thread in threading.enumerate():
                if thread.name.startswith("asyncio_"):
                    yield thread.name, None, _frames(current.get(thread.ident or 0))

    def _let_go(self) -> None:
        """End what is not stuck itself, but waits for what is."""
        self._run.abandon()
        deadline_ns = self._clock.monotonic_ns() + LET_GO_NS
        while self._clock.monotonic_ns() < deadline_ns and not self._run.wait(LOOK_S):
            pass

    def _operator(self, name: str, frames: list[FrameType]) -> str | None:
        """Return the uid of the operator whose callback a stack is in, if it is in one."""
        if name.startswith(("sink ", "source ")):
            return name.partition(" ")[2]
        owners = (self._owner(frame) for frame in reversed(frames))
        return next((owner for owner in owners if owner), None)

    def _owner(self, frame: FrameType) -> str | None:
        """Return the operator whose callback a frame calls, if it is one of ours that does."""
        caller = frame.f_locals.get("self")
        if isinstance(caller, BatchStep):
            return caller.id
        if isinstance(caller, AsyncTask):
            return caller.name
        if isinstance(caller, AsyncSinkDriver | AsyncDriver | BatchDriver | RunDriver):
            return caller.uid
        if isinstance(caller, Task):  # in open or close
            return frame.f_locals.get("operator")
        for task in self._run.assembly.tasks():
            if isinstance(task, Task):
                for segment in task.chain.segments:
                    owner = segment.owner_at(frame.f_code.co_filename, frame.f_lineno)
                    if owner:
                        return owner
        return None

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
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        # One that is ignored stays so: the process was started with `nohup`, or behind a shell's
        # `&`. None is a handler that was not set by Python, and could not be put back.
        before = {n: was for n, was in before.items() if was not in (signal.SIG_IGN, None)}
        for number in before:
            signal.signal(number, self._on_signal)
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


def _frames(innermost: FrameType | None) -> list[FrameType]:
    """Return a thread's frames, the outermost first."""
    return [frame for frame, _ in traceback.walk_stack(innermost)][::-1] if innermost else []


def _text(frames: list[FrameType]) -> str:
    if not frames:
        return "(has ended)"
    summary = traceback.StackSummary.extract((frame, frame.f_lineno) for frame in frames)
    return "".join(summary.format())
