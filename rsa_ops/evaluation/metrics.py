"""From rows of scores to the numbers of one cell: accuracy, macro-F1, calibration, classes, slices, latency."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from rsa_ops.core.benchmark import SLICE_PREFIX, GroupScore

if TYPE_CHECKING:
    import pandas as pd

PERCENTILES = (50, 95, 99)


def expected_calibration_error(confidences: Sequence[float], correct: Sequence[float], *, bins: int = 10) -> float:
    """ECE with equal-width bins (Guo et al. 2017, equation 3), in [0, 1].

    Binned, so it depends on `bins` and is biased for few examples: descriptive, not for a gate.
    """
    confidence = np.asarray(confidences, dtype=float)
    hit = np.asarray(correct, dtype=float)
    index = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [
        abs(hit[index == bin_].mean() - confidence[index == bin_].mean()) * (index == bin_).sum()
        for bin_ in range(bins)
        if (index == bin_).any()
    ]
    return float(sum(gaps) / len(hit))


def classification_metrics(rows: pd.DataFrame, labels: tuple[str, ...]) -> dict[str, float]:
    """Accuracy, macro-F1 (over all declared labels, an absent one counting 0) and ECE of clean rows."""
    from sklearn.metrics import f1_score

    f1 = f1_score(rows["label"], rows["prediction"], labels=list(labels), average="macro", zero_division=0)
    return {
        "accuracy": float(rows["score"].mean()),
        "macro_f1": float(f1),
        "ece": expected_calibration_error(rows["confidence"].tolist(), rows["score"].tolist()),
    }


def group_scores(rows: pd.DataFrame, column: str, prefix: str = "") -> tuple[GroupScore, ...]:
    """Mean score of each value of `column`, sorted by name."""
    grouped = rows.groupby(column, sort=True)["score"].agg(["size", "mean"])
    return tuple(
        GroupScore(group=f"{prefix}{name}", examples=int(size), score=float(mean))
        for name, size, mean in zip(grouped.index, grouped["size"], grouped["mean"], strict=True)
    )


def slice_scores(rows: pd.DataFrame) -> tuple[GroupScore, ...]:
    """Scores on every value of every slice column, named `slice=value`."""
    columns = [name for name in rows.columns if name.startswith(SLICE_PREFIX)]
    return tuple(
        score for name in columns for score in group_scores(rows, name, f"{name.removeprefix(SLICE_PREFIX)}=")
    )


def slices_in(rows: pd.DataFrame, *, classes: bool) -> dict[str, frozenset[str]]:
    """`slice=value` -> the ids of its examples, of a table of splits or of clean predictions.

    `classes`: every class is a slice as well, `class=<label>`.
    """
    columns = {name: name.removeprefix(SLICE_PREFIX) for name in rows.columns if name.startswith(SLICE_PREFIX)}
    if classes:
        columns["label"] = "class"
    once = rows.drop_duplicates("example_id")
    return {
        f"{short}={value}": frozenset(group["example_id"])
        for column, short in columns.items()
        for value, group in once.groupby(column)
    }


def latency_percentiles(times_ms: Sequence[float]) -> dict[str, float]:
    """`p50`, `p95`, `p99` in milliseconds; empty when nothing was timed."""
    if not times_ms:
        return {}
    return {f"p{p}": float(np.percentile(np.asarray(times_ms), p)) for p in PERCENTILES}
