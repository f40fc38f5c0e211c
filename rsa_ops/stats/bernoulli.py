"""Is the challenger's rate of bad events higher than the baseline's by more than `margin`? For common rates.

`EProcess` looks at bad events alone; this one also at the good ones, and is the quicker the more common the bad
ones are (at 1 % there is no difference, at 30 % it needs half the units). Its margin is a difference of rates.

For an alternative (q_c, q_b) one unit multiplies the e-value by q_c(y) / p_c(y) in the challenger and
q_b(y) / p_b(y) in the baseline, y being its outcome and (p_c, p_b) the point of the null hypothesis nearest to the
alternative in Kullback-Leibler divergence w KL(q_c, p_c) + (1 - w) KL(q_b, p_b). The joint laws of arm and outcome
with p_c - p_b <= margin are a convex set, so this ratio is an e-variable for all of them (reverse information
projection: Grünwald, de Heide and Koolen 2024, JRSS B 86:1091, theorem 1; for two Bernoulli streams Turner, Ly and
Grünwald 2024, J Stat Plan Inference 230:106116). The mean over a fixed grid of alternatives is an e-process too,
and depends on the counts alone; their plug-in alternatives would depend on the order.

What is guaranteed, exactly and for any rates, also drifting ones within the margin:
1. each unit assigned by chance w: look at any time.
2. fixed blocks of w n and (1 - w) n units: look at the end of any block. With A and B the expected factors of the
   two arms, 1. says w A + (1 - w) B <= 1, and A^w B^(1 - w) is no larger (means, geometric and arithmetic).
"""

from __future__ import annotations

import math
from typing import Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, model_validator

from rsa_ops.core.record import Record
from rsa_ops.stats.counts import ArmCounts, TwoArmCounts
from rsa_ops.stats.guardrails import Guardrail

Floats = NDArray[np.float64]
_BASELINE_ODDS = (1 / 3, 1.0, 3.0)
_STEPS = (0.35, 0.7, 1.0, 1.5)


class BernoulliEProcess(Record):
    """The e-process of a difference of two rates, and all that it needs to go on.

    Turner, Ly and Grünwald 2024; Grünwald, de Heide and Koolen 2024, theorem 1 (module).

    Args:
        margin: the challenger's rate may be higher by this much, in [0, 1).
        allocation: the challenger's share w of the exposures, in (0, 1).
        baseline_rate: a guess of the baseline's rate, last month's say, in (0, 1 - margin).
        design_difference: the difference that is to be found soon, > margin. Like the guess before it, it moves
            the power and never the guarantee.
        seen: the counts so far.

    Raises:
        ValueError: terms that do not fit together, or NaN.
    """

    schema_: Literal["rsa_ops/bernoulli-e-process/v1"] = Field(
        default="rsa_ops/bernoulli-e-process/v1", alias="schema"
    )

    margin: float
    allocation: float
    baseline_rate: float
    design_difference: float
    seen: TwoArmCounts = TwoArmCounts()

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if not 0 <= self.margin < 1:
            raise ValueError(
                f"expected 0 <= margin < 1, found {self.margin}: it is the rise of the bad-event rate that is "
                "still acceptable, 0.01 for one point of 100"
            )
        if not 0 < self.allocation < 1:
            raise ValueError(
                f"expected 0 < allocation < 1, found {self.allocation}: it is the challenger's share of the traffic"
            )
        if not 0 < self.baseline_rate < 1 - self.margin:
            raise ValueError(
                f"expected 0 < baseline_rate < 1 - margin, found {self.baseline_rate} at margin {self.margin}: "
                "give the bad-event rate of the baseline as last seen"
            )
        if not self.margin < self.design_difference < 1 - self.baseline_rate:
            raise ValueError(
                f"expected margin < design_difference < 1 - baseline_rate, found {self.design_difference}: "
                "it is the harm to be found, which lies beyond the margin"
            )
        return self

    def update(self, challenger: ArmCounts, baseline: ArmCounts) -> Self:
        """The state after these new outcomes."""
        return self.model_copy(update={"seen": self.seen.plus(challenger, baseline)})

    def read(self, challenger: ArmCounts, baseline: ArmCounts) -> Self:
        """The state at these totals.

        Raises:
            IntegrityError: totals that fell.
        """
        return self.model_copy(update={"seen": self.seen.until(challenger, baseline)})

    @property
    def log_e_harm(self) -> float:
        """Log e-value against "challenger - baseline <= margin"; reject at log(1 / alpha)."""
        return self._log_e(self.baseline_rate + self.design_difference)

    @property
    def log_e_safe(self) -> float:
        """Log e-value against "challenger - baseline >= margin".

        It aims at equal rates; at margin 0 at a challenger as much better, in odds, as the design is worse.
        """
        if self.margin > 0:
            return self._log_e(self.baseline_rate)
        worse = _logit(self.baseline_rate + self.design_difference)
        return self._log_e(_expit(2 * _logit(self.baseline_rate) - worse))

    def guardrail(self, name: str) -> Guardrail:
        """The evidence of this moment, for `decide_rollout`."""
        return Guardrail(name=name, log_e_harm=self.log_e_harm, log_e_safe=self.log_e_safe, guarantee="exact")

    def _log_e(self, aim: float) -> float:
        bets = bets_towards(aim, margin=self.margin, allocation=self.allocation, baseline_rate=self.baseline_rate)
        ours, theirs = self.seen.challenger, self.seen.baseline
        return float(two_stream_log_e(ours.bad, ours.exposures, theirs.bad, theirs.exposures, bets))


def bets_towards(aim: float, *, margin: float, allocation: float, baseline_rate: float) -> Floats:
    """Log factors [bets, 4] of one unit: challenger bad, challenger good, baseline bad, baseline good.

    Args:
        aim: the challenger's rate that is to be told from baseline_rate + margin, on either side of it.
        margin: difference of rates at the border of the null hypothesis, in [0, 1).
        allocation: the challenger's share, in (0, 1).
        baseline_rate: the middle of the grid of baseline rates; the others have a third and three times its odds.
    """
    step = _logit(aim) - _logit(baseline_rate + margin)
    guesses = [_expit(_logit(baseline_rate) + math.log(odds)) for odds in _BASELINE_ODDS]
    theirs = np.array([guess for guess in guesses if guess + margin < 1 for _ in _STEPS])
    ours = np.array([_expit(_logit(q + margin) + s * step) for q in guesses if q + margin < 1 for s in _STEPS])
    border = _nearest_border(ours, theirs, margin, allocation)
    return np.column_stack(
        [
            np.log(ours / (border + margin)),
            np.log((1 - ours) / (1 - border - margin)),
            np.log(theirs / border),
            np.log((1 - theirs) / (1 - border)),
        ]
    )


def two_stream_log_e(
    bad_ours: ArrayLike, ours: ArrayLike, bad_theirs: ArrayLike, theirs: ArrayLike, bets: Floats
) -> Floats:
    """Log of the mean over all bets of the e-value at these counts.

    Args:
        bad_ours: bad events of the challenger; any shape, as the other counts.
        ours: exposures of the challenger.
        bad_theirs: bad events of the baseline.
        theirs: exposures of the baseline.
        bets: of `bets_towards`.
    """
    k, n = np.asarray(bad_ours, dtype=np.float64), np.asarray(ours, dtype=np.float64)
    j, m = np.asarray(bad_theirs, dtype=np.float64), np.asarray(theirs, dtype=np.float64)
    total = np.full(np.broadcast_shapes(k.shape, n.shape, j.shape, m.shape), -np.inf)
    for bad_c, good_c, bad_b, good_b in bets:
        total = np.logaddexp(total, k * bad_c + (n - k) * good_c + j * bad_b + (m - j) * good_b)
    return total - math.log(len(bets))


def _nearest_border(ours: Floats, theirs: Floats, margin: float, allocation: float) -> Floats:
    """The p in (0, 1 - margin) at which (p + margin, p) is nearest to (ours, theirs); by bisection of the slope."""
    low, high = np.zeros_like(ours), np.full_like(ours, 1 - margin)
    for _ in range(200):
        p = (low + high) / 2
        up = p + margin
        slope = allocation * (ours - up) * p * (1 - p) + (1 - allocation) * (theirs - p) * up * (1 - up)
        low, high = np.where(slope > 0, p, low), np.where(slope > 0, high, p)
    return (low + high) / 2


def _logit(p: float) -> float:
    return math.log(p) - math.log1p(-p)


def _expit(x: float) -> float:
    return 1 / (1 + math.exp(-x))
