"""The artifact question: this checkpoint against that one; only the examples are random.

Right-or-wrong scores: Tango's score interval (Tango 1998, Stat Med 17:891, section 3), whose variance is
estimated under the margin, so that it keeps its level for few discordant pairs. Other scores: paired t.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from rsa_ops.core.estimate import Estimate, PairedResult
from rsa_ops.errors import UsageError
from rsa_ops.stats.crossed import as_row
from rsa_ops.stats.judge import bad_terms, conclude, invalid, judge
from rsa_ops.stats.spread import item_spread, right_or_wrong

TANGO = "Tango score interval"
PAIRED_T = "paired t over examples"


def artifact_noninferiority(
    candidate: ArrayLike, baseline: ArrayLike, *, margin: float, alpha: float = 0.05
) -> PairedResult:
    """Is this checkpoint worse than that one by more than `margin`?

    Args:
        candidate: scores [examples], higher is better. All 0 or 1 on both sides: Tango; else paired t.
        baseline: scores [examples] of the same examples in the same order.
        margin: the loss one is ready to accept, > 0, in score units.
        alpha: one-sided level, in (0, 0.5).

    Raises:
        UsageError: margin or alpha is NaN or infinite, or the scores are no rows of numbers.
    """
    ours, theirs = as_row(candidate), as_row(baseline)
    problem = bad_terms(margin, alpha)
    if len(ours) != len(theirs):
        problem = f"the candidate has {len(ours)} examples and the baseline {len(theirs)}; both need the same"
    elif len(ours) < 2:
        problem = f"{len(ours)} examples: at least 2 are needed"
    elif not (np.isfinite(ours).all() and np.isfinite(theirs).all()):
        problem = "a score is NaN or infinite: missing is never a number"
    if problem:
        return invalid(margin, alpha, problem)
    both = np.concatenate([ours, theirs])
    if right_or_wrong(both):
        gained, lost = int((ours > theirs).sum()), int((ours < theirs).sum())
        return _binary(gained, lost, len(ours), margin, alpha)
    spread = item_spread(ours - theirs, (), float(np.ptp(both)))
    return judge(float((ours - theirs).mean()), spread, margin=margin, alpha=alpha, method=PAIRED_T)


def tango_interval(gained: int, lost: int, examples: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """Score interval of (gained - lost) / examples, two-sided at `confidence`.

    `gained`: pairs that only the candidate has right; `lost`: pairs that only the baseline has right.
    With no discordant pair it is +-z^2 / (examples + z^2), never of zero width.

    Raises:
        UsageError: counts that do not fit into `examples`, or a confidence outside (0, 1).
    """
    if min(gained, lost) < 0 or gained + lost > examples or examples < 1 or not 0 < confidence < 1:
        raise UsageError(
            f"expected 0 <= gained + lost <= examples and 0 < confidence < 1, "
            f"found {gained} + {lost}, {examples} and {confidence}"
        )
    return _tango(gained, lost, examples, (1 - confidence) / 2)


def _binary(gained: int, lost: int, examples: int, margin: float, alpha: float) -> PairedResult:
    from scipy.special import ndtr

    value = (gained - lost) / examples
    low, high = _tango(gained, lost, examples, alpha)

    def decided(more: int) -> bool:
        grown = 1 + more / examples
        ends = _tango(gained * grown, lost * grown, examples * grown, alpha)
        return ends[0] > -margin or ends[1] < -margin

    return conclude(
        Estimate(
            value=value,
            low=low,
            high=high,
            confidence=1 - 2 * alpha,
            method=TANGO,
            examples=examples,
            seeds=1,
        ),
        margin=margin,
        alpha=alpha,
        p_value=float(ndtr(-_score(gained, lost, examples, -margin))),
        seed_share=None,
        by_examples=decided,
        by_seeds=None,
    )


def _score(gained: float, lost: float, examples: float, delta: float) -> float:
    """Tango's Z for a true difference `delta` in [-1, 1]; it falls as `delta` grows."""
    excess = gained - lost - examples * delta
    slope = (2 * examples - gained + lost) * delta - gained - lost
    root = math.sqrt(max(slope**2 + 8 * examples * lost * delta * (1 - delta), 0.0))
    rate_lost = (root - slope) / (4 * examples)
    variance = examples * (2 * rate_lost + delta * (1 - delta))
    if variance <= 1e-12:
        return math.copysign(math.inf, excess) if abs(excess) > 1e-9 else 0.0
    return excess / math.sqrt(variance)


def _tango(gained: float, lost: float, examples: float, alpha: float) -> tuple[float, float]:
    from scipy.special import ndtri

    quantile = -float(ndtri(alpha))
    value = (gained - lost) / examples

    def end(outer: float, target: float) -> float:
        inside, outside = value, outer
        for _ in range(60):
            middle = (inside + outside) / 2
            if abs(_score(gained, lost, examples, middle)) < target:
                inside = middle
            else:
                outside = middle
        return inside

    return end(-1.0, quantile), end(1.0, quantile)
