"""How much memory records take, roughly: bounds count records, and large ones count for several."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from millstream.core.codec import Lines

ORDINARY_BYTES = 4096  # up to here a record counts as one
MOST = 4096  # the weight of a record of 16 MB; a larger one counts no more
_LOOKED_AT = 64  # items of one record that are looked at


def weight_of(records: Sequence[Any]) -> int:
    """Return how many ordinary records one of these stands for, by a look at the first and last."""
    if not records:
        return 1
    if isinstance(records, Lines):
        size = records.size // len(records)
    else:
        size = max(size_of(records[0]), size_of(records[-1]))
    return min(size // ORDINARY_BYTES + 1, MOST)


def size_of(record: Any) -> int:
    """Return a record's size in bytes with what it directly holds; deeper, or shared, is missed."""
    size = sys.getsizeof(record)
    if isinstance(record, Mapping):
        held: Sequence[Any] = list(record.values())
    elif isinstance(record, list | tuple | set | frozenset):
        held = list(record)
    elif isinstance(record, str | bytes | int | float | range):
        return size
    else:
        fields = ("__struct_fields__", "__dataclass_fields__", "__dict__")
        names: Any = next((getattr(record, each) for each in fields if hasattr(record, each)), ())
        held = [getattr(record, name, None) for name in names]
    looked_at = held[:_LOOKED_AT]
    inside = sum(map(sys.getsizeof, looked_at))
    return size + (inside if len(looked_at) == len(held) else inside * len(held) // _LOOKED_AT)


class Scale:
    """Weighs every 16th list it is shown: a look costs as much as moving 20 records.

    Attributes:
        weight: of the records seen last.
    """

    __slots__ = ("_skip", "weight")

    def __init__(self) -> None:
        self.weight = 1
        self._skip = 0

    def weigh(self, records: Sequence[Any]) -> int:
        """Return what one of these stands for, as far as is known."""
        if self._skip:
            self._skip -= 1
        elif records:
            self._skip = 15
            self.weight = weight_of(records)
        return self.weight
