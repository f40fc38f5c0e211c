"""How surely one checkpoint is worse than another by more than the margin, also far out in the tail.

Many slices ask for levels far below alpha, where Tango's score is no longer normal: losses that are few are skew to
the side of harm. The score stays, and its chance is summed over all tables, at the rates that Tango's restricted
estimate gives them: the estimated p-value of Lloyd (2008, Aust N Z J Stat 50:329). It knows one pair of rates and
not the worst, so it is nearly exact and no bound.
"""

from __future__ import annotations

import math

import numpy as np

from rsa_ops.stats.power import MANY, score_parts, within, within_all


def harm_p_value(gained: int, lost: int, examples: int, *, margin: float) -> float:
    """One-sided p-value of "the loss is `margin` or less", never below that of Tango's score.

    Lloyd 2008 with Tango's score (1998, section 3); above `MANY` discordant pairs the normal limit.

    Args:
        gained: examples that only the candidate has right.
        lost: examples that only the baseline has right.
        examples: all of them.
        margin: the loss that is accepted, in (0, 1).
    """
    from scipy.special import ndtr
    from scipy.stats import binom

    excess, variance = score_parts(np.array(gained), np.array(lost), examples, margin)
    if variance <= 0:
        return 0.0 if excess < 0 else 1.0
    seen = float(excess) / math.sqrt(float(variance))
    usual = float(ndtr(seen))
    if gained + lost > MANY or usual > 0.5:
        return usual
    rate_lost = min((float(variance) / examples + margin * (1 + margin)) / 2, 1.0)
    rate_gained = max(rate_lost - margin, 0.0)
    losses = within(examples, rate_lost)[::-1]
    left = examples - losses
    share = min(rate_gained / (1 - rate_lost), 1.0) if rate_lost < 1 else 0.0
    gains = within_all(left, share)
    chance = binom.pmf(losses, examples, rate_lost)[:, None] * binom.pmf(gains, left[:, None], share)
    excesses, variances = score_parts(gains, losses[:, None], examples, margin)
    as_bad = excesses <= seen * np.sqrt(variances) + 1e-9
    return max(usual, min(float(chance[as_bad].sum()), 1.0))
