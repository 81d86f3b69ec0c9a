"""Keeps the checkpoints of a test's run, without a metadata store."""

from __future__ import annotations

from millstream.engine.checkpoint.journal import Made, Purpose, Summary
from millstream.storage.checkpoints.base import CheckpointMetadata, PendingCheckpoint
from millstream.storage.checkpoints.local import LocalCheckpointStorage


class MemoryJournal:
    """A journal that writes down what it is asked for, and fails when told to.

    Attributes:
        said: such as ``begin 1``, ``complete 1``, ``fail 2: …``.
        broken: raised by the next calls of ``begin``.
    """

    epoch, first_id = 7, 1

    def __init__(self, storage: LocalCheckpointStorage, job: str = "stepped") -> None:
        self.said: list[str] = []
        self.summaries: dict[int, Summary] = {}
        self.broken: Exception | None = None
        self._storage, self._job = storage, job

    def begin(self, checkpoint_id: int, purpose: Purpose) -> PendingCheckpoint:
        words = [word for word in ("savepoint", "stop", "final") if getattr(purpose, word)]
        self.said.append(" ".join([f"begin {checkpoint_id}", *words]))
        if self.broken is not None:
            raise self.broken
        return self._storage.begin(
            CheckpointMetadata(
                checkpoint_id=checkpoint_id, job=self._job, execution_id="e", lease_epoch=7,
                created_ms=0, structure_fingerprint="", state_fingerprint="", code_fingerprint="",
            )
        )  # fmt: skip

    def complete(self, checkpoint_id: int, pending: PendingCheckpoint, summary: Summary) -> Made:
        completed = pending.complete({})
        self.summaries[checkpoint_id] = summary
        self.said.append(f"complete {checkpoint_id}")
        return Made(checkpoint_id, completed.location, 0, summary.duration_ms)

    def fail(self, checkpoint_id: int, reason: str) -> None:
        self.said.append(f"fail {checkpoint_id}: {reason}")

    def retain(self) -> None:
        pass
