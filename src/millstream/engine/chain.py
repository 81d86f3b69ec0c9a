"""A task's operators in order: loops, and functions of whole lists between them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from millstream.core.accounting import OperatorCounts
from millstream.core.element import CHUNK_SIZE
from millstream.core.errors import OperatorError
from millstream.core.job_graph import OperatorKind
from millstream.core.wording import said
from millstream.engine.segment import Outs, RecordFailed, Segment
from millstream.operators.aggregate import AggregateBy
from millstream.operators.process import LiveProcess
from millstream.runtime.state.base import Timers

OutputKey = tuple[str, str | None]
"""An output of a task: the operator it leaves, and the side output's tag (None: the main one)."""

Emission = tuple[OutputKey, Sequence[Any]]
"""Records for one output."""


class BatchStep:
    """``map_batches``: a call per list.

    Attributes:
        received: records taken.
        emitted: records given.
    """

    def __init__(
        self,
        operator_id: str,
        function: Callable[[Sequence[Any]], Iterable[Any]],
        max_size: int,
    ) -> None:
        self.id = operator_id
        self.ids = (operator_id,)
        self._function = function
        self._max_size = max_size
        self.received = 0
        self.emitted = 0

    def outputs(self, values: Sequence[Any], limit: list[int]) -> Iterator[Outs]:
        """Yield what the function gives for the records, cut where ``limit`` says.

        Raises:
            RecordFailed: with the callback's own exception as its cause.
        """
        for start in range(0, len(values), self._max_size):
            batch = values[start : start + self._max_size]
            self.received += len(batch)
            try:
                results = iter(self._function(batch))
                # Not in smaller pieces than its records came in: what follows is called for each.
                while out := list(islice(results, max(len(batch), limit[0]))):
                    self.emitted += len(out)
                    yield [out]
            except GeneratorExit:
                raise  # nobody wants the rest
            except BaseException as error:  # also of a function that says sys.exit()
                raise RecordFailed(self.id, start, batch, batch=True) from error


class Chain:
    """The steps of one task.

    Args:
        name: the task's name.
        steps: in order; none at all passes records through.
        last: the id of the task's last operator, whose output is the main one.

    Attributes:
        limit: a box with the number of records that downstream takes now.
        finished: operators whose final results were emitted before the run was restored.
    """

    def __init__(self, name: str, steps: Sequence[Segment | BatchStep], last: str) -> None:
        self.name = name
        self._steps = tuple(steps)
        self._main: OutputKey = (last, None)
        self._drained: dict[str, int] = {}
        self.limit = [CHUNK_SIZE]
        self.finished: frozenset[str] = frozenset()

    @property
    def eager(self) -> bool:
        """Return whether ``process`` makes all it will make of its records at once."""
        return all(isinstance(step, Segment) and not step.lazy for step in self._steps)

    @property
    def eager_loop(self) -> Segment | None:
        """Return its one loop, if it is one, and makes at once all it will make."""
        segment = next(self.segments, None)
        return segment if segment is not None and self.eager and len(self._steps) == 1 else None

    @property
    def outputs(self) -> tuple[OutputKey, ...]:
        """Return the outputs of its one loop, in that one's order."""
        return (self._main, *(each for segment in self.segments for each in segment.side_outputs))

    @property
    def one_list(self) -> bool:
        """Return whether records become one list, made at once."""
        loop = self.eager_loop
        return not self._steps or (loop is not None and not loop.side_outputs)

    @property
    def in_place(self) -> bool:
        """Return whether a record becomes at most one, and all of them one list."""
        loop = self.eager_loop
        return not self._steps or (loop is not None and loop.simple)

    @property
    def skipped(self) -> int:
        """Return how many blank lines were left out of what came raw."""
        return sum(segment.skipped for segment in self.segments)

    def begins_with(self, operator_id: str) -> bool:
        """Return whether an operator takes the task's own records, not what a step made of them."""
        return not any(operator_id in step.ids for step in self._steps[1:])

    @property
    def by_record(self) -> bool:
        """Return whether no step is called with lists, which are better long."""
        return not any(isinstance(step, BatchStep) for step in self._steps)

    @property
    def silent(self) -> bool:
        """Return whether nothing leaves before the input has ended."""
        return any(segment.silent for segment in self.segments)

    @property
    def has_steps(self) -> bool:
        """Return whether it is more than a way through."""
        return bool(self._steps)

    def emitted(self, output: OutputKey) -> int:
        """Return how many records its steps have made for an output."""
        for segment in self.segments:
            if output in segment.side_outputs:
                return segment.emitted[1 + segment.side_outputs.index(output)]
        last = self._steps[-1]
        if isinstance(last, BatchStep):
            return last.emitted
        return last.emitted[0] + sum(self._drained.get(each, 0) for each, _ in last.drains)

    def aside(self, operator_id: str) -> int:
        """Return how many records an operator has made for its side outputs."""
        return sum(
            segment.emitted[1 + number]
            for segment in self.segments
            for number, (owner, _) in enumerate(segment.side_outputs)
            if owner == operator_id
        )

    @property
    def uids(self) -> frozenset[str]:
        """Return the uids of its operators, which own its state."""
        return frozenset(
            each.uid for segment in self.segments for each in segment.operators if each.uid
        )

    @property
    def emits_at_end(self) -> frozenset[str]:
        """Return the operators that hold something for the end of their input."""
        found: set[str] = set()
        for segment in self.segments:
            found.update(operator for operator, _ in segment.drains)
            timed = segment.timed()
            if timed is not None:
                found.add(timed[0])
        return frozenset(found)

    @property
    def segments(self) -> Iterator[Segment]:
        """Yield the generated loops."""
        return (step for step in self._steps if isinstance(step, Segment))

    def process(self, values: Sequence[Any]) -> Iterator[Emission]:
        """Yield what the records become, a list at a time."""
        if not self._steps:
            yield self._main, values
        else:
            yield from self._flow(0, values)

    def timers(self) -> list[Timers]:
        """Return the timers of each operator that has some, and whose input had not ended."""
        return [each.timers for _, _, each in self._timed() if each.timers is not None]

    def fire(self, in_time: Callable[[], bool], *, at_end: bool = False) -> Iterator[Emission]:
        """Yield what becomes of timers that are due; not all of them, if it takes long.

        Args:
            in_time: returns whether another timer may be fired now.
            at_end: the input has ended: all of them, and an empty list where time is up.

        Raises:
            OperatorError: ``on_timer`` failed.
        """
        for number, segment, _ in self._timed():
            if not at_end and (self.limit[0] <= 0 or not in_time()):
                return
            for outs in segment.fire(self.limit, in_time, at_end=at_end):
                for key, out in zip(segment.side_outputs, outs[1:], strict=True):
                    if out:
                        yield key, out
                if outs[0]:
                    yield from self._hand_on(number, outs[0])
                elif at_end:
                    yield self._main, ()

    def _timed(self) -> Iterator[tuple[int, Segment, LiveProcess]]:
        for number, step in enumerate(self._steps):
            timed = step.timed() if isinstance(step, Segment) else None
            if isinstance(step, Segment) and timed is not None and timed[0] not in self.finished:
                yield number, step, timed[1]

    def finish(self, in_time: Callable[[], bool]) -> Iterator[Emission]:
        """Yield what operators still hold, now that the input has ended; first, of timers."""
        yield from self.fire(in_time, at_end=True)
        for number, step in enumerate(self._steps):
            if isinstance(step, Segment):
                for operator, drain in step.drains:
                    if operator in self.finished:
                        continue
                    results = drain()
                    while values := _next(results, operator):
                        self._drained[operator] = self._drained.get(operator, 0) + len(values)
                        yield from self._hand_on(number, values)

    def counts(self) -> Mapping[str, OperatorCounts]:
        """Return what each operator has counted."""
        counts: dict[str, OperatorCounts] = {}
        for step in self._steps:
            if isinstance(step, Segment):
                counts.update(_segment_counts(step, self._drained))
            else:
                counts[step.id] = _net(step.id, step.received, step.emitted)
        return counts

    def close(self) -> None:
        """Release what the generated functions hold."""
        for segment in self.segments:
            segment.close()

    def _flow(self, first: int, values: Sequence[Any]) -> Iterator[Emission]:
        """Yield what steps from ``first`` on make of ``values``, each resumed as it is needed.

        A stack of what each step has still to give, where recursion would have a limit of some 500
        steps.
        """
        steps, limit = self._steps, self.limit
        running = [steps[first].outputs(values, limit)]
        while running:
            outs = next(running[-1], None)
            if outs is None:
                running.pop()
                continue
            number = first + len(running) - 1
            step = steps[number]
            if isinstance(step, Segment):
                for key, out in zip(step.side_outputs, outs[1:], strict=True):
                    if out:
                        yield key, out
            if not outs[0]:
                yield self._main, ()  # nothing, but the engine looks at its inbox in between
            elif number + 1 < len(steps):
                running.append(steps[number + 1].outputs(outs[0], limit))
            else:
                yield self._main, outs[0]

    def _hand_on(self, number: int, values: Sequence[Any]) -> Iterator[Emission]:
        if number + 1 < len(self._steps):
            yield from self._flow(number + 1, values)
        else:
            yield self._main, values


def _next(results: Iterator[Any], operator: str) -> list[Any]:
    """Return the next final results of an operator.

    Raises:
        OperatorError: the user's code for one of them failed.
    """
    try:
        return list(islice(results, CHUNK_SIZE))
    except BaseException as error:  # also of a function that says sys.exit()
        raise OperatorError(
            f"operator {operator!r} failed on a final result: {said(error)}",
            operator_uid=operator,
        ) from error


def _segment_counts(segment: Segment, drained: Mapping[str, int]) -> dict[str, OperatorCounts]:
    """Return each operator's counts, from the loop's counters and the lengths of its lists.

    What an operator in the middle takes is what the one before it passed on; what the last one
    gave is measured by the lists it filled, so a record lost on the way makes it not add up.
    """
    counts: dict[str, OperatorCounts] = {}
    records = segment.received
    for number, each in enumerate(segment.operators):
        is_last = number + 1 == len(segment.operators)
        filtered = segment.term(each.id, "filtered")
        if each.operator.kind is OperatorKind.FLAT_MAP:
            results = segment.term(each.id, "results")
            emitted = sum(segment.emitted) if is_last else results
            change = results - records
            counts[each.id] = OperatorCounts(
                each.id, records, emitted, created=max(0, change), absorbed=max(0, -change)
            )
        elif each.operator.kind is OperatorKind.PROCESS:
            emitted = sum(segment.emitted)
            counts[each.id] = _net(each.id, records, emitted, created=segment.fired)
        elif isinstance(each.operator, AggregateBy) and each.operator.ends_segment:
            emitted = drained.get(each.id, 0)
            counts[each.id] = OperatorCounts(
                each.id, records, emitted, created=emitted, absorbed=records
            )
        else:
            emitted = sum(segment.emitted) if is_last else records - filtered
            counts[each.id] = OperatorCounts(each.id, records, emitted, filtered=filtered)
        records = emitted
    return counts


def _net(operator_id: str, received: int, emitted: int, created: int = 0) -> OperatorCounts:
    """Return the counts of a function that emits what it likes, some of it without a record."""
    change = emitted - created - received
    return OperatorCounts(
        operator_id, received, emitted, created=created + max(0, change), absorbed=max(0, -change)
    )
