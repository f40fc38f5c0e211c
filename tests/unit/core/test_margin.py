"""Laws of the margin and of families of tests."""

import math

import pytest
from scipy import stats as scipy_stats

from rsa_ops.core.family import holm
from rsa_ops.core.margin import Margin
from rsa_ops.errors import UsageError


def test_a_relative_margin_is_a_share_of_a_number_that_was_fixed() -> None:
    assert Margin.relative(0.02, of=0.9).in_units == pytest.approx(0.018)
    assert Margin(loss=0.01).in_units == 0.01


@pytest.mark.parametrize("reference", [0.0, -0.9, math.nan, math.inf])
def test_a_reference_must_be_a_number_above_zero(reference: float) -> None:
    with pytest.raises(UsageError):
        Margin.relative(0.02, of=reference)


def test_a_margin_is_a_frozen_value_that_renders_as_json() -> None:
    text = Margin.relative(0.02, of=0.9).model_dump_json()
    assert text == '{"loss":0.02,"of":0.9}'
    assert Margin.model_validate_json(text) == Margin.relative(0.02, of=0.9)


def test_holm_is_its_published_steps() -> None:
    # Sorted 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1, never falling: 0.02, 0.03, 0.06, 0.06 (Holm 1979); the same
    # four numbers come from statsmodels 0.15.0, multipletests(..., method="holm").
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))


def test_holm_never_exceeds_one_and_of_one_test_is_nothing() -> None:
    assert holm([0.9, 0.8]) == (1.0, 1.0)
    assert holm([0.03]) == (0.03,)
    assert holm([]) == ()


def test_holm_rejects_wherever_bonferroni_does() -> None:
    p_values = scipy_stats.uniform.rvs(size=30, random_state=1) ** 3
    adjusted = holm(list(p_values))
    assert all(mine <= min(1.0, 30 * p) + 1e-12 for mine, p in zip(adjusted, p_values, strict=True))
