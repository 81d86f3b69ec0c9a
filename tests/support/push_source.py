"""A source that is pushed to, from a thread of its own, as a socket or a callback would."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any

import millstream as ms


class PushSource(ms.Source[Any]):
    """Pushes records as fast as it can, from a thread that is neither the engine's nor ``run``'s.

    Args:
        records: called by each run: returns the records to push, in order; making one may wait.

    Attributes:
        pushed: the records, in order, also those that were refused.
        done: set when there is nothing more to push, or a push was refused.
    """

    can_be_slowed = False

    def __init__(self, records: Callable[[], Iterable[Any]]) -> None:
        self.pushed: list[Any] = []  # this and the next are shared by the copies that runs work on
        self.done = threading.Event()
        self._records = records
        self._failure: BaseException | None = None

    def run(self, ctx: ms.SourceContext[Any]) -> None:
        """Wait for the pushing thread, and fail if it has failed."""
        thread = threading.Thread(target=self._push, args=(ctx,), name="pusher", daemon=True)
        thread.start()
        thread.join()
        if self._failure is not None:
            raise self._failure

    def _push(self, ctx: ms.SourceContext[Any]) -> None:
        try:
            for record in self._records():
                self.pushed.append(record)
                ctx.collect(record)
        except BaseException as failure:  # noqa: BLE001  # raised in the source's own thread
            self._failure = failure
        finally:
            self.done.set()
