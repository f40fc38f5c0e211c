"""A business case as plain lines for a terminal of 80 columns."""

from __future__ import annotations

from rsa_ops.core.business_case import BusinessCase, KeyFigure, Portfolio, Simulation
from rsa_ops.core.money import Money


def case_lines(case: BusinessCase) -> list[str]:
    """The decision first, then where the money goes, then what moves it most."""
    sure = case.simulation
    what = f"{case.pipeline}: {case.candidate} instead of {case.baseline}"
    lines = [
        f"{what}, scenario {case.scenario}, {case.horizon_months} months",
        f"{case.shares.measured:.0%} of the total rests on measurement, {case.shares.assumed:.0%} on assumptions",
        "",
        f"saving            {case.saving}  ({sure.saving_p10} to {sure.saving_p90} in 8 of 10 draws)",
        f"NPV               {case.npv}  (above zero in {sure.probability_npv_positive:.0%} of the draws)",
        f"investment        {case.investment}",
        f"return            {figure(case.roi, percent=True)}",
        f"payback           {figure(case.payback)}{_payback(sure)}",
        f"IRR               {figure(case.irr, percent=True)}",
        f"breaks even at    {figure(case.breakeven_variants)}; {figure(case.breakeven_requests)}",
        f"chance of harm    {case.harm.probability:.1%} that it is worse than the margin of {case.harm.margin:g}",
        "",
        f"{'':18}{case.candidate:>16}{case.baseline:>16}",
    ]
    ours, theirs = (
        {entry.category: entry.amount for entry in case.arm(arm).categories}
        for arm in (case.candidate, case.baseline)
    )
    nothing = Money(amount=case.saving.amount * 0, currency=case.currency)
    for category in dict.fromkeys((*ours, *theirs)):
        left, right = str(ours.get(category, nothing)), str(theirs.get(category, nothing))
        lines.append(f"{category:18}{left:>16}{right:>16}")
    totals = [str(case.arm(arm).total) for arm in (case.candidate, case.baseline)]
    lines += [f"{'total':18}{totals[0]:>16}{totals[1]:>16}", "", "what moves the NPV most:"]
    for swing in case.tornado[:5]:
        lines.append(
            f"  {swing.input:26} {swing.npv_at_low!s:>14} {swing.npv_at_high!s:>14}  ({swing.basis.value})"
        )
    lines += ["", *(f"warning: {words}" for words in case.warnings)]
    return [*lines, *(f"not known: {words}" for words in case.unknowns)]


def portfolio_lines(portfolio: Portfolio) -> list[str]:
    """The sums of several cases."""
    return [
        f"{len(portfolio.cases)} runs over {portfolio.horizon_months} months: {', '.join(portfolio.pipelines)}",
        f"candidates  {portfolio.candidate_total}",
        f"baselines   {portfolio.baseline_total}",
        f"saving      {portfolio.saving}",
        f"investment  {portfolio.investment}",
        f"NPV         {portfolio.npv}",
    ]


def figure(found: KeyFigure, *, percent: bool = False) -> str:
    """A key figure with its unit, or why there is none."""
    if found.value is None:
        return f"none: {found.reason}"
    return f"{found.value:.0%} {found.unit}" if percent else f"{found.value:,} {found.unit}"


def _payback(sure: Simulation) -> str:
    if sure.payback_p50 is None:
        return ""
    late = "never within it" if sure.payback_p90 is None else f"{sure.payback_p90} months"
    return f"  (half of the draws by {sure.payback_p50} months, nine of ten: {late})"
