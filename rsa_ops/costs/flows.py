"""The cost model: what one arm costs in each month, as quantity x price over a span of months.

Every formula is written once and taken with two kinds of numbers: exact decimals for the case that is printed, and
arrays of floats, one entry a draw, for the simulation. docs/tco.md works through each with the demo's figures.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from typing import Any, NamedTuple, TypeAlias

from rsa_ops.core.costs import Basis
from rsa_ops.core.money import Currency
from rsa_ops.costs.pricebook import PriceBook, PriceLine

Number: TypeAlias = Any
"""A Decimal, or a numpy array of float64 with one entry a draw. One expression never mixes the two."""

Values: TypeAlias = Mapping[str, Number]
"""The scenario's inputs by name."""

SECONDS_AN_HOUR = 3600
MONTHS_A_YEAR = 12


class Price(NamedTuple):
    """A unit price in the currency of the case, and the factors of the scenario that multiply it."""

    amount: Number
    unit: str
    basis: Basis
    source: str
    factors: tuple[str, ...] = ()

    def now(self, values: Values) -> Number:
        """The amount times its factors."""
        found = self.amount
        for factor in self.factors:
            found = found * values[factor]
        return found


class Flow(NamedTuple):
    """`quantity` x `price` in each of the months `first` to `last` of the arm `arm`."""

    arm: str
    category: str
    description: str
    quantity: Number
    basis: Basis
    price: Price
    first: int
    last: int


@dataclass(frozen=True)
class ArmFacts:
    """What one arm was measured to need: for one training and its evaluation, and to keep.

    Hours are those that the price line of its machine charges. `base_gb` is 0 for full fine-tuning, whose artifact
    is the whole model. `energy_kwh` is None where it was neither measured nor asked for.
    """

    arm: str
    full: bool
    seeds: int
    training_hours: Number
    evaluation_hours: Number
    artifact_gb: Number
    base_gb: Number
    energy_kwh: Number | None

    def floats(self) -> ArmFacts:
        """The same as floats, for the simulation."""
        return ArmFacts(
            self.arm,
            self.full,
            self.seeds,
            float(self.training_hours),
            float(self.evaluation_hours),
            float(self.artifact_gb),
            float(self.base_gb),
            None if self.energy_kwh is None else float(self.energy_kwh),
        )


@dataclass(frozen=True)
class Prices:
    """The prices of a case. `energy` is None where the price of the machine contains it."""

    machine: Price
    serving: Price
    storage: Price
    transfer: Price
    engineer: Price
    annotator: Price
    energy: Price | None

    def floats(self) -> Prices:
        """The same as floats, for the simulation."""
        return Prices(
            _float(self.machine),
            _float(self.serving),
            _float(self.storage),
            _float(self.transfer),
            _float(self.engineer),
            _float(self.annotator),
            None if self.energy is None else _float(self.energy),
        )


def _float(price: Price) -> Price:
    return price._replace(amount=float(price.amount))


def price_of(book: PriceBook, line: PriceLine, currency: Currency, factor: str) -> Price:
    """The price of a line in `currency`; the exchange rate is one of its factors where it was converted.

    Raises:
        UsageError: the currencies differ and the book has no rate.
    """
    abroad = () if line.currency == currency else ("exchange_rate_factor",)
    return Price(
        amount=book.price(line, currency).amount,
        unit=line.unit,
        basis=line.basis,
        source=f"{line.key}, {line.as_of}: {line.source}",
        factors=(factor, *abroad),
    )


def arm_flows(facts: ArmFacts, values: Values, prices: Prices, horizon: int) -> Iterator[Flow]:
    """What the arm costs, without what only a candidate pays (`candidate_flows`)."""
    rate = values["trainings_per_year"] / MONTHS_A_YEAR * values["variants"]
    yield from _rounds(facts, values, prices, ("training", values["variants"], 0, 0))
    yield from _rounds(facts, values, prices, ("retraining", rate, 1, horizon))
    yield _serving(facts, values, prices, horizon)
    yield from _storage(facts, values, prices, horizon)
    yield from _transfer(facts, values, prices, horizon)


def candidate_flows(
    baseline: ArmFacts, arm: str, values: Values, prices: Prices, wrong: tuple[Number, Price], horizon: int
) -> Iterator[Flow]:
    """What only the candidate pays: its introduction, comparing it again, and the harm that it may do.

    `wrong`: expected wrong answers for each request, and what one costs.
    """
    yield Flow(
        arm,
        "adoption",
        "introducing the method, once",
        values["adoption_hours"],
        Basis.ASSUMED,
        prices.engineer,
        0,
        0,
    )
    again = values["requalifications_per_year"] / MONTHS_A_YEAR * values["variants"] * baseline.seeds
    yield Flow(
        arm,
        "requalification",
        f"training and judging {baseline.arm} again, {baseline.seeds} seeds, to compare with",
        again * (baseline.training_hours + baseline.evaluation_hours),
        Basis.DERIVED,
        prices.machine,
        1,
        horizon,
    )
    share, price = wrong
    yield Flow(
        arm,
        "risk",
        "wrong answers more than the baseline gives, if it is worse than the margin, x the chance of that",
        share * values["requests_per_month"] * values["variants"],
        Basis.DERIVED,
        price,
        1,
        horizon,
    )


def _rounds(facts: ArmFacts, values: Values, prices: Prices, when: tuple[str, Number, int, int]) -> Iterator[Flow]:
    """`when`: name of the training round, trainings a month in it, its first and last month."""
    name, count, first, last = when
    tries = values["tries_per_training"]
    spent = count * tries
    labels = count * values["labels_per_training"] * values["label_seconds"] / SECONDS_AN_HOUR
    machine, wage = prices.machine, prices.engineer
    hours = "measured hours of one training x the trainings paid for"
    yield Flow(facts.arm, name, hours, spent * facts.training_hours, Basis.MEASURED, machine, first, last)
    hours = "measured hours of judging one model x the trainings paid for"
    yield Flow(facts.arm, "evaluation", hours, spent * facts.evaluation_hours, Basis.MEASURED, machine, first, last)
    yield Flow(facts.arm, "labelling", "reading new examples", labels, Basis.ASSUMED, prices.annotator, first, last)
    engineer, governance = count * values["engineer_hours"], count * values["governance_hours"]
    yield Flow(facts.arm, "people", "work on each training", engineer, Basis.ASSUMED, wage, first, last)
    papers = "approval, model card and audit of each version"
    yield Flow(facts.arm, "governance", papers, governance, Basis.ASSUMED, wage, first, last)
    if prices.energy is not None and facts.energy_kwh is not None:
        energy = "energy of the trainings paid for"
        yield Flow(facts.arm, "energy", energy, spent * facts.energy_kwh, Basis.DERIVED, prices.energy, first, last)


def _serving(facts: ArmFacts, values: Values, prices: Prices, horizon: int) -> Flow:
    """Reserved machines, paid for whether busy or not: enough for the load, and for the models to fit.

    Each full model needs machines of its own; adapters on one base share them.
    """
    load = values["requests_per_month"] / values["requests_per_replica"]
    if facts.full:
        replicas = values["variants"] * at_least_one(ceiling(load))
        text = "machines for each model of its own, reserved"
    else:
        fit = ceiling(values["variants"] / values["adapters_per_replica"])
        replicas = larger(fit, ceiling(load * values["variants"]))
        text = "machines that the adapters share, reserved"
    return Flow(
        facts.arm, "serving", text, replicas * values["replica_hours"], Basis.DERIVED, prices.serving, 1, horizon
    )


def _storage(facts: ArmFacts, values: Values, prices: Prices, horizon: int) -> Iterator[Flow]:
    kept = values["variants"] * values["versions_kept"] * values["copies"] * facts.artifact_gb
    what = "whole checkpoints" if facts.full else "adapters"
    text = f"{what}, all versions and copies"
    yield Flow(facts.arm, "storage", text, kept, Basis.DERIVED, prices.storage, 1, horizon)
    if not facts.full:
        base = values["copies"] * facts.base_gb
        text = "the base model, once under all adapters, in all copies"
        yield Flow(facts.arm, "storage", text, base, Basis.DERIVED, prices.storage, 1, horizon)


def _transfer(facts: ArmFacts, values: Values, prices: Prices, horizon: int) -> Iterator[Flow]:
    new = values["variants"] * values["sites"] * facts.artifact_gb
    first = new if facts.full else new + values["sites"] * facts.base_gb
    releases = values["trainings_per_year"] / MONTHS_A_YEAR * new
    text = "what each site needs to begin"
    yield Flow(facts.arm, "transfer", text, first, Basis.DERIVED, prices.transfer, 0, 0)
    text = "new versions to every site"
    yield Flow(facts.arm, "transfer", text, releases, Basis.DERIVED, prices.transfer, 1, horizon)


def ceiling(number: Number) -> Number:
    """The next whole number, of a Decimal or of each entry."""
    if isinstance(number, Decimal):
        return number.to_integral_value(ROUND_CEILING)
    import numpy as np

    return np.ceil(number)


def larger(one: Number, other: Number) -> Number:
    """The larger of two, of Decimals or entry by entry."""
    if isinstance(one, Decimal):
        return max(one, other)
    import numpy as np

    return np.maximum(one, other)


def at_least_one(number: Number) -> Number:
    """1 or more, of a Decimal or of each entry: a model that nobody asks is still kept ready."""
    return larger(number, Decimal(1) if isinstance(number, Decimal) else 1.0)
