"""Laws of the e-process for bad-event rates. They are exact: sums over the binomial distribution, no simulation."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from rsa_ops.errors import IntegrityError
from rsa_ops.stats import ArmCounts, EProcess, TwoArmCounts
from rsa_ops.stats.eprocess import UNIFORM, conditional_log_e, prior_towards

CASES = [  # theta0, prior
    (0.5, UNIFORM),
    (0.5, prior_towards(0.5, 0.63)),
    (0.1, prior_towards(0.1, 0.15)),
    (0.9, prior_towards(0.9, 0.93)),
]
COUNTS = st.integers(0, 400).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n)))


def arm(exposures: int, bad: int) -> ArmCounts:
    return ArmCounts(exposures=exposures, bad=bad)


def process(margin: float = 1.0, allocation: float = 0.5, design: float | None = 2.0) -> EProcess:
    return EProcess(ratio_margin=margin, allocation=allocation, design_ratio=design)


@pytest.mark.parametrize(("theta0", "prior"), CASES)
@pytest.mark.parametrize("events", [1, 7, 60, 1000])
def test_at_the_border_its_expectation_is_one(theta0: float, prior: tuple[float, float], events: int) -> None:
    hits = np.arange(events + 1)
    chances = stats.binom.logpmf(hits, events, theta0)
    assert np.exp(chances + conditional_log_e(hits, events, theta0, prior)).sum() == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("state", [process(1.0, 0.2), process(1.25, 0.5), process(1.25, 0.5, None)])
def test_the_evidence_of_safety_is_an_e_value_at_the_margin_too(state: EProcess) -> None:
    chances = stats.binom.pmf(np.arange(121), 120, state.theta0)
    seen = [state.update(arm(120, k), arm(120, 120 - k)) for k in range(121)]
    assert chances @ np.exp([each.log_e_safe for each in seen]) == pytest.approx(1, abs=1e-9)
    assert chances @ np.exp([each.log_e_harm for each in seen]) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize(("theta0", "prior"), CASES)
def test_inside_the_margin_its_expectation_is_below_one(theta0: float, prior: tuple[float, float]) -> None:
    hits = np.arange(201)
    chances = stats.binom.logpmf(hits, 200, 0.8 * theta0)
    assert np.exp(chances + conditional_log_e(hits, 200, theta0, prior)).sum() < 1


@pytest.mark.parametrize(("theta0", "prior"), CASES)
def test_at_the_border_the_next_event_changes_nothing_on_average(theta0: float, prior: tuple[float, float]) -> None:
    hits = np.arange(51)
    now, hit, miss = (
        np.exp(conditional_log_e(k, n, theta0, prior)) for k, n in ((hits, 50), (hits + 1, 51), (hits, 51))
    )
    assert theta0 * hit + (1 - theta0) * miss == pytest.approx(now, rel=1e-9)


@pytest.mark.parametrize(("theta0", "prior"), CASES)
def test_looked_at_after_every_event_it_crosses_with_probability_alpha_at_most(
    theta0: float, prior: tuple[float, float]
) -> None:
    """Exactly, by recursion over the number of hits, to 500 events at alpha 5 %; z at 5 % fails the same way."""

    def crossing(crosses) -> float:
        alive, total = np.array([1.0]), 0.0
        for events in range(1, 501):
            alive = np.append(alive, 0.0) * (1 - theta0) + np.insert(alive, 0, 0.0) * theta0
            over = crosses(np.arange(events + 1), events)
            total += alive[over].sum()
            alive[over] = 0.0
        return total

    assert 0.02 < crossing(lambda k, n: conditional_log_e(k, n, theta0, prior) >= math.log(20)) <= 0.05
    spread = theta0 * (1 - theta0)
    assert crossing(lambda k, n: (n >= 20) & (k - n * theta0 > 1.645 * np.sqrt(n * spread))) > 0.2


@pytest.mark.parametrize(("theta0", "prior"), CASES)
@pytest.mark.parametrize(("hits", "events"), [(0, 5), (3, 9), (40, 60), (10, 200)])
def test_the_closed_form_is_the_integral(theta0: float, prior: tuple[float, float], hits: int, events: int) -> None:
    def ratio(theta: float) -> float:
        return (theta / theta0) ** hits * ((1 - theta) / (1 - theta0)) ** (events - hits)

    density = stats.beta(*prior)
    mixed, _ = integrate.quad(lambda t: ratio(t) * density.pdf(t), theta0, 1, epsabs=0, epsrel=1e-11, limit=500)
    expected = math.log(mixed / density.sf(theta0))
    assert conditional_log_e(hits, events, theta0, prior) == pytest.approx(expected, abs=1e-8)


def test_it_is_right_where_the_beta_tail_underflows() -> None:
    # 0 of 3,000: the integral of 2 (1-t)^3000 over [1/2, 1] is 2^-3000 / 3001, so e is 1 / 3001 exactly.
    assert conditional_log_e(0, 3000, 0.5) == pytest.approx(-math.log(3001), abs=1e-9)
    around = conditional_log_e(np.arange(400, 1200), 3000, 0.5)  # over the change of formula: no step, no kink
    assert (np.diff(around) > 0).all()
    assert np.abs(np.diff(around, 2)).max() < 1e-4


@given(COUNTS, COUNTS, COUNTS, COUNTS)
def test_any_chunks_of_a_stream_and_its_totals_give_the_same_state(a, b, c, d) -> None:
    start = process()
    pieces = start.update(arm(*a), arm(*b)).update(arm(*c), arm(*d))
    whole = start.update(arm(a[0] + c[0], a[1] + c[1]), arm(b[0] + d[0], b[1] + d[1]))
    assert pieces == whole == start.read(whole.seen.challenger, whole.seen.baseline)
    assert pieces.log_e_harm == whole.log_e_harm


def test_a_saved_state_goes_on_as_if_it_had_not_been_saved() -> None:
    before = process(1.25, 0.3).update(arm(700, 14), arm(1600, 20))
    again = EProcess.from_json(before.to_json(), "state.json")
    assert again == before
    assert again.update(arm(50, 3), arm(120, 0)) == before.update(arm(50, 3), arm(120, 0))
    assert json.loads(before.to_json())["schema"] == "rsa_ops/e-process/v1"


def test_a_state_is_not_changed_by_an_update() -> None:
    start = process()
    start.update(arm(10, 5), arm(10, 0))
    assert start.seen == TwoArmCounts()
    assert (start.log_e_harm, start.log_e_safe) == (0.0, 0.0)


def test_theta0_follows_from_allocation_and_margin() -> None:
    assert process(1.0, 0.5).theta0 == 0.5
    assert process(1.0, 0.1).theta0 == pytest.approx(0.1)
    assert process(2.0, 0.5, None).theta0 == pytest.approx(2 / 3)  # twice the rate, half the traffic: two of three


@given(st.integers(0, 60), st.integers(0, 60))
def test_more_bad_events_of_the_challenger_are_more_evidence_of_harm(ours: int, theirs: int) -> None:
    def seen(k: int) -> EProcess:
        return process(1.2).update(arm(200, k), arm(200, theirs))

    assert seen(ours + 1).log_e_harm > seen(ours).log_e_harm
    assert seen(ours + 1).log_e_safe < seen(ours).log_e_safe


def test_harm_and_safety_are_each_found_where_they_are() -> None:
    harmed = process(1.25).update(arm(5000, 120), arm(5000, 50))
    assert harmed.log_e_harm > math.log(20) > 0 > harmed.log_e_safe
    safe = process(1.25).update(arm(90_000, 900), arm(90_000, 900))
    assert safe.log_e_safe > math.log(20) > 0 > safe.log_e_harm


@pytest.mark.parametrize("allocation", [0.1, 0.5, 0.8])
@pytest.mark.parametrize("rate", [0.002, 0.1, 0.6])
def test_one_unit_assigned_by_chance_is_a_fair_bet_at_equal_rates(allocation: float, rate: float) -> None:
    """The claim of the module: also at common rates, where a bad event is nothing rare."""
    mean = 0.0
    for bad in (0, 1):
        chance = rate if bad else 1 - rate
        ours = process(1.0, allocation).update(arm(1, bad), arm(0, 0))
        theirs = process(1.0, allocation).update(arm(0, 0), arm(1, bad))
        mean += allocation * chance * math.exp(ours.log_e_harm) + (1 - allocation) * chance * math.exp(
            theirs.log_e_harm
        )
    assert mean == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("rate", [0.02, 0.3, 0.9])
@pytest.mark.parametrize(("margin", "ours", "theirs"), [(1.0, 8, 8), (1.1, 4, 12), (1.0, 1, 9)])
def test_fixed_blocks_are_no_better_than_fair(rate: float, margin: float, ours: int, theirs: int) -> None:
    k, j = np.arange(ours + 1)[:, None], np.arange(theirs + 1)[None, :]
    start = process(margin, ours / (ours + theirs))
    chances = stats.binom.pmf(k, ours, margin * rate) * stats.binom.pmf(j, theirs, rate)
    prior = prior_towards(start.theta0, start._aim(2.0))
    assert (chances * np.exp(conditional_log_e(k, k + j, start.theta0, prior))).sum() <= 1 + 1e-12


@pytest.mark.parametrize(
    ("terms", "says"),
    [
        ({"ratio_margin": 0.8}, "expected ratio_margin >= 1, found 0.8"),
        ({"ratio_margin": -1.0}, "expected ratio_margin >= 1"),
        ({"ratio_margin": math.nan}, "finite"),
        ({"allocation": 0.0}, "expected 0 < allocation < 1, found 0"),
        ({"allocation": 1.0}, "share of the traffic"),
        ({"allocation": math.inf}, "finite"),
        ({"design_ratio": 1.0}, "expected design_ratio > ratio_margin"),
    ],
)
def test_terms_that_make_no_question_are_refused(terms: dict[str, float], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        EProcess(**{"ratio_margin": 1.0, "allocation": 0.5, **terms})


@pytest.mark.parametrize(("exposures", "bad"), [(3, 4), (-1, 0), (5, -2)])
def test_impossible_counts_are_refused(exposures: int, bad: int) -> None:
    with pytest.raises(ValueError, match="expected 0 <= bad <= exposures"):
        ArmCounts(exposures=exposures, bad=bad)


@pytest.mark.parametrize("later", [(99, 5), (100, 4), (101, 7)])  # fewer, a bad one gone, a good one turned bad
def test_totals_that_went_backwards_are_refused(later: tuple[int, int]) -> None:
    state = process().read(arm(100, 5), arm(100, 5))
    with pytest.raises(IntegrityError, match="counts of the challenger went backwards"):
        state.read(arm(*later), arm(100, 5))


def test_outcomes_are_counted_and_anything_but_0_and_1_is_refused() -> None:
    assert ArmCounts.of([0, 1, True, False, 1.0]) == arm(5, 3)
    assert ArmCounts.of([]) == arm(0, 0)
    for outcomes in ([0, math.nan], [0, 0.5], [2]):
        with pytest.raises(IntegrityError, match="expected outcomes of 0"):
            ArmCounts.of(outcomes)


def test_a_state_that_was_changed_by_hand_is_refused() -> None:
    state = process().update(arm(10, 2), arm(10, 1))
    for broken in (state.to_json().replace('"bad": 2', '"bad": 12'), state.to_json().replace("0.5", "1.5")):
        with pytest.raises(IntegrityError, match=r"state\.json is not a rsa_ops/e-process/v1 record"):
            EProcess.from_json(broken, "state.json")
