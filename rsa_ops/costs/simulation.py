"""How sure the saving is: one input at a time (tornado), all at once (Monte Carlo), and where it breaks even."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from rsa_ops.core.business_case import Harm, KeyFigure, Simulation, Swing
from rsa_ops.core.money import Currency, Money
from rsa_ops.costs.harm import LARGEST_LOSS
from rsa_ops.costs.scenario import Assumption, Scenario
from rsa_ops.costs.valuation import Model, present_value, savings

MOST_VARIANTS = 1000
MOST_REQUESTS = Decimal(10**9)
_STEPS = 60


def tornado(model: Model, scenario: Scenario, currency: Currency) -> tuple[Swing, ...]:
    """NPV with each input at either end of its range, widest first."""
    values = scenario.inputs.values()

    def at(name: str, value: Decimal) -> Money:
        return Money(amount=present_value(model, {**values, name: value}), currency=currency).rounded()

    swings = [
        Swing(
            input=name,
            low=entry.low,
            high=entry.high,
            npv_at_low=at(name, entry.low),
            npv_at_high=at(name, entry.high),
            basis=entry.basis,
        )
        for name, entry in scenario.inputs.each()
        if entry.low != entry.high
    ]
    return tuple(sorted(swings, key=lambda swing: (-swing.width, swing.input)))


def simulate(model: Model, scenario: Scenario, harm: Harm, currency: Currency) -> Simulation:
    """Every input drawn from a triangle over its range with its value as the mode, independently of the others.

    The difference in quality comes from its own distribution. One seeded generator: the same case, the same draws.
    """
    import numpy as np

    generator = np.random.default_rng(scenario.seed)
    values = {name: _draw(generator, entry, scenario.draws) for name, entry in scenario.inputs.each()}
    difference = _differences(generator, harm, scenario.draws)
    lost = np.where(difference < -harm.margin, np.minimum(-difference, LARGEST_LOSS), 0.0)
    months = np.stack([np.broadcast_to(m, (scenario.draws,)) for m in savings(model.floats(lost), values)])
    time = np.arange(model.horizon + 1)[:, None]
    npv = (months * (1 + values["discount_rate"]) ** (-time / 12)).sum(axis=0)
    saving, payback = months.sum(axis=0), _payback(months)

    def money(amounts: Any, percent: float) -> Money:
        amount = Decimal(repr(float(np.percentile(amounts, percent))))
        return Money(amount=amount, currency=currency).rounded()

    return Simulation(
        draws=scenario.draws,
        seed=scenario.seed,
        probability_npv_positive=float((npv > 0).mean()),
        npv_p10=money(npv, 10),
        npv_p50=money(npv, 50),
        npv_p90=money(npv, 90),
        saving_p10=money(saving, 10),
        saving_p90=money(saving, 90),
        payback_p50=_month(payback, 50),
        payback_p90=_month(payback, 90),
    )


def breakeven_requests(model: Model, values: Mapping[str, Decimal]) -> KeyFigure:
    """Requests a month, for each variant, at which the NPV is zero.

    The NPV need not be monotonic in the volume, because machines come in whole numbers; the crossing nearest to the
    scenario's volume from below or above within a factor of a million is looked for by bisection.
    """

    def value(requests: Decimal) -> Decimal:
        return present_value(model, {**values, "requests_per_month": requests})

    now = values["requests_per_month"]
    here = value(now)
    ends = (Decimal(0), max(now, Decimal(1)) * 10**6)
    for end in ends if here > 0 else reversed(ends):
        there = value(min(end, MOST_REQUESTS))
        if here * there < 0:
            found = _bisect(value, now, min(end, MOST_REQUESTS))
            return KeyFigure(value=found.quantize(Decimal(1)), unit="requests/month")
    words = "pays" if here > 0 else "does not pay"
    return KeyFigure(value=None, unit="requests/month", reason=f"the candidate {words} at any volume looked at")


def breakeven_variants(model: Model, values: Mapping[str, Decimal]) -> KeyFigure:
    """The smallest number of models at which the NPV is above zero, up to `MOST_VARIANTS`."""
    for count in range(1, MOST_VARIANTS + 1):
        if present_value(model, {**values, "variants": Decimal(count)}) > 0:
            return KeyFigure(value=Decimal(count), unit="models")
    return KeyFigure(
        value=None, unit="models", reason=f"the candidate does not pay with up to {MOST_VARIANTS} models"
    )


def _bisect(value: Callable[[Decimal], Decimal], start: Decimal, end: Decimal) -> Decimal:
    at_start = value(start)
    for _ in range(_STEPS):
        middle = (start + end) / 2
        if at_start * value(middle) > 0:
            start = middle
        else:
            end = middle
    return end


def _draw(generator: Any, entry: Assumption, draws: int) -> Any:
    import numpy as np

    low, mode, high = float(entry.low), float(entry.value), float(entry.high)
    return generator.triangular(low, mode, high, draws) if low < high else np.full(draws, mode)


def _differences(generator: Any, harm: Harm, draws: int) -> Any:
    freedom = harm.degrees_of_freedom
    standard = generator.standard_normal(draws) if freedom is None else generator.standard_t(freedom, draws)
    return harm.difference + harm.standard_error * standard


def _payback(months: Any) -> Any:
    """Per draw, the first month from which on the savings so far stay at zero or above; infinite where never."""
    import numpy as np

    below = months.cumsum(axis=0) < 0
    last_below = np.where(below.any(axis=0), below.shape[0] - 1 - below[::-1].argmax(axis=0), -1)
    return np.where(last_below == below.shape[0] - 1, np.inf, last_below + 1)


def _month(payback: Any, percent: float) -> int | None:
    import numpy as np

    found = float(np.percentile(payback, percent, method="higher"))
    return int(found) if np.isfinite(found) else None
