"""Law: at a true loss equal to the margin, "not worse" is said in about 5 % of trials, seeds and all.

The world: n examples, each with a chance of being right; candidate and baseline disagree on part of them; every
seed moves its whole model by a normal shift. The true difference is -margin. Grid and target follow
research/ab_tco.md section 1.3 (accept at most 6.5 % at nominal 5 %), at a size that fits CI; the limit adds three
Monte Carlo standard errors. Pooled rows must fail on the same data: a grid that cannot tell is no grid.
"""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats as scipy_stats

from rsa_ops.core.estimate import Answer
from rsa_ops.stats import bootstrap_difference, noninferiority, weighted_mean

MARGIN = 0.01
ACCEPT = (Answer.NON_INFERIOR, Answer.SUPERIOR)
Scores = NDArray[np.float64]
Says = Callable[[Scores, Scores], bool]


def trial(rng: np.random.Generator, n: int, seeds: int, seed_sd: float) -> tuple[Scores, Scores]:
    """Scores of both arms [seeds, n]: base 0.9 on average, example effects shared, true difference -MARGIN."""
    hard = rng.beta(0.6, 5.4, size=n)  # chance of being wrong, mean 0.1: near 0 for most examples

    def arm(loss: float) -> Scores:
        shift = rng.normal(0.0, seed_sd, size=(seeds, 1))
        return (rng.random((seeds, n)) >= hard * (1 + (loss - shift) / 0.1)).astype(np.float64)

    return arm(MARGIN), arm(0.0)


def crossed(ours: Scores, theirs: Scores) -> bool:
    return noninferiority(ours, theirs, margin=MARGIN).answer in ACCEPT


def pooled(ours: Scores, theirs: Scores) -> bool:
    rows = (ours - theirs).ravel()
    error = rows.std(ddof=1) / rows.size**0.5
    return bool(rows.mean() - scipy_stats.norm.ppf(0.95) * error > -MARGIN)


def rate(says: Says, *, n: int, seeds: int, seed_sd: float, trials: int, rng: int) -> float:
    generator = np.random.default_rng(rng)
    return float(np.mean([says(*trial(generator, n, seeds, seed_sd)) for _ in range(trials)]))


def limit(trials: int) -> float:
    return 0.065 + 3 * (0.065 * 0.935 / trials) ** 0.5


@pytest.mark.parametrize("seed_sd", [0.0, 0.004, 0.008])
@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("n", [500, 1000])
def test_a_loss_of_the_margin_is_rarely_called_not_worse(n: int, seeds: int, seed_sd: float) -> None:
    trials = 1000
    assert rate(crossed, n=n, seeds=seeds, seed_sd=seed_sd, trials=trials, rng=n + seeds) <= limit(trials)


@pytest.mark.parametrize("n", [300, 500, 700])
def test_a_few_examples_lost_for_good_are_not_taken_for_luck(n: int) -> None:
    """All seeds lose the same 1 % of the examples and nothing else moves: 3 to 7 losses, no gain, no seed noise."""
    generator, trials, said = np.random.default_rng(n), 1000, 0
    for _ in range(trials):
        theirs = np.ones((3, n))
        said += crossed(theirs * (generator.random(n) >= MARGIN), theirs)
    assert said / trials <= limit(trials)


def test_pooled_rows_fail_on_the_same_grid() -> None:
    assert rate(pooled, n=1000, seeds=5, seed_sd=0.008, trials=1000, rng=1005) > 0.09


def test_the_bootstrap_keeps_the_level_too() -> None:
    draws = np.random.default_rng(3)

    def resampled(ours: Scores, theirs: Scores) -> bool:
        arms = weighted_mean(ours), weighted_mean(theirs)
        return bootstrap_difference(*arms, margin=MARGIN, rng=draws, draws=100).answer in ACCEPT

    assert rate(resampled, n=300, seeds=3, seed_sd=0.008, trials=400, rng=5) <= limit(400)
