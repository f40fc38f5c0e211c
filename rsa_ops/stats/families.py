"""Many claims at once: slices that all must pass, slices of which none may be harmed, and the worst of them.

Ship when all pass: an intersection-union test, each claim at the full alpha (Berger 1982, Technometrics 24:295);
what pays is the power, so each claim needs more of it (`power_of_each`). Stop when any is harmed: a
union-intersection test, which needs a correction (Holm 1979, Scand J Stat 6:65). The worst of many noisy
differences is low also where nothing is wrong, so it is held against its own law, with the arms' labels exchanged
within examples.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rsa_ops.core.estimate import Answer, PairedResult
from rsa_ops.core.family import holm
from rsa_ops.core.margin import Margin
from rsa_ops.core.record import Value
from rsa_ops.errors import IntegrityError, UsageError
from rsa_ops.stats.artifact import artifact_noninferiority
from rsa_ops.stats.crossed import noninferiority
from rsa_ops.stats.inputs import Scores, all_finite, as_table, labels_of, sampling
from rsa_ops.stats.judge import loss_of
from rsa_ops.stats.slices import assessable, examples_needed_for_margin

Masks = Mapping[str, NDArray[np.bool_]]
"""slice name -> which examples it holds, [examples]; slices of several columns may overlap."""

BLOCK = 2**22


class SliceDifference(Value):
    """One slice. `result`, `low`, `high`, `p_harmed` are None where it is not assessable; that is never a pass.

    `result` is the slice alone at alpha, for "all must pass". `low` and `high` hold for all assessable slices at
    once (Bonferroni). `p_harmed` is adjusted after Holm: below alpha the slice is surely worse than the margin.
    """

    slice: str
    examples: int
    assessable: bool
    result: PairedResult | None = None
    low: float | None = None
    high: float | None = None
    p_harmed: float | None = None


class SlicesResult(Value):
    """All slices of one comparison at one margin."""

    margin: float
    alpha: float
    examples_needed: int
    slices: tuple[SliceDifference, ...]

    @property
    def judged(self) -> tuple[SliceDifference, ...]:
        """The slices that are large enough."""
        return tuple(entry for entry in self.slices if entry.assessable)

    @property
    def all_pass(self) -> bool:
        """Whether every slice, none left out as too small, is not worse by more than the margin."""
        passing = (Answer.NON_INFERIOR, Answer.SUPERIOR)
        return bool(self.slices) and all(
            entry.result is not None and entry.result.answer in passing for entry in self.slices
        )

    @property
    def harmed(self) -> tuple[str, ...]:
        """Slices surely worse by more than the margin, with at most alpha for one false name among them all."""
        return tuple(
            entry.slice for entry in self.slices if entry.p_harmed is not None and entry.p_harmed < self.alpha
        )

    @property
    def worst(self) -> SliceDifference | None:
        """The assessable slice with the lowest difference; its `low` and `high` allow for having been picked."""
        return min(self.judged, key=_difference_of, default=None)


class WorstSlice(Value):
    """The lowest difference over the slices, and how often chance alone would give one as low.

    `expected` is the mean of that lowest difference where both arms are the same.
    """

    slice: str
    difference: float
    expected: float
    p_value: float
    slices: int
    draws: int


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
) -> SlicesResult:
    """Is a slice worse by more than `margin`: each for itself, and all at once?

    Many slices ask for levels far below alpha, where slices of some hundred right-or-wrong examples are called
    harmed a little too often (`slices` in benchmarks/results/stats_offline.json).

    Args:
        candidate: scores [seeds, examples], higher is better; one seed on both sides asks about two artifacts.
        baseline: scores [seeds, examples] of the same examples in the same order.
        slices: which examples each slice holds.
        margin: the loss one is ready to accept in each slice, > 0.
        alpha: one-sided level, in (0, 0.5).
        paired_seeds: row s of both arms shares its randomness.

    Raises:
        UsageError: no slices, masks of another length, a margin that is not above zero, bad scores or alpha.
        IntegrityError: a score is NaN or infinite, or there are other examples or too few seeds on one side.
    """
    ours, theirs, loss = as_table(candidate), as_table(baseline), loss_of(margin)
    _require_masks(slices, ours, theirs)
    needed = examples_needed_for_margin(loss, alpha)
    large = {name: mask for name, mask in slices.items() if assessable(int(mask.sum()), loss, alpha)}

    def ask(mask: NDArray[np.bool_], level: float) -> PairedResult:
        first, second = ours[:, mask], theirs[:, mask]
        if len(ours) == len(theirs) == 1:
            found = artifact_noninferiority(first[0], second[0], margin=loss, alpha=level)
        else:
            found = noninferiority(first, second, margin=loss, alpha=level, paired_seeds=paired_seeds)
        if found.answer is Answer.INVALID:
            raise IntegrityError(f"the slices cannot be compared: {found.reason}")
        return found

    alone = {name: ask(mask, alpha) for name, mask in large.items()}
    at_once = {name: ask(mask, alpha / len(large)) for name, mask in large.items()}
    harm = dict(zip(alone, holm([1 - _p(found) for found in alone.values()]), strict=True))
    entries = []
    for name, mask in slices.items():
        span = at_once[name].difference if name in large else None
        entries.append(
            SliceDifference(
                slice=name,
                examples=int(mask.sum()),
                assessable=name in large,
                result=alone.get(name),
                low=None if span is None else span.low,
                high=None if span is None else span.high,
                p_harmed=harm.get(name),
            )
        )
    return SlicesResult(margin=loss, alpha=alpha, examples_needed=needed, slices=tuple(entries))


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


def power_of_each(power: float, claims: int) -> float:
    """What power each of `claims` needs so that all pass with `power` or more, whatever their dependence.

    Bonferroni on the misses, 1 - (1 - power) / claims, as for guardrail metrics (Schultzberg, Ankargren and
    Frånberg 2024, arXiv 2402.11609).

    Raises:
        UsageError: power outside (0, 1) or no claims.
    """
    if not 0 < power < 1 or claims < 1:
        raise UsageError(f"expected 0 < power < 1 and claims >= 1, found {power} and {claims}")
    return 1 - (1 - power) / claims


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


def _difference_of(entry: SliceDifference) -> float:
    found = entry.result.difference if entry.result is not None else None
    return found.value if found is not None else float("inf")


def _p(found: PairedResult) -> float:
    return 1.0 if found.p_noninferior is None else found.p_noninferior
