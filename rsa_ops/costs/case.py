"""The business case of one run: measured usage x price book x scenario, against one baseline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from rsa_ops.core.business_case import (
    CATEGORIES,
    ArmCase,
    BusinessCase,
    CaseLine,
    CategoryTotal,
    Harm,
    KeyFigure,
    Portfolio,
    Shares,
)
from rsa_ops.core.comparison import Comparison
from rsa_ops.core.costs import Basis
from rsa_ops.core.measurements import Measurements
from rsa_ops.core.money import Currency, Money
from rsa_ops.costs.config import CostConfig
from rsa_ops.costs.finance import irr, npv, payback_month, sign_changes
from rsa_ops.costs.flows import ArmFacts, Flow, Price, Prices, price_of
from rsa_ops.costs.harm import assess_harm
from rsa_ops.costs.items import FULL
from rsa_ops.costs.lines import ENERGY_KEY, GB, QUANTITY_STEP, STORAGE_KEY, billed_hours, compute_line, decimal
from rsa_ops.costs.pricebook import PriceBook
from rsa_ops.costs.scenario import Scenario
from rsa_ops.costs.simulation import breakeven_requests, breakeven_variants, simulate, tornado
from rsa_ops.costs.valuation import Model, flows
from rsa_ops.errors import MissingError, UsageError

EGRESS_KEY, ENGINEER_KEY, ANNOTATOR_KEY, CARBON_KEY = "egress-gb", "engineer-hour", "annotator-hour", "grid-jp"
FLOW_STEP = Decimal("0.000001")
_BYTES_A_PARAMETER = 4


@dataclass(frozen=True)
class Measured:
    """What a run knows: its cells, the seconds that judging each arm took, and the comparison."""

    pipeline: str
    cells: tuple[Measurements, ...]
    evaluations: Mapping[str, float]
    comparison: Comparison


def business_case(
    measured: Measured, book: PriceBook, config: CostConfig, scenario: Scenario, today: date
) -> BusinessCase:
    """The candidate of the comparison against its first baseline, over the scenario's horizon.

    Raises:
        MissingError: a price, a measurement, an evaluation time or the comparison's difference is missing.
        UsageError: a quantity below zero, or currencies without a rate between them.
    """
    comparison = measured.comparison
    if not comparison.baselines:
        raise MissingError("the comparison has no baseline, so there is nothing to save against")
    baseline = comparison.baselines[0]
    harm = assess_harm(comparison, baseline)
    model = _model(measured, book, config, scenario, harm)
    values = scenario.inputs.values()
    lines = tuple(_line(flow, values, scenario.currency) for flow in flows(model, values))
    months = _months(lines, comparison.candidate, model.horizon)
    invested = _invested(lines, comparison.candidate)
    arms = tuple(arm_case(arm, lines, scenario.currency) for arm in (comparison.candidate, baseline))
    return BusinessCase(
        pipeline=measured.pipeline,
        scenario=scenario.id,
        scenario_digest=scenario.digest(),
        title=scenario.title,
        inputs=scenario.used(),
        currency=scenario.currency,
        horizon_months=scenario.horizon_months,
        price_book=book.id,
        price_book_digest=book.digest(),
        price_book_date=book.date,
        fx_note=book.fx.note if book.fx else "no rate: all prices are in one currency",
        candidate=comparison.candidate,
        baseline=baseline,
        lines=lines,
        arms=arms,
        cash_flows=tuple(month.quantize(FLOW_STEP) for month in months),
        saving=_difference(arms[1].total, arms[0].total),
        npv=Money(amount=npv(months, values["discount_rate"]), currency=scenario.currency).rounded(),
        harm=harm,
        carbon_kg=_carbon(measured, book, scenario),
        tornado=tornado(model, scenario, scenario.currency),
        simulation=simulate(model, scenario, harm, scenario.currency),
        breakeven_requests=breakeven_requests(model, values),
        breakeven_variants=breakeven_variants(model, values),
        shares=_shares(lines),
        warnings=(*_warnings(book, model.prices, config, today), *_more_tries(measured, scenario)),
        unknowns=_unknowns(measured, scenario),
        investment=Money(amount=invested, currency=scenario.currency),
        roi=_roi(sum(months, Decimal(0)), invested),
        payback=_payback(payback_month(months), model.horizon),
        discounted_payback=_payback(payback_month(months, values["discount_rate"]), model.horizon),
        irr=_irr(months),
    )


def _model(measured: Measured, book: PriceBook, config: CostConfig, scenario: Scenario, harm: Harm) -> Model:
    prices = _prices(measured, book, config, scenario)
    comparison, with_energy = measured.comparison, prices.energy is not None
    return Model(
        candidate=_facts(measured, book, config, comparison.candidate, with_energy=with_energy),
        baseline=_facts(measured, book, config, comparison.baselines[0], with_energy=with_energy),
        prices=prices,
        wrong_share=decimal(harm.probability) * decimal(harm.mean_loss),
        horizon=scenario.horizon_months,
    )


def arm_case(arm: str, lines: Sequence[CaseLine], currency: Currency) -> ArmCase:
    """The rounded lines of one arm added up, by category and in all."""
    own = [line for line in lines if line.arm == arm]
    totals = []
    for category in CATEGORIES:
        amounts = [line.amount.amount for line in own if line.category == category]
        if amounts:
            totals.append(CategoryTotal(category=category, amount=Money(amount=sum(amounts), currency=currency)))  # type: ignore[arg-type]
    total = sum((entry.amount.amount for entry in totals), Decimal(0))
    return ArmCase(arm=arm, categories=tuple(totals), total=Money(amount=total, currency=currency))


def portfolio(cases: Sequence[BusinessCase]) -> Portfolio:
    """Several business cases added up.

    Raises:
        UsageError: none, two currencies, or two horizons, which do not add up.
    """
    if not cases:
        raise UsageError("no business cases to add up")
    first = cases[0]
    for what in ("currency", "horizon_months"):
        found = sorted({str(getattr(case, what)) for case in cases})
        if len(found) > 1:
            raise UsageError(
                f"cases with different {what} do not add up: {', '.join(found)}",
                hint="Make each with scenarios of one currency and one horizon.",
            )

    def total(amounts: list[Money]) -> Money:
        return Money(amount=sum((each.amount for each in amounts), Decimal(0)), currency=first.currency)

    months = zip(*(case.cash_flows for case in cases), strict=True)
    return Portfolio(
        currency=first.currency,
        horizon_months=first.horizon_months,
        cases=tuple(case.digest() for case in cases),
        pipelines=tuple(case.pipeline for case in cases),
        candidate_total=total([case.arm(case.candidate).total for case in cases]),
        baseline_total=total([case.arm(case.baseline).total for case in cases]),
        saving=total([case.saving for case in cases]),
        investment=total([case.investment for case in cases]),
        npv=total([case.npv for case in cases]),
        cash_flows=tuple(sum(month, Decimal(0)) for month in months),
    )


def _facts(measured: Measured, book: PriceBook, config: CostConfig, arm: str, *, with_energy: bool) -> ArmFacts:
    cells = [cell for cell in measured.cells if cell.cell.arm == arm]
    if not cells:
        raise MissingError(f"no measurements of the arm {arm}", hint="`rsa-ops train` writes one for each cell.")
    if arm not in measured.evaluations:
        raise MissingError(f"no evaluation time for the arm {arm}", hint="`rsa-ops benchmark` writes one per cell.")
    first, count = cells[0], len(cells)
    line = compute_line(book, config, first)
    full = first.method == FULL
    base = Decimal(0) if full else Decimal(first.total_parameters * _BYTES_A_PARAMETER) / GB
    return ArmFacts(
        arm=arm,
        full=full,
        seeds=count,
        training_hours=sum((billed_hours(line, cell.wall_seconds, cell) for cell in cells), Decimal(0)) / count,
        evaluation_hours=billed_hours(line, measured.evaluations[arm], first) / count,
        artifact_gb=Decimal(sum(cell.artifact_bytes for cell in cells)) / count / GB,
        base_gb=base,
        energy_kwh=_energy(cells) if with_energy else None,
    )


def _energy(cells: Sequence[Measurements]) -> Decimal:
    """Mean energy of one training.

    Raises:
        MissingError: a cell without a figure.
    """
    for cell in cells:
        if cell.energy.energy_kwh is None:
            raise MissingError(
                f"{cell.cell.name}: the scenario prices energy, but none was measured or estimated",
                hint="Set include_energy to false (a rented hour has it in), or train where a counter can be read.",
            )
    return sum((decimal(cell.energy.energy_kwh or 0.0) for cell in cells), Decimal(0)) / len(cells)


def _prices(measured: Measured, book: PriceBook, config: CostConfig, scenario: Scenario) -> Prices:
    if not measured.cells:
        raise MissingError("no measurements to price", hint="`rsa-ops train` writes a measurements.json per cell.")

    def named(key: str, needed_for: str, factor: str = "machine_price_factor") -> Price:
        return price_of(book, book.line(key, needed_for), scenario.currency, factor)

    machine = compute_line(book, config, measured.cells[0])
    energy = named(ENERGY_KEY, "energy") if scenario.include_energy else None
    if energy is not None:
        energy = energy._replace(amount=energy.amount * scenario.pue)
    return Prices(
        machine=price_of(book, machine, scenario.currency, "machine_price_factor"),
        serving=named(scenario.serving_line, "serving"),
        storage=named(STORAGE_KEY, "storage"),
        transfer=named(EGRESS_KEY, "transfer"),
        engineer=named(ENGINEER_KEY, "work on trainings", "wage_factor"),
        annotator=named(ANNOTATOR_KEY, "labelling", "wage_factor"),
        energy=energy,
    )


def _line(flow: Flow, values: Mapping[str, Decimal], currency: Currency) -> CaseLine:
    if flow.quantity < 0:
        raise UsageError(f"{flow.arm}, {flow.category}: a quantity of {flow.quantity} is below zero")
    quantity = flow.quantity.quantize(QUANTITY_STEP)
    price = Money(amount=flow.price.now(values), currency=currency)
    amount = price.times(quantity * (flow.last - flow.first + 1)).rounded()
    return CaseLine(
        arm=flow.arm,
        category=flow.category,
        description=flow.description,
        quantity=quantity,
        unit=flow.price.unit,
        quantity_basis=flow.basis,
        unit_price=price,
        price_basis=flow.price.basis,
        first=flow.first,
        last=flow.last,
        amount=amount,
        source=flow.price.source,
    )


def _months(lines: Sequence[CaseLine], candidate: str, horizon: int) -> list[Decimal]:
    """What the candidate saves in each month, by the lines as they are printed."""
    months = [Decimal(0)] * (horizon + 1)
    for line in lines:
        signed = -line.monthly if line.arm == candidate else line.monthly
        for month in range(line.first, line.last + 1):
            months[month] += signed
    return months


def _invested(lines: Sequence[CaseLine], candidate: str) -> Decimal:
    """What only the candidate costs at the start."""
    own = (line.amount.amount for line in lines if line.arm == candidate and line.category == "adoption")
    return sum(own, Decimal(0))


def _roi(gained: Decimal, invested: Decimal) -> KeyFigure:
    """Net gain / investment, not discounted; the savings already have the investment taken off."""
    if invested == 0:
        return KeyFigure(value=None, unit="of the investment", reason="nothing is invested")
    return KeyFigure(value=(gained / invested).quantize(Decimal("0.0001")), unit="of the investment")


def _payback(month: int | None, horizon: int) -> KeyFigure:
    if month is None:
        return KeyFigure(value=None, unit="months", reason=f"not within {horizon} months")
    return KeyFigure(value=Decimal(month), unit="months")


def _irr(months: Sequence[Decimal]) -> KeyFigure:
    changes = sign_changes(months)
    if changes != 1:
        why = "the flows never change sign" if changes == 0 else f"the flows change sign {changes} times"
        return KeyFigure(value=None, unit="/year", reason=f"{why}, so no single rate answers")
    found = irr(months)
    if found is None:
        return KeyFigure(value=None, unit="/year", reason="the rate lies beyond 10,000 % a year")
    return KeyFigure(value=found.quantize(Decimal("0.0001")), unit="/year")


def _difference(one: Money, other: Money) -> Money:
    return one + Money(amount=-other.amount, currency=other.currency)


def _carbon(measured: Measured, book: PriceBook, scenario: Scenario) -> KeyFigure:
    """Carbon of the run's own trainings and nothing else: energy x PUE x the grid's factor."""
    energies = [cell.energy.energy_kwh for cell in measured.cells]
    if any(energy is None for energy in energies):
        return KeyFigure(value=None, unit="kg CO2e", reason="the energy of some trainings is not known")
    factor = book.factor(CARBON_KEY, "carbon")
    energy = sum((decimal(energy or 0.0) for energy in energies), Decimal(0))
    return KeyFigure(value=(energy * scenario.pue * factor.value).quantize(FLOW_STEP), unit="kg CO2e")


def _shares(lines: Sequence[CaseLine]) -> Shares:
    total = sum((line.amount.amount for line in lines), Decimal(0))

    def share(basis: Basis) -> float:
        part = sum((line.amount.amount for line in lines if line.quantity_basis is basis), Decimal(0))
        return float(part / total) if total else 0.0

    return Shares(
        measured=share(Basis.MEASURED),
        quoted=share(Basis.QUOTED),
        assumed=share(Basis.ASSUMED),
        derived=share(Basis.DERIVED),
    )


def _warnings(book: PriceBook, prices: Prices, config: CostConfig, today: date) -> tuple[str, ...]:
    """What a reader must know about the prices: stale ones, an assumed rate, energy on top of a rented machine."""
    used = {price.source for price in vars(prices).values() if price is not None}
    found = list(book.stale(today, config.stale_after_days, lambda key: _is_used(key, used)))
    abroad = any("exchange_rate_factor" in price.factors for price in vars(prices).values() if price is not None)
    if abroad and book.fx is not None and book.fx.basis is Basis.ASSUMED:
        found.append(f"the rate of {book.fx.jpy_per_usd} JPY per USD is assumed, not quoted")
    found += _energy_twice_or_never(book, prices)
    if prices.energy is not None:
        found.append("energy is priced on top of the machine: right only if the machine's price excludes it")
    return tuple(found)


def _energy_twice_or_never(book: PriceBook, prices: Prices) -> Iterator[str]:
    """An owned machine has its electricity in its hour, or the scenario prices it, and not both."""
    for machine in book.owned:
        if not _is_used(machine.key, {price.source for price in (prices.machine, prices.serving)}):
            continue
        if machine.watts and prices.energy is not None:
            yield f"`{machine.key}` has its electricity in its hour, and the scenario prices the energy again"
        if not machine.watts and prices.energy is None:
            yield f"`{machine.key}` has no electricity in its hour, and the scenario prices none"


def _more_tries(measured: Measured, scenario: Scenario) -> Iterator[str]:
    """A word where this very run needed more trainings for one that is kept than the scenario assumes."""
    begun = Decimal(sum(cell.attempts for cell in measured.cells)) / len(measured.cells)
    assumed = scenario.inputs.tries_per_training.value
    if begun > assumed:
        yield f"this run began {begun:.1f} trainings for each that it kept, the scenario pays for {assumed}"


def _is_used(key: str, sources: set[str]) -> bool:
    return any(source.startswith(f"{key}, ") for source in sources)


def _unknowns(measured: Measured, scenario: Scenario) -> tuple[str, ...]:
    """What this case does not know, in sentences."""
    found = [
        "whether the answers get better or worse in use than on the test set",
        "taxes, discounts and commitments of your contracts, unless your price book has them",
        "what a better answer is worth: only harm is priced, never a gain in quality",
    ]
    found += _energy_doubt(measured.cells)
    assumed = sum(entry.basis is Basis.ASSUMED for _, entry in scenario.inputs.each())
    found.append(
        f"{assumed} of {len(scenario.used())} inputs of the scenario are assumed; replace them by your own"
    )
    return tuple(found)


def _energy_doubt(cells: Sequence[Measurements]) -> Iterator[str]:
    widths = [cell.energy.relative_uncertainty for cell in cells]
    known = max((width for width in widths if width is not None), default=None)
    off = "" if known is None else f"; it may be off by {known:.0%} either way"
    if any(not cell.energy.source.endswith("counter") for cell in cells):
        what = "no counter could be read, so the carbon figure is an estimate"
        yield f"the energy of the trainings: {what}{off}"
    elif known is not None:
        yield f"the energy of the trainings to better than {known:.0%}, by the meter's own accuracy"


def net_present_value(case: BusinessCase) -> Decimal:
    """The NPV again, from the printed cash flows: what a spreadsheet finds."""
    return npv(case.cash_flows, case.input("discount_rate").value)
