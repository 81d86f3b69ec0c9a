"""Where a checkpoint cuts a source's stream, as it is kept in the snapshot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any  # a position is of the source's own type

from millstream.core.element import Position


@dataclass(frozen=True, slots=True)
class SourceCut:
    """What a source needs to go on.

    Attributes:
        position: of the first record behind the barrier; of a ``Source`` its own state.
        finished: its input has ended, and nothing is behind the barrier.
        backlog: records that ``collect`` accepted and nobody had asked for.
    """

    position: Position
    finished: bool = False
    backlog: tuple[Any, ...] = ()

    def to_value(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {
            "position": self.position.base,
            "records": self.position.records,
            "finished": self.finished,
            "backlog": list(self.backlog),
        }

    @classmethod
    def from_value(cls, value: dict[str, Any]) -> SourceCut:
        """Return what ``to_value`` was called on."""
        position = Position(value["position"], value["records"])
        return cls(position, value["finished"], tuple(value["backlog"]))

    def __str__(self) -> str:
        return "finished" if self.finished else str(self.position)
