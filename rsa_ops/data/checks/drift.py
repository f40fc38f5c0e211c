"""Drift against a reference: population stability index (PSI) of the labels and of the text lengths.

PSI = sum over bins of (p - q) ln(p / q). Usual reading: below 0.1 stable, above 0.25 shifted (Siddiqi 2006). With
n and m rows and B bins its expected value without any drift is about (B - 1) (1/n + 1/m) (Yurdakul 2018).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from rsa_ops.data.checks.config import DriftCheck
from rsa_ops.data.checks.outcome import Outcome, some
from rsa_ops.data.config import Task

if TYPE_CHECKING:
    import pandas as pd

LENGTH_BINS = 10


def psi(ours: Mapping[str, int], theirs: Mapping[str, int]) -> float:
    """PSI of two tables of counts; half a row is added to every bin, so that an empty one is finite."""
    bins = sorted(set(ours) | set(theirs))
    total = sum(ours.values()) + len(bins) / 2
    reference = sum(theirs.values()) + len(bins) / 2
    shares = [((ours.get(b, 0) + 0.5) / total, (theirs.get(b, 0) + 0.5) / reference) for b in bins]
    return math.fsum((p - q) * math.log(p / q) for p, q in shares)


def drift(used: pd.DataFrame, reference: pd.DataFrame, config: DriftCheck, task: Task) -> Outcome:
    """PSI of `used` against `reference`, which rows without text or label have been taken from."""
    lengths = [table["text"].str.len().to_numpy() for table in (used, reference)]
    edges = np.unique(np.quantile(lengths[1], np.linspace(0, 1, LENGTH_BINS + 1)[1:-1]))
    ours, theirs = (Counter(map(str, np.digitize(found, edges, right=True).tolist())) for found in lengths)
    measured = {"text_length_psi": (psi(ours, theirs), config.text_length_psi)}
    shown: Sequence[str] = ()
    if task == "classification":
        labels, expected = (Counter(table["label"].tolist()) for table in (used, reference))
        measured["label_psi"] = (psi(labels, expected), config.label_psi)
        shown = _moved(labels, expected)
    over = [f"{name} {value:.3f} (limit {limit:g})" for name, (value, limit) in measured.items() if value > limit]
    return Outcome(
        check="drift",
        severity=config.severity,
        message=f"the data differs from {config.reference}: {', '.join(over)}",
        advice="Find out what changed at the source; take a new reference if the change is meant.",
        flagged={},
        examples=some(shown),
        measured=measured,
    )


def _moved(labels: Counter[str], expected: Counter[str]) -> list[str]:
    """Labels by how far their share moved, the furthest first."""
    shares = {
        label: (expected[label] / expected.total(), labels[label] / labels.total()) for label in labels | expected
    }
    ordered = sorted(shares, key=lambda label: (-abs(shares[label][0] - shares[label][1]), label))
    return [f"{label!r}: {shares[label][0]:.1%} -> {shares[label][1]:.1%}" for label in ordered]
