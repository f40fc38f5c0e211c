"""Laws of the chance that a loss is harm: the sum over all tables, and a level that holds far out in the tail."""

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from rsa_ops.stats.harm import harm_p_value
from rsa_ops.stats.proportions import tango_score

EXAMPLES, MARGIN = 60, 0.08


def test_it_is_the_sum_over_every_table_at_the_rates_of_tangos_estimate() -> None:
    gained, lost = 3, 13
    # The restricted rates by brute force: the likeliest pair with a loss of the margin.
    grid = np.linspace(MARGIN + 1e-9, 0.53, 200_001)
    likely = gained * np.log(grid - MARGIN) + lost * np.log(grid)
    likely += (EXAMPLES - gained - lost) * np.log(1 - 2 * grid + MARGIN)
    down = float(grid[likely.argmax()])
    rates, seen = [down - MARGIN, down, 1 - 2 * down + MARGIN], tango_score(gained, lost, EXAMPLES, -MARGIN)
    total = sum(
        scipy_stats.multinomial.pmf([up, fall, EXAMPLES - up - fall], EXAMPLES, rates)
        for up in range(EXAMPLES + 1)
        for fall in range(EXAMPLES + 1 - up)
        if tango_score(up, fall, EXAMPLES, -MARGIN) <= seen + 1e-9
    )
    assert harm_p_value(gained, lost, EXAMPLES, margin=MARGIN) == pytest.approx(total, rel=1e-3)


def test_with_losses_only_it_is_the_binomial_tail_where_the_score_is_less_than_half_of_it() -> None:
    # Tango's estimate of the losses is a little above the margin, and so is the tail.
    tail = float(scipy_stats.binom.sf(14, 150, 0.05))
    assert tail < harm_p_value(0, 15, 150, margin=0.05) < 1.1 * tail
    assert scipy_stats.norm.cdf(tango_score(0, 15, 150, -0.05)) < 0.5 * tail


@pytest.mark.parametrize(("gained", "lost"), [(0, 0), (0, 60), (60, 0), (5, 5), (0, 3), (20, 40)])
def test_it_is_a_probability_and_never_below_that_of_the_score(gained: int, lost: int) -> None:
    score = tango_score(gained, lost, EXAMPLES, -MARGIN)
    assert scipy_stats.norm.cdf(score) - 1e-12 <= harm_p_value(gained, lost, EXAMPLES, margin=MARGIN) <= 1


@pytest.mark.parametrize("gains", [0.0, 0.035])
def test_at_an_eighth_of_five_percent_the_level_holds_where_the_scores_does_not(gains: float) -> None:
    examples, margin, level = 150, 0.05, 0.05 / 8
    harmed = {"score": 0.0, "table": 0.0}
    for lost in range(61):
        for gained in range(31 if gains else 1):
            chance = scipy_stats.multinomial.pmf(
                [gained, lost, examples - gained - lost], examples, [gains, gains + margin, 1 - 2 * gains - margin]
            )
            if chance > 1e-9:
                usual = scipy_stats.norm.cdf(tango_score(gained, lost, examples, -margin))
                harmed["score"] += float(chance) * bool(usual <= level)
                harmed["table"] += float(chance) * (harm_p_value(gained, lost, examples, margin=margin) <= level)
    assert harmed["table"] <= level < harmed["score"]


def test_many_discordant_pairs_are_the_normal_limit() -> None:
    usual = scipy_stats.norm.cdf(tango_score(2000, 3500, 90_000, -0.015))
    assert harm_p_value(2000, 3500, 90_000, margin=0.015) == usual
    near = harm_p_value(1800, 3100, 90_000, margin=0.0125)  # 4,900 pairs are still summed
    score = tango_score(1800, 3100, 90_000, -0.0125)
    assert near == pytest.approx(float(scipy_stats.norm.cdf(score)), rel=0.05)
    assert math.isfinite(near)
