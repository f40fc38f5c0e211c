"""From scores to mean squares (`spread`), in time and memory that grow linearly with the examples."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from rsa_ops.stats.inputs import Sampling, Scores
from rsa_ops.stats.restricted import Units, unseen_loss
from rsa_ops.stats.slices import zero_event_bound
from rsa_ops.stats.spread import FEW, SeedSpread, Spread

NOTHING = 1e-9
"""Differences of scores in [0, 1] below this are rounding."""


class Measured(NamedTuple):
    """A mean, or a difference of means, and what it is known to."""

    value: float
    spread: Spread


class _Arm(NamedTuple):
    means: Scores  # [seeds], weighted
    per_example: Scores  # [examples], mean over seeds, not centred


def table_moments(table: Scores, how: Sampling, reach: float) -> Measured:
    """Of the mean of one arm's `table` [seeds, examples], for new seeds (if more than one) and new examples."""
    arm = _arm(table, how)
    arms = (_seed_spread(table, arm, how),) if len(table) > 1 else ()
    return Measured(float(arm.means.mean()), _spread(arm.per_example, arms, how, reach, None))


def difference_moments(
    ours: Scores, theirs: Scores, how: Sampling, *, reach: float, paired: bool, binary: bool
) -> Measured:
    """Of the difference of two tables [seeds, examples] on the same examples.

    `paired`: row s of both shares its seed. `binary`: all scores are 0 or 1. One row on both sides asks about two
    artifacts: then no seed is random.
    """
    first, second = _arm(ours, how), _arm(theirs, how)
    each = first.per_example - second.per_example
    value = float(first.means.mean() - second.means.mean())
    if len(ours) == len(theirs) == 1:
        arms: tuple[SeedSpread, ...] = ()
    elif paired:
        rows = (row - other for row, other in zip(ours, theirs, strict=True))
        arms = (_seed_spread(rows, _Arm(first.means - second.means, each), how),)
    else:
        arms = (_seed_spread(ours, first, how), _seed_spread(theirs, second, how))
    return Measured(value, _spread(each, arms, how, reach, _units(each, how) if binary else None))


def _arm(table: Scores, how: Sampling) -> _Arm:
    return _Arm(how.mean(table), table.mean(axis=0))


def _seed_spread(rows: Iterable[Scores], arm: _Arm, how: Sampling) -> SeedSpread:
    """M and R of one arm; R is that of group sums where there are groups."""
    seeds, total = len(arm.means), 0.0
    shared = arm.per_example - arm.means.mean()
    for row, mean in zip(rows, arm.means, strict=True):
        sums = how.sums(how.weighted(row - mean - shared))
        total += float(sums @ sums)
    residual = total * _correction(how.groups) / ((seeds - 1) * how.examples)
    return SeedSpread(seeds, float(arm.means.var(ddof=1)), residual)


def _spread(each: Scores, arms: tuple[SeedSpread, ...], how: Sampling, reach: float, units: Units | None) -> Spread:
    """The spread of the mean of `each` [examples].

    `reach` is the range of the scores that were observed. The floor is on when at most `FEW` examples differ
    from the median one; its scale is 1 (a score in [0, 1] may turn over), or `reach` where scores range wider.
    """
    size = max(1.0, reach)
    differing = int((how.sums((np.abs(each - np.median(each)) > NOTHING * size).astype(np.float64)) > 0).sum())
    sums = how.sums(how.weighted(each - float(how.mean(each))))
    return Spread(
        examples=how.examples,
        square=float(sums @ sums) * _correction(how.groups) / how.examples,
        arms=arms,
        scale=size if differing <= FEW else 0.0,
        groups=how.number,
        units=units,
    )


def _units(each: Scores, how: Sampling) -> Units:
    """The differences as `restricted` counts them; equal ones are joined where each example stands for itself."""
    if how.codes is None and how.weights is None:
        values, counts = np.unique(np.round(each, 12), return_counts=True)
        worst, best = -unseen_loss(_furthest(-values)), unseen_loss(_furthest(values))
        return Units(values, np.ones(len(values)), counts.astype(np.float64), worst=worst, best=best)
    sums, sizes = how.sums(how.weighted(each)), how.sums(how.weighted(np.ones(how.examples)))
    if how.codes is None:
        worst, best = -unseen_loss(_furthest(-each)), unseen_loss(_furthest(each))
        return Units(sums, sizes, np.ones(how.groups), worst=worst, best=best)
    rates = sums[sizes > 0] / sizes[sizes > 0]
    return Units(sums, sizes, np.ones(how.groups), worst=-_unseen(-rates), best=_unseen(rates))


def _furthest(values: Scores) -> float:
    furthest = float(values.max(initial=0.0))
    return furthest if furthest > NOTHING else 1.0


def _unseen(rates: Scores) -> float:
    """How far a group that nobody saw may go, as a share of its examples, on the side of `rates` above zero.

    Between the furthest that was seen and all: of `seen` groups none went further, so (at 80 %) at most the share
    zero_event_bound(seen, 0.2) of them does. Were it always all, 10 to 30 groups could hardly prove anything; were
    it the furthest seen, losses in rare groups would be taken for none (tried with benchmarks/stats_worlds.py).
    """
    seen = int((rates > 0).sum())
    if seen == 0:
        return 1.0
    further = zero_event_bound(seen, 0.2)
    return float((1 - further) * rates.max() + further)


def _correction(number: int) -> float:
    return number / (number - 1) if number > 1 else 1.0
