"""Laws of the crossed-variance comparison. The small table is worked by hand beside the test."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from rsa_ops.core.estimate import Answer
from rsa_ops.errors import IntegrityError, UsageError
from rsa_ops.stats import artifact_noninferiority, mean_estimate, noninferiority
from rsa_ops.stats.inputs import Sampling
from rsa_ops.stats.judge import judge
from rsa_ops.stats.moments import difference_moments, table_moments
from rsa_ops.stats.spread import SeedSpread, Spread


def flips(n: int, seeds: int, right: float, rng: int) -> np.ndarray:
    return (np.random.default_rng(rng).random((seeds, n)) < right).astype(float)


def marks(n: int, seeds: int, mean: float, rng: int) -> np.ndarray:
    return np.random.default_rng(rng).normal(mean, 0.2, (seeds, n))


def test_mean_squares_of_a_table_worked_by_hand() -> None:
    # Seed means 0.50 and 0.75: M = (0.125^2 + 0.125^2) / 1 = 0.03125. Example means 1, 0.5, 0.5, 0.5; grand 0.625.
    # Residuals of seed 1: 1-.5-1+.625 = .125, 1-.5-.5+.625 = .625, 0-.5-.5+.625 = -.375, same -.375; sum of
    # squares .015625 + .390625 + .140625 + .140625 = .6875; seed 2 mirrors it. R = 1.375 / ((2-1)(4-1)) = .458333.
    # Variance over example means: (.375^2 + 3 * .125^2) / 3 = 0.0625.
    table = np.array([[1.0, 1.0, 0.0, 0.0], [1.0, 0.0, 1.0, 1.0]])
    value, spread = table_moments(table, Sampling(4), 1.0)
    (arm,) = spread.arms
    assert value == pytest.approx(0.625)
    assert spread.square == pytest.approx(0.0625)
    assert arm.square == pytest.approx(0.03125)
    assert arm.residual == pytest.approx(1.375 / 3)


def test_variance_and_freedom_follow_the_formula_worked_by_hand() -> None:
    # V = 0.09, n = 100; candidate M = 5e-4, R = 0.02, S = 4; baseline M = 1e-4, R = 0.02, S = 2.
    # Between examples V - 0.02/4 - 0.02/2 = 0.075, /100 = 7.5e-4; seeds 5e-4/4 + 1e-4/2 = 1.25e-4 + 5e-5 = 1.75e-4.
    # SE^2 = 9.25e-4; df = (9.25e-4)^2 / ((9e-4)^2/99 + (1.25e-4)^2/3 + (5e-5)^2/1).
    # More examples never lower (5e-4 - 2e-4)/4 + max(0, 1e-4 - 2e-4)/2 = 7.5e-5.
    found = Spread(100, 0.09, (SeedSpread(4, 5e-4, 0.02), SeedSpread(2, 1e-4, 0.02))).precision(0.05)
    assert found.error == pytest.approx(math.sqrt(9.25e-4))
    assert found.freedom == pytest.approx(9.25e-4**2 / (8.1e-7 / 99 + 1.25e-4**2 / 3 + 5e-5**2))
    assert found.seed_share == pytest.approx(7.5e-5 / 9.25e-4)
    assert found.quantile == pytest.approx(scipy_stats.t.ppf(0.95, found.freedom))
    assert 0.5 - found.low(0.5) == pytest.approx(found.quantile * found.error)


def test_a_larger_design_keeps_what_examples_cannot_lower() -> None:
    # The same spread with 300 more examples: 0.075/400 + (3e-4 + 2e-4/4)/4 + (1e-4/4)/2; with 2 more seeds an arm:
    # 0.075/100 + 5e-4/6 + 1e-4/4.
    spread = Spread(100, 0.09, (SeedSpread(4, 5e-4, 0.02), SeedSpread(2, 1e-4, 0.02)))
    wider = spread.precision(0.05, more_examples=300)
    assert wider.variance() == pytest.approx(0.075 / 400 + 3.5e-4 / 4 + 2.5e-5 / 2)
    deeper = spread.precision(0.05, more_seeds=2)
    assert deeper.variance() == pytest.approx(0.075 / 100 + 5e-4 / 6 + 1e-4 / 4)


def test_seeds_whose_means_agree_by_luck_do_not_make_the_error_vanish() -> None:
    # M = 0 in both arms and nothing between examples: the examples alone give sqrt(0.02/2 + 0.02/2) / 10.
    found = Spread(100, 0.02, (SeedSpread(2, 0.0, 0.02), SeedSpread(2, 0.0, 0.02))).precision(0.05)
    assert found.error == pytest.approx(0.5 * math.sqrt(0.02) / 10)


def test_identical_seeds_give_scipys_paired_t_test() -> None:
    # Repeating one seed leaves no seed and no residual variance: only the examples are random.
    ours, theirs = marks(300, 1, 0.8, 1), marks(300, 1, 0.81, 2)
    result = noninferiority(np.repeat(ours, 3, 0), np.repeat(theirs, 4, 0), margin=0.02)
    published = scipy_stats.ttest_rel(ours[0] + 0.02, theirs[0], alternative="greater")
    interval = scipy_stats.ttest_rel(ours[0], theirs[0]).confidence_interval(0.9)
    assert result.p_noninferior == pytest.approx(published.pvalue)
    assert result.difference is not None
    assert (result.difference.low, result.difference.high) == pytest.approx((interval.low, interval.high))
    assert result.difference.degrees_of_freedom == pytest.approx(299)
    assert result.variance_share_seeds == pytest.approx(0.0, abs=1e-12)


def test_seeds_alone_give_welchs_t_test_on_the_seed_means() -> None:
    # Every example moves with its seed; a trace of example variance keeps the floor for identical rows off.
    ours, theirs = np.array([0.81, 0.84, 0.80]), np.array([0.83, 0.85, 0.82, 0.86])
    trace = np.linspace(-1e-6, 1e-6, 50)
    tables = ours[:, None] + trace, np.repeat(theirs[:, None], 50, 1)
    result = noninferiority(*tables, margin=0.001)
    welch = scipy_stats.ttest_ind(ours + 0.001, theirs, equal_var=False, alternative="greater")
    assert result.p_noninferior == pytest.approx(welch.pvalue, rel=1e-6)
    assert result.variance_share_seeds == pytest.approx(1.0)


def test_paired_seeds_are_the_one_arm_analysis_of_the_differences() -> None:
    ours, theirs = marks(200, 4, 0.8, 3), marks(200, 4, 0.8, 4)
    result = noninferiority(ours, theirs, margin=0.05, paired_seeds=True)
    alone = mean_estimate(ours - theirs, confidence=0.9)
    assert result.difference is not None
    assert (result.difference.low, result.difference.high) == pytest.approx((alone.low, alone.high))


@pytest.mark.parametrize(
    ("gain", "answer"),
    [(0.2, Answer.SUPERIOR), (-0.001, Answer.NON_INFERIOR), (-0.1, Answer.INFERIOR), (-0.02, Answer.INCONCLUSIVE)],
)
def test_the_answer_follows_from_where_the_interval_lies(gain: float, answer: Answer) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, (3, 400))
    ours = 0.5 + gain + (noise - noise.mean(axis=1, keepdims=True))
    result = noninferiority(ours, np.full((3, 400), 0.5), margin=0.02)
    assert result.answer is answer


@pytest.mark.parametrize(
    ("ours", "theirs", "margin", "alpha", "says"),
    [
        (np.ones((3, 5)), np.ones((3, 6)), 0.1, 0.05, "same"),
        (np.ones((1, 5)), np.ones((3, 5)), 0.1, 0.05, "artifact question"),
        (np.ones((3, 0)), np.ones((3, 0)), 0.1, 0.05, "at least 2"),
        (np.full((3, 5), np.nan), np.ones((3, 5)), 0.1, 0.05, "NaN"),
        (np.full((3, 5), np.inf), np.ones((3, 5)), 0.1, 0.05, "infinite"),
        (np.ones((3, 5)), np.ones((3, 5)), 0.0, 0.05, "margin"),
        (np.ones((3, 5)), np.ones((3, 5)), -0.1, 0.05, "margin"),
        (np.ones((3, 5)), np.ones((3, 5)), 0.1, 0.5, "alpha"),
    ],
)
def test_data_that_cannot_answer_is_invalid_with_its_reason(
    ours: np.ndarray, theirs: np.ndarray, margin: float, alpha: float, says: str
) -> None:
    result = noninferiority(ours, theirs, margin=margin, alpha=alpha)
    assert result.answer is Answer.INVALID
    assert result.difference is None
    assert result.p_noninferior is None
    assert says in result.reason


def test_unequal_seeds_cannot_be_paired() -> None:
    result = noninferiority(np.ones((3, 5)), np.ones((4, 5)), margin=0.1, paired_seeds=True)
    assert result.answer is Answer.INVALID


@pytest.mark.parametrize("scores", [[1.0, 0.0], [[1.0], [1.0, 0.0]], [["a"]]])
def test_what_is_no_table_of_numbers_is_a_usage_error(scores: object) -> None:
    with pytest.raises(UsageError):
        noninferiority(scores, [[1.0, 0.0]] * 2, margin=0.1)  # type: ignore[arg-type]


def test_a_margin_that_is_no_number_is_a_usage_error() -> None:
    with pytest.raises(UsageError):
        noninferiority(np.ones((3, 5)), np.ones((3, 5)), margin=float("nan"))


@pytest.mark.parametrize("right", [0.0, 1.0])
def test_identical_scores_never_give_a_zero_width(right: float) -> None:
    scores = np.full((3, 100), right)
    result = noninferiority(scores, scores, margin=0.1)
    assert result.difference is not None
    assert result.difference.value == 0
    assert result.difference.high == pytest.approx(1 - 0.05 ** (1 / 100))  # the exact zero-event bound, 3.0 pp
    assert "floored" in result.difference.method
    assert result.p_noninferior is not None
    assert result.p_noninferior < 0.05


def test_all_wrong_against_all_right_is_inferior_with_a_width() -> None:
    result = noninferiority(np.zeros((3, 100)), np.ones((3, 100)), margin=0.1)
    assert result.answer is Answer.INFERIOR
    assert result.difference is not None
    assert result.difference.high > result.difference.low


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 5), st.integers(2, 60), st.floats(0.3, 1.0))
def test_p_and_interval_and_answer_agree(rng: int, seeds: int, n: int, right: float) -> None:
    result = noninferiority(flips(n, seeds, right, rng), flips(n, 3, 0.8, rng + 1), margin=0.1)
    assert result.difference is not None
    assert result.p_noninferior is not None
    assert result.difference.low < result.difference.value < result.difference.high
    assert (result.p_noninferior < 0.05) == (result.answer in (Answer.NON_INFERIOR, Answer.SUPERIOR))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 4))
def test_swapping_the_arms_mirrors_the_difference(rng: int, seeds: int) -> None:
    ours, theirs = flips(80, seeds, 0.7, rng), flips(80, 3, 0.8, rng + 1)
    there = noninferiority(ours, theirs, margin=0.1).difference
    back = noninferiority(theirs, ours, margin=0.1).difference
    assert there is not None
    assert back is not None
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low))


def decides(ours: np.ndarray, theirs: np.ndarray, more: int) -> bool:
    how = Sampling(ours.shape[1])
    value, spread = difference_moments(ours, theirs, how, reach=1.0, paired=False, binary=False)
    found = spread.precision(0.05, more_examples=more)
    return found.quantile * found.error < abs(value + 0.02)


def test_the_examples_and_seeds_that_would_decide_are_the_smallest() -> None:
    result = noninferiority(marks(300, 3, 0.86, 9), marks(300, 3, 0.87, 11), margin=0.02)
    assert result.answer is Answer.INCONCLUSIVE
    assert result.more_examples is not None
    assert "would decide" in result.reason
    ours, theirs = marks(300, 3, 0.86, 9), marks(300, 3, 0.87, 11)
    assert decides(ours, theirs, result.more_examples)
    assert not decides(ours, theirs, result.more_examples - 1)


def test_where_seeds_set_the_floor_no_number_of_examples_is_promised() -> None:
    # Seed SD 2 pp at 3 seeds: research table 1.5 puts the smallest provable margin far above 1 pp.
    shifts = np.array([-0.02, 0.0, 0.02])[:, None]
    noise = np.random.default_rng(1).normal(0, 0.05, (3, 500))
    result = noninferiority(0.8 + shifts + noise, np.full((3, 500), 0.8), margin=0.01)
    assert result.answer is Answer.INCONCLUSIVE
    assert result.more_examples is None
    assert result.more_seeds is not None
    assert "no number of test examples" in result.reason


def test_where_neither_examples_nor_seeds_alone_decide_both_at_once_are_named() -> None:
    # Persistent differences of SD 0.5 on 100 examples (0.05 of the mean) and seeds of SD 0.02: each part alone
    # keeps the interval wider than the margin of 0.01, however many there are of the other.
    spread = Spread(100, 0.25, (SeedSpread(3, 4e-4, 0.0), SeedSpread(3, 4e-4, 0.0)))
    found = judge(0.0, spread, margin=0.01, alpha=0.05, method="t", reported_seeds=3)
    assert found.answer is Answer.INCONCLUSIVE
    assert found.more_together
    assert found.more_examples is not None
    assert found.more_seeds is not None
    then = spread.precision(0.05, more_examples=found.more_examples, more_seeds=found.more_seeds)
    assert then.quantile * then.error < 0.01
    fewer = spread.precision(0.05, more_examples=found.more_examples, more_seeds=found.more_seeds - 1)
    assert fewer.quantile * fewer.error >= 0.01 * 0.99
    assert "neither more test examples nor more seeds alone" in found.reason
    alone = judge(0.0, Spread(100, 0.0025, ()), margin=0.01, alpha=0.05, method="t")
    assert not alone.more_together


@pytest.mark.parametrize(("seeds", "sd", "smallest"), [(3, 0.4, 1.00), (5, 0.4, 0.70), (10, 0.8, 0.93)])
def test_the_floor_that_seeds_set_is_the_research_table(seeds: int, sd: float, smallest: float) -> None:
    # Table 1.5, infinitely many examples: margin = (t_.95 + t_.80) * sqrt(2/S) * sd; our part is t_.95 * SE.
    arm = SeedSpread(seeds, sd**2, 0.0)
    found = Spread(1_000_000, 1e-9, (arm, arm)).precision(0.05)
    power = float(scipy_stats.t.ppf(0.8, 2 * seeds - 2)) * found.error
    assert found.freedom == pytest.approx(2 * seeds - 2, rel=1e-3)
    assert found.quantile * found.error + power == pytest.approx(smallest, abs=0.012)


def test_one_arm_is_estimated_with_the_same_variance() -> None:
    scores = marks(200, 3, 0.9, 5)
    found = mean_estimate(scores)
    means, per_example = scores.mean(1), scores.mean(0)
    rest = scores - means[:, None] - per_example + scores.mean()
    residual = (rest**2).sum() / (2 * 199)
    variance = (per_example.var(ddof=1) - residual / 3) / 200 + means.var(ddof=1) / 3
    assert found.value == pytest.approx(scores.mean())
    assert found.standard_error == pytest.approx(variance**0.5)
    assert (found.seeds, found.examples, found.confidence) == (3, 200, 0.95)


@pytest.mark.parametrize("lost", [1, 3, 10])
def test_losses_shared_by_all_seeds_are_bounded_as_a_score_test_does(lost: int) -> None:
    # No gain, no seed noise: (lost/n - L)^2 = t^2 (L - L^2) / (n - 1), Wilson's interval for the rate of losses.
    n = 500
    theirs = np.ones((3, n))
    ours = theirs.copy()
    ours[:, :lost] = 0
    found = noninferiority(ours, theirs, margin=0.3).difference
    assert found is not None
    quantile = float(scipy_stats.t.ppf(0.95, n - 1))
    confidence = 1 - 2 * float(scipy_stats.norm.sf(quantile * (n / (n - 1)) ** 0.5))
    wilson = scipy_stats.binomtest(lost, n).proportion_ci(confidence, method="wilson")
    assert -found.low == pytest.approx(wilson.high)


def test_one_seed_is_the_t_interval_over_examples_and_says_so() -> None:
    scores = marks(50, 1, 0.7, 6)
    found = mean_estimate(scores)
    low, high = scipy_stats.t.interval(0.95, 49, scores.mean(), scipy_stats.sem(scores[0]))
    assert (found.low, found.high) == pytest.approx((low, high))
    assert "one seed" in found.method


def test_only_a_bounded_interval_is_clipped() -> None:
    perfect = np.ones((3, 40))
    assert mean_estimate(perfect).high > 1
    found = mean_estimate(perfect, bounded=True)
    assert found.high == 1
    assert found.low == pytest.approx(0.025 ** (1 / 40))  # Clopper-Pearson, all of 40 right


def test_a_single_example_still_has_a_width() -> None:
    found = mean_estimate([[1.0]])
    assert found.low < found.value < found.high


def test_an_estimate_of_nothing_or_of_nan_is_refused() -> None:
    with pytest.raises(UsageError):
        mean_estimate(np.ones((3, 0)))
    with pytest.raises(UsageError):
        mean_estimate(np.ones((3, 5)), confidence=1.0)
    with pytest.raises(IntegrityError):
        mean_estimate([[1.0, float("nan")]])


def test_method_and_artifact_agree_on_one_repeated_continuous_table() -> None:
    rng = np.random.default_rng(8)
    ours, theirs = rng.normal(0.5, 0.1, 60), rng.normal(0.5, 0.1, 60)
    method = noninferiority([ours, ours], [theirs, theirs], margin=0.02).difference
    artifact = artifact_noninferiority(ours, theirs, margin=0.02).difference
    assert method is not None
    assert artifact is not None
    assert (method.low, method.high) == pytest.approx((artifact.low, artifact.high))


def test_the_freedom_of_two_arms_with_as_many_seeds_is_welchs_within_its_bounds() -> None:
    # Welch 1947: (t1 + t2)^2 / (t1^2 / (S + 1) + t2^2 / (S + 1)) - 2. At S = 4, t = 1 and 0.2: 1.44 * 5 / 1.04 - 2
    # = 4.923, where Satterthwaite's is 1.44 * 3 / 1.04 = 4.154. Examples count for nothing here.
    def freedom(counts: tuple[int, int], squares: tuple[float, float]) -> float:
        arms = tuple(SeedSpread(count, square, 0.0) for count, square in zip(counts, squares, strict=True))
        return Spread(10**9, 1e-12, arms).precision(0.05).freedom

    assert freedom((4, 4), (4.0, 0.8)) == pytest.approx(1.44 * 5 / 1.04 - 2)
    assert freedom((4, 4), (4.0, 4.0)) == pytest.approx(6)
    assert freedom((4, 4), (4.0, 0.0)) == pytest.approx(3)
    assert freedom((4, 8), (4.0, 1.6)) == pytest.approx(1.44 / (1 / 3 + 0.04 / 7))  # unlike counts: Satterthwaite
    assert freedom((2, 2), (2.0, 0.4)) == pytest.approx(1.44 / 1.04)  # and two seeds


def test_what_seeds_explain_may_exceed_the_spread_over_examples_by_chance() -> None:
    # V = 0.01 less 2 * 0.02 / 4 = 0.01 leaves 0; at V = 0.006 it is -0.004, / 100 = -4e-5, and seeds 2 * 1e-4.
    arms = (SeedSpread(4, 4e-4, 0.02), SeedSpread(4, 4e-4, 0.02))
    assert Spread(100, 0.01, arms).precision(0.05).variance() == pytest.approx(2e-4)
    assert Spread(100, 0.006, arms).precision(0.05).variance() == pytest.approx(1.6e-4)
    # Never below a quarter of what the examples alone give, also for a design where the seeds' part is nearly gone.
    quiet = Spread(100, 0.006, (SeedSpread(4, 0.0, 0.02), SeedSpread(4, 0.0, 0.02)))
    assert quiet.precision(0.05).variance() == pytest.approx(0.25 * 0.006 / 100)
    assert quiet.precision(0.05, more_seeds=500).variance() >= 0
