"""How long a task takes for its records, and so how many it may take at a time."""

from __future__ import annotations

SLICE_NS = 50_000_000  # of work between two looks at the inbox; a cancel waits no longer
AHEAD_NS = 500_000_000  # of work that may wait in front of a task: a barrier stands behind it
_UNKNOWN = 1 << 30  # records; no bound until something was measured


class Pace:
    """Measures what a record costs.

    Without it a callback of 10 ms a record would hold the engine for ten seconds with every chunk,
    and a barrier would wait for 16 chunks of them.

    Attributes:
        slice: records that take about as long as one slice should; at least 1.
        ahead: records that may wait, for the same reason.
    """

    __slots__ = ("_cost_ns", "ahead", "slice")

    def __init__(self) -> None:
        self._cost_ns = 0.0
        self.slice = self.ahead = _UNKNOWN

    def note(self, records: int, elapsed_ns: int) -> None:
        """Note how long some records took."""
        cost_ns = elapsed_ns / records
        self._cost_ns = cost_ns = (self._cost_ns + cost_ns) / 2 if self._cost_ns else cost_ns
        if cost_ns > 0:
            self.slice = int(SLICE_NS / cost_ns) or 1
            self.ahead = int(AHEAD_NS / cost_ns) or 1
