"""State in memory: one dict per state, and snapshots of them beside the stream."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any  # state is of any type

from millstream.core.errors import ConfigError, InternalError
from millstream.core.job_graph import StateSpec
from millstream.core.ports import Clock, SystemClock
from millstream.core.state_descriptor import StateDescriptor
from millstream.runtime.snapshot.codec import Codec
from millstream.runtime.snapshot.write_check import WriteCheck
from millstream.runtime.state import expiring_states as expiring
from millstream.runtime.state import live_states as live
from millstream.runtime.state.base import Slice, StateDescription
from millstream.runtime.state.overlay import MISSING
from millstream.runtime.state.private_copy import private_copy
from millstream.runtime.state.restore import check_kind, converter, refuse_timers
from millstream.runtime.state.state_table import LARGE_OVERLAY, StateTable
from millstream.runtime.state.timer_queue import TimerQueue

_LIVE: dict[str, Any] = {  # by kind: what is made of a descriptor
    "value": live.LiveValueState,
    "list": live.LiveListState,
    "map": live.LiveMapState,
    "reducing": live.LiveReducingState,
    "aggregating": live.LiveAggregatingState,
    "operator": live.LiveListState,
}
_EXPIRING: dict[str, Any] = {  # … of one that has a time to live
    "value": expiring.ExpiringValueState,
    "list": expiring.ExpiringListState,
    "map": expiring.ExpiringMapState,
    "reducing": expiring.ExpiringReducingState,
    "aggregating": expiring.ExpiringAggregatingState,
}


class MemoryStateBackend:
    """All state of one run, by (uid, state name); see ``StateBackend`` for its methods.

    Args:
        clock: by which state expires.
        kept: there will be snapshots, so a value that none can keep is refused when it is written.
        large_overlay: entries that a state's overlay has at most, about.
    """

    def __init__(
        self,
        clock: Clock | None = None,
        *,
        kept: bool = False,
        large_overlay: int = LARGE_OVERLAY,
    ) -> None:
        self._kept = kept
        self._clock = clock or SystemClock()
        self._large_overlay = large_overlay
        self._time = expiring.StateTime()
        self._tables: dict[tuple[str, str], StateTable] = {}
        self._declared: dict[tuple[str, str], StateDescriptor[Any]] = {}
        self._timers: dict[tuple[str, str], TimerQueue] = {}
        self.tick()

    def state(self, uid: str, declared: StateDescriptor[Any]) -> Any:
        """Return the live state that a process function declares."""
        name, ttl = str(declared.name), declared.ttl is not None
        table = self._table(
            StateDescription(uid, name, declared.kind, declared.type, declared.version, ttl)
        )
        self._declared[uid, name] = declared
        if ttl:
            state = _EXPIRING[declared.kind](declared, self._time)
        else:
            state = _LIVE[declared.kind](declared)
        table.attach(state)
        state.check = table.check
        return state

    def state_table(self, uid: str, spec: StateSpec) -> StateTable:
        """Return the table of an operator's own state, the same one each time."""
        return self._table(StateDescription(uid, spec.name, spec.kind, spec.type))

    def timers(self, uid: str, name: str) -> TimerQueue:
        """Return the timers of an operator, the same ones each time; ``name`` is their state's."""
        if (uid, name) not in self._timers:
            queue = self._timers[uid, name] = TimerQueue()
            self._table(StateDescription(uid, name, "timers", None)).attach(queue)
        return self._timers[uid, name]

    def tick(self) -> None:
        """Read the clock; state with a time to live goes by that until the next time."""
        self._time.now_ms = self._clock.now_ms()

    @property
    def now_ms(self) -> int:
        """Return the wall clock as it was at the last ``tick``, epoch ms."""
        return self._time.now_ms

    def descriptions(self) -> list[StateDescription]:
        """Return each state that operators have declared."""
        return [table.description for table in self._tables.values()]

    def begin_snapshot(self, uids: Collection[str] | None = None) -> MemorySnapshot:
        """Freeze the state of some operators, or all, as it is now; between chunks."""
        tables = [
            table
            for table in self._tables.values()
            if uids is None or table.description.uid in uids
        ]
        if any(table.is_overlaid for table in tables):
            raise InternalError("a snapshot was begun before the last one was merged")
        self.tick()
        return MemorySnapshot(
            [TableSnapshot(table, self._expires_ms(table.description)) for table in tables]
        )

    def restore(self, stored: StateDescription, slices: Iterable[Slice]) -> None:
        """Fill a state with entries of a snapshot, before the job starts."""
        table = self._tables.get((stored.uid, stored.name))
        if table is None and stored.kind == "timers":
            refuse_timers(stored, slices)
            return
        if table is None:
            declared = sorted(name for uid, name in self._tables if uid == stored.uid)
            raise ConfigError(
                f"the snapshot has state {stored.name!r} of operator {stored.uid!r}, which the job "
                f"does not declare (it declares {', '.join(declared) or 'no state there'}); "
                "declare it, or leave it out of what is restored"
            )
        check_kind(stored, table.description)
        if table.table:
            raise InternalError(f"state {stored.name!r} of operator {stored.uid!r} is not empty")
        if stored.kind == "timers":
            self._timers[stored.uid, stored.name].restored(keys for keys, _ in slices)
            return
        descriptor = self._declared.get((stored.uid, stored.name))
        convert = converter(stored, table.description, descriptor, self._time.now_ms)
        for keys, values in slices:
            kept = values if convert is None else map(convert, values)
            table.table.update(zip(keys, kept, strict=True))

    def _table(self, description: StateDescription) -> StateTable:
        key = (description.uid, description.name)
        table = self._tables.get(key)
        if table is None:
            check = _write_check(description) if self._kept else None
            table = self._tables[key] = StateTable(description, check, self._large_overlay)
        if table.description != description:
            raise InternalError(f"{description} is declared as {table.description} as well")
        return table

    def _expires_ms(self, description: StateDescription) -> int | None:
        """Return by when a value must have been updated not to have expired."""
        declared = self._declared.get((description.uid, description.name))
        if declared is None or declared.ttl is None:
            return None
        return self._time.now_ms - declared.ttl.ttl_ms


class TableSnapshot:
    """One state as it was when the snapshot began; see ``StateSnapshot``.

    Args:
        table: the state's; it is frozen here.
        expires_ms: what was updated then or earlier has expired; None if nothing does.
    """

    def __init__(self, table: StateTable, expires_ms: int | None) -> None:
        self.table = table
        self._expires_ms = expires_ms
        frozen = table.freeze()
        self._keys: Iterator[Any] = iter(frozen)
        self._values: Iterator[Any] = iter(frozen.values())
        self.taken = False  # all of it has been

    @property
    def description(self) -> StateDescription:
        """Return whose state it is, and in which form."""
        return self.table.description

    def next_slice(self, max_entries: int) -> Slice | None:
        """Return the next entries; None when there are no more."""
        if self.taken:
            return None
        if self.description.kind in ("list", "map", "operator"):
            values = self._next_containers(max_entries)
        elif self.description.kind == "timers":  # what is in the table is of this run only
            values = [None] * len(list(islice(self._values, max_entries)))
        else:
            values = list(islice(self._values, max_entries))
        keys = list(islice(self._keys, len(values)))
        self.taken = not keys
        if self.taken:
            return None
        return (keys, values) if self._expires_ms is None else self._unexpired(keys, values)

    def discard(self) -> None:
        """Hand out nothing more."""
        self.taken = True
        self._keys = self._values = iter(())

    def _next_containers(self, max_entries: int) -> list[Any]:
        """Return as many lists or maps as have about so many elements, and at least one."""
        values: list[Any] = []
        elements = 0
        for value in self._values:
            values.append(value)
            elements += len(value)
            if elements >= max_entries:
                break
        return values

    def _unexpired(self, keys: list[Any], values: list[Any]) -> Slice:
        """Leave out what has expired, and have it dropped from memory."""
        kind, expires_ms = self.description.kind, self._expires_ms or 0
        kept_keys: list[Any] = []
        kept_values: list[Any] = []
        for key, value in zip(keys, values, strict=True):
            left = expiring.unexpired(kind, value, expires_ms)
            if left is MISSING:
                self.table.drop(key)
                continue
            if left is not value:
                self.table.replace(key, private_copy(left))
            kept_keys.append(key)
            kept_values.append(left)
        return kept_keys, kept_values


class MemorySnapshot:
    """All state as it was when the snapshot began; see ``BackendSnapshot``."""

    def __init__(self, states: Sequence[TableSnapshot]) -> None:
        self.states = states
        self.merged = False
        self._thawed = False

    def merge(self, max_entries: int) -> bool:
        """Bring back about so many entries that were written since; True when all are."""
        tables = [state.table for state in self.states]
        if not all(state.taken for state in self.states):
            for table in tables:
                table.wait()
            return False
        if not self._thawed:
            self._thawed = True
            for table in tables:
                table.thaw()
        left = max(1, max_entries)
        for table in tables:
            if left > 0:
                left -= table.merge(left)
            else:
                table.wait()
        self.merged = not any(table.is_overlaid for table in tables)
        return self.merged

    def discard(self) -> None:
        """Hand out nothing more; ``merge`` is still needed."""
        for state in self.states:
            state.discard()


def _write_check(description: StateDescription) -> WriteCheck:
    return WriteCheck(Codec(description.classes()), description.name)
