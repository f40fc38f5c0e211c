"""Metrics as functions of example weights, so that the bootstrap never copies a row."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rsa_ops.errors import IntegrityError, UsageError
from rsa_ops.stats.draws import ArmMetric
from rsa_ops.stats.inputs import Scores


def weighted_mean(scores: ArrayLike) -> ArmMetric:
    """The mean of `scores` [seeds, examples]; with it the bootstrap must agree with `noninferiority`.

    Weighted by sum(w y) / sum(w), the ratio form of Hajek 1971 ("Comment on an essay by D. Basu").

    Raises:
        IntegrityError: a score is NaN or infinite.
        UsageError: no table of numbers.
    """
    table = _table(scores, "[seeds, examples]", 2)

    def metric(seed: int, weights: Scores) -> float:
        return float(table[seed] @ weights / weights.sum())

    return ArmMetric(metric, len(table), table.shape[1], table=table)


def macro_f1(labels: ArrayLike, predictions: ArrayLike, n_classes: int) -> ArmMetric:
    """Macro-F1 over `n_classes` declared classes, each an integer in [0, n_classes).

    The mean of the classes' F1 (Opitz and Burst 2019, arXiv 1911.03347, the averaged F1).
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


def from_sums(statistics: ArrayLike, finish: Callable[[Scores], float]) -> ArmMetric:
    """A corpus metric: `finish` of the statistics summed over the examples (corpus BLEU, chrF, F1 of spans).

    The sums are drawn again with the examples, as Koehn 2004 (Statistical significance tests for machine
    translation evaluation, EMNLP, section 3) does for BLEU.

    Args:
        statistics: counts [seeds, examples, statistics].
        finish: the summed statistics [statistics] -> the metric, higher is better.

    Raises:
        UsageError: no such table. IntegrityError: a count is NaN or infinite.
    """
    found = _table(statistics, "[seeds, examples, statistics]", 3)
    return ArmMetric(lambda seed, weights: float(finish(weights @ found[seed])), *found.shape[:2])


def corpus_chrf(statistics: ArrayLike, *, beta: float = 2.0) -> ArmMetric:
    """Corpus chrF in [0, 100] from n-gram counts; Popović 2015 (chrF), equation 1, as sacrebleu 2 has it.

    Orders that one side has no n-gram of are left out of the means of precision and recall.

    Args:
        statistics: counts [seeds, examples, 3 * orders]; per order the n-grams of the text, of the reference, and
            those in common.
        beta: how much more recall counts than precision.

    Raises:
        UsageError: no such table. IntegrityError: a count is NaN or infinite.
    """

    def finish(sums: Scores) -> float:
        text, reference, common = sums.reshape(-1, 3).T
        there = (text > 0) & (reference > 0)
        if not there.any():
            return 0.0
        precision = float((common[there] / text[there]).mean())
        recall = float((common[there] / reference[there]).mean())
        both = beta**2 * precision + recall
        return 100 * (1 + beta**2) * precision * recall / both if both > 0 else 0.0

    return from_sums(statistics, finish)


def calibration(right: ArrayLike, confidence: ArrayLike, *, bins: int = 15) -> ArmMetric:
    """Minus the expected calibration error, so that higher is better; Guo et al. 2017 (ICML), equation 3.

    Bins of equal width over [0, 1]. It is biased upwards for few examples and describes better than it judges; the
    Brier score, a mean, goes through `noninferiority`.

    Args:
        right: 0 or 1 [seeds, examples].
        confidence: in [0, 1] [seeds, examples].
        bins: how many.

    Raises:
        UsageError: tables that do not match, a confidence outside [0, 1], no bins. IntegrityError: NaN.
    """
    hit, sure = _table(right, "[seeds, examples]", 2), _table(confidence, "[seeds, examples]", 2)
    if hit.shape != sure.shape or bins < 1 or (sure.size and not 0 <= sure.min() <= sure.max() <= 1):
        raise UsageError(
            f"expected two tables in [0, 1] of one shape and a bin, found {hit.shape} and {sure.shape}"
        )
    places = np.clip(np.ceil(sure * bins).astype(np.intp) - 1, 0, bins - 1)

    def metric(seed: int, weights: Scores) -> float:
        gaps = np.bincount(places[seed], weights * (hit[seed] - sure[seed]), bins)
        return -float(np.abs(gaps).sum() / weights.sum())

    return ArmMetric(metric, *hit.shape)


def worst_slice_mean(scores: ArrayLike, slices: Mapping[str, NDArray[np.bool_]]) -> ArmMetric:
    """The lowest mean over `slices`, each a mask [examples], of `scores` [seeds, examples].

    Worst-group accuracy (Sagawa, Koh, Hashimoto and Liang 2020, ICLR, section 2), for any score.

    The lowest of several noisy means lies too low, more so where slices are small or close to each other; the
    difference of two arms shares that, which is why it is compared and not read by itself. A slice of which a draw
    holds no example is left out of that draw.

    Raises:
        UsageError: no slices, or masks of another length. IntegrityError: a score is NaN or infinite.
    """
    table = _table(scores, "[seeds, examples]", 2)
    masks = np.array([slices[name] for name in slices], dtype=np.float64)
    if masks.ndim != 2 or masks.shape[1:] != table.shape[1:]:
        raise UsageError(f"expected masks over {table.shape[1]} examples, found shape {masks.shape}")

    def metric(seed: int, weights: Scores) -> float:
        sizes = masks @ weights
        return float(((masks @ (weights * table[seed]))[sizes > 0] / sizes[sizes > 0]).min())

    return ArmMetric(metric, *table.shape)


def _table(values: ArrayLike, shape: str, axes: int) -> Scores:
    try:
        found = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise UsageError(f"expected numbers {shape}: {error}") from error
    if found.ndim != axes:
        raise UsageError(f"expected numbers {shape}, found shape {found.shape}")
    if not np.isfinite(found).all():
        raise IntegrityError("a number is NaN or infinite", hint="Missing is never a number: find the example.")
    return found


def _classes(values: ArrayLike, n_classes: int) -> NDArray[np.intp]:
    found = np.asarray(values)
    if not np.issubdtype(found.dtype, np.integer):
        raise UsageError(f"classes must be integers, found {found.dtype}")
    if found.size and not 0 <= int(found.min()) <= int(found.max()) < n_classes:
        raise UsageError(f"classes must lie in [0, {n_classes}), found {found.min()} to {found.max()}")
    return found.astype(np.intp)
