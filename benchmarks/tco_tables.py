"""The tables of docs/tco.md, from the cases that `tco_doc.py` makes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from statistics import fmean

from doc_tables import Table
from tco_worked import Case, number, worked_lines

from rsa_ops.core.business_case import KeyFigure
from rsa_ops.core.costs import Basis
from rsa_ops.core.measurements import kilowatt_hours
from rsa_ops.costs.finance import npv

SHOWN_MONTHS = 4
SHOWN_SWINGS = 8


def tables(found: dict[str, Case], worked: str) -> Mapping[str, Callable[[], Table]]:
    """Every table by its name; `worked` is the scenario of the example."""
    one = found[worked]
    return {
        "measured": lambda: measured(one),
        "prices": lambda: prices(one),
        "book": lambda: book(one),
        "owned": lambda: owned(one),
        "lines": lambda: lines(one),
        "totals": lambda: totals(one),
        "harm": lambda: harm(one),
        "months": lambda: months(one),
        "keys": lambda: keys(one),
        "tornado": lambda: tornado(one),
        "draws": lambda: draws(one),
        "shares": lambda: shares(one),
        "scenarios": lambda: scenarios(found),
        "inputs": lambda: inputs(one),
        "published": published,
    }


def yen(amount: Decimal) -> str:
    """`¥12,345`, or with decimals where there are some."""
    return f"{'-' if amount < 0 else ''}¥{abs(amount):,f}"


def measured(one: Case) -> Table:
    """What the run measured, means over its seeds."""
    rows = []
    for arm in (one.case.candidate, one.case.baseline):
        cells = [cell for cell in one.seen.cells if cell.cell.arm == arm]
        energy = [cell.energy.energy_kwh for cell in cells if cell.energy.energy_kwh is not None]
        rows.append(
            [
                arm,
                str(len(cells)),
                f"{fmean(cell.wall_seconds for cell in cells):.1f} s",
                str(cells[0].threads),
                f"{one.seen.evaluations[arm] / len(cells):.1f} s",
                f"{fmean(cell.artifact_bytes for cell in cells) / 1e6:.2f} MB",
                f"{fmean(energy) * 1000:.3f} Wh" if energy else "not measured",
                f"{sum(cell.attempts for cell in cells)} for {len(cells)}",
            ]
        )
    head = ["arm", "seeds", "one training", "threads", "judging one", "what is kept", "energy", "trainings begun"]
    return head, rows


def prices(one: Case) -> Table:
    """Every price that the example uses."""
    used = {line.source: line for line in one.case.lines}
    rows = []
    for source, line in used.items():
        key, _, rest = source.partition(", ")
        day, _, words = rest.partition(": ")
        basis = line.price_basis.value
        rows.append([f"`{key}`" if words else key, f"{yen(line.unit_price.amount)} per {line.unit}", basis, day])
    return ["price", "in yen", "basis", "of"], rows


def book(one: Case) -> Table:
    """The embedded price book, whole."""
    rows = [
        [f"`{line.key}`", f"{line.price} {line.currency}", line.unit, line.basis.value, line.as_of, line.source]
        for line in one.book.lines
    ]
    rows += [
        [f"`{each.key}`", str(each.value), each.unit, each.basis.value, each.as_of, each.source]
        for each in one.book.factors
    ]
    fx = one.book.fx
    if fx is not None:
        rows.append(["rate", f"{fx.jpy_per_usd} JPY", "USD", fx.basis.value, fx.date, fx.source])
    return ["key", "price", "per", "basis", "as of", "source"], rows


def owned(one: Case) -> Table:
    """Machines that one owns, worked."""
    rows = []
    for machine in one.book.owned:
        line = one.book.line(machine.key, "the page")
        kwh = one.book.line("electricity-kwh", "the page").price
        worn = (machine.price - machine.salvage) / machine.life_years / machine.hours_per_year
        power = machine.watts * machine.pue / 1000 * kwh
        if round(worn + power, 6) != line.price:
            raise SystemExit(f"{machine.key}: worked {worn + power}, the book has {line.price}")
        figures = f"({machine.price:,} - {machine.salvage}) / {machine.life_years} / {machine.hours_per_year:,}"
        energy = f"{machine.watts} / 1000 x {machine.pue} x {kwh}"
        rows.append(
            [f"`{machine.key}`", f"{figures} = {worn:.3f}", f"{energy} = {power:.3f}", yen(round(line.price, 3))]
        )
    return ["machine", "depreciation", "electricity", "an hour"], rows


def lines(one: Case) -> Table:
    """Every line with its formula, worked."""
    rows = []
    for name, formula, figures, line in worked_lines(one):
        span = line.last - line.first + 1
        months = "once" if line.first == 0 else f"x {span} months"
        price = number(line.unit_price.amount)
        rows.append(
            [
                name,
                formula,
                f"{figures} = {number(line.quantity)} {line.unit}",
                f"x ¥{price} {months}",
                yen(line.amount.amount),
                line.quantity_basis.value,
            ]
        )
    return ["line", "quantity", "worked", "price and months", "amount", "basis"], rows


def totals(one: Case) -> Table:
    """Both arms by category."""
    case = one.case
    sums = [
        {entry.category: entry.amount.amount for entry in case.arm(arm).categories}
        for arm in (case.candidate, case.baseline)
    ]
    rows = []
    for category in dict.fromkeys((*sums[0], *sums[1])):
        ours, theirs = (each.get(category, Decimal(0)) for each in sums)
        rows.append([category, yen(ours), yen(theirs), yen(theirs - ours)])
    ours, theirs = (case.arm(arm).total.amount for arm in (case.candidate, case.baseline))
    rows.append(["**total**", yen(ours), yen(theirs), yen(case.saving.amount)])
    return ["category", case.candidate, case.baseline, "saved"], rows


def harm(one: Case) -> Table:
    """From the comparison to the cost of the risk."""
    found, v = one.case.harm, one.scenario.inputs.values()
    monthly = (
        Decimal(repr(found.probability)) * Decimal(repr(found.mean_loss)) * v["requests_per_month"] * v["variants"]
    )
    freedom = "normal" if found.degrees_of_freedom is None else f"{found.degrees_of_freedom:.2f}"
    rows = [
        [f"difference in {found.metric}, candidate less baseline", f"{found.difference:+.5f}"],
        ["its standard error", f"{found.standard_error:.5f}"],
        ["degrees of freedom", freedom],
        ["margin", f"{found.margin:g}"],
        ["chance that the true loss is beyond the margin", f"{found.probability:.4%}"],
        ["expected loss if it is", f"{found.mean_loss:.5f}"],
        ["wrong answers more, expected in a month", number(monthly)],
        ["cost of one", yen(v["cost_per_wrong_answer"])],
        ["the risk in a month", yen(round(monthly * v["cost_per_wrong_answer"], 2))],
    ]
    return ["from the comparison to money", "figure"], rows


def months(one: Case) -> Table:
    """The first months and the last: saved, the discount factor, the present value."""
    flows, rate = one.case.cash_flows, one.scenario.inputs.discount_rate.value
    rows, plain, present = [], Decimal(0), Decimal(0)
    for month, flow in enumerate(flows):
        factor = (1 + rate) ** (Decimal(-month) / 12)
        plain, present = plain + flow, present + flow * factor
        if month < SHOWN_MONTHS or month == len(flows) - 1:
            rows.append(
                [
                    str(month),
                    yen(round(flow, 2)),
                    f"{1 + rate}^(-{month}/12) = {factor:.6f}",
                    yen(round(flow * factor, 2)),
                    yen(round(plain, 2)),
                    yen(round(present, 2)),
                ]
            )
        elif month == SHOWN_MONTHS:
            rows.append(["..."] * 6)
    return ["month", "saved", "discount factor", "worth now", "saved so far", "worth so far"], rows


def keys(one: Case) -> Table:
    """The key figures with the arithmetic behind them."""
    case, rate = one.case, one.scenario.inputs.discount_rate.value
    again = npv(case.cash_flows, rate)
    if abs(again - case.npv.amount) > Decimal("0.51"):
        raise SystemExit(f"the NPV of the printed months is {again}, that of the case {case.npv}")
    ours, theirs = (case.arm(arm).total.amount for arm in (case.candidate, case.baseline))
    net = sum(case.cash_flows, Decimal(0))
    rows = [
        ["saving", f"{yen(theirs)} - {yen(ours)}", yen(case.saving.amount)],
        ["NPV", "sum of what each month is worth now", yen(case.npv.amount)],
        ["investment", "the adoption line", yen(case.investment.amount)],
        ["ROI", f"{yen(round(net, 2))} / {yen(case.investment.amount)}", shown(case.roi, percent=True)],
        ["payback", "first month from which the sum so far stays at zero or above", shown(case.payback)],
        ["discounted payback", "the same of what the months are worth now", shown(case.discounted_payback)],
        ["IRR", "the yearly rate at which the NPV is zero", shown(case.irr, percent=True)],
        [
            "break-even volume",
            "requests a month for each model at which the NPV is zero",
            shown(case.breakeven_requests),
        ],
        [
            "break-even number of models",
            "smallest number at which the NPV is above zero",
            shown(case.breakeven_variants),
        ],
        ["carbon of the run's trainings", "kWh x PUE x kg CO2e per kWh", shown(case.carbon_kg)],
    ]
    return ["figure", "how", "value"], rows


def shown(figure: KeyFigure, *, percent: bool = False) -> str:
    """A key figure, or why there is none."""
    if figure.value is None:
        return f"none: {figure.reason}"
    return f"{figure.value:.1%} {figure.unit}" if percent else f"{number(figure.value)} {figure.unit}"


def tornado(one: Case) -> Table:
    """The widest bars."""
    rows = [
        [
            f"`{swing.input}`",
            f"{number(swing.low)} to {number(swing.high)}",
            yen(swing.npv_at_low.amount),
            yen(swing.npv_at_high.amount),
            yen(swing.width),
        ]
        for swing in one.case.tornado[:SHOWN_SWINGS]
    ]
    return ["input", "from, to", "NPV at the low end", "NPV at the high end", "width"], rows


def draws(one: Case) -> Table:
    """The simulation."""
    sure = one.case.simulation
    rows = [
        ["draws, seed", f"{sure.draws:,}, {sure.seed}"],
        ["P(NPV > 0)", f"{sure.probability_npv_positive:.1%}"],
        [
            "NPV, 10th, 50th, 90th percentile",
            ", ".join(yen(m.amount) for m in (sure.npv_p10, sure.npv_p50, sure.npv_p90)),
        ],
        ["saving, 10th and 90th percentile", f"{yen(sure.saving_p10.amount)}, {yen(sure.saving_p90.amount)}"],
        ["payback, half and nine of ten draws", f"{_month(sure.payback_p50)}, {_month(sure.payback_p90)}"],
    ]
    return ["simulation", "value"], rows


def _month(found: int | None) -> str:
    return "not within the horizon" if found is None else f"month {found}"


def shares(one: Case) -> Table:
    """What the total rests on, in yen and per cent."""
    total = sum((line.amount.amount for line in one.case.lines), Decimal(0))
    rows = []
    for basis in (Basis.MEASURED, Basis.QUOTED, Basis.ASSUMED, Basis.DERIVED):
        part = sum((line.amount.amount for line in one.case.lines if line.quantity_basis is basis), Decimal(0))
        share = getattr(one.case.shares, basis.value)
        if abs(share - float(part / total)) > 1e-12:
            raise SystemExit(f"the share {basis.value} is not {part} / {total}")
        rows.append([basis.value, f"{yen(part)} / {yen(total)}", f"{share:.4%}"])
    return ["basis of the quantity", "yen of both arms", "share"], rows


def scenarios(found: dict[str, Case]) -> Table:
    """The three embedded scenarios side by side."""
    rows = []
    for name, one in found.items():
        case, sure = one.case, one.case.simulation
        rows.append(
            [
                f"`{name}`, {case.horizon_months} months",
                yen(case.arm(case.candidate).total.amount),
                yen(case.arm(case.baseline).total.amount),
                yen(case.saving.amount),
                yen(case.npv.amount),
                f"{sure.probability_npv_positive:.0%}",
                shown(case.payback),
                f"{case.shares.measured:.4%}",
            ]
        )
    names = next(iter(found.values())).case
    head = ["scenario", names.candidate, names.baseline, "saving", "NPV", "P(NPV > 0)", "payback", "measured"]
    return head, rows


def inputs(one: Case) -> Table:
    """The assumptions of the example."""
    rows = [
        [
            f"`{entry.name}`",
            number(entry.value),
            f"{number(entry.low)} to {number(entry.high)}",
            entry.unit,
            entry.source,
        ]
        for entry in one.case.inputs
    ]
    return ["input", "value", "range", "unit", "why"], rows


def published() -> Table:
    """Published arithmetic, repeated by the package."""
    example = [Decimal(flow) for flow in (-40000, 5000, 8000, 12000, 30000)]
    later = [Decimal(0), *example]
    rate = Decimal("0.08")
    rows = [
        ["NPV of numpy-financial's own example", "3065.22267", f"{npv(example, rate, per_year=1):.5f}"],
        ["a spreadsheet's NPV() of the same list", "2838.169", f"{npv(later, rate, per_year=1):.3f}"],
    ]
    for size, hours, tonnes in (("7B", 184_320, "31.22"), ("13B", 368_640, "62.44"), ("70B", 1_720_320, "291.42")):
        kwh = kilowatt_hours(400, hours * 3600)
        rows.append([f"Llama 2 {size}: {hours:,} h x 400 W, t CO2e", tonnes, f"{kwh * 0.42345 / 1000:.2f}"])
    card = kilowatt_hours(350 * 7, 377.8 * 3600) * 1.53
    rows.append(["7 GPUs x 350 W x 377.8 h x PUE 1.53, kWh", "1416.183", f"{card:.3f}"])
    rows.append(["the same x 120 g, kg CO2e", "169.942", f"{card * 0.120:.3f}"])
    energy = kilowatt_hours(1415.78, 12 * 3600) * 1.58
    rows.append(["Strubell et al. 2019, Transformer base, kWh x PUE", "27", f"{energy:.1f}"])
    rows.append(["the same x 0.954 lb", "26", f"{energy * 0.954:.1f}"])
    return ["published example", "printed", "here"], rows
