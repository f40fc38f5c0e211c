"""Net present value, payback, rate of return: textbook formulas over monthly cash flows.

Month 0 is now and is not discounted; month t is discounted by (1 + r)^(-t/12), r the yearly rate (Brealey, Myers
and Allen, Principles of Corporate Finance, chapter 2). A spreadsheet's NPV() discounts its first value by a whole
period, so that NPV here = first value + NPV(rate; the others).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal, localcontext
from functools import lru_cache
from itertools import pairwise

from rsa_ops.errors import UsageError

_DIGITS = 40
_RATE_STEPS = 200
_HIGHEST_RATE = Decimal(100)


def npv(flows: Sequence[Decimal], rate: Decimal, *, per_year: int = 12) -> Decimal:
    """Net present value of flows at times 0, 1, 2, ... of which `per_year` make a year; `rate` is yearly.

    Raises:
        UsageError: no flows, or a rate of -1 or less.
    """
    if not flows:
        raise UsageError("no cash flows, so there is no present value", hint="A horizon has at least one month.")
    if rate <= -1:
        raise UsageError(f"a discount rate of {rate} has no meaning", hint="5 % a year is 0.05.")
    with localcontext(prec=_DIGITS):
        step = (1 + rate) ** (Decimal(-1) / per_year)
        return sum((flow * step**time for time, flow in enumerate(flows)), Decimal(0))


def payback_month(flows: Sequence[Decimal], rate: Decimal = Decimal(0)) -> int | None:
    """The first month from which on the flows so far, discounted by `rate`, stay at zero or above; None if never.

    A case that costs nothing first pays back in month 0.
    """
    with localcontext(prec=_DIGITS):
        step = (1 + rate) ** (Decimal(-1) / 12)
        reached, total = None, Decimal(0)
        for time, flow in enumerate(flows):
            total += flow * step**time
            if total < 0:
                reached = None
            elif reached is None:
                reached = time
        return reached


def sign_changes(flows: Sequence[Decimal]) -> int:
    """How often the flows change sign, zeros left out."""
    signs = [flow > 0 for flow in flows if flow != 0]
    return sum(one != other for one, other in pairwise(signs))


def irr(flows: Sequence[Decimal]) -> Decimal | None:
    """The yearly rate at which the present value is zero; None unless the flows change sign exactly once.

    With one change of sign there is at most one rate above -100 % (Descartes' rule of signs). None also where that
    rate lies beyond 10,000 % a year.
    """
    if sign_changes(flows) != 1:
        return None
    return _root(lambda rate: npv(flows, rate), Decimal("-0.999999"), _HIGHEST_RATE)


def _root(value: Callable[[Decimal], Decimal], low: Decimal, high: Decimal) -> Decimal | None:
    """Bisection, to 12 decimals; None without a change of sign between the ends."""
    at_low = value(low)
    if at_low * value(high) > 0:
        return None
    for _ in range(_RATE_STEPS):
        middle = (low + high) / 2
        if at_low * value(middle) > 0:
            low = middle
        else:
            high = middle
        if high - low < Decimal("1e-12"):
            break
    return (low + high) / 2


@lru_cache(maxsize=1024)
def annuity(first: int, last: int, rate: Decimal) -> Decimal:
    """Present value of 1 in each of the months `first` to `last`."""
    return npv([Decimal(int(first <= time)) for time in range(last + 1)], rate)


def straight_line_hour(price: Decimal, salvage: Decimal, life_years: Decimal, hours_per_year: Decimal) -> Decimal:
    """Depreciation of one hour of an owned machine, straight-line (定額法): (price - salvage) / life / hours.

    Raises:
        UsageError: a life or hours of zero, or a salvage above the price.
    """
    if life_years <= 0 or hours_per_year <= 0:
        raise UsageError(f"a life of {life_years} years at {hours_per_year} hours a year cannot carry a price")
    if not 0 <= salvage <= price:
        raise UsageError(f"a salvage value of {salvage} for a machine of {price}", hint="From 0 to its price.")
    return (price - salvage) / life_years / hours_per_year
