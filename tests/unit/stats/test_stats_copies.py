"""Ten copies of an example are one draw: said so, intervals stay as wide; unsaid, their variance falls tenfold.

Expected values: a sample variance with G - 1 knows nothing of copies within groups, so the widths agree but for the
degrees of freedom (none lost: the groups are as many as the examples were); n copies divide a variance by n.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from rsa_ops.core.estimate import Estimate
from rsa_ops.stats import (
    ArmMetric,
    artifact_noninferiority,
    bootstrap_difference,
    bootstrap_metric,
    grouped,
    macro_f1,
    mean_estimate,
    noninferiority,
)

EXAMPLES, COPIES = 300, 10
GROUPS = np.repeat(np.arange(EXAMPLES), COPIES)


def scores(seeds: int, *, binary: bool) -> tuple[np.ndarray, np.ndarray]:
    """All seeds of an arm agree: what seeds add to the variance would not fall with more examples."""
    rng = np.random.default_rng(5)
    theirs = np.tile(rng.random(EXAMPLES) < 0.85, (seeds, 1)).astype(float)
    ours = np.where(rng.random(EXAMPLES) < 0.08, 1 - theirs, theirs)
    if not binary:
        ours, theirs = ours + rng.normal(0, 0.3, EXAMPLES), theirs + rng.normal(0, 0.3, EXAMPLES)
    return ours, theirs


def classes(table: np.ndarray) -> ArmMetric:
    labels = np.arange(table.shape[1]) // (table.shape[1] // 3)
    return macro_f1(labels, np.where(table > 0, labels, (labels + 1) % 3), 3)


def f1_difference(ours: np.ndarray, theirs: np.ndarray, groups: np.ndarray | None) -> Estimate | None:
    arms = [classes(side) if groups is None else grouped(classes(side), groups) for side in (ours, theirs)]
    return bootstrap_difference(*arms, margin=0.1, rng=np.random.default_rng(2)).difference


Ask = Callable[[np.ndarray, np.ndarray, np.ndarray | None], Estimate | None]
QUESTIONS: dict[str, tuple[int, bool, Ask]] = {
    "artifact, right or wrong": (
        1,
        True,
        lambda a, b, groups: artifact_noninferiority(a[0], b[0], margin=0.1, groups=groups).difference,
    ),
    "artifact, other scores": (
        1,
        False,
        lambda a, b, groups: artifact_noninferiority(a[0], b[0], margin=0.1, groups=groups).difference,
    ),
    "method, right or wrong": (3, True, lambda a, b, g: noninferiority(a, b, margin=0.1, groups=g).difference),
    "method, other scores": (3, False, lambda a, b, g: noninferiority(a, b, margin=0.1, groups=g).difference),
    "mean of one arm": (3, True, lambda a, b, groups: mean_estimate(a, groups=groups)),
    "macro-F1 by bootstrap": (3, True, f1_difference),
}


@pytest.mark.parametrize("name", QUESTIONS)
def test_ten_copies_under_one_group_are_one_draw_and_ten_draws_without(name: str) -> None:
    seeds, binary, ask = QUESTIONS[name]
    ours, theirs = scores(seeds, binary=binary)
    once = ask(ours, theirs, None)
    copied = [np.repeat(side, COPIES, axis=1) for side in (ours, theirs)]
    together, apart = ask(*copied, GROUPS), ask(*copied, None)
    assert once is not None
    assert together is not None
    assert apart is not None
    assert together.value == pytest.approx(once.value)
    assert f", {EXAMPLES} groups" in together.method
    assert "groups" not in apart.method
    before, kept, lost = (found.high - found.low for found in (once, together, apart))
    assert kept == pytest.approx(before, rel=0.10)
    assert (lost / before) ** 2 == pytest.approx(1 / COPIES, rel=0.35)


def test_a_metric_by_bootstrap_needs_two_groups_for_a_claim() -> None:
    ours, theirs = scores(3, binary=True)
    one = [grouped(classes(side), np.zeros(EXAMPLES, dtype=int)) for side in (ours, theirs)]
    found = bootstrap_difference(*one, margin=0.1, rng=np.random.default_rng(2))
    assert (found.answer.value, found.difference) == ("invalid", None)
    assert found.reason.startswith("1 group: ")


def test_the_metric_of_one_arm_says_by_how_many_groups_it_was_drawn() -> None:
    ours, _ = scores(3, binary=True)
    arm = classes(np.repeat(ours, COPIES, axis=1))
    found = bootstrap_metric(grouped(arm, GROUPS), rng=np.random.default_rng(2))
    assert found.method.endswith(f", {EXAMPLES} groups")
    assert "groups" not in bootstrap_metric(arm, rng=np.random.default_rng(2)).method
