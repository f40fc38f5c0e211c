"""Every check on one set of splits, in the order in which they are reported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rsa_ops.data.checks import labels, texts
from rsa_ops.data.checks.config import ChecksConfig
from rsa_ops.data.checks.drift import drift
from rsa_ops.data.checks.near import near_duplicates
from rsa_ops.data.checks.outcome import Outcome, plural
from rsa_ops.data.checks.pii import pii
from rsa_ops.data.config import Task

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Subject:
    """What is checked: all rows read, the splits, what was left out as leaked, hub sources without a revision."""

    task: Task
    loaded: pd.DataFrame
    splits: Mapping[str, pd.DataFrame]
    reference: pd.DataFrame | None
    leaked: int
    leaked_texts: tuple[str, ...]
    unpinned: tuple[str, ...]


def run_checks(subject: Subject, config: ChecksConfig) -> tuple[Outcome, ...]:
    """The outcome of every check that is on and applies to the task."""
    found: list[Outcome] = [*texts.nulls(subject.loaded, config.nulls), *_on_labels(subject, config)]
    found += [
        texts.text_length(subject.splits, config.text_length),
        texts.duplicates(subject.splits, config.duplicates, subject.task),
        texts.leakage(subject.splits, config.leakage),
        *_near(subject, config),
        *pii(subject.splits, config.pii),
    ]
    if subject.reference is not None:
        found.append(drift(_used(subject), subject.reference, config.drift, subject.task))
    found.append(_pinned(subject, config))
    if config.leakage.drop and config.leakage.severity != "off":
        found.append(_dropped(subject))
    return tuple(outcome for outcome in found if outcome.severity != "off")


def _on_labels(subject: Subject, config: ChecksConfig) -> list[Outcome]:
    if subject.task == "generation":
        return []
    return [
        labels.label_set(subject.splits, config.label_set),
        labels.class_floor(subject.splits, config.class_floor),
        labels.conflicts(subject.splits, config.conflicts),
    ]


def _near(subject: Subject, config: ChecksConfig) -> tuple[Outcome, ...]:
    if config.near_duplicates.severity == config.near_duplicates.severity_across == "off":
        return ()
    return near_duplicates(subject.splits, config.near_duplicates, subject.task)


def _used(subject: Subject) -> pd.DataFrame:
    import pandas as pd

    return pd.concat(list(subject.splits.values()), ignore_index=True)


def _pinned(subject: Subject, config: ChecksConfig) -> Outcome:
    return Outcome(
        check="pinned",
        severity=config.pinned.severity,
        message=f"{', '.join(subject.unpinned)}: no revision is given, so the rows may change without notice",
        advice="Write hub:<id>@<revision>, with the commit of the data set.",
        flagged={},
        measured={"unpinned_sources": (float(len(subject.unpinned)), 0.0)},
    )


def _dropped(subject: Subject) -> Outcome:
    return Outcome(
        check="leaked_rows_dropped",
        severity="warn",
        message=f"{plural(subject.leaked, 'row')} left out, because the text also stands in a later split",
        advice="Nothing, if this is meant (`data.checks.leakage.drop`).",
        flagged={},
        examples=subject.leaked_texts,
        measured={"leaked_rows_dropped": (float(subject.leaked), 0.0)},
        affected=subject.leaked,
    )
