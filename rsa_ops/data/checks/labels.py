"""Checks on labels: known, numerous enough, one for each text."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING

from rsa_ops.data.checks.config import ClassFloorCheck, ConflictsCheck, LabelSetCheck
from rsa_ops.data.checks.outcome import Outcome, counted, flag, plural, some
from rsa_ops.data.normal import same_text

if TYPE_CHECKING:
    import pandas as pd


def allowed_labels(splits: Mapping[str, pd.DataFrame], config: LabelSetCheck) -> tuple[str, ...]:
    """The declared labels, or those of the training split; sorted."""
    return tuple(sorted(config.labels if config.labels is not None else set(splits["train"]["label"].tolist())))


def label_set(splits: Mapping[str, pd.DataFrame], config: LabelSetCheck) -> Outcome:
    """Labels outside the declared ones, or outside those of training."""
    allowed = frozenset(allowed_labels(splits, config))
    flagged = {name: flag(table, "label", lambda label: label not in allowed) for name, table in splits.items()}
    unknown: Counter[tuple[str, str]] = Counter()
    for name, table in splits.items():
        unknown.update((name, label) for label in table.loc[flagged[name], "label"].tolist())
    known = "declared" if config.labels is not None else "in the training split"
    return Outcome(
        check="label_set",
        severity=config.severity,
        message=f"labels that are not {known}: {counted(flagged)}",
        advice="Correct the labels, add training rows that have them, or take the rows out.",
        flagged=flagged,
        examples=some(f"{name}: {label!r} ({plural(count, 'row')})" for (name, label), count in unknown.items()),
    )


def class_floor(splits: Mapping[str, pd.DataFrame], config: ClassFloorCheck) -> Outcome:
    """Training rows of labels that have fewer than `min_rows` of them."""
    train = splits["train"]
    counts = Counter(train["label"].tolist())
    small = {label: count for label, count in sorted(counts.items()) if count < config.min_rows}
    return Outcome(
        check="class_floor",
        severity=config.severity,
        message=f"{plural(len(small), 'label')} with fewer than {config.min_rows} training rows",
        advice="Add rows, merge rare labels into one, or lower `data.checks.class_floor.min_rows`.",
        flagged={"train": flag(train, "label", lambda label: label in small)},
        examples=some(f"{label!r}: {plural(count, 'row')}" for label, count in small.items()),
    )


def conflicts(splits: Mapping[str, pd.DataFrame], config: ConflictsCheck) -> Outcome:
    """Rows whose text also stands somewhere with another label."""
    labels: dict[str, set[str]] = defaultdict(set)
    for table in splits.values():
        for text, label in zip(table["text"].tolist(), table["label"].tolist(), strict=True):
            labels[same_text(text)].add(label)
    torn = {text: sorted(found) for text, found in labels.items() if len(found) > 1}
    flagged = {name: flag(table, "text", lambda text: same_text(text) in torn) for name, table in splits.items()}
    return Outcome(
        check="conflicting_labels",
        severity=config.severity,
        message=f"{plural(len(torn), 'text')} with different labels: {counted(flagged)}",
        advice="Decide for one label each; no model can learn two answers to one text.",
        flagged=flagged,
        examples=some(f"{' or '.join(found)}: {text}" for text, found in torn.items()),
    )
