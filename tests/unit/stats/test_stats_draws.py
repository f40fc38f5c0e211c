"""Laws of drawing examples again: the blocks together are the multinomial law, and scipy's bootstrap agrees."""

import math
import time
import tracemalloc

import numpy as np
import pytest
from scipy import stats as scipy_stats

from rsa_ops.core.estimate import Answer
from rsa_ops.errors import DataRefused, UsageError
from rsa_ops.stats import (
    ArmMetric,
    bootstrap_difference,
    bootstrap_metric,
    draws,
    grouped,
    multi_bootstrap,
    noninferiority,
    weighted_mean,
)
from rsa_ops.stats.draws import draw


def scores(right: float, seeds: int, rng: int, n: int = 400) -> np.ndarray:
    generator = np.random.default_rng(rng)
    return (generator.random((seeds, n)) < right).astype(float)


def counts(n: int, number: int, rng: int) -> np.ndarray:
    """How often each example was drawn, [draws, n], read off a table that tells the examples apart."""
    (found,) = draw((weighted_mean(np.eye(n)),), number, np.random.default_rng(rng))
    return np.rint(found.draws.T * n)


def test_blocks_of_draws_are_one_multinomial(monkeypatch: pytest.MonkeyPatch) -> None:
    # Multinomial(n; 1/n, ..): each count has mean 1 and variance 1 - 1/n, two have covariance -1/n, also across
    # blocks; how often 0, 1, 2 come is binomial(n, 1/n).
    monkeypatch.setattr(draws, "CELLS", 0)
    drawn = counts(100, 20_000, rng=3)  # blocks of 64 and 36
    assert (drawn.sum(axis=1) == 100).all()
    assert drawn.mean(axis=0) == pytest.approx(np.ones(100), abs=5 / math.sqrt(20_000))
    covariance = np.cov(drawn[:, [0, 1, 63, 64, 99]].T)
    expected = np.full((5, 5), -0.01) + np.eye(5)
    assert covariance == pytest.approx(expected, abs=0.05)
    share = [(drawn[:, 70] == k).mean() for k in range(4)]
    assert share == pytest.approx(scipy_stats.binom.pmf(range(4), 100, 0.01), abs=0.012)
    first = drawn[:, :64].sum(axis=1)  # binomial(100, 0.64)
    assert first.var() == pytest.approx(100 * 0.64 * 0.36, rel=0.05)


def test_means_in_blocks_and_means_one_by_one_have_the_same_law() -> None:
    table = scores(0.8, 3, 1)
    fast = weighted_mean(table)
    slow = ArmMetric(fast.metric, fast.seeds, fast.examples)
    quick, plain = (draw((arm,), 4000, np.random.default_rng(5))[0] for arm in (fast, slow))
    assert quick.point == pytest.approx(plain.point)
    assert np.cov(quick.draws) == pytest.approx(np.cov(plain.draws), abs=4e-5)  # variances 4e-4; MC error 2 %
    both = scipy_stats.ks_2samp(quick.draws[0], plain.draws[0])
    assert both.pvalue > 0.001


def test_one_seed_is_scipys_paired_bootstrap() -> None:
    ours, theirs = np.random.default_rng(1).normal(0.6, 0.2, (2, 80))
    found = multi_bootstrap(
        weighted_mean(ours[None]), weighted_mean(theirs[None]), rng=np.random.default_rng(2), draws=20_000
    )
    published = scipy_stats.bootstrap(
        (ours, theirs),
        lambda a, b, axis=-1: a.mean(axis=axis) - b.mean(axis=axis),
        paired=True,
        confidence_level=0.9,
        n_resamples=20_000,
        method="percentile",
        rng=np.random.default_rng(3),
    )
    assert found.standard_error == pytest.approx(published.standard_error, rel=0.03)
    interval = published.confidence_interval
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), abs=0.002)


def test_examples_drawn_by_group_have_the_clustered_variance() -> None:
    codes = np.repeat(np.arange(40), 10)
    hard = np.random.default_rng(8).random((2, 40)) * 0.6 + 0.4
    ours, theirs = ((np.random.default_rng(k).random((3, 400)) < hard[k][codes]).astype(float) for k in range(2))
    arms = grouped(weighted_mean(ours), codes), grouped(weighted_mean(theirs), codes)
    found = bootstrap_difference(*arms, margin=0.1, rng=np.random.default_rng(1), draws=4000).difference
    exact = noninferiority(ours, theirs, margin=0.1, groups=codes).difference
    plain = noninferiority(ours, theirs, margin=0.1).difference
    assert found is not None
    assert exact is not None
    assert plain is not None
    assert found.standard_error == pytest.approx(exact.standard_error, rel=0.05)  # G / (G - 1) is 1.3 % of it
    assert plain.standard_error is not None
    assert found.standard_error is not None
    assert found.standard_error > 1.5 * plain.standard_error
    slow = tuple(ArmMetric(arm.metric, arm.seeds, arm.examples, how=arm.how) for arm in arms)
    again = bootstrap_difference(*slow, margin=0.1, rng=np.random.default_rng(2), draws=1500).difference
    assert again is not None
    assert again.standard_error == pytest.approx(exact.standard_error, rel=0.08)


def test_both_sides_draw_the_same_groups_or_none() -> None:
    arm = weighted_mean(scores(0.8, 3, 1))
    codes = np.arange(400) // 10
    rng = np.random.default_rng(1)
    for other in (arm, grouped(arm, codes[::-1])):
        mixed = bootstrap_difference(grouped(arm, codes), other, margin=0.1, rng=rng)
        assert mixed.answer is Answer.INVALID
        assert "groups" in mixed.reason
    with pytest.raises(UsageError, match="groups"):
        multi_bootstrap(grouped(arm, codes), arm, rng=rng)
    with pytest.raises(DataRefused):
        grouped(arm, [None] * 400)
    with pytest.raises(UsageError):
        bootstrap_metric(grouped(arm, np.zeros(400)), rng=rng)


def test_the_cost_of_the_multi_bootstrap_is_linear_in_the_examples_and_its_memory_is_not() -> None:
    def cost(n: int) -> tuple[float, float]:
        arms = weighted_mean(scores(0.8, 3, 1, n)), weighted_mean(scores(0.8, 3, 2, n))
        tracemalloc.start()
        start = time.process_time()  # other processes may keep this one waiting
        multi_bootstrap(*arms, rng=np.random.default_rng(1), draws=200)
        seconds = time.process_time() - start
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return seconds, peak

    cost(10_000)  # the first call imports and warms up
    small, large = cost(40_000), cost(160_000)
    assert large[0] < 10 * small[0]
    assert large[1] < 160e6  # the scores alone are 7.7 MB; a table of draws x examples would be 256 MB


def test_a_margin_may_be_relative_here_too() -> None:
    from rsa_ops.stats import Margin

    arms = weighted_mean(scores(0.8, 3, 1)), weighted_mean(scores(0.8, 3, 2))
    found = bootstrap_difference(*arms, margin=Margin.relative(0.1, of=0.8), rng=np.random.default_rng(1))
    assert found.margin == pytest.approx(0.08)
