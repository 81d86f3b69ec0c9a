"""The kinds of state: what a function does with one. Each belongs to the key of the record in hand.

The names are Flink's. What a state gives out is the function's to read, not to change: write it
back by the state's own methods, so that a snapshot in flight sees the old one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Generic, Protocol, TypeVar, overload

from millstream.core.errors import InternalError

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)
T_co = TypeVar("T_co", covariant=True)
K = TypeVar("K")
V = TypeVar("V")
D = TypeVar("D")
IN = TypeVar("IN")
ACC = TypeVar("ACC")
OUT = TypeVar("OUT")


class ValueState(Protocol[T]):
    """One value per key (Flink's ``ValueState``)."""

    def value(self) -> T:
        """Return the current key's value, or the descriptor's default.

        Do not change a value in place: ``update`` with a new one, so that a snapshot in flight
        sees the old one.
        """

    def update(self, value: T) -> None:
        """Set the current key's value."""

    def clear(self) -> None:
        """Forget the current key's value."""


class ListState(Protocol[T]):
    """A list per key (Flink's ``ListState``); an operator state is one, of the operator's own."""

    def get(self) -> Sequence[T]:
        """Return the elements as they are now; later writes do not change what was returned."""

    def add(self, value: T) -> None:
        """Append one element."""

    def add_all(self, values: Iterable[T]) -> None:
        """Append elements."""

    def update(self, values: Iterable[T]) -> None:
        """Put these elements in place of all there are."""

    def clear(self) -> None:
        """Forget the elements."""


class MapState(Protocol[K, V]):
    """A map per key (Flink's ``MapState``).

    ``keys``, ``values`` and ``items`` return what is there now, in no order to count on; the map
    may be changed while they are looped over.
    """

    @overload
    def get(self, key: K) -> V | None: ...
    @overload
    def get(self, key: K, default: D) -> V | D: ...
    def get(self, key: K, default: D | None = None) -> V | D | None:
        """Return a value, or ``default`` where there is none."""

    def put(self, key: K, value: V) -> None:
        """Set a value."""

    def put_all(self, entries: Iterable[tuple[K, V]]) -> None:
        """Set several values, such as ``a_dict.items()``."""

    def remove(self, key: K) -> None:
        """Forget a value, if it is there."""

    def contains(self, key: K) -> bool:
        """Return whether there is a value."""

    def keys(self) -> Sequence[K]:
        """Return the keys."""

    def values(self) -> Sequence[V]:
        """Return the values."""

    def items(self) -> Sequence[tuple[K, V]]:
        """Return keys with their values."""

    def is_empty(self) -> bool:
        """Return whether there are no entries."""

    def clear(self) -> None:
        """Forget all entries."""


class ReducingState(Protocol[T]):
    """All that was added, reduced to one value per key (Flink's ``ReducingState``)."""

    def add(self, value: T) -> None:
        """Reduce a value into what there is; the first one is taken as it is."""

    def get(self) -> T | None:
        """Return the reduced value; None if nothing was added."""

    def clear(self) -> None:
        """Forget what was added."""


class AggregatingState(Protocol[T_contra, T_co]):
    """All that was added, aggregated per key (Flink's ``AggregatingState``)."""

    def add(self, value: T_contra) -> None:
        """Add a value to the key's accumulator."""

    def get(self) -> T_co | None:
        """Return the accumulator's result; None if nothing was added."""

    def clear(self) -> None:
        """Forget the accumulator."""


class AggregateFunction(ABC, Generic[IN, ACC, OUT]):
    """How values become a result by way of an accumulator (Flink's ``AggregateFunction``).

    One instance serves all keys: what belongs to a key goes into its accumulator.

    Example:
        >>> class Mean(AggregateFunction[float, tuple[float, int], float]):
        ...     def create_accumulator(self):
        ...         return 0.0, 0
        ...
        ...     def add(self, value, accumulator):
        ...         return accumulator[0] + value, accumulator[1] + 1
        ...
        ...     def get_result(self, accumulator):
        ...         return accumulator[0] / accumulator[1]
        >>> mean = Mean()
        >>> mean.get_result(mean.add(2.0, mean.add(4.0, mean.create_accumulator())))
        3.0
    """

    @abstractmethod
    def create_accumulator(self) -> ACC:
        """Return the accumulator of nothing."""

    @abstractmethod
    def add(self, value: IN, accumulator: ACC) -> ACC:
        """Return the accumulator with the value in it; it may be the one given, changed."""

    @abstractmethod
    def get_result(self, accumulator: ACC) -> OUT:
        """Return the result of what was added; do not change the accumulator."""

    def merge(self, one: ACC, other: ACC) -> ACC:
        """Return the accumulator of what is in both; a state never asks for it."""
        raise InternalError(f"{type(self).__name__} has no merge(one, other)")
