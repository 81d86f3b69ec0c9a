"""How a run ended."""

from __future__ import annotations

from dataclasses import dataclass

from millstream.core.accounting import Account
from millstream.core.errors import InconsistentError
from millstream.core.job_status import JobStatus


@dataclass(frozen=True, slots=True)
class JobResult:
    """What is known once a run has ended.

    Attributes:
        job: the job's name.
        status: COMPLETED, CANCELLED or FAILED.
        duration_s: from start to end.
        account: every operator's and edge's counts.
        error: why it failed; None otherwise.
    """

    job: str
    status: JobStatus
    duration_s: float
    account: Account
    error: BaseException | None = None

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
