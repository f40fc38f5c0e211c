"""Two checkpoints, right or wrong, on the same examples: the 2 x 2 table and its intervals.

`gained`: examples that only the candidate has right; `lost`: those that only the baseline has right. Tango's score
interval judges (Tango 1998, Stat Med 17:891); Bonett and Price's and Newcombe's stand beside it as checks. All are
among those that Fagerland, Lydersen and Laake (2014, Stat Med 33:2850) recommend or compare.
"""

from __future__ import annotations

import math

from rsa_ops.core.estimate import Estimate
from rsa_ops.core.record import Value
from rsa_ops.errors import UsageError

TANGO = "Tango score interval"


class Significance(Value):
    """How surely two sides differ at all; says nothing about a margin.

    `p_value` is two-sided. `discordant` counts the examples on which the sides differ; with none of them no
    difference was seen and none is excluded: `p_value` is 1, and an interval must tell how much is left open.
    """

    p_value: float
    method: str
    examples: int
    discordant: int


def tango_interval(gained: int, lost: int, examples: int, *, confidence: float = 0.95) -> Estimate:
    """Score interval of (gained - lost) / examples, two-sided at `confidence`; Tango 1998, section 3.

    With no discordant pair it is +-z^2 / (examples + z^2), never of zero width.

    Raises:
        UsageError: counts that do not fit into `examples`, or a confidence outside (0, 1).
    """
    _require_counts(gained, lost, examples, confidence)
    low, high = tango_ends(gained, lost, examples, (1 - confidence) / 2)
    return _estimate((gained - lost) / examples, low, high, confidence, TANGO, examples)


def bonett_price_interval(gained: int, lost: int, examples: int, *, confidence: float = 0.95) -> Estimate:
    """Wald interval after one example is added to each discordant cell; Bonett and Price 2012.

    J Educ Behav Stat 37:479; equation 16 of Fagerland, Lydersen and Laake (2014).

    Raises:
        UsageError: counts that do not fit into `examples`, or a confidence outside (0, 1).
    """
    _require_counts(gained, lost, examples, confidence)
    up, down = (gained + 1) / (examples + 2), (lost + 1) / (examples + 2)
    half = _quantile(confidence) * math.sqrt((up + down - (up - down) ** 2) / (examples + 2))
    low, high = max(up - down - half, -1.0), min(up - down + half, 1.0)
    return _estimate((gained - lost) / examples, low, high, confidence, "Bonett-Price adjusted Wald", examples)


def newcombe_interval(gained: int, lost: int, both: int, neither: int, *, confidence: float = 0.95) -> Estimate:
    """Two Wilson intervals, squared and added; Newcombe 1998, Stat Med 17:2635, method 10.

    Equations 19 to 22 of Fagerland, Lydersen and Laake (2014). `both` and `neither`: right and wrong on both sides.

    Raises:
        UsageError: negative counts, no examples, or a confidence outside (0, 1).
    """
    examples = gained + lost + both + neither
    if min(both, neither) < 0:
        raise UsageError(f"counts cannot be negative, found {both} and {neither}")
    _require_counts(gained, lost, examples, confidence)
    ours, theirs = both + gained, both + lost
    spans = [_wilson(count, examples, _quantile(confidence)) for count in (ours, theirs)]
    (down_1, up_1), (down_2, up_2) = spans
    product = both * neither - gained * lost
    corrected = max(product - examples / 2, 0) if product > 0 else product
    root = math.sqrt(ours * (examples - ours) * theirs * (examples - theirs))
    link = corrected / root if root else 0.0
    value = (gained - lost) / examples

    def joined(first: float, second: float) -> float:
        return math.sqrt(max(first**2 - 2 * link * first * second + second**2, 0.0))

    low, high = value - joined(down_1, up_2), value + joined(up_1, down_2)
    return _estimate(value, max(low, -1.0), min(high, 1.0), confidence, "Newcombe square-and-add", examples)


def mcnemar_mid_p(gained: int, lost: int, examples: int) -> Significance:
    """Mid-p McNemar test of "no difference"; Fagerland, Lydersen and Laake 2013, BMC Med Res Methodol 13:91.

    The exact conditional test is too careful and the corrected asymptotic one more so; of a margin none can speak.

    Raises:
        UsageError: counts that do not fit into `examples`.
    """
    from scipy.stats import binom

    _require_counts(gained, lost, examples, 0.5)
    discordant = gained + lost
    fewer = min(gained, lost)
    point = float(binom.pmf(fewer, discordant, 0.5))
    p_value = 1 - point / 2 if gained == lost else 2 * float(binom.cdf(fewer, discordant, 0.5)) - point
    return Significance(
        p_value=p_value if discordant else 1.0, method="McNemar mid-p", examples=examples, discordant=discordant
    )


def tango_score(gained: float, lost: float, examples: float, delta: float) -> float:
    """Tango's Z for a true difference `delta` in [-1, 1] (1998, section 3); it falls as `delta` grows."""
    excess = gained - lost - examples * delta
    slope = (2 * examples - gained + lost) * delta - gained - lost
    root = math.sqrt(max(slope**2 + 8 * examples * lost * delta * (1 - delta), 0.0))
    rate_lost = (root - slope) / (4 * examples)
    variance = examples * (2 * rate_lost + delta * (1 - delta))
    if variance <= 1e-12:
        return math.copysign(math.inf, excess) if abs(excess) > 1e-9 else 0.0
    return excess / math.sqrt(variance)


def tango_ends(gained: float, lost: float, examples: float, alpha: float) -> tuple[float, float]:
    """Both ends of the interval at one-sided `alpha`; counts may be fractions, for a table that is to grow."""
    value = (gained - lost) / examples
    quantile = _quantile(1 - 2 * alpha)

    def end(outer: float) -> float:
        inside, outside = value, outer
        for _ in range(60):
            middle = (inside + outside) / 2
            if abs(tango_score(gained, lost, examples, middle)) < quantile:
                inside = middle
            else:
                outside = middle
        return inside

    return end(-1.0), end(1.0)


def _wilson(count: int, examples: int, quantile: float) -> tuple[float, float]:
    """How far the ends of Wilson's interval lie below and above count / examples."""
    rate, square = count / examples, quantile**2 / examples
    centre = (rate + square / 2) / (1 + square)
    half = math.sqrt(square * (rate * (1 - rate) + square / 4)) / (1 + square)
    return rate - centre + half, centre + half - rate


def _quantile(confidence: float) -> float:
    from scipy.special import ndtri

    return -float(ndtri((1 - confidence) / 2))


def _estimate(value: float, low: float, high: float, confidence: float, method: str, examples: int) -> Estimate:
    return Estimate(
        value=value, low=low, high=high, confidence=confidence, method=method, examples=examples, seeds=1
    )


def _require_counts(gained: int, lost: int, examples: int, confidence: float) -> None:
    if min(gained, lost) < 0 or gained + lost > examples or examples < 1 or not 0 < confidence < 1:
        raise UsageError(
            f"expected 0 <= gained + lost <= examples and 0 < confidence < 1, "
            f"found {gained} + {lost}, {examples} and {confidence}"
        )
