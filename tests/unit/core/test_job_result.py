"""What a run reports when it has ended."""

from __future__ import annotations

import pytest

from millstream.core.accounting import Account, EdgeCounts, OperatorCounts
from millstream.core.errors import InconsistentError, OperatorError
from millstream.core.job_result import JobResult
from millstream.core.job_status import JobStatus

GOOD = Account(
    operators=(
        OperatorCounts("orders", 1_234_567, 1_234_567),
        OperatorCounts("large", 1_234_567, 1_000, filtered=1_233_567),
        OperatorCounts("totals", 1_000, 4, created=4, absorbed=1_000),
    ),
    edges=(EdgeCounts("orders -> engine", 1_234_567, 1_234_567), EdgeCounts("a -> b", 5, 5)),
)
BAD = Account(operators=(OperatorCounts("leaky", 2, 1),))


def result(status: JobStatus, account: Account, error: BaseException | None = None) -> JobResult:
    return JobResult("revenue", status, 1.234, account, error)


def test_the_report_has_every_operators_counts_and_says_that_they_add_up() -> None:
    assert result(JobStatus.COMPLETED, GOOD).report().splitlines() == [
        "revenue: COMPLETED in 1.23 s",
        "  operator            in           out      filtered  own terms",
        "  orders       1,234,567     1,234,567             0",
        "  large        1,234,567         1,000     1,233,567",
        "  totals           1,000             4             0  created 4, absorbed 1,000",
        "  consistent: in = out + filtered at every operator, both ends of 2 edges agree",
    ]


def test_a_long_name_widens_the_first_column() -> None:
    name = "a_rather_long_uid_for_an_operator"
    account = Account(operators=(OperatorCounts(name, 1, 1), OperatorCounts("b", 1, 1)))
    _, header, first, second, _ = result(JobStatus.COMPLETED, account).report().splitlines()
    assert header.index(" in ") + len("in") == first.index(" 1 ") + len("1")
    assert len(first) == len(second)


def test_dropped_and_discarded_records_are_told() -> None:
    account = Account(edges=(EdgeCounts("in -> engine", 10_000, 8_000, 1_500, 500),))
    report = result(JobStatus.CANCELLED, account).report()
    assert "  in -> engine: 1,500 dropped, 500 discarded" in report.splitlines()


@pytest.mark.parametrize("status", [JobStatus.CANCELLED, JobStatus.FAILED])
def test_a_run_that_was_cut_short_is_not_reconciled(status: JobStatus) -> None:
    error = OperatorError("boom", operator_uid="leaky") if status is JobStatus.FAILED else None
    report = result(status, BAD, error).report()
    assert report.startswith(f"revenue: {status.value} in 1.23 s")
    assert report.endswith("not reconciled: the run was cut short, and what was in flight is not "
                           "counted")  # fmt: skip


@pytest.mark.parametrize(
    ("status", "error"),
    [(JobStatus.COMPLETED, None), (JobStatus.FAILED, InconsistentError("INCONSISTENT"))],
)
def test_a_run_that_lost_records_says_where(status: JobStatus, error: Exception | None) -> None:
    last = result(status, BAD, error).report().splitlines()[-1]
    assert last.startswith("  INCONSISTENT: operator 'leaky': 2 in + 0 created is not 1 out")
