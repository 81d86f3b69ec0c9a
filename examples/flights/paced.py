"""A source at a walking pace, so that there is time to kill a job while it reads."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

import millstream as ms

TELL_EVERY = 16_384  # records


class Paced(ms.BatchSource[Any]):
    """Another source, with so many records per second; it tells how many it has read so far.

    Args:
        source: gives the records.
        rate: how many per second.
    """

    def __init__(self, source: ms.BatchSource[Any], rate: float) -> None:
        self.source = source
        self.rate = rate
        self.decoder = source.decoder

    def validate(self) -> None:
        """Check what the source checks."""
        self.source.validate()

    def open(self) -> None:
        """Open the source."""
        self.source.open()

    def read(self, position: Any) -> Iterator[tuple[Any, Any]]:
        """Yield what the source does, with pauses; a position is the source's own."""
        begun, count = time.monotonic(), 0
        for records, behind in self.source.read(position):
            time.sleep(max(0.0, begun + count / self.rate - time.monotonic()))
            before, count = count, count + len(records)
            if before // TELL_EVERY < count // TELL_EVERY:
                print(f"read {count:,}", flush=True)
            yield records, behind

    def close(self) -> None:
        """Close the source."""
        self.source.close()

    def describe(self) -> Mapping[str, Any]:
        """Return what the source says of itself: the pace changes no result."""
        return self.source.describe()
