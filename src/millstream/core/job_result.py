"""How a run ended."""

from __future__ import annotations

from dataclasses import dataclass, replace

from millstream.core.accounting import Account
from millstream.core.errors import InconsistentError
from millstream.core.job_status import JobStatus


@dataclass(frozen=True, slots=True)
class CheckpointCounts:
    """How the checkpoints of a run have gone.

    Attributes:
        completed: how many exist, or existed.
        failed: how many were given up.
        last: the number of the newest complete one; 0 if there is none.
        healthy: no more have failed in a row than is tolerable.
        savepoints: how many of the user's are complete; they count here alone.
    """

    completed: int = 0
    failed: int = 0
    last: int = 0
    healthy: bool = True
    savepoints: int = 0

    def completed_one(self, checkpoint_id: int) -> CheckpointCounts:
        """Return the counts with one more that is complete."""
        completed = self.completed + 1
        return replace(self, completed=completed, last=checkpoint_id, healthy=True)

    def failed_one(self, *, healthy: bool) -> CheckpointCounts:
        """Return the counts with one more that failed."""
        return replace(self, failed=self.failed + 1, healthy=healthy)

    def saved_one(self) -> CheckpointCounts:
        """Return the counts with one more savepoint."""
        return replace(self, savepoints=self.savepoints + 1)

    def __str__(self) -> str:
        text = f"checkpoints: {self.completed:,} completed, {self.failed:,} failed"
        if self.savepoints:
            text += f"; savepoints: {self.savepoints:,}"
        return text if self.healthy else f"{text}; UNHEALTHY: the last ones in a row failed"


@dataclass(frozen=True, slots=True)
class JobResult:
    """What is known once a run has ended.

    Attributes:
        job: the job's name.
        status: COMPLETED, CANCELLED or FAILED.
        duration_s: from start to end.
        account: every operator's and edge's counts.
        error: why it failed; None otherwise.
        checkpoints: how its checkpoints went; None if it makes none.
        savepoint: the folder of the savepoint that it was stopped with; None otherwise.
    """

    job: str
    status: JobStatus
    duration_s: float
    account: Account
    error: BaseException | None = None
    checkpoints: CheckpointCounts | None = None
    savepoint: str | None = None

    def report(self) -> str:
        """Return the counts as text, and whether they add up."""
        lines = [f"{self.job}: {self.status} in {self.duration_s:.2f} s"]
        width = max([8, *(len(each.id) for each in self.account.operators)])
        lines.append(f"  {'operator':<{width}} {'in':>13} {'out':>13} {'filtered':>13}  own terms")
        for each in self.account.operators:
            terms = [
                f"{name} {number:,}"
                for name, number in (("created", each.created), ("absorbed", each.absorbed))
                if number
            ]
            lines.append(
                f"  {each.id:<{width}} {each.records_in:>13,} {each.records_out:>13,} "
                f"{each.filtered:>13,}  {', '.join(terms)}".rstrip()
            )
        lost = [edge for edge in self.account.edges if edge.dropped or edge.discarded]
        for edge in lost:
            lines.append(f"  {edge.name}: {edge.dropped:,} dropped, {edge.discarded:,} discarded")
        if self.checkpoints is not None:
            lines.append(f"  {self.checkpoints}")
        if self.savepoint is not None:
            lines.append(f"  ended with savepoint {self.savepoint}")
        lines.append(f"  {self._verdict()}")
        return "\n".join(lines)

    def _verdict(self) -> str:
        violations = list(self.account.violations())
        inconsistent = isinstance(self.error, InconsistentError)
        if violations and (inconsistent or self.status is JobStatus.COMPLETED):
            return "INCONSISTENT: " + "; ".join(violations)
        if self.status is not JobStatus.COMPLETED:
            return "not reconciled: the run was cut short, and what was in flight is not counted"
        edges = len(self.account.edges)
        return (
            f"consistent: in = out + filtered at every operator, both ends of {edges} edges agree"
        )
