"""Laws of the bootstrap: it agrees with the closed form on a mean, and with scikit-learn on macro-F1."""

import time

import numpy as np
import pytest
from sklearn.metrics import f1_score

from rsa_ops.core.estimate import Answer
from rsa_ops.errors import IntegrityError, UsageError
from rsa_ops.stats import (
    ArmMetric,
    bootstrap_difference,
    bootstrap_metric,
    macro_f1,
    mean_estimate,
    multi_bootstrap,
    noninferiority,
    weighted_mean,
)


def scores(right: float, seeds: int, rng: int, n: int = 300) -> np.ndarray:
    generator = np.random.default_rng(rng)
    shift = generator.normal(0, 0.03, (seeds, 1))
    return (generator.random((seeds, n)) < right + shift).astype(float)


def classes(seeds: int, n: int, rng: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(rng)
    labels = generator.integers(12, size=n)
    noise = generator.integers(12, size=(seeds, n))
    return labels, np.where(generator.random((seeds, n)) < 0.8, labels, noise)


@pytest.mark.parametrize("paired", [False, True])
def test_on_a_mean_the_bootstrap_is_the_crossed_variance(paired: bool) -> None:
    ours, theirs = scores(0.8, 4, 1), scores(0.82, 4, 2)
    arms = weighted_mean(ours), weighted_mean(theirs)
    found = bootstrap_difference(
        *arms, margin=0.02, rng=np.random.default_rng(3), draws=4000, paired_seeds=paired
    ).difference
    exact = noninferiority(ours, theirs, margin=0.02, paired_seeds=paired).difference
    assert found is not None
    assert exact is not None
    assert found.value == pytest.approx(exact.value)
    assert found.standard_error == pytest.approx(exact.standard_error, rel=0.04)  # MC error of 4,000 draws: 1.1 %


def test_on_a_mean_the_estimate_of_one_arm_is_the_crossed_one() -> None:
    table = scores(0.8, 3, 4)
    found = bootstrap_metric(weighted_mean(table), rng=np.random.default_rng(5), draws=4000)
    assert found.standard_error == pytest.approx(mean_estimate(table).standard_error, rel=0.04)


def test_macro_f1_is_scikit_learns_also_with_weights_and_absent_classes() -> None:
    labels, predictions = classes(2, 60)
    arm = macro_f1(labels, predictions, 14)  # two declared classes never occur
    weights = np.random.default_rng(1).integers(0, 4, size=60).astype(float)
    for seed in range(2):
        expected = f1_score(
            labels,
            predictions[seed],
            labels=list(range(14)),
            average="macro",
            zero_division=0,
            sample_weight=weights,
        )
        assert arm.metric(seed, weights) == pytest.approx(expected)


def test_a_thousand_draws_of_macro_f1_take_about_a_second() -> None:
    labels, predictions = classes(3, 1000)
    start = time.perf_counter()
    found = bootstrap_metric(macro_f1(labels, predictions, 12), rng=np.random.default_rng(0), draws=1000)
    assert time.perf_counter() - start < 2.0
    assert found.low < found.value < found.high


def test_equal_generators_give_equal_results() -> None:
    arms = weighted_mean(scores(0.8, 3, 1)), weighted_mean(scores(0.8, 3, 2))
    first, second = (
        bootstrap_difference(*arms, margin=0.02, rng=np.random.default_rng(7), draws=200) for _ in range(2)
    )
    assert first == second


def test_the_multi_bootstrap_holds_the_difference_and_is_of_the_same_size() -> None:
    ours, theirs = scores(0.8, 5, 1), scores(0.8, 4, 2)
    arms = weighted_mean(ours), weighted_mean(theirs)
    found = multi_bootstrap(*arms, rng=np.random.default_rng(1))
    exact = noninferiority(ours, theirs, margin=0.02).difference
    assert exact is not None
    assert found.low < exact.value < found.high
    assert 0.6 < (found.high - found.low) / (exact.high - exact.low) < 1.7


def test_one_seed_on_both_sides_asks_about_the_artifact_only() -> None:
    arms = weighted_mean(scores(0.8, 1, 1)), weighted_mean(scores(0.8, 1, 2))
    result = bootstrap_difference(*arms, margin=0.1, rng=np.random.default_rng(1), draws=200)
    assert result.variance_share_seeds is None
    assert result.more_seeds is None
    mixed = bootstrap_difference(
        arms[0], weighted_mean(scores(0.8, 3, 2)), margin=0.1, rng=np.random.default_rng(1), draws=200
    )
    assert mixed.answer is Answer.INVALID


def test_identical_predictions_never_give_a_zero_width() -> None:
    labels, predictions = classes(3, 200)
    arm = macro_f1(labels, predictions, 12)
    same = bootstrap_difference(arm, arm, margin=0.02, rng=np.random.default_rng(1), draws=100, paired_seeds=True)
    assert same.difference is not None
    assert same.difference.high > same.difference.low
    check = multi_bootstrap(arm, arm, rng=np.random.default_rng(1), draws=100, paired_seeds=True)
    assert check.high > check.low


def test_arms_that_do_not_fit_together_are_refused() -> None:
    arm, longer = weighted_mean(scores(0.8, 3, 1)), weighted_mean(scores(0.8, 3, 1, n=301))
    rng = np.random.default_rng(1)
    assert bootstrap_difference(arm, longer, margin=0.1, rng=rng).answer is Answer.INVALID
    assert bootstrap_difference(arm, arm, margin=0.0, rng=rng).answer is Answer.INVALID
    with pytest.raises(UsageError):
        multi_bootstrap(arm, longer, rng=rng)
    with pytest.raises(UsageError):
        bootstrap_metric(arm, rng=rng, draws=10)
    with pytest.raises(UsageError):
        bootstrap_metric(arm, rng=rng, confidence=0.0)


def test_a_metric_that_is_no_number_stops_the_bootstrap() -> None:
    with pytest.raises(IntegrityError):
        bootstrap_metric(ArmMetric(lambda _seed, _weights: float("nan"), 2, 10), rng=np.random.default_rng(1))
    with pytest.raises(IntegrityError):
        weighted_mean([[1.0, float("nan")]])


@pytest.mark.parametrize(
    ("labels", "predictions"),
    [([0, 1], [[0, 5]]), ([0, -1], [[0, 1]]), ([0.0, 1.0], [[0, 1]]), ([0, 1, 2], [[0, 1]]), ([0, 1], [0, 1])],
)
def test_classes_that_were_not_declared_are_refused(labels: list[int], predictions: list[list[int]]) -> None:
    with pytest.raises(UsageError):
        macro_f1(labels, predictions, 3)
