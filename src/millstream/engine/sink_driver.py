"""The sink's own side of its edge: a thread, or a task on the event loop, that runs user code."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from operator import length_hint
from typing import Any

from millstream.core.element import Barrier, Chunk, Control, EndOfInput
from millstream.core.errors import SinkError
from millstream.core.sink import AsyncSink, Sink, SinkContext
from millstream.core.two_phase import StatefulSink
from millstream.core.wording import placed, said
from millstream.engine.closing import async_closing, closing
from millstream.engine.dispatcher import Dispatcher
from millstream.engine.own_copy import own_copy
from millstream.engine.sink_edge import SinkEdge

_FINISH, _LEAVE, _STOP = "finish", "leave", "stop"


@dataclass(frozen=True, slots=True)
class Commit:
    """Tells a sink that a checkpoint is complete."""

    checkpoint_id: int


Item = Chunk | Control | Commit | str

SinkPart = dict[str, Any]
"""What a sink has in a snapshot, as plain values: its ``state``, or its ``handles``; or nothing."""

Flushed = tuple[str, Control, SinkPart]
"""A sink's uid, the barrier or the end that it has flushed behind, its part of the snapshot."""


class SinkDriver:
    """Runs a ``Sink`` on a thread of its own; it waits only for its queue.

    Attributes:
        taken: records the sink took, counted on this side.
        on_flushed: told in the engine thread of each barrier and of the end, behind the flush.
        busy_since_ns: when the call in hand began; 0 between calls. The watchdog reads it.
        checkpointed: the run makes checkpoints.
    """

    def __init__(self, sink: Sink[Any], ctx: SinkContext, dispatcher: Dispatcher) -> None:
        self.uid = ctx.uid
        self.taken = 0
        self.busy_since_ns = 0
        self.checkpointed = False
        self.edge: SinkEdge
        self.on_flushed: Callable[[Flushed], None]
        self._sink = sink
        self._ctx = ctx
        self._dispatcher = dispatcher
        self._items: queue.SimpleQueue[Item] = queue.SimpleQueue()
        self._stopping = False
        self._restored: SinkPart = {}
        self._in_hand: list[Any] = []
        self._records: Iterator[Any] = iter(())  # over what is in hand
        self._left = 0  # records in hand that a cancel has taken away again
        # The plain loop over `invoke` is written here as well, where it can tell which record.
        self._per_record = type(sink).invoke_batch is Sink.invoke_batch
        self.hand_over = self._items.put

    @property
    def stateful(self) -> bool:
        """Return whether the sink has a state of its own in snapshots."""
        return isinstance(self._sink, StatefulSink)

    def finish(self) -> None:
        """Let the result appear: the whole input was taken, and adds up. From the engine thread."""
        self._items.put(_FINISH)

    def leave(self) -> None:
        """Make the thread end without finishing, behind all it was told. From the engine thread."""
        self._items.put(_LEAVE)

    def cancel(self) -> None:
        """Make the thread end soon, without finishing. From the engine thread."""
        self._stopping = True
        self._left = self._left or length_hint(self._records)  # it may be told twice
        self._in_hand.clear()  # ends the loop over it at the next record, without a test for each
        self._items.put(_STOP)

    def restore(self, part: SinkPart) -> None:
        """Have the sink go on from its part of a snapshot; before the run."""
        self._restored = part

    def commit(self, checkpoint_id: int) -> None:
        """Do nothing: what the sink took is there already, or appears at the end."""

    def run(self) -> None:
        """Serve the sink until it may finish, or is cancelled."""
        with closing(self._close):
            self._open()
            self._serve()

    def _serve(self) -> None:
        get = self._items.get
        while True:
            item = get()
            if self._stopping or item in (_FINISH, _LEAVE):
                break
            self._take(item)
        if not self._stopping and item == _FINISH:
            self._finish()

    def step(self) -> bool:
        """Take one item without waiting, for tests; return whether there was one."""
        if self._items.empty():
            return False
        self._take(self._items.get())
        return True

    def _take(self, item: Item) -> None:
        if isinstance(item, Chunk):
            self._invoke(item)
        elif isinstance(item, Barrier | EndOfInput):
            part = self._flush(item)
            self._dispatcher.post(self.on_flushed, (self.uid, item, part))
        elif isinstance(item, Commit):
            self._commit(item.checkpoint_id)

    def _open(self) -> None:
        if isinstance(self._sink, StatefulSink) and "state" in self._restored:
            self._timed(self._sink.restore_state, self._restored["state"])
        self._timed(self._sink.open, self._ctx)

    def _flush(self, _: Control) -> SinkPart:
        self._timed(self._sink.flush)
        if self.checkpointed and isinstance(self._sink, StatefulSink):
            state = self._timed(self._sink.snapshot_state)
            return {"state": own_copy(state, f"the state of sink {self.uid!r}")}
        return {}

    def _commit(self, checkpoint_id: int) -> None:
        """Let what belongs to a checkpoint appear."""

    def _finish(self) -> None:
        self._timed(self._sink.finish)

    def _close(self) -> None:
        self._timed(self._sink.close)

    def _invoke(self, chunk: Chunk) -> None:
        records = len(chunk.values)
        begun = self.busy_since_ns = self._dispatcher.clock.monotonic_ns()
        if self._per_record:
            self._invoke_each(chunk)
        else:
            try:
                self._sink.invoke_batch(chunk.values, self._ctx)
            except BaseException as error:  # also of a sink that says sys.exit()
                raise _failed(self.uid, f"{records} records from {chunk.start}", error) from error
        self.busy_since_ns = 0
        self.taken += records - self._left
        elapsed_ns = self._dispatcher.clock.monotonic_ns() - begun
        self._dispatcher.post(self.edge.on_taken, (records, elapsed_ns))

    def _invoke_each(self, chunk: Chunk) -> None:
        invoke, ctx = self._sink.invoke, self._ctx
        # A copy: a cancel empties it, and the list itself may be somebody else's as well.
        self._in_hand = list(chunk.values)
        records = self._records = iter(self._in_hand)
        if self._stopping:
            self.cancel()  # it came before there was something in hand
        try:
            for record in records:
                invoke(record, ctx)
        except BaseException as error:
            index = len(chunk.values) - length_hint(records) - 1
            raise _failed(self.uid, _record(chunk, index), error) from error

    def _timed(self, call: Callable[..., Any], *arguments: Any) -> Any:
        self.busy_since_ns = self._dispatcher.clock.monotonic_ns()
        try:
            return call(*arguments)
        except BaseException as error:
            raise SinkError(
                f"sink {self.uid!r}: {call.__name__}() failed: {said(error)}",
                operator_uid=self.uid,
            ) from error
        finally:
            self.busy_since_ns = 0


class AsyncSinkDriver:
    """Runs an ``AsyncSink`` as a task of the event loop.

    Attributes:
        taken: records the sink took, counted on this side.
        on_flushed: told in the engine thread of each barrier and of the end, behind the flush.
        checkpointed: the run makes checkpoints.
    """

    def __init__(self, sink: AsyncSink[Any], ctx: SinkContext, dispatcher: Dispatcher) -> None:
        self.uid = ctx.uid
        self.taken = 0
        self.edge: SinkEdge
        self.on_flushed: Callable[[Flushed], None]
        self.call_soon: Callable[..., object]
        self._sink = sink
        self._ctx = ctx
        self._dispatcher = dispatcher
        self._items: asyncio.Queue[Item] = asyncio.Queue()
        self._per_record = type(sink).invoke_batch is AsyncSink.invoke_batch
        self.checkpointed = False

    def restore(self, part: SinkPart) -> None:
        """Do nothing: such a sink keeps nothing in a snapshot."""

    def commit(self, checkpoint_id: int) -> None:
        """Do nothing: what the sink took is there already."""

    def hand_over(self, item: Chunk | Control) -> None:
        """Queue a chunk or a control element. From the engine thread."""
        self.call_soon(self._items.put_nowait, item)

    def finish(self) -> None:
        """Let the result appear: the whole input was taken, and adds up. From the engine thread."""
        self.call_soon(self._items.put_nowait, _FINISH)

    async def run(self) -> None:
        """Serve the sink until it may finish; cancelled as any asyncio task."""
        sink = self._sink
        async with async_closing(lambda: self._named(sink.close)):
            await self._named(sink.open, self._ctx)
            while True:
                item = await self._items.get()
                if isinstance(item, Chunk):
                    await self._invoke(item)
                elif isinstance(item, Barrier | EndOfInput):
                    await self._named(sink.flush)
                    self._dispatcher.post(self.on_flushed, (self.uid, item, {}))
                elif item == _FINISH:
                    await self._named(sink.finish)
                    return

    async def _invoke(self, chunk: Chunk) -> None:
        records = len(chunk.values)
        begun = self._dispatcher.clock.monotonic_ns()
        if self._per_record:
            await self._invoke_each(chunk)
        else:
            try:
                await self._sink.invoke_batch(chunk.values, self._ctx)
            except Exception as error:
                raise _failed(self.uid, f"{records} records from {chunk.start}", error) from error
        self.taken += records
        self._dispatcher.post(
            self.edge.on_taken, (records, self._dispatcher.clock.monotonic_ns() - begun)
        )

    async def _invoke_each(self, chunk: Chunk) -> None:
        invoke, ctx = self._sink.invoke, self._ctx
        for index, record in enumerate(chunk.values):
            try:
                await invoke(record, ctx)
            except Exception as error:
                raise _failed(self.uid, _record(chunk, index), error) from error

    async def _named(self, call: Callable[..., Any], *arguments: Any) -> None:
        try:
            await call(*arguments)
        except Exception as error:
            raise SinkError(
                f"sink {self.uid!r}: {call.__name__}() failed: {said(error)}",
                operator_uid=self.uid,
            ) from error


def _record(chunk: Chunk, index: int) -> str:
    return placed(chunk.values[index], chunk.position_of(index), exact=chunk.exact)


def _failed(uid: str, what: str, error: BaseException) -> SinkError:
    return SinkError(f"sink {uid!r} failed on {what}: {said(error)}", operator_uid=uid)
