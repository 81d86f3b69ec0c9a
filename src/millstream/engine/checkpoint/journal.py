"""What the engine needs of whoever keeps checkpoints; ``control`` implements it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol  # Any: handles and positions are of the connectors' own types

from millstream.core.ports import NO_FAULTS, FaultPoints
from millstream.core.settings import CheckpointSettings
from millstream.storage.checkpoints.base import PendingCheckpoint, StoredCheckpoint


@dataclass(frozen=True, slots=True)
class Purpose:
    """What a checkpoint is made for; by itself, to recover from.

    Attributes:
        savepoint: a user asked for it and owns it.
        stop: the run ends with it.
        final: it is made at the end of all input.
        folder: where a user wants the savepoint; None: where savepoints are.
    """

    savepoint: bool = False
    stop: bool = False
    final: bool = False
    folder: str | None = None

    @property
    def commits(self) -> bool:
        """Return whether sinks commit what it names. Flink's rule since 1.15."""
        return self.stop or self.final or not self.savepoint

    @property
    def noun(self) -> str:
        """Return what it is called."""
        return "savepoint" if self.savepoint else "checkpoint"


@dataclass(frozen=True, slots=True)
class Made:
    """A complete checkpoint, as whoever asked for it is told.

    Attributes:
        checkpoint_id: its number.
        location: its folder.
        size_bytes: of all its files.
        duration_ms: from the trigger to the last part.
    """

    checkpoint_id: int
    location: str
    size_bytes: int
    duration_ms: int


@dataclass(frozen=True, slots=True)
class Summary:
    """What is known of a checkpoint besides its files.

    Attributes:
        purpose: what it is for.
        duration_ms: from the trigger to the last part.
        positions: by source uid, as text.
        entries: by operator uid, how many entries its states have.
        sinks: by sink uid, what it has in the snapshot.
    """

    purpose: Purpose
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

    def begin(self, checkpoint_id: int, purpose: Purpose) -> PendingCheckpoint:
        """Begin a checkpoint; where that raises, nothing is left to ``fail``."""

    def complete(self, checkpoint_id: int, pending: PendingCheckpoint, summary: Summary) -> Made:
        """Make it exist: first the files, durably, then the row; commits may follow.

        What a run is to stop with is read back and restored, apart from the run, before the row.
        """

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
