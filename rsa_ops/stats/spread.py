"""Where the uncertainty of a mean comes from: examples, seeds, and what is left of each cell.

The model, per arm: score[s, j] = mean + example[j] + seed[s] + residual[s, j]; two-way random effects without
replication (Searle, Casella and McCulloch 1992, Variance Components, ch. 4). The two arms share the examples;
their seeds are their own. With V the variance over examples of the difference of the per-example means, and
per arm M the variance of its S seed means and R its residual mean square:

    E[V] = var(example difference) + sum_arms R / S          E[M] = var(seed) + R / n
    SE^2 = V / n + sum_arms max(0, M - R / n) / S

Degrees of freedom after Satterthwaite (1946, Biometrics 2:110) with the terms that stand in SE^2: V / n with
n - 1, each seed term with S - 1. Counting R as well, or a seed term that came out as zero, was tried in the
world of tests/laws/test_stats_error_rates.py: at a loss of the margin it said "not worse" in 1-2 % of trials with
3 seeds where 5 % is allowed, and these terms say it in 2-6 % for 3 to 10 seeds. The power is worth more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rsa_ops.stats.slices import zero_event_bound

FEW = 3
"""With at most this many examples that differ from the rest, the normal theory has nothing to hold on to."""

Scores = NDArray[np.float64]


class Precision(NamedTuple):
    """How well a design knows a value; `variance` = SE^2 = (V / examples) + `seeds`, in squared score units."""

    quantile: float
    freedom: float
    variance: float
    seeds: float
    examples: int
    floor: float
    turning: bool

    @property
    def error(self) -> float:
        """The standard error, not below floor / quantile."""
        return max(math.sqrt(self.variance), self.floor / self.quantile)

    @property
    def floored(self) -> bool:
        """Whether the variance alone would have given a narrower interval than the floor."""
        return math.sqrt(self.variance) < self.floor / self.quantile

    @property
    def seed_share(self) -> float:
        """The part of the variance that comes from the seeds, in [0, 1]."""
        return self.seeds / self.variance if self.variance > 0 else 0.0

    def error_at(self, truth: float) -> float:
        """The standard error were `truth` true: right-or-wrong scores then vary at least so much."""
        least = (abs(truth) - truth**2) / self.examples + self.seeds if self.turning else 0.0
        return max(self.error, math.sqrt(max(least, 0.0)))

    def low(self, value: float) -> float:
        """Lower end of the interval around `value`: the smallest truth that the data do not contradict."""
        plain = value - self.quantile * self.error
        if not self.turning or plain >= 0:
            return plain
        # (value - L)^2 = t^2 * ((-L - L^2) / n + seeds), solved for its smaller root L
        square = self.quantile**2 / self.examples
        first, second = 1 + square, square - 2 * value
        inside = second**2 - 4 * first * (value**2 - self.quantile**2 * self.seeds)
        return min(plain, (-second - math.sqrt(max(inside, 0.0))) / (2 * first))

    def high(self, value: float) -> float:
        """Upper end of the interval around `value`; the mirror image of `low`."""
        return -self.low(-value)


@dataclass(frozen=True)
class SeedSpread:
    """One arm: `square` = M, `residual` = R (both variances, in squared score units), over `seeds` seeds."""

    seeds: int
    square: float
    residual: float


@dataclass(frozen=True)
class Spread:
    """The mean squares of one mean or one difference of means.

    `square` = V over `examples`; `arms` is empty when the seeds are not random (the artifact question).
    `scale` > 0 asks for the floor: an unseen example may still move by `scale`, so the half width is at
    least scale * (1 - alpha**(1/examples)). 0 means that the variance speaks for itself.
    `turning`: a difference of right-or-wrong scores, whose variance over examples is at least |D| - D^2 at a true
    difference D (it would be that, were all changes in one direction). The interval then holds every D that a
    score test with max(V, |D| - D^2) keeps, as Tango (1998) does for one seed; without it a handful of examples
    lost by every seed would look surer than it is. It matters only where few examples differ.
    """

    examples: int
    square: float
    arms: tuple[SeedSpread, ...] = ()
    scale: float = 0.0
    turning: bool = False

    def precision(self, alpha: float, *, more_examples: int = 0, more_seeds: int = 0) -> Precision:
        """The precision at one-sided `alpha`, also for a design larger than the one observed."""
        from scipy.special import stdtrit

        n = self.examples + more_examples
        own = sum(arm.residual / arm.seeds for arm in self.arms)
        then = sum(arm.residual / (arm.seeds + more_seeds) for arm in self.arms)
        items = max(self.square - own + then, min(self.square, then)) / n
        seeds, spent = 0.0, items**2 / max(n - 1, 1)
        for arm in self.arms:
            count = arm.seeds + more_seeds
            term = max(0.0, arm.square - arm.residual / self.examples) / count
            seeds += term
            spent += term**2 / (count - 1)
        variance = items + seeds
        freedom = variance**2 / spent if spent > 0 else float(max(n - 1, 1))
        return Precision(
            quantile=-float(stdtrit(freedom, alpha)),
            freedom=freedom,
            variance=variance,
            seeds=seeds,
            examples=n,
            floor=self.scale * zero_event_bound(n, alpha) if self.scale > 0 else 0.0,
            turning=self.turning,
        )


def seed_spread(scores: Scores) -> SeedSpread:
    """M and R of one arm from `scores` [seeds >= 2, examples]."""
    seeds, examples = scores.shape
    centred = scores - scores.mean(axis=1, keepdims=True)
    centred -= centred.mean(axis=0, keepdims=True)
    residual = float((centred**2).sum()) / ((seeds - 1) * max(examples - 1, 1))
    return SeedSpread(seeds, float(scores.mean(axis=1).var(ddof=1)), residual)


def item_spread(values: Scores, arms: tuple[SeedSpread, ...], reach: float, *, turning: bool = False) -> Spread:
    """The spread of the mean of `values` [examples], one value per example.

    `reach` is the range of the scores that were observed. The floor is on when at most `FEW` examples differ
    from the median one; its scale is 1 (a score in [0, 1] may turn over), or `reach` where scores range wider.
    """
    size = max(1.0, reach)
    differing = int((np.abs(values - np.median(values)) > 1e-9 * size).sum())
    square = float(values.var(ddof=1)) if len(values) > 1 else 0.0
    return Spread(len(values), square, arms, size if differing <= FEW else 0.0, turning)


def right_or_wrong(scores: Scores) -> bool:
    """Whether every score is 0 or 1."""
    return bool(((scores == 0) | (scores == 1)).all())
