"""Where the uncertainty of a mean comes from: examples, seeds, and what is left of each cell.

The model, per arm: score[s, j] = mean + example[j] + seed[s] + residual[s, j]; two-way random effects without
replication (Searle, Casella and McCulloch 1992, Variance Components, ch. 4). The two arms share the examples;
their seeds are their own. With V the variance over examples of the difference of the per-example means, and
per arm M the variance of its S seed means and R its residual mean square:

    E[V] = var(example difference) + sum_arms R / S          E[M] = var(seed) + R / n
    SE^2 = (V - sum_arms R / S) / n + sum_arms M / S

Degrees of freedom after Satterthwaite (1946, Biometrics 2:110), V / n with n - 1 and the sum of M / S with those of
`_seed_freedom`, as in the marginal-mean analysis of many readers and many cases (Hillis 2007, Stat Med 26:596;
Hillis 2014, Stat Med 33:330). Taking R / n out of M and cutting what is left at zero looks sharper, but the cut
makes a term small, and its degrees of freedom many, just when it is badly known: benchmarks/stats_offline.py has
both in a normal world. R / S is taken out of V without a cut (Hillis cuts), because V is well known.

Examples that come in groups (the same customer, the same document) are one draw together: V and R are then those
of group sums (Liang and Zeger 1986, Biometrika 73:13, with G / (G - 1)), and V has G - 1 degrees of freedom.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from rsa_ops.stats.restricted import Units
from rsa_ops.stats.slices import zero_event_bound

FEW = 3
"""With at most this many examples that differ from the rest, the normal theory has nothing to hold on to."""

LEAST = 0.5
"""The standard error is at least this part of what the examples alone give: seeds whose means agree by luck (two
seeds often tie) must not make it vanish."""


class Precision(NamedTuple):
    """How well a design of `examples` examples knows a value. Variances are in squared score units.

    `square` = V per example of the design that was observed; `within` = sum of R / S of that design, which V
    contains, and `kept` the same for this design; `seeds` = sum of M / S of this design, `drift` its part that no
    number of examples can lower. `units` is None where the spread does not depend on the truth.
    """

    quantile: float
    freedom: float
    examples: int
    square: float
    within: float
    kept: float
    seeds: float
    drift: float
    floor: float
    units: Units | None

    def variance(self, square: float | None = None) -> float:
        """SE^2, with V as observed or as given.

        V less its residual part may be below zero by chance. Cut there, SE^2 would be too large on average where
        nothing persists between examples; the floor keeps it above zero.
        """
        square = self.square if square is None else square
        between = max(square - self.within, -self.kept)
        return max(between / self.examples + self.seeds, LEAST**2 * (between + self.kept) / self.examples)

    @property
    def error(self) -> float:
        """The standard error, not below floor / quantile."""
        return self._floored(self.variance())

    @property
    def floored(self) -> bool:
        """Whether the variance alone would have given a narrower interval than the floor."""
        return math.sqrt(self.variance()) < self.floor / self.quantile

    @property
    def seed_share(self) -> float:
        """The part of the variance that more examples would not lower, in [0, 1]."""
        variance = self.variance()
        return self.drift / variance if variance > 0 else 0.0

    def error_at(self, truth: float) -> float:
        """The standard error were `truth` true (`restricted`); the observed one where there are no units."""
        if self.units is None:
            return self.error
        square = self.units.square_at(min(max(truth, -1.0), 1.0)) * self.units.correction
        return self._floored(self.variance(square))

    def low(self, value: float) -> float:
        """Lower end of the interval around `value`: the smallest truth that the data do not contradict."""
        return self._end(value, -1.0)

    def high(self, value: float) -> float:
        """Upper end of the interval around `value`."""
        return self._end(value, 1.0)

    def _floored(self, variance: float) -> float:
        return max(math.sqrt(variance), self.floor / self.quantile)

    def _end(self, value: float, side: float) -> float:
        from scipy.optimize import brentq

        def excess(truth: float) -> float:
            return abs(value - truth) - self.quantile * self.error_at(truth)

        if self.units is None:
            return value + side * self.quantile * self.error
        if excess(side) <= 0:
            return side  # not even a loss (a gain) of everything is contradicted
        return float(brentq(excess, value, side, xtol=1e-12))


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
    least scale * (1 - alpha**(1/groups)). 0 means that the variance speaks for itself.
    `groups`: how many independent groups the examples form; None: each is its own.
    `units`: the observed differences of right-or-wrong scores; the interval then holds every truth that a score
    test keeps, as Tango (1998) does for one seed (`restricted`).
    """

    examples: int
    square: float
    arms: tuple[SeedSpread, ...] = ()
    scale: float = 0.0
    groups: int | None = None
    units: Units | None = None

    def precision(self, alpha: float, *, more_examples: int = 0, more_seeds: int = 0) -> Precision:
        """The precision at one-sided `alpha`, also for a design larger than the one observed."""
        from scipy.special import stdtrit

        n, grown = self.examples + more_examples, 1 + more_examples / self.examples
        groups = (self.groups or self.examples) * grown
        within = sum(arm.residual / arm.seeds for arm in self.arms)
        kept = sum(arm.residual / (arm.seeds + more_seeds) for arm in self.arms)
        drifts = [max(0.0, arm.square - arm.residual / self.examples) for arm in self.arms]
        counts = [arm.seeds + more_seeds for arm in self.arms]
        terms = [
            (drift + min(arm.square, arm.residual / self.examples) / grown) / count
            for arm, drift, count in zip(self.arms, drifts, counts, strict=True)
        ]
        freedom = self._freedom(n, groups, kept - within, terms, counts)
        return Precision(
            quantile=-float(stdtrit(freedom, alpha)),
            freedom=freedom,
            examples=n,
            square=self.square,
            within=within,
            kept=kept,
            seeds=sum(terms),
            drift=sum(drift / count for drift, count in zip(drifts, counts, strict=True)),
            floor=self.scale * zero_event_bound(int(groups), alpha) if self.scale > 0 else 0.0,
            units=self.units,
        )

    def _freedom(self, n: int, groups: float, saved: float, terms: list[float], counts: list[int]) -> float:
        """Satterthwaite's of examples and seeds, between the smallest and the sum of those of the terms."""
        own = max(groups - 1, 1.0)
        items = max(0.0, self.square + saved) / n
        within = sum(arm.residual / count for arm, count in zip(self.arms, counts, strict=True)) / n
        variance = max(0.0, items - within) + sum(terms)
        spent = items**2 / own + (sum(terms) ** 2 / _seed_freedom(terms, counts) if any(terms) else 0.0)
        freedom = variance**2 / spent if spent > 0 else own
        each = [own, *(count - 1 for count in counts)]
        return float(min(max(freedom, min(each)), sum(each)))


def _seed_freedom(terms: list[float], counts: list[int]) -> float:
    """The degrees of freedom of the sum of M / S over the arms, of which at least one is above zero.

    Satterthwaite's are too few where the arms have as many seeds and differ by luck, because the square of M is on
    average (S + 1) / (S - 1) times that of its expectation. Welch (1947, Biometrika 34:28, equation 28) takes that
    out of both halves of the ratio: (sum t)^2 / sum(t^2 / (S + 1)) - 2, here between S - 1 and 2 S - 2. Two seeds
    are too few for it, and with unlike counts it is too sure (benchmarks/stats_offline.py, part `normal`).
    """
    alike = len(set(counts)) == 1 and counts[0] > 2
    gain = 2 if alike else 0
    exponent = math.frexp(max(terms))[1]
    shares = [math.ldexp(term, -exponent) for term in terms]  # exact; the squares of tiny terms would be zero
    spent = sum(share**2 / (count - 1 + gain) for share, count in zip(shares, counts, strict=True))
    found = sum(shares) ** 2 / spent - gain
    return min(max(found, min(counts) - 1), sum(counts) - len(counts))
