"""From a difference and its spread to one of the five answers, and what would decide an open one.

The answer follows from the two-sided interval at 1 - 2*alpha alone: SUPERIOR if its lower end is above zero;
else NON_INFERIOR if the lower end is above -margin; else INFERIOR if the upper end is below -margin, that is,
surely worse by more than the margin; else INCONCLUSIVE. Superiority after non-inferiority is a fixed sequence
of nested claims and needs no correction (Morikawa and Yoshida 1995, J Biopharm Stat 5:297).
"""

from __future__ import annotations

import math
from collections.abc import Callable

from rsa_ops.core.estimate import Answer, Estimate, PairedResult
from rsa_ops.core.margin import Margin
from rsa_ops.errors import UsageError
from rsa_ops.stats.spread import Spread

FLOORED = "; width floored, almost no example differs"
MOST_EXAMPLES = 10_000_000
MOST_SEEDS = 1_000


def loss_of(margin: float | Margin) -> float:
    """The margin in score units."""
    return margin.in_units if isinstance(margin, Margin) else float(margin)


def invalid(margin: float, alpha: float, reason: str) -> PairedResult:
    """The answer to a question that cannot be asked of this data."""
    return PairedResult(
        answer=Answer.INVALID,
        margin=margin,
        alpha=alpha,
        difference=None,
        p_noninferior=None,
        variance_share_seeds=None,
        more_examples=None,
        more_seeds=None,
        reason=reason,
    )


def bad_terms(margin: float, alpha: float) -> str | None:
    """Why this margin and alpha make no question, or None.

    Raises:
        UsageError: one of them is NaN or infinite, which no result could carry.
    """
    if not (math.isfinite(margin) and math.isfinite(alpha)):
        raise UsageError(f"margin and alpha must be numbers, found {margin} and {alpha}")
    if margin <= 0:
        return f"the margin must be above zero, found {margin}: it is the loss that one is ready to accept"
    if not 0 < alpha < 0.5:
        return f"alpha must lie between 0 and 0.5, found {alpha}"
    return None


def answer_of(low: float, high: float, margin: float) -> Answer:
    """The answer that the interval [low, high] of the difference gives."""
    if low > 0:
        return Answer.SUPERIOR
    if low > -margin:
        return Answer.NON_INFERIOR
    return Answer.INFERIOR if high < -margin else Answer.INCONCLUSIVE


def smallest(decides: Callable[[int], bool], most: int) -> int | None:
    """The smallest k in 1..most with `decides(k)`, taking it to be monotone; None when even `most` does not."""
    if not decides(most):
        return None
    high = 1
    while high < most and not decides(high):
        high = min(2 * high, most)
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if decides(middle) else (middle, high)
    return high


def judge(
    value: float, spread: Spread, *, margin: float, alpha: float, method: str, reported_seeds: int = 1
) -> PairedResult:
    """The answer for a difference `value` (candidate minus baseline) with this spread."""
    from scipy.special import stdtr

    now = spread.precision(alpha)
    difference = Estimate(
        value=value,
        low=now.low(value),
        high=now.high(value),
        confidence=1 - 2 * alpha,
        method=method + (FLOORED if now.floored else ""),
        examples=spread.examples,
        seeds=reported_seeds,
        standard_error=now.error,
        degrees_of_freedom=now.freedom,
    )
    error = now.error_at(-margin)
    distance = (value + margin) / error if error > 0 else math.copysign(math.inf, value + margin)

    def decided(examples: int, seeds: int) -> bool:
        then = spread.precision(alpha, more_examples=examples, more_seeds=seeds)
        return abs(value + margin) > then.quantile * then.error_at(-margin)

    return conclude(
        difference,
        margin=margin,
        alpha=alpha,
        p_value=float(stdtr(now.freedom, -distance)),
        seed_share=now.seed_share if spread.arms else None,
        decided=decided,
    )


def conclude(
    difference: Estimate,
    *,
    margin: float,
    alpha: float,
    p_value: float,
    seed_share: float | None,
    decided: Callable[[int, int], bool],
) -> PairedResult:
    """Name the answer; for an open one, look for how many more examples or seeds would decide.

    `decided(examples, seeds)`: whether so many more would. Where neither alone does, both together may: then the
    design is looked for that grows both by the same factor. `seed_share` None: no seed is random.
    """
    answer = answer_of(difference.low, difference.high, margin)
    more_examples = more_seeds = None
    together = False
    if answer is Answer.INCONCLUSIVE:
        more_examples = smallest(lambda k: decided(k, 0), MOST_EXAMPLES)
        if seed_share is not None:
            more_seeds = smallest(lambda k: decided(0, k), MOST_SEEDS)
            if more_examples is None and more_seeds is None:
                more_examples, more_seeds = _both(difference, decided)
                together = more_seeds is not None
    return PairedResult(
        answer=answer,
        margin=margin,
        alpha=alpha,
        difference=difference,
        p_noninferior=p_value,
        variance_share_seeds=seed_share,
        more_examples=more_examples,
        more_seeds=more_seeds,
        more_together=together,
        reason=_reason(
            answer, margin, more_examples, more_seeds, together=together, random_seeds=seed_share is not None
        ),
    )


def _both(difference: Estimate, decided: Callable[[int, int], bool]) -> tuple[int | None, int | None]:
    """The smallest growth, of examples and seeds alike, that decides; counted in added seeds."""

    def examples_for(seeds: int) -> int:
        return math.ceil(difference.examples * seeds / difference.seeds)

    most = min(MOST_SEEDS, MOST_EXAMPLES * difference.seeds // difference.examples)
    seeds = smallest(lambda k: decided(examples_for(k), k), most) if most > 0 else None
    return (None, None) if seeds is None else (examples_for(seeds), seeds)


def _reason(
    answer: Answer, margin: float, examples: int | None, seeds: int | None, *, together: bool, random_seeds: bool
) -> str:
    if answer is not Answer.INCONCLUSIVE:
        return {
            Answer.SUPERIOR: "the whole interval lies above zero",
            Answer.NON_INFERIOR: f"the whole interval lies above -{margin:g}, the margin",
            Answer.INFERIOR: f"the whole interval lies below -{margin:g}: worse by more than the margin",
        }[answer]
    ways = [f"about {examples:,} more test examples"] if examples is not None else []
    ways += [f"{seeds:,} more seed{'s' if seeds > 1 else ''} per arm"] if seeds is not None else []
    start = f"the interval reaches across -{margin:g}, the margin; "
    if not ways:
        return start + "no practical number of test examples or seeds would decide: the difference is at the margin"
    if together:
        both = " together with ".join(ways)
        return start + f"neither more test examples nor more seeds alone would decide, but {both} would"
    if examples is None and random_seeds:
        return start + f"no number of test examples would decide with these seeds, but {ways[0]} would"
    return start + " or ".join(ways) + " would decide if the observed difference and variances hold"
