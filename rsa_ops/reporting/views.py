"""Tables and facts of the HTML report as text, section by section; the template only lays them out."""

from __future__ import annotations

from dataclasses import dataclass, field

from rsa_ops.core.comparison import ALL, Comparison
from rsa_ops.core.costs import Tco
from rsa_ops.core.estimate import Answer
from rsa_ops.core.measurements import Measurements
from rsa_ops.core.validation import Validation
from rsa_ops.core.verdict import Outcome, Verdict
from rsa_ops.reporting import text
from rsa_ops.reporting.inputs import ReportInputs
from rsa_ops.reporting.rows import ArmRow, arm_names, cells_of, headline_rows, metric_rows, spread

TONES = {
    Outcome.PROMOTE: "good",
    Outcome.REJECT: "bad",
    Outcome.INCONCLUSIVE: "unsure",
    Outcome.ERROR: "bad",
    Answer.NON_INFERIOR: "good",
    Answer.SUPERIOR: "good",
    Answer.INFERIOR: "bad",
    Answer.INCONCLUSIVE: "unsure",
    Answer.INVALID: "bad",
}
OUTCOME_WORDS = {
    Outcome.PROMOTE: "Promote",
    Outcome.REJECT: "Do not promote",
    Outcome.INCONCLUSIVE: "Not decided",
    Outcome.ERROR: "Not judged: the evidence is broken or missing",
}


@dataclass(frozen=True)
class Entry:
    """A table cell: value, smaller note below, and `tone` (good, bad, unsure, quiet) as a badge."""

    value: str
    note: str = ""
    tone: str = ""


@dataclass(frozen=True)
class Table:
    """A table; the first column is a row header. `numeric` names the columns set flush right.

    A `prose` table becomes a list of cards on a phone; any other scrolls sideways in its own frame.
    """

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[Entry, ...], ...]
    numeric: frozenset[int] = field(default_factory=frozenset)
    prose: bool = False


def plain(*values: str) -> tuple[Entry, ...]:
    """A row of values without notes."""
    return tuple(Entry(value) for value in values)


def answers(comparison: Comparison) -> tuple[tuple[Entry, str, str], ...]:
    """Per baseline, on the primary metric: the answer as a badge, the sentence, the reason."""
    found = []
    for baseline in comparison.baselines:
        entry = comparison.contrast(comparison.primary_metric, baseline)
        if entry is None:
            continue
        badge = Entry(entry.result.answer.value, tone=TONES[entry.result.answer])
        needed = text.more_needed(entry.result)
        sentence = (
            f"{entry.candidate} against {baseline}: {text.metric_label(entry.metric)} "
            f"{text.difference(entry.result)}, margin {text.points(-entry.result.margin)}"
        )
        found.append((badge, sentence, f"{text.sentence(entry.result.reason)} {needed}".strip()))
    return tuple(found)


def rulings(verdict: Verdict) -> Table:
    """Every rule of the policy, applied."""
    rows = tuple(
        (
            Entry(ruling.rule),
            Entry(ruling.required),
            Entry(ruling.observed),
            Entry(ruling.outcome.value, tone=TONES[ruling.outcome]),
            Entry(ruling.reason),
        )
        for ruling in verdict.rulings
    )
    return Table("The rules, one by one", ("Rule", "Required", "Observed", "Outcome", "Reason"), rows, prose=True)


def arms(inputs: ReportInputs) -> Table | None:
    """The per-arm table, with every metric and latency."""
    names = arm_names(inputs.comparison, inputs.measurements)
    if not names:
        return None
    rows = (
        *headline_rows(inputs.comparison, inputs.measurements, inputs.tco, names),
        *metric_rows(inputs.comparison, names, others=True),
        *_latency(inputs.comparison, names),
        *_energy(inputs.measurements, names),
    )
    caption = "Means over seeds; intervals or the range over seeds in small print"
    return _arm_table(caption, names, rows)


def contrasts(comparison: Comparison) -> Table:
    """Every contrast, all examples first, then slices."""
    ordered = sorted(comparison.contrasts, key=lambda entry: entry.population != ALL)
    rows = tuple(
        (
            Entry(
                f"{text.metric_label(entry.metric)}, against {entry.baseline}",
                "" if entry.population == ALL else f"on {entry.population}",
            ),
            Entry(text.difference(entry.result).replace(" points", "")),
            Entry(text.points(-entry.result.margin)),
            Entry(entry.result.answer.value, tone=TONES[entry.result.answer]),
            Entry(entry.result.reason, text.more_needed(entry.result)),
        )
        for entry in ordered
    )
    header = ("What", "Difference, points", "Margin", "Answer", "Why")
    return Table(f"{comparison.candidate} minus baseline", header, rows, frozenset({1, 2}), prose=True)


def slices(comparison: Comparison) -> Table | None:
    """Score of every arm on every slice, with the number of examples."""
    names = [arm.arm for arm in comparison.arms]
    by_slice: dict[str, dict[str, Entry]] = {}
    sizes: dict[str, int] = {}
    for arm in comparison.arms:
        for entry in arm.slices:
            sizes[entry.slice] = entry.score.examples
            shown = Entry(text.score(entry.score.value, comparison.primary_metric), text.interval(entry.score))
            small = Entry("not assessable", "too few examples", "quiet")
            by_slice.setdefault(entry.slice, {})[arm.arm] = shown if entry.assessable else small
    if not by_slice:
        return None
    rows = tuple(
        (Entry(name), Entry(text.count(sizes[name])), *(found.get(arm, Entry(text.MISSING)) for arm in names))
        for name, found in by_slice.items()
    )
    caption = f"{text.metric_label(comparison.primary_metric)} per slice, mean over seeds"
    return Table(caption, ("Slice", "Examples", *names), rows, frozenset(range(1, len(names) + 2)))


def robustness(comparison: Comparison) -> Table | None:
    """Score of every arm under every kind of noise."""
    kinds = dict.fromkeys(kind for arm in comparison.arms for kind in arm.robustness)
    if not kinds:
        return None
    metric, names = comparison.primary_metric, [arm.arm for arm in comparison.arms]
    rows = []
    for kind in kinds:
        found = [arm.robustness.get(kind) for arm in comparison.arms]
        cells = [Entry(text.score(e.value, metric), text.interval(e)) if e else Entry(text.MISSING) for e in found]
        rows.append((Entry(kind), *cells))
    caption = f"{text.metric_label(metric)} with noise of one kind added to the input"
    return Table(caption, ("Noise", *names), tuple(rows), frozenset(range(1, len(names) + 1)))


def cost_totals(tco: Tco, candidate: str | None) -> Table:
    """Per arm: cost of one training and total, and what the candidate changes."""
    own = tco.arm(candidate) if candidate else None
    rows = []
    for arm in tco.arms:
        against = own is not None and arm.arm != own.arm
        per_training = text.money_change(own.per_training, arm.per_training) if own and against else ""
        total = text.money_change(own.total, arm.total) if own and against else ""
        rows.append(
            (
                Entry(arm.arm),
                Entry(text.money(arm.per_training), f"{candidate}: {per_training}" if per_training else ""),
                Entry(text.money(arm.total), f"{candidate}: {total}" if total else ""),
            )
        )
    header = ("Arm", "One training", f"Total, {tco.horizon_months} months")
    return Table("Cost per arm, and what the candidate changes against it", header, tuple(rows), frozenset({1, 2}))


def cost_lines(tco: Tco) -> Table:
    """Every line item with the basis of quantity and price."""
    rows = tuple(
        (
            Entry(item.arm, item.category),
            Entry(item.description),
            Entry(f"{_quantity(float(item.quantity))} {item.unit}", item.quantity_basis.value),
            Entry(text.money(item.unit_price), item.price_basis.value),
            Entry(text.money(item.amount)),
        )
        for item in tco.items
    )
    header = ("Arm", "What", "Quantity", "Unit price", "Amount")
    caption = "Line items: quantity times unit price is the amount"
    return Table(caption, header, rows, frozenset({2, 3, 4}), prose=True)


def price_sources(tco: Tco) -> Table:
    """Every price that was used, once, with the source that the price book gives."""
    used = {item.source: item for item in tco.items}
    rows = tuple(
        (
            Entry(source),
            Entry(f"{text.money(item.unit_price)} per {item.unit}"),
            Entry(item.price_basis.value),
        )
        for source, item in used.items()
    )
    return Table(
        "Prices and where they come from", ("Price and source", "Price", "Basis"), rows, frozenset({1}), prose=True
    )


def effort(measurements: tuple[Measurements, ...]) -> Table | None:
    """What was spent on each cell."""
    if not measurements:
        return None
    rows = tuple(
        (
            Entry(cell.cell.name, cell.method if cell.method != cell.cell.arm else ""),
            Entry(f"{cell.learning_rate:g}"),
            Entry(f"{cell.epochs:g}", f"{cell.steps:,} steps"),
            Entry(text.count(cell.tokens)),
            Entry(text.seconds(cell.wall_seconds), _selection(cell)),
            Entry(text.count(cell.trainable_parameters), f"of {text.count(cell.total_parameters)}"),
            Entry(f"{cell.final_loss:.3f}"),
            Entry(str(cell.attempts)),
        )
        for cell in measurements
    )
    header = ("Cell", "Learning rate", "Epochs", "Tokens", "Wall time", "Trainable", "Final loss", "Attempts")
    return Table("What was spent on each cell (arm and seed)", header, rows, frozenset(range(1, 8)), prose=True)


def findings(validation: Validation) -> Table | None:
    """Checks that did not hold."""
    if not validation.findings:
        return None
    rows = tuple(
        (
            Entry(found.check),
            Entry(found.severity, tone="bad" if found.severity == "refuse" else "unsure"),
            Entry(text.count(found.rows)),
            Entry(found.message, "; ".join(found.examples)),
            Entry(found.advice),
        )
        for found in validation.findings
    )
    return Table(
        "Checks that did not hold", ("Check", "Severity", "Rows", "Found", "What to do"), rows, frozenset({2})
    )


def _arm_table(caption: str, names: tuple[str, ...], rows: tuple[ArmRow, ...]) -> Table:
    cells = tuple((Entry(row.label), *(Entry(cell.value, cell.note) for cell in row.cells)) for row in rows)
    return Table(caption, ("", *names), cells, frozenset(range(1, len(names) + 1)))


def _latency(comparison: Comparison | None, names: tuple[str, ...]) -> tuple[ArmRow, ...]:
    from rsa_ops.reporting.rows import Shown

    found = [comparison.arm(name) for name in names] if comparison else []
    keys = dict.fromkeys(key for arm in found if arm for key in arm.latency_ms)
    return tuple(
        ArmRow(
            f"Latency {key}",
            tuple(
                Shown(f"{arm.latency_ms[key]:.1f} ms") if arm and key in arm.latency_ms else Shown(text.MISSING)
                for arm in found
            ),
        )
        for key in keys
    )


def _energy(measurements: tuple[Measurements, ...], names: tuple[str, ...]) -> tuple[ArmRow, ...]:
    if all(cell.energy.energy_kwh is None for cell in measurements):
        return ()
    shown = []
    for name in names:
        known = [c.energy.energy_kwh for c in cells_of(measurements, name) if c.energy.energy_kwh is not None]
        shown.append(spread([value * 1000 for value in known], lambda wh: f"{wh:.3g} Wh"))
    sources = ", ".join(dict.fromkeys(cell.energy.source for cell in measurements))
    return (ArmRow(f"Energy per training ({sources})", tuple(shown)),)


def _selection(cell: Measurements) -> str:
    return f"{text.seconds(cell.selection_seconds)} of it selecting" if cell.selection_seconds else ""


def _quantity(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"
