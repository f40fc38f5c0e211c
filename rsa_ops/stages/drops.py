"""Local collapse: the worst-slice drop of every arm against full fine-tuning and against the untrained base."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rsa_ops.core.comparison import WorstSliceDrop
from rsa_ops.evaluation.matrix import require_same_examples
from rsa_ops.stages.arm_rows import ArmRows, slices_of

BASE = "base model"
"""How the untrained base is called among the references."""

NO_FULL_ARM = "no arm of this run trains every parameter"
NO_BASE_HEAD = "the base model has no head for these classes, so it cannot do the task untrained"
NO_BASE_SCORES = "the untrained base model was not scored"
TOO_SMALL = "no slice is large enough to be judged"

Reference = ArmRows | str
"""What an arm is held against: rows of scores, or why there are none."""


def worst_slice_drops(
    arms: Sequence[ArmRows], references: Mapping[str, Reference], large_enough: Mapping[str, bool]
) -> tuple[WorstSliceDrop, ...]:
    """One entry for each arm and reference; an arm is not held against itself.

    Args:
        arms: the arms of the comparison, on the same examples.
        references: name -> rows on the same examples, or why there is nothing to hold against.
        large_enough: slice -> whether it can be judged.

    Raises:
        IntegrityError: a reference was scored on other examples.
    """
    return tuple(
        _drop(arm, name, reference, large_enough)
        for name, reference in references.items()
        for arm in arms
        if arm is not reference
    )


def _drop(arm: ArmRows, name: str, reference: Reference, large_enough: Mapping[str, bool]) -> WorstSliceDrop:
    if isinstance(reference, str):
        return _unknown(arm, name, reference)
    require_same_examples([(arm.arm, arm.matrix("score")), (name, reference.matrix("score"))])
    differences = {
        slice_name: float(arm.only(examples)["score"].mean() - reference.only(examples)["score"].mean())
        for slice_name, examples in slices_of(arm).items()
        if large_enough[slice_name]
    }
    if not differences:
        return _unknown(arm, name, TOO_SMALL)
    worst = min(differences, key=lambda slice_name: differences[slice_name])
    return WorstSliceDrop(
        arm=arm.arm,
        reference=name,
        slice=worst,
        difference=differences[worst],
        slices_judged=len(differences),
    )


def _unknown(arm: ArmRows, name: str, reason: str) -> WorstSliceDrop:
    return WorstSliceDrop(arm=arm.arm, reference=name, slice=None, difference=None, slices_judged=0, reason=reason)
