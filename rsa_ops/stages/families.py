"""The slices of a comparison read as one family: which are harmed, and whether the worst is more than chance."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from rsa_ops.core.comparison import SliceFamily
from rsa_ops.evaluation.matrix import Matrix
from rsa_ops.stages.arm_rows import ArmRows, slices_of
from rsa_ops.stats import compare_slices, worst_slice_test

DRAWS = 2000
SEED = 20261126


def slice_families(
    candidate: ArmRows, baselines: Iterable[ArmRows], margins: Mapping[str, float], metric: str, alpha: float
) -> tuple[SliceFamily, ...]:
    """One family a baseline on the primary metric; none where there are no slices, or one seed on a side.

    Args:
        candidate: on the same examples as the baselines.
        baselines: in the order of the result.
        margins: of a slice, by baseline.
        metric: the primary metric, whose column is `score`.
        alpha: one-sided, of the whole family.
    """
    ours = candidate.matrix("score")
    masks = {name: np.isin(ours.examples, list(examples)) for name, examples in slices_of(candidate).items()}
    if not masks or len(ours.seeds) < 2:
        return ()
    sides = [(arm, arm.matrix("score")) for arm in baselines]
    return tuple(
        _family(metric, arm.arm, (ours, theirs), masks, (margins[arm.arm], alpha))
        for arm, theirs in sides
        if len(theirs.seeds) > 1
    )


def _family(
    metric: str,
    baseline: str,
    sides: tuple[Matrix, Matrix],
    masks: Mapping[str, NDArray[np.bool_]],
    terms: tuple[float, float],
) -> SliceFamily:
    ours, theirs = (side.values for side in sides)
    groups = sides[0].groups
    found = compare_slices(ours, theirs, masks, margin=terms[0], alpha=terms[1], groups=groups)
    judged = {entry.slice: masks[entry.slice] for entry in found.judged}
    rng = np.random.default_rng(SEED)
    worst = worst_slice_test(ours, theirs, judged, rng=rng, draws=DRAWS, groups=groups) if judged else None
    return SliceFamily(metric=metric, baseline=baseline, result=found, worst=worst)
