"""Numbers of one cell against scikit-learn and a table worked by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, classification_report, f1_score, recall_score

from rsa_ops.evaluation.metrics import (
    classification_metrics,
    expected_calibration_error,
    group_scores,
    latency_percentiles,
    slice_scores,
)

LABELS = ("network", "local", "physical", "adjacent")


def predictions(rows: int = 300, labels: tuple[str, ...] = LABELS, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    table = pd.DataFrame({"label": rng.choice(labels, rows), "prediction": rng.choice(labels, rows)})
    right = rng.random(rows) < 0.6
    table.loc[right, "prediction"] = table.loc[right, "label"]
    table["score"] = (table["label"] == table["prediction"]).astype(float)
    table["confidence"] = rng.random(rows)
    return table


def test_accuracy_and_macro_f1_are_scikit_learns() -> None:
    rows = predictions()
    found = classification_metrics(rows, LABELS)
    assert found["accuracy"] == pytest.approx(accuracy_score(rows["label"], rows["prediction"]), abs=1e-12)
    expected = f1_score(rows["label"], rows["prediction"], average="macro")
    assert found["macro_f1"] == pytest.approx(expected, abs=1e-12)


def test_a_declared_class_that_never_occurs_counts_zero_in_macro_f1() -> None:
    rows = predictions()
    without = classification_metrics(rows, LABELS)["macro_f1"]
    assert classification_metrics(rows, (*LABELS, "never"))["macro_f1"] == pytest.approx(without * 4 / 5, abs=1e-12)


def test_the_score_of_a_class_is_its_recall() -> None:
    rows = predictions()
    found = {score.group: score for score in group_scores(rows, "label")}
    recalls = recall_score(rows["label"], rows["prediction"], labels=list(LABELS), average=None)
    support = classification_report(rows["label"], rows["prediction"], output_dict=True)
    for label, recall in zip(LABELS, recalls, strict=True):
        assert found[label].score == pytest.approx(recall, abs=1e-12)
        assert found[label].examples == support[label]["support"]


def test_calibration_error_of_a_table_worked_by_hand() -> None:
    # Bins [0.2, 0.3): |1/2 - 0.25| * 2 = 0.5;  [0.6, 0.7): |1/1 - 0.65| * 1 = 0.35;
    # [0.9, 1]: confidences 0.92, 0.96, 1.0, hits 1, 0, 1: |2/3 - 0.96| * 3 = 0.88.  Sum 1.73 over 6 rows.
    confidences = [0.22, 0.28, 0.65, 0.92, 0.96, 1.0]
    correct = [1, 0, 1, 1, 0, 1]
    assert expected_calibration_error(confidences, correct) == pytest.approx(1.73 / 6, abs=1e-12)


@pytest.mark.parametrize(
    ("confidences", "correct", "error"),
    [
        ([1.0] * 4, [1] * 4, 0.0),
        ([1.0] * 4, [0] * 4, 1.0),
        ([0.75] * 4, [1, 1, 1, 0], 0.0),
        ([0.5] * 2, [1, 1], 0.5),
    ],
)
def test_calibration_error_at_its_limits(confidences: list[float], correct: list[int], error: float) -> None:
    assert expected_calibration_error(confidences, correct) == pytest.approx(error, abs=1e-12)


def test_with_one_bin_calibration_error_is_the_gap_of_the_means() -> None:
    rng = np.random.default_rng(1)
    confidences, correct = rng.random(200), (rng.random(200) < 0.7).astype(float)
    found = expected_calibration_error(confidences.tolist(), correct.tolist(), bins=1)
    assert found == pytest.approx(abs(confidences.mean() - correct.mean()), abs=1e-12)


def test_every_value_of_every_slice_is_scored_under_its_name() -> None:
    rows = pd.DataFrame(
        {"score": [1.0, 0.0, 1.0, 1.0], "slice_vector": ["xss", "xss", "sqli", "sqli"], "slice_year": list("1122")}
    )
    found = {score.group: (score.examples, score.score) for score in slice_scores(rows)}
    assert found == {"vector=xss": (2, 0.5), "vector=sqli": (2, 1.0), "year=1": (2, 0.5), "year=2": (2, 1.0)}
    assert slice_scores(rows[["score"]]) == ()


def test_latency_percentiles_are_the_type_7_quantiles() -> None:
    # Hyndman & Fan (1996) type 7 on 1..101: the p-th percentile is 1 + p.
    assert latency_percentiles([float(n) for n in range(101, 0, -1)]) == {"p50": 51.0, "p95": 96.0, "p99": 100.0}
    assert latency_percentiles([]) == {}
