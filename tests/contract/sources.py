"""Every publisher that begins a stream, for the contract suite."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from millstream.core.element import Chunk, Control, EndOfInput, Position
from millstream.core.ports import ThreadSpawner
from millstream.core.source import (
    AsyncBatchSource,
    BatchSource,
    OverflowStrategy,
    Source,
    SourceBatch,
    SourceContext,
)
from millstream.engine.channel import Outlet
from millstream.engine.source_driver import AsyncDriver, BatchDriver, Packer, RunDriver
from millstream.engine.source_head import CollectHead, QueuedHead
from tests.contract.stage import PublisherStage
from tests.support.stepping import SteppedLoop, WatchedCondition, wait_until

BATCH = 5  # records in what the sources below yield
CHUNK = 4  # most records in a chunk, so that batches are cut
BUFFER = 10_000


class OutletStage(PublisherStage):
    """A bare outlet, whose owner emits what there is demand for."""

    def __init__(self, records: Sequence[int]) -> None:
        super().__init__()
        self.scheduled = False
        self.publisher = self.outlet = Outlet(self._on_demand, self._on_cancel)
        self._records = deque(records)
        self._cancelled = False
        self._given = 0
        self._on_demand()

    def run_slice(self) -> None:
        while self._records and not self.outlet.done:
            size = min(CHUNK, self.outlet.demand, len(self._records))
            if not size:
                return
            values = [self._records.popleft() for _ in range(size)]
            start = Position(None, self._given)
            self._given += size
            self.outlet.emit(Chunk(values, "outlet", start, start.plus(size), 0))
        self.outlet.control(EndOfInput())
        self.outlet.complete()

    def control(self, element: Control) -> None:
        self.outlet.control(element)

    def cancel_reached_origin(self) -> bool:
        return self._cancelled

    def _on_demand(self) -> None:
        self.dispatcher.schedule(self)

    def _on_cancel(self) -> None:
        self._cancelled = True


class _Batches(BatchSource[int]):
    def __init__(self, records: Sequence[int]) -> None:
        self._records = records

    def read(self, position: Any) -> Iterator[SourceBatch[int]]:
        for start in range(0, len(self._records), BATCH):
            yield self._records[start : start + BATCH], start + BATCH


class BatchStage(PublisherStage):
    """A ``BatchSource``. Its first credit suffices, so its thread can be run to its end at once."""

    def __init__(self, records: Sequence[int]) -> None:
        super().__init__()
        packer = Packer("batches", None, self.clock)
        driver = BatchDriver(_Batches(records), "batches", self.dispatcher, packer, None)
        head = QueuedHead(self.dispatcher, "batches", driver.grant, Position(None, 0), CHUNK)
        driver.head = self.head = head
        self.publisher = head.outlet
        head.open()
        driver.run()

    def control(self, element: Control) -> None:
        self.head.inject(element)

    def cancel_reached_origin(self) -> bool:
        self.dispatcher.run_until_idle()
        return self.head.outlet.done


class _AsyncBatches(AsyncBatchSource[int]):
    def __init__(self, records: Sequence[int]) -> None:
        self._records = records

    async def read(self, position: Any) -> AsyncIterator[SourceBatch[int]]:
        for start in range(0, len(self._records), BATCH):
            yield self._records[start : start + BATCH], start + BATCH


class AsyncBatchStage(PublisherStage):
    """An ``AsyncBatchSource`` on a loop that is stepped."""

    def __init__(self, records: Sequence[int]) -> None:
        super().__init__()
        self.loop = SteppedLoop()
        packer = Packer("batches", None, self.clock)
        driver = AsyncDriver(_AsyncBatches(records), "batches", self.dispatcher, packer, None)
        driver.call_soon = self.loop.call_soon
        head = QueuedHead(self.dispatcher, "batches", driver.grant, Position(None, 0), CHUNK)
        driver.head = self.head = head
        self.publisher = head.outlet
        self.loop.start(driver.run())
        head.open()

    def pump(self) -> bool:
        self.loop.step()
        return self.dispatcher.step()

    def control(self, element: Control) -> None:
        self.head.inject(element)

    def cancel_reached_origin(self) -> bool:
        return self.head.outlet.done

    def close(self) -> None:
        self.loop.close()


class _Collecting(Source[int]):
    def __init__(self, records: Sequence[int]) -> None:
        self._records = records

    def run(self, ctx: SourceContext[int]) -> None:
        for start in range(0, len(self._records), BATCH):
            ctx.collect_batch(self._records[start : start + BATCH])


class CollectStage(PublisherStage):
    """A ``Source`` that waits in ``collect``, on a thread of its own.

    Either that thread runs or the test's: ``pump`` returns when the source waits or has ended.
    """

    def __init__(self, records: Sequence[int]) -> None:
        super().__init__()
        self.head = CollectHead(self.dispatcher, "collecting", None)
        self.head.checkpoint_lock = self._lock = WatchedCondition()
        self.driver = RunDriver(_Collecting(records), self.head)
        self.publisher = self.head.outlet
        self._thread = ThreadSpawner().spawn("collecting", self.driver.run)

    def pump(self) -> bool:
        wait_until(
            lambda: self._lock.waited_for or not self._thread.is_alive(), "the source to wait"
        )
        return self.dispatcher.step()

    def control(self, element: Control) -> None:
        self.head.inject(element)

    def cancel_reached_origin(self) -> bool:
        return self.head.cancelled

    def close(self) -> None:
        self.driver.cancel()
        self._thread.join()


class PushStage(PublisherStage):
    """A source that cannot be slowed, under one of the overflow strategies.

    With BUFFER everything is pushed at once; with the others, which keep nothing, as much as
    there is demand for: what they do with the rest is told in ``test_overflow``.
    """

    def __init__(self, records: Sequence[int], strategy: OverflowStrategy) -> None:
        super().__init__()
        capacity = BUFFER if strategy is OverflowStrategy.BUFFER else 0
        self.head = CollectHead(self.dispatcher, "push", strategy, capacity)
        self.publisher = self.head.outlet
        self._records = records
        self._pushed = 0
        if capacity:
            self._push(len(records))

    def pump(self) -> bool:
        return self._push(self.head.outlet.demand)

    def control(self, element: Control) -> None:
        self.head.inject(element)

    def cancel_reached_origin(self) -> bool:
        return self.head.cancelled

    def _push(self, most: int) -> bool:
        if self._pushed > len(self._records) or self.head.cancelled:
            return False
        values = self._records[self._pushed : self._pushed + most]
        if values:
            self.head.collect_batch(values)
            self._pushed += len(values)
        if self._pushed == len(self._records):
            self._pushed += 1  # the end is told once
            self.head.end()
            return True
        return bool(values)


@dataclass(frozen=True, slots=True)
class SourceSubject:
    """One publisher of the suite."""

    name: str
    stage: Callable[[Sequence[int]], PublisherStage]
    ordered: bool = True

    def start(self, records: Sequence[int]) -> PublisherStage:
        """Return the publisher over these records, with nothing of it begun."""
        return self.stage(records)

    def model(self, records: Sequence[int]) -> list[Any]:
        """Return what should come out."""
        return list(records)

    def __str__(self) -> str:
        return self.name


def _push(strategy: OverflowStrategy) -> SourceSubject:
    return SourceSubject(f"push source, {strategy}", lambda records: PushStage(records, strategy))


SOURCES = (
    SourceSubject("outlet", OutletStage),
    SourceSubject("batch source", BatchStage),
    SourceSubject("async batch source", AsyncBatchStage),
    SourceSubject("collecting source", CollectStage),
    *map(_push, OverflowStrategy),
)
