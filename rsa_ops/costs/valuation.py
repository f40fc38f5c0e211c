"""One valuation: both arms' flows under one set of inputs, what the candidate saves month by month, its NPV."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal

from rsa_ops.core.costs import Basis
from rsa_ops.costs.finance import annuity
from rsa_ops.costs.flows import (
    ArmFacts,
    Flow,
    Number,
    Price,
    Prices,
    Values,
    arm_flows,
    candidate_flows,
)


@dataclass(frozen=True)
class Model:
    """All that does not change between valuations. `wrong_share`: wrong answers a request that the risk adds."""

    candidate: ArmFacts
    baseline: ArmFacts
    prices: Prices
    wrong_share: Number
    horizon: int

    def floats(self, wrong_share: Number) -> Model:
        """The same over floats, with a drawn harm."""
        return replace(
            self,
            candidate=self.candidate.floats(),
            baseline=self.baseline.floats(),
            prices=self.prices.floats(),
            wrong_share=wrong_share,
        )


def flows(model: Model, values: Values) -> list[Flow]:
    """Every flow of both arms, the candidate's first."""
    wrong = Price(
        amount=values["cost_per_wrong_answer"],
        unit="wrong answers",
        basis=Basis.ASSUMED,
        source="cost_per_wrong_answer of the scenario",
    )
    ours, theirs = model.candidate, model.baseline
    return [
        *arm_flows(ours, values, model.prices, model.horizon),
        *candidate_flows(theirs, ours.arm, values, model.prices, (model.wrong_share, wrong), model.horizon),
        *arm_flows(theirs, values, model.prices, model.horizon),
    ]


def savings(model: Model, values: Values) -> list[Number]:
    """What the candidate saves in each month 0, 1, ..., horizon."""
    months: list[Number] = [Decimal(0) if isinstance(model.wrong_share, Decimal) else 0.0] * (model.horizon + 1)
    for flow in flows(model, values):
        amount = flow.quantity * flow.price.now(values)
        signed = -amount if flow.arm == model.candidate.arm else amount
        for month in range(flow.first, flow.last + 1):
            months[month] = months[month] + signed
    return months


def present_value(model: Model, values: Values) -> Decimal:
    """The NPV of what the candidate saves, exact: each flow times the annuity factor of its months."""
    rate: Decimal = values["discount_rate"]
    spans = {(0, 0): Decimal(1), (1, model.horizon): annuity(1, model.horizon, rate)}
    total = Decimal(0)
    for flow in flows(model, values):
        amount = flow.quantity * flow.price.now(values) * spans[flow.first, flow.last]
        total += -amount if flow.arm == model.candidate.arm else amount
    return total
