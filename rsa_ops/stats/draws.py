"""Drawing examples again: with replacement, the same draw for every seed and both arms (Efron 1979, Ann Stat 7:1).

Where the metric is a mean, the draws go through the examples in blocks: how many fall into each block is binomial,
where inside a block uniform, so together they are the multinomial law of the bootstrap, exactly. Memory does not
grow with the examples, and time grows linearly.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from rsa_ops.errors import IntegrityError, UsageError
from rsa_ops.stats.inputs import Codes, Sampling, Scores, sampling

WeightedMetric = Callable[[int, Scores], float]
"""(seed index, example weights [examples]) -> the metric of that seed. The weights count how often each example was
drawn; they sum to about the number of examples, so a metric divides by their sum."""

CELLS = 2**21
"""How many (draw, example) pairs are held at once: 16 MiB a table."""


@dataclass(frozen=True)
class ArmMetric:
    """A metric of one arm: `metric(seed, weights)` over `seeds` seeds and `examples` examples.

    `table` [seeds, examples]: where the metric is the weighted mean of a row, those rows; a fast path, no other
    result. `how`: groups of examples that are drawn together (`grouped`).
    """

    metric: WeightedMetric
    seeds: int
    examples: int
    table: Scores | None = None
    how: Sampling | None = None

    @property
    def drawn_units(self) -> int:
        """How many units a draw consists of: groups, or examples."""
        return self.examples if self.how is None else self.how.groups


class Drawn(NamedTuple):
    """A metric on all examples, [seeds], and on each draw, [seeds, draws]."""

    point: Scores
    draws: Scores


def grouped(arm: ArmMetric, groups: ArrayLike) -> ArmMetric:
    """The same metric, where whole groups of examples are drawn (cluster bootstrap; Davison and Hinkley 1997, 3.8).

    Args:
        arm: the metric.
        groups: a label [examples]; give both arms the same.

    Raises:
        UsageError: another number of labels than of examples. DataRefused: an example without a label.
    """
    return replace(arm, how=sampling(arm.examples, groups))


def draw(arms: tuple[ArmMetric, ...], draws: int, rng: np.random.Generator) -> tuple[Drawn, ...]:
    """Each arm's metric on `draws` draws of the examples, the same draws for all arms.

    Raises:
        UsageError: fewer than 2 examples or groups, 100 draws or 1 seed.
        IntegrityError: the metric is NaN or infinite on all examples or on a draw.
    """
    units = arms[0].drawn_units
    if units < 2 or draws < 100 or min(arm.seeds for arm in arms) < 1:
        raise UsageError(f"expected 2 examples or groups, 100 draws and 1 seed or more, found {units} and {draws}")
    flat = np.ones(arms[0].examples)
    points = [np.array([arm.metric(seed, flat) for seed in range(arm.seeds)]) for arm in arms]
    tables = [arm.table for arm in arms if arm.table is not None]
    found = _of_means(tables, arms[0].how, draws, rng) if len(tables) == len(arms) else _of_any(arms, draws, rng)
    out = tuple(Drawn(point, of_arm) for point, of_arm in zip(points, found, strict=True))
    if not all(np.isfinite(entry.point).all() and np.isfinite(entry.draws).all() for entry in out):
        raise IntegrityError("the metric is NaN or infinite on a draw", hint="Define it for absent classes.")
    return out


def _of_any(arms: tuple[ArmMetric, ...], draws: int, rng: np.random.Generator) -> list[Scores]:
    units, how = arms[0].drawn_units, arms[0].how
    found = [np.empty((arm.seeds, draws)) for arm in arms]
    for index in range(draws):
        counts = np.bincount(rng.integers(units, size=units), minlength=units).astype(np.float64)
        weights = counts if how is None or how.codes is None else counts[how.codes]
        for arm, out in zip(arms, found, strict=True):
            out[:, index] = [arm.metric(seed, weights) for seed in range(arm.seeds)]
    return found


def _of_means(tables: list[Scores], how: Sampling | None, draws: int, rng: np.random.Generator) -> list[Scores]:
    """Weighted means of all rows of `tables` [seeds, examples] on each draw, [seeds, draws] a table."""
    if how is not None:
        sizes = how.sums(np.ones(how.examples))
        tables = [np.stack([how.sums(row) for row in table]) for table in tables]
    else:
        sizes = np.ones(tables[0].shape[1])
    units = len(sizes)
    sums = [np.zeros((len(table), draws)) for table in tables]
    total, left = np.zeros(draws), np.full(draws, units)
    width = max(CELLS // draws, 64)
    for start in range(0, units, width):
        here = slice(start, min(start + width, units))
        counts, left = _block(here.stop - start, units - start, left, rng)
        total += counts @ sizes[here]
        for place, table in enumerate(tables):
            sums[place] += table[:, here] @ counts.T
    return [out / total for out in sums]


def _block(width: int, remaining: int, left: Codes, rng: np.random.Generator) -> tuple[Scores, Codes]:
    """How often each of the next `width` of `remaining` units is drawn [draws, width], and what is left to draw."""
    fallen = rng.binomial(left, width / remaining)
    places = rng.integers(width, size=int(fallen.sum())) + np.repeat(np.arange(len(left)) * width, fallen)
    counts = np.bincount(places, minlength=len(left) * width).reshape(len(left), width)
    return counts.astype(np.float64), left - fallen
