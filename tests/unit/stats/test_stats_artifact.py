"""Laws of the artifact question. Published: Fagerland, Lydersen and Laake, chapter 8 tables (R package
contingencytables, its own tests): Cavo 2012 (59, 6; 16, 80) gives -0.1240 to -0.0054 for Tango's 95 % interval.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from rsa_ops.core.estimate import Answer
from rsa_ops.errors import UsageError
from rsa_ops.stats import artifact_noninferiority, tango_interval


def test_tango_gives_the_published_interval() -> None:
    found = tango_interval(6, 16, 161)
    assert (round(found.low, 4), round(found.high, 4)) == (-0.1240, -0.0054)


@pytest.mark.parametrize("examples", [1, 20, 100, 5000])
def test_without_discordant_pairs_tango_is_its_closed_form(examples: int) -> None:
    # |n d| / sqrt(n (|d| - d^2)) = z solves to |d| = z^2 / (n + z^2).
    square = scipy_stats.norm.ppf(0.975) ** 2
    end = square / (examples + square)
    found = tango_interval(0, 0, examples)
    assert (found.low, found.high) == pytest.approx((-end, end))


def test_tango_at_zero_difference_is_mcnemars_statistic() -> None:
    # (b - c) / sqrt(b + c) = (30 - 14) / sqrt(44): the interval at that level ends at zero.
    level = 1 - 2 * scipy_stats.norm.sf(16 / 44**0.5)
    assert tango_interval(30, 14, 200, confidence=level).low == pytest.approx(0.0, abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 100))
def test_tango_mirrors_and_holds_its_estimate_within_bounds(gained: int, lost: int, same: int) -> None:
    examples = max(gained + lost + same, 1)
    there, back = tango_interval(gained, lost, examples), tango_interval(lost, gained, examples)
    assert -1 <= there.low <= there.value <= there.high <= 1
    assert there.high > there.low
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low), abs=1e-9)


def binary(gained: int, lost: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    ours, theirs = np.ones(n), np.ones(n)
    theirs[:gained] = 0
    ours[gained : gained + lost] = 0
    return ours, theirs


@pytest.mark.parametrize(
    ("gained", "lost", "n", "answer"),
    [
        (40, 5, 500, Answer.SUPERIOR),
        (10, 10, 2000, Answer.NON_INFERIOR),
        (5, 80, 500, Answer.INFERIOR),
        (10, 12, 300, Answer.INCONCLUSIVE),
    ],
)
def test_the_answers_of_tables(gained: int, lost: int, n: int, answer: Answer) -> None:
    result = artifact_noninferiority(*binary(gained, lost, n), margin=0.02)
    assert result.answer is answer
    assert result.difference is not None
    assert result.difference.value == pytest.approx((gained - lost) / n)
    assert result.p_noninferior is not None
    assert (result.p_noninferior < 0.05) == (answer in (Answer.SUPERIOR, Answer.NON_INFERIOR))
    assert result.more_seeds is None


def test_the_promised_examples_decide_the_grown_table() -> None:
    result = artifact_noninferiority(*binary(10, 10, 300), margin=0.02)
    assert result.more_examples is not None
    grown = (300 + result.more_examples) / 300 + 0.05
    gained = round(10 * grown)
    again = artifact_noninferiority(*binary(gained, gained, round(300 * grown)), margin=0.02)
    assert again.answer is Answer.NON_INFERIOR


def test_a_difference_at_the_margin_is_promised_nothing() -> None:
    result = artifact_noninferiority(*binary(10, 20, 500), margin=0.02)
    assert result.answer is Answer.INCONCLUSIVE
    assert result.more_examples is None
    assert "no practical number" in result.reason


def test_continuous_scores_give_scipys_paired_t_test() -> None:
    rng = np.random.default_rng(2)
    ours, theirs = rng.normal(0.62, 0.2, 80), rng.normal(0.6, 0.2, 80)
    result = artifact_noninferiority(ours, theirs, margin=0.03)
    assert result.p_noninferior == pytest.approx(
        scipy_stats.ttest_rel(ours + 0.03, theirs, alternative="greater").pvalue
    )


@pytest.mark.parametrize("n", [(5, 6), (1, 1), (0, 0)])
def test_rows_that_cannot_be_compared_are_invalid(n: tuple[int, int]) -> None:
    assert artifact_noninferiority(np.ones(n[0]), np.ones(n[1]), margin=0.1).answer is Answer.INVALID


def test_nan_and_a_margin_of_zero_are_invalid() -> None:
    assert artifact_noninferiority([1.0, np.nan], [1.0, 0.0], margin=0.1).answer is Answer.INVALID
    assert artifact_noninferiority([1.0, 1.0], [1.0, 0.0], margin=0.0).answer is Answer.INVALID


def test_a_table_where_a_row_is_expected_is_a_usage_error() -> None:
    with pytest.raises(UsageError):
        artifact_noninferiority([[1.0, 0.0]], [1.0, 0.0], margin=0.1)


def test_counts_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UsageError):
        tango_interval(6, 6, 10)
