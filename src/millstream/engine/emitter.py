"""A task's outputs: what is made goes out as far as demand goes, and the rest is parked."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from millstream.core.element import Chunk, Control, Position
from millstream.engine.chain import Emission, OutputKey
from millstream.engine.channel import Outlet

_NOWHERE = Chunk((), "", Position(None, 0), Position(None, 0), 0)


class Emitter:
    """Sends lists of records as chunks, each with where its records come from.

    Args:
        outputs: how many subscribers each output has.
        on_demand: called when a subscriber asks for more.
        on_cancel: called when one wants nothing more.

    Attributes:
        outlets: of each output.
        only: the one outlet, if there is but one.
        origin: the chunk that what is being emitted was made of.
        parked: records there is no demand for yet; while there are any, nothing new is made.
    """

    def __init__(
        self,
        outputs: Mapping[OutputKey, int],
        on_demand: Callable[[], None],
        on_cancel: Callable[[], None],
    ) -> None:
        self.outlets: dict[OutputKey, list[Outlet]] = {
            key: [Outlet(on_demand, on_cancel) for _ in range(count)]
            for key, count in outputs.items()
        }
        self._all = [outlet for group in self.outlets.values() for outlet in group]
        self.only = self._all[0] if len(self._all) == 1 else None
        self.origin = _NOWHERE
        self.parked: deque[Emission] = deque()
        self._begin = _NOWHERE.start  # of what is sent next
        self._exact = False  # what is sent next stands for the origin's records, one for one

    def room(self) -> int:
        """Return the records every output can take; all cancelled: none ever."""
        if self.only is not None:
            return self.only.demand
        return min([outlet.demand for outlet in self._all if not outlet.done], default=0)

    def begin(self, origin: Chunk, *, exact: bool) -> None:
        """Say what the following records are made of, and whether each has its place in it."""
        self.origin, self._begin, self._exact = origin, origin.start, exact

    def send(self, emission: Emission) -> None:
        """Send records of one output, or park what there is no demand for."""
        self._exact = self._exact and len(emission[1]) == len(self.origin.values)
        self.parked.append(emission)
        self.flush()

    def send_only(self, values: Sequence[Any]) -> None:
        """Send records of the only output."""
        self.send((next(iter(self.outlets)), values))

    def flush(self) -> None:
        """Send what is parked, as far as demand goes."""
        parked, origin = self.parked, self.origin
        while parked:
            key, values = parked[0]
            outlets = self.outlets[key]
            room = min([each.demand for each in outlets if not each.done], default=len(values))
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
            for outlet in outlets:
                outlet.emit(
                    Chunk(values, origin.split, begin, origin.end, origin.ingested_ms, exact=exact)
                )

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
