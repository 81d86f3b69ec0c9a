"""The one asyncio loop of a job, in a thread of its own; started only if something is async."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable, Coroutine
from types import AsyncGeneratorType, CoroutineType, FrameType, GeneratorType
from typing import Any
from weakref import WeakKeyDictionary

from millstream.core.errors import FatalError
from millstream.core.ports import Clock
from millstream.core.wording import said

_SUSPENDED = (CoroutineType, AsyncGeneratorType, GeneratorType)


class EventLoop:
    """Owns the loop, and every task on it.

    Attributes:
        asked_ns: when the watchdog last asked; 0 if the answer has come.
    """

    def __init__(self, clock: Clock) -> None:
        self.asked_ns = 0
        self._clock = clock
        self._lock = threading.Lock()  # for the two below: a call is either early or not
        self._loop: asyncio.AbstractEventLoop | None = None
        self._early: list[tuple[Callable[..., object], tuple[Any, ...]]] = []
        self._stop: asyncio.Event | None = None
        self._main_task: asyncio.Task[Any] | None = None
        self._tasks: dict[asyncio.Task[None], str] = {}  # and the operator each works for
        self._others: WeakKeyDictionary[asyncio.Task[Any], str] = WeakKeyDictionary()

    def call_soon(self, call: Callable[..., object], *arguments: Any) -> bool:
        """Call on the loop; from any thread, and without waiting for it.

        What is asked before the loop runs is called as soon as it does. A loop whose thread could
        not be started never does, so nobody may wait for that.

        Returns:
            False if the loop has ended, and does nothing any more.
        """
        loop = self._loop
        if loop is None:
            with self._lock:
                loop = self._loop
                if loop is None:
                    self._early.append((call, arguments))
                    return True
        try:
            loop.call_soon_threadsafe(call, *arguments)
        except RuntimeError:
            if not loop.is_closed():
                raise
            return False  # whoever waits is being ended as well
        return True

    def start(
        self,
        run: Coroutine[Any, Any, None],
        on_done: Callable[[], None] | None = None,
        operator: str = "",
    ) -> None:
        """Run a coroutine as a task of the loop; it must hear its own errors. On the loop only.

        Args:
            run: the coroutine.
            on_done: called when it has ended, also if it was cancelled before it began (then not
                even its ``finally`` clauses run).
            operator: the uid of the operator whose work it is.
        """
        assert self._loop is not None
        assert self._stop is not None
        task = asyncio.Task(run, loop=self._loop)  # not by the factory, which is for all others
        self._tasks[task] = operator
        task.add_done_callback(self._tasks.pop)
        if on_done is not None:
            task.add_done_callback(lambda _: on_done())
        if self._stop.is_set():
            task.cancel()

    def cancel_all(self) -> None:
        """Cancel what runs, and stop when it has ended. From any thread."""
        self.call_soon(self._cancel_all)

    def run(self, on_failure: Callable[[BaseException], None] | None = None) -> None:
        """Be the loop's thread until ``cancel_all``.

        Args:
            on_failure: told why the loop ends without having been asked to, before everything on
                it is cancelled for that reason.

        Raises:
            FatalError: the loop ended so.
        """
        try:
            with asyncio.Runner() as runner:
                try:
                    runner.run(self._main())
                except BaseException as error:
                    failure = FatalError(
                        f"the job's event loop was ended from within: {said(error)}; a task that "
                        "its code has begun must not say sys.exit(), nor anybody loop.stop()"
                    )
                    failure.__cause__ = error
                    if self._stop is not None:
                        self._stop.set()  # a call that is cancelled now is none that failed
                    if on_failure is not None:
                        on_failure(failure)
                    raise failure from error
        finally:
            self.asked_ns = 0  # it answers no more

    @property
    def stopping(self) -> bool:
        """Return whether everything on the loop has been told to end."""
        return self._stop is not None and self._stop.is_set()

    def ask(self) -> None:
        """Have the loop answer; unanswered for long, something blocks it. From the watchdog."""
        if self._loop is not None and not self.asked_ns:
            self.asked_ns = self._clock.monotonic_ns()
            if not self.call_soon(self._answer):
                self.asked_ns = 0

    def stacks(self) -> list[tuple[str, list[FrameType]]]:
        """Return where each task stands that has not ended, also of those the user's code made.

        From any thread, but only of use while the loop is quiet: of a running task it shows little.

        Returns:
            The operator each works for, "" if that is not known, and its frames, the outermost
            first.
        """
        if self._loop is None:
            return []
        own = dict(self._tasks)
        others = asyncio.all_tasks(self._loop).difference(own, (self._main_task,))
        operators = [*own.items(), *((task, self._others.get(task, "")) for task in others)]
        return [(operator, _frames_of(task)) for task, operator in operators]

    def _answer(self) -> None:
        self.asked_ns = 0

    async def _main(self) -> None:
        loop = asyncio.get_running_loop()
        loop.set_task_factory(self._make_other)
        self._main_task = asyncio.current_task()
        self._stop = asyncio.Event()
        with self._lock:
            self._loop = loop
            for call, arguments in self._early:
                loop.call_soon(call, *arguments)
            self._early.clear()
        await self._stop.wait()
        while self._tasks:
            await asyncio.wait(self._tasks)
        # What the user's code began and did not await is cancelled by asyncio's Runner, which
        # waits for it as well.

    def _make_other(
        self, loop: asyncio.AbstractEventLoop, run: Any, **options: Any
    ) -> asyncio.Task[Any]:
        """Make a task for the user's code; it works for the operator whose task asks for it."""
        task = asyncio.Task(run, loop=loop, **options)
        asking = asyncio.current_task(loop)
        if asking is not None:
            self._others[task] = self._tasks.get(asking) or self._others.get(asking, "")
        return task

    def _cancel_all(self) -> None:
        for task in self._tasks:
            task.cancel()
        assert self._stop is not None
        self._stop.set()


def _frames_of(task: asyncio.Task[Any]) -> list[FrameType]:
    """Return the frames of a suspended task; ``Task.get_stack`` has only the outermost."""
    frames: list[FrameType] = []
    inner: Any = task.get_coro()  # a coroutine, or whatever the innermost waits for
    while inner is not None:
        if isinstance(inner, CoroutineType):
            frame, inner = inner.cr_frame, inner.cr_await
        elif isinstance(inner, AsyncGeneratorType):
            frame, inner = inner.ag_frame, inner.ag_await
        elif isinstance(inner, GeneratorType):
            frame, inner = inner.gi_frame, inner.gi_yieldfrom
        else:  # what `async for` awaits does not say which generator it is of
            held = gc.get_referents(inner)
            inner = next((each for each in held if isinstance(each, _SUSPENDED)), None)
            continue
        if frame is not None:
            frames.append(frame)
    return frames
