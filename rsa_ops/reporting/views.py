"""Tables of the HTML report on quality: answers, rules, arms, differences, slices, robustness, data checks."""

from __future__ import annotations

from rsa_ops.core.benchmark import CellScores
from rsa_ops.core.comparison import ALL, Comparison, Contrast
from rsa_ops.core.estimate import Answer
from rsa_ops.core.measurements import Measurements
from rsa_ops.core.validation import Validation
from rsa_ops.core.verdict import Verdict
from rsa_ops.reporting import text
from rsa_ops.reporting.inputs import ReportInputs
from rsa_ops.reporting.rows import ArmRow, Shown, arm_names, cells_of, headline_rows, metric_rows, spread
from rsa_ops.reporting.tables import TONES, Entry, Table


def answers(comparison: Comparison) -> tuple[tuple[Entry, str, str], ...]:
    """The answer as a badge, the sentence, the reason: each baseline on the primary metric, then every loss.

    A loss on a slice or on another metric belongs beside the headline, not below it.
    """
    main = [comparison.contrast(comparison.primary_metric, baseline) for baseline in comparison.baselines]
    headline = [entry for entry in main if entry is not None]
    losses = [entry for entry in comparison.contrasts if entry.result.answer is Answer.INFERIOR]
    return tuple(_answer(entry) for entry in [*headline, *(loss for loss in losses if loss not in headline)])


def _answer(entry: Contrast) -> tuple[Entry, str, str]:
    badge = Entry(entry.result.answer.value, tone=TONES[entry.result.answer])
    where = "" if entry.population == ALL else f" on {entry.population}"
    sentence = (
        f"{entry.candidate} against {entry.baseline}{where}: {text.metric_label(entry.metric)} "
        f"{text.difference(entry.result, entry.metric)}{text.difference_unit(entry.metric)}, "
        f"margin {text.points(-entry.result.margin, entry.metric)}"
    )
    return badge, sentence, text.reason(entry.result)


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
            Entry(text.difference(entry.result, entry.metric)),
            Entry(text.points(-entry.result.margin, entry.metric)),
            Entry(entry.result.answer.value, tone=TONES[entry.result.answer]),
            Entry(text.reason(entry.result)),
        )
        for entry in ordered
    )
    header = ("What", "Difference", "Margin", "Answer", "Why")
    return Table(f"{comparison.candidate} minus baseline", header, rows, frozenset({1, 2}), prose=True)


def slices(comparison: Comparison) -> Table | None:
    """Score of every arm on every slice, with the number of examples."""
    names = [arm.arm for arm in comparison.arms]
    by_slice: dict[str, dict[str, Entry]] = {}
    sizes: dict[str, int] = {}
    for arm in comparison.arms:
        for entry in arm.slices:
            sizes[entry.slice] = entry.score.examples
            shown = Entry(
                text.score(entry.score.value, comparison.primary_metric),
                text.interval(entry.score, comparison.primary_metric),
            )
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


def classes(comparison: Comparison, scores: tuple[CellScores, ...]) -> Table | None:
    """Recall of every class, mean over seeds with its range."""
    names = [arm.arm for arm in comparison.arms]
    sizes = {entry.group: entry.examples for cell in scores for entry in cell.classes}
    if not sizes:
        return None
    rows = []
    for group, examples in sizes.items():
        cells = []
        for name in names:
            found = [e.score for s in scores if s.cell.arm == name for e in s.classes if e.group == group]
            shown = spread(found, lambda value: f"{value * 100:.1f} %")
            cells.append(Entry(shown.value, shown.note))
        rows.append((Entry(group), Entry(text.count(examples)), *cells))
    header = ("Class", "Examples", *names)
    return Table(
        "Recall per class, mean and range over seeds", header, tuple(rows), frozenset(range(1, len(header)))
    )


def robustness(comparison: Comparison) -> Table | None:
    """Score of every arm under every kind of noise."""
    kinds = dict.fromkeys(kind for arm in comparison.arms for kind in arm.robustness)
    if not kinds:
        return None
    metric, names = comparison.primary_metric, [arm.arm for arm in comparison.arms]
    rows = []
    for kind in kinds:
        found = [arm.robustness.get(kind) for arm in comparison.arms]
        cells = [
            Entry(text.score(e.value, metric), text.interval(e, metric)) if e else Entry(text.MISSING)
            for e in found
        ]
        rows.append((Entry(kind), *cells))
    caption = f"{text.metric_label(metric)} with noise of one kind added to the input"
    return Table(caption, ("Noise", *names), tuple(rows), frozenset(range(1, len(names) + 1)))


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
    header = ("Check", "Severity", "Rows", "Found", "What to do")
    return Table("Checks that did not hold", header, rows, frozenset({2}), prose=True)


def _arm_table(caption: str, names: tuple[str, ...], rows: tuple[ArmRow, ...]) -> Table:
    cells = tuple((Entry(row.label), *(Entry(cell.value, cell.note) for cell in row.cells)) for row in rows)
    return Table(caption, ("", *names), cells, frozenset(range(1, len(names) + 1)))


def _latency(comparison: Comparison | None, names: tuple[str, ...]) -> tuple[ArmRow, ...]:
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
        cells = cells_of(measurements, name)
        known = [cell.energy.energy_kwh for cell in cells if cell.energy.energy_kwh is not None]
        sources = ", ".join(dict.fromkeys(cell.energy.source for cell in cells))
        shown.append(Shown(spread([kwh * 1000 for kwh in known], lambda wh: f"{wh:.3g} Wh").value, sources))
    return (ArmRow("Energy per training", tuple(shown)),)
