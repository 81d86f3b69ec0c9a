"""How many records a task may take at a time.

Two things bound it. What becomes of the records must be wanted: a barrier stands behind all that a
task has taken, so it must not take what a slow sink needs minutes for. And a slice must be short,
or a cancel waits for it: with a callback of 10 ms a record, a chunk takes ten seconds.
"""

from __future__ import annotations

from millstream.core.element import CHUNK_SIZE

SLICE_NS = 50_000_000  # of work between two looks at the inbox; a cancel waits no longer
NOTABLE_NS = 2_000_000  # a shorter slice bounds nothing; 1,024 trivial records take 0.1 ms
AHEAD_NS = 500_000_000  # of work that may wait in front of a task: a barrier stands behind it
_UNKNOWN = 1 << 30  # records; no bound until something was measured

# What a chain leaves out, it may emit from the next record on. Its outputs ask for half a second's
# worth, so a chain that seems to emit little takes at most eight times that: four seconds' worth.
# One that has emitted nothing yet takes 32 records for the one its sink asks for.
_LEAST_RATIO = 1 / 8
_LEAST_UNTRIED_RATIO = 1 / 32


class Pace:
    """Measures what a record costs.

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


class Intake:
    """Measures what one record becomes and costs.

    Attributes:
        pace: of the records taken.
        ratio: records out per record in.
        watching: a slice is worth noting however short it was.
    """

    __slots__ = ("_least", "_spent_ns", "_taken", "pace", "ratio", "watching")

    def __init__(self) -> None:
        self.pace = Pace()
        self.ratio = 1.0
        self._least = _LEAST_UNTRIED_RATIO
        self._taken = 0  # records whose cost is not yet noted
        self._spent_ns = 0  # what they have cost so far
        self.watching = False

    def note_ratio(self, taken: int, emitted: int) -> None:
        """Note what became of records; it falls slowly, for it may rise at any time."""
        if emitted:
            self._least = _LEAST_RATIO
        before, now = self.ratio, emitted / taken
        after = now if now > before else before + (now - before) / 8
        self.ratio = max(after, self._least)

    def note_cost(self, taken: int, elapsed_ns: int, *, done: bool) -> None:
        """Note a slice's work: on records taken in it, and on what is not done yet before."""
        self._taken += taken
        self._spent_ns += elapsed_ns
        if done:
            if self._taken:
                self.pace.note(self._taken, self._spent_ns)
            self._taken = self._spent_ns = 0
        self.watching = not done or self.pace.slice < CHUNK_SIZE

    def at_once(self, room: int) -> int:
        """Return the records to take where downstream takes ``room``; at least 1."""
        return max(1, int(room / self.ratio))

    def ahead(self, room: int, inputs: int) -> int:
        """Return the records to have asked one of so many inputs for; at least 1."""
        return max(1, min(int(room / self.ratio), self.pace.ahead) // inputs)
