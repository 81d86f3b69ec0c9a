"""The source's own side of its edge: a thread, or a task on the event loop, that runs user code."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Generic, Protocol, TypeVar

from millstream.core.codec import Lines
from millstream.core.element import Chunk, Position
from millstream.core.errors import CancelledError, SourceError
from millstream.core.ports import Clock
from millstream.core.source import AsyncBatchSource, BatchSource, Source
from millstream.core.validation import validate
from millstream.core.weight import Scale
from millstream.engine.closing import async_closing, closing
from millstream.engine.dispatcher import Dispatcher
from millstream.engine.own_copy import own_copy
from millstream.engine.source_head import CollectHead

S = TypeVar("S", bound=BatchSource[Any] | AsyncBatchSource[Any])


class Head(Protocol):
    """What a driver tells the engine's end of the source."""

    def on_chunk(self, chunk: Chunk) -> None:
        """Take a chunk."""

    def on_end(self, _: object = None) -> None:
        """Note the end."""


class Packer:
    """Makes a chunk of each of a source's batches, however long, with its positions.

    Args:
        uid: the source's uid.
        start: the position that the source is asked to read from.
        clock: where time comes from.

    Attributes:
        sent: records in the chunks so far.
        saved: positions may be saved: they are copied, as the source may change what it yields.
    """

    def __init__(self, uid: str, start: Any, clock: Clock) -> None:
        self._uid = uid
        self._begin = Position(start, 0)  # of the next record
        self._clock = clock
        self._last: tuple[Sequence[Any], int] = ((), 0)  # the batch before, and its length then
        self._scale = Scale()
        self.sent = 0
        self.saved = False

    def go_on_from(self, position: Position) -> None:
        """Leave out what was emitted before: so many records behind a position. Before the run."""
        self._begin = position

    def pack(self, batch: object) -> Chunk:
        """Return one ``(records, position)`` as a chunk.

        Raises:
            SourceError: the batch is not of that form.
        """
        self.check_last()
        records, after = self._checked(batch)
        self._last = (records, len(records))
        begin = self._begin
        if begin.records:
            # The source may cut its batches elsewhere now: what is left is still to be skipped.
            left = max(0, begin.records - len(records))
            records, self._begin = records[begin.records :], Position(after, left)
        else:
            self._begin = Position(after, 0)
        self.sent += len(records)
        weight = self._scale.weigh(records)
        return Chunk(records, self._uid, begin, self._begin, self._clock.now_ms(), weight=weight)

    def check_end(self) -> None:
        """Refuse an end before all is left out that was emitted in an earlier run.

        Raises:
            SourceError: the source has changed since.
        """
        self.check_last()
        if self._begin.records:
            raise SourceError(
                f"source {self._uid!r} ended {self._begin.records:,} records before the saved "
                "position that it was to go on from: it no longer has what was read before; put "
                "it back, or begin anew with --fresh",
                operator_uid=self._uid,
            )

    def check_last(self) -> None:
        """Refuse a source that changed a list after it was yielded: the engine reads it later.

        Raises:
            SourceError: its length is not what it was.
        """
        records, before = self._last
        if len(records) != before:
            raise SourceError(
                f"source {self._uid!r} changed a list of records after it had yielded it (it had "
                f"{before:,} records, now {len(records):,}); yield a new list each time: "
                "batch = [], not batch.clear()",
                operator_uid=self._uid,
            )

    def _checked(self, batch: object) -> tuple[Sequence[Any], Any]:
        try:
            records, after = batch if isinstance(batch, tuple) else ()
        except ValueError:
            raise SourceError(
                f"source {self._uid!r} must yield (records, position); got "
                f"{type(batch).__name__} {str(batch)[:100]}",
                operator_uid=self._uid,
            ) from None
        if not isinstance(records, list | range | tuple | Lines):
            if isinstance(records, str | bytes | dict) or not hasattr(records, "__iter__"):
                raise SourceError(
                    f"source {self._uid!r} must yield (records, position) with a list of records; "
                    f"got {type(records).__name__} {str(records)[:100]}; for one record yield "
                    "([record], position)",
                    operator_uid=self._uid,
                )
            records = list(records)
        if self.saved:
            after = own_copy(after, f"the position of source {self._uid!r}")
        return records, after


class _PositionDriver(Generic[S]):
    """What the drivers of sources that are read from a position share."""

    def __init__(
        self, source: S, uid: str, dispatcher: Dispatcher, packer: Packer, start: Any
    ) -> None:
        self.uid = uid
        self._source = source
        self._dispatcher = dispatcher
        self._packer = packer
        self._start = start
        self.head: Head

    @property
    def sent(self) -> int:
        """Return the records handed over, counted on this side."""
        return self._packer.sent

    def make_snapshots(self) -> None:
        """Have positions that can be saved; before the run."""
        self._packer.saved = True

    def restore(self, position: Position) -> None:
        """Have the source go on from a position, if it can; before the run."""
        start = own_copy(position.base, f"the position of source {self.uid!r}")
        if start is not None:  # else it had not begun
            validate(f"source {self.uid!r}", self._source.validate_position, start)
        self._start = start
        self._packer.go_on_from(position)


class BatchDriver(_PositionDriver[BatchSource[Any]]):
    """Runs a ``BatchSource`` on a thread of its own; it waits only for credit."""

    def __init__(
        self,
        source: BatchSource[Any],
        uid: str,
        dispatcher: Dispatcher,
        packer: Packer,
        start: Any,
    ) -> None:
        super().__init__(source, uid, dispatcher, packer, start)
        self._credits: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._stopping = False

    def grant(self, records: int) -> None:
        """Give credit for more records. From the engine thread."""
        self._credits.put(records)

    def cancel(self) -> None:
        """Make the thread end soon. From the engine thread."""
        self._stopping = True
        self._credits.put(0)  # wakes it
        self._source.cancel()

    drain = cancel

    def run(self) -> None:
        """Read until the source ends or is cancelled."""
        with closing(self._source.close):
            self._source.open()
            if not self._stopping and self._read() and not self._stopping:
                self._dispatcher.post(self.head.on_end)

    def _read(self) -> bool:
        batches = self._source.read(self._start)
        post, on_chunk, packer = self._dispatcher.post_message, self.head.on_chunk, self._packer
        credit, get = 0, self._credits.get
        try:
            for batch in batches:
                while credit <= 0:
                    granted = get()
                    if self._stopping:
                        return False
                    credit += granted
                chunk = packer.pack(batch)
                credit -= chunk.cost
                post((on_chunk, chunk))
                if self._stopping:
                    return False
            packer.check_end()
        finally:
            close = getattr(batches, "close", None)
            if close is not None:
                close()  # run the generator's own finally clauses here, on its thread
        return True


class RunDriver:
    """Runs a ``Source`` on a thread of its own; the head is that source's ``SourceContext``."""

    def __init__(self, source: Source[Any], head: CollectHead) -> None:
        self.uid = head.uid
        self._source = source
        self._head = head

    @property
    def sent(self) -> int:
        """Return the records that were offered, counted on this side."""
        return self._head.offered

    def make_snapshots(self) -> None:
        """Have the head ask the source for its state; before the run."""
        snapshot, what = self._source.snapshot_state, f"the state of source {self.uid!r}"
        self._head.source_state = lambda: own_copy(snapshot(), what)

    def restore(self, position: Position) -> None:
        """Have the source go on from its state, if it can; before the run."""
        for accept in (self._source.validate_position, self._source.restore_state):
            validate(f"source {self.uid!r}", accept, position.base)

    def cancel(self) -> None:
        """Make the thread end soon. From the engine thread."""
        self._head.cancel()
        self._source.cancel()

    drain = cancel

    def run(self) -> None:
        """Run the source until it returns."""
        with closing(self._source.close):
            self._source.open()
            try:
                self._source.run(self._head)
            except CancelledError:
                if not self._head.cancelled:
                    raise
            self._head.end()


class AsyncDriver(_PositionDriver[AsyncBatchSource[Any]]):
    """Runs an ``AsyncBatchSource`` as a task of the event loop."""

    def __init__(
        self,
        source: AsyncBatchSource[Any],
        uid: str,
        dispatcher: Dispatcher,
        packer: Packer,
        start: Any,
    ) -> None:
        super().__init__(source, uid, dispatcher, packer, start)
        self._credit = 0
        self._more: asyncio.Event | None = None
        self._task: asyncio.Task[Any] | None = None
        self._draining = False
        self.call_soon: Callable[..., object]

    def grant(self, records: int) -> None:
        """Give credit for more records. From the engine thread."""
        self.call_soon(self._add_credit, records)

    def drain(self) -> None:
        """Make it end soon, as if its input had ended. From the engine thread."""
        self.call_soon(self._cancel)

    async def run(self) -> None:
        """Read until the source ends or is drained; cancelled as any asyncio task."""
        self._task = asyncio.current_task()
        try:
            if not self._draining:
                await self._run()
        except asyncio.CancelledError:
            if not self._draining:
                raise

    async def _run(self) -> None:
        self._more = asyncio.Event()
        async with async_closing(self._source.close):
            await self._source.open()
            batches = self._source.read(self._start)
            try:
                await self._read(batches)
            finally:
                close = getattr(batches, "aclose", None)
                if close is not None:
                    await close()
            self._dispatcher.post(self.head.on_end)

    async def _read(self, batches: AsyncIterator[Any]) -> None:
        assert self._more is not None
        async for batch in batches:
            while self._credit <= 0:
                self._more.clear()
                await self._more.wait()
            chunk = self._packer.pack(batch)
            self._credit -= chunk.cost
            self._dispatcher.post(self.head.on_chunk, chunk)
        self._packer.check_end()

    def _cancel(self) -> None:
        self._draining = True
        if self._task is not None:
            self._task.cancel()

    def _add_credit(self, records: int) -> None:
        self._credit += records
        if self._more is not None:
            self._more.set()
