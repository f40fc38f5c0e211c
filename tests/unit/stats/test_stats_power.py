"""Laws of the powers: each against another way to the same number, and what may not happen in any design."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from rsa_ops.core.estimate import Answer
from rsa_ops.stats import artifact_noninferiority, power
from rsa_ops.stats.power import (
    Seeded,
    method_power,
    paired_t_power,
    tango_examples,
    tango_power,
    textbook_examples,
)

NOT_WORSE = (Answer.NON_INFERIOR, Answer.SUPERIOR)


def said(gained: int, lost: int, n: int, margin: float) -> bool:
    ours, theirs = np.ones(n), np.ones(n)
    theirs[:gained] = 0
    ours[gained : gained + lost] = 0
    return artifact_noninferiority(ours, theirs, margin=margin).answer in NOT_WORSE


@pytest.mark.parametrize("truth", [0.0, -0.03])
def test_tangos_power_is_the_sum_over_every_table_that_the_test_accepts(truth: float) -> None:
    n, psi, margin = 24, 0.15, 0.12
    rates = [(psi + truth) / 2, (psi - truth) / 2, 1 - psi]
    total = sum(
        scipy_stats.multinomial.pmf([gained, lost, n - gained - lost], n, rates)
        for gained in range(n + 1)
        for lost in range(n + 1 - gained)
        if said(gained, lost, n, margin)
    )
    found = tango_power(psi, examples=n, margin=margin, alpha=0.05, truth=truth)
    assert found == pytest.approx(total, abs=1e-7)


def test_the_normal_limit_takes_over_without_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    terms = {"examples": 60_000, "margin": 0.0028, "alpha": 0.05}
    exact = tango_power(0.08, **terms)
    monkeypatch.setattr(power, "MANY", 0)
    assert tango_power(0.08, **terms) == pytest.approx(exact, abs=1e-3)
    assert 0.5 < exact < 0.95


@pytest.mark.parametrize("seeds", [2, 3, 10])
def test_without_seed_noise_and_residual_the_method_question_is_the_paired_t_test(seeds: int) -> None:
    # All seeds alike: the standard error is the paired test's, and so are its n - 1 degrees of freedom. What is
    # left is that the variance over examples counts as known.
    varies = Seeded(persistent=0.2**2, residual=0.0, seeds=0.0, turning=False)
    found = method_power(varies, seeds=seeds, examples=600, margin=0.02, alpha=0.05)
    assert found == pytest.approx(paired_t_power(0.2, examples=600, margin=0.02, alpha=0.05), abs=1e-3)


def test_with_endless_seeds_and_examples_the_power_is_the_normal_one() -> None:
    seeds, sd = 2000, 0.01
    varies = Seeded(persistent=0.0, residual=0.0, seeds=sd**2, turning=False)
    error = sd * math.sqrt(2 / seeds)
    found = method_power(varies, seeds=seeds, examples=10**9, margin=2.5 * error, alpha=0.05)
    assert found == pytest.approx(scipy_stats.norm.cdf(2.5 - scipy_stats.norm.ppf(0.95)), abs=1e-3)


def test_a_few_more_nodes_do_not_change_the_power(monkeypatch: pytest.MonkeyPatch) -> None:
    varies = Seeded(persistent=0.02, residual=0.01, seeds=0.004**2, turning=True)

    def found() -> float:
        return method_power.__wrapped__(varies, seeds=3, examples=2000, margin=0.012, alpha=0.05)

    coarse = found()
    power._chi_square_nodes.cache_clear()
    monkeypatch.setattr(power, "NODES", 80)
    fine = found()
    power._chi_square_nodes.cache_clear()
    assert coarse == pytest.approx(fine, abs=2e-3)


WORLDS = st.builds(
    Seeded,
    persistent=st.floats(0.001, 0.2),
    residual=st.floats(0, 0.1),
    seeds=st.floats(0, 1e-4),
    turning=st.just(False),
)


@pytest.mark.parametrize("residual", [1e-8, 1e-100, 9.235279746527626e-170, 1e-300])
def test_seed_noise_of_next_to_nothing_is_none(residual: float) -> None:
    def power(noise: float) -> float:
        world = Seeded(persistent=0.125, residual=noise, seeds=0.0, turning=False)
        return method_power(world, seeds=6, examples=50, margin=0.03125, alpha=0.05)

    assert power(residual) == pytest.approx(power(0.0), abs=1e-6)


@settings(max_examples=30, deadline=None)
@given(WORLDS, st.integers(6, 12), st.integers(50, 5000), st.floats(0.002, 0.05))
def test_examples_margin_and_truth_add_power_and_seed_noise_takes_it(
    varies: Seeded, seeds: int, examples: int, margin: float
) -> None:
    # From six seeds on; below that the degrees of freedom fall faster than the error (the two laws below).
    def of(world: Seeded = varies, n: int = examples, m: float = margin, truth: float = 0.0) -> float:
        return method_power(world, seeds=seeds, examples=n, margin=m, alpha=0.05, truth=truth)

    base, slack = of(), 1e-3  # the quadrature's own error
    assert 0 <= base <= 1
    assert of(n=2 * examples) >= base - slack
    assert of(m=1.5 * margin) >= base - slack
    assert of(truth=margin / 3) >= base - slack
    assert of(varies._replace(seeds=varies.seeds + 1e-4)) <= base + slack or base < 0.3


def test_the_score_variance_asks_for_more_examples_where_few_pairs_are_discordant() -> None:
    for psi in (0.02, 0.04, 0.08):
        for margin in (0.005, 0.01, 0.02):
            terms = {"margin": margin, "alpha": 0.05, "power": 0.8}
            assert tango_examples(psi, **terms) > textbook_examples(psi, **terms)
    # alpha and power of one half leave no quantile: nothing is needed
    assert textbook_examples(0.04, margin=0.01, alpha=0.5, power=0.5) == 0


def test_with_two_seeds_more_examples_can_lose_power() -> None:
    # As the seeds' share grows, Satterthwaite's degrees of freedom fall from n - 1 to 1 or 2, faster than the
    # standard error shrinks. It is why no plan proposes two seeds, and why a plan does not search from the far end.
    varies = Seeded(persistent=0.01, residual=0.0, seeds=0.004**2, turning=False)
    some, endless = (method_power(varies, seeds=2, examples=n, margin=0.0227, alpha=0.05) for n in (1000, 10**9))
    assert some > 0.9
    assert endless < 0.8


@pytest.mark.parametrize("seeds", [4, 5])
@pytest.mark.parametrize("share", [0.02, 0.05, 0.1])
def test_with_four_or_five_seeds_more_examples_lose_only_what_nobody_plans_for(seeds: int, share: float) -> None:
    # The same fall of the degrees of freedom, seen where the seeds carry nearly all of the variance. It costs a
    # thousandth at most, and nothing at a power of one half or more, which is where plans live.
    varies = Seeded(persistent=2000 * share * 0.004**2 / seeds, residual=0.0, seeds=0.004**2, turning=False)
    for errors in (0.5, 1.0, 2.0, 2.5, 3.0):
        margin = errors * 0.004 * math.sqrt(2 / seeds)
        some, more = (
            method_power(varies, seeds=seeds, examples=n, margin=margin, alpha=0.05) for n in (1000, 2000)
        )
        assert more >= some - (0.0 if some >= 0.5 else 1e-3)


@pytest.mark.parametrize("turning", [False, True])
@pytest.mark.parametrize("repeatable", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
def test_at_a_loss_of_the_margin_the_power_is_an_error_rate_of_five_percent_at_most(
    seeds: int, repeatable: float, turning: bool
) -> None:
    # research/ab_tco.md section 1.3 bounds simulations by 6.5 %; this is the integral, without their noise.
    variance, n = 0.04, 2000
    residual = variance * (1 - repeatable) / 2
    items = (variance * repeatable + 2 * residual / seeds) / n
    for share in (0, 0.1, 0.3, 1, 2, 3, 5, 10, 100):
        varies = Seeded(variance * repeatable, residual, share * items * seeds / 2, turning)
        found = method_power(varies, seeds=seeds, examples=n, margin=0.01, alpha=0.05, truth=-0.01)
        assert (0.005 if seeds == 2 else 0.02) < found < 0.0535


def test_the_score_variance_without_a_pool_is_tangos() -> None:
    # Nothing but -1, 0 and 1: the restricted likelihood estimate is Tango's, and so is the limit of its score.
    varies = Seeded(persistent=0.04, residual=0.0, seeds=0.0, turning=True)
    at_zero = power._squares_under(varies, 3, 0.02, 0.02, 1.0)[power.KNOTS // 2]
    assert at_zero**0.5 == pytest.approx(power._limit_sd(0.04, 0.02, 0.0), rel=1e-6)


def test_two_models_that_never_vary_are_shown_with_certainty() -> None:
    varies = Seeded(persistent=0.0, residual=0.0, seeds=0.0, turning=False)
    assert method_power(varies, seeds=3, examples=100, margin=0.01, alpha=0.05) == 1


def test_the_furthest_loss_is_that_which_one_sample_in_two_exceeds() -> None:
    # 40 of 1,000 examples are coins that 4 seeds of each arm toss: losses of k/4, differences of two binomials.
    varies = Seeded(persistent=0.0, residual=0.01, seeds=0.0, turning=True)
    rng = np.random.default_rng(1)
    tossed = rng.binomial(1000, 0.04, 2000)
    most = [max((rng.binomial(4, 0.5, (count, 2)) @ np.array([1, -1])).max(initial=0), 0) / 4 for count in tossed]
    found = power._furthest(varies, 4, 1000)
    assert np.mean(np.array(most) >= found - 0.25) > 0.5 > np.mean(np.array(most) > found)
    assert found < power._furthest(varies, 4, 4000) <= 1
    always = Seeded(persistent=0.04, residual=0.0, seeds=0.0, turning=True)
    assert power._furthest(always, 4, 1000) == 1
