"""Laws of the restricted variance: Tango's closed form where there is one, the likelihood equations elsewhere."""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import optimize

from rsa_ops.errors import UsageError
from rsa_ops.stats.restricted import Units, unseen_loss


def table(gained: int, lost: int, same: int) -> Units:
    return Units(np.array([-1.0, 0.0, 1.0]), np.ones(3), np.array([lost, same, gained], dtype=float))


def tango(gained: int, lost: int, examples: int, truth: float) -> float:
    # Tango 1998: the larger root q of 2 n q^2 + ((2n - b + c) D - b - c) q - c D (1 - D) = 0, and 2 q + D (1 - D).
    slope = (2 * examples - gained + lost) * truth - gained - lost
    root = math.sqrt(max(slope**2 + 8 * examples * lost * truth * (1 - truth), 0.0))
    return 2 * (root - slope) / (4 * examples) + truth * (1 - truth)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 200), st.floats(-0.99, 0.99))
def test_for_one_seed_it_is_tangos(gained: int, lost: int, same: int, truth: float) -> None:
    assume(gained + lost + same > 0)
    expected = tango(gained, lost, gained + lost + same, truth)
    assert table(gained, lost, same).square_at(truth) == pytest.approx(expected, abs=1e-9)


def test_an_unseen_example_lies_between_the_furthest_seen_and_all_and_for_one_seed_at_all() -> None:
    assert unseen_loss(1.0) == 1.0
    for furthest in (0.1, 0.5, 0.9):
        assert furthest < unseen_loss(furthest) < 1


def test_at_the_observed_mean_it_is_the_observed_variance() -> None:
    values = np.random.default_rng(1).normal(0, 0.1, 50).clip(-1, 1)
    units = Units(values, np.ones(50), np.ones(50))
    assert units.square_at(units.mean) == pytest.approx(values.var())


def test_it_is_the_variance_of_the_likeliest_weights_found_by_brute_force() -> None:
    # Maximise sum c log w over weights on the observed values and on -1, with mean -0.05 (Owen 2001, chapter 2).
    values, counts, truth = np.array([-0.5, 0.0, 0.25]), np.array([2.0, 36.0, 2.0]), -0.05
    support = np.append(values, -1.0)
    done = optimize.minimize(
        lambda w: -(counts * np.log(np.maximum(w[:3], 1e-12))).sum(),
        np.full(4, 0.25),
        bounds=[(1e-9, 1)] * 4,
        constraints=[
            {"type": "eq", "fun": lambda w: w.sum() - 1},
            {"type": "eq", "fun": lambda w: w @ support - truth},
        ],
        tol=1e-12,
    )
    expected = done.x @ (support - truth) ** 2
    assert Units(values, np.ones(3), counts).square_at(truth) == pytest.approx(expected, rel=1e-4)


def test_with_nothing_lost_a_loss_is_as_uncertain_as_losing_whole_examples() -> None:
    # All mass that moves the mean is unseen: share |D| at -1, so variance |D| - D^2.
    assert table(0, 0, 100).square_at(-0.03) == pytest.approx(0.03 - 0.03**2)
    assert table(0, 0, 100).square_at(0.03) == pytest.approx(0.03 - 0.03**2)


def test_at_the_ends_of_the_scale_nothing_varies() -> None:
    assert table(3, 5, 40).square_at(-1.0) == 0.0
    assert table(3, 5, 40).square_at(1.0) == 0.0


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1000), st.integers(2, 40), st.floats(-0.9, 0.9))
def test_swapping_the_arms_mirrors_it(rng: int, number: int, truth: float) -> None:
    generator = np.random.default_rng(rng)
    sizes = generator.integers(1, 6, number).astype(float)
    sums = np.round(generator.uniform(-1, 1, number) * sizes)
    there = Units(sums, sizes, np.ones(number), worst=-0.7, best=0.9).square_at(truth)
    back = Units(-sums, sizes, np.ones(number), worst=-0.9, best=0.7).square_at(-truth)
    assert there == pytest.approx(back, rel=1e-6, abs=1e-9)


def test_a_truth_off_the_scale_is_refused() -> None:
    with pytest.raises(UsageError):
        table(1, 1, 10).square_at(-1.5)
