"""Metrics that are no mean over examples (macro-F1, calibration error, corpus BLEU): resample and recompute.

`bootstrap_metric` and `bootstrap_difference` measure by resampling what the examples contribute, take what the
seeds contribute from the seeds themselves, and join both as `spread` does: for a mean they agree with
`noninferiority`. `multi_bootstrap` is the published check (Sellam et al. 2022, The MultiBERTs, arXiv 2106.16163,
section 4): seeds and examples resampled together, percentiles read off. With 3 seeds a percentile sees only 2/3 of
the seed variance and no t quantile, so it is the check and not the judge: a departure from the paper.
"""

from __future__ import annotations

import numpy as np

from rsa_ops.core.estimate import Estimate, PairedResult
from rsa_ops.core.margin import Margin
from rsa_ops.errors import UsageError
from rsa_ops.stats.crossed import bad_groups, of_groups
from rsa_ops.stats.draws import ArmMetric, Drawn, draw
from rsa_ops.stats.inputs import Scores
from rsa_ops.stats.judge import bad_terms, invalid, judge, loss_of
from rsa_ops.stats.slices import zero_event_bound
from rsa_ops.stats.spread import SeedSpread, Spread

METHOD = "crossed-variance t, examples by bootstrap"


def bootstrap_metric(
    arm: ArmMetric, *, rng: np.random.Generator, draws: int = 1000, confidence: float = 0.95
) -> Estimate:
    """The metric of one arm, mean over its seeds, for new seeds and new examples.

    The variances of `spread`; what comes from the examples is measured by the bootstrap (Efron 1979, Ann Stat 7:1).

    Raises:
        IntegrityError: the metric is NaN or infinite on all examples or on a draw.
        UsageError: no seeds, fewer than 2 examples or 100 draws, or a confidence outside (0, 1).
    """
    if not 0 < confidence < 1:
        raise UsageError(f"confidence must lie between 0 and 1, found {confidence}")
    (drawn,) = draw((arm,), draws, rng)
    spread = _spread(drawn.draws.mean(axis=0), (drawn,), arm)
    alpha = (1 - confidence) / 2
    precision = spread.precision(alpha)
    value = float(drawn.point.mean())
    return Estimate(
        value=value,
        low=precision.low(value),
        high=precision.high(value),
        confidence=confidence,
        method=METHOD + of_groups(arm.how),
        examples=arm.examples,
        seeds=arm.seeds,
        standard_error=precision.error,
        degrees_of_freedom=precision.freedom,
    )


def bootstrap_difference(
    candidate: ArmMetric,
    baseline: ArmMetric,
    *,
    margin: float | Margin,
    rng: np.random.Generator,
    alpha: float = 0.05,
    draws: int = 1000,
    paired_seeds: bool = False,
) -> PairedResult:
    """Is the candidate's metric worse than the baseline's by more than `margin`? Higher is better.

    Both arms see the same draws of the examples (of their groups, where both are `grouped`). One seed on both sides
    asks the artifact question: only the examples are random. One seed on one side only is INVALID. The variances
    are those of `spread`, equations there; what comes from the examples is measured by the bootstrap (Efron 1979).

    Raises:
        IntegrityError: a metric is NaN or infinite on all examples or on a draw.
        UsageError: margin or alpha is NaN, fewer than 2 examples or 100 draws.
    """
    loss = loss_of(margin)
    problem = bad_terms(loss, alpha) or _bad_arms(candidate, baseline, paired=paired_seeds)
    if problem:
        return invalid(loss, alpha, problem)
    ours, theirs = draw((candidate, baseline), draws, rng)
    joint = ours.draws.mean(axis=0) - theirs.draws.mean(axis=0)
    paired = (Drawn(ours.point - theirs.point, ours.draws - theirs.draws),) if paired_seeds else (ours, theirs)
    return judge(
        float(ours.point.mean() - theirs.point.mean()),
        _spread(joint, paired, candidate),
        margin=loss,
        alpha=alpha,
        method=METHOD + (", seeds paired" if paired_seeds else "") + of_groups(candidate.how),
        reported_seeds=min(candidate.seeds, baseline.seeds),
    )


def multi_bootstrap(
    candidate: ArmMetric,
    baseline: ArmMetric,
    *,
    rng: np.random.Generator,
    confidence: float = 0.9,
    draws: int = 2000,
    paired_seeds: bool = False,
) -> Estimate:
    """The published Multi-Bootstrap of the difference: percentiles over draws of seeds and examples.

    Sellam et al. 2022 (The MultiBERTs, arXiv 2106.16163), section 4: seeds and examples are drawn with replacement
    at once, the same examples for all seeds and both arms; `paired_seeds` draws the same seeds for both arms.
    A check, never the judge: with 3 seeds it sees 2/3 of the seed variance, and what is noise of single cells it
    counts up to three times (Owen 2007, The pigeonhole bootstrap, Ann Appl Stat 1:386).

    Raises:
        IntegrityError: a metric is NaN or infinite on all examples or on a draw.
        UsageError: arms that do not fit together, fewer than 2 examples or 100 draws.
    """
    problem = _bad_arms(candidate, baseline, paired=paired_seeds)
    if problem or not 0 < confidence < 1:
        raise UsageError(problem or f"confidence must lie between 0 and 1, found {confidence}")
    ours, theirs = draw((candidate, baseline), draws, rng)
    first = _seed_shares(candidate.seeds, draws, rng)
    second = first if paired_seeds else _seed_shares(baseline.seeds, draws, rng)
    joint = (ours.draws * first).sum(axis=0) - (theirs.draws * second).sum(axis=0)
    value = float(ours.point.mean() - theirs.point.mean())
    alpha = (1 - confidence) / 2
    low, high = (float(end) for end in np.quantile(joint, (alpha, 1 - alpha)))
    if high - low < 1e-12:
        bound = zero_event_bound(candidate.drawn_units, alpha)
        low, high = value - bound, value + bound
    return Estimate(
        value=value,
        low=low,
        high=high,
        confidence=confidence,
        method=f"Multi-Bootstrap percentile, {draws} draws",
        examples=candidate.examples,
        seeds=min(candidate.seeds, baseline.seeds),
        standard_error=float(joint.std(ddof=1)),
    )


def _bad_arms(ours: ArmMetric, theirs: ArmMetric, *, paired: bool) -> str | None:
    if ours.examples != theirs.examples:
        return f"the candidate has {ours.examples} examples and the baseline {theirs.examples}; both need the same"
    if min(ours.seeds, theirs.seeds) < 2 and ours.seeds != theirs.seeds:
        return (
            f"{ours.seeds} and {theirs.seeds} seeds: a method needs 2 or more on each side, an artifact 1 on both"
        )
    if paired and ours.seeds != theirs.seeds:
        return f"paired seeds need as many on both sides, found {ours.seeds} and {theirs.seeds}"
    if not _same_groups(ours, theirs):
        return "the two sides have different groups: both draw the same ones, so give both the same labels"
    return bad_groups(ours.how)


def _same_groups(ours: ArmMetric, theirs: ArmMetric) -> bool:
    first, second = (None if arm.how is None else arm.how.codes for arm in (ours, theirs))
    if first is None or second is None:
        return first is second
    return np.array_equal(first, second)


def _spread(joint: Scores, arms: tuple[Drawn, ...], of: ArmMetric) -> Spread:
    """Mean squares in the units of `Spread`: a variance over draws, times the examples, is one per example."""
    square = float(joint.var(ddof=1)) * of.examples
    seeded = tuple(_seed_spread(drawn, of.examples) for drawn in arms if len(drawn.point) > 1)
    scale = 1.0 if square < 1e-18 * of.examples else 0.0
    return Spread(of.examples, square, seeded, scale, groups=None if of.how is None else of.how.groups)


def _seed_spread(drawn: Drawn, examples: int) -> SeedSpread:
    seeds = len(drawn.point)
    own = drawn.draws - drawn.draws.mean(axis=0)
    residual = float(own.var(axis=1, ddof=1).sum()) / (seeds - 1) * examples
    return SeedSpread(seeds, float(drawn.point.var(ddof=1)), residual)


def _seed_shares(seeds: int, draws: int, rng: np.random.Generator) -> Scores:
    counts = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=draws)
    return counts.T / seeds
