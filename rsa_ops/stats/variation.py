"""What a pilot says about how much two arms vary, so that the next comparison can be planned from it.

Estimators: those of `spread` (two-way random effects without replication). A handful of pilot seeds knows its SD
badly, so it comes with an upper bound: 80 % one-sided, by the chi-square of the seed means (Browne 1995, Stat Med
14:1933, who finds that planning with it keeps the promised power in four pilots of five).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from rsa_ops.core.comparison import ALL, Comparison, Contrast
from rsa_ops.core.estimate import PairedResult
from rsa_ops.core.plan import Variation
from rsa_ops.errors import UsageError
from rsa_ops.stats.inputs import Sampling, Scores, all_finite, as_table, right_or_wrong, sampling
from rsa_ops.stats.moments import difference_moments
from rsa_ops.stats.spread import Spread

CONFIDENCE = 0.8


def measure_variation(
    candidate: ArrayLike, baseline: ArrayLike, *, source: str = "pilot", groups: ArrayLike | None = None
) -> Variation | None:
    """The variation of two arms from their scores [seeds, examples] on the same examples in the same order.

    With one seed on a side the seeds are unknown (`seed_sd` None) and everything counts as repeatable. `groups`
    [examples]: labels of examples that are drawn together; their ICC is what makes the design effect the ratio of
    the variances with and without them, at least 0 (Kish 1965, section 5.4). Estimators of Searle, Casella and
    McCulloch (1992, ch. 4), upper bound of Browne (1995).

    Returns:
        None where no example differs between the arms: nothing can be planned from that.

    Raises:
        UsageError: no two tables of finite numbers with the same 2 or more examples.
        DataRefused: an example without a group.
    """
    ours, theirs = as_table(candidate), as_table(baseline)
    same = ours.shape[1] == theirs.shape[1] and ours.shape[1] >= 2 and len(ours) and len(theirs)
    if not (same and all_finite(ours) and all_finite(theirs)):
        raise UsageError(f"expected finite scores of the same examples, found {ours.shape} and {theirs.shape}")
    seeds = min(len(ours), len(theirs))
    first, second = (ours, theirs) if seeds > 1 else (ours.mean(axis=0)[None], theirs.mean(axis=0)[None])
    how = Sampling(ours.shape[1])
    found = difference_moments(first, second, how, reach=1.0, paired=False, binary=False).spread
    residual = sum(arm.residual for arm in found.arms)
    persistent = max(0.0, found.square - sum(arm.residual / arm.seeds for arm in found.arms))
    discordance = _discordance(ours, theirs) if right_or_wrong(ours) and right_or_wrong(theirs) else None
    if persistent + residual == 0 or discordance == 0:
        return None
    grouping = sampling(ours.shape[1], groups)
    clustered = difference_moments(first, second, grouping, reach=1.0, paired=False, binary=False).spread
    point, high = _seed_sds(clustered) if found.arms else (None, None)
    size, unequal, icc = _grouped(grouping, clustered.square / found.square if found.square > 0 else 1.0)
    return Variation(
        discordance=discordance,
        example_sd=math.sqrt(persistent + residual) if discordance is None else None,
        repeatable=persistent / (persistent + residual),
        seed_sd=point,
        seed_sd_high=high,
        group_size=size,
        group_size_cv=unequal,
        icc=icc,
        source=source,
    )


def _grouped(how: Sampling, effect: float) -> tuple[float | None, float, float | None]:
    """Mean size of the groups, their CV, and the ICC that gives this design effect."""
    if how.codes is None:
        return None, 0.0, None
    sizes = how.sums(np.ones(how.examples))
    met = float((sizes**2).sum()) / how.examples  # size of the group in which a random example finds itself
    icc = min(max((effect - 1) / (met - 1), 0.0), 1.0) if met > 1 else 0.0
    return float(sizes.mean()), float(sizes.std() / sizes.mean()), icc


def _discordance(ours: Scores, theirs: Scores) -> float:
    """Mean over all pairs of seeds of the share of examples that exactly one of the two has right."""
    p, q = ours.mean(axis=0), theirs.mean(axis=0)
    return float((p * (1 - q) + q * (1 - p)).mean())


def _seed_sds(found: Spread) -> tuple[float, float]:
    """Of the seeds of both arms: the estimate of their SD, and its upper bound."""
    freedom = sum(arm.seeds - 1 for arm in found.arms)
    square = sum((arm.seeds - 1) * arm.square for arm in found.arms) / freedom
    residual = sum((arm.seeds - 1) * arm.residual for arm in found.arms) / freedom / found.examples
    return math.sqrt(max(0.0, square - residual)), _upper(square, residual, freedom)


def _upper(square: float, residual: float, freedom: int) -> float:
    """Upper bound of the seed SD: that of the mean square, less the residual's part, which is well known."""
    from scipy.special import chdtri

    bound = square * freedom / float(chdtri(freedom, CONFIDENCE))
    return math.sqrt(max(0.0, square - residual, bound - residual))


def pilot_variation(comparison: Comparison, *, metric: str | None = None, against: str | None = None) -> Variation:
    """The variation that a `comparison.json` holds, on all examples.

    Args:
        comparison: the pilot.
        metric: default the primary metric of the pilot.
        against: the baseline; default the first.

    Raises:
        UsageError: there is no such contrast, it is invalid, or nothing differs in it.
    """
    contrast = comparison.contrast(metric or comparison.primary_metric, against or comparison.baselines[0], ALL)
    if contrast is None:
        known = "; ".join(entry.name for entry in comparison.contrasts if entry.population == ALL)
        raise UsageError(
            f"the pilot has no such comparison; it has: {known}", hint="Choose --metric and --against."
        )
    found = contrast.variation or from_result(contrast.result, source="pilot")
    if found is None:
        raise UsageError(
            f"nothing can be planned from the pilot's {contrast.name}: {contrast.result.answer.value}, "
            "or no example differs between the arms",
            hint="Give --discordance and --seed-sd instead.",
        )
    return found.model_copy(update={"source": _source(contrast)})


def _source(contrast: Contrast) -> str:
    found = contrast.result.difference
    size = f", {found.seeds} seeds x {found.examples} examples" if found is not None else ""
    return f"pilot: {contrast.name}{size}"


def from_result(result: PairedResult, *, source: str = "pilot") -> Variation | None:
    """The variation that an estimate alone holds, for metrics that are no mean over examples; None where none.

    SE^2 = V / n + seeds / S splits by the recorded share. V holds the residual of the pilot's seeds, which cannot
    be told from what persists; so all of it counts as repeatable, and in the bound of the seed SD all as residual.
    Both ask for more rather than less, as long as the plan has at least the pilot's seeds.
    """
    found = result.difference
    if found is None or not found.standard_error:
        return None
    share = result.variance_share_seeds
    square = found.standard_error**2
    items = square * (1 - (share or 0.0))
    if items == 0:
        return None
    point = high = None
    if share is not None and found.seeds > 1:
        variance, residual = square * share * found.seeds / 2, items * found.seeds / 2
        point, high = math.sqrt(variance), _upper(variance + residual, residual, 2 * found.seeds - 2)
    return Variation(example_sd=math.sqrt(items * found.examples), seed_sd=point, seed_sd_high=high, source=source)
