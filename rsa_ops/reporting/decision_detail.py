"""The tables behind the first page of a decision sheet: costs, quality, slices, data checks, governance, terms."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from rsa_ops.core.business_case import BusinessCase
from rsa_ops.core.comparison import Comparison
from rsa_ops.core.digest import short
from rsa_ops.core.money import Money
from rsa_ops.reporting import text
from rsa_ops.reporting.decision_words import DecisionWords
from rsa_ops.reporting.inputs import ReportInputs

Rows = tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Table:
    """A captioned table; `figures` are the columns that are set to the right, `note` stands above the rows."""

    caption: str
    header: tuple[str, ...]
    rows: Rows
    figures: frozenset[int] = frozenset()
    note: str = ""


def detail(
    records: ReportInputs, comparison: Comparison, case: BusinessCase, words: DecisionWords
) -> tuple[Table, ...]:
    """Every table, in the order in which a reader asks: money, quality, data, who did what, words."""
    return (
        Table(words.costs_label, words.cost_columns, _costs(case, words), frozenset({1, 2, 3})),
        Table(words.tornado_label, words.tornado_columns, _tornado(case, words), frozenset({1, 2})),
        Table(words.contrasts_label, words.contrast_columns, _contrasts(comparison, words), frozenset({1, 2})),
        Table(words.slices_label, words.slice_columns, _slices(comparison, case), frozenset({1, 2})),
        Table(words.inputs_label, words.input_columns, _inputs(case, words), frozenset({1, 2})),
        Table(words.lines_label, words.line_columns, _lines(case, words), frozenset({1, 2, 3, 4})),
        *_data(records, words),
        Table(
            words.entries_label,
            words.entry_columns,
            _entries(records, words),
            frozenset({0}),
            words.audit_note if records.trail else words.no_entries,
        ),
        Table(words.trail_label, (), _trail(records, case, words)),
        Table(words.glossary_label, (), words.glossary),
    )


def _data(records: ReportInputs, words: DecisionWords) -> tuple[Table, ...]:
    """What the data were checked for, and what was found; nothing where there is no record of it."""
    seen = records.validation
    if seen is None:
        return ()
    told = words.checks.format(
        checks=seen.checks_run, read=f"{seen.rows_read:,}", source=seen.source, used=f"{seen.rows_used:,}"
    )
    splits = tuple((split.name, f"{split.rows:,}", short(split.digest)) for split in seen.splits)
    findings = tuple(
        (found.check, words.severities[found.severity], f"{found.rows:,}", found.message) for found in seen.findings
    )
    note = told if findings else f"{told} {words.no_findings}"
    tables = [Table(words.checks_label, words.split_columns, splits, frozenset({1}), note)]
    if findings:
        tables.append(Table("", words.finding_columns, findings, frozenset({2})))
    return tuple(tables)


def _entries(records: ReportInputs, words: DecisionWords) -> Rows:
    return tuple(
        (str(entry.sequence), entry.at, words.entry_kinds[entry.kind], entry.what, entry.who)
        for entry in records.trail
    )


def _costs(case: BusinessCase, words: DecisionWords) -> Rows:
    ours, theirs = (
        {entry.category: entry.amount.amount for entry in case.arm(arm).categories}
        for arm in (case.candidate, case.baseline)
    )
    rows = [
        (words.categories[name], *_pair(ours.get(name, Decimal(0)), theirs.get(name, Decimal(0)), case))
        for name in dict.fromkeys((*ours, *theirs))
    ]
    totals = _pair(case.arm(case.candidate).total.amount, case.arm(case.baseline).total.amount, case)
    return (*rows, (words.total, *totals))


def _pair(ours: Decimal, theirs: Decimal, case: BusinessCase) -> tuple[str, str, str]:
    found = [str(Money(amount=amount, currency=case.currency)) for amount in (ours, theirs, ours - theirs)]
    return found[0], found[1], found[2]


def _tornado(case: BusinessCase, words: DecisionWords) -> Rows:
    return tuple(
        (words.inputs[swing.input], str(swing.npv_at_low), str(swing.npv_at_high), words.bases[swing.basis.value])
        for swing in case.tornado[:10]
    )


def _inputs(case: BusinessCase, words: DecisionWords) -> Rows:
    return tuple(
        (
            words.inputs[entry.name],
            f"{entry.value:,} {entry.unit}",
            f"{entry.low:,} – {entry.high:,}",
            words.bases[entry.basis.value],
            entry.source,
        )
        for entry in case.inputs
    )


def _lines(case: BusinessCase, words: DecisionWords) -> Rows:
    return tuple(
        (
            f"{line.arm} · {words.categories[line.category]}",
            f"{float(line.quantity):,.4g} {line.unit} ({words.bases[line.quantity_basis.value]})",
            f"{line.unit_price} ({words.bases[line.price_basis.value]})",
            f"{line.first}–{line.last}",
            str(line.amount),
        )
        for line in case.lines
    )


def _contrasts(comparison: Comparison, words: DecisionWords) -> Rows:
    rows = []
    for contrast in comparison.contrasts:
        result, estimate = contrast.result, contrast.result.difference
        scale = text.scale(contrast.metric)
        name = f"{text.metric_label(contrast.metric)}: {contrast.candidate} − {contrast.baseline}"
        name += "" if contrast.population == "all" else f" ({contrast.population})"
        shown = (
            ("–", "–")
            if estimate is None
            else (
                f"{estimate.value * scale:+.1f}",
                f"{estimate.low * scale:+.1f} – {estimate.high * scale:+.1f}",
            )
        )
        rows.append((name, *shown, words.answers[result.answer]))
    return tuple(rows)


def _slices(comparison: Comparison, case: BusinessCase) -> Rows:
    ours, theirs = comparison.arm(case.candidate), comparison.arm(case.baseline)
    if ours is None or theirs is None:
        return ()
    others = {entry.slice: entry.score.value for entry in theirs.slices}
    scale = text.scale(comparison.primary_metric)
    return tuple(
        (
            entry.slice,
            f"{entry.score.value * scale:.1f}",
            f"{others[entry.slice] * scale:.1f}" if entry.slice in others else "–",
        )
        for entry in ours.slices
        if entry.assessable
    )


def _trail(records: ReportInputs, case: BusinessCase, words: DecisionWords) -> Rows:
    verdict = records.verdict
    found = {
        "run": records.mlflow_hint,
        "policy": verdict.policy_digest if verdict else "–",
        "test": verdict.test_digest if verdict else "–",
        "candidate": verdict.candidate_digest if verdict else "–",
        "champion": (verdict.champion_digest or "–") if verdict else "–",
        "scenario": f"{case.scenario}, {case.scenario_digest}",
        "prices": f"{case.price_book} ({case.price_book_date}), {short(case.price_book_digest)}",
        "fx": case.fx_note,
    }
    return tuple((words.trail[name], value) for name, value in found.items())
