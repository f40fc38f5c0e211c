"""From the evidence to money: the chance that the candidate is worse than the margin, and how much worse then.

The true difference D (candidate less baseline) is taken as the estimate plus its standard error times Student's t
(normal where the method has no degrees of freedom): the fiducial reading of a confidence interval, which is also
the posterior under a flat prior. For X = m + s T, T with v > 1 degrees of freedom, density f and distribution F,

    E[X; X < a] = m F(z) - s (v + z^2) / (v - 1) f(z),   z = (a - m) / s

(Johnson, Kotz and Balakrishnan, Continuous Univariate Distributions 2, chapter 28; the normal one is its limit).
"""

from __future__ import annotations

from statistics import NormalDist

from rsa_ops.core.business_case import Harm
from rsa_ops.core.comparison import Comparison
from rsa_ops.core.estimate import Estimate
from rsa_ops.errors import MissingError

LARGEST_LOSS = 1.0
"""Scores are shares from 0 to 1, so that nothing can be worse by more."""

_LEAST_FREEDOM = 1.5
"""Below this the mean of Student's t hardly exists; it is taken at this many degrees, which overstates the tail."""


def assess_harm(comparison: Comparison, baseline: str) -> Harm:
    """The risk that the comparison on the primary metric leaves, against `baseline`.

    Raises:
        MissingError: no such contrast, or one without a difference: a case with a hole in it is no case.
    """
    contrast = comparison.contrast(comparison.primary_metric, baseline)
    estimate = contrast.result.difference if contrast is not None else None
    if contrast is None or estimate is None:
        raise MissingError(
            f"no difference in {comparison.primary_metric} between {comparison.candidate} and {baseline}, "
            "so the risk has no price",
            hint="Compare the two first; an invalid comparison carries no business case.",
        )
    error, freedom = _error(estimate), estimate.degrees_of_freedom
    probability, mean = worse_than(estimate.value, error, freedom, contrast.result.margin)
    return Harm(
        metric=comparison.primary_metric,
        difference=estimate.value,
        standard_error=error,
        degrees_of_freedom=freedom,
        margin=contrast.result.margin,
        probability=probability,
        mean_loss=mean,
    )


def worse_than(value: float, error: float, freedom: float | None, margin: float) -> tuple[float, float]:
    """P(D < -margin), and E[-D | D < -margin]; the mean is the margin itself where the chance is nil.

    With no standard error (equal answers everywhere) the difference is taken as known.
    """
    if error == 0:
        return (1.0, -value) if value < -margin else (0.0, margin)
    z = (-margin - value) / error
    below, density, spread = _tail(z, freedom)
    if below < 1e-12:
        return 0.0, margin
    return below, min(-(value * below - error * spread * density) / below, LARGEST_LOSS)


def _tail(z: float, freedom: float | None) -> tuple[float, float, float]:
    """F(z), f(z) and the factor of s f(z) in E[X; X < a]."""
    if freedom is None:
        normal = NormalDist()
        return normal.cdf(z), normal.pdf(z), 1.0
    from scipy.stats import t

    v = max(freedom, _LEAST_FREEDOM)
    return float(t.cdf(z, v)), float(t.pdf(z, v)), (v + z * z) / (v - 1)


def _error(estimate: Estimate) -> float:
    """The standard error; from the interval where the method (the bootstrap) states none."""
    if estimate.standard_error is not None:
        return estimate.standard_error
    z = NormalDist().inv_cdf(0.5 + estimate.confidence / 2)
    return (estimate.high - estimate.low) / (2 * z)
