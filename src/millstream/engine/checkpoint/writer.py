"""The thread that does all that blocks for checkpoints, in the order in which it is asked to."""

from __future__ import annotations

import queue
from collections.abc import Callable
from typing import Any  # arguments of any call

from millstream.core.log import warning
from millstream.core.wording import said
from millstream.engine.checkpoint.journal import Journal, Made, Purpose, Summary
from millstream.engine.dispatcher import Dispatcher
from millstream.storage.checkpoints.base import CheckpointFile, PendingCheckpoint
from millstream.storage.metadata.errors import LeaseLostError

_Call = tuple[Callable[..., None], tuple[Any, ...]]


class WriterThread:
    """Makes calls one after the other, until it is told to stop; each hears its own errors.

    Args:
        on_fatal: told, on this thread, of what a call raises all the same; the next is made.

    Attributes:
        busy: it has something in hand.
    """

    def __init__(self, on_fatal: Callable[[BaseException], None]) -> None:
        self._on_fatal = on_fatal
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._posted = self._written = 0  # bytes; each is counted up by one thread alone
        self.busy = False

    @property
    def backlog_bytes(self) -> int:
        """Return how much waits to be written."""
        return self._posted - self._written

    def post(self, call: Callable[..., None], *arguments: Any) -> None:
        """Have the thread call ``call(*arguments)``. From the engine thread."""
        self._calls.put((call, arguments))

    def note_posted(self, size_bytes: int) -> None:
        """Note that so much is to be written. From the engine thread."""
        self._posted += size_bytes

    def note_written(self, size_bytes: int) -> None:
        """Note that so much was written, or dropped. On the writer thread."""
        self._written += size_bytes

    def stop(self) -> None:
        """Let the thread end when all is done that it was asked to."""
        self._calls.put(None)

    def run(self) -> None:
        """Be the thread."""
        while (item := self._calls.get()) is not None:
            self.busy = True
            self._make(*item)
            self.busy = False

    def step(self) -> bool:
        """Make one call without waiting, for tests; return whether there was one."""
        item = None if self._calls.empty() else self._calls.get()
        if item is None:
            return False
        self._make(*item)
        return True

    def _make(self, call: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        try:
            call(*arguments)
        except BaseException as error:  # noqa: BLE001  # else all later checkpoints would only time out
            warning("checkpoint.writer_failed", error=said(error))  # the engine may have ended
            self._on_fatal(error)


class SnapshotFiles:
    """The files of one checkpoint, from the engine's side and from the writer thread's.

    Args:
        thread: what does the work.
        journal: where the checkpoint is kept.
        dispatcher: the engine thread, which is told how it went.
        checkpoint_id: which one.
    """

    def __init__(
        self, thread: WriterThread, journal: Journal, dispatcher: Dispatcher, checkpoint_id: int
    ) -> None:
        self.checkpoint_id = checkpoint_id
        self.on_completed: Callable[[Made], None]
        self.on_failed: Callable[[tuple[int, Exception]], None]
        self._thread = thread
        self._journal = journal
        self._dispatcher = dispatcher
        self._pending: PendingCheckpoint | None = None
        self._files: dict[str, CheckpointFile] = {}
        self._given_up = False
        self._done = False

    # -- the engine thread ----------------------------------------------------------------------

    def begin(self, purpose: Purpose) -> None:
        """Begin the checkpoint."""
        self._post(self._begin, purpose)

    def write(self, name: str, data: bytes) -> None:
        """Append to a file, which is made when it is not there."""
        self._thread.note_posted(len(data))
        self._thread.post(self._write, name, data)

    def close(self, name: str) -> None:
        """End a file."""
        self._post(self._close, name)

    def complete(self, summary: Summary) -> None:
        """Make the checkpoint exist; then ``on_completed`` is told."""
        self._post(self._complete, summary)

    def give_up(self, reason: str) -> None:
        """Remove what was written, if it is not complete by now; nobody is told."""
        self._thread.post(self._give_up, reason)

    def retain(self) -> None:
        """Remove checkpoints that are too old."""
        self._thread.post(self._retain)

    def _post(self, call: Callable[..., None], *arguments: Any) -> None:
        self._thread.post(self._guarded, call, *arguments)

    # -- the writer thread ----------------------------------------------------------------------

    def _guarded(self, call: Callable[..., None], *arguments: Any) -> None:
        if self._given_up:
            return
        try:
            call(*arguments)
        except Exception as error:  # noqa: BLE001  # the engine hears it
            self._give_up(said(error))
            self._dispatcher.post(self.on_failed, (self.checkpoint_id, error))

    def _begin(self, purpose: Purpose) -> None:
        self._pending = self._journal.begin(self.checkpoint_id, purpose)

    def _write(self, name: str, data: bytes) -> None:
        self._guarded(self._append, name, data)
        self._thread.note_written(len(data))

    def _append(self, name: str, data: bytes) -> None:
        self._file(name).write(data)

    def _close(self, name: str) -> None:
        self._file(name).close()

    def _complete(self, summary: Summary) -> None:
        assert self._pending is not None
        made = self._journal.complete(self.checkpoint_id, self._pending, summary)
        self._done = True
        self._dispatcher.post(self.on_completed, made)

    def _give_up(self, reason: str) -> None:
        if self._given_up or self._done:
            return
        self._given_up = True
        if self._pending is not None:  # else it has not begun
            self._pending.abort()
            try:
                self._journal.fail(self.checkpoint_id, reason)
            except Exception as error:  # noqa: BLE001  # the checkpoint has failed as it is
                self._log("checkpoint.not_noted", error)
                if isinstance(error, LeaseLostError):
                    self._dispatcher.post(self.on_failed, (self.checkpoint_id, error))

    def _retain(self) -> None:
        try:
            self._journal.retain()
        except Exception as error:  # noqa: BLE001  # what is too old can stay till the next time
            self._log("checkpoint.not_removed", error)
            if isinstance(error, LeaseLostError):
                self._dispatcher.post(self.on_failed, (self.checkpoint_id, error))

    def _log(self, event: str, error: Exception) -> None:
        warning(event, checkpoint_id=self.checkpoint_id, error=said(error))

    def _file(self, name: str) -> CheckpointFile:
        if name not in self._files:
            assert self._pending is not None
            self._files[name] = self._pending.create_file(name)
        return self._files[name]
