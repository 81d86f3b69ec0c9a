"""A task's outputs: what is made goes out as far as demand goes, and the rest is parked."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence

from millstream.core.element import Chunk, Control, Position
from millstream.engine.chain import Emission, OutputKey
from millstream.engine.channel import Outlet
from millstream.engine.intake import UNBOUNDED, Ratio

_NOWHERE = Chunk((), "", Position(None, 0), Position(None, 0), 0)


class Output:
    """One output of a task, and everybody who takes it.

    Attributes:
        outlets: one for each subscriber.
        ratio: what it is given of the records that the task takes.
    """

    __slots__ = ("outlets", "ratio")

    def __init__(self, outlets: Sequence[Outlet]) -> None:
        self.outlets = outlets
        self.ratio = Ratio()

    @property
    def room(self) -> int:
        """Return the records that all subscribers can take; without any, as many as you like."""
        return min([each.demand for each in self.outlets if not each.done], default=UNBOUNDED)


class Emitter:
    """Sends lists of records as chunks, each with where its records come from.

    Args:
        outputs: how many subscribers each output has.
        on_demand: called when a subscriber asks for more.
        on_cancel: called when one wants nothing more.

    Attributes:
        outputs: what is sent to.
        only: the one outlet, if there is but one.
        ratio: of the first output; of the only one, if there is but one.
        origin: the chunk that what is being emitted was made of.
        parked: records there is no demand for yet; while there are any, nothing new is made.
    """

    def __init__(
        self,
        outputs: Mapping[OutputKey, int],
        on_demand: Callable[[], None],
        on_cancel: Callable[[], None],
    ) -> None:
        self.outputs: dict[OutputKey, Output] = {
            key: Output([Outlet(on_demand, on_cancel) for _ in range(count)])
            for key, count in outputs.items()
        }
        self._all = [outlet for output in self.outputs.values() for outlet in output.outlets]
        self.only = self._all[0] if len(self._all) == 1 else None
        self.ratio = next(iter(self.outputs.values())).ratio
        self.origin = _NOWHERE
        self.parked: deque[Emission] = deque()
        self._begin = _NOWHERE.start  # of what is sent next
        self._exact = False  # what is sent next stands for the origin's records, one for one

    # -- what may be taken ----------------------------------------------------------------------

    def room(self) -> int:
        """Return the records every output can take; all cancelled: none ever."""
        if self.only is not None:
            return self.only.demand
        return min([outlet.demand for outlet in self._all if not outlet.done], default=0)

    def rooms(self, keys: Sequence[OutputKey]) -> list[int]:
        """Return the records that some outputs can take; one that nobody takes, any number."""
        outputs = self.outputs
        return [outputs[key].room if key in outputs else UNBOUNDED for key in keys]

    def at_once(self) -> int:
        """Return the records to take, for the results that are asked for; at least 1."""
        if self.only is not None:
            return self.ratio.at_once(self.only.demand) or 1
        return min([each.ratio.at_once(each.room) for each in self.outputs.values()]) or 1

    def ahead(self, at_source: bool) -> int:
        """Return the records to ask upstream for, for the results that are asked for."""
        if self.only is not None:
            if self.ratio.value == 1.0:
                return self.only.demand
            return self.ratio.ahead(self.only.demand, at_source=at_source)
        outputs = self.outputs.values()
        return min([each.ratio.ahead(each.room, at_source=at_source) for each in outputs])

    def note_taken(self, records: int) -> None:
        """Note that what was sent since the last time was made of so many records."""
        for output in self.outputs.values():
            output.ratio.note(records)

    def forget_made(self) -> None:
        """Note that what was sent since the last time was made of no records."""
        for output in self.outputs.values():
            output.ratio.made = 0

    # -- sending --------------------------------------------------------------------------------

    def begin(self, origin: Chunk, *, exact: bool) -> None:
        """Say what the following records are made of, and whether each has its place in it."""
        self.origin, self._begin, self._exact = origin, origin.start, exact

    def send(self, emission: Emission) -> None:
        """Send records of one output, or park what there is no demand for."""
        key, values = emission
        self.outputs[key].ratio.made += len(values)
        self._exact = self._exact and len(values) == len(self.origin.values)
        self.parked.append(emission)
        self.flush()

    def flush(self) -> None:
        """Send what is parked, as far as demand goes."""
        parked, origin = self.parked, self.origin
        while parked:
            key, values = parked[0]
            output = self.outputs[key]
            room = output.room
            if room <= 0:
                return
            if len(values) <= room:
                parked.popleft()
            else:
                parked[0] = (key, values[room:])
                values = values[:room]
            begin, exact = self._begin, self._exact
            if exact:
                self._begin = begin.plus(len(values))
            for number, outlet in enumerate(output.outlets):
                own = values[:] if number else values  # a sink may change the list it is given
                place = (origin.split, begin, origin.end, origin.ingested_ms)
                outlet.emit(Chunk(own, *place, exact=exact, weight=origin.weight))

    def control(self, element: Control) -> None:
        """Send a control element to everybody."""
        for outlet in self._all:
            outlet.control(element)

    def complete(self) -> None:
        """End all streams."""
        for outlet in self._all:
            outlet.complete()

    def error(self, error: BaseException) -> None:
        """End all streams with a failure."""
        for outlet in self._all:
            outlet.error(error)

    @property
    def cancelled(self) -> bool:
        """Return whether nobody wants anything more."""
        return all(outlet.done for outlet in self._all)
