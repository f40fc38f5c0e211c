"""The worst-slice drop: the lowest difference over the slices that can be judged, or why there is none."""

from __future__ import annotations

import pandas as pd
import pytest

from rsa_ops.core.digest import digest_bytes
from rsa_ops.errors import IntegrityError
from rsa_ops.stages.arm_rows import ArmRows, slices_of
from rsa_ops.stages.drops import NO_BASE_HEAD, TOO_SMALL, worst_slice_drops

SLICES = ("a", "a", "b", "b", "b", "c")
LARGE = {"kind=a": True, "kind=b": True, "kind=c": False}


def arm(name: str, *scores: tuple[float, ...], examples: str = "123456") -> ArmRows:
    """One arm; a tuple of six scores for each seed."""
    rows = [
        {"example_id": example, "seed": seed, "score": score, "condition": "clean", "slice_kind": kind}
        for seed, values in enumerate(scores)
        for example, score, kind in zip(examples, values, SLICES, strict=True)
    ]
    noise = [{**row, "condition": "typos", "score": 0.0} for row in rows]
    return ArmRows(name, pd.DataFrame(rows + noise), (digest_bytes(name.encode()),), {}, ())


FULL = arm("full", (1, 1, 1, 1, 1, 1), (1, 0, 1, 1, 1, 1))
OURS = arm("rsa", (1, 1, 0, 1, 1, 0), (1, 1, 1, 0, 1, 0))


def test_it_is_the_lowest_difference_of_means_over_seeds_and_names_its_slice() -> None:
    (drop,) = worst_slice_drops([OURS, FULL], {"full": FULL}, LARGE)
    assert (drop.arm, drop.reference, drop.slice, drop.slices_judged) == ("rsa", "full", "kind=b", 2)
    assert drop.difference == pytest.approx(4 / 6 - 1)  # kind=a: +0.25; kind=c, -1, is too small to be judged


def test_an_arm_equal_to_its_reference_has_no_drop() -> None:
    twin = ArmRows("twin", FULL.rows, FULL.digests, {}, ())
    (drop,) = worst_slice_drops([twin], {"full": FULL}, LARGE)
    assert drop.difference == 0


def test_a_reference_with_one_seed_serves_arms_of_several() -> None:
    base = arm("base", (0, 0, 0.5, 0.5, 0.5, 1))
    drops = worst_slice_drops([OURS, FULL], {"base model": base}, LARGE)
    assert [(drop.arm, drop.slice) for drop in drops] == [("rsa", "kind=b"), ("full", "kind=b")]
    assert drops[0].difference == pytest.approx(4 / 6 - 0.5)


def test_what_cannot_be_said_says_why() -> None:
    first, second = worst_slice_drops(
        [OURS], {"base model": NO_BASE_HEAD, "full": FULL}, dict.fromkeys(LARGE, False)
    )
    assert (first.slice, first.difference, first.reason) == (None, None, NO_BASE_HEAD)
    assert (second.difference, second.reason) == (None, TOO_SMALL)


def test_a_reference_on_other_examples_is_refused() -> None:
    other = arm("full", (1, 1, 1, 1, 1, 1), examples="123457")
    with pytest.raises(IntegrityError, match="different examples"):
        worst_slice_drops([OURS], {"full": other}, LARGE)


def test_classes_are_slices_where_labels_have_confidences() -> None:
    rows = OURS.rows.assign(label=list("xxyyzz") * 4, confidence=0.5)
    found = slices_of(ArmRows("rsa", rows, OURS.digests, {}, ()))
    assert found["class=y"] == {"3", "4"}
    assert "class=x" not in slices_of(OURS)
