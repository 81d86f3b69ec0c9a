"""What a user's stateful operator implements, and what it is given."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Any, Generic, Self, TypeVar

from millstream.core.errors import RecordError
from millstream.core.state import find_states, take_states
from millstream.core.state_descriptor import UnboundState
from millstream.core.timers import TimerService

IN = TypeVar("IN")
OUT = TypeVar("OUT")


class ProcessContext(Generic[OUT]):
    """What ``process_element`` and ``on_timer`` are given; it lives as long as the operator.

    Attributes:
        collect: emit one record: ``ctx.collect(x)``. Records leave in the order collected.
        current_key: the key of the record in hand, or of the timer.
        side_outputs: for each declared tag, what emits to it; see ``output``.
        timer_service: the time, and the timers of the current key.
        uid: the operator's uid.
    """

    __slots__ = ("collect", "current_key", "side_outputs", "timer_service", "uid")

    def __init__(
        self, uid: str, collect: Callable[[OUT], Any], timer_service: TimerService
    ) -> None:
        self.uid = uid
        self.collect = collect
        self.timer_service = timer_service
        self.current_key: Hashable = None
        self.side_outputs: Mapping[str, Callable[[Any], Any]] = {}

    def output(self, tag: str, value: Any) -> None:
        """Emit one record to a side output.

        Raises:
            RecordError: ``process(side_outputs=…)`` does not name the tag.
        """
        try:
            emit = self.side_outputs[tag]
        except KeyError:
            raise RecordError(
                f"output({tag!r}): no such side output; declare it by "
                f"process(…, side_outputs=[{tag!r}])"
            ) from None
        emit(value)


class KeyedProcessFunction(ABC, Generic[IN, OUT]):
    """A function with state per key (Flink's ``KeyedProcessFunction``).

    All methods run in the engine's thread: none may block or be ``async`` (use ``map_async``
    before it for what waits). Each run works on a copy of the instance the job was given, made
    before ``open``.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        take_states(cls)

    def __new__(cls, *_: Any, **__: Any) -> Self:
        """Make an instance whose states say that they are not there yet."""
        made = super().__new__(cls)
        for attribute in find_states(cls):
            # As a frozen dataclass does it: its own way is barred.
            object.__setattr__(made, attribute, UnboundState(cls.__name__, attribute))
        return made

    def open(self, ctx: ProcessContext[OUT]) -> None:
        """Prepare; called once, before the first record."""

    @abstractmethod
    def process_element(self, value: IN, ctx: ProcessContext[OUT]) -> Iterator[OUT] | None:
        """Take one record; emit by ``ctx.collect``, or be a generator and ``yield``.

        A generator is resumed as downstream asks, so it may yield any number of records in flat
        memory; ``ctx.collect`` holds what one record emits until it is sent.
        """

    def on_timer(self, timestamp: int, ctx: ProcessContext[OUT]) -> Iterator[OUT] | None:
        """Act on a timer of ``ctx.timer_service``; emit as in ``process_element``.

        ``ctx.current_key`` and the states are those of the timer's key. It is called between
        chunks of records, in order of time and then of registering, and never before a timer's
        time. A function that registers timers must have it.

        Args:
            timestamp: the time that the timer was registered for, epoch ms.
            ctx: what ``process_element`` is given.
        """

    def close(self) -> None:
        """Clean up; called once, also after a failure."""
