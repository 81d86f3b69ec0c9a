"""What is written while a state's dict is frozen for a snapshot, or being merged after one."""

from __future__ import annotations

from collections.abc import Hashable, ItemsView, Iterator, KeysView
from typing import Any, Final  # state is of any type

from millstream.runtime.state.private_copy import UNCHANGING, private_copy

MISSING: Final[Any] = object()
DELETED: Final[Any] = object()  # stands in an overlay for a key that is no longer there

_own = dict.get  # of one dict alone, whatever lies below it


class Overlay(dict[Any, Any]):
    """A dict over others: it takes the writes, and answers for itself and what lies below.

    Below are older overlays, which are merged into the base oldest first, and the base. Writes
    are those of a plain dict, at a plain dict's speed: that is why there is no ``__setitem__``,
    and why a key is taken out by ``pop``, not by ``del``. Only what states and loops need is
    there; the rest of a dict's methods see the overlay alone.

    Args:
        base: the state's own dict.
        older: overlays between this one and the base, newest first; the list is shared and
            shrinks as they are merged.
        frozen: the base is being handed out.

    Attributes:
        frozen: a value in the base that could be changed in place is given out as a copy, which
            is kept here.
        deletes: some key has been taken out of it.
    """

    __slots__ = ("_base", "_below", "_older", "deletes", "frozen")

    def __init__(self, base: dict[Any, Any], older: list[Overlay], *, frozen: bool) -> None:
        self._base = base
        self._below = base.get
        self._older = older
        self.frozen = frozen
        self.deletes = False

    def get(self, key: Hashable, default: Any = None) -> Any:
        """Return a value, or the default."""
        value = _own(self, key, MISSING)
        if value is not MISSING:
            return default if value is DELETED else value
        if self._older:
            for overlay in self._older:
                value = _own(overlay, key, MISSING)
                if value is not MISSING:
                    return default if value is DELETED else value
        value = self._below(key, MISSING)
        kind = type(value)
        if kind in UNCHANGING:
            return value
        if value is MISSING:
            return default
        # The commonest state by far is a small tuple of numbers: no call for that.
        if not self.frozen or (kind is tuple and UNCHANGING.issuperset(map(type, value))):
            return value
        copied = private_copy(value)
        if copied is not value:
            self[key] = copied
        return copied

    def pop(self, key: Hashable, default: Any = None) -> Any:
        """Take a key out, if it is there; return its value, which is not to be changed."""
        value = self._find(key)
        if value is MISSING:
            return default
        self[key] = DELETED
        self.deletes = True
        return value

    def drop(self, key: Hashable) -> None:
        """Take a key out that nothing was written to since."""
        if not self._covers(key):
            self[key] = DELETED
            self.deletes = True

    def replace(self, key: Hashable, value: Any) -> None:
        """Set the value of a key that nothing was written to since."""
        if not self._covers(key):
            self[key] = value

    def __getitem__(self, key: Hashable) -> Any:
        value = self.get(key, MISSING)
        if value is MISSING:
            raise KeyError(key)
        return value

    def __contains__(self, key: object) -> bool:
        return self._find(key) is not MISSING

    def __iter__(self) -> Iterator[Any]:
        # All keys at the start: what is below may be merged, and so change, before the end.
        keys = dict.fromkeys(self._base)
        for overlay in (*reversed(self._older), self):
            keys.update(dict.fromkeys(dict.keys(overlay)))
        return (key for key in keys if self._find(key) is not MISSING)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def keys(self) -> KeysView[Any]:  # type: ignore[override]  # not dict's own view
        """Return the keys, in the order in which the base will have them."""
        return KeysView(self)

    def items(self) -> ItemsView[Any, Any]:  # type: ignore[override]  # not dict's own view
        """Return keys with their values, in the order in which the base will have them."""
        return ItemsView(self)

    def _find(self, key: Any) -> Any:
        """Return a value as it stands, not to be changed, or MISSING."""
        for overlay in (self, *self._older):
            value = _own(overlay, key, MISSING)
            if value is not MISSING:
                return MISSING if value is DELETED else value
        return self._below(key, MISSING)

    def _covers(self, key: Hashable) -> bool:
        return any(dict.__contains__(each, key) for each in (self, *self._older))
