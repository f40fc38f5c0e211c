"""One run in one line: what lists of many runs show without opening each one's records.

It repeats what stands in comparison.json, business_case.json and verdict.json, which decide where the two differ.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field

from rsa_ops.core.business_case import BusinessCase
from rsa_ops.core.comparison import Comparison
from rsa_ops.core.money import Money
from rsa_ops.core.record import Record
from rsa_ops.core.verdict import Outcome, Verdict


class Headline(Record):
    """The tag `rsa.headline` of a run.

    `difference`, `low` and `high` are the candidate's against `baseline` on `metric`, in units of the score, with
    the interval that `margin` was held against; None where the comparison is invalid or there is no baseline.
    Costs and the net present value are those of the business case under `scenario`, over its horizon; None where
    the run has no business case.
    """

    schema_: Literal["rsa_ops/headline/v1"] = Field(default="rsa_ops/headline/v1", alias="schema")

    outcome: Outcome
    candidate: str
    baseline: str | None
    metric: str
    difference: float | None
    low: float | None
    high: float | None
    margin: float | None
    examples: int
    candidate_cost: Money | None
    baseline_cost: Money | None
    npv: Money | None
    scenario: str | None
    horizon_months: int | None
    measured_share: float | None

    @classmethod
    def of(cls, verdict: Verdict, comparison: Comparison, case: BusinessCase | None) -> Self:
        """The line of one run, against the first baseline of its comparison."""
        baseline = comparison.baselines[0] if comparison.baselines else None
        contrast = comparison.contrast(comparison.primary_metric, baseline) if baseline else None
        estimate = contrast.result.difference if contrast else None
        return cls(
            outcome=verdict.outcome,
            candidate=comparison.candidate,
            baseline=baseline,
            metric=comparison.primary_metric,
            difference=estimate.value if estimate else None,
            low=estimate.low if estimate else None,
            high=estimate.high if estimate else None,
            margin=contrast.result.margin if contrast else None,
            examples=comparison.examples,
            candidate_cost=case.arm(case.candidate).total if case else None,
            baseline_cost=case.arm(case.baseline).total if case else None,
            npv=case.npv if case else None,
            scenario=case.scenario if case else None,
            horizon_months=case.horizon_months if case else None,
            measured_share=case.shares.measured if case else None,
        )

    @property
    def saving(self) -> Money | None:
        """What the baseline costs more than the candidate; below zero where the candidate costs more."""
        if self.candidate_cost is None or self.baseline_cost is None:
            return None
        less = Money(amount=-self.candidate_cost.amount, currency=self.candidate_cost.currency)
        return self.baseline_cost + less
