"""Ways to judge two tables [seeds, examples] at a true difference of -MARGIN: ours, the usual one, the naive ones.

`crossed_says` goes through the moments and the precision that `noninferiority` goes through and leaves out only the
search for how many more examples would decide; tests/benchmarks/test_stats_offline.py holds both together.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from scipy.special import stdtrit
from stats_worlds import Scores

from rsa_ops.stats.inputs import Sampling
from rsa_ops.stats.moments import difference_moments
from rsa_ops.stats.spread import Precision

ALPHA = 0.05
MARGIN = 0.01


class Says(NamedTuple):
    """What one way of judging says of one trial at a true difference of -margin."""

    not_worse: bool
    covers: bool


Way = Callable[[Scores, Scores], Says]


def crossed_says(ours: Scores, theirs: Scores) -> Says:
    """`noninferiority` at alpha, and whether its 95 % interval holds the truth, by the score test it inverts."""
    how = Sampling(ours.shape[1])
    found = difference_moments(ours, theirs, how, reach=1.0, paired=False, binary=True)
    distance = found.value + MARGIN

    def half(precision: Precision) -> float:
        return precision.quantile * precision.error_at(-MARGIN)

    return Says(
        distance > half(found.spread.precision(ALPHA)), abs(distance) <= half(found.spread.precision(0.025))
    )


def cut_says(ours: Scores, theirs: Scores) -> Says:
    """The usual crossed t: seed variance less its noise and cut at zero, spread of the examples as observed."""
    how = Sampling(ours.shape[1])
    value, spread = difference_moments(ours, theirs, how, reach=1.0, paired=False, binary=True)
    terms = [max(0.0, arm.square - arm.residual / spread.examples) / arm.seeds for arm in spread.arms]
    items = spread.square / spread.examples
    variance = items + sum(terms)
    spent = items**2 / (spread.examples - 1)
    spent += sum(term**2 / (arm.seeds - 1) for term, arm in zip(terms, spread.arms, strict=True))
    return _t_says(value, math.sqrt(variance), variance**2 / spent)


def pooled_says(ours: Scores, theirs: Scores) -> Says:
    """Naive: every row of every seed counts as an example of its own."""
    rows = (ours - theirs).ravel()
    return _t_says(float(rows.mean()), float(rows.std(ddof=1)) / rows.size**0.5, rows.size - 1)


def averaged_says(ours: Scores, theirs: Scores) -> Says:
    """Naive: scores averaged over seeds, then a paired t over the examples."""
    rows = ours.mean(axis=0) - theirs.mean(axis=0)
    return _t_says(float(rows.mean()), float(rows.std(ddof=1)) / rows.size**0.5, rows.size - 1)


WAYS: dict[str, Way] = {
    "crossed": crossed_says,
    "cut at zero": cut_says,
    "pooled rows": pooled_says,
    "example means": averaged_says,
}


def _t_says(value: float, error: float, freedom: float) -> Says:
    one, two = (-float(stdtrit(freedom, tail)) * error for tail in (ALPHA, 0.025))
    return Says(value + MARGIN > one, abs(value + MARGIN) <= two)
