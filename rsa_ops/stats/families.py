"""Many claims at once: slices that all must pass, slices of which none may be harmed, and the worst of them.

Ship when all pass: an intersection-union test, each claim at the full alpha (Berger 1982, Technometrics 24:295);
what pays is the power, so each claim needs more of it (`PlanGoal.power_each`). Stop when any is harmed: a
union-intersection test, which needs a correction (Holm 1979, Scand J Stat 6:65). The worst of many noisy
differences is low also where nothing is wrong, so it is held against its own law, with the arms' labels exchanged
within examples.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rsa_ops.core.estimate import Answer, PairedResult
from rsa_ops.core.family import holm
from rsa_ops.core.margin import Margin
from rsa_ops.core.slices import SliceDifference, SlicesResult, WorstSlice
from rsa_ops.errors import IntegrityError, UsageError
from rsa_ops.stats.artifact import artifact_noninferiority
from rsa_ops.stats.crossed import noninferiority
from rsa_ops.stats.harm import harm_p_value
from rsa_ops.stats.inputs import Codes, Sampling, Scores, all_finite, as_table, labels_of, right_or_wrong, sampling
from rsa_ops.stats.judge import loss_of
from rsa_ops.stats.slices import examples_needed_for_margin

Masks = Mapping[str, NDArray[np.bool_]]
"""slice name -> which examples it holds, [examples]; slices of several columns may overlap."""

BLOCK = 2**22


def slices_by(values: ArrayLike, column: str) -> dict[str, NDArray[np.bool_]]:
    """One slice `column=value` for each value of `values` [examples].

    Raises:
        DataRefused: an example without a value; none is dropped unseen. UsageError: no column of values.
    """
    codes, names = labels_of(values, len(np.asarray(values)), f"value of {column}")
    return {f"{column}={name}": codes == code for code, name in enumerate(names)}


def compare_slices(
    candidate: ArrayLike,
    baseline: ArrayLike,
    slices: Masks,
    *,
    margin: float | Margin,
    alpha: float = 0.05,
    paired_seeds: bool = False,
    groups: ArrayLike | None = None,
) -> SlicesResult:
    """Is a slice worse by more than `margin`: each for itself, and all at once?

    All pass: intersection-union (Berger 1982, Technometrics 24:295). Any harmed: Holm (1979, Scand J Stat 6:65).
    Bounds for all at once: Bonferroni.
    Many slices ask for levels far below alpha; there right-or-wrong scores of two artifacts are judged by the
    chance of their table and not by the normal limit (`harm_p_value`).

    Args:
        candidate: scores [seeds, examples], higher is better; one seed on both sides asks about two artifacts.
        baseline: scores [seeds, examples] of the same examples in the same order.
        slices: which examples each slice holds.
        margin: the loss one is ready to accept in each slice, > 0.
        alpha: one-sided level, in (0, 0.5).
        paired_seeds: row s of both arms shares its randomness.
        groups: a label [examples] where examples come in groups that are drawn together; a slice is then as large
            as its groups are many.

    Raises:
        UsageError: no slices, masks of another length, a margin that is not above zero, bad scores or alpha.
        IntegrityError: a score is NaN or infinite, or there are other examples or too few seeds on one side.
        DataRefused: an example without a group.
    """
    ours, theirs, loss = as_table(candidate), as_table(baseline), loss_of(margin)
    _require_masks(slices, ours, theirs)
    needed = examples_needed_for_margin(loss, alpha)
    how = sampling(ours.shape[1], groups)
    large = {name: mask for name, mask in slices.items() if _draws(how, mask) >= max(2, needed)}

    def ask(mask: NDArray[np.bool_], level: float) -> PairedResult:
        terms = _Terms(loss, level, paired_seeds, None if how.codes is None else how.codes[mask])
        return _ask(ours[:, mask], theirs[:, mask], terms)

    alone = {name: ask(mask, alpha) for name, mask in large.items()}
    at_once = {name: ask(mask, alpha / len(large)) for name, mask in large.items()}
    tables = how.codes is None and len(ours) == len(theirs) == 1 and loss < 1
    counted = tables and right_or_wrong(ours) and right_or_wrong(theirs)
    harms = [
        _counted(ours[0, large[name]], theirs[0, large[name]], loss) if counted else 1 - _p(found)
        for name, found in alone.items()
    ]
    harm = dict(zip(alone, holm(harms), strict=True))
    entries = tuple(
        _entry(name, int(mask.sum()), alone.get(name), at_once.get(name), harm.get(name))
        for name, mask in slices.items()
    )
    return SlicesResult(margin=loss, alpha=alpha, examples_needed=needed, slices=entries)


def _entry(
    name: str, examples: int, alone: PairedResult | None, at_once: PairedResult | None, harm: float | None
) -> SliceDifference:
    """One slice, with its bounds of `at_once`; all three are None where it is not assessable."""
    span = at_once.difference if at_once is not None else None
    return SliceDifference(
        slice=name,
        examples=examples,
        assessable=alone is not None,
        result=alone,
        low=span.low if span else None,
        high=span.high if span else None,
        p_harmed=harm,
    )


def worst_slice_test(
    candidate: ArrayLike,
    baseline: ArrayLike,
    slices: Masks,
    *,
    rng: np.random.Generator,
    draws: int = 2000,
    groups: ArrayLike | None = None,
) -> WorstSlice:
    """Is the lowest difference over `slices` lower than chance makes it where both sides are the same?

    The labels of the two sides are exchanged within each example (within each group), all seeds of an example
    together: under "no difference anywhere" every such exchange is as likely as what was seen (Fisher 1935; the
    p-value (1 + as low) / (1 + draws) of Phipson and Smyth 2010, Stat Appl Genet Mol Biol 9:39). The seeds stay as
    they are: the claim is about these trained models. A slice of a handful of examples wins every time, so leave
    those out that are not assessable.

    Raises:
        UsageError: no slices or empty ones, masks of another length, fewer than 100 draws.
        IntegrityError: a score is NaN or infinite. DataRefused: an example without a group.
    """
    ours, theirs = as_table(candidate), as_table(baseline)
    _require_masks(slices, ours, theirs)
    if draws < 100 or not all(mask.any() for mask in slices.values()):
        raise UsageError(f"expected 100 draws or more and no empty slice, found {draws} draws")
    each = ours.mean(axis=0) - theirs.mean(axis=0)
    how = sampling(len(each), groups)
    sums = np.stack([how.sums(each * mask) for mask in slices.values()])
    sizes = np.array([int(mask.sum()) for mask in slices.values()])
    moving = sums[:, sums.any(axis=0)]
    seen = sums.sum(axis=1) / sizes
    lowest = np.concatenate(_lowest(moving, sizes, draws, rng))
    place = int(seen.argmin())
    return WorstSlice(
        slice=list(slices)[place],
        difference=float(seen[place]),
        expected=float(lowest.mean()),
        p_value=(1 + int((lowest <= seen[place] + 1e-12).sum())) / (draws + 1),
        slices=len(sizes),
        draws=draws,
    )


def _lowest(moving: Scores, sizes: NDArray[np.intp], draws: int, rng: np.random.Generator) -> list[Scores]:
    """The lowest slice mean of each draw of signs, in blocks."""
    block = max(1, BLOCK // max(moving.shape[1], 1))
    found = []
    for start in range(0, draws, block):
        count = min(block, draws - start)
        signs = rng.integers(2, size=(count, moving.shape[1])) * 2.0 - 1
        found.append(((signs @ moving.T) / sizes).min(axis=1))
    return found


def _require_masks(slices: Masks, ours: Scores, theirs: Scores) -> None:
    if not slices:
        raise UsageError("no slices were given")
    if ours.shape[1] != theirs.shape[1]:
        raise IntegrityError(f"{ours.shape[1]} examples on one side and {theirs.shape[1]} on the other")
    for name, mask in slices.items():
        if mask.shape != (ours.shape[1],) or mask.dtype != np.bool_:
            raise UsageError(f"slice {name} is no mask over {ours.shape[1]} examples: {mask.dtype}, {mask.shape}")
    if not (all_finite(ours) and all_finite(theirs)):
        raise IntegrityError("a score is NaN or infinite", hint="Missing is never a number: find the cell.")


class _Terms(NamedTuple):
    """How one slice is judged; `groups` of its examples, or None."""

    margin: float
    alpha: float
    paired_seeds: bool
    groups: Codes | None


def _ask(ours: Scores, theirs: Scores, terms: _Terms) -> PairedResult:
    """One slice alone: two artifacts where there is one seed on both sides, else two methods."""
    margin, alpha, paired, groups = terms
    if len(ours) == len(theirs) == 1:
        found = artifact_noninferiority(ours[0], theirs[0], margin=margin, alpha=alpha, groups=groups)
    else:
        found = noninferiority(ours, theirs, margin=margin, alpha=alpha, paired_seeds=paired, groups=groups)
    if found.answer is Answer.INVALID:
        raise IntegrityError(f"the slices cannot be compared: {found.reason}")
    return found


def _draws(how: Sampling, mask: NDArray[np.bool_]) -> int:
    """How many independent draws a slice holds: its groups, or its examples."""
    return int(mask.sum()) if how.codes is None else len(np.unique(how.codes[mask]))


def _counted(ours: Scores, theirs: Scores, margin: float) -> float:
    return harm_p_value(int((ours > theirs).sum()), int((ours < theirs).sum()), len(ours), margin=margin)


def _p(found: PairedResult) -> float:
    return 1.0 if found.p_noninferior is None else found.p_noninferior
