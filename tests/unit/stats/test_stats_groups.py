"""Laws of examples that come in groups or count with weights.

Oracle: statsmodels 0.15.0 on the same numbers, `OLS(d, 1).fit(cov_type="cluster", use_t=True)` and
`WLS(d, 1, weights).fit(cov_type="HC1")`; it is not among the project's dependencies.
"""

import numpy as np
import pytest
from scipy import stats as scipy_stats

from rsa_ops.core.estimate import Answer
from rsa_ops.errors import DataRefused, UsageError
from rsa_ops.stats import any_difference, artifact_noninferiority, noninferiority


def marks(shape: tuple[int, ...], rng: int) -> np.ndarray:
    return np.random.default_rng(rng).normal(0.6, 0.2, shape)


PLACES = np.arange(120)
OURS = 0.6 + 0.2 * np.sin(1.7 * PLACES)
THEIRS = 0.58 + 0.2 * np.sin(1.7 * PLACES + 0.4 + 0.002 * PLACES)
CODES = np.floor(14 * ((0.618 * PLACES) % 1) ** 1.5).astype(int)  # 14 groups of 5 to 21
WEIGHTS = 0.2 + (0.37 * PLACES) % 1


def test_continuous_scores_in_groups_are_statsmodels_clustered_mean() -> None:
    found = artifact_noninferiority(OURS, THEIRS, margin=0.1, groups=CODES)
    assert found.difference is not None
    assert found.difference.value == pytest.approx(0.019268767930233598)
    assert found.difference.standard_error == pytest.approx(0.004330142793697933)
    assert found.difference.degrees_of_freedom == pytest.approx(13)  # groups - 1, the t of few clusters
    assert (found.difference.low, found.difference.high) == pytest.approx((0.01160037, 0.02693716), abs=1e-8)
    assert "14 groups" in found.difference.method
    assert any_difference(OURS, THEIRS, groups=CODES).p_value == pytest.approx(0.0006547221178726348)


def test_weights_are_statsmodels_weighted_mean_with_robust_errors() -> None:
    found = artifact_noninferiority(OURS, THEIRS, margin=0.1, weights=WEIGHTS / WEIGHTS.sum())
    assert found.difference is not None
    assert found.difference.value == pytest.approx(0.02230933521471266)
    assert found.difference.standard_error == pytest.approx(0.007271554097612725)


@pytest.mark.parametrize("binary", [False, True])
def test_groups_of_one_are_no_groups(binary: bool) -> None:
    ours, theirs = marks((3, 90), 1), marks((4, 90), 2)
    if binary:
        ours, theirs = (ours > 0.5).astype(float), (theirs > 0.45).astype(float)
    plain = noninferiority(ours, theirs, margin=0.05).difference
    even = np.full(90, 1 / 90)
    alone = noninferiority(ours, theirs, margin=0.05, groups=np.arange(90), weights=even).difference
    assert plain is not None
    assert alone is not None
    # Where some groups were lost, how far one nobody saw may go is read off them; single examples go all the way.
    assert alone.standard_error == pytest.approx(plain.standard_error)
    if not binary:
        assert (alone.low, alone.high) == pytest.approx((plain.low, plain.high))


def test_each_example_five_times_over_in_one_group_is_the_example_once() -> None:
    ours, theirs = marks((3, 40), 1), marks((3, 40), 2)
    once = noninferiority(ours, theirs, margin=0.05).difference
    copied = noninferiority(
        np.repeat(ours, 5, 1), np.repeat(theirs, 5, 1), margin=0.05, groups=np.repeat(np.arange(40), 5)
    ).difference
    assert once is not None
    assert copied is not None
    assert copied.standard_error == pytest.approx(once.standard_error)
    assert (copied.low, copied.high) == pytest.approx((once.low, once.high))


def test_whole_weights_are_copies_for_the_value() -> None:
    ours, theirs = marks((2, 30), 1), marks((2, 30), 2)
    counts = np.random.default_rng(1).integers(1, 4, 30)
    weighted = noninferiority(ours, theirs, margin=0.05, weights=counts / counts.sum()).difference
    assert weighted is not None
    assert weighted.value == pytest.approx(np.repeat(ours, counts, 1).mean() - np.repeat(theirs, counts, 1).mean())


def test_obuchowskis_test_is_its_closed_form_and_mcnemars_for_groups_of_one() -> None:
    # chi^2 = (K - 1) / K * (sum d)^2 / sum d^2 over K group sums d (Obuchowski 1998, as Yang, Sun and Hardin 2010
    # simplify it): d = 2, 2, 1, 1, 1, -1 and 15 zeros in 21 groups give 20/21 * 36/12 = 2.857; 2.86 is what
    # Durkalski 2003 reports for a table of 21 patients with these sums.
    sums = [2, 2, 1, 1, 1, -1, *[0] * 15]
    ours, theirs, codes = [], [], []
    for group, total in enumerate(sums):
        for k in range(3):
            ours.append(1.0 if k < total or total == 0 else 0.0)
            theirs.append(1.0 if (total < 0 and k == 0) or total == 0 else 0.0)
            codes.append(group)
    found = any_difference(ours, theirs, groups=codes)
    assert found.p_value == pytest.approx(2 * scipy_stats.t.sf((20 / 21 * 36 / 12) ** 0.5, 20))
    assert "Obuchowski" in found.method
    alone = any_difference(ours, theirs, groups=np.arange(63))
    assert alone.p_value == pytest.approx(2 * scipy_stats.t.sf((62 / 63 * 36 / 8) ** 0.5, 62))


def test_without_any_difference_groups_count_and_not_examples() -> None:
    same = np.ones(400)
    few = artifact_noninferiority(same, same, margin=0.02, groups=np.repeat(np.arange(20), 20))
    assert few.answer is Answer.INCONCLUSIVE
    assert few.difference is not None
    # 20 groups without a loss leave 1 - 0.05^(1/20) = 13.9 % open.
    assert -few.difference.low == pytest.approx(1 - 0.05 ** (1 / 20), abs=0.02)
    assert few.more_examples is not None
    assert few.more_examples > 400


def test_losing_whole_groups_is_less_sure_than_losing_as_many_examples() -> None:
    rng = np.random.default_rng(2)
    theirs = np.ones((3, 600))
    ours = theirs * np.repeat(rng.random(60) >= 0.05, 10)
    grouped = noninferiority(ours, theirs, margin=0.2, groups=np.repeat(np.arange(60), 10)).difference
    plain = noninferiority(ours, theirs, margin=0.2).difference
    assert grouped is not None
    assert plain is not None
    assert grouped.value - grouped.low > 2 * (plain.value - plain.low)


@pytest.mark.parametrize(
    "bad",
    [
        ["a", None, "b", "a"],
        [1.0, float("nan"), 2.0, 1.0],
    ],
)
def test_an_example_without_a_group_is_refused(bad: list[object]) -> None:
    with pytest.raises(DataRefused, match="1 of 4 examples have no group, first example 1"):
        artifact_noninferiority([1.0, 0.0, 1.0, 1.0], [1.0, 1.0, 1.0, 0.0], margin=0.1, groups=bad)


def test_one_group_cannot_answer() -> None:
    found = artifact_noninferiority([1.0, 0.0, 1.0], [1.0, 1.0, 1.0], margin=0.1, groups=["a"] * 3)
    assert found.answer is Answer.INVALID
    assert "at least 2" in found.reason
    with pytest.raises(UsageError, match="at least 2"):
        any_difference([1.0, 0.0, 1.0], [1.0, 1.0, 1.0], groups=["a"] * 3)


@pytest.mark.parametrize(
    ("weights", "says"),
    [
        ([0.2, 0.2, 0.2, 0.2], "sum to 1 or to the number of examples, 4; they sum to 0.8"),
        ([1.5, 1.5, 1.0, -0.0001], "negative"),
        ([0.5, 0.5, float("nan"), 0.0], "NaN"),
        ([0.5, 0.5], "one weight for each of 4"),
    ],
)
def test_weights_that_do_not_sum_are_refused(weights: list[float], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        noninferiority(np.eye(4)[:2], np.eye(4)[2:], margin=0.1, weights=weights)
