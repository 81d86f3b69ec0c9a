"""The one asyncio loop of a job, in a thread of its own; started only if something is async."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import Any

from millstream.core.ports import Clock


class EventLoop:
    """Owns the loop, and every task on it.

    Attributes:
        asked_ns: when the watchdog last asked; 0 if the answer has come.
    """

    def __init__(self, clock: Clock) -> None:
        self.asked_ns = 0
        self._clock = clock
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ready = threading.Event()
        self._stop: asyncio.Event | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def call_soon(self, call: Callable[..., object], *arguments: Any) -> None:
        """Call on the loop; from any thread. After the loop's end, do nothing."""
        self._ready.wait()
        loop = self._loop
        if loop is not None and not loop.is_closed():
            try:
                loop.call_soon_threadsafe(call, *arguments)
            except RuntimeError:  # it closed in between; whoever waits is being ended as well
                if not loop.is_closed():
                    raise

    def start(
        self, run: Coroutine[Any, Any, None], on_done: Callable[[], None] | None = None
    ) -> None:
        """Run a coroutine as a task of the loop; it must hear its own errors. On the loop only.

        Args:
            run: the coroutine.
            on_done: called when it has ended, also if it was cancelled before it began (then not
                even its ``finally`` clauses run).
        """
        assert self._loop is not None
        assert self._stop is not None
        task = self._loop.create_task(run)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if on_done is not None:
            task.add_done_callback(lambda _: on_done())
        if self._stop.is_set():
            task.cancel()

    def cancel_all(self) -> None:
        """Cancel what runs, and stop when it has ended. From any thread."""
        self.call_soon(self._cancel_all)

    def run(self) -> None:
        """Be the loop's thread until ``cancel_all``."""
        try:
            asyncio.run(self._main())
        finally:
            self._ready.set()

    @property
    def stopping(self) -> bool:
        """Return whether everything on the loop has been told to end."""
        return self._stop is not None and self._stop.is_set()

    def ask(self) -> None:
        """Have the loop answer; unanswered for long, something blocks it. From the watchdog."""
        if self._ready.is_set() and not self.asked_ns:
            self.asked_ns = self._clock.monotonic_ns()
            self.call_soon(self._answer)

    def stacks(self) -> list[list[FrameType]]:
        """Return where each task stands that has not ended, from the outermost frame inwards.

        From any thread, but only of use while the loop is quiet: of a running task it shows little.
        """
        return [_frames_of(task) for task in tuple(self._tasks)]

    def _answer(self) -> None:
        self.asked_ns = 0

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._ready.set()
        await self._stop.wait()
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _cancel_all(self) -> None:
        for task in self._tasks:
            task.cancel()
        assert self._stop is not None
        self._stop.set()


def _frames_of(task: asyncio.Task[None]) -> list[FrameType]:
    """Return the frames of a suspended task; ``Task.get_stack`` has only the outermost."""
    frames: list[FrameType] = []
    awaited: Any = task.get_coro()  # a coroutine, or whatever the innermost waits for
    while (frame := getattr(awaited, "cr_frame", None)) is not None:
        frames.append(frame)
        awaited = awaited.cr_await
    return frames
