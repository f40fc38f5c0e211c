"""The method question for scores that are averaged over examples: seeds crossed with examples, never pooled.

Pooling the rows of all seeds, or averaging per example and forgetting the seeds, treats a seed that moves the
whole model as if it averaged away (false "non-inferior" 14-29 % at a nominal 5 %). Derivation: `spread`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from rsa_ops.core.estimate import Estimate, PairedResult
from rsa_ops.errors import IntegrityError, UsageError
from rsa_ops.stats.judge import FLOORED, bad_terms, invalid, judge
from rsa_ops.stats.spread import Scores, item_spread, right_or_wrong, seed_spread

CROSSED = "crossed-variance t"
CROSSED_PAIRED = "crossed-variance t, seeds paired"
ONE_SEED = "t over examples, one seed"


def noninferiority(
    candidate: ArrayLike,
    baseline: ArrayLike,
    *,
    margin: float,
    alpha: float = 0.05,
    paired_seeds: bool = False,
) -> PairedResult:
    """Is the candidate's way of training worse than the baseline's by more than `margin`?

    Args:
        candidate: scores [seeds, examples], higher is better.
        baseline: scores [seeds, examples] of the same examples in the same order; its seeds may be others.
        margin: the loss one is ready to accept, > 0, in score units.
        alpha: one-sided level, in (0, 0.5).
        paired_seeds: row s of both arms shares its randomness (initial values and order of the data).

    Returns:
        The answer with its interval at 1 - 2*alpha; INVALID with a reason where the data cannot answer.
        `difference.seeds` is the smaller of the two seed counts.

    Raises:
        UsageError: margin or alpha is NaN or infinite, or the scores are no rectangular tables of numbers.
    """
    ours, theirs = as_table(candidate), as_table(baseline)
    problem = bad_terms(margin, alpha) or _bad_scores(ours, theirs, paired=paired_seeds)
    if problem:
        return invalid(margin, alpha, problem)
    per_example = ours.mean(axis=0) - theirs.mean(axis=0)
    arms = (seed_spread(ours - theirs),) if paired_seeds else (seed_spread(ours), seed_spread(theirs))
    turning = right_or_wrong(ours) and right_or_wrong(theirs)
    spread = item_spread(per_example, arms, _reach(ours, theirs), turning=turning)
    return judge(
        float(per_example.mean()),
        spread,
        margin=margin,
        alpha=alpha,
        method=CROSSED_PAIRED if paired_seeds else CROSSED,
        reported_seeds=min(len(ours), len(theirs)),
    )


def mean_estimate(scores: ArrayLike, confidence: float = 0.95, *, bounded: bool = False) -> Estimate:
    """The mean of `scores` [seeds, examples] of one arm, for new seeds and new examples alike.

    With one seed only the examples are random, and `method` says so. `bounded` clips the interval to [0, 1].

    Raises:
        IntegrityError: a score is NaN or infinite.
        UsageError: no examples, no table, or a confidence outside (0, 1).
    """
    table = as_table(scores)
    if not 0 < confidence < 1:
        raise UsageError(f"confidence must lie between 0 and 1, found {confidence}")
    if table.size == 0:
        raise UsageError(f"expected scores [seeds, examples], found none: shape {table.shape}")
    if not np.isfinite(table).all():
        raise IntegrityError("a score is NaN or infinite", hint="Missing is never a number: find the cell.")
    arms = (seed_spread(table),) if len(table) > 1 else ()
    spread = item_spread(table.mean(axis=0), arms, _reach(table, table))
    precision = spread.precision((1 - confidence) / 2)
    value = float(table.mean())
    low, high = precision.low(value), precision.high(value)
    return Estimate(
        value=value,
        low=min(max(low, 0.0), 1.0) if bounded else low,
        high=max(min(high, 1.0), 0.0) if bounded else high,
        confidence=confidence,
        method=(CROSSED if arms else ONE_SEED) + (FLOORED if precision.floored else ""),
        examples=spread.examples,
        seeds=len(table),
        standard_error=precision.error,
        degrees_of_freedom=precision.freedom,
    )


def as_table(scores: ArrayLike) -> Scores:
    """`scores` as float64 [seeds, examples].

    Raises:
        UsageError: not a rectangular table of numbers.
    """
    return _as_floats(scores, "[seeds, examples]", axes=2)


def as_row(scores: ArrayLike) -> Scores:
    """`scores` as float64 [examples].

    Raises:
        UsageError: not a row of numbers.
    """
    return _as_floats(scores, "[examples]", axes=1)


def _as_floats(scores: ArrayLike, shape: str, *, axes: int) -> Scores:
    try:
        found = np.asarray(scores, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise UsageError(f"expected numbers {shape}: {error}") from error
    if found.ndim != axes:
        raise UsageError(f"expected scores {shape}, found {found.ndim} axes: shape {found.shape}")
    return found


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
    if not (np.isfinite(ours).all() and np.isfinite(theirs).all()):
        return "a score is NaN or infinite: missing is never a number"
    return None


def _reach(ours: Scores, theirs: Scores) -> float:
    return float(max(ours.max(), theirs.max()) - min(ours.min(), theirs.min()))
