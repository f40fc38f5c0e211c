"""The variance of a mean difference if the truth were some other value: the restricted likelihood estimate.

The observed spread of a few lost examples is a poor judge of a loss: where by luck few were lost, the mean is too
good and its spread too small, both at once. Tango (1998, Stat Med 17:891, section 3) therefore takes the variance
that the data would have were the loss the one that is tested. Here the same is done for differences that are
averaged over seeds, or summed over groups: the weights of the observed units, and of a unit that was lost (or
gained) altogether and never seen, are the nonparametric maximum likelihood estimate under the tested mean (Owen
2001, Empirical Likelihood, chapter 2; Qin and Lawless 1994, Ann Stat 22:300). With one seed and single
examples the units are -1, 0 and 1, and the estimate is Tango's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rsa_ops.errors import UsageError

NEAR = 1e-12
FURTHER = 0.45
"""Between 0, where 10 noisy seeds say "not worse" wrongly too often, and 1, where their intervals hold too much."""


@dataclass(frozen=True)
class Units:
    """What was observed: `counts[k]` units whose differences sum to `sums[k]` over `sizes[k]` examples each.

    Every difference lies in [-1, 1], so `|sums[k]| <= sizes[k]`. `worst` and `best`: the mean difference in a unit
    of average size that was never seen, on the side of losses and of gains.
    """

    sums: NDArray[np.float64]
    sizes: NDArray[np.float64]
    counts: NDArray[np.float64]
    worst: float = -1.0
    best: float = 1.0

    @property
    def mean(self) -> float:
        """The mean difference over all examples."""
        return float((self.counts * self.sums).sum() / (self.counts * self.sizes).sum())

    @property
    def correction(self) -> float:
        """Number of units / (number - 1), the factor from a likelihood estimate to an unbiased variance."""
        number = float(self.counts.sum())
        return number / (number - 1) if number > 1 else 1.0

    def square_at(self, truth: float) -> float:
        """The variance of the mean were `truth` the true mean, times the number of examples.

        Raises:
            UsageError: a truth outside [-1, 1].
        """
        if not -1 <= truth <= 1:
            raise UsageError(f"a mean difference of scores in [0, 1] lies in [-1, 1], found {truth}")
        number = float(self.counts.sum())
        size = float((self.counts * self.sizes).sum()) / number
        errors = self.sums - truth * self.sizes
        shares = self.counts / number
        side = float((shares * errors).sum())
        if abs(side) < NEAR * size:
            return float((shares * errors**2).sum()) / size
        if side > 0:
            unseen = size * ((self.worst if self.worst < truth else -1.0) - truth)
        else:
            unseen = size * ((self.best if self.best > truth else 1.0) - truth)
        return _restricted_square(shares, errors, unseen) / size if unseen else 0.0


def unseen_loss(furthest: float) -> float:
    """How much an example that nobody saw may lose, averaged over seeds; `furthest` in (0, 1] was the most seen.

    `FURTHER` of the way from there to all. With one seed every loss is 1, and so is the unseen one, as in Tango
    (1998). Noisy seeds lose different examples, so their mean differences stay far from 1: an unseen example taken
    for a total loss makes the interval too wide (decision 0007).
    """
    return furthest + FURTHER * (1.0 - furthest)


def _restricted_square(shares: NDArray[np.float64], errors: NDArray[np.float64], unseen: float) -> float:
    """Sum of weight * error^2 with weights share / (1 + tilt * error) that make the mean error zero.

    `unseen` is the error of the unit that nobody saw, on the side that lacks weight; it gets what is left when
    the observed units cannot balance with a weight for it of less than zero.
    """
    from scipy.optimize import brentq

    furthest = min(unseen, errors.min()) if unseen < 0 else max(unseen, errors.max())
    limit = -1.0 / furthest

    def excess(part: float) -> float:
        found = float((shares * errors / (1 + part * limit * errors)).sum())
        return found if unseen < 0 else -found

    last = 1 - NEAR
    part = float(brentq(excess, 0.0, last, xtol=1e-13)) if excess(last) < 0 else last
    weights = shares / (1 + part * limit * errors)
    left = max(1.0 - float(weights.sum()), 0.0)
    return float((weights * errors**2).sum()) + left * unseen**2
