"""Bad input, one law each: an answer that is right by the theory, or an error that says what is missing."""

import numpy as np
import pytest

from rsa_ops.core.estimate import Answer, PairedResult
from rsa_ops.errors import DataRefused, IntegrityError, UsageError
from rsa_ops.stats import (
    Margin,
    aligned,
    any_difference,
    artifact_noninferiority,
    compare_slices,
    noninferiority,
    slices_by,
)

RIGHT = np.ones((3, 200))


def has_a_width(found: PairedResult) -> bool:
    return found.difference is not None and found.difference.high > found.difference.low


def test_nan_is_invalid_and_says_so() -> None:
    broken = RIGHT.copy()
    broken[1, 7] = np.nan
    for found in (
        noninferiority(broken, RIGHT, margin=0.1),
        artifact_noninferiority(broken[1], RIGHT[1], margin=0.1),
    ):
        assert found.answer is Answer.INVALID
        assert "NaN" in found.reason
    with pytest.raises(IntegrityError, match="NaN"):
        any_difference(broken[1], RIGHT[1])
    with pytest.raises(IntegrityError, match="NaN"):
        compare_slices(broken, RIGHT, {"all": np.ones(200, dtype=bool)}, margin=0.1)


def test_different_ids_on_the_two_sides_are_refused_by_name() -> None:
    with pytest.raises(IntegrityError, match="2 examples are only on one side, first 'b'"):
        aligned(["a", "b", "c"], ["a", "c", "d"])


def test_duplicated_ids_are_refused_by_name() -> None:
    with pytest.raises(IntegrityError, match="the baseline has 1 duplicated ids, first 'a'"):
        aligned(["a", "b"], ["a", "b", "a"])


def test_ids_in_another_order_are_put_in_the_same_order() -> None:
    places = aligned(["c", "a", "b"], ["a", "b", "c"])
    assert np.array(["a", "b", "c"])[places].tolist() == ["c", "a", "b"]


def test_one_seed_cannot_speak_of_a_method_and_is_told_what_it_can_do() -> None:
    found = noninferiority(RIGHT[:1], RIGHT, margin=0.1)
    assert found.answer is Answer.INVALID
    assert "artifact_noninferiority" in found.reason


@pytest.mark.parametrize("right", [0.0, 1.0])
def test_zero_discordant_pairs_still_leave_open_what_they_leave_open(right: float) -> None:
    rows = RIGHT * right
    found = [
        artifact_noninferiority(rows[0], rows[0], margin=0.1),
        noninferiority(rows, rows, margin=0.1),
        noninferiority(rows, rows, margin=0.001),
    ]
    assert all(has_a_width(each) for each in found)
    assert [each.answer for each in found] == [Answer.NON_INFERIOR, Answer.NON_INFERIOR, Answer.INCONCLUSIVE]
    assert found[2].more_examples is not None
    assert any_difference(rows[0], rows[0]).p_value == 1.0


def test_all_wrong_against_all_right_is_inferior_with_a_width() -> None:
    for found in (
        noninferiority(0 * RIGHT, RIGHT, margin=0.1),
        artifact_noninferiority(0 * RIGHT[0], RIGHT[0], margin=0.1),
    ):
        assert found.answer is Answer.INFERIOR
        assert has_a_width(found)
        assert found.p_noninferior is not None
        assert found.p_noninferior > 0.95


def test_all_wrong_on_both_sides_differ_in_nothing_and_have_a_width() -> None:
    found = noninferiority(0 * RIGHT, 0 * RIGHT, margin=0.1)
    assert has_a_width(found)
    assert found.answer is Answer.NON_INFERIOR


@pytest.mark.parametrize("margin", [0.0, -0.01, Margin(loss=-0.01), Margin.relative(0.0, of=0.9)])
def test_a_margin_of_zero_or_of_the_wrong_sign_is_invalid(margin: float | Margin) -> None:
    for found in (
        noninferiority(RIGHT, RIGHT, margin=margin),
        artifact_noninferiority(RIGHT[0], RIGHT[0], margin=margin),
    ):
        assert found.answer is Answer.INVALID
        assert "margin must be above zero" in found.reason


def test_a_slice_column_with_nulls_is_refused_and_counted() -> None:
    with pytest.raises(DataRefused, match="2 of 4 examples have no value of language, first example 1"):
        slices_by(["en", None, "ja", float("nan")], "language")


def test_a_column_without_nulls_gives_one_mask_a_value() -> None:
    found = slices_by(["en", "ja", "en"], "language")
    assert {name: mask.tolist() for name, mask in found.items()} == {
        "language=en": [True, False, True],
        "language=ja": [False, True, False],
    }


def test_labels_of_another_length_are_refused() -> None:
    with pytest.raises(UsageError, match="one group for each of 200"):
        noninferiority(RIGHT, RIGHT, margin=0.1, groups=[1, 2, 3])


def test_an_interval_never_leaves_the_scale_of_right_and_wrong_where_it_was_inverted() -> None:
    rng = np.random.default_rng(0)
    for lost in (0.9, 0.97):
        ours = (rng.random((4, 60)) > lost).astype(float)
        found = noninferiority(ours, np.ones((4, 60)), margin=0.1)
        assert found.difference is not None
        assert found.difference.low >= -1


def test_a_margin_above_the_whole_scale_is_held_by_anything() -> None:
    found = artifact_noninferiority(0 * RIGHT[0], RIGHT[0], margin=1.5)
    assert found.answer is Answer.NON_INFERIOR
    assert found.p_noninferior == 0.0
