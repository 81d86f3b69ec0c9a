"""Operators in their tasks: as publishers behind a feed, and as subscribers before a probe."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from millstream.core.element import Control
from millstream.engine.async_task import AsyncTask
from millstream.engine.channel import Inlet, Outlet
from millstream.engine.task import Task
from tests.contract.operators import AsyncSubject, TaskSubject
from tests.contract.stage import PublisherStage, Stage, SubscriberStage
from tests.support.probe import MAX_DEMAND, Feed, Probe
from tests.support.stepping import SteppedLoop

Subject = TaskSubject | AsyncSubject


class ProcessorStage(Stage):
    """A task, its inlets free and all outlets but one drained.

    Attributes:
        inlets: where records enter.
        outlet: where the records of interest leave.
        task: the processor.
        rest: what the other outlets gave.
    """

    def __init__(self, subject: Subject) -> None:
        super().__init__()
        self.loop: SteppedLoop | None = None
        self.rest: list[Probe] = []
        if isinstance(subject, AsyncSubject):
            self._make_async(subject)
        else:
            self._make(subject)

    def _make(self, subject: TaskSubject) -> None:
        task = Task(
            self.dispatcher,
            subject.chain(self.user_code),
            inputs=subject.inputs,
            outputs=dict.fromkeys(subject.outputs, 1),
            on_failure=self.failures.append,
        )
        first, *others = (task.emitter.outputs[key].outlets[0] for key in subject.outputs)
        for other in others:
            self.rest.append(Probe(request=MAX_DEMAND))
            other.subscribe(self.rest[-1])
        self.task: Task | AsyncTask = task
        self.inlets: list[Inlet] = task.inlets
        self.outlet: Outlet = first
        task.open()

    def _make_async(self, subject: AsyncSubject) -> None:
        self.loop = SteppedLoop()
        operator = subject.operator(self.user_code)
        task = AsyncTask(self.dispatcher, "op", operator, self.loop, self.failures.append)
        self.task, self.inlets, self.outlet = task, task.inlets, task.outlet

    def pump(self) -> bool:
        if self.loop is None:
            return False
        self.loop.step()
        return self.dispatcher.step()

    def close(self) -> None:
        self.task.close()
        if self.loop is not None:
            self.loop.close()


class ProcessorAsPublisher(ProcessorStage, PublisherStage):
    """Fed with items as far as it asks for them; with two inputs, by turns.

    Args:
        subject: the operator.
        items: records, and control elements in their place; these go to every input.
    """

    def __init__(self, subject: Subject, items: Iterable[Any]) -> None:
        super().__init__(subject)
        self.publisher = self.outlet
        count = len(self.inlets)
        items = list(items)
        self.feeds = [Feed(_share(items, number, count)) for number in range(count)]
        for feed, inlet in zip(self.feeds, self.inlets, strict=True):
            feed.subscribe(inlet)

    def pump(self) -> bool:
        moved = [feed.pump() for feed in self.feeds]
        return super().pump() or any(moved)

    def control(self, element: Control) -> None:
        for feed in self.feeds:
            feed.control(element)

    def fail(self, error: BaseException) -> None:
        """Let the upstream fail."""
        self.feeds[0].error(error)

    def cancel_reached_origin(self) -> bool:
        for other in self.rest:
            other.cancel()
        return all(feed.cancelled or feed.ended for feed in self.feeds)


class ProcessorAsSubscriber(ProcessorStage, SubscriberStage):
    """Drained without limit; of several inputs the first is looked at, the others have ended."""

    def __init__(self, subject: Subject) -> None:
        super().__init__(subject)
        self.subscriber = self.inlets[0]
        self.drain = Probe(request=MAX_DEMAND)
        self.outlet.subscribe(self.drain)
        for inlet in self.inlets[1:]:
            feed = Feed(())
            feed.subscribe(inlet)
            feed.pump()

    @property
    def taken(self) -> list[Any]:
        return self.drain.records

    def stop(self) -> None:
        self.drain.cancel()
        for probe in self.rest:
            probe.cancel()


@dataclass(frozen=True, slots=True)
class ProcessorSubject:
    """One processor of the suite, from both its sides."""

    operator: Subject

    @property
    def ordered(self) -> bool:
        return self.operator.ordered

    def start(self, records: Sequence[Any]) -> ProcessorAsPublisher:
        """Return the processor behind a feed of these records."""
        return ProcessorAsPublisher(self.operator, records)

    def stand(self) -> ProcessorAsSubscriber:
        """Return the processor before a probe that takes everything."""
        return ProcessorAsSubscriber(self.operator)

    def model(self, records: Sequence[int]) -> list[Any]:
        """Return what should come out."""
        return self.operator.model(records)

    def __str__(self) -> str:
        return self.operator.name


def _share(items: Sequence[Any], number: int, count: int) -> list[Any]:
    shared, records = [], 0
    for item in items:
        if isinstance(item, Control):
            shared.append(item)
        else:
            if records % count == number:
                shared.append(item)
            records += 1
    return shared
