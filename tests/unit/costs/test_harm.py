"""The chance of harm is the distribution's own tail. Expected values: scipy's integration of the density."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate
from scipy.stats import norm, t

from rsa_ops.costs.harm import LARGEST_LOSS, worse_than


@settings(max_examples=25, deadline=None)
@given(st.floats(-0.05, 0.05), st.floats(0.001, 0.05), st.floats(3, 60), st.floats(0.001, 0.06))
def test_chance_and_mean_loss_are_the_integrals_over_the_tail(
    value: float, error: float, freedom: float, margin: float
) -> None:
    chance, mean = worse_than(value, error, freedom, margin)
    law = t(freedom, loc=value, scale=error)
    assert chance == pytest.approx(law.cdf(-margin), rel=1e-6, abs=1e-11)
    if chance > 1e-6:
        z = (-margin - value) / error
        area = integrate.quad(lambda x: (value + error * x) * t(freedom).pdf(x), -math.inf, z)[0]
        assert mean == pytest.approx(min(-area / chance, LARGEST_LOSS), rel=1e-4)


def test_without_degrees_of_freedom_the_law_is_normal() -> None:
    chance, mean = worse_than(0.0, 0.01, None, 0.02)
    assert chance == pytest.approx(norm.cdf(-2))
    assert mean == pytest.approx(0.01 * norm.pdf(2) / norm.cdf(-2))  # the inverse Mills ratio


@given(st.floats(-0.05, 0.05), st.floats(0.001, 0.05), st.floats(2, 60), st.floats(0.001, 0.06))
def test_what_is_lost_when_it_is_worse_than_the_margin_is_more_than_the_margin(
    value: float, error: float, freedom: float, margin: float
) -> None:
    chance, mean = worse_than(value, error, freedom, margin)
    assert 0 <= chance <= 1
    assert margin * (1 - 1e-9) <= mean <= LARGEST_LOSS


def test_a_difference_that_is_known_exactly_is_harm_or_none() -> None:
    assert worse_than(-0.05, 0.0, 4.0, 0.03) == (1.0, 0.05)
    assert worse_than(-0.02, 0.0, 4.0, 0.03) == (0.0, 0.03)
