"""Laws of many slices at once."""

import numpy as np
import pytest
from scipy import stats as scipy_stats

from rsa_ops.core.estimate import Answer
from rsa_ops.errors import IntegrityError, UsageError
from rsa_ops.stats import (
    artifact_noninferiority,
    compare_slices,
    noninferiority,
    slices_by,
    worst_slice_test,
)

KINDS = np.repeat(["a", "b", "c"], [300, 300, 20])


def arms(seeds: int, lost: float = 0.0, kind: str = "b", rng: int = 1) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(rng)
    theirs = (generator.random((seeds, 620)) < 0.9).astype(float)
    ours = np.where(generator.random((seeds, 620)) < 0.02, 1 - theirs, theirs)
    ours[:, (kind == KINDS) & (generator.random(620) < lost)] = 0
    return ours, theirs


MASKS = slices_by(KINDS, "kind")


def test_each_slice_alone_is_the_comparison_of_its_examples() -> None:
    ours, theirs = arms(3)
    found = compare_slices(ours, theirs, MASKS, margin=0.1)
    assert [entry.slice for entry in found.slices] == ["kind=a", "kind=b", "kind=c"]
    alone = noninferiority(ours[:, :300], theirs[:, :300], margin=0.1)
    assert found.slices[0].result == alone
    single = compare_slices(ours[:1], theirs[:1], MASKS, margin=0.1)
    assert single.slices[0].result == artifact_noninferiority(ours[0, :300], theirs[0, :300], margin=0.1)


def test_a_slice_too_small_is_not_assessable_and_stops_all_pass() -> None:
    found = compare_slices(*arms(3), MASKS, margin=0.1)
    assert found.examples_needed == 29  # 1 - 0.05^(1/29) = 9.8 %
    small = found.slices[2]
    assert not small.assessable
    assert (small.result, small.low, small.p_harmed) == (None, None, None)
    assert not found.all_pass
    large = {name: mask for name, mask in MASKS.items() if mask.sum() > 29}
    assert compare_slices(*arms(3), large, margin=0.1).all_pass


def test_bounds_for_all_at_once_are_those_of_alpha_over_the_slices() -> None:
    ours, theirs = arms(3)
    found = compare_slices(ours, theirs, MASKS, margin=0.1)
    single = noninferiority(ours[:, :300], theirs[:, :300], margin=0.1, alpha=0.025).difference
    assert single is not None
    assert (found.slices[0].low, found.slices[0].high) == (single.low, single.high)


def test_a_harmed_slice_is_named_and_is_the_worst() -> None:
    found = compare_slices(*arms(3, lost=0.4), MASKS, margin=0.1)
    assert found.harmed == ("kind=b",)
    assert found.worst is not None
    assert found.worst.slice == "kind=b"
    assert found.worst.high is not None
    assert found.worst.high < -0.1


def test_slices_that_lose_the_margin_and_no_more_raise_no_alarm_by_being_many() -> None:
    # Eight slices of 100 examples, 17 % lost and 7 % gained: each alone is called harmed in 5 % of trials.
    masks = {f"k={k}": np.arange(800) // 100 == k for k in range(8)}
    generator, alarms, naive = np.random.default_rng(4), 0, 0
    for _ in range(150):
        chance = generator.random((1, 800))
        found = compare_slices(
            (chance >= 0.17) * 1.0, 1.0 - ((chance >= 0.17) & (chance < 0.24)), masks, margin=0.1
        )
        alarms += bool(found.harmed)
        naive += any(entry.result is not None and entry.result.answer is Answer.INFERIOR for entry in found.slices)
    assert alarms / 150 <= 0.05 + 3 * (0.05 * 0.95 / 150) ** 0.5
    assert naive / 150 > 0.2


def test_results_render_as_json_and_come_back() -> None:
    found = compare_slices(*arms(3), MASKS, margin=0.1)
    assert type(found).model_validate_json(found.model_dump_json()) == found


def test_the_worst_of_equal_arms_is_as_low_as_chance_makes_it() -> None:
    # P(p <= alpha) <= alpha under the null; checked with a chi-square on thirds over 120 data sets.
    masks = {f"k={k}": np.arange(400) // 50 == k for k in range(8)}
    generator, p_values = np.random.default_rng(6), []
    for _ in range(120):
        ours, theirs = (generator.random((2, 1, 400)) < 0.85).astype(float)
        p_values.append(worst_slice_test(ours, theirs, masks, rng=generator, draws=199).p_value)
    thirds = np.histogram(p_values, bins=[0, 1 / 3, 2 / 3, 1.0001])[0]
    assert scipy_stats.chisquare(thirds).pvalue > 0.001
    assert np.mean(np.array(p_values) <= 0.05) < 0.05 + 3 * (0.05 * 0.95 / 120) ** 0.5


def test_the_lowest_difference_under_the_null_is_its_exact_distribution_on_a_small_case() -> None:
    # Two slices of one discordant example each (both lost) in two examples: the signs give minima -.5, -.5, -.5 and
    # +.5, so P(lowest <= -0.5) = 3/4 and its mean is -0.25.
    ours, theirs = np.array([[0.0, 1.0, 0.0, 1.0]]), np.ones((1, 4))
    masks = {"first": np.array([True, True, False, False]), "second": np.array([False, False, True, True])}
    found = worst_slice_test(ours, theirs, masks, rng=np.random.default_rng(1), draws=20_000)
    assert found.difference == -0.5
    assert found.p_value == pytest.approx(0.75, abs=0.01)
    assert found.expected == pytest.approx(-0.25, abs=0.01)


def test_a_collapsed_slice_is_lower_than_chance() -> None:
    found = worst_slice_test(
        *arms(3, lost=0.2), {k: MASKS[k] for k in list(MASKS)[:2]}, rng=np.random.default_rng(1)
    )
    assert found.slice == "kind=b"
    assert found.p_value < 0.01
    assert found.difference < 3 * found.expected < 0


def test_exchanging_whole_groups_is_more_careful_than_single_examples() -> None:
    generator = np.random.default_rng(9)
    codes = np.repeat(np.arange(40), 10)
    theirs = np.ones((1, 400))
    ours = theirs * np.repeat(generator.random(40) >= 0.08, 10)
    masks = {"all": np.ones(400, dtype=bool)}
    alone = worst_slice_test(ours, theirs, masks, rng=generator).p_value
    together = worst_slice_test(ours, theirs, masks, rng=generator, groups=codes).p_value
    assert alone < 0.01
    assert together > 5 * alone


def test_what_is_no_slice_is_refused() -> None:
    ours, theirs = arms(3)
    rng = np.random.default_rng(1)
    for masks in ({}, {"a": np.ones(5, dtype=bool)}, {"a": np.ones(620)}):
        with pytest.raises(UsageError):
            compare_slices(ours, theirs, masks, margin=0.1)
    with pytest.raises(UsageError):
        worst_slice_test(ours, theirs, {"none": np.zeros(620, dtype=bool)}, rng=rng)
    with pytest.raises(UsageError):
        worst_slice_test(ours, theirs, MASKS, rng=rng, draws=10)
    with pytest.raises(UsageError):
        compare_slices(ours, theirs, MASKS, margin=-0.1)
    with pytest.raises(IntegrityError):
        compare_slices(ours[:, :5], theirs, MASKS, margin=0.1)
    with pytest.raises(IntegrityError, match="seeds"):
        compare_slices(ours[:1], theirs, MASKS, margin=0.1)


def test_a_slice_is_as_large_as_its_groups_are_many() -> None:
    ours, theirs = arms(3)
    groups = np.arange(620) // 10  # 30 groups in each large slice, 29 are needed
    found = compare_slices(ours, theirs, MASKS, margin=0.1, groups=groups)
    assert [entry.assessable for entry in found.slices] == [True, True, False]
    alone = noninferiority(ours[:, :300], theirs[:, :300], margin=0.1, groups=groups[:300])
    assert found.slices[0].result == alone
    rougher = compare_slices(ours, theirs, MASKS, margin=0.1, groups=np.arange(620) // 20)
    assert not any(entry.assessable for entry in rougher.slices)


def test_a_slice_of_one_group_is_never_assessable_however_wide_the_margin() -> None:
    found = compare_slices(*arms(3), MASKS, margin=2.0, groups=KINDS)
    assert found.examples_needed == 1
    assert not any(entry.assessable for entry in found.slices)
