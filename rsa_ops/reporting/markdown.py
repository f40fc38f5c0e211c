"""A verdict as one Markdown comment for a pull request; CI finds it again by its marker and replaces it."""

from __future__ import annotations

import re
from decimal import Decimal

from rsa_ops.core.business_case import BusinessCase
from rsa_ops.core.comparison import ALL, Comparison
from rsa_ops.core.costs import Tco
from rsa_ops.core.digest import short
from rsa_ops.core.money import Money
from rsa_ops.core.verdict import Outcome, Verdict
from rsa_ops.reporting import text
from rsa_ops.reporting.families import family_lines
from rsa_ops.reporting.forest import forests
from rsa_ops.reporting.forest_text import forest_text
from rsa_ops.reporting.rows import ArmRow, arm_names, headline_rows

COMMENT_MARKER = "<!-- rsa-ops-verdict -->"
"""First line of every comment; hidden when rendered."""

_MARKS = {Outcome.PROMOTE: "✅", Outcome.REJECT: "❌", Outcome.INCONCLUSIVE: "⚠️", Outcome.ERROR: "⛔"}
_SPECIAL = re.compile(r"([\\`*_\[\]|~#])")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "@": "&#64;"}


def verdict_markdown(
    verdict: Verdict, comparison: Comparison | None, tco: Tco | None, case: BusinessCase | None = None
) -> str:
    """The comment: verdict, rulings, differences with their plot, arms, and what each costs, line by line.

    Names and reasons are escaped, so that data can neither break a table nor mention a person.
    """
    parts = [
        COMMENT_MARKER,
        f"## {_MARKS[verdict.outcome]} {verdict.outcome.value.upper()}: {escaped(text.verdict_sentence(verdict))}",
        _rulings(verdict),
        _differences(comparison) if comparison else "",
        *(f"```text\n{forest_text(entry)}\n```" for entry in (forests(comparison) if comparison else ())),
        "\n".join(f"- {escaped(words)}" for words in (family_lines(comparison) if comparison else ())),
        _arms(comparison, tco),
        _cost_lines(comparison, tco) if comparison and tco else "",
        _cost_changes(case) if case else "",
        _provenance(verdict, comparison),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def escaped(words: str) -> str:
    """Text that Markdown prints as it is, on one line."""
    plain = "".join(_ENTITIES.get(letter, letter) for letter in " ".join(words.split()))
    # The entity of @ holds a #, so backslashes go in front of the letters that came from outside only.
    return "&#64;".join(_SPECIAL.sub(r"\\\1", part) for part in plain.split("&#64;"))


def _provenance(verdict: Verdict, comparison: Comparison | None) -> str:
    known = [
        f"policy {escaped(verdict.policy)} {short(verdict.policy_digest)}",
        f"candidate {short(verdict.candidate_digest)}",
        f"test set {short(verdict.test_digest)}",
    ]
    if comparison is not None:
        design, look = comparison.design_digest, comparison.look
        known.append(f"design {short(design)}" if design else "no design was fixed beforehand")
        known.append(f"look {look} at this test set" if look else "looks not counted")
    return f"<sub>{' · '.join(known)}</sub>"


def _table(header: list[str], rows: list[list[str]], *, numbers: bool = False) -> str:
    """A table; with `numbers`, every column but the first is set to the right."""
    rule = ["---", *(["---:" if numbers else "---"] * (len(header) - 1))]
    lines = [header, rule, *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _rulings(verdict: Verdict) -> str:
    if not verdict.rulings:
        return "No rule was applied."
    rows = [
        [
            f"{_MARKS[ruling.outcome]} {ruling.outcome.value}",
            escaped(ruling.rule),
            escaped(ruling.required),
            escaped(ruling.observed),
            escaped(ruling.reason),
        ]
        for ruling in verdict.rulings
    ]
    return _table(["", "rule", "required", "observed", "reason"], rows)


def _differences(comparison: Comparison) -> str:
    rows = [
        [
            f"{text.metric_label(entry.metric)}, {escaped(entry.candidate)} − {escaped(entry.baseline)}",
            text.difference(entry.result, entry.metric) + text.difference_unit(entry.metric),
            text.points(-entry.result.margin, entry.metric),
            f"**{entry.result.answer.value}**",
        ]
        for entry in comparison.contrasts
        if entry.population == ALL
    ]
    return _table(["difference", "estimate [interval]", "margin", "answer"], rows) if rows else ""


def _arms(comparison: Comparison | None, tco: Tco | None) -> str:
    names = arm_names(comparison, ()) or tuple(arm.arm for arm in (tco.arms if tco else ()))
    rows = headline_rows(comparison, (), tco, names)
    if not rows:
        return ""
    return _table(["", *(escaped(name) for name in names)], [_row(row) for row in rows])


def _row(row: ArmRow) -> list[str]:
    cells = [f"{cell.value} ({escaped(cell.note)})" if cell.note else cell.value for cell in row.cells]
    return [row.label, *cells]


def _cost_lines(comparison: Comparison, tco: Tco) -> str:
    candidate = tco.arm(comparison.candidate)
    if candidate is None:
        return ""
    lines = [
        f"**Cost** against {escaped(name)}: {text.money_change(candidate.per_training, cost.per_training)} per "
        f"training, {text.money_change(candidate.total, cost.total)} over {tco.horizon_months} months"
        for name in comparison.baselines
        for cost in [tco.arm(name)]
        if cost is not None
    ]
    measured = f"{text.share(tco.measured_share)} of the total rests on measured quantities."
    return "\n".join(f"- {line}" for line in [*lines, measured])


def _cost_changes(case: BusinessCase) -> str:
    """Total cost of ownership as a difference: one row for each kind of cost, then what it comes to."""
    nothing = Money(amount=Decimal(0), currency=case.currency)
    ours, theirs = (
        {entry.category: entry.amount for entry in case.arm(arm).categories}
        for arm in (case.candidate, case.baseline)
    )
    rows = [
        _change(name, ours.get(name, nothing), theirs.get(name, nothing))
        for name in dict.fromkeys((*theirs, *ours))
    ]
    totals = _change("total", case.arm(case.candidate).total, case.arm(case.baseline).total)
    over = f"{case.horizon_months} months, scenario {escaped(case.scenario)}"
    sure = case.simulation
    title = f"**Cost of ownership** over {over}: {totals[-1]}"
    note = (
        f"Net present value {case.npv}, above zero in {text.share(sure.probability_npv_positive)} of the draws. "
        f"{text.share(case.shares.measured)} of the total rests on measurement, "
        f"{text.share(case.shares.assumed)} on assumptions."
    )
    header = ["cost", escaped(case.baseline), escaped(case.candidate), "change"]
    return "\n\n".join([title, _table(header, [*rows, [f"**{cell}**" for cell in totals]], numbers=True), note])


def _change(name: str, ours: Money, theirs: Money) -> list[str]:
    gap = ours.amount - theirs.amount
    sign = "+" if gap > 0 else text.MINUS
    percent = f" ({sign}{abs(gap) / theirs.amount * 100:.0f} %)" if theirs.amount > 0 else ""
    size = Money(amount=abs(gap), currency=ours.currency)
    return [name, str(theirs), str(ours), f"{sign}{size}{percent}" if gap else "0"]
