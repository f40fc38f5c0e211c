"""Laws of the e-process for two Bernoulli streams: exact, by enumeration."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, stats

from rsa_ops.stats import ArmCounts, BernoulliEProcess, EProcess
from rsa_ops.stats.bernoulli import _nearest_border, bets_towards, two_stream_log_e

TERMS = list(itertools.product((0.0, 0.01, 0.1), (0.1, 0.5, 0.8), (0.002, 0.1, 0.5)))
COUNTS = st.integers(0, 300).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n)))


def arm(exposures: int, bad: int) -> ArmCounts:
    return ArmCounts(exposures=exposures, bad=bad)


def process(margin: float = 0.01, allocation: float = 0.5) -> BernoulliEProcess:
    return BernoulliEProcess(margin=margin, allocation=allocation, baseline_rate=0.1, design_difference=0.03)


@pytest.mark.parametrize(("margin", "allocation", "rate"), TERMS)
@pytest.mark.parametrize("harm", [True, False])
def test_no_rates_inside_the_null_hypothesis_make_one_unit_a_good_bet(margin, allocation, rate, harm: bool) -> None:
    aim = rate + margin + 0.04 if harm else max(rate - 0.001, rate / 2)
    bets = np.exp(bets_towards(aim, margin=margin, allocation=allocation, baseline_rate=rate))
    ours, theirs = np.meshgrid(np.linspace(0, 1, 201), np.linspace(0, 1, 201))
    within = ours - theirs <= margin if harm else ours - theirs >= margin
    for bad_c, good_c, bad_b, good_b in bets:
        mean = allocation * (ours * bad_c + (1 - ours) * good_c)
        mean += (1 - allocation) * (theirs * bad_b + (1 - theirs) * good_b)
        assert mean[within].max() <= 1 + 1e-9
        assert mean[~within].max() > 1  # outside it wins somewhere, or it would never reject


@pytest.mark.parametrize(("ours", "theirs"), [(6, 6), (2, 8), (9, 3)])
@pytest.mark.parametrize("rates", [(0.11, 0.1), (0.51, 0.5), (0.02, 0.3)])
def test_fixed_blocks_are_no_better_than_fair(ours: int, theirs: int, rates: tuple[float, float]) -> None:
    bets = bets_towards(0.2, margin=0.01, allocation=ours / (ours + theirs), baseline_rate=0.1)
    k, j = np.arange(ours + 1)[:, None], np.arange(theirs + 1)[None, :]
    chances = stats.binom.pmf(k, ours, rates[0]) * stats.binom.pmf(j, theirs, rates[1])
    assert (chances * np.exp(two_stream_log_e(k, ours, j, theirs, bets))).sum() <= 1 + 1e-12


def test_without_margin_the_nearest_point_is_the_mean_rate_of_the_paper() -> None:
    # Turner, Ly and Grünwald 2024: theta0 = (n_a theta_a + n_b theta_b) / n for the null hypothesis of equal rates.
    found = _nearest_border(np.array([0.3, 0.02]), np.array([0.1, 0.01]), 0.0, 0.25)
    assert found == pytest.approx([0.25 * 0.3 + 0.75 * 0.1, 0.25 * 0.02 + 0.75 * 0.01], abs=1e-12)


@pytest.mark.parametrize(("ours", "theirs", "margin", "share"), [(0.3, 0.1, 0.05, 0.5), (0.04, 0.01, 0.01, 0.1)])
def test_with_margin_the_nearest_point_minimises_the_divergence(ours, theirs, margin, share) -> None:
    def divergence(p: float) -> float:
        pair = ((share, ours, p + margin), (1 - share, theirs, p))
        return sum(w * (q * math.log(q / r) + (1 - q) * math.log((1 - q) / (1 - r))) for w, q, r in pair)

    best = optimize.minimize_scalar(divergence, bounds=(1e-9, 1 - margin - 1e-9), options={"xatol": 1e-12})
    found = _nearest_border(np.array([ours]), np.array([theirs]), margin, share)
    assert found[0] == pytest.approx(best.x, abs=1e-6)


@given(COUNTS, COUNTS, COUNTS, COUNTS)
def test_any_chunks_of_a_stream_give_the_same_state(a, b, c, d) -> None:
    pieces = process().update(arm(*a), arm(*b)).update(arm(*c), arm(*d))
    whole = process().update(arm(a[0] + c[0], a[1] + c[1]), arm(b[0] + d[0], b[1] + d[1]))
    assert pieces == whole
    assert pieces.log_e_harm == whole.log_e_harm


def test_a_saved_state_goes_on_as_if_it_had_not_been_saved() -> None:
    before = process().update(arm(70, 14), arm(80, 9))
    again = BernoulliEProcess.from_json(before.to_json(), "state.json")
    assert again.update(arm(5, 3), arm(12, 0)) == before.update(arm(5, 3), arm(12, 0))


def test_harm_and_safety_are_each_found_where_they_are() -> None:
    assert (process().log_e_harm, process().log_e_safe) == pytest.approx((0.0, 0.0), abs=1e-12)
    harmed = process().update(arm(4000, 600), arm(4000, 400))
    assert harmed.log_e_harm > math.log(20) > 0 > harmed.log_e_safe
    safe = process(0.02).update(arm(20_000, 2000), arm(20_000, 2000))
    assert safe.log_e_safe > math.log(20) > 0 > safe.log_e_harm


def test_at_margin_zero_safe_means_better() -> None:
    better = process(0.0).update(arm(5000, 400), arm(5000, 500))
    assert better.log_e_safe > math.log(20)
    same = process(0.0).update(arm(5000, 500), arm(5000, 500))
    assert same.log_e_safe < 0


def test_common_rates_it_judges_with_half_the_evidence_that_bad_events_alone_need() -> None:
    counts = arm(4000, 1320), arm(4000, 1200)  # 33 % against 30 %
    both = BernoulliEProcess(margin=0.0, allocation=0.5, baseline_rate=0.3, design_difference=0.03).update(*counts)
    alone = EProcess(ratio_margin=1.0, allocation=0.5, design_ratio=1.1).update(*counts)
    assert both.log_e_harm > alone.log_e_harm + 0.5


@pytest.mark.parametrize(
    ("terms", "says"),
    [
        ({"margin": -0.01}, "expected 0 <= margin < 1, found -0.01"),
        ({"margin": math.nan}, "finite"),
        ({"allocation": 1.5}, "expected 0 < allocation < 1"),
        ({"baseline_rate": 0.0}, "expected 0 < baseline_rate < 1 - margin"),
        ({"baseline_rate": 0.995}, "expected 0 < baseline_rate < 1 - margin"),
        ({"design_difference": 0.01}, "expected margin < design_difference"),
        ({"design_difference": 0.95}, "expected margin < design_difference"),
    ],
)
def test_terms_that_make_no_question_are_refused(terms: dict[str, float], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        BernoulliEProcess(**(process().model_dump(exclude={"schema_", "seen"}, by_alias=False) | terms))
