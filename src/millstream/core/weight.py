"""How much memory records take, roughly: bounds count records, and large ones count for several."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import cycle, islice
from typing import Any

from millstream.core.codec import Lines

ORDINARY_BYTES = 4096  # up to here a record counts as one
MOST = 4096  # the weight of a record of 16 MB; a larger one counts no more
_LOOKED_AT = 64  # items of one container that are looked at
_DEPTH = 3  # containers within containers
_SKIPS = (13, 8, 21, 11, 17, 10, 19)  # lists between two looks: not in step with what a source does


def weight_of(records: Sequence[Any]) -> int:
    """Return how many ordinary records one of these stands for, by a look at the first and last."""
    if not records:
        return 1
    if isinstance(records, Lines):
        size = records.size // len(records)
    else:
        size = max(size_of(records[0]), size_of(records[-1]))
    return min(size // ORDINARY_BYTES + 1, MOST)


def size_of(record: Any, depth: int = _DEPTH) -> int:
    """Return about a record's size in bytes, with what it holds a few levels deep.

    A record that lets nobody look, such as a lazy proxy, has the size of an ordinary one.
    """
    try:
        size = sys.getsizeof(record)
        if depth and not isinstance(record, str | bytes | int | float | range):
            count, held = _held(record)
            looked_at = list(islice(held, _LOOKED_AT))
            inside = sum([size_of(each, depth - 1) for each in looked_at])
            size += inside if len(looked_at) == count else inside * count // _LOOKED_AT
    except Exception:  # noqa: BLE001  # the user's code, which nobody asked to run
        return 1
    return size


def _held(record: Any) -> tuple[int, Iterable[Any]]:
    """Return what a record directly holds, and how many that are."""
    if isinstance(record, dict):
        return len(record), dict.values(record)
    if isinstance(record, list | tuple | set | frozenset | deque):
        return len(record), record
    # Of the type, as an instance may answer to every name.
    kind = type(record)
    names = [name for each in kind.__mro__ for name in vars(each).get("__slots__", ())]
    held = [getattr(record, name) for name in names if hasattr(record, name)]
    if kind.__dictoffset__:
        held += vars(record).values()
    return len(held), held


class Scale:
    """Weighs about every 16th list it is shown: a look costs as much as moving 20 records.

    Attributes:
        weight: of the records seen last.
    """

    __slots__ = ("_skip", "_skips", "weight")

    def __init__(self) -> None:
        self.weight = 1
        self._skip = 0
        self._skips = cycle(_SKIPS)

    def weigh(self, records: Sequence[Any]) -> int:
        """Return what one of these stands for, as far as is known."""
        if self._skip:
            self._skip -= 1
        elif records:
            self._skip = next(self._skips)
            self.weight = weight_of(records)
        return self.weight
