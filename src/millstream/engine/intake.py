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
UNBOUNDED = 1 << 30  # records

# What a chain leaves out, it may emit from the next record on. Its outputs ask for half a second's
# worth, so a chain that seems to emit little takes at most eight times that: four seconds' worth.
# One that has emitted nothing yet takes 32 records for the one its sink asks for.
_LEAST = 1 / 8
_LEAST_UNTRIED = 1 / 32

# Asking upstream for so little at a time costs ten times what the records do, so the less likely
# a change is, the more is asked for. What was asked of a source does no harm: a barrier overtakes
# it.
_QUIET = 64  # records without a result, for one more that may wait
_NEXT_TO_NOTHING = 1 / CHUNK_SIZE
_MOST_IN_VAIN = 2 * CHUNK_SIZE


class Pace:
    """Measures what a record costs.

    Attributes:
        slice: records that take about as long as one slice should; at least 1.
        ahead: records that may wait, for the same reason.
    """

    __slots__ = ("_cost_ns", "ahead", "slice")

    def __init__(self) -> None:
        self._cost_ns = 0.0
        self.slice = self.ahead = UNBOUNDED

    def note(self, records: int, elapsed_ns: int) -> None:
        """Note how long some records took."""
        cost_ns = elapsed_ns / records
        self._cost_ns = cost_ns = (self._cost_ns + cost_ns) / 2 if self._cost_ns else cost_ns
        if cost_ns > 0:
            self.slice = int(SLICE_NS / cost_ns) or 1
            self.ahead = int(AHEAD_NS / cost_ns) or 1


class Ratio:
    """Measures how many records an output is given for one that is taken.

    Attributes:
        value: about so many; it falls slowly, for it may rise at any time.
        most: as many as are to be reckoned with; it does not fall as far.
        made: records given since ``note``.
    """

    __slots__ = ("_least", "_quiet", "made", "most", "value")

    def __init__(self) -> None:
        self.value = self.most = 1.0
        self.made = 0
        self._least = _LEAST_UNTRIED
        self._quiet = 1  # records taken since there was a result

    def note(self, taken: int) -> None:
        """Note that ``made`` is what has become of so many records."""
        made, self.made = self.made, 0
        if made:
            self._least, self._quiet = _LEAST, 1
        else:
            self._quiet += taken
        before, now = self.value, made / taken
        self.value = value = now if now > before else before + (now - before) / 8
        self.most = value if value > self._least else self._least

    def at_once(self, room: int) -> int:
        """Return the records to take where there is room for so many results."""
        return int(room / self.most)

    def ahead(self, room: int, *, at_source: bool) -> int:
        """Return the records to ask upstream for, where there is room for so many results."""
        least = _NEXT_TO_NOTHING if at_source else min(self._least, _QUIET / self._quiet)
        return min(int(room / max(self.value, least)), max(room, _MOST_IN_VAIN))


class Intake:
    """Measures what the records of a task cost.

    Attributes:
        pace: of the records taken.
        watching: a slice is worth noting however short it was.
    """

    __slots__ = ("_spent_ns", "_taken", "pace", "watching")

    def __init__(self) -> None:
        self.pace = Pace()
        self._taken = 0  # records whose cost is not yet noted
        self._spent_ns = 0  # what they have cost so far
        self.watching = False

    def note_cost(self, taken: int, elapsed_ns: int, *, done: bool) -> None:
        """Note a slice's work: on records taken in it, and on what is not done yet before."""
        self._taken += taken
        self._spent_ns += elapsed_ns
        if done:
            if self._taken:
                self.pace.note(self._taken, self._spent_ns)
            self._taken = self._spent_ns = 0
        self.watching = not done or self.pace.slice < CHUNK_SIZE
