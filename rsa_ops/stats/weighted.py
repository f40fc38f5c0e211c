"""Metrics as functions of example weights, so that the bootstrap never copies a row."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rsa_ops.errors import IntegrityError, UsageError
from rsa_ops.stats.bootstrap import ArmMetric
from rsa_ops.stats.inputs import Scores, as_table


def weighted_mean(scores: ArrayLike) -> ArmMetric:
    """The mean of `scores` [seeds, examples]; with it the bootstrap must agree with `noninferiority`.

    Raises:
        IntegrityError: a score is NaN or infinite.
        UsageError: no table of numbers.
    """
    table = as_table(scores)
    if not np.isfinite(table).all():
        raise IntegrityError("a score is NaN or infinite", hint="Missing is never a number: find the cell.")

    def metric(seed: int, weights: Scores) -> float:
        return float(table[seed] @ weights / weights.sum())

    return ArmMetric(metric, *table.shape)


def macro_f1(labels: ArrayLike, predictions: ArrayLike, n_classes: int) -> ArmMetric:
    """Macro-F1 over `n_classes` declared classes, each an integer in [0, n_classes).

    A class without labels or predictions counts 0, as in scikit-learn's
    `f1_score(labels=all, average="macro", zero_division=0)`. Cost per draw and seed: three passes over the rows.

    Args:
        labels: integers [examples].
        predictions: integers [seeds, examples].
        n_classes: how many classes the task declares.

    Raises:
        UsageError: shapes that do not match, or a class outside the declared ones.
    """
    truth, guessed = _classes(labels, n_classes), _classes(predictions, n_classes)
    if guessed.ndim != 2 or truth.ndim != 1 or guessed.shape[1] != len(truth):
        raise UsageError(
            f"expected labels [examples] and predictions [seeds, examples], found {truth.shape} and {guessed.shape}"
        )
    right = guessed == truth

    def metric(seed: int, weights: Scores) -> float:
        hits = np.bincount(truth, weights * right[seed], n_classes)
        there = np.bincount(truth, weights, n_classes)
        claimed = np.bincount(guessed[seed], weights, n_classes)
        return float((2 * hits / np.maximum(there + claimed, 1e-300)).mean())

    return ArmMetric(metric, len(guessed), len(truth))


def _classes(values: ArrayLike, n_classes: int) -> NDArray[np.intp]:
    found = np.asarray(values)
    if not np.issubdtype(found.dtype, np.integer):
        raise UsageError(f"classes must be integers, found {found.dtype}")
    if found.size and not 0 <= int(found.min()) <= int(found.max()) < n_classes:
        raise UsageError(f"classes must lie in [0, {n_classes}), found {found.min()} to {found.max()}")
    return found.astype(np.intp)
