"""Laws of the sample-ratio check: exact sums over the multinomial distribution."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from rsa_ops.errors import IntegrityError
from rsa_ops.stats import SampleRatio
from rsa_ops.stats.sample_ratio import assignment_log_e

COUNTS = st.tuples(st.integers(0, 500), st.integers(0, 500))


@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.9, 0.1)])
def test_under_the_agreed_shares_its_expectation_is_one(shares: tuple[float, ...]) -> None:
    first = np.arange(301)
    chances = stats.binom.logpmf(first, 300, shares[0])
    found = assignment_log_e(np.column_stack([first, 300 - first]), shares, 200.0)
    assert np.exp(chances + found).sum() == pytest.approx(1, abs=1e-9)


def test_with_three_arms_too() -> None:
    shares = (0.5, 0.3, 0.2)
    counts = np.array([c for c in itertools.product(range(31), repeat=3) if sum(c) == 30])
    chances = stats.multinomial.logpmf(counts, 30, shares)
    assert np.exp(chances + assignment_log_e(counts, shares, 50.0)).sum() == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("counts", [(12, 30), (0, 4), (500, 510)])
def test_the_closed_form_is_the_integral(counts: tuple[int, int]) -> None:
    first, second = counts
    prior = stats.beta(20 * 0.4, 20 * 0.6)

    def product(t: float) -> float:
        return math.exp(first * math.log(t / 0.4) + second * math.log((1 - t) / 0.6)) * prior.pdf(t)

    mixed, _ = integrate.quad(product, 0, 1, epsabs=0, epsrel=1e-11, limit=500, points=[first / (first + second)])
    assert assignment_log_e(counts, (0.4, 0.6), 20.0) == pytest.approx(math.log(mixed), abs=1e-8)


def test_looked_at_after_every_unit_the_false_alarm_is_one_in_a_thousand_at_most() -> None:
    """Exactly, by recursion over the units of the first arm, to 1,500 units; a chi-square test at 0.001 fails."""

    def alarms(rings) -> float:
        alive, total = np.array([1.0]), 0.0
        for units in range(1, 1501):
            alive = np.append(alive, 0.0) / 2 + np.insert(alive, 0, 0.0) / 2
            first = np.arange(units + 1)
            over = rings(first, units)
            total += alive[over].sum()
            alive[over] = 0.0
        return total

    def ours(first, units):
        return assignment_log_e(np.column_stack([first, units - first]), (0.5, 0.5), 200.0) >= math.log(1000)

    assert alarms(ours) <= 0.001
    assert alarms(lambda first, units: (2 * first - units) ** 2 / units > stats.chi2.isf(0.001, 1)) > 0.005


def test_48_to_52_is_found_and_the_right_shares_are_not() -> None:
    assert SampleRatio(shares=(0.5, 0.5)).update((9_600, 10_400)).mismatch
    assert not SampleRatio(shares=(0.5, 0.5)).update((10_050, 9_950)).mismatch
    assert not SampleRatio(shares=(0.48, 0.52)).update((9_600, 10_400)).mismatch


@given(COUNTS, COUNTS)
def test_any_chunks_and_the_totals_give_the_same_state(a, b) -> None:
    start = SampleRatio(shares=(0.5, 0.5))
    whole = (a[0] + b[0], a[1] + b[1])
    assert start.update(a).update(b) == start.update(whole) == start.update(a).read(whole)


def test_a_saved_state_goes_on_as_if_it_had_not_been_saved() -> None:
    before = SampleRatio(shares=(0.2, 0.3, 0.5), alpha=0.01).update((3, 4, 5))
    again = SampleRatio.from_json(before.to_json(), "state.json")
    assert again.update((1, 0, 2)) == before.update((1, 0, 2))


def test_without_units_there_is_no_evidence() -> None:
    assert SampleRatio(shares=(0.5, 0.5)).log_e == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("terms", "says"),
    [
        ({"shares": (1.0,)}, "expected two shares or more"),
        ({"shares": (0.5, 0.6)}, "add up to 1"),
        ({"shares": (1.0, 0.0)}, "each above 0"),
        ({"shares": (0.5, math.nan)}, "finite"),
        ({"alpha": 0.0}, "expected 0 < alpha < 1"),
        ({"concentration": 0.0}, "concentration > 0"),
        ({"assigned": (1, 2, 3)}, "expected 2 counts"),
        ({"assigned": (1, -2)}, "expected 2 counts >= 0"),
    ],
)
def test_terms_that_make_no_question_are_refused(terms, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        SampleRatio(**({"shares": (0.5, 0.5)} | terms))


def test_counts_that_are_negative_or_went_backwards_are_refused() -> None:
    state = SampleRatio(shares=(0.5, 0.5)).update((10, 12))
    for counts in ((-1, 3), (1, 2, 3)):
        with pytest.raises(IntegrityError, match="expected 2 counts"):
            state.update(counts)
    for counts in ((9, 12), (10, 12, 0)):
        with pytest.raises(IntegrityError, match="went backwards"):
            state.read(counts)
