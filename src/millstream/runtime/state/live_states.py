"""The live states of the memory backend, of values that live until they are cleared.

The loop sets ``key`` before each record and the table keeps ``_table`` the valid one, so the
methods stay small. Measured in a prototype at 0.87 of a bare reduce, against 0.55 for a look-up
by (name, key).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any, Generic, NoReturn, TypeVar  # Any: state is of any type

from millstream.core.errors import RecordError
from millstream.core.state import (
    AggregatingStateDescriptor,
    ReducingStateDescriptor,
    ValueStateDescriptor,
)
from millstream.core.state_descriptor import StateDescriptor
from millstream.runtime.snapshot.write_check import WriteCheck
from millstream.runtime.state.overlay import MISSING

D = TypeVar("D", bound=StateDescriptor[Any])


class NoKey:
    """Stands for the key where there is no record; a dict refuses it, at no cost later.

    Args:
        what: there is for each key, for the error.
    """

    __slots__ = ("_what",)

    def __init__(self, what: str = "state") -> None:
        self._what = what

    def __hash__(self) -> NoReturn:
        raise RecordError(
            f"a {self._what} belongs to the key of a record, and there is no record here: use it "
            "in process_element or on_timer"
        )


class LiveState(Generic[D]):
    """What the states of one descriptor have in common; it makes nothing of the descriptor.

    Attributes:
        check: what refuses a value that no snapshot can keep; None: there are none.
        key: whose state it is at the moment.
    """

    __slots__ = ("_table", "check", "key")

    def __init__(self, declared: D) -> None:
        self._table: dict[Any, Any]
        self.check: WriteCheck | None = None
        self.key: Hashable = NoKey() if declared.keyed else None

    def clear(self) -> None:
        """Forget what is kept for the current key."""
        self._table.pop(self.key, None)


class LiveValueState(LiveState[ValueStateDescriptor[Any]]):
    """One value per key."""

    __slots__ = ("_default",)

    def __init__(self, declared: ValueStateDescriptor[Any]) -> None:
        super().__init__(declared)
        self._default = declared.default

    def value(self) -> Any:
        """Return the current key's value, or the default."""
        try:
            return self._table[self.key]  # 38 ns against 49 by `get`; a new key costs 0.4 us more
        except KeyError:
            return self._default

    def update(self, value: Any) -> None:
        """Set the current key's value."""
        if self.check is not None:
            self.check(value)
        self._table[self.key] = value


class LiveListState(LiveState[StateDescriptor[Any]]):
    """A list per key; no list is kept where it would be empty."""

    __slots__ = ()

    def get(self) -> tuple[Any, ...]:
        """Return the elements as they are now."""
        return tuple(self._table.get(self.key, ()))

    def add(self, value: Any) -> None:
        """Append one element."""
        if self.check is not None:
            self.check(value)
        values = self._table.get(self.key)
        if values is None:
            self._table[self.key] = [value]
        else:
            values.append(value)

    def add_all(self, values: Iterable[Any]) -> None:
        """Append elements."""
        more = list(values)
        if self.check is not None:
            self.check(more)
        before = self._table.get(self.key)
        if before is not None:
            before.extend(more)
        elif more:
            self._table[self.key] = more

    def update(self, values: Iterable[Any]) -> None:
        """Put these elements in place of all there are."""
        values = list(values)
        if self.check is not None:
            self.check(values)
        if values:
            self._table[self.key] = values
        else:
            self.clear()


class LiveMapState(LiveState[StateDescriptor[Any]]):
    """A map per key; no map is kept where it would be empty."""

    __slots__ = ()

    def get(self, key: Any, default: Any = None) -> Any:
        """Return a value, or ``default`` where there is none."""
        entries = self._table.get(self.key)
        return default if entries is None else entries.get(key, default)

    def put(self, key: Any, value: Any) -> None:
        """Set a value."""
        if self.check is not None:
            self.check((key, value))
        entries = self._table.get(self.key)
        if entries is None:
            self._table[self.key] = {key: value}
        else:
            entries[key] = value

    def put_all(self, entries: Iterable[tuple[Any, Any]]) -> None:
        """Set several values."""
        for key, value in entries:
            self.put(key, value)

    def remove(self, key: Any) -> None:
        """Forget a value, if it is there."""
        entries = self._table.get(self.key)
        if entries is not None and key in entries:
            del entries[key]
            if not entries:
                self.clear()

    def contains(self, key: Any) -> bool:
        """Return whether there is a value."""
        return key in self._table.get(self.key, ())

    def keys(self) -> tuple[Any, ...]:
        """Return the keys."""
        return tuple(self._table.get(self.key, ()))

    def values(self) -> tuple[Any, ...]:
        """Return the values."""
        return tuple(self._table.get(self.key, {}).values())

    def items(self) -> tuple[tuple[Any, Any], ...]:
        """Return keys with their values."""
        return tuple(self._table.get(self.key, {}).items())

    def is_empty(self) -> bool:
        """Return whether there are no entries."""
        return self.key not in self._table


class LiveReducingState(LiveState[ReducingStateDescriptor[Any]]):
    """A value per key into which others are reduced."""

    __slots__ = ("_function",)

    def __init__(self, declared: ReducingStateDescriptor[Any]) -> None:
        super().__init__(declared)
        self._function = declared.function

    def add(self, value: Any) -> None:
        """Reduce a value into what there is."""
        before = self._table.get(self.key, MISSING)
        if before is not MISSING:
            value = self._function(before, value)
        if self.check is not None:
            self.check(value)
        self._table[self.key] = value

    def get(self) -> Any:
        """Return the reduced value, or None."""
        return self._table.get(self.key)


class LiveAggregatingState(LiveState[AggregatingStateDescriptor[Any, Any]]):
    """An accumulator per key."""

    __slots__ = ("_function",)

    def __init__(self, declared: AggregatingStateDescriptor[Any, Any]) -> None:
        super().__init__(declared)
        self._function = declared.function

    def add(self, value: Any) -> None:
        """Add a value to the key's accumulator."""
        before = self._table.get(self.key, MISSING)
        if before is MISSING:
            before = self._function.create_accumulator()
        accumulator = added(self._function, value, before)
        if self.check is not None:
            self.check(accumulator)
        self._table[self.key] = accumulator

    def get(self) -> Any:
        """Return the accumulator's result, or None."""
        accumulator = self._table.get(self.key, MISSING)
        return None if accumulator is MISSING else self._function.get_result(accumulator)


def added(function: Any, value: Any, accumulator: Any) -> Any:
    """Return the accumulator with the value in it.

    Raises:
        RecordError: the function returned None: it has most likely changed the old one in place.
    """
    accumulator = function.add(value, accumulator)
    if accumulator is None:
        raise RecordError(
            f"{type(function).__name__}.add returned None; return the accumulator, also where it "
            "was changed in place"
        )
    return accumulator
