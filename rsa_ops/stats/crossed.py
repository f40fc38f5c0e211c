"""The method question for scores that are averaged over examples: seeds crossed with examples, never pooled.

Pooling the rows of all seeds, or averaging per example and forgetting the seeds, treats a seed that moves the
whole model as if it averaged away (false "non-inferior" 14-29 % at a nominal 5 %). Derivation: `spread`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from rsa_ops.core.estimate import Estimate, PairedResult
from rsa_ops.core.margin import Margin
from rsa_ops.errors import IntegrityError, UsageError
from rsa_ops.stats.inputs import Sampling, Scores, all_finite, as_table, right_or_wrong, sampling
from rsa_ops.stats.judge import FLOORED, bad_terms, invalid, judge, loss_of
from rsa_ops.stats.moments import difference_moments, table_moments

CROSSED = "crossed-variance t"
CROSSED_PAIRED = "crossed-variance t, seeds paired"
CROSSED_SCORE = "crossed-variance score t"
"""Of right-or-wrong scores: the variance over examples is the one under the tested truth (`restricted`)."""
ONE_SEED = "t over examples, one seed"


def noninferiority(
    candidate: ArrayLike,
    baseline: ArrayLike,
    *,
    margin: float | Margin,
    alpha: float = 0.05,
    paired_seeds: bool = False,
    groups: ArrayLike | None = None,
    weights: ArrayLike | None = None,
) -> PairedResult:
    """Is the candidate's way of training worse than the baseline's by more than `margin`?

    Two-way random effects with the marginal-mean test of Hillis (2014, Stat Med 33:330; module `spread` has the
    equations); scores that are 0 or 1 get the score form of Tango (1998), extended to seeds (`restricted`).

    Args:
        candidate: scores [seeds, examples], higher is better.
        baseline: scores [seeds, examples] of the same examples in the same order; its seeds may be others.
        margin: the loss one is ready to accept, > 0, in score units, or relative to a fixed reference (`Margin`).
        alpha: one-sided level, in (0, 0.5).
        paired_seeds: row s of both arms shares its randomness (initial values and order of the data).
        groups: a label [examples] where examples come in groups (customer, document) that are drawn together.
        weights: how much each example counts [examples]; they sum to 1 or to the number of examples.

    Returns:
        The answer with its interval at 1 - 2*alpha; INVALID with a reason where the data cannot answer.
        `difference.seeds` is the smaller of the two seed counts.

    Raises:
        UsageError: margin or alpha is NaN or infinite, the scores are no rectangular tables of numbers, or the
            weights do not sum.
        DataRefused: an example without a group.
    """
    ours, theirs, loss = as_table(candidate), as_table(baseline), loss_of(margin)
    problem = bad_terms(loss, alpha) or _bad_scores(ours, theirs, paired=paired_seeds)
    how = sampling(ours.shape[1], groups, weights) if not problem else Sampling(0)
    problem = problem or bad_groups(how)
    if problem:
        return invalid(loss, alpha, problem)
    binary = right_or_wrong(ours) and right_or_wrong(theirs)
    found = difference_moments(ours, theirs, how, reach=_reach(ours, theirs), paired=paired_seeds, binary=binary)
    return judge(
        found.value,
        found.spread,
        margin=loss,
        alpha=alpha,
        method=(CROSSED_SCORE if binary else CROSSED) + (", seeds paired" if paired_seeds else "") + of_groups(how),
        reported_seeds=min(len(ours), len(theirs)),
    )


def mean_estimate(
    scores: ArrayLike, confidence: float = 0.95, *, bounded: bool = False, groups: ArrayLike | None = None
) -> Estimate:
    """The mean of `scores` [seeds, examples] of one arm, for new seeds and new examples alike.

    Two-way random effects (Searle, Casella and McCulloch 1992, ch. 4; module `spread` has the equations).

    With one seed only the examples are random, and `method` says so. `bounded` clips the interval to [0, 1].
    `groups` [examples]: labels of examples that are drawn together; of a single group nearly nothing is known.

    Raises:
        IntegrityError: a score is NaN or infinite. DataRefused: an example without a group.
        UsageError: no examples, no table, or a confidence outside (0, 1).
    """
    table = as_table(scores)
    if not 0 < confidence < 1:
        raise UsageError(f"confidence must lie between 0 and 1, found {confidence}")
    if table.size == 0:
        raise UsageError(f"expected scores [seeds, examples], found none: shape {table.shape}")
    if not all_finite(table):
        raise IntegrityError("a score is NaN or infinite", hint="Missing is never a number: find the cell.")
    how = sampling(table.shape[1], groups)
    value, spread = table_moments(table, how, _reach(table, table))
    precision = spread.precision((1 - confidence) / 2)
    low, high = precision.low(value), precision.high(value)
    return Estimate(
        value=value,
        low=min(max(low, 0.0), 1.0) if bounded else low,
        high=max(min(high, 1.0), 0.0) if bounded else high,
        confidence=confidence,
        method=(CROSSED if spread.arms else ONE_SEED) + of_groups(how) + (FLOORED if precision.floored else ""),
        examples=spread.examples,
        seeds=len(table),
        standard_error=precision.error,
        degrees_of_freedom=precision.freedom,
    )


def bad_groups(how: Sampling | None) -> str | None:
    """Why these groups cannot answer, or None."""
    if how is not None and how.number is not None and how.number < 2:
        return "1 group: examples of one group are one draw, and at least 2 are needed"
    return None


def of_groups(how: Sampling | None) -> str:
    """What the name of a method says about groups."""
    return "" if how is None or how.number is None else f", {how.number:,} groups"


def _bad_scores(ours: Scores, theirs: Scores, *, paired: bool) -> str | None:
    if ours.shape[1] != theirs.shape[1]:
        return f"the candidate has {ours.shape[1]} examples and the baseline {theirs.shape[1]}; both need the same"
    if ours.shape[1] < 2:
        return f"{ours.shape[1]} examples: at least 2 are needed"
    if min(len(ours), len(theirs)) < 2:
        return (
            f"{len(ours)} and {len(theirs)} seeds: a claim about the method needs 2 or more on each side; "
            "of one checkpoint ask the artifact question (artifact_noninferiority)"
        )
    if paired and len(ours) != len(theirs):
        return f"paired seeds need as many on both sides, found {len(ours)} and {len(theirs)}"
    if not (all_finite(ours) and all_finite(theirs)):
        return "a score is NaN or infinite: missing is never a number"
    return None


def _reach(ours: Scores, theirs: Scores) -> float:
    return float(max(np.max(ours), np.max(theirs)) - min(np.min(ours), np.min(theirs)))
