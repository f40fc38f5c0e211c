"""Is the challenger's rate of bad events more than `ratio_margin` times the baseline's? Asked at any time.

Given a bad event, it is the challenger's with probability theta = w p_c / (w p_c + (1 - w) p_b), where w is the
challenger's share of the exposures and p_c, p_b are the rates. "p_c <= r p_b" is "theta <= theta0" with
theta0 = r w / (r w + 1 - w). For k of n bad events in the challenger, and theta1 > theta0, the likelihood ratio
(theta1 / theta0)^k ((1 - theta1) / (1 - theta0))^(n - k) is an e-process, and so is its mean over a prior of
theta1: here a Beta(a, b) cut off at theta0, in closed form by the incomplete beta function. Source: Lindon and
Malek 2022, Anytime-valid inference for multinomial count data (NeurIPS 35); the one-sided prior is ours.

What is guaranteed. With u = theta1 / theta0 - 1 > 0 and v = (1 - theta1) / (1 - theta0) - 1 < 0 there is
theta0 u + (1 - theta0) v = 0. Hence, exactly, for any rates, rare or common, also drifting ones:
1. each unit assigned by chance w: E[factor] = 1 + w p_c u + (1 - w) p_b v <= 1 if p_c <= r p_b. Look at any time.
2. fixed blocks of w n and (1 - w) n units: (1 + p_c u)^(w n) (1 + p_b v)^((1 - w) n) <= 1 by 1 + x <= e^x. Look at
   the end of any block.
Not guaranteed: shares that differ from w (see `SampleRatio`), and several outcomes of one unit counted as units.
When a ramp changes the shares, start a new state: log e-values of successive states add up.
Common rates: valid but blind to good outcomes, so slower than `BernoulliEProcess`.
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
Prior = tuple[float, float]
UNIFORM: Prior = (1.0, 1.0)
_TOWARDS_DESIGN = 0.8
_TINY = 1e-250


class EProcess(Record):
    """The e-process of one bad-event rate, and all that it needs to go on; Lindon and Malek 2022 (module).

    Args:
        ratio_margin: the challenger may have up to this many times the baseline's rate, >= 1.
        allocation: the challenger's share w of the exposures, in (0, 1).
        design_ratio: the ratio of rates that is to be found soon, > `ratio_margin`; any other is found too, later.
            It moves the power and never the guarantee. None: no ratio is preferred (uniform prior).
        seen: the counts so far.

    Raises:
        ValueError: a margin below 1, an allocation outside (0, 1), a design ratio that is no harm, or NaN.
    """

    schema_: Literal["rsa_ops/e-process/v1"] = Field(default="rsa_ops/e-process/v1", alias="schema")

    ratio_margin: float
    allocation: float
    design_ratio: float | None = 2.0
    seen: TwoArmCounts = TwoArmCounts()

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if self.ratio_margin < 1:
            raise ValueError(
                f"expected ratio_margin >= 1, found {self.ratio_margin}: it is the ratio of rates that is still "
                "acceptable, 1.25 for a quarter more bad events than the baseline"
            )
        if not 0 < self.allocation < 1:
            raise ValueError(
                f"expected 0 < allocation < 1, found {self.allocation}: it is the challenger's share of the traffic"
            )
        if self.design_ratio is not None and self.design_ratio <= self.ratio_margin:
            raise ValueError(
                f"expected design_ratio > ratio_margin, found {self.design_ratio} and {self.ratio_margin}: "
                "it is the harm to be found, which lies beyond what is acceptable"
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
    def theta0(self) -> float:
        """The largest acceptable probability that a bad event is the challenger's."""
        return challenger_share(self.ratio_margin, self.allocation)

    @property
    def log_e_harm(self) -> float:
        """Log e-value against "rate ratio <= margin"; reject at log(1 / alpha)."""
        ours, theirs = self.seen.challenger.bad, self.seen.baseline.bad
        prior = UNIFORM
        if self.design_ratio is not None:
            prior = prior_towards(self.theta0, self._aim(self.design_ratio))
        return float(conditional_log_e(ours, ours + theirs, self.theta0, prior))

    @property
    def log_e_safe(self) -> float:
        """Log e-value against "rate ratio >= margin"; aims at equal rates, at margin 1 at 1 / design_ratio."""
        ours, theirs = self.seen.challenger.bad, self.seen.baseline.bad
        prior = UNIFORM
        if self.design_ratio is not None:
            aim = self._aim(1.0 if self.ratio_margin > 1 else 1 / self.design_ratio)
            prior = prior_towards(1 - self.theta0, 1 - aim)
        return float(conditional_log_e(theirs, ours + theirs, 1 - self.theta0, prior))

    def guardrail(self, name: str) -> Guardrail:
        """The evidence of this moment, for `decide_rollout`."""
        return Guardrail(name=name, log_e_harm=self.log_e_harm, log_e_safe=self.log_e_safe, guarantee="exact")

    def _aim(self, ratio: float) -> float:
        log_margin = math.log(self.ratio_margin)
        aimed = math.exp(log_margin + _TOWARDS_DESIGN * (math.log(ratio) - log_margin))
        return challenger_share(aimed, self.allocation)


def challenger_share(ratio: float, allocation: float) -> float:
    """Probability that a bad event is the challenger's, at this ratio of rates and share of exposures."""
    return ratio * allocation / (ratio * allocation + 1 - allocation)


def prior_towards(theta0: float, theta1: float) -> Prior:
    """Beta parameters with mean theta1 > theta0 and a standard deviation of a third of the distance to theta0."""
    size = 9 * theta1 * (1 - theta1) / (theta1 - theta0) ** 2
    return size * theta1, size * (1 - theta1)


def conditional_log_e(hits: ArrayLike, events: ArrayLike, theta0: float, prior: Prior = UNIFORM) -> Floats:
    """Log e-value against "a hit has probability <= theta0", mixed over Beta(prior) above theta0.

    Args:
        hits: how many of the events were hits; any shape.
        events: how many events there were; the same shape.
        theta0: in (0, 1).
        prior: parameters a, b > 0.
    """
    k, n = np.asarray(hits, dtype=np.float64), np.asarray(events, dtype=np.float64)
    a, b = prior
    posterior = _log_upper_beta(a + k, b + n - k, theta0)
    start = _log_upper_beta(np.asarray(a), np.asarray(b), theta0)
    found: Floats = posterior - start - k * math.log(theta0) - (n - k) * math.log1p(-theta0)
    return found


def _log_upper_beta(p: Floats, q: Floats, x: float) -> Floats:
    """Log of the integral of t^(p-1) (1-t)^(q-1) over [x, 1], also where its share of [0, 1] underflows."""
    from scipy.special import betaincc, betaln

    upper = betaincc(p, q, x)
    with np.errstate(divide="ignore"):
        usual = betaln(p, q) + np.log(upper)
    return np.where(upper > _TINY, usual, _log_far_tail(p, q, x, upper > _TINY))


def _log_far_tail(p: Floats, q: Floats, x: float, done: NDArray[np.bool_]) -> Floats:
    """x^p (1-x)^q / q * 2F1(p + q, 1; q + 1; 1 - x), a series of falling positive terms (DLMF 8.17.8)."""
    p, q = np.broadcast_arrays(p, q)
    total, term, step = np.ones(p.shape), np.where(done, 0.0, 1.0), 0
    while np.any(term > 1e-17 * total):
        term = term * (p + q + step) / (q + 1 + step) * (1 - x)
        total = total + term
        step += 1
    found: Floats = p * math.log(x) + q * math.log1p(-x) - np.log(q) + np.log(total)
    return found
