"""What an adapter saves over a horizon, and how sure that is: inputs, line items, cash flows, key figures.

Amounts of line items are rounded to the currency's unit (whole yen, cents), half up, and every total is the sum
of its rounded lines, so that what is printed adds up. Cash flows and NPV are taken before that rounding and
rounded once.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from pydantic import Field

from rsa_ops.core.costs import Basis
from rsa_ops.core.digest import Digest
from rsa_ops.core.money import Currency, Money
from rsa_ops.core.record import Record, Value

CATEGORIES = (
    "adoption",
    "training",
    "retraining",
    "requalification",
    "evaluation",
    "labelling",
    "serving",
    "storage",
    "transfer",
    "people",
    "governance",
    "energy",
    "risk",
)


class InputUsed(Value):
    """One assumption of the scenario, with the range that sensitivity and simulation move it in."""

    name: str
    value: Decimal
    low: Decimal
    high: Decimal
    unit: str
    basis: Basis
    source: str


class CaseLine(Value):
    """One cost of one arm: `quantity` x `unit_price` in each of the months `first` to `last` (0 is the start).

    `amount` = quantity x unit_price x (last - first + 1), rounded to the currency's unit, half up.
    """

    arm: str
    category: str
    description: str
    quantity: Decimal
    unit: str
    quantity_basis: Basis
    unit_price: Money
    price_basis: Basis
    first: int = Field(ge=0)
    last: int = Field(ge=0)
    amount: Money
    source: str

    @property
    def monthly(self) -> Decimal:
        """Quantity x unit price, not rounded."""
        return self.quantity * self.unit_price.amount


class CategoryTotal(Value):
    """The rounded lines of one category, added up."""

    category: str
    amount: Money


class ArmCase(Value):
    """One arm over the horizon. `total` is the sum of `categories`, which are sums of rounded lines."""

    arm: str
    categories: tuple[CategoryTotal, ...]
    total: Money


class Shares(Value):
    """What both totals rest on: shares of the amounts by the basis of their quantity, adding up to 1."""

    measured: float
    quoted: float
    assumed: float
    derived: float


class KeyFigure(Value):
    """A figure that may not exist; `value` is None then, and `reason` says why."""

    value: Decimal | None
    unit: str
    reason: str = ""


class Swing(Value):
    """One bar of the tornado: NPV with one input at its low and at its high end, all others as they are."""

    input: str
    low: Decimal
    high: Decimal
    npv_at_low: Money
    npv_at_high: Money
    basis: Basis

    @property
    def width(self) -> Decimal:
        """How far the input moves the NPV."""
        return abs(self.npv_at_high.amount - self.npv_at_low.amount)


class Simulation(Value):
    """All inputs and the quality difference drawn at once. Percentiles of NPV and of the simple payback in months.

    `payback_p50`, `payback_p90` are None where that share of the draws does not pay back within the horizon.
    """

    draws: int
    seed: int
    probability_npv_positive: float
    npv_p10: Money
    npv_p50: Money
    npv_p90: Money
    saving_p10: Money
    saving_p90: Money
    payback_p50: int | None
    payback_p90: int | None


class Harm(Value):
    """The risk that the comparison leaves: P(candidate worse than the margin), and how much worse it is then.

    `mean_loss` is the expected loss in score units given that it is worse than the margin; `metric` and the
    estimate are those of the comparison.
    """

    metric: str
    difference: float
    standard_error: float
    degrees_of_freedom: float | None
    margin: float
    probability: float
    mean_loss: float


class BusinessCase(Record):
    """`business_case.json`. `cash_flows[t]` is what the candidate saves in month t; month 0 holds the investment.

    `saving` is total of the baseline less total of the candidate, adoption included. `investment` is what only the
    candidate costs at the start. `npv` counts month 0 undiscounted and month t by (1 + r)^(-t/12).
    """

    schema_: Literal["rsa_ops/business-case/v1"] = Field(default="rsa_ops/business-case/v1", alias="schema")

    pipeline: str
    scenario: str
    scenario_digest: Digest
    title: str
    inputs: tuple[InputUsed, ...]
    currency: Currency
    horizon_months: int
    price_book: str
    price_book_digest: Digest
    price_book_date: str
    fx_note: str
    candidate: str
    baseline: str
    lines: tuple[CaseLine, ...]
    arms: tuple[ArmCase, ...]
    cash_flows: tuple[Decimal, ...]
    saving: Money
    investment: Money
    npv: Money
    roi: KeyFigure
    payback: KeyFigure
    discounted_payback: KeyFigure
    irr: KeyFigure
    breakeven_requests: KeyFigure
    breakeven_variants: KeyFigure
    harm: Harm
    carbon_kg: KeyFigure
    tornado: tuple[Swing, ...]
    simulation: Simulation
    shares: Shares
    warnings: tuple[str, ...]
    unknowns: tuple[str, ...]

    def arm(self, name: str) -> ArmCase:
        """The case of one arm; `candidate` and `baseline` name the two there are."""
        return next(arm for arm in self.arms if arm.arm == name)

    def input(self, name: str) -> InputUsed:
        """One assumption by its name."""
        return next(entry for entry in self.inputs if entry.name == name)


class Portfolio(Record):
    """Several pilots added up: every total is the sum of the cases' own totals."""

    schema_: Literal["rsa_ops/portfolio/v1"] = Field(default="rsa_ops/portfolio/v1", alias="schema")

    currency: Currency
    horizon_months: int
    cases: tuple[Digest, ...]
    pipelines: tuple[str, ...]
    candidate_total: Money
    baseline_total: Money
    saving: Money
    investment: Money
    npv: Money
    cash_flows: tuple[Decimal, ...]
