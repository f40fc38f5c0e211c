"""Laws of the e-process for bounded scores: exact, by enumeration of every score that can occur."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsa_ops.errors import IntegrityError
from rsa_ops.stats import BettingEProcess

SCORES = st.lists(st.floats(0, 10), max_size=8)


def process(margin: float = 0.5, allocation: float = 0.3, worse: str = "lower") -> BettingEProcess:
    return BettingEProcess(lowest=0, highest=10, margin=margin, allocation=allocation, centre=6, worse=worse)


@pytest.mark.parametrize("worse", ["lower", "higher"])
@pytest.mark.parametrize("allocation", [0.1, 0.5, 0.8])
@pytest.mark.parametrize("harm", [0.0, 0.5, 1.0])  # below, at and beyond the margin of 0.5
def test_two_units_by_chance_are_fair_at_the_margin_and_bad_or_good_beside_it(worse, allocation, harm) -> None:
    """Scores 0, 4 and 10; the challenger's distribution is worse by `harm` on average."""
    values, theirs = (0.0, 4.0, 10.0), np.array([0.2, 0.3, 0.5])
    moved = harm / 10 * (1 if worse == "lower" else -1)
    ours = theirs + np.array([moved, 0, -moved])
    units = [("ours", v, allocation * p) for v, p in zip(values, ours, strict=True)]
    units += [("theirs", v, (1 - allocation) * p) for v, p in zip(values, theirs, strict=True)]
    mean = {"harm": 0.0, "safe": 0.0}
    for pair in itertools.product(units, repeat=2):
        seen = process(0.5, allocation, worse).update(
            [v for side, v, _ in pair if side == "ours"], [v for side, v, _ in pair if side == "theirs"]
        )
        chance = math.prod(p for _, _, p in pair)
        mean["harm"] += chance * math.exp(seen.log_e_harm)
        mean["safe"] += chance * math.exp(seen.log_e_safe)
    if harm == 0.5:
        assert mean == pytest.approx({"harm": 1.0, "safe": 1.0}, abs=1e-12)
    else:
        assert (mean["harm"] > 1, mean["safe"] > 1) == (harm > 0.5, harm < 0.5)


@given(SCORES, SCORES, SCORES, SCORES)
def test_chunks_do_not_matter_beyond_rounding(a, b, c, d) -> None:
    pieces, whole = process().update(a, b).update(c, d), process().update(a + c, b + d)
    assert pieces.harm == pytest.approx(whole.harm, abs=1e-9)
    assert pieces.safe == pytest.approx(whole.safe, abs=1e-9)


@given(SCORES, SCORES)
def test_scores_turned_over_give_the_same_evidence(a, b) -> None:
    turned = BettingEProcess(lowest=0, highest=10, margin=0.5, allocation=0.3, centre=4, worse="higher")
    mirrored = turned.update([10 - x for x in a], [10 - x for x in b])
    assert mirrored.harm == pytest.approx(process().update(a, b).harm, abs=1e-9)


def test_a_saved_state_goes_on_as_if_it_had_not_been_saved() -> None:
    before = process().update([1.0, 9.5], [3.25])
    again = BettingEProcess.from_json(before.to_json(), "state.json")
    assert again.update([2.0], [7.7, 0.1]) == before.update([2.0], [7.7, 0.1])


def test_harm_and_safety_are_each_found_where_they_are() -> None:
    rng = np.random.default_rng(1)
    theirs = rng.uniform(4, 8, 3000)
    harmed = process(0.3, 0.5).update(rng.uniform(3.4, 7.4, 3000), theirs)
    assert harmed.log_e_harm > math.log(20) > 0 > harmed.log_e_safe
    safe = process(0.3, 0.5).update(rng.uniform(4, 8, 3000), theirs)
    assert safe.log_e_safe > math.log(20) > 0 > safe.log_e_harm


@pytest.mark.parametrize("score", [math.nan, -0.1, 10.1, math.inf])
def test_a_score_outside_the_bounds_is_refused(score: float) -> None:
    with pytest.raises(IntegrityError, match="expected scores from 0"):
        process().update([5.0, score], [5.0])


@pytest.mark.parametrize(
    ("terms", "says"),
    [
        ({"highest": 0.0, "centre": 0.0}, "expected lowest <= centre <= highest"),
        ({"centre": 11.0}, "expected lowest <= centre <= highest"),
        ({"margin": -0.5}, "expected 0 <= margin < highest - lowest, found -0.5"),
        ({"margin": 10.0}, "expected 0 <= margin < highest - lowest"),
        ({"allocation": 0.0}, "expected 0 < allocation < 1"),
        ({"harm": (0.0,)}, "expected the wealth of 10 stakes"),
        ({"margin": math.nan}, "finite"),
    ],
)
def test_terms_that_make_no_question_are_refused(terms, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        BettingEProcess(**(process().model_dump(exclude={"schema_"}, by_alias=False) | terms))
