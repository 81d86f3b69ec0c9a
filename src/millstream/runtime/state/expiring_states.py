"""The live states of the memory backend, of values that expire.

What is kept is ``(value, updated ms)``: of a list each element is that, of a map each value. Flink
keeps the same in its ``TtlValue``, so that a value may be given another time to live later.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any  # state is of any type

from millstream.core.errors import InternalError
from millstream.core.state_descriptor import StateDescriptor
from millstream.runtime.state.live_states import LiveState, added
from millstream.runtime.state.overlay import MISSING

Stamped = tuple[Any, int]


class StateTime:
    """The time by which state expires: that of the last ``tick``.

    Attributes:
        now_ms: epoch ms.
    """

    __slots__ = ("now_ms",)

    def __init__(self) -> None:
        self.now_ms = 0


def unexpired(kind: str, kept: Any, after_ms: int) -> Any:
    """Return what has not expired of what is kept for a key; MISSING if that is nothing.

    Args:
        kind: the state's kind.
        kept: with its times.
        after_ms: what was updated later than that has not expired.
    """
    if kind == "list":
        left: Any = [each for each in kept if each[1] > after_ms]
    elif kind == "map":
        left = {key: each for key, each in kept.items() if each[1] > after_ms}
    else:
        return kept if kept[1] > after_ms else MISSING
    if len(left) == len(kept):
        return kept
    return left or MISSING


class ExpiringState(LiveState[StateDescriptor[Any]]):
    """What expiring states have in common, and how a single value is kept."""

    __slots__ = ("_on_read", "_time", "_ttl_ms")

    def __init__(self, declared: StateDescriptor[Any], time: StateTime) -> None:
        super().__init__(declared)
        if declared.ttl is None:
            raise InternalError(f"state {declared.name!r} does not expire")
        self._time = time
        self._ttl_ms = declared.ttl.ttl_ms
        self._on_read = declared.ttl.on_read

    def _read(self) -> Any:
        """Return the single value, or MISSING."""
        stamped = self._table.get(self.key)
        if stamped is None:
            return MISSING
        if stamped[1] <= self._time.now_ms - self._ttl_ms:
            self.clear()
            return MISSING
        if self._on_read:
            self._write(stamped[0])
        return stamped[0]

    def _write(self, value: Any) -> None:
        if self.check is not None:
            self.check(value)
        self._table[self.key] = (value, self._time.now_ms)


class ExpiringValueState(ExpiringState):
    """One value per key."""

    __slots__ = ("_default",)

    def __init__(self, declared: Any, time: StateTime) -> None:
        super().__init__(declared, time)
        self._default = declared.default

    def value(self) -> Any:
        """Return the current key's value, or the default."""
        value = self._read()
        return self._default if value is MISSING else value

    def update(self, value: Any) -> None:
        """Set the current key's value."""
        self._write(value)


class ExpiringReducingState(ExpiringState):
    """A value per key into which others are reduced."""

    __slots__ = ("_function",)

    def __init__(self, declared: Any, time: StateTime) -> None:
        super().__init__(declared, time)
        self._function = declared.function

    def add(self, value: Any) -> None:
        """Reduce a value into what there is."""
        before = self._read()
        self._write(value if before is MISSING else self._function(before, value))

    def get(self) -> Any:
        """Return the reduced value, or None."""
        value = self._read()
        return None if value is MISSING else value


class ExpiringAggregatingState(ExpiringReducingState):
    """An accumulator per key."""

    __slots__ = ()

    def add(self, value: Any) -> None:
        """Add a value to the key's accumulator."""
        before = self._read()
        if before is MISSING:
            before = self._function.create_accumulator()
        self._write(added(self._function, value, before))

    def get(self) -> Any:
        """Return the accumulator's result, or None."""
        accumulator = self._read()
        return None if accumulator is MISSING else self._function.get_result(accumulator)


class ExpiringListState(ExpiringState):
    """A list per key whose elements expire one by one."""

    __slots__ = ()

    def get(self) -> tuple[Any, ...]:
        """Return the elements as they are now."""
        stamped = self._table.get(self.key)
        if stamped is None:
            return ()
        left = self._without_expired(stamped)
        values = tuple(value for value, _ in left)
        if self._on_read and values:
            self.update(values)
        return values

    def add(self, value: Any) -> None:
        """Append one element."""
        self.add_all((value,))

    def add_all(self, values: Iterable[Any]) -> None:
        """Append elements."""
        now = self._time.now_ms
        more = [(value, now) for value in values]
        if self.check is not None:
            self.check(more)
        stamped = self._table.get(self.key)
        if stamped and stamped[0][1] <= now - self._ttl_ms:  # else there is nothing to forget
            stamped = self._without_expired(stamped)
        if stamped:
            stamped.extend(more)
        elif more:
            self._table[self.key] = more

    def update(self, values: Iterable[Any]) -> None:
        """Put these elements in place of all there are."""
        now = self._time.now_ms
        stamped = [(value, now) for value in values]
        if self.check is not None:
            self.check(stamped)
        if stamped:
            self._table[self.key] = stamped
        else:
            self.clear()

    def _without_expired(self, stamped: list[Stamped]) -> list[Stamped]:
        """Return the elements that are left, as they are kept, and forget the others."""
        left = unexpired("list", stamped, self._time.now_ms - self._ttl_ms)
        if left is MISSING:
            self.clear()
            return []
        if left is not stamped:
            self._table[self.key] = left
        return left  # type: ignore[no-any-return]  # of a list it is one


class ExpiringMapState(ExpiringState):
    """A map per key whose entries expire one by one."""

    __slots__ = ()

    def get(self, key: Any, default: Any = None) -> Any:
        """Return a value, or ``default`` where there is none."""
        entries = self._table.get(self.key)
        if entries is None or key not in entries:
            return default
        value, updated_ms = entries[key]
        now = self._time.now_ms
        if updated_ms <= now - self._ttl_ms:
            self.remove(key)
            return default
        if self._on_read:
            entries[key] = (value, now)
        return value

    def put(self, key: Any, value: Any) -> None:
        """Set a value."""
        self.put_all(((key, value),))

    def put_all(self, entries: Iterable[tuple[Any, Any]]) -> None:
        """Set several values."""
        now = self._time.now_ms
        stamped = {key: (value, now) for key, value in entries}
        if self.check is not None:
            self.check(stamped)
        before = self._table.get(self.key)
        if before is not None:
            before.update(stamped)  # an expired value that is not met is dropped by a snapshot
        elif stamped:
            self._table[self.key] = stamped

    def remove(self, key: Any) -> None:
        """Forget a value, if it is there."""
        entries = self._table.get(self.key)
        if entries is not None and key in entries:
            del entries[key]
            if not entries:
                self.clear()

    def contains(self, key: Any) -> bool:
        """Return whether there is a value."""
        return self.get(key, MISSING) is not MISSING

    def keys(self) -> tuple[Any, ...]:
        """Return the keys."""
        return tuple(key for key, _ in self._live())

    def values(self) -> tuple[Any, ...]:
        """Return the values."""
        return tuple(value for _, value in self._live())

    def items(self) -> tuple[tuple[Any, Any], ...]:
        """Return keys with their values."""
        return tuple(self._live())

    def is_empty(self) -> bool:
        """Return whether there are no entries."""
        after_ms = self._time.now_ms - self._ttl_ms
        entries = self._table.get(self.key, {})
        return all(updated_ms <= after_ms for _, updated_ms in entries.values())

    def _live(self) -> Iterator[tuple[Any, Any]]:
        """Yield what is left, and forget the rest."""
        for key in tuple(self._table.get(self.key, ())):
            value = self.get(key, MISSING)
            if value is not MISSING:
                yield key, value
