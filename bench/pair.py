"""A comparison: two sides run in turn, and the median of the pairs' ratios."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from bench.data import Answer, AnswerOf, is_right
from bench.process import Outcome, Side, interleave
from bench.result import Result, holds
from bench.row import Effort


@dataclass(frozen=True, slots=True)
class Comparison:
    """A row with a ratio.

    Attributes:
        name: for ``--only``.
        workload: what both sides do.
        records: of a full run, chosen so that a run takes about a second.
        baseline: what the variant is compared with.
        variant: what is measured.
        answer: the right answer.
        floor: the least ratio of CPU time; None: only reported.
        stretch: the ratio to aim for.
        most_pairs: fewer pairs than asked for, for what is slow and has no floor.
    """

    name: str
    workload: str
    records: int
    baseline: Side
    variant: Side
    answer: AnswerOf
    floor: float | None = None
    stretch: float | None = None
    most_pairs: int = 99

    @property
    def about(self) -> str:
        """Return what is compared."""
        return f"{self.workload}: {self.variant.label} / {self.baseline.label}"

    def measure(self, effort: Effort) -> Result:
        """Run the pairs."""
        records = effort.of(self.records)
        expected = self.answer(records)  # this also makes the file, outside the timed processes
        pairs = min(effort.pairs, self.most_pairs)
        baseline, variant = interleave((self.baseline, self.variant), records, pairs)
        return self.result(records, baseline, variant, expected)

    def result(
        self,
        records: int,
        baseline: Sequence[Outcome],
        variant: Sequence[Outcome],
        expected: Answer,
    ) -> Result:
        """Return the row for the outcomes of interleaved runs."""
        pairs = list(zip(baseline, variant, strict=True))
        ratios = [one.cpu_s / other.cpu_s for one, other in pairs]
        ratio = median(ratios)
        wrong = [
            f"{side.label} gave {outcome.answer}, not {expected}"
            for side, outcomes in ((self.baseline, baseline), (self.variant, variant))
            for outcome in outcomes
            if not is_right(outcome.answer, expected)
        ]
        return Result(
            self.name,
            self.workload,
            self.variant.label,
            records,
            records_per_s=records / median(outcome.wall_s for outcome in variant),
            baseline=self.baseline.label,
            baseline_records_per_s=records / median(outcome.wall_s for outcome in baseline),
            ratio=ratio,
            wall_ratio=median(one.wall_s / other.wall_s for one, other in pairs),
            peak_rss_mb=max(outcome.peak_rss_mb for outcome in variant),
            floor=self.floor,
            ok=not wrong and holds(ratio, self.floor, "least"),
            measured=ratio,
            note=f"WRONG: {wrong[0]}" if wrong else "",
            extra={
                "ratios": ratios,
                # Of each side's quickest run: what a busy machine slows down least. Only to read.
                "best_ratio": min(one.cpu_s for one in baseline)
                / min(one.cpu_s for one in variant),
                "stretch": self.stretch,
            },
        )

    def failed(self, why: str) -> Result:
        """Return the row without figures."""
        return Result(
            self.name, self.workload, self.variant.label, self.records,
            baseline=self.baseline.label, floor=self.floor, note=why,
        )  # fmt: skip
