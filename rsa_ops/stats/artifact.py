"""The artifact question: this checkpoint against that one; only the examples are random.

Right-or-wrong scores: Tango's score interval (Tango 1998, Stat Med 17:891, section 3), whose variance is
estimated under the margin, so that it keeps its level for few discordant pairs. Other scores: paired t. Where
examples come in groups, the groups are the draws (Liang and Zeger 1986, Biometrika 73:13), and right-or-wrong
scores keep Tango's form with whole groups as units (`restricted`): it needs no common correlation within groups, as
the factors of Eliasziw and Donner (1991, Stat Med 10:1981) and of Yang, Sun and Hardin (2012, Biom J) do.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from rsa_ops.core.estimate import Estimate, PairedResult
from rsa_ops.core.margin import Margin
from rsa_ops.errors import IntegrityError, UsageError
from rsa_ops.stats.crossed import bad_groups, of_groups
from rsa_ops.stats.inputs import Sampling, Scores, all_finite, as_row, right_or_wrong, sampling
from rsa_ops.stats.judge import bad_terms, conclude, invalid, judge, loss_of
from rsa_ops.stats.moments import difference_moments
from rsa_ops.stats.proportions import TANGO, Significance, mcnemar_mid_p, tango_ends, tango_score

PAIRED_T = "paired t over examples"
PAIRED_SCORE = "paired score t over examples"


def artifact_noninferiority(
    candidate: ArrayLike,
    baseline: ArrayLike,
    *,
    margin: float | Margin,
    alpha: float = 0.05,
    groups: ArrayLike | None = None,
    weights: ArrayLike | None = None,
) -> PairedResult:
    """Is this checkpoint worse than that one by more than `margin`?

    Tango 1998, section 3, for scores of 0 and 1; the paired t test for others; for groups see the module.

    Args:
        candidate: scores [examples], higher is better.
        baseline: scores [examples] of the same examples in the same order.
        margin: the loss one is ready to accept, > 0, in score units, or relative to a fixed reference (`Margin`).
        alpha: one-sided level, in (0, 0.5).
        groups: a label [examples] where examples come in groups (customer, document) that are drawn together.
        weights: how much each example counts [examples]; they sum to 1 or to the number of examples.

    Raises:
        UsageError: margin or alpha is NaN or infinite, no rows of numbers, or weights that do not sum.
        DataRefused: an example without a group.
    """
    ours, theirs, loss = as_row(candidate), as_row(baseline), loss_of(margin)
    problem = bad_terms(loss, alpha) or _bad_rows(ours, theirs)
    how = sampling(len(ours), groups, weights) if not problem else Sampling(0)
    problem = problem or bad_groups(how)
    if problem:
        return invalid(loss, alpha, problem)
    binary = right_or_wrong(ours) and right_or_wrong(theirs)
    if binary and groups is None and weights is None:
        gained, lost = int((ours > theirs).sum()), int((ours < theirs).sum())
        return _binary(gained, lost, len(ours), loss, alpha)
    reach = float(np.ptp(np.concatenate([ours, theirs])))
    found = difference_moments(ours[np.newaxis], theirs[np.newaxis], how, reach=reach, paired=False, binary=binary)
    method = (PAIRED_SCORE if binary else PAIRED_T) + of_groups(how)
    return judge(found.value, found.spread, margin=loss, alpha=alpha, method=method)


def any_difference(candidate: ArrayLike, baseline: ArrayLike, *, groups: ArrayLike | None = None) -> Significance:
    """Do two checkpoints differ at all? Two-sided, and of no use for a margin.

    Scores of 0 and 1: mid-p McNemar (`mcnemar_mid_p`), with groups Obuchowski's test of clustered pairs (1998, Stat
    Med 17:1495, here referred to t with groups - 1 degrees of freedom). Others: paired t over examples or groups.

    Args:
        candidate: scores [examples].
        baseline: scores [examples] of the same examples in the same order.
        groups: a label [examples] where examples come in groups that are drawn together.

    Raises:
        UsageError: rows that cannot be compared. IntegrityError: a score is NaN or infinite.
        DataRefused: an example without a group.
    """
    from scipy.special import stdtr

    ours, theirs = as_row(candidate), as_row(baseline)
    if not (all_finite(ours) and all_finite(theirs)):
        raise IntegrityError("a score is NaN or infinite", hint="Missing is never a number: find the example.")
    problem = _bad_rows(ours, theirs)
    how = sampling(len(ours), groups) if not problem else Sampling(0)
    problem = problem or bad_groups(how)
    if problem:
        raise UsageError(problem)
    binary = right_or_wrong(ours) and right_or_wrong(theirs)
    discordant = int((ours != theirs).sum())
    if binary and groups is None:
        return mcnemar_mid_p(int((ours > theirs).sum()), int((ours < theirs).sum()), len(ours))
    each = ours - theirs
    sums = how.sums(each if binary else each - each.mean())
    spread = math.sqrt(float(sums @ sums) * how.groups / (how.groups - 1))
    total = abs(float(each.sum()))
    distance = total / spread if spread else total * math.inf if total else 0.0
    return Significance(
        p_value=2 * float(stdtr(how.groups - 1, -distance)),
        method=("Obuchowski's clustered McNemar t" if binary else PAIRED_T) + of_groups(how),
        examples=len(ours),
        discordant=discordant,
    )


def _bad_rows(ours: Scores, theirs: Scores) -> str | None:
    if len(ours) != len(theirs):
        return f"the candidate has {len(ours)} examples and the baseline {len(theirs)}; both need the same"
    if len(ours) < 2:
        return f"{len(ours)} examples: at least 2 are needed"
    if not (all_finite(ours) and all_finite(theirs)):
        return "a score is NaN or infinite: missing is never a number"
    return None


def _binary(gained: int, lost: int, examples: int, margin: float, alpha: float) -> PairedResult:
    from scipy.special import ndtr, ndtri

    low, high = tango_ends(gained, lost, examples, alpha)

    def score(grown: float) -> float:
        if margin > 1:
            return math.inf  # no loss is as large
        return tango_score(gained * grown, lost * grown, examples * grown, -margin)

    def decided(more: int, _: int) -> bool:
        return abs(score(1 + more / examples)) > -float(ndtri(alpha))

    return conclude(
        Estimate(
            value=(gained - lost) / examples,
            low=low,
            high=high,
            confidence=1 - 2 * alpha,
            method=TANGO,
            examples=examples,
            seeds=1,
        ),
        margin=margin,
        alpha=alpha,
        p_value=float(ndtr(-score(1.0))),
        seed_share=None,
        decided=decided,
    )
