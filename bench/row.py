"""What every row of the benchmark is: something that can be measured, with a name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from bench.result import Result


@dataclass(frozen=True, slots=True)
class Effort:
    """How much a run of the benchmark does.

    Attributes:
        pairs: of runs per comparison.
        share: of the records of a full run.
    """

    pairs: int = 5
    share: float = 1.0

    def of(self, records: int) -> int:
        """Return how many records to use."""
        return max(1, int(records * self.share))


FULL = Effort()
QUICK = Effort(pairs=3, share=0.2)


class Row(Protocol):
    """One line of the table."""

    @property
    def name(self) -> str:
        """The name for ``--only``."""

    @property
    def about(self) -> str:
        """What it measures, for ``--list``."""

    def measure(self, effort: Effort) -> Result:
        """Measure it; raises RunFailedError where a process fails."""

    def failed(self, why: str) -> Result:
        """Return the row without figures."""
