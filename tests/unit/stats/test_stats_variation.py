"""Laws of what a pilot says: known variances come back, and the upper bound of the seed SD covers as it claims."""

import numpy as np
import pytest
from scipy import stats as scipy_stats

from rsa_ops.core.comparison import ALL, Comparison, Contrast
from rsa_ops.core.digest import digest_bytes
from rsa_ops.core.plan import PlanGoal
from rsa_ops.errors import UsageError
from rsa_ops.stats import (
    artifact_noninferiority,
    bootstrap_difference,
    measure_variation,
    noninferiority,
    pilot_variation,
    plan_comparison,
    weighted_mean,
)
from rsa_ops.stats.variation import from_result

PERSISTENT, RESIDUAL, SEED = 0.2, 0.15, 0.01
"""SDs: of the examples' difference that repeats, of each cell's residual, of the seeds."""


def normal_arms(seeds: int, n: int, rng: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(rng)
    shared = generator.normal(0.5, 1.0, n)
    effects = generator.normal(0, PERSISTENT / 2**0.5, (2, 1, n))
    moved = generator.normal(0, SEED, (2, seeds, 1))
    ours, theirs = shared + effects + moved + generator.normal(0, RESIDUAL, (2, seeds, n))
    return ours, theirs


def flips(seeds: int, n: int, right: float, rng: int) -> np.ndarray:
    generator = np.random.default_rng(rng)
    return (generator.random((seeds, n)) < right).astype(float)


def test_known_variances_come_back() -> None:
    found = measure_variation(*normal_arms(40, 20_000, 1))
    assert found is not None
    total = PERSISTENT**2 + 2 * RESIDUAL**2
    assert found.example_sd == pytest.approx(total**0.5, rel=0.02)
    assert found.repeatable == pytest.approx(PERSISTENT**2 / total, rel=0.03)
    assert found.seed_sd == pytest.approx(SEED, rel=0.25)  # 78 degrees of freedom: 3 standard errors
    assert found.discordance is None


def test_discordance_is_the_share_of_examples_on_which_two_models_disagree() -> None:
    ours, theirs = flips(3, 400, 0.8, 1), flips(4, 400, 0.85, 2)
    found = measure_variation(ours, theirs)
    pairs = [np.mean(one != other) for one in ours for other in theirs]
    assert found is not None
    assert found.discordance == pytest.approx(np.mean(pairs))
    # its variance is psi - D^2, the number that plans for right-or-wrong scores begin with
    arms = [found.discordance - (ours.mean() - theirs.mean()) ** 2]
    spread = np.mean([(one - other).var(ddof=1) for one in ours for other in theirs])
    assert arms[0] == pytest.approx(spread, rel=0.01)


def test_what_two_seeds_of_one_arm_agree_on_is_repeatable() -> None:
    # The same examples flipped by every seed: nothing is left to the seeds. Fresh coins: nothing repeats.
    theirs = np.ones((3, 500))
    ours = np.tile(flips(1, 500, 0.9, 3), (3, 1))
    steady = measure_variation(ours, theirs)
    assert steady is not None
    assert steady.repeatable == pytest.approx(1.0)
    assert steady.seed_sd == 0
    fresh = measure_variation(flips(20, 3000, 0.9, 4), flips(20, 3000, 0.9, 5))
    assert fresh is not None
    assert fresh.repeatable < 0.05


@pytest.mark.parametrize("seeds", [2, 3, 8])
def test_the_upper_bound_of_the_seed_sd_covers_in_four_pilots_of_five(seeds: int) -> None:
    # Normal seed means and next to no residual: M (S - 1) / sigma^2 is chi-square, so coverage is exactly 80 %.
    generator, trials, covered = np.random.default_rng(seeds), 1500, 0
    examples = generator.normal(0, 1, 4)
    for _ in range(trials):
        sides = examples + generator.normal(0, SEED, (2, seeds, 1)) + generator.normal(0, 1e-6, (2, seeds, 4))
        found = measure_variation(*sides)
        assert found is not None
        assert found.seed_sd_high is not None
        covered += found.seed_sd_high >= SEED
    assert covered / trials == pytest.approx(0.8, abs=3 * (0.16 / trials) ** 0.5)


def test_three_seeds_know_their_sd_to_a_factor_of_one_and_a_half() -> None:
    # Four degrees of freedom: sqrt(4 / chi2_0.2(4)) = 1.558.
    seeds = np.array([-0.01, 0.0, 0.01])[:, None]
    table = np.random.default_rng(1).normal(0, 1, 6) + seeds + np.random.default_rng(2).normal(0, 1e-7, (3, 6))
    found = measure_variation(table, table[::-1] + np.random.default_rng(3).normal(0, 1e-7, (3, 6)))
    assert found is not None
    assert found.seed_sd == pytest.approx(0.01, rel=1e-4)
    factor = (4 / scipy_stats.chi2.ppf(0.2, 4)) ** 0.5
    assert round(factor, 3) == 1.558
    assert found.seed_sd_high == pytest.approx(0.01 * factor, rel=1e-4)


def test_one_seed_says_nothing_about_seeds() -> None:
    found = measure_variation(flips(1, 300, 0.9, 1), flips(1, 300, 0.9, 2))
    assert found is not None
    assert (found.seed_sd, found.seed_sd_high, found.repeatable) == (None, None, 1.0)
    assert plan_comparison(PlanGoal(margin=0.02), found).method is None


def test_arms_that_never_differ_say_nothing() -> None:
    same = flips(3, 100, 0.8, 1)
    assert measure_variation(np.tile(same[:1], (3, 1)), np.tile(same[:1], (3, 1))) is None


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (np.ones((3, 5)), np.ones((3, 6))),
        (np.ones((3, 1)), np.ones((3, 1))),
        (np.full((3, 5), np.nan), np.ones((3, 5))),
        (np.ones((0, 5)), np.ones((3, 5))),
    ],
)
def test_tables_that_do_not_fit_are_refused(ours: np.ndarray, theirs: np.ndarray) -> None:
    with pytest.raises(UsageError):
        measure_variation(ours, theirs)


def test_an_estimate_alone_gives_the_same_seed_sd_and_the_examples_of_its_own_seeds() -> None:
    ours, theirs = normal_arms(4, 800, 6)
    full, alone = measure_variation(ours, theirs), from_result(noninferiority(ours, theirs, margin=0.1))
    assert full is not None
    assert alone is not None
    assert alone.seed_sd == pytest.approx(full.seed_sd, rel=1e-6)
    assert (alone.seed_sd_high or 0) >= (full.seed_sd_high or 0)
    assert alone.example_sd == pytest.approx((ours.mean(0) - theirs.mean(0)).std(ddof=1))


def test_a_result_without_an_error_gives_none() -> None:
    tango = artifact_noninferiority([1.0, 0.0, 1.0], [1.0, 1.0, 0.0], margin=0.1)
    assert from_result(tango) is None
    assert from_result(noninferiority(np.ones((1, 5)), np.ones((3, 5)), margin=0.1)) is None


def pilot(*contrasts: Contrast) -> Comparison:
    return Comparison(
        candidate="rsa",
        baselines=("full", "lora"),
        primary_metric="accuracy",
        test_digest=digest_bytes(b"test"),
        examples=400,
        arms=(),
        contrasts=contrasts,
        drops=(),
    )


def contrast(metric: str, baseline: str, *, known: bool) -> Contrast:
    ours, theirs = flips(3, 400, 0.85, 7), flips(3, 400, 0.86, 8)
    result = noninferiority(ours, theirs, margin=0.02)
    if metric == "macro_f1":
        arms = weighted_mean(ours), weighted_mean(theirs)
        result = bootstrap_difference(*arms, margin=0.02, rng=np.random.default_rng(1), draws=200)
    return Contrast(
        metric=metric,
        population=ALL,
        candidate="rsa",
        baseline=baseline,
        result=result,
        variation=measure_variation(ours, theirs) if known else None,
    )


def test_a_pilot_is_planned_from_its_primary_metric_and_says_where_the_numbers_are_from() -> None:
    comparison = pilot(contrast("macro_f1", "full", known=False), contrast("accuracy", "full", known=True))
    found = pilot_variation(comparison)
    assert found.discordance is not None
    assert found.source == "pilot: accuracy, rsa against full, 3 seeds x 400 examples"


def test_a_metric_that_is_no_mean_is_planned_from_its_estimate() -> None:
    comparison = pilot(contrast("macro_f1", "full", known=False))
    found = pilot_variation(comparison, metric="macro_f1")
    assert found.discordance is None
    assert (found.example_sd or 0) > 0
    assert found.seed_sd is not None


def test_a_pilot_without_the_comparison_says_which_it_has() -> None:
    with pytest.raises(UsageError, match="macro_f1, rsa against full"):
        pilot_variation(pilot(contrast("macro_f1", "full", known=False)))
    with pytest.raises(UsageError, match="no such comparison"):
        pilot_variation(pilot(contrast("accuracy", "full", known=True)), against="lora")


def test_a_pilot_in_which_nothing_differs_plans_nothing() -> None:
    same = np.ones((3, 400))
    result = noninferiority(same, same[:1], margin=0.02)
    empty = Contrast(metric="accuracy", population=ALL, candidate="rsa", baseline="full", result=result)
    with pytest.raises(UsageError, match="nothing can be planned"):
        pilot_variation(pilot(empty))


def test_copies_of_an_example_are_a_group_with_an_icc_of_one() -> None:
    ours, theirs = flips(3, 300, 0.8, 1), flips(3, 300, 0.85, 2)
    once = measure_variation(ours, theirs)
    copied = measure_variation(
        np.repeat(ours, 4, axis=1), np.repeat(theirs, 4, axis=1), groups=np.repeat(np.arange(300), 4)
    )
    assert once is not None
    assert copied is not None
    assert (copied.group_size, copied.group_size_cv) == (4.0, 0.0)
    assert copied.icc == pytest.approx(1.0, abs=0.01)
    assert copied.seed_sd == pytest.approx(once.seed_sd, abs=1e-3)
    assert copied.discordance == pytest.approx(once.discordance)


@pytest.mark.parametrize("icc", [0.0, 0.3])
def test_the_icc_of_a_pilot_comes_back(icc: float) -> None:
    rng = np.random.default_rng(5)
    sizes = np.where(rng.random(3000) < 0.5, 3, 9)
    codes = np.repeat(np.arange(len(sizes)), sizes)
    each = icc**0.5 * rng.normal(size=len(sizes))[codes] + (1 - icc) ** 0.5 * rng.normal(size=len(codes))
    found = measure_variation(each[None], np.zeros((1, len(codes))), groups=codes)
    assert found is not None
    assert found.icc == pytest.approx(icc, abs=0.03)
    assert (found.group_size, found.group_size_cv) == pytest.approx((6, 0.5), abs=0.1)
