"""One state's dict: frozen for a snapshot in no time, and whole again after it."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from itertools import islice
from typing import Any, Protocol  # Any: state is of any type

from millstream.runtime.snapshot.write_check import WriteCheck
from millstream.runtime.state.base import StateDescription
from millstream.runtime.state.overlay import DELETED, Overlay

# A dict is laid out anew when it grows past 87,381, 174,762, 349,525 … entries, which takes 3, 7,
# 14 … ms in the middle of a chunk. An overlay is set aside between the second and the third.
LARGE_OVERLAY = 150_000


class Reader(Protocol):
    """A live state, or timers, which has to know the dict that stands for the table now."""

    _table: dict[Any, Any]


class StateTable:
    """The values of one state by key. The loop works on ``table`` itself, taken once per chunk.

    While nothing is frozen that is a plain dict, so a record pays for snapshots only while there
    is one. Then it is an ``Overlay``, over the dict and perhaps over overlays set aside before.

    Args:
        description: whose state it is.
        check: what refuses a value that no snapshot can keep; None: there are none.
        large_overlay: entries past which an overlay is set aside.
    """

    __slots__ = (
        "_base",
        "_large_overlay",
        "_merging",
        "_older",
        "_readers",
        "_seen",
        "check",
        "description",
        "table",
    )

    def __init__(
        self,
        description: StateDescription,
        check: WriteCheck | None = None,
        large_overlay: int = LARGE_OVERLAY,
    ) -> None:
        self.description = description
        self.check = check
        self._large_overlay = large_overlay
        self.table: dict[Any, Any] = {}
        self._base = self.table
        self._readers: list[Reader] = []
        self._older: list[Overlay] = []  # set aside, newest first
        self._merging: Iterator[tuple[Any, Any]] | None = None  # what is left of the oldest
        self._seen = 0  # entries of the newest overlay at the last merge

    def attach(self, reader: Reader) -> None:
        """Keep a live state's ``_table`` the one that is valid."""
        reader._table = self.table  # its own dict would cost each access a look-up
        self._readers.append(reader)

    @property
    def is_overlaid(self) -> bool:
        """Return whether it is not one plain dict."""
        return isinstance(self.table, Overlay)

    def freeze(self) -> dict[Any, Any]:
        """Return the dict, which nothing changes until ``thaw``; writes go to an overlay."""
        self._put(Overlay(self._base, self._older, frozen=True))
        return self._base

    def thaw(self) -> None:
        """Let the dict be changed again."""
        if isinstance(self.table, Overlay):
            self.table.frozen = False

    def drop(self, key: Hashable) -> None:
        """Take a key out of the frozen dict when it is thawed, if nothing is written to it."""
        if isinstance(self.table, Overlay):
            self.table.drop(key)

    def replace(self, key: Hashable, value: Any) -> None:
        """Change a value of the frozen dict when it is thawed, if nothing is written to it."""
        if isinstance(self.table, Overlay):
            self.table.replace(key, value)

    def wait(self) -> None:
        """Be ready for more writes: begin a new overlay if the newest would be slow to grow."""
        if isinstance(self.table, Overlay):
            if dict.__len__(self.table) > self._large_overlay:
                self._set_aside(self.table)
            self._seen = dict.__len__(self.table)

    def merge(self, max_entries: int) -> int:
        """Bring entries of the overlays into the dict, the oldest first; return how many.

        The order of keys stays that of their first appearance. More than ``max_entries`` are
        brought in when more are written from one call to the next, so that it ends.
        """
        newest = self.table
        if not isinstance(newest, Overlay):
            return 0
        most = left = max(max_entries, 2 * (dict.__len__(newest) - self._seen))
        while left and self._older:
            left -= self._merge_oldest(left)
        if left and dict.__len__(newest) <= left:
            left -= self._bring_in(newest, list(dict.items(newest)))
            self._put(self._base)
        elif left:
            self._set_aside(newest)
            left -= self._merge_oldest(left)
        self.wait()
        return most - left

    def _merge_oldest(self, most: int) -> int:
        oldest = self._older[-1]
        if self._merging is None:
            self._merging = iter(dict.items(oldest))
        part = list(islice(self._merging, most))
        self._bring_in(oldest, part)
        if len(part) < most:
            self._merging = None
            self._older.pop()
        return len(part)

    def _bring_in(self, overlay: Overlay, part: list[tuple[Any, Any]]) -> int:
        self._base.update(part)  # in half the time of a loop
        if overlay.deletes:
            for key, value in part:
                if value is DELETED:
                    self._base.pop(key, None)
        return len(part)

    def _set_aside(self, newest: Overlay) -> None:
        self._older.insert(0, newest)
        self._put(Overlay(self._base, self._older, frozen=newest.frozen))

    def _put(self, table: dict[Any, Any]) -> None:
        self.table = table
        self._seen = 0
        for reader in self._readers:
            reader._table = table  # see attach
