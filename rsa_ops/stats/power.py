"""The chance that an analysis of this package says "not worse", before there is any data.

*Method question.* The difference of the two arms' means is normal about its truth with variance
(persistent + 2 R / S) / n + 2 seed_sd^2 / S. Its standard error and degrees of freedom are random as well: they
follow from the variance M of each arm's S seed means, which is (seed_sd^2 + R / n) chi^2 / (S - 1), independent of
the mean. So the power is the expectation, over two such M, of a normal probability whose cut-off is the one that
`Spread.precision` itself draws, with its degrees of freedom and its bounds; whoever changes the analysis changes
the plan. A t with 2 S - 2 degrees of freedom (the textbook's answer) takes both for fixed, and few seeds then
deliver less than it promises (benchmarks/stats_plan.py). What stays out: the variance over examples counts as
known, which is fair for some tens of examples, and for right-or-wrong scores for five or more discordant ones.

*Artifact question.* Right-or-wrong: the trinomial of gained, lost and equal pairs, summed over Tango's rejection
region (Tango 1998, Stat Med 17:891). Other scores: the noncentral t of the paired test, which is exact.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rsa_ops.stats.inputs import Scores
from rsa_ops.stats.restricted import Units, unseen_loss
from rsa_ops.stats.spread import Precision, SeedSpread, Spread

NODES = 8
"""Gauss-Legendre nodes for each seed variance; with 80 of them the power differs by less than 0.002."""
MANY = 5_000
"""Discordant pairs from which on the normal limit of Tango's test is taken; it then errs by less than 0.001."""
KNOTS = 9
"""Observed differences, from a loss of the margin to a gain, at which the score test's variance is known."""
FURTHEST_STEP = 0.2
"""Between the furthest seen losses at which the score test's variance is worked out."""
MOST_COUNTED = 500
"""Seeds above which the differences of the pool are taken as those of so many: next to nothing is left of them."""

Counts = NDArray[np.int64] | Scores


class Seeded(NamedTuple):
    """What varies between two arms that are trained with several seeds; variances, in squared score units.

    `persistent`: over examples, of the difference that stays with every seed. `residual` = R: of what is left of
    one cell, in each arm. `seeds`: over seeds, in each arm. `turning`: the scores are right-or-wrong.
    """

    persistent: float
    residual: float
    seeds: float
    turning: bool


@lru_cache(maxsize=4096)
def method_power(
    varies: Seeded,
    *,
    seeds: int,
    examples: int,
    margin: float,
    alpha: float,
    truth: float = 0.0,
    groups: int | None = None,
) -> float:
    """The chance that `noninferiority` of `seeds` >= 2 per arm and `examples` says "not worse by `margin`".

    Args:
        varies: the variances of the two arms.
        seeds: of each arm.
        examples: of the test set, some tens or more.
        margin: > 0, in score units.
        alpha: one-sided, in (0, 0.5).
        truth: the true difference, candidate minus baseline.
        groups: how many independent draws `examples` stand for; None: each is one. Where examples come in groups,
            `examples` are as many independent ones as tell the same.
    """
    square = varies.persistent + 2 * varies.residual / seeds
    error = math.sqrt(square / examples + 2 * varies.seeds / seeds)
    if error == 0:
        return 1.0
    expected = varies.seeds + varies.residual / examples
    share, weight = _chi_square_nodes(seeds - 1)
    noise = math.sqrt(2 / math.pi) * _square_noise(varies, seeds) / math.sqrt(examples)
    gain = max(margin, 2 * truth)
    total = 0.0
    for i in range(len(share)):
        for j in range(i + 1):
            arms = tuple(SeedSpread(seeds, expected * share[k], varies.residual) for k in (i, j))
            pair = (1 if i == j else 2) * weight[i] * weight[j]
            for moved in (-noise, noise):
                precision = Spread(examples, max(square + moved, 0.0), arms, groups=groups).precision(alpha)
                cut = _cut(precision, varies, seeds, margin, gain, moved)
                total += pair / 2 * _normal((truth - cut) / error)
    return min(total, 1.0)  # the weights sum to 1 but for rounding


@lru_cache(maxsize=4096)
def _square_noise(varies: Seeded, seeds: int) -> float:
    """The SD over examples of d^2 - (r_1 + r_2) / S, whose mean is what V says beyond the residuals.

    d is the difference of an example, r_a its variance over the seeds of an arm. Where that mean is near zero its
    noise makes degrees of freedom, because the analysis cuts it at zero. Two points stand for the noise, up and
    down by sqrt(2 / pi) SD: what is left of them above zero is then what is left of normal noise.
    """
    from scipy.stats import binom

    count = min(seeds, MOST_COUNTED)
    if not varies.turning:
        square = varies.persistent + 2 * varies.residual / count
        return math.sqrt(2 * square**2 + 4 * varies.residual**2 / (count**2 * (count - 1)))
    heads = np.arange(count + 1)
    chance = binom.pmf(heads, count, 0.5)
    own = heads * (count - heads) / (count * (count - 1)) / count
    each = ((heads[:, None] - heads) / count) ** 2 - own[:, None] - own
    tossed = 4 * varies.residual * float(chance @ each**2 @ chance)
    return math.sqrt(max(tossed + varies.persistent * (1 - varies.persistent), 0.0))


def _cut(precision: Precision, varies: Seeded, seeds: int, margin: float, gain: float, moved: float) -> float:
    """The smallest observed difference that says "not worse"; the score test's variance depends on it in turn."""
    start = precision.quantile * precision.error - margin
    if not varies.turning:
        return start
    squares, step = _squares_seen(varies, seeds, precision.examples, margin, gain), (margin + gain) / (KNOTS - 1)
    correction = precision.examples / (precision.examples - 1)

    def after(cut: float) -> float:
        place = min(max((cut + margin) / step, 0.0), KNOTS - 1.001)
        left = int(place)
        square = squares[left] + (place - left) * (squares[left + 1] - squares[left])
        return precision.quantile * math.sqrt(precision.variance(square * correction + moved)) - margin

    cut = start
    for _ in range(2):  # Steffensen's iteration: the plain one halves its error at each step and no more
        once = after(cut)
        twice = after(once)
        bend = twice - 2 * once + cut
        cut = twice - (twice - once) ** 2 / bend if abs(bend) > 1e-12 else twice
    return cut


@lru_cache(maxsize=4096)
def _squares_seen(varies: Seeded, seeds: int, examples: int, margin: float, gain: float) -> tuple[float, ...]:
    """`_squares_under` where `examples` show a loss as far as they are likely to; linear in between."""
    place = _furthest(varies, seeds, examples) / FURTHEST_STEP - 1
    left = min(max(math.floor(place), 0), round(1 / FURTHEST_STEP) - 2)
    part = min(max(place - left, 0.0), 1.0)
    low, high = (_squares_under(varies, seeds, margin, gain, (left + more) * FURTHEST_STEP) for more in (1, 2))
    return tuple((1 - part) * below + part * above for below, above in zip(low, high, strict=True))


def _furthest(varies: Seeded, seeds: int, examples: int) -> float:
    """The largest loss, averaged over seeds, among `examples`: where log 2 of them are expected to lose as much.

    Then one in two samples holds none further. Where no loss at all is seen, the test takes 1; so far as that is
    likely, the answer lies towards 1.
    """
    from scipy.stats import binom

    count = min(seeds, MOST_COUNTED)
    heads = binom.pmf(np.arange(count + 1), count, 0.5)
    tossed = min(4 * varies.residual, 1 - min(varies.persistent, 1.0))
    shares = tossed * np.convolve(heads, heads)[count + 1 :]
    shares[-1] += varies.persistent / 2
    expected = examples * np.cumsum(shares[::-1])[::-1]
    logs = np.log(np.maximum(expected / math.log(2), 1e-300))
    place = int((logs >= 0).sum()) - 1
    if place == count - 1:
        return 1.0
    beyond = float(logs[place] / (logs[place] - logs[place + 1])) if place >= 0 else 0.0
    furthest = (max(place, 0) + 1 + beyond) / count
    return furthest + math.exp(-float(expected[0])) * (1.0 - furthest)


@lru_cache(maxsize=4096)
def _squares_under(varies: Seeded, seeds: int, margin: float, gain: float, furthest: float) -> tuple[float, ...]:
    """The variance of one example that the score test sees at `KNOTS` observed differences from -margin to `gain`.

    `furthest`: the largest loss of one example, averaged over seeds, that was seen.

    Differences of right-or-wrong scores: a share is always gained or always lost; in a pool every model tosses a
    coin, which makes R a quarter of the pool. An observed difference tilts both, each by its part of the variance.
    Other pools with the same R differ in the second order only.
    """
    from scipy.stats import binom

    count = min(seeds, MOST_COUNTED)
    heads, steps = np.arange(count + 1), np.arange(-count, count + 1) / count
    pool, spread = 4 * varies.residual, varies.persistent + 2 * varies.residual / count
    found = []
    for value in np.linspace(-margin, gain, KNOTS).tolist():
        steady = value * varies.persistent / spread if spread > 0 else 0.0
        always = min(max(varies.persistent, abs(steady)), 1.0)
        tossed = min(pool, 1 - always)
        lean = min(max((value - steady) / tossed, -1.0), 1.0) / 2 if tossed > 0 else 0.0
        coins = np.convolve(binom.pmf(heads, count, 0.5 + lean), binom.pmf(heads, count, 0.5 - lean)[::-1])
        sums = np.concatenate([steps, [-1.0, 1.0, 0.0]])
        rest = [(always - steady) / 2, (always + steady) / 2, max(0.0, 1 - always - tossed)]
        shares = np.concatenate([tossed * coins, rest])
        seen = (shares > 0) & (sums >= -furthest - 1e-9)
        worst = -unseen_loss(furthest)
        units = Units(sums[seen], np.ones(int(seen.sum())), 1e9 * shares[seen], worst=worst)
        found.append(units.square_at(max(-margin, -1.0)))
    return tuple(found)


@lru_cache(maxsize=64)
def _chi_square_nodes(freedom: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Quantiles of chi^2 / freedom at the nodes, and the weights of the nodes, which sum to 1."""
    from scipy.special import chdtri

    node, weight = np.polynomial.legendre.leggauss(NODES)
    quantiles = chdtri(freedom, (1 - node) / 2) / freedom
    return tuple(float(value) for value in quantiles), tuple(float(value) / 2 for value in weight)


def _normal(value: float) -> float:
    return 0.5 * math.erfc(-value / math.sqrt(2))


def paired_t_power(
    sd: float, *, examples: int, margin: float, alpha: float, truth: float = 0.0, groups: int | None = None
) -> float:
    """The chance that the paired t test over `examples` >= 2 examples says "not worse by `margin`".

    `groups`: as in `method_power`; they give the degrees of freedom.
    """
    from scipy.special import stdtrit
    from scipy.stats import nct

    freedom = (groups or examples) - 1
    quantile = -float(stdtrit(freedom, alpha))
    return float(nct.sf(quantile, freedom, (margin + truth) / sd * math.sqrt(examples)))


def level_in_groups(alpha: float, groups: int) -> float:
    """The level at which a normal quantile is that of t with `groups` - 1 degrees of freedom at `alpha`.

    The score test over groups takes its quantile from t, and `tango_power` from the normal law.
    """
    from scipy.special import ndtr, stdtrit

    return float(ndtr(stdtrit(groups - 1, alpha)))


def tango_power(discordance: float, *, examples: int, margin: float, alpha: float, truth: float = 0.0) -> float:
    """The chance that Tango's score test over `examples` says "not worse by `margin`".

    Exact but for what lies six standard deviations out; above `MANY` discordant pairs the normal limit.
    """
    from scipy.stats import binom

    if examples * discordance > MANY:
        inside = (margin + truth) * math.sqrt(examples) - _quantile(alpha) * _limit_sd(discordance, margin, truth)
        return _normal(inside / math.sqrt(discordance - truth**2))
    to_candidate = (discordance + truth) / 2 / discordance
    pairs = within(examples, discordance)
    gained = within_all(pairs, to_candidate)
    excess, variance = score_parts(gained, pairs[:, None] - gained, examples, margin)
    chance = binom.pmf(pairs, examples, discordance)[:, None] * binom.pmf(gained, pairs[:, None], to_candidate)
    return float(chance[excess > _quantile(alpha) * np.sqrt(variance)].sum())


def textbook_examples(variance: float, *, margin: float, alpha: float, power: float, truth: float = 0.0) -> int:
    """(z_alpha + z_beta)^2 * variance / (margin + truth)^2, rounded up: both tests' normal approximation."""
    spread = (_quantile(alpha) + _quantile(1 - power)) ** 2 * variance
    return math.ceil(spread / (margin + truth) ** 2)


def tango_examples(discordance: float, *, margin: float, alpha: float, power: float, truth: float = 0.0) -> int:
    """As `textbook_examples`, but with the variance under a loss of the margin, by which Tango's test judges.

    (z_alpha * sqrt(w0) + z_beta * sqrt(w1))^2 / (margin + truth)^2, w0 the limit of the restricted estimate, w1 the
    true variance (as Farrington and Manning 1990, Stat Med 9:1447, do it for two independent proportions).
    """
    wide = _quantile(alpha) * _limit_sd(discordance, margin, truth)
    wide += _quantile(1 - power) * math.sqrt(discordance - truth**2)
    return math.ceil((wide / (margin + truth)) ** 2)


def _limit_sd(discordance: float, margin: float, truth: float) -> float:
    """sqrt(w0): the SD of one pair that the score test sees when the rates are as expected."""
    gained, lost = np.array((discordance + truth) / 2), np.array((discordance - truth) / 2)
    return math.sqrt(float(score_parts(gained, lost, 1.0, margin)[1]))


def score_parts(gained: Counts, lost: Counts, examples: float, margin: float) -> tuple[Scores, Scores]:
    """Tango's excess over a loss of `margin` and its variance under it; `artifact._score` is their quotient."""
    excess = np.asarray(gained - lost + examples * margin, dtype=np.float64)
    slope = -(2 * examples - gained + lost) * margin - gained - lost
    root = np.sqrt(np.maximum(slope**2 - 8 * examples * lost * margin * (1 + margin), 0.0))
    rate_lost = (root - slope) / (4 * examples)
    return excess, np.maximum(examples * (2 * rate_lost - margin * (1 + margin)), 0.0)


def within(trials: int, chance: float) -> NDArray[np.int64]:
    """Counts that a binomial of `trials` and `chance` takes, within six standard deviations."""
    middle, reach = trials * chance, 6 * math.sqrt(trials * chance * (1 - chance)) + 6
    return np.arange(max(0, math.floor(middle - reach)), min(trials, math.ceil(middle + reach)) + 1)


def within_all(trials: NDArray[np.int64], chance: float) -> NDArray[np.int64]:
    """[trials, counts]: counts within six standard deviations of the largest of `trials`, about each mean."""
    most = int(trials[-1])
    reach = math.ceil(6 * math.sqrt(most * chance * (1 - chance)) + 6)
    found: NDArray[np.int64] = np.floor(trials * chance).astype(np.int64)[:, None] + np.arange(-reach, reach + 1)
    return found


def _quantile(alpha: float) -> float:
    from scipy.special import ndtri

    return -float(ndtri(alpha))
