"""Tables for a terminal of 80 columns. The caller passes the console, so that stdout stays for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rsa_ops.core.comparison import Comparison
from rsa_ops.core.costs import Tco
from rsa_ops.core.estimate import Answer
from rsa_ops.core.measurements import Measurements
from rsa_ops.core.validation import Validation
from rsa_ops.core.verdict import Outcome, Verdict
from rsa_ops.reporting import text
from rsa_ops.reporting.families import family_lines
from rsa_ops.reporting.forest import forests, slice_forests
from rsa_ops.reporting.forest_text import ASCII, UNICODE, forest_text
from rsa_ops.reporting.rows import Shown, arm_names, headline_rows

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

_ARMS_A_TABLE = 4
_OUTCOME_STYLES = {
    Outcome.PROMOTE: "green",
    Outcome.REJECT: "red",
    Outcome.INCONCLUSIVE: "yellow",
    Outcome.ERROR: "bold red",
}
_ANSWER_STYLES = {
    Answer.NON_INFERIOR: "green",
    Answer.SUPERIOR: "green",
    Answer.INFERIOR: "red",
    Answer.INCONCLUSIVE: "yellow",
    Answer.INVALID: "bold red",
}


def arms_table(
    console: Console, comparison: Comparison | None, measurements: tuple[Measurements, ...], tco: Tco | None
) -> None:
    """One column an arm, one row a quantity; intervals and ranges stand under their value. Four arms a table."""
    names = arm_names(comparison, measurements)
    rows = headline_rows(comparison, measurements, tco, names)
    for start in range(0, len(names), _ARMS_A_TABLE):
        chosen = slice(start, start + _ARMS_A_TABLE)
        table = _table("Arms: mean over seeds, interval below" if start == 0 else "Arms, continued")
        table.add_column("", style="bold")
        for name in names[chosen]:
            candidate = comparison is not None and name == comparison.candidate
            table.add_column(_plain(name), justify="right", overflow="fold", style="cyan" if candidate else "")
        for row in rows:
            table.add_row(_plain(row.label), *(_two_lines(cell) for cell in row.cells[chosen]))
        console.print(table)


def contrasts_table(console: Console, comparison: Comparison, *, slices: bool = False) -> None:
    """Candidate minus baseline with interval, margin and answer; slices only where asked for."""
    table = _table(f"Differences, {comparison.candidate} minus baseline")
    for header in ("what", "difference", "margin", "answer"):
        table.add_column(header, justify="left" if header in ("what", "answer") else "right", overflow="fold")
    for entry in comparison.contrasts:
        if entry.population != "all" and not slices:
            continue
        where = "" if entry.population == "all" else f", {entry.population}"
        shown = Shown(text.difference(entry.result, entry.metric), text.more_needed(entry.result))
        table.add_row(
            _plain(f"{text.metric_label(entry.metric)}{where}, against {entry.baseline}"),
            _two_lines(shown),
            text.points(-entry.result.margin, entry.metric),
            _styled(entry.result.answer.value, _ANSWER_STYLES[entry.result.answer]),
        )
    console.print(table)


def contrasts_plot(console: Console, comparison: Comparison, *, slices: bool = False) -> None:
    """The differences as a forest plot, with plain letters where the terminal has no others.

    `slices`: those on slices as well, and what they say together.
    """
    letters = UNICODE if console.encoding.startswith("utf") else ASCII
    for forest in (*forests(comparison), *(slice_forests(comparison) if slices else ())):
        console.print(_plain(forest_text(forest, width=console.width, letters=letters)), no_wrap=True, crop=False)
    if slices:
        slice_lines(console, comparison)


def slice_lines(console: Console, comparison: Comparison) -> None:
    """What the slices say together: one paragraph a baseline."""
    for words in family_lines(comparison):
        console.print(_plain(words))


def rulings_table(console: Console, verdict: Verdict) -> None:
    """Every rule: what it requires, what was observed, what follows; below, why those that stop do.

    The verdict's sentence is left to the caller, who ends with it.
    """
    table = _table(f"Policy {verdict.policy}")
    for header in ("rule", "required", "observed", "outcome"):
        table.add_column(header, overflow="fold")
    for ruling in verdict.rulings:
        table.add_row(
            _plain(ruling.rule),
            _plain(ruling.required),
            _plain(ruling.observed),
            _styled(ruling.outcome.value, _OUTCOME_STYLES[ruling.outcome]),
        )
    console.print(table)
    for ruling in verdict.rulings:
        if ruling.outcome is not Outcome.PROMOTE:
            console.print(_plain(f"{ruling.rule}: {ruling.reason}"))


def costs_table(console: Console, tco: Tco) -> None:
    """Line items with the basis of quantity and price, totals per arm, and the share that was measured."""
    table = _table(f"Costs in {tco.currency} over {tco.horizon_months} months")
    for header in ("arm", "what", "quantity", "unit price", "amount"):
        table.add_column(header, justify="left" if header in ("arm", "what") else "right", overflow="fold")
    for item in tco.items:
        table.add_row(
            _two_lines(Shown(item.arm, item.category)),
            _plain(item.description),
            _two_lines(Shown(f"{item.quantity:.4g} {item.unit}", item.quantity_basis.value)),
            _two_lines(Shown(text.money(item.unit_price), item.price_basis.value)),
            _plain(text.money(item.amount)),
        )
    console.print(table)
    for arm in tco.arms:
        line = f"{arm.arm}: {text.money(arm.per_training)} per training, {text.money(arm.total)} in all"
        console.print(_plain(line))
    console.print(_plain(f"{text.share(tco.measured_share)} of the total rests on measured quantities."))
    for warning in tco.warnings:
        console.print(_styled(text.sentence(warning), "yellow"))


def findings_table(console: Console, validation: Validation) -> None:
    """Every check that did not hold, with rows and advice; one line when all held."""
    held = validation.checks_run - len({finding.check for finding in validation.findings})
    if not validation.findings:
        console.print(f"Data checks: all {held} held, {validation.rows_used:,} rows.")
        return
    table = _table(f"Data checks: {held} of {validation.checks_run} held")
    table.add_column("check", overflow="fold")
    table.add_column("severity")
    table.add_column("rows", justify="right")
    table.add_column("found, and what to do", overflow="fold")
    for finding in validation.findings:
        style = "red" if finding.severity == "refuse" else "yellow"
        table.add_row(
            _plain(finding.check),
            _styled(finding.severity, style),
            text.count(finding.rows),
            _two_lines(Shown(finding.message, finding.advice)),
        )
    console.print(table)


def _table(title: str) -> Table:
    from rich import box
    from rich.table import Table

    return Table(title=_plain(title), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))


def _plain(words: str) -> Text:
    """User text as it is: square brackets are no markup here."""
    from rich.text import Text

    return Text(words)


def _styled(words: str, style: str) -> Text:
    from rich.text import Text

    return Text(words, style=style)


def _two_lines(cell: Shown) -> Text:
    from rich.text import Text

    shown = Text(cell.value)
    if cell.note:
        shown.append(f"\n{cell.note}", style="dim")
    return shown
