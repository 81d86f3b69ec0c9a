"""What travels on a stream inside the engine: chunks of records and, between them, control."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

CHUNK_SIZE = 1024  # records; 256 to 1,024 measured as the flat optimum, 4,096 loses 3 to 11 %


class Position(NamedTuple):
    """Where in a split a record stands: so many records past a position the source knows.

    ``base`` is the source's own word for "next after the records before" (an offset, a page, a
    key; None is the beginning). ``records`` counts past it, for cuts inside a batch that the
    source emitted as one.
    """

    base: Any  # the source's own type; it is only handed back to the source
    records: int

    def plus(self, records: int) -> Position:
        """Return the position so many records further on."""
        return Position(self.base, self.records + records)

    def __str__(self) -> str:
        where = "the beginning" if self.base is None else repr(self.base)
        return where if not self.records else f"{where} + {self.records} records"


class Chunk:
    """Records of one split, the unit in which they move: 1,024 at most behind a source's head.

    Attributes:
        values: the records, a list (or another sequence a source gave, such as a range).
        timestamps: event times in epoch ms, parallel to ``values``, or None where nothing
            downstream needs them.
        split: the source split the records came from.
        start: the position of the first record (downstream of a flat_map: of its input).
        end: the position after the last record; at the source's head, a restart from here repeats
            none of them.
        ingested_ms: when the source handed the records over, epoch ms; one per chunk.
        weight: how many ordinary records one of them stands for, where memory is bounded.
        exact: the i-th record is the i-th behind ``start``. False where records were dropped or
            made on the way: each then comes from somewhere between ``start`` and ``end``.
    """

    __slots__ = (
        "end",
        "exact",
        "ingested_ms",
        "split",
        "start",
        "timestamps",
        "values",
        "weight",
    )

    def __init__(  # noqa: PLR0913  # what a chunk is made of
        self,
        values: Sequence[Any],
        split: str,
        start: Position,
        end: Position,
        ingested_ms: int,
        *,
        exact: bool = True,
        weight: int = 1,
    ) -> None:
        self.values = values
        self.split = split
        self.start = start
        self.end = end
        self.ingested_ms = ingested_ms
        self.exact = exact
        self.weight = weight
        self.timestamps: list[int] | None = None

    def __len__(self) -> int:
        return len(self.values)

    def __repr__(self) -> str:
        return f"Chunk({len(self.values)} records of {self.split!r} from {self.start})"

    def position_of(self, index: int) -> Position:
        """Return where the record at ``index`` stands, or where what it was made of begins."""
        return self.start.plus(index) if self.exact else self.start

    @property
    def cost(self) -> int:
        """Return what it takes of a source's credit; one without records counts as well."""
        return len(self.values) * self.weight or 1

    def part(self, begin: int, stop: int) -> Chunk:
        """Return some of the records, positions kept exact."""
        start, end = self.start, self.end
        if self.exact:
            base, records = start
            if stop < len(self.values):
                end = Position(base, records + stop)
            if begin:
                start = Position(base, records + begin)
        part = Chunk(self.values[begin:stop], self.split, start, end, self.ingested_ms)
        part.exact, part.weight = self.exact, self.weight
        if self.timestamps is not None:
            part.timestamps = self.timestamps[begin:stop]
        return part

    def split_at(self, records: int) -> tuple[Chunk, Chunk]:
        """Cut into the first ``records`` records and the rest."""
        return self.part(0, records), self.part(records, len(self.values))


class Control:
    """An element between chunks; it needs no demand and no credit, and keeps its place."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Watermark(Control):
    """No record with an event time at or below ``time_ms`` is expected any more."""

    time_ms: int


@dataclass(frozen=True, slots=True)
class Barrier(Control):
    """Records before it belong to checkpoint ``checkpoint_id``, records after it do not."""

    checkpoint_id: int


@dataclass(frozen=True, slots=True)
class Idle(Control):
    """The input is quiet: it holds no watermark back until it speaks again."""


@dataclass(frozen=True, slots=True)
class EndOfInput(Control):
    """No record follows; what operators still hold is to be emitted now."""
