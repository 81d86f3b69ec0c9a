"""Every subscriber that ends a stream, for the contract suite."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from millstream.core.element import Chunk, Control
from millstream.core.ports import ThreadSpawner
from millstream.core.sink import AsyncSink, Sink, SinkContext
from millstream.engine.channel import Inlet
from millstream.engine.sink_driver import AsyncSinkDriver, SinkDriver
from millstream.engine.sink_edge import SinkEdge
from tests.contract.stage import SubscriberStage, UserCode
from tests.support.stepping import SteppedLoop, wait_until

ROOM = 4  # records that the bare inlet's owner has room for


class InletStage(SubscriberStage):
    """A bare inlet, whose owner takes what comes and asks for more."""

    def __init__(self) -> None:
        super().__init__()
        self.scheduled = False
        self.subscriber = self.inlet = Inlet(self._on_ready, self.failures.append)
        self._taken: list[Any] = []

    def run_slice(self) -> None:
        while self.inlet.queue:
            element = self.inlet.take(ROOM)
            if isinstance(element, Chunk):
                self._taken += map(self.user_code, element.values)
        self.inlet.top_up(ROOM)

    @property
    def taken(self) -> list[Any]:
        return self._taken

    def stop(self) -> None:
        self.inlet.cancel()

    def _on_ready(self) -> None:
        self.dispatcher.schedule(self)


class EdgeStage(SubscriberStage):
    """A sink's edge, with a sink that takes what it was handed when the stage settles."""

    def __init__(self) -> None:
        super().__init__()
        self.handed_over: list[Chunk | Control] = []
        self.subscriber = self.edge = SinkEdge(
            "sink", self.handed_over.append, self.failures.append
        )
        self._taken: list[Any] = []

    def pump(self) -> bool:
        handed_over, self.handed_over[:] = list(self.handed_over), []
        for element in handed_over:
            if isinstance(element, Chunk):
                self._taken += map(self.user_code, element.values)
                self.dispatcher.post(self.edge.on_taken, (len(element), 1_000_000))
        return bool(handed_over)

    @property
    def taken(self) -> list[Any]:
        return self._taken

    def stop(self) -> None:
        self.edge.cancel()


class ListSink(Sink[Any]):
    """Keeps what it takes."""

    def __init__(self, user_code: UserCode) -> None:
        self.user_code = user_code
        self.taken: list[Any] = []

    def invoke(self, value: Any, ctx: SinkContext) -> None:
        self.taken.append(self.user_code(value))


class _CountingEdge(SinkEdge):
    """Counts the records that it was told were taken."""

    told = 0

    def on_taken(self, taken: tuple[int, int]) -> None:
        self.told += taken[0]
        super().on_taken(taken)


class SinkStage(SubscriberStage):
    """A ``Sink`` on a thread of its own; the stage settles when it has taken what it was handed."""

    def __init__(self) -> None:
        super().__init__()
        self.sink = ListSink(self.user_code)
        self.driver = SinkDriver(self.sink, SinkContext("job", "sink"), self.dispatcher)
        self.driver.on_flushed = lambda _: None
        self.edge = _CountingEdge("sink", self.driver.hand_over, self.failures.append)
        self.subscriber = self.driver.edge = self.edge
        self._thread = ThreadSpawner().spawn("sink", self.driver.run)

    def pump(self) -> bool:
        before = self.edge.told
        wait_until(self._quiet, "the sink to take its records")
        return self.edge.told > before

    def _quiet(self) -> bool:
        self.dispatcher.run_until_idle()
        return self.edge.told == self.edge.sent

    @property
    def taken(self) -> list[Any]:
        return self.sink.taken

    def stop(self) -> None:
        self.edge.cancel()

    def close(self) -> None:
        self.driver.cancel()
        self._thread.join()


class AsyncListSink(AsyncSink[Any]):
    """Keeps what it takes."""

    def __init__(self, user_code: UserCode) -> None:
        self.user_code = user_code
        self.taken: list[Any] = []

    async def invoke(self, value: Any, ctx: SinkContext) -> None:
        self.taken.append(self.user_code(value))


class AsyncSinkStage(SubscriberStage):
    """An ``AsyncSink`` on a loop that is stepped."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = SteppedLoop()
        self.sink = AsyncListSink(self.user_code)
        self.driver = AsyncSinkDriver(self.sink, SinkContext("job", "sink"), self.dispatcher)
        self.driver.call_soon = self.loop.call_soon
        self.driver.on_flushed = lambda _: None
        self.edge = SinkEdge("sink", self.driver.hand_over, self.failures.append)
        self.subscriber = self.driver.edge = self.edge
        self.loop.start(self.driver.run())

    def pump(self) -> bool:
        self.loop.step()
        return self.dispatcher.step()

    @property
    def taken(self) -> list[Any]:
        return self.sink.taken

    def stop(self) -> None:
        self.edge.cancel()

    def close(self) -> None:
        self.loop.close()


@dataclass(frozen=True, slots=True)
class SinkSubject:
    """One subscriber of the suite."""

    name: str
    stage: Callable[[], SubscriberStage]
    ordered: bool = True

    def stand(self) -> SubscriberStage:
        """Return the subscriber, not yet subscribed."""
        return self.stage()

    def model(self, records: Sequence[int]) -> list[Any]:
        """Return what should arrive."""
        return list(records)

    def __str__(self) -> str:
        return self.name


SINKS = (
    SinkSubject("inlet", InletStage),
    SinkSubject("sink edge", EdgeStage),
    SinkSubject("sink on a thread", SinkStage),
    SinkSubject("async sink", AsyncSinkStage),
)
