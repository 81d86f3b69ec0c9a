"""What a state backend does: the contract of the memory backend and of those to come.

``tests/contract/test_state_*.py`` is the same in the form of tests.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol  # Any: state is of any type

from millstream.core.job_graph import StateSpec
from millstream.core.state_descriptor import StateDescriptor
from millstream.runtime.snapshot.type_description import declared_classes
from millstream.runtime.snapshot.write_check import WriteCheck

Slice = tuple[Sequence[Any], Sequence[Any]]
"""Some entries of a state, as parallel keys and values: what a state file is written from."""


@dataclass(frozen=True, slots=True)
class StateDescription:
    """Says which state entries belong to, and in which form they are.

    Attributes:
        uid: the operator's.
        name: the state's, within the operator.
        kind: what an entry's value is: of ``value``, ``reducing`` and ``aggregating`` the value
            or the accumulator itself, of ``list`` and ``operator`` a list, of ``map`` a dict. An
            ``operator`` state has one entry, with the key None. Of ``timers`` the entry's key is
            ``(time, key)``, and the value is None.
        type: the declared type of an entry's value, or an operator's own word for it.
        version: the user's version of the state.
        ttl: each value, element of a list or value of a map is a tuple ``(value, updated ms)``.
    """

    uid: str
    name: str
    kind: str
    type: Any = Any
    version: int = 1
    ttl: bool = False

    def classes(self) -> list[type]:
        """Return the classes that the declared type names; an operator's own word names none."""
        return [] if isinstance(self.type, str) else declared_classes(self.type)


class Table(Protocol):
    """The values of one state by key, as a loop works on them: ``get``, ``[…] =``, ``items``.

    Attributes:
        table: to be looked up once per chunk: it may be another one in the next.
        check: what refuses a value that no snapshot can keep; None: there are none.
    """

    table: dict[Any, Any]
    check: WriteCheck | None


class Timers(Protocol):
    """The timers of one operator in one time domain. A timer is unique by its time and its key.

    Attributes:
        key: whose timers are registered and deleted; to be set before.
        registered: a number that has grown with each timer that was.
    """

    key: Hashable
    registered: int

    def register(self, time_ms: int) -> None:
        """Add a timer of the current key, if it is not there."""

    def delete(self, time_ms: int) -> None:
        """Remove a timer of the current key, if it is there."""

    def next_ms(self) -> int | None:
        """Return when the first timer is due; None if there is none."""

    def pop_due(self, now_ms: int, newest: int | None = None) -> tuple[int, Hashable] | None:
        """Take out the first timer that is due, by time and then by registering; None if none is.

        Args:
            now_ms: what time it is.
            newest: the number of the last one to take; others that are due are passed over for
                good.

        Returns:
            Its time and its key.
        """


class StateSnapshot(Protocol):
    """One state as it was when the snapshot began.

    Attributes:
        description: whose state it is, and in which form.
    """

    @property
    def description(self) -> StateDescription:
        """Return whose state it is, and in which form."""

    def next_slice(self, max_entries: int) -> Slice | None:
        """Return the next entries; None when there are no more.

        May be called at any time, also within a chunk. Elements of lists and entries of maps
        count as well, so the entries of a slice may be few; a slice may be empty. What is in it
        is not to be changed, and to be encoded before ``merge`` is next called.
        """


class BackendSnapshot(Protocol):
    """The state of some operators as it was when the snapshot began."""

    @property
    def states(self) -> Sequence[StateSnapshot]:
        """Return each state that operators have declared, also an empty one."""

    def merge(self, max_entries: int) -> bool:
        """Bring back about so many entries that were written since; True when all are.

        To be called between chunks, also when no records come, until it is True; what is written
        meanwhile is brought back too. Before all slices have been taken it brings nothing back,
        but keeps the time short that a write may take.
        """

    def discard(self) -> None:
        """Hand out nothing more: the checkpoint has failed. ``merge`` is still needed."""


class StateBackend(Protocol):
    """Where operators keep their state. One thread works with it, the engine's."""

    def state(self, uid: str, declared: StateDescriptor[Any]) -> Any:
        """Return the live state that a process function declares, as its Protocol says.

        A keyed one has an attribute ``key``, to be set before it is used.
        """

    def state_table(self, uid: str, spec: StateSpec) -> Table:
        """Return the table of an operator's own state, the same one each time."""

    def timers(self, uid: str, name: str) -> Timers:
        """Return the timers of an operator, the same ones each time; ``name`` is their state's."""

    def tick(self) -> None:
        """Read the clock; state with a time to live goes by that until the next time."""

    @property
    def now_ms(self) -> int:
        """Return the wall clock as it was at the last ``tick``, epoch ms."""

    def descriptions(self) -> Sequence[StateDescription]:
        """Return each state that operators have declared."""

    def begin_snapshot(self, uids: Collection[str] | None = None) -> BackendSnapshot:
        """Freeze state as it is now, in less than 0.1 ms; to be called between chunks.

        Args:
            uids: of which operators; None: of all. Tasks pass a barrier at different times.

        Raises:
            InternalError: the last snapshot of one of them has not been merged.
        """

    def restore(self, stored: StateDescription, slices: Iterable[Slice]) -> None:
        """Fill a state with entries of a snapshot, before the job starts.

        Raises:
            ConfigError: no operator declares it, or it has another kind, or another version and
                no migration from that; or there are timers, and nothing that would fire them.
        """
