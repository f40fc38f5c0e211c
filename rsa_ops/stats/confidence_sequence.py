"""The difference of two means with an interval that may be looked at as often as one likes; asymptotic.

Source: Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas 2024, Time-uniform central limit theory and asymptotic
confidence sequences, Ann Stat 52:2613 (arXiv 2103.06476v9): theorem 2.2, two-sided; one-sided with the one-sided
normal mixture of Howard, Ramdas, McAuliffe and Sekhon 2021, Ann Stat 49:1055, in its closed form. With n
observations in both arms and s^2 = n (var_c / n_c + var_b / n_b) the half-width is, two-sided,
s sqrt(2 (n rho^2 + 1) / (n rho)^2 log(sqrt(n rho^2 + 1) / alpha)), and one-sided the same with
log(1 + sqrt(n rho^2 + 1) / (2 alpha)) for the logarithm.

A departure from the paper: an arm with less than half of the observations borrows variance from all of them
(`guarded`). A small arm that has not met its rare large values yet has a mean and a variance that are both too
small, and would be called lower than it is: in 30 % of the rollouts at rates of 1 % and shares of 10/90, where 5 %
are promised.

What is guaranteed: asymptotically only, as observations grow before the first look; for independent units of finite
variance. Measured, not proved, before (`benchmarks/stats_sequential.py`). For rates take an e-process, for scores
within known bounds `BettingEProcess`: these are exact.
"""

from __future__ import annotations

import math
from typing import Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, model_validator

from rsa_ops.core.estimate import Estimate
from rsa_ops.core.record import Record
from rsa_ops.errors import UsageError
from rsa_ops.stats.guardrails import Guardrail
from rsa_ops.stats.running_moments import Moments

Sides = Literal["one", "two"]
Floats = NDArray[np.float64]


class ConfidenceSequence(Record):
    """The running means of two arms, and all that the interval of their difference needs to go on.

    Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas 2024, Ann Stat 52:2613, theorem 2.2.

    Args:
        expected_observations: how many in both arms together when the decision is likely to fall; the interval is
            narrowest there. It moves the power and never the guarantee.
        alpha: level, in (0, 0.5).
        sides: "one": each end is a bound of its own at 1 - alpha, for margins; "two": both hold together at it.
        least: observations in each arm before which nothing is said, >= 2.
        challenger: moments so far.
        baseline: moments so far.

    Raises:
        ValueError: terms outside their ranges, or NaN.
    """

    schema_: Literal["rsa_ops/confidence-sequence/v1"] = Field(
        default="rsa_ops/confidence-sequence/v1", alias="schema"
    )

    expected_observations: int
    alpha: float = 0.05
    sides: Sides = "one"
    least: int = 50
    challenger: Moments = Moments()
    baseline: Moments = Moments()

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if not 0 < self.alpha < 0.5:
            raise ValueError(f"expected 0 < alpha < 0.5, found {self.alpha}: it is an error rate, 0.05 say")
        if self.expected_observations < 2 or self.least < 2:
            raise ValueError(
                f"expected at least 2 expected_observations and 2 as the least of an arm, found "
                f"{self.expected_observations} and {self.least}: give the size at which you expect to decide"
            )
        return self

    def update(self, challenger: ArrayLike, baseline: ArrayLike) -> Self:
        """The state after these new scores [observations] of the two arms.

        Raises:
            UsageError: no rows of numbers.
            IntegrityError: a score is NaN or infinite.
        """
        ours, theirs = self.challenger + Moments.of(challenger), self.baseline + Moments.of(baseline)
        return self.model_copy(update={"challenger": ours, "baseline": theirs})

    @property
    def rho(self) -> float:
        """The tuning parameter, from `expected_observations`."""
        return best_rho(self.expected_observations, self.alpha, self.sides)

    @property
    def estimate(self) -> Estimate | None:
        """Challenger minus baseline; None where an arm is too small, or no score differs from another.

        Its `confidence` is that of both ends together: 1 - 2 * alpha for two one-sided bounds.
        """
        if not self._speaks:
            return None
        value, error = self.challenger.mean - self.baseline.mean, self._standard_error
        n = self.challenger.count + self.baseline.count
        half = error * math.sqrt(n) * float(half_width(n, self.rho, self.alpha, self.sides))
        return Estimate(
            value=value,
            low=value - half,
            high=value + half,
            confidence=1 - (2 * self.alpha if self.sides == "one" else self.alpha),
            method=f"asymptotic confidence sequence, {self.sides}-sided",
            examples=n,
            seeds=1,
            standard_error=error,
        )

    def guardrail(self, name: str, *, margin: float, worse: Literal["higher", "lower"]) -> Guardrail:
        """The evidence of this moment for `decide_rollout`, in the units of the scores.

        Args:
            name: of the metric.
            margin: how much worse the challenger's mean may be, >= 0.
            worse: which way is worse: "higher" for latency or cost, "lower" for quality.

        Raises:
            UsageError: a margin that is negative or no number.
        """
        if not (math.isfinite(margin) and margin >= 0):
            raise UsageError(f"expected a margin >= 0, found {margin}: `worse` says in which direction it lies")
        harm = safe = 0.0
        if self._speaks:
            sign = 1 if worse == "higher" else -1
            excess = sign * (self.challenger.mean - self.baseline.mean) - margin
            n, z = self.challenger.count + self.baseline.count, excess / self._standard_error
            harm, safe = float(mixture_log_e(n, z, self.rho)), float(mixture_log_e(n, -z, self.rho))
        return Guardrail(name=name, log_e_harm=harm, log_e_safe=safe, guarantee="asymptotic")

    @property
    def _speaks(self) -> bool:
        return min(self.challenger.count, self.baseline.count) >= self.least and self._standard_error > 0

    @property
    def _standard_error(self) -> float:
        both = self.challenger + self.baseline
        arms = [arm for arm in (self.challenger, self.baseline) if arm.count]
        return math.sqrt(
            sum(float(guarded(arm.variance, both.variance, arm.count / both.count)) / arm.count for arm in arms)
        )


def guarded(variance: ArrayLike, pooled: ArrayLike, share: ArrayLike) -> Floats:
    """The variance of an arm, raised towards that of both arms together as its share falls from a half to none."""
    own, all_, part = (np.asarray(value, dtype=np.float64) for value in (variance, pooled, share))
    found: Floats = own + np.maximum(0.0, 1 - 2 * part) * np.maximum(0.0, all_ - own)
    return found


def best_rho(observations: float, alpha: float, sides: Sides = "two") -> float:
    """The rho with the narrowest interval at `observations`.

    Setting the derivative of (x + 1) / x * log((x + 1) / alpha^2) in x = n rho^2 to zero gives
    x = -W(-alpha^2 / e) - 1 on the branch -1 of Lambert's function; one-sided with 2 * alpha, which neglects the 1
    in its logarithm.
    """
    from scipy.special import lambertw

    level = alpha if sides == "two" else 2 * alpha
    best = -float(lambertw(-(level**2) / math.e, -1).real) - 1
    return math.sqrt(best / observations)


def half_width(observations: ArrayLike, rho: float, alpha: float, sides: Sides = "two") -> Floats:
    """Half-width of the interval of a mean of unit variance after `observations`, of any shape."""
    n = np.asarray(observations, dtype=np.float64)
    spread = n * rho**2 + 1
    inner = np.log(np.sqrt(spread) / alpha) if sides == "two" else np.log1p(np.sqrt(spread) / (2 * alpha))
    found: Floats = np.sqrt(2 * spread * inner) / (n * rho)
    return found


def mixture_log_e(observations: ArrayLike, z: ArrayLike, rho: float) -> Floats:
    """Log of Robbins' one-sided normal mixture at the z-score `z`: an asymptotic e-value against "mean <= 0".

    The mean of exp(lambda S - lambda^2 n / 2), S = z sqrt(n), over a half-normal lambda with scale rho. It passes
    1 / alpha no later than the one-sided interval at alpha leaves zero out.
    """
    from scipy.special import log_ndtr

    n, score = np.asarray(observations, dtype=np.float64), np.asarray(z, dtype=np.float64)
    spread = n * rho**2 + 1
    pull = score * np.sqrt(1 - 1 / spread)
    found: Floats = math.log(2) - np.log(spread) / 2 + pull**2 / 2 + log_ndtr(pull)
    return found
