"""What the engine needs of whoever keeps checkpoints; ``control`` implements it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol  # Any: handles and positions are of the connectors' own types

from millstream.core.ports import NO_FAULTS, FaultPoints
from millstream.core.settings import CheckpointSettings
from millstream.storage.checkpoints.base import PendingCheckpoint, StoredCheckpoint


@dataclass(frozen=True, slots=True)
class Summary:
    """What is known of a checkpoint besides its files.

    Attributes:
        duration_ms: from the trigger to the last part.
        positions: by source uid, as text.
        entries: by operator uid, how many entries its states have.
        sinks: by sink uid, what it has in the snapshot.
    """

    duration_ms: int
    positions: Mapping[str, str]
    entries: Mapping[str, int]
    sinks: Mapping[str, Mapping[str, Any]]


class Journal(Protocol):
    """Keeps checkpoints, under the lease. Its methods block; one thread calls them.

    Each may raise ``LeaseLostError``: then the run must end. Any other error of ``begin`` and
    ``complete`` means that this checkpoint does not exist.
    """

    @property
    def epoch(self) -> int:
        """Return the lease's epoch."""

    @property
    def first_id(self) -> int:
        """Return the number of the next checkpoint of the job."""

    def begin(self, checkpoint_id: int, *, final: bool) -> PendingCheckpoint:
        """Begin a checkpoint."""

    def complete(self, checkpoint_id: int, pending: PendingCheckpoint, summary: Summary) -> None:
        """Make it exist: first the files, durably, then the row; commits may follow."""

    def fail(self, checkpoint_id: int, reason: str) -> None:
        """Note that it was given up."""

    def retain(self) -> None:
        """Remove what is too old."""


@dataclass(frozen=True, slots=True)
class Checkpointing:
    """How a run makes checkpoints, and which one it goes on from.

    Attributes:
        settings: when.
        journal: who keeps them.
        restored: what the run goes on from; None: from the beginning.
        faults: where a test makes the run fail.
    """

    settings: CheckpointSettings
    journal: Journal
    restored: StoredCheckpoint | None = None
    faults: FaultPoints = field(default=NO_FAULTS)
