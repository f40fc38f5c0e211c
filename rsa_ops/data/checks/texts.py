"""Checks on texts: there at all, of usable length, not twice in a split, not in two splits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from rsa_ops.data.checks.config import DuplicatesCheck, LeakageCheck, NullsCheck, TextLengthCheck
from rsa_ops.data.checks.outcome import Flags, Outcome, counted, flag, flagged_texts, plural, some
from rsa_ops.data.config import Task
from rsa_ops.data.normal import same_text

if TYPE_CHECKING:
    import pandas as pd

LOADED = "loaded"
"""Name of the table of all rows read, before rows without text or label are left out."""


def nulls(loaded: pd.DataFrame, config: NullsCheck) -> tuple[Outcome, Outcome]:
    """Rows without text, and rows without label."""
    return _missing(loaded, config, "text", "label"), _missing(loaded, config, "label", "text")


def _missing(loaded: pd.DataFrame, config: NullsCheck, column: str, beside: str) -> Outcome:
    flags = loaded[column].isna().to_numpy(dtype=np.bool_)
    return Outcome(
        check=f"missing_{column}",
        severity=config.severity,
        message=f"{plural(int(flags.sum()), 'row')} without {column}",
        advice="Complete or remove the rows, or set `data.checks.nulls.severity: warn` to leave them out.",
        flagged={LOADED: flags},
        examples=some(f"{beside}: {value}" for value in loaded.loc[flags, beside].tolist()),
    )


def text_length(splits: Mapping[str, pd.DataFrame], config: TextLengthCheck) -> Outcome:
    """Texts shorter or longer than the bounds, in characters."""
    low, high = config.min_characters, config.max_characters
    flagged = {
        name: flag(table, "text", lambda text: not low <= len(text) <= high) for name, table in splits.items()
    }
    return Outcome(
        check="text_length",
        severity=config.severity,
        message=f"texts outside {low:,} to {high:,} characters: {counted(flagged)}",
        advice="Look at these rows; if they are right, widen `data.checks.text_length`.",
        flagged=flagged,
        examples=flagged_texts(splits, flagged),
    )


def duplicates(splits: Mapping[str, pd.DataFrame], config: DuplicatesCheck, task: Task) -> Outcome:
    """Rows that repeat an earlier row of their split: its text, for generation its text and target."""
    flagged = {name: _repeats(table, task) for name, table in splits.items()}
    return Outcome(
        check="duplicates",
        severity=config.severity,
        message=f"rows that repeat another row of their split: {counted(flagged)}",
        advice="Remove the repetitions: in training they weigh double, in test they count double.",
        flagged=flagged,
        examples=flagged_texts(splits, flagged),
    )


def _repeats(table: pd.DataFrame, task: Task) -> Flags:
    labels = table["label"].tolist() if task == "generation" else [""] * len(table)
    seen: set[tuple[str, str]] = set()
    found = np.zeros(len(table), dtype=np.bool_)
    for row, (text, label) in enumerate(zip(table["text"].tolist(), labels, strict=True)):
        key = (same_text(text), same_text(label))
        found[row] = key in seen
        seen.add(key)
    return found


def leaked_rows(splits: Mapping[str, pd.DataFrame]) -> dict[str, Flags]:
    """Rows of an earlier split (train before validation before test) whose text stands in a later one."""
    flagged: dict[str, Flags] = {}
    later: set[str] = set()
    for name in ("test", "validation", "train"):
        seen = frozenset(later)
        flagged[name] = flag(splits[name], "text", lambda text, seen=seen: same_text(text) in seen)  # type: ignore[misc]
        later.update(same_text(text) for text in splits[name]["text"].tolist())
    return {name: flagged[name] for name in ("train", "validation", "test")}


def leakage(splits: Mapping[str, pd.DataFrame], config: LeakageCheck) -> Outcome:
    """The same text in two splits, counted in the earlier one."""
    flagged = leaked_rows(splits)
    return Outcome(
        check="leakage",
        severity=config.severity,
        message=f"rows whose text also stands in a later split: {counted(flagged)}",
        advice="Set `data.checks.leakage.drop: true` to leave them out of the earlier split, or remove them.",
        flagged=flagged,
        examples=flagged_texts(splits, flagged),
    )
