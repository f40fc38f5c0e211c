"""One function per kind of rule: rule and evidence in, ruling out. What is missing is an ERROR, never a pass."""

from __future__ import annotations

from decimal import Decimal

from rsa_ops.core.comparison import ArmSummary, Contrast
from rsa_ops.core.estimate import Answer, Estimate, PairedResult
from rsa_ops.core.family import holm
from rsa_ops.core.measurements import Measurements
from rsa_ops.core.verdict import Evidence, Outcome
from rsa_ops.gates.policy import (
    CHAMPION,
    ChampionRule,
    CostRule,
    FloorRule,
    MeasuredRule,
    NonInferiorityRule,
    Policy,
    Quantity,
    RobustnessRule,
    Rule,
    SlicesRule,
    WorstSliceRule,
)
from rsa_ops.gates.ruling import Judged, Sheet, interval, observed, what_would_decide

HEADLINE = "noninferiority"
"""Rulings with this name tell the verdict in a sentence of their own."""


def apply(rule: Rule, policy: Policy, evidence: Evidence) -> Judged:
    """The ruling of one rule."""
    match rule:
        case NonInferiorityRule():
            judged = _noninferiority(rule, policy, evidence)
        case SlicesRule():
            judged = _slices(rule, policy, evidence)
        case ChampionRule():
            judged = _champion(rule, policy, evidence)
        case FloorRule():
            judged = _floor(rule, policy, evidence)
        case RobustnessRule():
            judged = _robustness(rule, policy, evidence)
        case WorstSliceRule():
            judged = _worst_slice(rule, policy, evidence)
        case MeasuredRule():
            judged = _measured(rule, policy, evidence)
        case CostRule():
            judged = _cost(rule, policy, evidence)
    return judged


def claim(rule: NonInferiorityRule, candidate: str) -> str:
    """`rsa is not worse than full by more than 0.020 accuracy`, the sentence that the rule wants to hear."""
    if rule.require == "superior":
        return f"{candidate} is better than {rule.against} in {rule.metric}"
    return f"{candidate} is not worse than {rule.against} by more than {rule.margin:.3f} {rule.metric}"


def _noninferiority(rule: NonInferiorityRule, policy: Policy, evidence: Evidence) -> Judged:
    required = claim(rule, policy.candidate)
    sheet = Sheet(f"{HEADLINE}: {rule.metric} against {rule.against}", required)
    contrast = evidence.comparison.contrast(rule.metric, rule.against)
    if contrast is None:
        return sheet.missing(f"the comparison of {rule.metric} against {rule.against}")
    result, groups = contrast.result, evidence.comparison.groups
    if rule.require == "superior" and result.difference is not None:
        return _superior(sheet, result, result.difference, groups)
    return _not_worse(sheet, result, (policy.candidate, rule.against), rule.metric, groups)


def _champion(rule: ChampionRule, policy: Policy, evidence: Evidence) -> Judged:
    required = f"{policy.candidate} is not worse than the champion by more than {rule.margin:.3f} {rule.metric}"
    sheet = Sheet(f"champion: {rule.metric}", required)
    if evidence.champion_digest is None:
        return sheet.ruled(Outcome.PROMOTE, "no champion yet", "a first version has no champion to lose against")
    contrast = evidence.comparison.contrast(rule.metric, CHAMPION)
    if contrast is None:
        return sheet.missing(f"the comparison of {rule.metric} with the champion")
    result = contrast.result
    if abs(result.margin - rule.margin) > 1e-12 or abs(result.alpha - policy.level) > 1e-12:
        asked = f"the policy asks for margin {rule.margin:g} at alpha {policy.level:g}; compare again"
        return sheet.broken(f"margin {result.margin:g}, alpha {result.alpha:g}", asked)
    return _not_worse(sheet, result, (policy.candidate, "the champion"), rule.metric, evidence.comparison.groups)


def _not_worse(
    sheet: Sheet, result: PairedResult, names: tuple[str, str], metric: str, groups: int | None
) -> Judged:
    required, seen, (candidate, against) = sheet.required, observed(result, groups), names
    if result.difference is None:
        return sheet.broken(seen, f"the comparison is invalid: {result.reason}")
    if result.answer in (Answer.NON_INFERIOR, Answer.SUPERIOR):
        return sheet.ruled(Outcome.PROMOTE, seen, f"{required} ({seen})")
    if result.answer is Answer.INFERIOR:
        worse = f"{candidate} is worse than {against} by more than {result.margin:.3f} {metric}"
        return sheet.ruled(Outcome.REJECT, seen, f"{worse} ({seen})")
    open_ = f"it is open whether {required} ({seen}); {what_would_decide(result)}"
    return sheet.ruled(Outcome.INCONCLUSIVE, seen, open_)


def _superior(sheet: Sheet, result: PairedResult, difference: Estimate, groups: int | None) -> Judged:
    seen = observed(result, groups)
    if result.answer is Answer.SUPERIOR:
        return sheet.ruled(Outcome.PROMOTE, seen, f"{sheet.required} ({seen})")
    if difference.high < 0:
        return sheet.ruled(Outcome.REJECT, seen, f"the whole interval lies below zero ({seen})")
    return sheet.ruled(Outcome.INCONCLUSIVE, seen, f"it is open whether {sheet.required} ({seen})")


def _slices(rule: SlicesRule, policy: Policy, evidence: Evidence) -> Judged:
    required = (
        f"no slice worse than {rule.against} by more than {rule.margin:.3f} {rule.metric}, "
        f"{rule.min_assessable} or more judged"
    )
    sheet = Sheet(f"slices: {rule.metric} against {rule.against}", required)
    arm = evidence.comparison.arm(policy.candidate)
    if arm is None or not arm.slices:
        return sheet.missing(f"every slice of {policy.candidate}")
    judged = [entry.slice for entry in arm.slices if entry.assessable]
    contrasts = {name: evidence.comparison.contrast(rule.metric, rule.against, name) for name in judged}
    lost = [name for name, contrast in contrasts.items() if contrast is None]
    if lost:
        return sheet.missing(f"the comparison of {rule.metric} against {rule.against} on {', '.join(lost[:3])}")
    return _slice_answers(sheet, rule, [c for c in contrasts.values() if c is not None], len(arm.slices))


def _slice_answers(sheet: Sheet, rule: SlicesRule, contrasts: list[Contrast], slices: int) -> Judged:
    small = slices - len(contrasts)
    seen = f"{len(contrasts)} of {slices} slices judged" + (
        f", {small} not assessable (too small)" if small else ""
    )
    invalid = next((c for c in contrasts if c.result.answer is Answer.INVALID), None)
    if invalid is not None:
        return sheet.broken(seen, f"{invalid.name}: {invalid.result.reason}")
    harmed = _harmed(contrasts)
    if harmed:
        names = ", ".join(contrast.population for contrast in harmed)
        return sheet.ruled(
            Outcome.REJECT,
            f"{seen}; worse on {names}",
            f"surely worse by more than {rule.margin:.3f} on {names} ({observed(harmed[0].result)})",
        )
    if len(contrasts) < rule.min_assessable:
        return sheet.ruled(
            Outcome.INCONCLUSIVE,
            seen,
            f"{seen}, {rule.min_assessable} needed; more test examples of the small slices would decide",
        )
    still_open = sum(contrast.result.answer in (Answer.INCONCLUSIVE, Answer.INFERIOR) for contrast in contrasts)
    note = f"; {still_open} neither surely harmed nor surely safe" if still_open else ""
    return sheet.ruled(Outcome.PROMOTE, seen + note, f"no judged slice is surely worse ({seen}{note})")


def _harmed(contrasts: list[Contrast]) -> list[Contrast]:
    """The slices that are surely worse by more than the margin, after Holm: any one of them stops the candidate.

    Each was tested at the full alpha; of twenty slices that lose the margin and no more, one would look harmed.
    """
    chances = holm([1 - (contrast.result.p_noninferior or 0.0) for contrast in contrasts])
    return [
        contrast
        for contrast, chance in zip(contrasts, chances, strict=True)
        if contrast.result.answer is Answer.INFERIOR and chance < contrast.result.alpha
    ]


def _floor(rule: FloorRule, policy: Policy, evidence: Evidence) -> Judged:
    sheet = Sheet(f"floor: {rule.metric}", f"{rule.metric} of at least {rule.at_least:g}")
    estimate = _metric(evidence.comparison.arm(policy.candidate), rule.metric)
    if estimate is None:
        return sheet.missing(f"{rule.metric} of {policy.candidate}")
    return _narrow(sheet, estimate, policy) or sheet.at_least(estimate, rule.at_least)


def _robustness(rule: RobustnessRule, policy: Policy, evidence: Evidence) -> Judged:
    metric = evidence.comparison.primary_metric
    sheet = Sheet(f"robustness: {rule.perturbation}", f"{metric} drops by at most {rule.max_drop:g}")
    arm = evidence.comparison.arm(policy.candidate)
    clean = _metric(arm, metric)
    disturbed = arm.robustness.get(rule.perturbation) if arm is not None else None
    if clean is None or disturbed is None:
        return sheet.missing(f"{metric} of {policy.candidate}, clean or under {rule.perturbation},")
    wide = _narrow(sheet, disturbed, policy)
    if wide is not None:
        return wide
    least, drop, most = (clean.value - end for end in (disturbed.high, disturbed.value, disturbed.low))
    seen = f"{clean.value:.3f} clean, {disturbed.value:.3f} disturbed ({interval(disturbed)})"
    if most <= rule.max_drop:
        return sheet.ruled(Outcome.PROMOTE, seen, f"a drop of {drop:.3f}, surely at most {rule.max_drop:g}")
    if least > rule.max_drop:
        return sheet.ruled(Outcome.REJECT, seen, f"a drop of {drop:.3f}, surely more than {rule.max_drop:g}")
    reason = f"a drop of {drop:.3f}, between {least:.3f} and {most:.3f}; more disturbed examples narrow it"
    return sheet.ruled(Outcome.INCONCLUSIVE, seen, reason)


def _worst_slice(rule: WorstSliceRule, policy: Policy, evidence: Evidence) -> Judged:
    sheet = Sheet("worst slice", f"at least {rule.at_least:g} on every slice that can be judged")
    arm = evidence.comparison.arm(policy.candidate)
    if arm is None or not arm.slices:
        return sheet.missing(f"every slice of {policy.candidate}")
    worst = arm.worst_slice
    if worst is None:
        seen = f"none of {len(arm.slices)} slices is assessable (too small)"
        return sheet.ruled(Outcome.INCONCLUSIVE, seen, f"{seen}; more test examples per slice would decide")
    named = sheet._replace(rule=f"worst slice: {worst.slice}")
    return _narrow(named, worst.score, policy) or named.at_least(worst.score, rule.at_least)


def _measured(rule: MeasuredRule, policy: Policy, evidence: Evidence) -> Judged:
    subject = rule.quantity.removesuffix("_ratio")
    against = f" of {policy.candidate} / {rule.against}" if rule.against else ""
    sheet = Sheet(f"measured: {rule.quantity}", f"{subject}{against} at most {rule.at_most:g}")
    ours = _mean(rule.quantity, policy.candidate, evidence.measurements)
    if ours is None:
        return sheet.missing(f"{subject} of {policy.candidate}")
    if rule.against is None:
        return sheet.at_most(ours, rule.at_most, lambda value: f"{value:.3%}")
    theirs = _mean(rule.quantity, rule.against, evidence.measurements)
    if theirs is None:
        return sheet.missing(f"{subject} of {rule.against}")
    if theirs <= 0:
        return sheet.broken(f"{theirs:g}", f"{subject} of {rule.against} is not above zero: it was not measured")
    return sheet.at_most(ours / theirs, rule.at_most, lambda value: f"{value:.3g}")


def _cost(rule: CostRule, policy: Policy, evidence: Evidence) -> Judged:
    required = f"one training of {policy.candidate} costs at most {rule.at_most:g} of one of {rule.against}"
    sheet = Sheet(f"cost: per training against {rule.against}", required)
    if evidence.tco is None:
        return sheet.missing("the cost record")
    ours, theirs = evidence.tco.arm(policy.candidate), evidence.tco.arm(rule.against)
    if ours is None or theirs is None:
        return sheet.missing(f"the cost of {policy.candidate if ours is None else rule.against}")
    if ours.per_training.currency != theirs.per_training.currency:
        return sheet.broken(f"{ours.per_training} and {theirs.per_training}", "two currencies have no ratio")
    if theirs.per_training.amount <= 0:
        return sheet.broken(f"{theirs.per_training}", f"the cost of {rule.against} is not above zero")
    ratio = float(Decimal(ours.per_training.amount) / theirs.per_training.amount)
    return sheet.at_most(ratio, rule.at_most, lambda value: f"{value:.3g}")


def _metric(arm: ArmSummary | None, name: str) -> Estimate | None:
    return arm.metrics.get(name) if arm is not None else None


def _narrow(sheet: Sheet, estimate: Estimate, policy: Policy) -> Judged | None:
    """An interval at a lower confidence than the policy's level asks for cannot carry a bound."""
    if estimate.confidence < 1 - 2 * policy.level - 1e-9:
        needed = f"{(1 - 2 * policy.level) * 100:.4g} %"
        return sheet.broken(interval(estimate), f"the policy needs an interval at {needed} or more")
    return None


def _mean(quantity: Quantity, arm: str, measurements: tuple[Measurements, ...]) -> float | None:
    """Mean over the seeds of `arm`; None when none was measured."""
    values = [_value(quantity, entry) for entry in measurements if entry.cell.arm == arm]
    return sum(values) / len(values) if values else None


def _value(quantity: Quantity, entry: Measurements) -> float:
    return {
        "trainable_share": entry.trainable_share,
        "wall_seconds_ratio": entry.wall_seconds,
        "peak_host_memory_ratio": float(entry.peak_host_memory_bytes),
        "artifact_bytes_ratio": float(entry.artifact_bytes),
    }[quantity]
