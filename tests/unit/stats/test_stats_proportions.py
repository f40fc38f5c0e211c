"""Laws of the 2 x 2 table.

Published values: Fagerland, Lydersen and Laake (2014), Table V, and the tests of their R package
contingencytables (chapter 8): Cavo 2012 (59, 6; 16, 80), Bentur 2009 (1, 1; 7, 12). The values to six digits were
printed by evalstats 0.3.3, an implementation by others (`tango_scc_paired_ci` with c=0, `bonett_price_paired_ci`,
`newcombe_mover_paired_ci`, `_mcnemar_midp_p`); it is no dependency of the project.
"""

import numpy as np
import pytest
from scipy import stats as scipy_stats

from rsa_ops.core.estimate import Estimate
from rsa_ops.errors import UsageError
from rsa_ops.stats import (
    any_difference,
    bonett_price_interval,
    mcnemar_mid_p,
    newcombe_interval,
    tango_interval,
)

# (gained, lost, both, neither): Tango, Bonett-Price, Newcombe, mid-p
EVALSTATS = {
    (6, 16, 59, 80): ((-0.124023, -0.005433), (-0.119499, -0.003201), (-0.118621, -0.004625), 0.034690),
    (1, 7, 1, 12): ((-0.517232, -0.026003), (-0.508359, -0.013380), (-0.506920, -0.025559), 0.039063),
    (10, 12, 870, 108): ((-0.012059, 0.007784), (-0.011578, 0.007586), (-0.011862, 0.007785), 0.677639),
    (0, 0, 50, 0): ((-0.071348, 0.071348), (-0.053304, 0.053304), (-0.071348, 0.071348), 1.0),
    (3, 0, 90, 7): ((-0.008103, 0.084519), (-0.013174, 0.071998), (-0.014504, 0.082747), 0.125000),
    (40, 22, 700, 238): ((0.002646, 0.034207), (0.002355, 0.033573), (0.002454, 0.033628), 0.022575),
    (0, 9, 1, 2): ((-0.911058, -0.325635), (-0.962539, -0.323176), (-0.887900, -0.359665), 0.001953),
}


def ends(found: Estimate, digits: int) -> tuple[float, float]:
    return round(found.low, digits), round(found.high, digits)


@pytest.mark.parametrize("table", EVALSTATS)
def test_all_three_intervals_and_mid_p_are_evalstats_to_the_printed_digits(
    table: tuple[int, int, int, int],
) -> None:
    gained, lost, _, _ = table
    tango, bonett_price, newcombe, mid_p = EVALSTATS[table]
    assert ends(tango_interval(gained, lost, sum(table)), 6) == tango
    assert ends(bonett_price_interval(gained, lost, sum(table)), 6) == bonett_price
    assert ends(newcombe_interval(*table), 6) == newcombe
    assert mcnemar_mid_p(gained, lost, sum(table)).p_value == pytest.approx(mid_p, abs=6e-7)


def test_the_published_examples_to_the_printed_digits() -> None:
    assert ends(tango_interval(1, 7, 21), 3) == (-0.517, -0.026)  # Table V
    assert ends(tango_interval(6, 16, 161), 4) == (-0.1240, -0.0054)
    assert ends(bonett_price_interval(6, 16, 161), 4) == (-0.1195, -0.0032)
    assert ends(newcombe_interval(6, 16, 59, 80), 4) == (-0.1186, -0.0046)
    assert round(mcnemar_mid_p(6, 16, 161).p_value, 6) == 0.034690


def test_tango_at_ninety_per_cent_is_the_r_package_propcis() -> None:
    # scoreci.mp(25, 28, 618) at 90 %, reported as -0.0148 to 0.0247.
    assert ends(tango_interval(28, 25, 618, confidence=0.9), 4) == (-0.0148, 0.0247)


# statsmodels 0.15.0, mcnemar([[20, gained], [lost, 30]], exact=True).pvalue; no dependency of the project.
STATSMODELS = {
    (6, 16): 0.052478790283203125,
    (1, 7): 0.0703125,
    (10, 12): 0.8318119049072266,
    (0, 5): 0.0625,
    (9, 9): 1.0,
}


@pytest.mark.parametrize(("gained", "lost"), STATSMODELS)
def test_mid_p_is_the_exact_p_of_statsmodels_less_half_its_last_points(gained: int, lost: int) -> None:
    exact = STATSMODELS[gained, lost]
    point = scipy_stats.binom.pmf(min(gained, lost), gained + lost, 0.5)
    # At a tie both tails hold the middle point, so that statsmodels cuts their sum to 1 and half the point is left.
    expected = 1 - point / 2 if gained == lost else exact - point
    assert mcnemar_mid_p(gained, lost, 50 + gained + lost).p_value == pytest.approx(expected)


def test_any_difference_of_right_or_wrong_scores_is_mid_p_and_of_others_scipys_paired_t() -> None:
    ours, theirs = np.ones(161), np.ones(161)
    theirs[:6] = 0
    ours[6:22] = 0
    found = any_difference(ours, theirs)
    assert round(found.p_value, 6) == 0.034690
    assert (found.discordant, found.examples) == (22, 161)
    rng = np.random.default_rng(3)
    first, second = rng.normal(0.6, 0.2, 40), rng.normal(0.55, 0.2, 40)
    assert any_difference(first, second).p_value == pytest.approx(scipy_stats.ttest_rel(first, second).pvalue)


def test_newcombes_link_between_the_sides_is_cut_as_method_10_cuts_it() -> None:
    # Product 12 * 12 - 3 * 3 = 135 > 30 / 2: less n / 2. Product 4 * 4 - 3 * 3 = 7 <= 14 / 2: two Wilsons alone.
    two = newcombe_interval(3, 3, 4, 4)
    square = scipy_stats.norm.ppf(0.975) ** 2 / 14
    half = np.sqrt(square * (0.25 + square / 4)) / (1 + square)
    assert two.high == pytest.approx(np.sqrt(2) * half)
    linked = newcombe_interval(3, 3, 12, 12)
    square = scipy_stats.norm.ppf(0.975) ** 2 / 30
    half = np.sqrt(square * (0.25 + square / 4)) / (1 + square)
    assert linked.high == pytest.approx(half * np.sqrt(2 - 2 * (135 - 15) / 225))


@pytest.mark.parametrize("counts", [(6, 6, 10), (-1, 2, 10), (0, 0, 0)])
def test_counts_that_do_not_fit_are_refused(counts: tuple[int, int, int]) -> None:
    for interval in (tango_interval, bonett_price_interval):
        with pytest.raises(UsageError):
            interval(*counts)
    with pytest.raises(UsageError):
        mcnemar_mid_p(*counts)
    with pytest.raises(UsageError):
        newcombe_interval(1, 1, -3, 10)
    with pytest.raises(UsageError):
        tango_interval(1, 1, 10, confidence=1.0)


def test_results_render_as_json() -> None:
    assert '"method":"Tango score interval"' in tango_interval(1, 2, 30).model_dump_json()
    assert '"discordant":3' in mcnemar_mid_p(1, 2, 30).model_dump_json()
