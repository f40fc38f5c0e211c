"""What a language must have words for, to write the decision sheet in it. One module a language."""

from __future__ import annotations

from dataclasses import dataclass

from rsa_ops.core.estimate import Answer
from rsa_ops.core.verdict import Outcome
from rsa_ops.reporting.forest import ForestWords


@dataclass(frozen=True)
class DecisionWords:
    """Words with braces are filled in by `str.format`."""

    html_lang: str
    kind: str
    subject_label: str
    subject: str
    made_on: str
    scenario: str
    scenarios: dict[str, str]
    horizon: str
    months: str
    rests: str
    rests_value: str
    proposal_label: str
    proposals: dict[str, str]
    reason_label: str
    reason: str
    effect_label: str
    saving: str
    npv: str
    npv_note: str
    investment: str
    payback: str
    payback_note: str
    payback_late: str
    payback_none: str
    roi: str
    breakeven: str
    breakeven_variants: str
    breakeven_requests: str
    breakeven_or: str
    none: str
    interval: str
    quality_label: str
    quality: str
    answers: dict[Answer, str]
    forest: ForestWords
    gate: str
    outcomes: dict[Outcome, str]
    risk_label: str
    harm: str
    worst: str
    no_worst: str
    measures: str
    unknown_label: str
    unknown_assumed: str
    unknown_use: str
    unknown_tax: str
    unknown_gain: str
    unknown_energy: str
    unknown_missing: str
    approval_label: str
    approvals: tuple[str, ...]
    approval_date: str
    costs_label: str
    cost_columns: tuple[str, str, str, str]
    total: str
    categories: dict[str, str]
    tornado_label: str
    tornado_columns: tuple[str, str, str, str]
    inputs_label: str
    input_columns: tuple[str, str, str, str, str]
    inputs: dict[str, str]
    bases: dict[str, str]
    lines_label: str
    line_columns: tuple[str, str, str, str, str]
    contrasts_label: str
    contrast_columns: tuple[str, str, str, str]
    slices_label: str
    slice_columns: tuple[str, str, str]
    checks_label: str
    checks: str
    no_findings: str
    split_columns: tuple[str, str, str]
    finding_columns: tuple[str, str, str, str]
    severities: dict[str, str]
    entries_label: str
    entry_columns: tuple[str, str, str, str, str]
    entry_kinds: dict[str, str]
    no_entries: str
    audit_note: str
    trail_label: str
    trail: dict[str, str]
    glossary_label: str
    glossary: tuple[tuple[str, str], ...]
    source_note: str
