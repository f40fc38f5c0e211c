"""Laws of the asymptotic confidence sequence and of the running moments below it."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, optimize, stats

from rsa_ops.errors import IntegrityError, UsageError
from rsa_ops.stats import ConfidenceSequence, Moments
from rsa_ops.stats.confidence_sequence import best_rho, guarded, half_width, mixture_log_e

SCORES = st.lists(st.floats(-1e3, 1e3), max_size=12)


def sequence(sides: str = "one", alpha: float = 0.05) -> ConfidenceSequence:
    return ConfidenceSequence(expected_observations=2000, alpha=alpha, sides=sides)


@given(SCORES, SCORES, SCORES)
def test_moments_of_chunks_are_those_of_the_whole(a, b, c) -> None:
    whole = Moments.of(a + b + c)
    for pieces in (Moments.of(a) + Moments.of(b) + Moments.of(c), Moments.of(a) + (Moments.of(b) + Moments.of(c))):
        assert pieces.count == whole.count
        assert pieces.mean == pytest.approx(whole.mean, abs=1e-9)
        assert pieces.squares == pytest.approx(whole.squares, abs=1e-5)


def test_moments_keep_their_digits_far_from_zero() -> None:
    # Chan, Golub and LeVeque 1983: sums of squares would lose all of them at 1e9 +- 1.
    parts = [Moments.of([1e9 + 1, 1e9 - 1]) for _ in range(500)]
    assert sum(parts, Moments()).variance == pytest.approx(1000 / 999, rel=1e-9)


def test_the_variance_is_the_unbiased_one_of_numpy() -> None:
    scores = np.random.default_rng(2).gamma(2.0, size=77)
    assert Moments.of(scores).variance == pytest.approx(scores.var(ddof=1))


@pytest.mark.parametrize("observations", [1, 50, 3000])
@pytest.mark.parametrize("rho", [0.02, 0.3])
def test_for_normal_scores_the_mixture_is_an_e_value(observations: int, rho: float) -> None:
    def product(z: float) -> float:
        return math.exp(stats.norm.logpdf(z) + mixture_log_e(observations, z, rho))

    whole, _ = integrate.quad(product, -40, 200, epsabs=1e-12, limit=400, points=[0, 5, 50])
    assert whole == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("z", [-6.0, -1.0, 0.0, 2.5, 9.0])
def test_the_mixture_is_its_integral_over_a_half_normal(z: float) -> None:
    n, rho = 400, 0.1

    def product(effect: float) -> float:
        return 2 * stats.norm.pdf(effect, scale=rho) * math.exp(effect * z * n**0.5 - effect**2 * n / 2)

    mixed, _ = integrate.quad(product, 0, 2, epsabs=0, epsrel=1e-11, limit=400, points=[abs(z) / n**0.5])
    assert mixture_log_e(n, z, rho) == pytest.approx(math.log(mixed), abs=1e-8)


@pytest.mark.parametrize("alpha", [0.001, 0.05])
def test_what_the_one_sided_interval_rejects_the_mixture_rejects_too(alpha: float) -> None:
    n, rho = np.array([2, 50, 1000, 200_000]), 0.03
    z = half_width(n, rho, alpha, "one") * np.sqrt(n)
    assert (mixture_log_e(n, z, rho) >= math.log(1 / alpha)).all()
    assert (mixture_log_e(n, 0.9 * z, rho) < math.log(1 / alpha)).all()


@pytest.mark.parametrize("alpha", [0.001, 0.05])
@pytest.mark.parametrize("sides", ["one", "two"])
def test_the_interval_is_narrowest_where_it_was_told_to_be(alpha: float, sides: str) -> None:
    found = best_rho(3000, alpha, sides)
    best = optimize.minimize_scalar(lambda r: half_width(3000, r, alpha, sides), bounds=(1e-4, 1), method="bounded")
    tolerance = 1e-3 if sides == "two" else 0.03  # one-sided: the formula neglects the 1 in the logarithm
    assert found == pytest.approx(best.x, rel=tolerance)
    assert half_width(3000, found, alpha, sides) == pytest.approx(best.fun, rel=1e-3)


def test_the_two_sided_half_width_solves_robbins_mixture() -> None:
    # Waudby-Smith et al. 2024, theorem 2.2: exp(rho^2 S^2 / (2 (n rho^2 + 1))) / sqrt(n rho^2 + 1) = 1 / alpha.
    n, rho, alpha = 700, 0.07, 0.05
    total = n * float(half_width(n, rho, alpha, "two"))
    spread = n * rho**2 + 1
    assert math.exp((rho * total) ** 2 / (2 * spread)) / math.sqrt(spread) == pytest.approx(1 / alpha)


def test_the_estimate_has_the_error_of_welch_and_the_confidence_of_its_sides() -> None:
    rng = np.random.default_rng(5)
    ours, theirs = rng.normal(1.0, 2.0, 600), rng.normal(0.5, 1.0, 600)
    welch = math.sqrt(ours.var(ddof=1) / 600 + theirs.var(ddof=1) / 600)
    for sides, confidence in (("one", 0.9), ("two", 0.95)):
        found = sequence(sides).update(ours, theirs).estimate
        assert found is not None
        assert (found.value, found.standard_error) == pytest.approx((ours.mean() - theirs.mean(), welch))
        assert found.confidence == pytest.approx(confidence)
        assert found.high - found.value == pytest.approx(found.value - found.low)
        assert found.value - found.low > 1.645 * welch  # the price of looking at any time


@given(st.integers(50, 90), st.integers(0, 40), st.integers(1, 100))
def test_any_chunks_of_a_stream_give_the_same_interval(size: int, cut: int, seed: int) -> None:
    ours, theirs = np.random.default_rng(seed).normal(size=(2, size))
    whole = sequence().update(ours, theirs).estimate
    pieces = sequence().update(ours[:cut], []).update(ours[cut:], theirs[:cut]).update([], theirs[cut:]).estimate
    assert whole is not None
    assert pieces is not None
    assert (pieces.low, pieces.high) == pytest.approx((whole.low, whole.high), abs=1e-12)


def test_a_saved_state_goes_on_as_if_it_had_not_been_saved() -> None:
    before = sequence().update([1.1, 2.2, 0.3], [0.7, 1.0 / 3])
    again = ConfidenceSequence.from_json(before.to_json(), "state.json")
    assert again.update([3.3], [0.1]) == before.update([3.3], [0.1])


def test_without_enough_or_without_any_spread_nothing_is_said() -> None:
    some = np.random.default_rng(0).normal(size=49)
    for ours, theirs in (([], []), (some, some), (np.ones(80), np.ones(80))):
        state = sequence().update(ours, theirs)
        assert state.estimate is None  # never an interval of zero width
        entry = state.guardrail("x", margin=0.1, worse="lower")
        assert (entry.log_e_harm, entry.log_e_safe) == (0.0, 0.0)


def test_harm_lies_where_worse_is_said_to_be() -> None:
    rng = np.random.default_rng(3)
    state = sequence().update(rng.normal(1.0, 1.0, 2000), rng.normal(0.0, 1.0, 2000))
    latency = state.guardrail("latency", margin=0.2, worse="higher")
    quality = state.guardrail("quality", margin=0.2, worse="lower")
    assert latency.log_e_harm > math.log(20) > 0 > latency.log_e_safe
    assert quality.log_e_safe > math.log(20) > 0 > quality.log_e_harm
    assert latency.guarantee == "asymptotic"


def test_a_small_arm_borrows_variance_and_an_equal_one_does_not() -> None:
    assert guarded(1.0, 3.0, 0.5) == 1.0
    assert guarded(1.0, 3.0, 0.7) == 1.0
    assert guarded(1.0, 3.0, 0.25) == 2.0
    assert guarded(5.0, 3.0, 0.01) == 5.0  # it is raised, never lowered


def test_a_small_arm_without_a_rare_event_is_not_called_lower() -> None:
    # 1 % bad in 1,800; none yet in 200, which happens to 13 % of such arms (0.99^200).
    quiet, usual = np.zeros(200), np.repeat([1.0, 0.0], [18, 1782])
    found = ConfidenceSequence(expected_observations=2000).update(quiet, usual).estimate
    assert found is not None
    assert found.low < 0 < found.high
    unguarded = math.sqrt(Moments.of(usual).variance / 1800) * math.sqrt(2000)
    assert (
        unguarded * half_width(2000, best_rho(2000, 0.05, "one"), 0.05, "one") < -found.value
    )  # the paper's would


@pytest.mark.parametrize("scores", [[1.0, math.nan], [math.inf]])
def test_a_score_that_is_no_number_is_refused(scores: list[float]) -> None:
    with pytest.raises(IntegrityError, match="NaN or infinite"):
        sequence().update(scores, [1.0])


@pytest.mark.parametrize(
    ("terms", "says"),
    [
        ({"alpha": 0.0}, "expected 0 < alpha < 0.5, found 0"),
        ({"alpha": 0.5}, "expected 0 < alpha < 0.5"),
        ({"alpha": math.nan}, "finite"),
        ({"expected_observations": 0}, "expected at least 2 expected_observations"),
        ({"least": 1}, "2 as the least of an arm"),
    ],
)
def test_terms_that_make_no_question_are_refused(terms, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        ConfidenceSequence(**({"expected_observations": 100} | terms))
    with pytest.raises(UsageError, match="expected a margin >= 0, found -1"):
        sequence().guardrail("x", margin=-1, worse="lower")


@pytest.mark.parametrize("moments", [{"count": -1}, {"count": 3, "squares": -0.1}])
def test_moments_that_cannot_be_are_refused(moments) -> None:
    with pytest.raises(ValueError, match="expected count >= 0"):
        Moments(**moments)
