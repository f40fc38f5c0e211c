"""Worlds whose truth is known: scores of two arms, seeds crossed with examples, at a loss that is exact.

`ranked`: examples are ordered by difficulty and a trained model gets right what lies below its ability; a share of
the examples are coins that fall with the same ability. Ability is normal over seeds and nothing is cut off at 0 or
1, so the mean difference is the loss exactly. `coins`: all disagreement is in examples that every model guesses, so
that nothing persists between examples; the other end of what data can be. `normal`: no examples at all, only the
mean squares of the ideal model of `rsa_ops.stats.spread`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats as scipy_stats

RIGHT = 0.9
"""Mean accuracy of the baseline."""

Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Cell:
    """One cell of the grid. `discordance`: examples on which one model of each arm disagree, expected share."""

    examples: int
    discordance: float
    seeds: int
    seed_sd: float
    loss: float = 0.01
    world: str = "ranked"

    @property
    def abilities(self) -> tuple[float, float]:
        """Mean accuracy of candidate and baseline."""
        return RIGHT - self.loss, RIGHT


def draw(cell: Cell, rng: np.random.Generator) -> tuple[Scores, Scores]:
    """Scores of both arms, [seeds, examples], 0 or 1."""
    return ranked(cell, rng) if cell.world == "ranked" else coins(cell, rng)


def ranked(cell: Cell, rng: np.random.Generator) -> tuple[Scores, Scores]:
    """Abilities against ranks; see the module."""
    guessed = rng.binomial(cell.examples, share_of_coins(cell))
    ranks = rng.random(cell.examples)

    def arm(ability: float) -> Scores:
        able = rng.normal(ability, cell.seed_sd, (cell.seeds, 1))
        right = np.broadcast_to(ranks, (cell.seeds, cell.examples)).copy()
        right[:, :guessed] = rng.random((cell.seeds, guessed))
        return (right < able).astype(np.float64)

    ours, theirs = cell.abilities
    return arm(ours), arm(theirs)


def coins(cell: Cell, rng: np.random.Generator) -> tuple[Scores, Scores]:
    """Twice the discordance of the examples are coins; loss and seeds move how often they fall right."""
    share = 2 * cell.discordance
    guessed = rng.binomial(cell.examples, share)

    def arm(loss: float) -> Scores:
        right = np.ones((cell.seeds, cell.examples))
        chance = 0.5 + (rng.normal(-loss, cell.seed_sd, (cell.seeds, 1))) / share
        right[:, :guessed] = rng.random((cell.seeds, guessed)) < chance
        return right

    return arm(cell.loss), arm(0.0)


def share_of_coins(cell: Cell) -> float:
    """Which share of coins gives `ranked` the discordance of the cell.

    Two models of ranks disagree on |difference of abilities| of the examples, a folded normal; two coins on
    a (1 - b) + b (1 - a).
    """
    ours, theirs = cell.abilities
    sd = cell.seed_sd * math.sqrt(2)
    apart = cell.loss
    if sd > 0:
        ratio = cell.loss / sd
        apart = sd * math.sqrt(2 / math.pi) * math.exp(-(ratio**2) / 2)
        apart += cell.loss * (1 - 2 * float(scipy_stats.norm.cdf(-ratio)))
    coin = ours * (1 - theirs) + theirs * (1 - ours)
    share = (cell.discordance - apart) / (coin - apart)
    if not 0 <= share <= 1:
        raise ValueError(f"{cell}: the seeds alone disagree on {apart:.4f} of the examples")
    return share


class MeanSquares(NamedTuple):
    """What the ideal model yields: `values` [trials], `squares` M [2, trials], with R / n = 1 in both arms."""

    values: Scores
    squares: Scores


def normal(
    seeds: int,
    persistent: float,
    seed_variance: float,
    trials: int,
    rng: np.random.Generator,
    *,
    steady: bool = False,
) -> MeanSquares:
    """Mean differences of truth zero; variances in units of R / n, `persistent` = var(example difference) / n.

    `steady`: the seeds of one arm do not differ; only the other arm has `seed_variance`.
    """
    each = np.array([[1.0 if steady else seed_variance + 1.0], [seed_variance + 1.0]])
    values = rng.normal(size=trials) * math.sqrt(persistent + float(each.sum()) / seeds)
    return MeanSquares(values, each * rng.chisquare(seeds - 1, (2, trials)) / (seeds - 1))


def grouped_scores(
    groups: int, size: int, seeds: int, hard: float, rng: np.random.Generator
) -> tuple[Scores, Scores, NDArray[np.intp]]:
    """Right-or-wrong scores where a whole group (a document, a customer) is easy or hard, and lost together.

    The share `hard` of the groups is hard for either arm on its own: there a score is right with 0.5 and elsewhere
    with 0.95, and the arms draw their hard groups independently, so that differences are shared within groups. The
    true difference is zero, and each of several seeds moves its whole model with an SD of 1 point.
    """
    codes = np.repeat(np.arange(groups), size)

    def arm() -> Scores:
        chance = np.where((rng.random(groups) < hard)[codes], 0.5, 0.95) + rng.normal(
            0.0, 0.01 * (seeds > 1), (seeds, 1)
        )
        return (rng.random((seeds, groups * size)) < chance).astype(np.float64)

    return arm(), arm(), codes
