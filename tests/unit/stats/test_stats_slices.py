"""Laws of small slices. Table of research/ab_tco.md section 1.5: the exact zero-event bound at 95 %."""

import pytest

from rsa_ops.core.estimate import Answer
from rsa_ops.errors import UsageError
from rsa_ops.stats import assessable, examples_needed_for_margin, noninferiority, zero_event_bound


@pytest.mark.parametrize(("examples", "percent"), [(30, 9.5), (40, 7.2), (100, 3.0), (450, 0.7)])
def test_zero_losses_leave_open_what_the_table_says(examples: int, percent: float) -> None:
    assert round(100 * zero_event_bound(examples), 1) == percent


def test_a_bonferroni_bound_over_150_classes_is_the_research_figure() -> None:
    assert round(100 * zero_event_bound(30, 0.05 / 150), 1) == 23.4


@pytest.mark.parametrize("margin", [0.001, 0.01, 0.02, 0.05, 0.1, 0.5, 0.99, 1.0, 3.0])
def test_the_needed_size_is_the_smallest_whose_bound_is_below_the_margin(margin: float) -> None:
    needed = examples_needed_for_margin(margin)
    assert zero_event_bound(needed) < margin
    assert needed == 1 or zero_event_bound(needed - 1) >= margin
    assert assessable(needed, margin)
    assert needed == 1 or not assessable(needed - 1, margin)


def test_an_assessable_slice_without_any_change_is_judged_and_a_smaller_one_is_not() -> None:
    needed = examples_needed_for_margin(0.05)
    same = [[1.0] * needed] * 3
    fewer = [[1.0] * (needed - 1)] * 3
    assert noninferiority(same, same, margin=0.05).answer is Answer.NON_INFERIOR
    assert noninferiority(fewer, fewer, margin=0.05).answer is Answer.INCONCLUSIVE


@pytest.mark.parametrize(
    ("margin", "alpha"), [(0.0, 0.05), (-0.1, 0.05), (float("nan"), 0.05), (0.1, 0.0), (0.1, 1.0)]
)
def test_a_margin_or_alpha_without_meaning_is_refused(margin: float, alpha: float) -> None:
    with pytest.raises(UsageError):
        examples_needed_for_margin(margin, alpha)


def test_no_examples_have_no_bound() -> None:
    with pytest.raises(UsageError):
        zero_event_bound(0)
